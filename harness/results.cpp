// Rows to JSON, and results files back.
#include "harness/results.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <span>
#include <sstream>

#include "harness/error.h"
#include "harness/files.h"
#include "harness/stats.h"
#include "harness/strict_json.h"
#include "harness/words.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

Json value_json(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* real = std::get_if<double>(&value)) return json_number(*real);
  if (const auto* count = std::get_if<int64_t>(&value)) return *count;
  if (const auto* count = std::get_if<uint64_t>(&value)) return *count;
  return nullptr;
}

Json verdict_json(const CheckResult& check) {
  Json tensors = Json::array();
  for (const Comparison& tensor : check.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"status", to_string(tensor.status)},
                       {"rho", json_number(tensor.rho)},
                       {"rel_l2", json_number(tensor.rel_l2)},
                       {"max_abs_error", json_number(tensor.max_abs_error)},
                       {"max_abs_reference", json_number(tensor.max_abs_reference)}});
  }
  return {{"status", to_string(check.status)}, {"deterministic", check.deterministic}, {"tensors", tensors}};
}

constexpr Verdict kVerdicts[] = {Verdict::passed, Verdict::failed,    Verdict::mistrusted, Verdict::skipped,
                                 Verdict::error,  Verdict::unchecked, Verdict::invalid};

using Path = std::array<const char*, 2>;  // of a fact in the environment

// What a time depends on besides the program, and the program.
constexpr Path kMachineFacts[] = {
    {"gpu", "name"}, {"gpu", "driver"}, {"cpu", "name"}, {"cpu", "usable_processors"}, {"cpu", "threads"}};
constexpr Path kBuildFacts[] = {
    {"program", "version"}, {"program", "commit"}, {"program", "dirty"}, {"program", "hash"}, {"program", "libraries"}};

Json fact(const Json& environment, const Path& path) {
  const auto section = environment.find(path[0]);
  if (section == environment.end() || !section->is_object()) return nullptr;
  return section->value(path[1], Json(nullptr));
}

std::vector<std::string> fact_differences(const Json& environment, const Json& other, std::span<const Path> paths) {
  std::vector<std::string> sentences;
  for (const Path& path : paths) {
    const Json one = fact(environment, path), two = fact(other, path);
    if (one != two) sentences.push_back(fmt::format("{}.{}: {} and {}", path[0], path[1], one.dump(), two.dump()));
  }
  return sentences;
}

}  // namespace

Json to_json(const Row& row) {
  Json json{{"problem", to_string(row.problem)}};
  for (const Metric& metric : metrics()) json[metric.tag] = value_json(metric.compute(row));
  json["check"] = row.check ? verdict_json(*row.check) : Json(nullptr);
  json["samples_ms"] = row.measurement ? Json(row.measurement->samples_ms) : Json::array();
  json["rounds"] = row.measurement ? Json(row.measurement->rounds) : Json::array();
  return json;
}

std::string key_of(const Json& row) {
  return fmt::format("{} cache={}", row.at("problem").get<std::string>(), row.at("cache").get<std::string>());
}

std::string contest_of(const Json& row) {
  std::istringstream words(row.at("problem").get<std::string>());
  std::string contest;
  for (std::string word; words >> word;)
    if (!word.starts_with("implementation=") && !word.starts_with("config="))
      contest += (contest.empty() ? "" : " ") + word;
  return contest;
}

void add_speedups(std::vector<Json>& rows) {
  for (const std::string reference : {"lrnnx", "naive"}) {
    using Key = std::pair<std::string, std::string>;  // contest, cache state
    const auto key = [](const Json& row) { return Key(contest_of(row), row.at("cache")); };
    std::map<Key, double> reference_ms;
    std::set<Key> ambiguous;  // the reference ran with several configurations
    for (const Json& row : rows)
      if (is_timed(row) && row.value("implementation", Json()) == reference &&
          !reference_ms.emplace(key(row), row.at("median_ms")).second)
        ambiguous.insert(key(row));
    for (const Key& several : ambiguous) reference_ms.erase(several);
    for (Json& row : rows) {
      const auto found = reference_ms.find(key(row));
      if (found == reference_ms.end() || !is_timed(row) || row.value("implementation", Json()) == reference) continue;
      row["speedup_" + reference] = found->second / row.at("median_ms").get<double>();
    }
  }
}

Verdict verdict_of(const Json& row) {
  const Json text = row.value("verdict", Json());
  std::vector<std::string> names;
  for (const Verdict verdict : kVerdicts) {
    names.emplace_back(to_string(verdict));
    if (text == names.back()) return verdict;
  }
  throw UsageError(fmt::format("row with verdict {}: expected {}", text.dump(), join_or(names)));
}

bool is_timed(const Json& row) {
  const Verdict verdict = verdict_of(row);
  return (verdict == Verdict::passed || verdict == Verdict::mistrusted || verdict == Verdict::unchecked) &&
         !row.at("samples_ms").empty();
}

void require_row(const Json& row, const std::string& where) {
  require(row.is_object() && row.value("problem", Json()).is_string(), where, "expected an object with a problem line");
  require(row.value("cache", Json()).is_string(), where, "expected \"cache\": \"cold\" or \"warm\"");
  try {
    verdict_of(row);
  } catch (const UsageError& error) {
    require(false, where, error.what());
  }
  require(row.value("exit_code", Json()).is_number_integer(), where, "expected an exit_code");
  const Json samples = row.value("samples_ms", Json());
  require(samples.is_array() && std::ranges::all_of(samples,
                                                    [](const Json& ms) {
                                                      return ms.is_number() && std::isfinite(ms.get<double>()) &&
                                                             ms.get<double>() > 0;
                                                    }),
          where, "expected samples_ms to be a list of numbers above 0");
  if (const Json rounds = row.value("rounds", Json()); !rounds.is_null()) {  // older files have none
    size_t left = samples.size();
    const bool parts = rounds.is_array() && std::ranges::all_of(rounds, [&left](const Json& count) {
                         if (!count.is_number_integer() || count < 0 || count > left) return false;
                         left -= count.get<size_t>();
                         return true;
                       });
    require(parts && left == 0, where, "expected rounds to be numbers of samples that together are all of them");
  }
  if (!is_timed(row)) return;
  std::vector<double> sorted = samples.get<std::vector<double>>();
  std::ranges::sort(sorted);
  const Json median = row.value("median_ms", Json());
  require(median.is_number() && std::abs(median.get<double>() - quantile(sorted, 0.5)) <= 1e-9 * sorted.back(), where,
          fmt::format("median_ms is {}, that of its samples is {}", median.dump(), quantile(sorted, 0.5)));
}

Results parse_results(std::string_view text, const std::string& origin) {
  Json json = parse_json(std::string(text), origin);
  require(json.is_object() && json.value("schema", Json()) == kResultsSchema, origin,
          fmt::format("expected the JSON of a sweep, with \"schema\": \"{}\"", kResultsSchema));
  require(json.value("schema_version", Json()) == kResultsSchemaVersion, origin,
          fmt::format("schema_version {}: this program reads {}", json.value("schema_version", Json()).dump(),
                      kResultsSchemaVersion));
  Results results;
  for (const char* section : {"environment", "timing", "ceilings"})
    require(json.value(section, Json()).is_object(), origin, fmt::format("expected an object \"{}\"", section));
  require(json.value("results", Json()).is_array(), origin, "expected a list \"results\"");
  require(json.value("complete", Json()).is_boolean(), origin, "expected \"complete\": true or false");
  results.environment = json["environment"];
  results.timing = json["timing"];
  results.complete = json["complete"];
  results.wall_time = json.value("wall_time_seconds", Json());
  require(results.wall_time.is_null() ||
              (results.wall_time.is_object() &&
               std::ranges::all_of(results.wall_time, [](const Json& s) { return s.is_number(); })),
          origin, "expected wall_time_seconds to be an object of numbers, or null");
  try {
    for (const auto& [backend, measured] : json["ceilings"].items())
      results.ceilings.emplace(backend, ceilings_from_json(measured));
  } catch (const Json::exception& error) {
    throw UsageError(fmt::format("{}: ceilings: {}", origin, error.what()));
  }
  try {
    results.shards = json.value("shards", Json::array()).get<std::vector<std::pair<int64_t, int64_t>>>();
  } catch (const Json::exception& error) {
    throw UsageError(fmt::format("{}: shards: {}", origin, error.what()));
  }
  std::set<std::string> keys;
  for (Json& row : json["results"]) {
    const std::string where = fmt::format("{}: result {}", origin, results.rows.size() + 1);
    require_row(row, where);
    require(keys.insert(key_of(row)).second, where, "there is one of the same problem and cache state before");
    results.rows.push_back(std::move(row));
  }
  return results;
}

Results read_results(const std::string& path) { return parse_results(read_file(path), path); }

std::vector<std::string> machine_differences(const Json& environment, const Json& other) {
  std::vector<std::string> sentences = fact_differences(environment, other, kMachineFacts);
  for (const Json* one : {&environment, &other})
    if (one->contains("mixed")) sentences.emplace_back("one of them was joined from results of several");
  return sentences;
}

std::vector<std::string> build_differences(const Json& environment, const Json& other) {
  return fact_differences(environment, other, kBuildFacts);
}

}  // namespace lrnnx::bench
