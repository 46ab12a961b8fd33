// Which process runs which problem.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "harness/implementations.h"
#include "harness/runner.h"
#include "harness/worker.h"

namespace lrnnx::bench {

// Runs contests. What is linked in runs in one child process, and each library of --library in one of its own, so that
// it can spoil nothing but its own rows; what is small in several of each, whose samples are then one row's. They all
// take turns. Or everything runs in this process.
class Executor {
 public:
  using Rows = std::vector<nlohmann::ordered_json>;

  struct Options {
    RunOptions run;
    bool in_process = false;
    double patience_seconds = kPatienceSeconds;  // see Worker
    std::string program = "/proc/self/exe";      // likewise
  };

  // `backend` is that of the first problem, or empty.
  Executor(Options options, std::span<const Implementation> implementations, const std::string& backend);

  // Of problems that differ in nothing but the implementation; in their order.
  Rows run(const std::vector<Problem>& contest);

  const std::map<std::string, Ceilings>& ceilings() const { return ceilings_; }
  void learn(const std::map<std::string, Ceilings>& ceilings);

  std::function<void(const char* phase)> on_phase = [](const char*) {};

 private:
  using Shares = std::map<std::string, std::vector<Problem>>;  // problems by library; "": linked in
  void take_turns(const Shares& shares, int64_t processes, const std::function<void(const Rows&)>& collect);
  Worker& worker_of(const std::string& library, int64_t process = 0);

  Options options_;
  std::map<std::string, Ceilings> ceilings_;
  std::map<std::string, std::string> broken_;  // why, by library
  std::map<std::string, LibraryFile> files_;
  std::map<std::pair<std::string, int64_t>, std::unique_ptr<Worker>> workers_;  // by library and process
  std::optional<Runner> runner_;                                                // instead of workers
};

// One row of each that several processes have of the same problem and cache state, in the order of the first process:
// with the samples of all, round by round in turns, and what follows from them. A process that could not run it adds
// nothing, and a note says so; one in which it went wrong decides.
Executor::Rows pooled(const std::vector<Executor::Rows>& processes, const std::map<std::string, Ceilings>& ceilings);

}  // namespace lrnnx::bench
