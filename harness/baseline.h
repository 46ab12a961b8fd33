// Did the median time of a problem change between two measurements, and is that more than noise?
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "harness/results.h"
#include "harness/stats.h"

namespace lrnnx::bench {

enum class Change {
  fast,      // faster by more than the threshold
  slow,      // slower by more than the threshold
  same,      // changed by less than the threshold
  ambiguous  // the samples cannot tell
};
const char* to_string(Change change);  // "FAST", ...

// Runs of one program differ by more than their samples do: clocks, addresses, other tenants. A threshold of half the
// least change worth finding (3 %) leaves the other half for that, on both sides.
inline constexpr double kDefaultThreshold = 0.015;
// Of short kernels more than the threshold: by so much processes of one program differ.
inline constexpr double kLeastChangeMs = 0.0002;
inline constexpr double kComparisonLevel = 0.99;

// new median / old median, and what surely holds it.
struct Ratio {
  double estimate = 1, low = 1, high = 1;
  bool enough = true;  // false: too few samples for an interval of the level
};

// From the ends of the two medians' own intervals: [low_new / high_old, high_new / low_old]. For independent samples it
// misses the true ratio far less often than 1 - level, for then both intervals have to miss, or one by much.
Ratio ratio_of(std::span<const double> old_ms, std::span<const double> new_ms);

// The same of two that took their samples in turns, a round each: from the ratios of the medians of neighbouring
// rounds, in which what drifts on the machine is on both sides. `rounds`: how many samples each had.
struct Turns {
  std::span<const double> samples_ms;
  std::span<const int64_t> rounds;
};
Ratio ratio_of(const Turns& before, const Turns& after);

// With t the threshold: slow if low > 1 + t, fast if high < 1 / (1 + t), same if the interval lies between these two.
Change judge(const Ratio& ratio, double threshold);

// Two rows with the same key.
struct Pair {
  nlohmann::ordered_json before, after;
  std::optional<Ratio> ratio;  // none if only the older one has a time
  double threshold = 0;        // of this pair
  Change change = Change::ambiguous;
};

struct Comparisons {
  std::vector<Pair> pairs;            // in the order of the newer rows; the older one has a time
  std::vector<std::string> only_old;  // keys
  std::vector<std::string> only_new;  // keys of rows that have a time
  double threshold = kDefaultThreshold;
  std::string against;  // the implementation that is the older one of each pair; empty: two runs were compared
};

Comparisons compare_results(const Results& before, const Results& after, double threshold);

// Within one run, in which they took turns: each implementation against the one named, on the same problem with the
// same launch configuration, or with the only one that it ran with. Throws UsageError if that has no row, or rows have
// no rounds.
Comparisons compare_implementations(const Results& results, const std::string& against, double threshold);

// Throws UsageError naming what differs if the environments are not of the same kind of machine.
void require_same_machine(const nlohmann::ordered_json& before, const nlohmann::ordered_json& after,
                          const std::string& before_name, const std::string& after_name);

std::string table_text(const Comparisons& comparisons);
nlohmann::ordered_json to_json(const Comparisons& comparisons);

// Wrong numbers or a broken run where there was a time come before slower rows, and those before ambiguous ones, which
// count only if `strict`, as then do rows that are not there or skipped; else nothing_ran if one is now skipped, or if
// no problem is in both.
int exit_code_of(const Comparisons& comparisons, bool strict);

}  // namespace lrnnx::bench
