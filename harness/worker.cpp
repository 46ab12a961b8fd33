// Both ends of the channel to a child that runs problems. The parent sends a line of JSON with the settings, then
// requests: "list", "check", "measure" or "time". The child answers each with "phase" lines and one last line; if a
// request to time says "by_turns", also with "stage" lines, after each of which it waits for a line.
#include "harness/worker.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <thread>

#include "harness/check_json.h"
#include "harness/error.h"
#include "harness/results.h"
#include "harness/signals.h"
#include "harness/wall_time.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;
using Clock = Channel::Clock;

constexpr int kChildSocket = 3;
// What a child gets to finish the sample in flight, or to leave when there is nothing more to do.
constexpr double kGraceSeconds = 10;
// Between two looks at signals and cancellation.
constexpr double kLookSeconds = 0.25;
// What the reference gets, which is no kernel and does not hang: as good as for ever.
constexpr double kReferenceSeconds = 1e6;

Clock::time_point in_seconds(double seconds) {
  constexpr double kForEver = 1e9;  // more would overflow the clock
  seconds = std::min(seconds, kForEver);
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

Json ceilings_json(const std::map<std::string, Ceilings>& ceilings) {
  Json json = Json::object();
  for (const auto& [backend, measured] : ceilings) json[backend] = to_json(measured);
  return json;
}

// What a library says need not be UTF-8.
std::string message_line(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::map<std::string, Ceilings> all_ceilings_from_json(const Json& json) {
  std::map<std::string, Ceilings> ceilings;
  for (const auto& [backend, measured] : json.items()) ceilings.emplace(backend, ceilings_from_json(measured));
  return ceilings;
}

std::string describe_wait_status(int status) {
  if (WIFSIGNALED(status))
    return fmt::format("its process ended with signal {} ({})", WTERMSIG(status), strsignal(WTERMSIG(status)));
  return fmt::format("its process ended with exit code {}", WEXITSTATUS(status));
}

// The child's part.
class Child {
 public:
  explicit Child(Channel& channel, const Json& setup) : channel_(channel) {
    RunOptions run = run_options_from_json(setup.at("run"));
    run.measure.stop = StopOnSignal::flag();
    run_ = run;
    checker_ = Checker(check_options_from_json(setup.at("check")));
    if (const Json& library = setup.at("library"); !library.is_null())
      file_ = LibraryFile{.name = library.at("name"), .path = library.at("path")};
    get_ready(setup.at("backend"));
  }

  Json answer(const Json& request) {
    try {
      load();
    } catch (const SystemError& error) {
      return {{"error", error.what()}};
    }
    if (request.contains("check"))
      return {{"result", to_json(check(parse_problem(request["check"].get<std::string>())))}};
    if (request.contains("time")) return time(request);
    if (request.contains("measure")) return measure(request["measure"].get<std::string>());
    return list();
  }

 private:
  static void get_ready(const std::string& name) {
    if (name.empty()) return;
    try {
      if (!backend(name).unavailable()) backend(name).stream();
    } catch (const Error&) {  // the first problem will tell
    }
  }

  void tell(const char* key, const std::string& value) { channel_.send(message_line({{key, value}})); }

  void load() {
    if (!file_ || loaded_) return;
    tell("phase", "loading " + file_->path);
    loaded_ = &load_library(*file_);
    libraries_.push_back(loaded_);
  }

  Json list() {
    tell("phase", "listing its variants");
    Json rows = Json::array();
    try {
      for (const Variant& v : variants_of(*loaded_))
        rows.push_back({v.family, v.discretization, v.dtype, v.direction, v.backend, v.options});
    } catch (const Error& error) {
      return {{"error", error.what()}};
    }
    return {{"variants", rows}};
  }

  CheckResult check(const Problem& problem) {
    tell("phase", kCheckingPhase);
    checker_.on_phase = [this](const char* phase) { tell("phase", phase); };
    for (const Library* library : libraries_)
      if (library->name == implementation_of(problem))
        return checker_.check(problem, backend(problem.backend), *library);
    return broken_check(problem, "is not linked in");
  }

  Runner& runner() {
    if (!runner_) {
      runner_.emplace(run_, std::map<std::string, Ceilings>(), libraries_);
      runner_->on_phase = [this](const char* phase) { tell("phase", phase); };
    }
    return *runner_;
  }

  Json measure(const std::string& name) {
    tell("phase", "preparing");
    try {
      if (!backend(name).unavailable()) runner().prepare_for(backend(name));
    } catch (const Error& error) {
      return {{"error", error.what()}};
    }
    return {{"ceilings", ceilings_json(runner().ceilings())}, {"wall_time", take_wall_time()}};
  }

  Json time(const Json& request) {
    runner().learn(all_ceilings_from_json(request.at("ceilings")));
    runner_->on_round = nullptr;
    if (request.at("by_turns"))
      runner_->on_round = [this](int stage) {
        channel_.send(message_line({{"stage", stage},
                               {"checked", runner_->checked()},
                               {"ceilings", ceilings_json(runner_->ceilings())},
                               {"wall_time", take_wall_time()}}));
        std::string line;  // if none comes: a signal, or the end of the parent
        if (channel_.receive(line) == Channel::Event::line)
          runner_->learn(all_ceilings_from_json(Json::parse(line).at("ceilings")));
      };
    std::vector<Problem> contest;
    for (const std::string line : request["time"]) contest.push_back(parse_problem(line));
    Json rows = Json::array();
    const Share share{.processes = request.at("processes"), .checked = request.at("checked").get<Checksums>()};
    for (const Row& row : runner_->run(contest, share)) rows.push_back(to_json(row));
    return {{"rows", rows}, {"ceilings", ceilings_json(runner_->ceilings())}, {"wall_time", take_wall_time()}};
  }

  Channel& channel_;
  RunOptions run_;
  Checker checker_;
  std::optional<LibraryFile> file_;
  const Library* loaded_ = nullptr;
  std::vector<const Library*> libraries_ = linked_libraries();
  std::optional<Runner> runner_;
};

int run_worker() {
  if (::fcntl(kChildSocket, F_GETFD) < 0) throw UsageError("worker: only lrnnx-bench itself runs this subcommand");
  Channel channel(kChildSocket);
  const StopOnSignal stop;
  std::string line;
  if (channel.receive(line) != Channel::Event::line) return static_cast<int>(ExitCode::system);
  Child child(channel, Json::parse(line));
  while (stop.signal() == 0 && channel.receive(line) == Channel::Event::line)
    channel.send(message_line(child.answer(Json::parse(line))));
  return static_cast<int>(ExitCode::ok);
}

}  // namespace

Worker::Worker(Options options, std::map<std::string, Ceilings> ceilings)
    : options_(std::move(options)), ceilings_(std::move(ceilings)) {}

Worker::~Worker() { stop_child(false); }

void Worker::start(const std::string& backend) {
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
  Json library;
  if (options_.library) library = {{"name", options_.library->name}, {"path", options_.library->path}};
  channel_->send(message_line({{"run", to_json(options_.run)},
                          {"check", to_json(options_.check)},
                          {"library", library},
                          {"backend", backend}}));
}

// With whatever threads it has, and to the last of them.
void Worker::pause() {
  if (pid_ != 0) ::kill(-pid_, SIGSTOP);
}

void Worker::resume() {
  if (pid_ != 0) ::kill(-pid_, SIGCONT);
}

std::string Worker::stop_child(bool kill) {
  if (pid_ == 0) return "";
  resume();
  channel_.reset();  // the child leaves at the end of its input
  int status = 0;
  if (kill) ::kill(pid_, SIGKILL);
  const auto deadline = in_seconds(kGraceSeconds);
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (Clock::now() > deadline) ::kill(pid_, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  pid_ = 0;
  return describe_wait_status(status);
}

void Worker::send(const Json& request) {
  phase_ = "starting";
  lost_.clear();
  told_to_stop_ = false;
  if (!channel_) start();
  resume();
  channel_->send(message_line(request));  // if the child is gone, receive() will tell
}

// The next answer to the request in flight. Nothing if the child is gone: lost_ says how, and is empty if it was told
// to go.
std::optional<Json> Worker::receive() {
  const auto patience = [this] {
    const RunOptions& run = options_.run;
    if (phase_ == kReferencePhase) return in_seconds(kReferenceSeconds);
    const double sampling = static_cast<double>(run.states.size() * contest_.size()) * run.measure.timeout_seconds;
    return in_seconds(options_.patience_seconds + (phase_ == "timing" ? sampling : 0));
  };
  auto deadline = patience();
  while (true) {
    if (*StopOnSignal::flag() != 0 && !told_to_stop_) {
      ::kill(pid_, SIGTERM);
      told_to_stop_ = true;
      deadline = in_seconds(kGraceSeconds);
    }
    if (options_.cancelled && *options_.cancelled) {
      stop_child(true);
      return std::nullopt;
    }
    std::string line;
    // In steps: a signal may interrupt another thread.
    const Channel::Event event = channel_->receive(line, std::min(deadline, in_seconds(kLookSeconds)));
    if (event == Channel::Event::interrupted) continue;
    if (event == Channel::Event::expired && Clock::now() < deadline) continue;
    Json answer;
    if (event == Channel::Event::line) answer = Json::parse(line, nullptr, false);
    if (answer.is_object()) {
      if (!answer.contains("phase")) return answer;
      phase_ = answer["phase"];
      on_phase(phase_.c_str());
      if (!told_to_stop_) deadline = patience();
      continue;
    }
    const std::string end = stop_child(event != Channel::Event::closed);
    if (told_to_stop_) return std::nullopt;
    const std::string what =
        event == Channel::Event::closed ? end
        : event == Channel::Event::expired
            ? fmt::format("its process was killed after {:g} s without a sign of life (--patience)",
                          options_.patience_seconds)
            : "its process was killed because it answered what is no answer";
    lost_ = fmt::format("{} while {}", what, phase_);
    return std::nullopt;
  }
}

Worker::Rows Worker::run(const std::vector<Problem>& contest, const Share& share) {
  begin(contest, share);
  turn(false);
  return take();
}

void Worker::begin(const std::vector<Problem>& contest, const Share& share) {
  contest_ = contest;
  share_ = share;
  checked_.clear();
  requested_ = false;
  stage_ = 0;
  rows_.clear();
}

bool Worker::turn(bool by_turns) {
  if (!requested_) {
    Json lines = Json::array();
    for (const Problem& problem : contest_) lines.push_back(to_string(problem));
    send({{"time", lines},
          {"by_turns", by_turns},
          {"processes", share_.processes},
          {"checked", share_.checked},
          {"ceilings", ceilings_json(ceilings_)}});
    requested_ = true;
  } else {
    resume();
    channel_->send(message_line({{"ceilings", ceilings_json(ceilings_)}}));
  }
  const std::optional<Json> answer = receive();
  bool sound = true;
  if (answer && !answer->contains("error")) {
    try {
      if (!take_answer(*answer)) return true;
    } catch (const std::exception&) {  // it lacks a key, or has what cannot be read
      refuse_answer();
      rows_ = broken();
      sound = false;
    }
  } else {
    if (answer) lost_ = answer->at("error").is_string() ? answer->at("error").get<std::string>() : "no reason given";
    sound = answer || told_to_stop_;
    rows_ = broken();
  }
  if (answer && sound) {
    // What broke the device for one problem would break it for the next.
    sound = std::ranges::none_of(
        rows_, [](const Json& row) { return row.at("exit_code") == static_cast<int>(ExitCode::system); });
    if (!sound) stop_child(false);
  }
  if (!sound && contest_.size() > 1) {
    const std::vector<Problem> contest = contest_;
    // The other processes may be gone with the child, or may never come: each is timed as if alone.
    const Share share{.processes = 1, .checked = share_.checked};
    Rows rows;
    for (const Problem& problem : contest) {
      const Rows alone = run({problem}, share);
      rows.insert(rows.end(), alone.begin(), alone.end());
    }
    rows_ = std::move(rows);
  }
  return false;
}

// True if it was the last of the request.
bool Worker::take_answer(const Json& answer) {
  auto ceilings = all_ceilings_from_json(answer.at("ceilings"));
  if (answer.contains("stage")) {
    stage_ = answer.at("stage");
    checked_ = answer.at("checked").get<Checksums>();
    learn(ceilings);
    add_wall_time(answer.at("wall_time"));
    return false;
  }
  Rows rows = answer.at("rows").get<Rows>();
  for (size_t i = 0; i < rows.size(); ++i) {
    const Problem problem = parse_problem(rows[i].at("problem").get<std::string>());
    if (std::ranges::find(contest_, problem) == contest_.end())
      throw UsageError(fmt::format("a row of another contest: {}", to_string(problem)));
    verdict_of(rows[i]);
    if (rows[i].at("sampling") == to_string(Stopped::signalled) && !told_to_stop_)
      rows[i] = to_json(broken_row(problem, options_.run, "its process was told to stop, and not by this program"));
  }
  learn(ceilings);
  add_wall_time(answer.at("wall_time"));
  rows_ = std::move(rows);
  return true;
}

void Worker::refuse_answer() {
  stop_child(true);
  lost_ = fmt::format("its process was killed because it answered what is no answer while {}", phase_);
}

void Worker::measure(const std::string& backend) {
  contest_.clear();
  send({{"measure", backend}});
  const std::optional<Json> answer = receive();
  if (!answer || !answer->contains("ceilings")) return;  // the first problem will tell what is wrong
  learn(all_ceilings_from_json(answer->at("ceilings")));
  add_wall_time(answer->at("wall_time"));
}

Worker::Rows Worker::take() { return std::move(rows_); }

// What is left of the contest; empty if the child was told to go.
Worker::Rows Worker::broken() const {
  Rows rows;
  if (lost_.empty()) return rows;
  for (const Problem& problem : contest_) rows.push_back(to_json(broken_row(problem, options_.run, lost_)));
  return rows;
}

std::optional<CheckResult> Worker::check(const Problem& problem) {
  contest_ = {problem};
  send({{"check", to_string(problem)}});
  const std::optional<Json> answer = receive();
  if (!answer && lost_.empty()) return std::nullopt;
  if (!answer) return broken_check(problem, lost_);
  try {
    if (answer->contains("error")) return broken_check(problem, answer->at("error").get<std::string>());
    const CheckResult result = check_result_from_json(answer->at("result"));
    if (result.problem != problem) throw SystemError("the answer is of another problem");
    if (result.exit_code == ExitCode::system) stop_child(false);
    return result;
  } catch (const std::exception&) {
    refuse_answer();
  }
  return broken_check(problem, lost_);
}

std::vector<Variant> Worker::list() {
  send({{"list", true}});
  const std::optional<Json> answer = receive();
  if (!answer) throw SystemError(lost_.empty() ? "stopped by a signal" : lost_);
  if (answer->contains("error")) throw SystemError(answer->at("error").get<std::string>());
  std::vector<Variant> variants;
  try {
    for (const Json& row : answer->at("variants"))
      variants.push_back({row.at(0), row.at(1), row.at(2), row.at(3), row.at(4), row.at(5)});
  } catch (const std::exception&) {
    refuse_answer();
    throw SystemError(lost_);
  }
  return variants;
}

void add_worker_command(CLI::App& app, int& exit_code) {
  app.add_subcommand("worker", "")->group("")->callback([&exit_code] { exit_code = run_worker(); });
}

}  // namespace lrnnx::bench
