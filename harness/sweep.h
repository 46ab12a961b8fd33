// `sweep`: checks each problem against the oracle, times what passed, and reports it.
#pragma once

#include <string>

#include "harness/sinks.h"
#include "harness/suite.h"
#include "harness/timing.h"

namespace CLI {
class App;
}

namespace lrnnx::bench {

struct SweepOptions {
  Selection selection;
  std::string direction;  // empty: both
  bool check = true;
  bool quiet = false;
  bool cold = false, warm = false;  // neither: cold
  MeasureOptions measure;           // its cache state is set for each measurement
  std::string json, csv;            // files; empty: none
  std::string out;                  // directory for sweep.json and sweep.csv; empty: none
};

// Runs the problems one after the other; what goes wrong with one is its row's verdict and stops no other. SIGINT or
// SIGTERM ends it after the sample in flight.
Report sweep(const std::vector<Problem>& problems, const SweepOptions& options);

// The row with the doubts about its time: invalid, with the exit code of wrong numbers, if a cold one is faster than
// copying its bytes; a note if the time says little.
Row judged(Row row, const Ceilings& ceilings);

// The gravest of the rows: wrong numbers or times, then a broken machine, then a refused argument; nothing_ran if all
// were skipped. 128 + the signal if one ended the sweep.
int exit_code_of(const Report& report);

// Selects, sweeps, writes the files and then the table. Returns the exit code.
int run_sweep(const SweepOptions& options);

// Registers `sweep`; its callback stores the exit code.
void add_sweep_command(CLI::App& app, int& exit_code);

}  // namespace lrnnx::bench
