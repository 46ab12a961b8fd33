// Joins results.
#include "harness/merge.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <set>

#include "harness/error.h"
#include "harness/files.h"
#include "harness/flags.h"
#include "harness/output.h"
#include "harness/sinks.h"
#include "harness/sweep.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

void require_same_run(const NamedResults& one, const NamedResults& other) {
  std::vector<std::string> differences = machine_differences(one.results.environment, other.results.environment);
  const auto builds = build_differences(one.results.environment, other.results.environment);
  differences.insert(differences.end(), builds.begin(), builds.end());
  if (one.results.timing != other.results.timing) differences.emplace_back("settings of the sampling");
  if (!differences.empty())
    throw UsageError(fmt::format("{} and {} differ ({}); --allow-mixed joins them all the same", one.name, other.name,
                                 fmt::join(differences, "; ")));
}

// Whether a row is of the contest that these are of, as contests_of() makes them.
bool is_row_of(const std::vector<Json>& contest, const Json& row) {
  return contest_of(contest.front()) == contest_of(row) && std::ranges::none_of(contest, [&](const Json& other) {
           return other.value("implementation", Json()) == row.value("implementation", Json()) &&
                  other.at("problem") != row.at("problem");
         });
}

// Consecutive rows of one problem, by whichever implementation.
std::vector<std::vector<Json>> problems_of(const Results& results) {
  std::vector<std::vector<Json>> problems;
  for (const Json& row : results.rows) {
    if (problems.empty() || !is_row_of(problems.back(), row)) problems.emplace_back();
    problems.back().push_back(row);
  }
  return problems;
}

std::set<std::string> as_set(const std::vector<std::string>& sentences) { return {sentences.begin(), sentences.end()}; }

// Null if a part does not know its own.
Json total_wall_time(const std::vector<NamedResults>& parts) {
  Json total = parts.front().results.wall_time;
  for (size_t i = 1; i < parts.size(); ++i) {
    if (!total.is_object() || !parts[i].results.wall_time.is_object()) return nullptr;
    for (auto& [activity, seconds] : total.items())
      seconds = seconds.get<double>() + parts[i].results.wall_time.value(activity, 0.0);
  }
  return total;
}

// Throws UsageError if two have the same index.
bool are_shards_of_one(const std::vector<NamedResults>& parts) {
  std::map<int64_t, std::string> names;  // by index
  for (const NamedResults& part : parts) {
    const auto& shards = part.results.shards;
    if (shards.size() != 1 || shards[0].second != parts[0].results.shards[0].second) return false;
    if (const auto [known, is_new] = names.emplace(shards[0].first, part.name); !is_new)
      throw UsageError(fmt::format("{} and {} are both shard {}/{}, of different sweeps", known->second, part.name,
                                   shards[0].first, shards[0].second));
  }
  return true;
}

struct MergeFlags {
  std::vector<std::string> inputs;
  std::string output, csv;
  bool allow_mixed = false;
};

int run_merge(const MergeFlags& flags) {
  require_places({flags.output, flags.csv}, flags.inputs);
  std::vector<NamedResults> parts;
  for (const std::string& path : flags.inputs) parts.push_back({path, read_results(path)});
  const Results merged = merge(parts, flags.allow_mixed);
  if (const auto missing = missing_shards(merged); !missing.empty())
    write_stderr(fmt::format("missing: shard {}\n", fmt::join(missing, ", ")));
  std::vector<Output> outputs = {{flags.output, json_text(merged)}};
  if (!flags.csv.empty()) outputs.push_back({flags.csv, csv_text(merged)});
  write_outputs(std::move(outputs));
  return static_cast<int>(ExitCode::ok);
}

}  // namespace

Results merge(const std::vector<NamedResults>& parts, bool allow_mixed) {
  std::map<std::string, std::string> owners;  // file by key of the row
  for (const NamedResults& part : parts) {
    if (!allow_mixed) require_same_run(parts.front(), part);
    for (const Json& row : part.results.rows) {
      const auto [owner, is_new] = owners.emplace(key_of(row), part.name);
      if (!is_new) throw UsageError(fmt::format("{} and {} both have {}", owner->second, part.name, key_of(row)));
    }
  }

  Results merged = parts.front().results;
  // Whoever compares with them later should know.
  std::set<std::string> mixed;
  for (const NamedResults& part : parts)
    mixed.merge(as_set(machine_differences(parts.front().results.environment, part.results.environment)));
  if (!mixed.empty()) merged.environment["mixed"] = mixed;
  merged.rows.clear();
  merged.shards.clear();
  for (const NamedResults& part : parts) {
    merged.complete = merged.complete && part.results.complete;
    merged.shards.insert(merged.shards.end(), part.results.shards.begin(), part.results.shards.end());
    merged.ceilings.insert(part.results.ceilings.begin(), part.results.ceilings.end());
  }
  merged.wall_time = total_wall_time(parts);
  std::ranges::sort(merged.shards);
  if (!missing_shards(merged).empty()) merged.complete = false;

  const auto take = [&merged](const std::vector<Json>& rows) {
    merged.rows.insert(merged.rows.end(), rows.begin(), rows.end());
  };
  if (!are_shards_of_one(parts)) {
    for (const NamedResults& part : parts) take(part.results.rows);
    return merged;
  }
  std::map<int64_t, std::vector<std::vector<Json>>> problems;  // by the shard's index
  for (const NamedResults& part : parts) problems[part.results.shards[0].first] = problems_of(part.results);
  for (size_t first = 0; merged.rows.size() < owners.size(); first += kDealtTogether)
    for (const auto& [index, of_shard] : problems)
      for (size_t i = first; i < std::min(first + kDealtTogether, of_shard.size()); ++i) take(of_shard[i]);
  return merged;
}

std::vector<std::string> missing_shards(const Results& results) {
  std::vector<std::string> missing;
  if (results.shards.empty()) return missing;
  const int64_t count = results.shards.front().second;
  for (int64_t index = 1; index <= count; ++index)
    if (std::ranges::find(results.shards, std::pair(index, count)) == results.shards.end())
      missing.push_back(fmt::format("{}/{}", index, count));
  return missing;
}

void add_merge_command(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<MergeFlags>();
  CLI::App* command = app.add_subcommand(
      "merge",
      "Join the results of the shards of a sweep, or of several sweeps\n"
      "A shard that is missing is named; what is there is joined, marked as incomplete, and the exit code is 0.");
  command->add_option("RESULTS", flags->inputs, "JSON of sweeps")->required()->type_name("FILE...");
  command->add_option("-o,--output", flags->output, "JSON of all of them; - is stdout")
      ->check(path())
      ->required()
      ->type_name("FILE|-");
  command->add_option("--csv", flags->csv, "Also write one line a row to this file")
      ->check(path())
      ->type_name("FILE|-");
  command->add_flag("--allow-mixed", flags->allow_mixed,
                    "Join results of different machines, commits or settings all the same");
  command->callback([flags, &exit_code] { exit_code = run_merge(*flags); });
}

}  // namespace lrnnx::bench
