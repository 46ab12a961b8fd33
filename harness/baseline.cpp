// Compares two sets of results row by row.
#include "harness/baseline.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "harness/error.h"
#include "harness/output.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr Change kChanges[] = {Change::slow, Change::ambiguous, Change::fast, Change::same};

std::vector<double> samples_of(const Json& row) { return row.at("samples_ms").get<std::vector<double>>(); }

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
    if (is_timed(row)) {
      pair.ratio = ratio_of(samples_of(pair.before), samples_of(row));
      pair.threshold = std::max(threshold, kLeastChangeMs / pair.before.at("median_ms").get<double>());
      pair.change = judge(*pair.ratio, pair.threshold);
    }
    comparisons.pairs.push_back(std::move(pair));
    older.erase(match);
  }
  for (const Json& row : before.rows)
    if (older.contains(key_of(row))) comparisons.only_old.push_back(key_of(row));
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
    text += format_table(
        {{"old ms", true}, {"new ms", true}, {"change", true}, {"surely within"}, {"verdict"}, {"problem"}}, rows);
    text += '\n';
  }
  for (const Pair& pair : comparisons.pairs)
    if (!pair.ratio)
      text += fmt::format("{} now, had a time before: {}\n  {}\n", pair.after.at("verdict").get<std::string>(),
                          key_of(pair.after),
                          pair.after.at("reason").is_string() ? pair.after.at("reason").get<std::string>() : "");
  for (const std::string& key : comparisons.only_old) text += fmt::format("only in the older results: {}\n", key);
  for (const std::string& key : comparisons.only_new) text += fmt::format("only in the newer results: {}\n", key);
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
  return {{"schema", "lrnnx-bench.compare"},    {"schema_version", 1},
          {"threshold", comparisons.threshold}, {"least_change_ms", kLeastChangeMs},
          {"level", kComparisonLevel},          {"pairs", list},
          {"only_old", comparisons.only_old},   {"only_new", comparisons.only_new}};
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
  if (strict && count_of(comparisons, Change::ambiguous) > 0) return static_cast<int>(ExitCode::ambiguous);
  const bool compared = std::ranges::any_of(comparisons.pairs, [](const Pair& pair) { return pair.ratio.has_value(); });
  return static_cast<int>(compared ? ExitCode::ok : ExitCode::nothing_ran);
}

}  // namespace lrnnx::bench
