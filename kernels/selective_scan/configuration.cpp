// Reads and describes launch configurations.
#include "selective_scan/configuration.h"

#include <algorithm>
#include <charconv>
#include <string_view>
#include <vector>

#include "common/error.h"

namespace lrnnx {
namespace {

std::string joined(std::span<const std::int64_t> values, const char* separator) {
  std::string text;
  for (const std::int64_t value : values) text += (text.empty() ? "" : separator) + std::to_string(value);
  return text;
}

std::string allowed_text(const ConfigurationField& field) {
  return field.allowed.empty() ? "1 to " + std::to_string(field.largest) : joined(field.allowed, ", ");
}

}  // namespace

lrnnx_status parse_configuration(const lrnnx_selective_scan_problem& problem,
                                 std::span<const ConfigurationField> fields) {
  std::string_view text = problem.configuration == nullptr ? std::string_view() : problem.configuration;
  std::vector<std::string> keys_seen;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(','), text.size());
    const std::string item(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    const std::size_t equals = item.find('=');
    const auto field = std::find_if(fields.begin(), fields.end(), [&](const ConfigurationField& known) {
      return item.substr(0, equals) == known.key;
    });
    if (equals == std::string::npos || field == fields.end()) {
      std::string keys;
      for (const ConfigurationField& known : fields) keys += std::string(keys.empty() ? "" : ", ") + known.key;
      return fail(LRNNX_INVALID_ARGUMENT, "configuration: \"%.100s\" is not key=value with a key of %s", item.c_str(),
                  keys.c_str());
    }
    if (std::find(keys_seen.begin(), keys_seen.end(), field->key) != keys_seen.end())
      return fail(LRNNX_INVALID_ARGUMENT, "configuration: %s is given twice", field->key);
    keys_seen.emplace_back(field->key);
    std::int64_t value = 0;
    const char* const last = item.data() + item.size();
    const auto [stop, error] = std::from_chars(item.data() + equals + 1, last, value);
    const bool listed = field->allowed.empty()
                            ? value >= 1 && value <= field->largest
                            : std::find(field->allowed.begin(), field->allowed.end(), value) != field->allowed.end();
    if (error != std::errc() || stop != last || !listed) {
      return fail(LRNNX_INVALID_ARGUMENT, "configuration: \"%.100s\" is not allowed; %s takes %s%s", item.c_str(),
                  field->key, allowed_text(*field).c_str(), field->why);
    }
    *field->value = value;
  }
  return LRNNX_OK;
}

std::string configuration_keys(std::span<const ConfigurationField> fields) {
  std::string text;
  for (const ConfigurationField& field : fields) {
    text += std::string(text.empty() ? "" : ",") + field.key + "=";
    text += field.allowed.empty() ? "1.." + std::to_string(field.largest) : joined(field.allowed, "|");
  }
  return text;
}

}  // namespace lrnnx
