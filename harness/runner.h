// Checks one problem after the other against the oracle in this process, and times what passed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "harness/ceilings.h"
#include "harness/check.h"
#include "harness/metrics.h"
#include "harness/timing.h"

namespace lrnnx::bench {

struct RunOptions {
  bool check = true;
  std::vector<CacheState> states = {CacheState::cold};  // a row each
  MeasureOptions measure;                               // its cache state is set for each measurement
  bool profile = false;                                 // launch each problem once for a profiler; take no times
};

// "check", "cache" and the settings of the sampling by their names; and back.
nlohmann::ordered_json to_json(const RunOptions& options);
RunOptions run_options_from_json(const nlohmann::ordered_json& json);

class Case;

class Runner {
 public:
  // `ceilings` that are known already are not measured again.
  explicit Runner(RunOptions options, std::map<std::string, Ceilings> ceilings = {});

  // The rows of a problem, one a cache state; a single one if it is not timed. What goes wrong is the row's verdict.
  std::vector<Row> run(const Problem& problem);

  // By backend, of those that ran.
  const std::map<std::string, Ceilings>& ceilings() const { return ceilings_; }

  // Told what a problem is about to go through: "checking", "timing".
  std::function<void(const char* phase)> on_phase = [](const char*) {};

 private:
  std::vector<Row> check_and_time(Row& row);
  Timer& timer_of(Backend& backend);
  double batched_ms(Timer& timer, Case& prepared);

  RunOptions options_;
  Checker checker_;
  std::map<std::string, std::unique_ptr<Timer>> timers_;
  std::map<std::string, Ceilings> ceilings_;
};

// What is known of a problem before anything of it has run.
Row row_of(const Problem& problem, CacheState cache);

// The row with the doubts about its time: invalid, with the exit code of wrong numbers, if a cold one is faster than
// copying its bytes or if the machine throttled all the time; a note if the time says little.
Row judged(Row row, const Ceilings& ceilings);

}  // namespace lrnnx::bench
