// Checks one problem after the other against the oracle in this process, and times what passed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "harness/ceilings.h"
#include "harness/check.h"
#include "harness/library.h"
#include "harness/metrics.h"
#include "harness/timing.h"

namespace lrnnx::bench {

struct RunOptions {
  bool check = true;
  std::vector<CacheState> states = {CacheState::cold};  // a row each
  MeasureOptions measure;                               // its cache state is set for each measurement
  bool profile = false;                                 // launch each problem once for a profiler; take no times
  int64_t processes = 0;                                // see processes_for()
};

// Processes that time the same small problem on a GPU differ by a percent or two, and by less if several time it in
// turns. So many time it: `asked`, or with 0 one on the processor and kProcesses on a GPU; one if it is not small.
int64_t processes_for(const Problem& problem, int64_t asked);
inline constexpr int64_t kProcesses = 4, kMostProcesses = 64;
inline constexpr double kSmallBytes = 32 << 20;  // of inputs and outputs

// Checksums of outputs, by problem line.
using Checksums = std::map<std::string, std::vector<uint64_t>>;

// What one of several processes that time the same problems does of it.
struct Share {
  int64_t processes = 1;  // it takes this part of the samples
  Checksums checked;      // of what another one checked: to be had again, instead of asking the oracle
};

// "check", "cache" and the settings of the sampling by their names; and back.
nlohmann::ordered_json to_json(const RunOptions& options);
RunOptions run_options_from_json(const nlohmann::ordered_json& json);

class Case;

class Runner {
 public:
  // `ceilings` that are known already are not measured again.
  explicit Runner(RunOptions options, std::map<std::string, Ceilings> ceilings = {},
                  std::vector<const Library*> libraries = linked_libraries());

  // The rows of a problem, one a cache state; a single one if it is not timed. What goes wrong is the row's verdict.
  std::vector<Row> run(const Problem& problem) { return run(std::vector{problem}); }

  // Likewise of problems that differ in nothing but the implementation. Each is checked; then they are timed in turns.
  std::vector<Row> run(const std::vector<Problem>& contest, const Share& share = {});

  // What the checks of run() found right, once they are made.
  const Checksums& checked() const { return checked_; }

  // By backend, of those that ran.
  const std::map<std::string, Ceilings>& ceilings() const { return ceilings_; }
  void learn(const std::map<std::string, Ceilings>& ceilings) { ceilings_.insert(ceilings.begin(), ceilings.end()); }
  void prepare_for(Backend& backend) { timer_of(backend); }  // its ceilings, if they are not known

  // Told what a problem is about to go through: "checking", "timing".
  std::function<void(const char* phase)> on_phase = [](const char*) {};

  // Called after the checks and after each round of samples; before it returns, others may do the same elsewhere. Told
  // what comes next: 1 the first cache state, 2 the second.
  std::function<void(int stage)> on_round;

 private:
  struct Contender;
  // Makes a row of what `step` throws.
  void attempt(Contender& contender, const std::function<void()>& step);
  void check(Contender& contender);
  void prepare(Contender& contender);
  void time(std::vector<Contender*> contenders, CacheState state, int stage);
  void finish(Contender& contender, const Measurement& measurement);
  static std::string fault_after_samples(Case& prepared, const CheckResult& checked);
  const Library& library_of(const Problem& problem) const;
  Timer& timer_of(Backend& backend);
  double batched_ms(Timer& timer, Case& prepared);

  RunOptions options_;
  std::vector<const Library*> libraries_;
  Checker checker_;
  std::map<std::string, std::unique_ptr<Timer>> timers_;
  std::map<std::string, Ceilings> ceilings_;
  // Of the contest.
  MeasureOptions measure_;
  Checksums checked_;
};

// What is known of a problem before anything of it has run.
Row row_of(const Problem& problem, CacheState cache);

// A row that says what broke before there was more to say.
Row broken_row(const Problem& problem, const RunOptions& options, const std::string& reason);

// The row with the doubts about its time: invalid, with the exit code of wrong numbers, if a cold one is faster than
// copying its bytes or if the machine throttled all the time; a note if the time says little.
Row judged(Row row, const Ceilings& ceilings);

}  // namespace lrnnx::bench
