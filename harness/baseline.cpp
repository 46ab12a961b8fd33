// Compares two sets of results row by row.
#include "harness/baseline.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "harness/error.h"
#include "harness/output.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr Change kChanges[] = {Change::slow, Change::ambiguous, Change::fast, Change::same};

std::vector<double> samples_of(const Json& row) { return row.at("samples_ms").get<std::vector<double>>(); }

std::vector<double> medians_of_rounds(const Turns& turns) {
  std::vector<double> medians;  // NaN: a round without a sample
  size_t begin = 0;
  for (const int64_t count : turns.rounds) {
    const std::span<const double> round = turns.samples_ms.subspan(begin, static_cast<size_t>(count));
    medians.push_back(round.empty() ? std::nan("") : summarize(round).median);
    begin += round.size();
  }
  return medians;
}

// The pair's times and what follows from their ratio.
void decide(Pair& pair, const Ratio& ratio, double threshold) {
  pair.ratio = ratio;
  pair.threshold = std::max(threshold, kLeastChangeMs / pair.before.at("median_ms").get<double>());
  pair.change = judge(ratio, pair.threshold);
}

std::string implementation_name(const Json& row) {
  const Json name = row.value("implementation", Json());
  return name.is_string() ? name.get<std::string>() : "";
}

std::vector<std::string> words_of(const std::string& line) {
  std::istringstream stream(line);
  return {std::istream_iterator<std::string>(stream), {}};
}

// The words that all lines have are left out of each, and returned.
std::string factor_out_common_words(std::vector<std::string>& lines) {
  std::vector<std::string> common = words_of(lines.front());
  for (const std::string& line : lines) {
    const std::vector<std::string> words = words_of(line);
    std::erase_if(common, [&](const std::string& word) { return std::ranges::find(words, word) == words.end(); });
  }
  if (lines.size() == 1) common.clear();
  for (std::string& line : lines) {
    std::vector<std::string> words = words_of(line);
    std::erase_if(words, [&](const std::string& word) { return std::ranges::find(common, word) != common.end(); });
    line = fmt::format("{}", fmt::join(words, " "));
  }
  return fmt::format("{}", fmt::join(common, " "));
}

std::string percent(double ratio) { return fmt::format("{:+.2f} %", 100 * (ratio - 1)); }

int64_t count_of(const Comparisons& comparisons, Change change) {
  return std::ranges::count_if(comparisons.pairs,
                               [change](const Pair& pair) { return pair.ratio && pair.change == change; });
}

}  // namespace

const char* to_string(Change change) {
  switch (change) {
    case Change::fast:
      return "FAST";
    case Change::slow:
      return "SLOW";
    case Change::same:
      return "SAME";
    case Change::ambiguous:
      return "AMBIGUOUS";
  }
  return "?";
}

Ratio ratio_of(std::span<const double> old_ms, std::span<const double> new_ms) {
  const Interval before = batched_median_interval(old_ms, kComparisonLevel);
  const Interval after = batched_median_interval(new_ms, kComparisonLevel);
  return {.estimate = summarize(new_ms).median / summarize(old_ms).median,
          .low = after.low / before.high,
          .high = after.high / before.low,
          .enough = std::min(before.coverage, after.coverage) >= kComparisonLevel};
}

Ratio ratio_of(const Turns& before, const Turns& after) {
  const std::vector<double> older = medians_of_rounds(before), newer = medians_of_rounds(after);
  std::vector<double> ratios;
  for (size_t i = 0; i < std::min(older.size(), newer.size()); ++i)
    if (const double ratio = newer[i] / older[i]; std::isfinite(ratio)) ratios.push_back(ratio);
  if (ratios.empty()) return {.enough = false};
  const Interval interval = batched_median_interval(ratios, kComparisonLevel);
  return {.estimate = summarize(ratios).median,
          .low = interval.low,
          .high = interval.high,
          .enough = interval.coverage >= kComparisonLevel};
}

Change judge(const Ratio& ratio, double threshold) {
  if (!ratio.enough) return Change::ambiguous;
  if (ratio.low > 1 + threshold) return Change::slow;
  if (ratio.high < 1 / (1 + threshold)) return Change::fast;
  if (ratio.low >= 1 / (1 + threshold) && ratio.high <= 1 + threshold) return Change::same;
  return Change::ambiguous;
}

Comparisons compare_results(const Results& before, const Results& after, double threshold) {
  Comparisons comparisons;
  comparisons.threshold = threshold;
  std::map<std::string, const Json*> older;
  for (const Json& row : before.rows)
    if (is_timed(row)) older.emplace(key_of(row), &row);
  for (const Json& row : after.rows) {
    const std::string key = key_of(row);
    const auto match = older.find(key);
    if (match == older.end()) {
      if (is_timed(row)) comparisons.only_new.push_back(key);
      continue;
    }
    Pair pair{.before = *match->second, .after = row, .ratio = {}};
    if (is_timed(row)) decide(pair, ratio_of(samples_of(pair.before), samples_of(row)), threshold);
    comparisons.pairs.push_back(std::move(pair));
    older.erase(match);
  }
  for (const Json& row : before.rows)
    if (older.contains(key_of(row))) comparisons.only_old.push_back(key_of(row));
  return comparisons;
}

Comparisons compare_implementations(const Results& results, const std::string& against, double threshold) {
  using Key = std::pair<std::string, std::string>;  // contest, cache state
  const auto key = [](const Json& row) { return Key(contest_of(row), row.at("cache")); };
  Comparisons comparisons;
  comparisons.threshold = threshold;
  comparisons.against = against;
  std::map<Key, std::vector<const Json*>> references;
  std::set<std::string> names;
  for (const Json& row : results.rows) {
    names.insert(implementation_name(row));
    if (implementation_name(row) == against && is_timed(row)) references[key(row)].push_back(&row);
  }
  if (!names.contains(against))
    throw UsageError(fmt::format("--against {}: the results are of {}", against,
                                 fmt::join(std::vector<std::string>(names.begin(), names.end()), ", ")));
  const auto turns_of = [](const Json& row, const std::vector<double>& samples, std::vector<int64_t>& rounds) {
    if (row.value("rounds", Json()).is_null())
      throw UsageError(fmt::format("--against: {} has no rounds: it was timed by an older version", key_of(row)));
    rounds = row.at("rounds").get<std::vector<int64_t>>();
    return Turns{samples, rounds};
  };
  std::set<const Json*> matched;
  for (const Json& row : results.rows) {
    if (implementation_name(row) == against) continue;
    const std::vector<const Json*>& candidates = references[key(row)];
    auto match = std::ranges::find_if(candidates, [&](const Json* candidate) {
      return candidates.size() == 1 || candidate->value("configuration", Json()) == row.value("configuration", Json());
    });
    if (match == candidates.end()) {
      if (is_timed(row)) comparisons.only_new.push_back(key_of(row));
      continue;
    }
    matched.insert(*match);
    Pair pair{.before = **match, .after = row, .ratio = {}};
    if (is_timed(row)) {
      const std::vector<double> before = samples_of(pair.before), after = samples_of(row);
      std::vector<int64_t> before_rounds, after_rounds;
      const Turns one = turns_of(pair.before, before, before_rounds), two = turns_of(row, after, after_rounds);
      decide(pair, ratio_of(one, two), threshold);
    }
    comparisons.pairs.push_back(std::move(pair));
  }
  for (const auto& [of, rows] : references)
    for (const Json* row : rows)
      if (!matched.contains(row)) comparisons.only_old.push_back(key_of(*row));
  return comparisons;
}

void require_same_machine(const nlohmann::ordered_json& before, const nlohmann::ordered_json& after,
                          const std::string& before_name, const std::string& after_name) {
  const auto differences = machine_differences(before, after);
  if (differences.empty()) return;
  throw UsageError(fmt::format("{} and {} ran on different machines ({}); --allow-mixed compares them all the same",
                               before_name, after_name, fmt::join(differences, "; ")));
}

std::string table_text(const Comparisons& comparisons) {
  std::string text;
  std::vector<std::string> lines;
  for (const Pair& pair : comparisons.pairs)
    if (pair.ratio) lines.push_back(key_of(pair.after));
  if (!lines.empty()) {
    if (const std::string common = factor_out_common_words(lines); !common.empty())
      text += fmt::format("in every row: {}\n\n", common);
    std::vector<std::vector<std::string>> rows;
    for (const Pair& pair : comparisons.pairs) {
      if (!pair.ratio) continue;
      const Ratio& ratio = *pair.ratio;
      rows.push_back(
          {fmt::format("{:.4f}", pair.before.at("median_ms").get<double>()),
           fmt::format("{:.4f}", pair.after.at("median_ms").get<double>()), percent(ratio.estimate),
           ratio.enough ? fmt::format("[{}, {}]", percent(ratio.low), percent(ratio.high)) : "too few samples",
           to_string(pair.change), lines[rows.size()]});
    }
    const bool runs = comparisons.against.empty();
    text += format_table({{runs ? "old ms" : comparisons.against + " ms", true},
                          {runs ? "new ms" : "ms", true},
                          {"change", true},
                          {"surely within"},
                          {"verdict"},
                          {"problem"}},
                         rows);
    text += '\n';
  }
  const std::string& against = comparisons.against;
  for (const Pair& pair : comparisons.pairs)
    if (!pair.ratio)
      text += fmt::format("{} {}: {}\n  {}\n", pair.after.at("verdict").get<std::string>(),
                          against.empty() ? "now, had a time before" : "where " + against + " has a time",
                          key_of(pair.after),
                          pair.after.at("reason").is_string() ? pair.after.at("reason").get<std::string>() : "");
  for (const std::string& key : comparisons.only_old)
    text += fmt::format("only {}: {}\n", against.empty() ? "in the older results" : "of " + against, key);
  for (const std::string& key : comparisons.only_new)
    text += fmt::format("{}: {}\n", against.empty() ? "only in the newer results" : "no time of " + against, key);
  std::vector<std::string> counts;
  for (const Change change : kChanges)
    counts.push_back(fmt::format("{} {}", count_of(comparisons, change), to_string(change)));
  return text + fmt::format("{} (threshold {:g} %, at least {:g} µs), {} unmatched\n", fmt::join(counts, ", "),
                            100 * comparisons.threshold, 1e3 * kLeastChangeMs,
                            comparisons.only_old.size() + comparisons.only_new.size());
}

Json to_json(const Comparisons& comparisons) {
  Json list = Json::array();
  for (const Pair& pair : comparisons.pairs) {
    Json row{{"problem", pair.after.at("problem")},
             {"implementation", pair.after.value("implementation", Json(nullptr))},
             {"cache", pair.after.at("cache")},
             {"old_ms", pair.before.at("median_ms")},
             {"new_ms", pair.ratio ? pair.after.at("median_ms") : Json(nullptr)},
             {"verdict", pair.ratio ? to_string(pair.change) : pair.after.at("verdict").get<std::string>()}};
    if (pair.ratio)
      row.update({{"ratio", pair.ratio->estimate},
                  {"ratio_low", pair.ratio->low},
                  {"ratio_high", pair.ratio->high},
                  {"threshold", pair.threshold}});
    list.push_back(row);
  }
  return {{"schema", "lrnnx-bench.compare"},
          {"schema_version", 1},
          {"threshold", comparisons.threshold},
          {"least_change_ms", kLeastChangeMs},
          {"level", kComparisonLevel},
          {"against", comparisons.against.empty() ? Json() : Json(comparisons.against)},
          {"pairs", list},
          {"only_old", comparisons.only_old},
          {"only_new", comparisons.only_new}};
}

int exit_code_of(const Comparisons& comparisons, bool strict) {
  const auto lost = [&](ExitCode code) {
    return std::ranges::any_of(comparisons.pairs, [code](const Pair& pair) {
      return !pair.ratio && pair.after.value("exit_code", Json()) == static_cast<int>(code);
    });
  };
  for (const ExitCode code : {ExitCode::wrong_numbers, ExitCode::system, ExitCode::usage})
    if (lost(code)) return static_cast<int>(code);
  if (count_of(comparisons, Change::slow) > 0) return static_cast<int>(ExitCode::slower);
  // What had a time and now is skipped, or is not there, may have become slower.
  if (strict &&
      (count_of(comparisons, Change::ambiguous) > 0 || lost(ExitCode::nothing_ran) || !comparisons.only_old.empty()))
    return static_cast<int>(ExitCode::ambiguous);
  if (lost(ExitCode::nothing_ran)) return static_cast<int>(ExitCode::nothing_ran);
  const bool compared = std::ranges::any_of(comparisons.pairs, [](const Pair& pair) { return pair.ratio.has_value(); });
  return static_cast<int>(compared ? ExitCode::ok : ExitCode::nothing_ran);
}

}  // namespace lrnnx::bench
