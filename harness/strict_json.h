// JSON that comes from outside: a key given twice or unknown is an error.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace lrnnx::bench {

// Throws UsageError naming `origin` and what is wrong.
nlohmann::ordered_json parse_json(const std::string& text, const std::string& origin);

// Throws UsageError unless it is an object with no other keys than these.
void require_keys(const nlohmann::ordered_json& object, const std::vector<std::string>& allowed,
                  const std::string& where);

}  // namespace lrnnx::bench
