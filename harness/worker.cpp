// Both ends of the channel between a sweep and the child that runs its problems. The parent sends a line of JSON with
// the settings, then problem lines; the child answers each with "phase" lines and one line of "rows".
#include "harness/worker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include "harness/error.h"
#include "harness/results.h"
#include "harness/signals.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;
using Clock = Channel::Clock;

constexpr int kChildSocket = 3;
// What a child gets to finish the sample in flight, or to leave when there is nothing more to do.
constexpr double kGraceSeconds = 10;

Clock::time_point in_seconds(double seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

Json to_json(const std::map<std::string, Ceilings>& ceilings) {
  Json json = Json::object();
  for (const auto& [backend, measured] : ceilings) json[backend] = bench::to_json(measured);
  return json;
}

std::map<std::string, Ceilings> all_ceilings_from_json(const Json& json) {
  std::map<std::string, Ceilings> ceilings;
  for (const auto& [backend, measured] : json.items()) ceilings.emplace(backend, ceilings_from_json(measured));
  return ceilings;
}

std::string describe(int status) {
  if (WIFSIGNALED(status))
    return fmt::format("its process ended with signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return fmt::format("its process ended with exit code {}", WEXITSTATUS(status));
}

// The child's part.
int run_worker() {
  if (::fcntl(kChildSocket, F_GETFD) < 0) throw UsageError("worker: only sweep runs this subcommand");
  Channel channel(kChildSocket);
  const StopOnSignal stop;
  std::string line;
  if (channel.receive(line) != Channel::Event::line) return static_cast<int>(ExitCode::system);
  const Json setup = Json::parse(line);
  RunOptions options = run_options_from_json(setup.at("run"));
  options.measure.stop = StopOnSignal::flag();
  Runner runner(options, all_ceilings_from_json(setup.at("ceilings")));
  runner.on_phase = [&](const char* phase) { channel.send(Json{{"phase", phase}}.dump()); };
  while (stop.signal() == 0 && channel.receive(line) == Channel::Event::line) {
    Json rows = Json::array();
    for (const Row& row : runner.run(parse_problem(line))) rows.push_back(bench::to_json(row));
    channel.send(Json{{"rows", rows}, {"ceilings", to_json(runner.ceilings())}}.dump());
  }
  return static_cast<int>(ExitCode::ok);
}

}  // namespace

Worker::Worker(Options options, std::map<std::string, Ceilings> ceilings)
    : options_(std::move(options)), ceilings_(std::move(ceilings)) {}

Worker::~Worker() { stop_child(false); }

void Worker::start() {
  int sockets[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) != 0)
    throw SystemError(fmt::format("socketpair: {}", std::strerror(errno)));
  const pid_t parent = ::getpid();
  pid_ = ::fork();
  if (pid_ < 0) {
    const int error = errno;
    pid_ = 0;
    ::close(sockets[0]);
    ::close(sockets[1]);
    throw SystemError(fmt::format("fork: {}", std::strerror(error)));
  }
  if (pid_ == 0) {    // only what is safe between fork and exec
    ::setpgid(0, 0);  // Ctrl-C is the parent's to handle
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(3);
    if (sockets[1] == kChildSocket)
      ::fcntl(kChildSocket, F_SETFD, 0);
    else
      ::dup2(sockets[1], kChildSocket);
    ::dup2(STDERR_FILENO, STDOUT_FILENO);  // what a library prints is no data
    ::execl(options_.program.c_str(), "lrnnx-bench", "worker", static_cast<char*>(nullptr));
    ::_exit(127);
  }
  ::close(sockets[1]);
  channel_ = std::make_unique<Channel>(sockets[0]);
  channel_->send(Json{{"run", bench::to_json(options_.run)}, {"ceilings", to_json(ceilings_)}}.dump());
}

std::string Worker::stop_child(bool kill) {
  if (pid_ == 0) return "";
  channel_.reset();  // the child leaves at the end of its input
  int status = 0;
  if (kill) ::kill(pid_, SIGKILL);
  const auto deadline = in_seconds(kGraceSeconds);
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (Clock::now() > deadline) ::kill(pid_, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  pid_ = 0;
  return describe(status);
}

std::vector<Json> Worker::run(const Problem& problem) {
  std::string phase = "starting";
  const auto broken = [&](const std::string& what) {
    Row row = row_of(problem, options_.run.states.front());
    row.verdict = Verdict::error;
    row.exit_code = ExitCode::system;
    row.reason = fmt::format("{} while {}", what, phase);
    return std::vector<Json>{bench::to_json(row)};
  };
  if (!channel_) start();
  channel_->send(to_string(problem));  // if the child is gone, receive() will tell

  auto deadline = in_seconds(options_.patience_seconds);
  bool told_to_stop = false;
  while (true) {
    if (*StopOnSignal::flag() != 0 && !told_to_stop) {
      ::kill(pid_, SIGTERM);
      told_to_stop = true;
      deadline = in_seconds(kGraceSeconds);
    }
    std::string line;
    const Channel::Event event = channel_->receive(line, deadline);
    if (event == Channel::Event::interrupted) continue;
    if (event == Channel::Event::line) {
      const Json reply = Json::parse(line);
      if (reply.contains("phase")) {
        phase = reply["phase"];
        on_phase(phase.c_str());
        const double sampling = static_cast<double>(options_.run.states.size()) * options_.run.measure.timeout_seconds;
        if (!told_to_stop) deadline = in_seconds(options_.patience_seconds + (phase == "timing" ? sampling : 0));
        continue;
      }
      ceilings_ = all_ceilings_from_json(reply.at("ceilings"));
      std::vector<Json> rows = reply.at("rows");
      // What broke the device for one problem would break it for the next.
      const bool sound = std::ranges::none_of(
          rows, [](const Json& row) { return row.at("exit_code") == static_cast<int>(ExitCode::system); });
      if (!sound) stop_child(false);
      return rows;
    }
    const std::string end = stop_child(event == Channel::Event::expired);
    if (told_to_stop) return {};
    return broken(event == Channel::Event::closed
                      ? end
                      : fmt::format("its process was killed after {:g} s without a sign of life (--patience)",
                                    options_.patience_seconds));
  }
}

void add_worker_command(CLI::App& app, int& exit_code) {
  app.add_subcommand("worker", "")->group("")->callback([&exit_code] { exit_code = run_worker(); });
}

}  // namespace lrnnx::bench
