// Everything about the machine and the build that a measured number depends on.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace lrnnx::bench {

// Sections of facts: "program", "gpu" (null without a device), "cpu", "system", "run". Units are in the keys.
nlohmann::ordered_json environment();

// The words that this process was started with.
std::vector<std::string> command_words();

// "section.key  value", one line a fact.
std::string facts_text(const nlohmann::ordered_json& sections);

}  // namespace lrnnx::bench
