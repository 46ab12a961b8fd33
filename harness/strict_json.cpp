// JSON that people write.
#include "harness/strict_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <vector>

#include "harness/error.h"
#include "harness/problem.h"
#include "harness/words.h"

namespace lrnnx::bench {

using Json = nlohmann::ordered_json;

namespace {
constexpr int kDeepest = 64;  // what walks through it calls itself
}

// nlohmann keeps the last of two equal keys without a word.
Json parse_json(const std::string& text, const std::string& origin) {
  std::vector<std::set<std::string>> open_objects;
  const auto look = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kDeepest) throw UsageError(fmt::format("{}: more than {} levels of brackets", origin, kDeepest));
    if (event == Json::parse_event_t::object_start) open_objects.emplace_back();
    if (event == Json::parse_event_t::object_end) open_objects.pop_back();
    if (event == Json::parse_event_t::key && !open_objects.back().insert(parsed.get<std::string>()).second) {
      throw UsageError(fmt::format("{}: key {} is given twice", origin, parsed.dump()));
    }
    return true;
  };
  try {
    return Json::parse(text, look);
  } catch (const Json::parse_error& error) {
    throw UsageError(fmt::format("{}: {}", origin, error.what()));
  }
}

Json json_number(double value) { return std::isfinite(value) ? Json(value) : Json(fmt::format("{}", value)); }

void require(bool holds, const std::string& where, const std::string& what) {
  if (!holds) throw UsageError(fmt::format("{}: {}", where, what));
}

void require_keys(const Json& object, const std::vector<std::string>& allowed, const std::string& where) {
  if (!object.is_object()) throw UsageError(fmt::format("{}: expected an object, not {}", where, object.dump()));
  for (const auto& [key, value] : object.items()) {
    if (std::find(allowed.begin(), allowed.end(), key) == allowed.end()) {
      throw UsageError(fmt::format("{}: unknown key '{}': expected {}", where, key, join_or(allowed)));
    }
  }
}

}  // namespace lrnnx::bench
