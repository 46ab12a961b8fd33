// JSON that comes from outside, in which a key given twice or unknown is an error; and numbers that JSON lacks.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace lrnnx::bench {

// Throws UsageError naming `origin` and what is wrong.
nlohmann::ordered_json parse_json(const std::string& text, const std::string& origin);

// Throws UsageError, "where: what", unless it holds.
void require(bool holds, const std::string& where, const std::string& what);

// Throws UsageError unless it is an object with no other keys than these.
void require_keys(const nlohmann::ordered_json& object, const std::vector<std::string>& allowed,
                  const std::string& where);

// A number, or "nan", "inf" or "-inf", which JSON does not have as numbers.
nlohmann::ordered_json json_number(double value);

}  // namespace lrnnx::bench
