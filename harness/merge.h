// `merge`: joins the results of shards, or of sweeps of different problems.
#pragma once

#include <string>
#include <vector>

#include "harness/results.h"

namespace CLI {
class App;
}

namespace lrnnx::bench {

struct NamedResults {
  std::string name;
  Results results;
};

// Rows in the order of the sweep that was split, if these are shards of one, else file by file. Environment and
// ceilings are those of the first; every row keeps the floor that its own run measured. Complete if every part is and
// no shard is missing. Throws UsageError if two rows are of the same problem and cache state, or, unless `allow_mixed`,
// if machines, commits or settings differ.
Results merge(const std::vector<NamedResults>& parts, bool allow_mixed);

// "3/4": shards that the results do not hold; empty if they are not of shards.
std::vector<std::string> missing_shards(const Results& results);

// Registers `merge`; its callback stores the exit code.
void add_merge_command(CLI::App& app, int& exit_code);

}  // namespace lrnnx::bench
