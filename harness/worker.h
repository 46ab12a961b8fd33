// Runs problems in a child process, so that a crash, a hang or a broken device costs only the problem in flight, and a
// library that was loaded only its own problems.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "harness/channel.h"
#include "harness/check.h"
#include "harness/implementations.h"
#include "harness/runner.h"

namespace CLI {
class App;
}

namespace lrnnx::bench {

class Worker {
 public:
  using Rows = std::vector<nlohmann::ordered_json>;

  struct Options {
    RunOptions run;
    CheckOptions check;
    // Without a sign of life for so long (sampling: beyond its own time-out) the child counts as hung and is killed.
    double patience_seconds = kPatienceSeconds;
    std::optional<LibraryFile> library;            // what the child loads beside what is linked in
    std::string program = "/proc/self/exe";        // an lrnnx-bench
    const std::atomic<bool>* cancelled = nullptr;  // once true, nobody wants an answer: the child is killed
  };

  explicit Worker(Options options, std::map<std::string, Ceilings> ceilings = {});
  ~Worker();  // ends the child
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  // Starts the child, as the first request would; it gets the backend ready while others do other things.
  void start(const std::string& backend = "");

  // The rows of a problem, as a Runner in the child makes them, or the row of what befell the child; another child then
  // runs the next problem. Once StopOnSignal has noted a signal the child is told to stop sampling; empty if it had
  // nothing to show yet.
  Rows run(const Problem& problem) { return run(std::vector{problem}); }

  // Likewise of problems that differ in nothing but the implementation. If one of them brings the child down, each gets
  // a child of its own.
  Rows run(const std::vector<Problem>& contest, const Share& share = {});

  // The same by turns, so that the samples of several workers are taken in turns too: after begin(), each turn() lasts
  // until the checks are made, and then for a round of samples. The last one returns false; then take().
  void begin(const std::vector<Problem>& contest, const Share& share = {});
  bool turn() { return turn(true); }
  int stage() const {
    return stage_;
  }  // what the next turn is for: 0 the checks, 1 the first cache state, 2 the second
  const Checksums& checked() const { return checked_; }  // what the checks found right, after the first turn
  Rows take();

  // Between two requests or turns: stops the child with all its threads, so that what a library left running takes
  // nothing from the others' turns. The next request or turn resumes it.
  void pause();

  // Ceilings of the backend, before anything is loaded; nothing if it has none.
  void measure(const std::string& backend);

  // As a Checker in the child says, or what befell it. Nothing if StopOnSignal has noted a signal and the child does
  // not end the problem soon, or if it is cancelled.
  std::optional<CheckResult> check(const Problem& problem);

  // The variants of Options::library. Throws SystemError saying what is wrong with it, or what befell the child.
  std::vector<Variant> list();

  const std::map<std::string, Ceilings>& ceilings() const { return ceilings_; }
  void learn(const std::map<std::string, Ceilings>& ceilings) { ceilings_.insert(ceilings.begin(), ceilings.end()); }
  pid_t pid() const { return pid_; }  // of the child; 0: none

  std::function<void(const char* phase)> on_phase = [](const char*) {};

 private:
  using Json = nlohmann::ordered_json;
  std::string stop_child(bool kill);  // what it ended with, in words
  void send(const Json& request);
  std::optional<Json> receive();
  bool turn(bool by_turns);
  Rows broken() const;
  void resume();
  bool take_answer(const Json& answer);
  void refuse_answer();

  Options options_;
  std::map<std::string, Ceilings> ceilings_;
  std::unique_ptr<Channel> channel_;
  pid_t pid_ = 0;
  // Of the request in flight.
  std::vector<Problem> contest_;
  Share share_;
  Checksums checked_;
  bool requested_ = false;
  int stage_ = 0;
  std::string phase_;
  bool told_to_stop_ = false;
  std::string lost_;  // what befell the child, and when
  Rows rows_;
};

// Registers the subcommand that a Worker starts; no help mentions it.
void add_worker_command(CLI::App& app, int& exit_code);

}  // namespace lrnnx::bench
