// Runs problems in a child process, so that a crash, a hang or a broken device costs only the problem in flight.
#pragma once

#include <sys/types.h>

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "harness/channel.h"
#include "harness/runner.h"

namespace CLI {
class App;
}

namespace lrnnx::bench {

class Worker {
 public:
  struct Options {
    RunOptions run;
    // Without a sign of life for so long (sampling: beyond its own time-out) the child counts as hung and is killed.
    double patience_seconds = 300;
    std::string program = "/proc/self/exe";  // an lrnnx-bench
  };

  explicit Worker(Options options, std::map<std::string, Ceilings> ceilings = {});
  ~Worker();  // ends the child
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // The rows of a problem, as a Runner in the child makes them, or the row of what befell the child; another child then
  // runs the next problem. Once StopOnSignal has noted a signal the child is told to stop sampling; empty if it had
  // nothing to show yet.
  std::vector<nlohmann::ordered_json> run(const Problem& problem);

  const std::map<std::string, Ceilings>& ceilings() const { return ceilings_; }
  pid_t pid() const { return pid_; }  // of the child; 0: none

  std::function<void(const char* phase)> on_phase = [](const char*) {};

 private:
  void start();
  std::string stop_child(bool kill);  // what it ended with, in words

  Options options_;
  std::map<std::string, Ceilings> ceilings_;
  std::unique_ptr<Channel> channel_;
  pid_t pid_ = 0;
};

// Registers the subcommand that a Worker starts; no help mentions it.
void add_worker_command(CLI::App& app, int& exit_code);

}  // namespace lrnnx::bench
