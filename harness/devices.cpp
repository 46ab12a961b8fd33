// One process a GPU.
#include "harness/devices.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <set>
#include <thread>

#include "harness/backend.h"
#include "harness/environment.h"
#include "harness/error.h"
#include "harness/merge.h"
#include "harness/output.h"
#include "harness/signals.h"
#include "harness/words.h"

namespace lrnnx::bench {
namespace {

constexpr const char* kVisible = "CUDA_VISIBLE_DEVICES";

// As CUDA shall see only this one of those that it sees now.
std::string visible(int64_t device) {
  const char* const now = std::getenv(kVisible);
  if (!now) return std::to_string(device);
  const std::vector<std::string> words = split(now, ',');
  return static_cast<size_t>(device) < words.size() ? words[static_cast<size_t>(device)] : "";
}

std::string json_of(const SweepOptions& part) { return part.out + "/sweep.json"; }

// Of a part that an interrupted sweep has finished: there is nothing to resume.
bool is_done(const SweepOptions& part, const std::vector<Problem>& problems) {
  if (!part.resume || !std::filesystem::exists(json_of(part))) return false;
  const Results results = read_results(json_of(part));
  std::set<std::string> done, asked;
  for (const auto& row : results.rows) done.insert(row.at("problem").get<std::string>());
  for (const Problem& problem : share_of(problems, part.shard)) asked.insert(to_string(problem));
  return results.complete && done == asked;
}

pid_t start(const DevicePart& part) {
  std::vector<std::string> words = command_words();
  words.push_back("--device-part");
  words.push_back(to_string(part));
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  const std::string setting = fmt::format("{}={}", kVisible, visible(part.device));
  std::vector<char*> variables;
  for (char** variable = environ; *variable; ++variable)
    if (!std::string_view(*variable).starts_with(fmt::format("{}=", kVisible))) variables.push_back(*variable);
  variables.push_back(const_cast<char*>(setting.c_str()));
  variables.push_back(nullptr);
  const pid_t parent = ::getpid(), child = ::fork();
  if (child < 0) throw SystemError(fmt::format("fork: {}", std::strerror(errno)));
  if (child > 0) return child;
  ::setpgid(0, 0);  // Ctrl-C is the parent's to hand on
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (::getppid() != parent) ::_exit(3);
  ::dup2(::open("/dev/null", O_WRONLY), STDOUT_FILENO);
  ::execve("/proc/self/exe", arguments.data(), variables.data());
  ::_exit(127);
}

struct Process {
  SweepOptions options;
  pid_t id = 0;  // 0: it does not run
  int status = 0;
};

void wait_for(std::vector<Process>& processes, const StopOnSignal& stop) {
  bool told = false;
  while (std::ranges::any_of(processes, [](const Process& process) { return process.id != 0; })) {
    if (stop.signal() != 0 && !told) {
      told = true;
      for (const Process& process : processes)
        if (process.id != 0) ::kill(process.id, stop.signal());
    }
    for (Process& process : processes)
      if (process.id != 0 && ::waitpid(process.id, &process.status, WNOHANG) != 0) process.id = 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

}  // namespace

std::vector<int64_t> parse_devices(const std::string& text) {
  Backend& cuda = backend("cuda");
  if (text.empty()) throw UsageError("--devices '': expected all, or numbers such as 0,2");
  const int64_t count = cuda.device_count();
  std::vector<int64_t> devices;
  if (text == "all") {
    if (const auto reason = cuda.unavailable()) throw Error(ExitCode::nothing_ran, "--devices all: " + *reason);
    for (int64_t device = 0; device < count; ++device) devices.push_back(device);
    return devices;
  }
  for (const std::string& word : split(text, ',')) {
    if (word.empty() || word.size() > 4 || word.find_first_not_of("0123456789") != std::string::npos)
      throw UsageError(fmt::format("--devices '{}': expected all, or numbers such as 0,2", text));
    const int64_t device = std::stoll(word);
    if (std::ranges::find(devices, device) != devices.end())
      throw UsageError(fmt::format("--devices '{}': {} is given twice", text, device));
    if (count > 0 && device >= count)
      throw UsageError(fmt::format("--devices '{}': {} is none of 0 to {}", text, device, count - 1));
    devices.push_back(device);
  }
  return devices;
}

std::string to_string(const DevicePart& part) { return fmt::format("{}/{}/{}", part.index, part.count, part.device); }

DevicePart parse_device_part(const std::string& text) {
  DevicePart part;
  char end;
  if (std::sscanf(text.c_str(), "%ld/%ld/%ld%c", &part.index, &part.count, &part.device, &end) != 3 || part.index < 0 ||
      part.index >= part.count)
    throw UsageError(fmt::format("--device-part '{}': expected INDEX/COUNT/DEVICE", text));
  return part;
}

SweepOptions options_of_part(const SweepOptions& options, const DevicePart& part) {
  SweepOptions own = options;
  own.devices.clear();
  own.label = fmt::format("device {} ", part.device);
  own.out = fmt::format("{}/device-{}", options.out, part.device);
  own.shard = {.index = options.shard.index + part.index * options.shard.count,
               .count = options.shard.count * part.count};
  own.json = own.csv = own.markdown = own.baseline = own.against = "";
  return own;
}

Swept sweep_on_devices(const std::vector<Problem>& problems, const SweepOptions& options) {
  const StopOnSignal stop;
  const auto count = static_cast<int64_t>(options.devices.size());
  std::vector<Process> processes;
  for (int64_t i = 0; i < count; ++i) {
    const DevicePart part{.index = i, .count = count, .device = options.devices[static_cast<size_t>(i)]};
    Process& process = processes.emplace_back(Process{.options = options_of_part(options, part)});
    if (is_done(process.options, problems)) continue;
    std::filesystem::remove(json_of(process.options));  // of an earlier sweep
    process.id = start(part);
  }
  wait_for(processes, stop);

  std::vector<NamedResults> results;
  std::string missing;
  for (const auto& [part, id, status] : processes) {
    if (std::filesystem::exists(json_of(part)))
      results.push_back({json_of(part), read_results(json_of(part))});
    else
      missing += fmt::format("{}{}({})", missing.empty() ? "" : ", ", part.label,
                             WIFEXITED(status) ? fmt::format("exit code {}", WEXITSTATUS(status))
                                               : fmt::format("signal {}", WTERMSIG(status)));
  }
  if (!missing.empty())
    throw SystemError(fmt::format("no results of {}; --resume goes on with what is in {}", missing, options.out));
  Results merged = merge(results, options.allow_mixed);
  // They are the parts of this process's own share, all of which are here.
  merged.complete = std::ranges::all_of(results, [](const NamedResults& part) { return part.results.complete; });
  merged.shards.clear();
  if (options.shard.count > 1) merged.shards.emplace_back(options.shard.index, options.shard.count);
  return {.results = std::move(merged), .signal = stop.signal()};
}

void remove_parts(const SweepOptions& options) {
  for (const int64_t device : options.devices)
    std::filesystem::remove_all(options_of_part(options, {.device = device}).out);
}

}  // namespace lrnnx::bench
