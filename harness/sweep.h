// `sweep`: checks each problem against the oracle, times what passed, and reports it.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "harness/baseline.h"
#include "harness/implementations.h"
#include "harness/results.h"
#include "harness/runner.h"
#include "harness/suite.h"

namespace CLI {
class App;
}

namespace lrnnx::bench {

// The part of the problems that one of several machines does: every count-th pair of contests, beginning with the
// index-th. Pairs, because lists alternate forward and backward, and each machine should do as much of both.
struct Shard {
  int64_t index = 1, count = 1;
};
inline constexpr size_t kDealtTogether = 2;
inline constexpr int64_t kMostShards = 1'000'000;

struct SweepOptions {
  Selection selection;
  std::string direction;  // empty: both
  Shard shard;
  RunOptions run;
  bool quiet = false, dry_run = false, fail_fast = false, resume = false;
  bool in_process = false;                     // no child process: for a debugger
  double patience_seconds = kPatienceSeconds;  // see Worker
  std::optional<double> budget_seconds;        // no problem starts after so long
  std::string journal;                         // file; empty: beside the results
  std::string json, csv, markdown;             // files; empty: none
  std::string out;                             // directory for sweep.json and sweep.csv; empty: none
  std::vector<int64_t> devices;                // of one machine, at once; empty: the current one
  std::string label;                           // of its lines of progress
  std::string baseline;                        // results to compare with; empty: none
  std::string against;                         // implementation to compare the others with; empty: none
  double threshold = kDefaultThreshold;
  bool strict = false, allow_mixed = false;
};

struct Swept {
  Results results;
  int signal = 0;  // that ended the sweep; 0: none did
};

// Runs the problems one after the other in child processes, those that differ only in the implementation in turns; what
// goes wrong with one is its row's verdict and stops no other. SIGINT or SIGTERM ends it after the sample in flight.
// `journal` is a path, empty for none.
Swept sweep(const std::vector<Problem>& problems, const SweepOptions& options, const std::string& journal,
            std::span<const Implementation> implementations);

// The contests of the shard; none if there are more shards than pairs of contests.
std::vector<Problem> share_of(const std::vector<Problem>& problems, const Shard& shard);

// The gravest of the rows: wrong numbers or times, then a broken machine, then a refused argument; nothing_ran if all
// were skipped. 128 + the signal if one ended the sweep.
int exit_code_of(const Swept& swept);

// Selects, sweeps, writes the files and then the table. Returns the exit code.
int run_sweep(const SweepOptions& options);

// Registers `sweep`; its callback stores the exit code.
void add_sweep_command(CLI::App& app, int& exit_code);

}  // namespace lrnnx::bench
