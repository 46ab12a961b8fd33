// `sweep`: checks each problem against the oracle, times what passed, and reports it.
#pragma once

#include <string>
#include <vector>

#include "harness/baseline.h"
#include "harness/results.h"
#include "harness/runner.h"
#include "harness/suite.h"

namespace CLI {
class App;
}

namespace lrnnx::bench {

struct SweepOptions {
  Selection selection;
  std::string direction;  // empty: both
  RunOptions run;
  bool quiet = false;
  std::string json, csv;  // files; empty: none
  std::string out;        // directory for sweep.json and sweep.csv; empty: none
  std::string baseline;   // results to compare with; empty: none
  double threshold = kDefaultThreshold;
  bool strict = false, allow_mixed = false;
};

struct Swept {
  Results results;
  int signal = 0;  // that ended the sweep; 0: none did
};

// Runs the problems one after the other; what goes wrong with one is its row's verdict and stops no other. SIGINT or
// SIGTERM ends it after the sample in flight.
Swept sweep(const std::vector<Problem>& problems, const SweepOptions& options);

// The gravest of the rows: wrong numbers or times, then a broken machine, then a refused argument; nothing_ran if all
// were skipped. 128 + the signal if one ended the sweep.
int exit_code_of(const Swept& swept);

// Selects, sweeps, writes the files and then the table. Returns the exit code.
int run_sweep(const SweepOptions& options);

// Registers `sweep`; its callback stores the exit code.
void add_sweep_command(CLI::App& app, int& exit_code);

}  // namespace lrnnx::bench
