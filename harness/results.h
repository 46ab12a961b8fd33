// What a sweep found: one JSON object a row, which every file holds and every output is made from, and reading it back.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "harness/ceilings.h"
#include "harness/metrics.h"

namespace lrnnx::bench {

// Goes up whenever a reader of the JSON would have to change.
inline constexpr int kResultsSchemaVersion = 1;
inline constexpr char kResultsSchema[] = "lrnnx-bench.sweep";

struct Results {
  nlohmann::ordered_json environment;
  nlohmann::ordered_json timing;             // how samples were taken
  std::map<std::string, Ceilings> ceilings;  // by backend, of those that ran
  std::vector<nlohmann::ordered_json> rows;
  nlohmann::ordered_json wall_time;                 // where it went, of the runs that this is of; null: not known
  bool complete = true;                             // no problem is missing
  std::vector<std::pair<int64_t, int64_t>> shards;  // index and count of those that this is, if not of all problems
};

// "problem", every metric by its tag, "check", "samples_ms" and "rounds". What is absent is null, and a number that is
// not finite is the text "nan", "inf" or "-inf", which JSON has no number for.
nlohmann::ordered_json to_json(const Row& row);

// What two measurements of the same thing have in common: problem with its implementation, cache state.
std::string key_of(const nlohmann::ordered_json& row);

// The row's problem line without its implementation and configuration.
std::string contest_of(const nlohmann::ordered_json& row);

// Fills in speedup_lrnnx and speedup_naive of the rows whose problem these have a time of, with one configuration.
void add_speedups(std::vector<nlohmann::ordered_json>& rows);

// The verdict of a row; throws UsageError if it is none.
Verdict verdict_of(const nlohmann::ordered_json& row);

// True if the row's time may be compared with another: it was taken, and nothing says that it cannot be right.
bool is_timed(const nlohmann::ordered_json& row);

// Throws UsageError beginning with `where` unless it is a row: with a problem line, a cache state, a verdict, an exit
// code, samples above 0 and, if it has a time, their median.
void require_row(const nlohmann::ordered_json& row, const std::string& where);

// Throws SystemError if the file cannot be read, UsageError naming the file and what is wrong in it.
Results read_results(const std::string& path);
Results parse_results(std::string_view text, const std::string& origin);

// Sentences, empty if both ran on the same kind of machine with the same drivers.
std::vector<std::string> machine_differences(const nlohmann::ordered_json& environment,
                                             const nlohmann::ordered_json& other);

// Likewise, of the program's commit.
std::vector<std::string> build_differences(const nlohmann::ordered_json& environment,
                                           const nlohmann::ordered_json& other);

}  // namespace lrnnx::bench
