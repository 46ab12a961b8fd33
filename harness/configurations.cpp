// Reads files of launch configurations and finds the entry of a problem.
#include "harness/configurations.h"

#include <fmt/format.h>

#include <algorithm>

#include "harness/backend.h"
#include "harness/error.h"
#include "harness/files.h"
#include "harness/strict_json.h"
#include "harness/variants.h"
#include "harness/words.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kConfigurationsSchema = "lrnnx-bench.configurations";
constexpr int kConfigurationsSchemaVersion = 1;

std::string entry_text(const Json& entry, const char* key, const std::string& where) {
  const Json& value = entry.at(key);
  if (value.is_string() && !value.get<std::string>().empty()) return value;
  throw UsageError(fmt::format("{}: {} is {}: expected a text", where, key, value.dump()));
}

// Some backend's name is part of it, also of one that is not built in here.
void require_variant(const std::string& glob, const std::string& where) {
  std::vector<std::string> names;
  for (const Variant& variant : variants())
    for (const std::string& backend : backend_names()) {
      names.push_back(variant.operation() + "." + backend);
      if (glob_matches(glob, names.back())) return;
    }
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  throw UsageError(fmt::format("{}: variant '{}' matches none of {}", where, glob, join_or(names)));
}

}  // namespace

Configurations::Entry Configurations::parse_entry(const std::string& json_text, const std::string& where) {
  const Json json = Json::parse(json_text);
  std::vector<std::string> keys = {"device", "implementation", "variant", "configuration"};
  for (const ShapeAxis& axis : shape_axes()) keys.emplace_back(axis.name);
  require_keys(json, keys, where);
  for (const char* key : {"variant", "configuration"})
    if (!json.contains(key)) throw UsageError(fmt::format("{}: key '{}' is missing", where, key));
  Entry entry{.device = {},
              .variant = entry_text(json, "variant", where),
              .implementation = "lrnnx",
              .configuration = entry_text(json, "configuration", where),
              .shape = {}};
  require_variant(entry.variant, where);
  require_configuration(entry.configuration, where);
  if (json.contains("device")) entry.device = entry_text(json, "device", where);
  if (json.contains("implementation")) entry.implementation = entry_text(json, "implementation", where);
  for (const ShapeAxis& axis : shape_axes()) {
    if (!json.contains(axis.name)) continue;
    const Json& value = json.at(axis.name);
    const bool is_range =
        value.is_array() && value.size() == 2 && value[0].is_number_integer() && value[1].is_number_integer();
    if (!is_range && !value.is_number_integer())
      throw UsageError(
          fmt::format("{}: {} is {}: expected a whole number, or [from, to]", where, axis.name, value.dump()));
    const Range range = is_range ? Range{value[0], value[1]} : Range{value, value};
    if (range.from < 1 || range.to < range.from)
      throw UsageError(fmt::format("{}: {} is {}: expected 1 <= from <= to", where, axis.name, value.dump()));
    entry.shape.emplace_back(axis.value, range);
  }
  return entry;
}

Configurations Configurations::parse(const std::string& json_text, const std::string& origin) {
  const Json json = parse_json(json_text, origin);
  require_keys(json, {"schema", "schema_version", "configurations"}, origin);
  if (json.value("schema", Json()) != kConfigurationsSchema ||
      json.value("schema_version", Json()) != kConfigurationsSchemaVersion)
    throw UsageError(fmt::format("{}: expected \"schema\": \"{}\" and \"schema_version\": {}", origin,
                                 kConfigurationsSchema, kConfigurationsSchemaVersion));
  if (!json.contains("configurations") || !json.at("configurations").is_array())
    throw UsageError(fmt::format("{}: expected a list \"configurations\"", origin));
  Configurations configurations;
  for (const Json& entry : json.at("configurations")) {
    const std::string where = fmt::format("{}: configurations[{}]", origin, configurations.entries_.size());
    configurations.entries_.push_back(parse_entry(entry.dump(), where));
  }
  return configurations;
}

std::optional<std::string> Configurations::of(const Problem& problem, const std::string& device) const {
  for (const Entry& entry : entries_) {
    const bool fits = std::ranges::all_of(entry.shape, [&](const auto& bound) {
      const auto& [axis, range] = bound;
      return range.from <= problem.shape.*axis && problem.shape.*axis <= range.to;
    });
    if (fits && (!entry.device || *entry.device == device) && entry.implementation == implementation_of(problem) &&
        glob_matches(entry.variant, variant_name(problem)))
      return entry.configuration;
  }
  return {};
}

void Configurations::apply(std::vector<Problem>& problems) const {
  for (Problem& problem : problems) {
    const Backend& on = backend(problem.backend);
    if (!problem.configuration.empty() || on.unavailable()) continue;
    problem.configuration = of(problem, on.device_name()).value_or("");
  }
}

Configurations read_configurations(const std::string& path) { return Configurations::parse(read_file(path), path); }

}  // namespace lrnnx::bench
