// Flags and values that several subcommands take.
#include "harness/flags.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "harness/error.h"

namespace lrnnx::bench {
namespace {

// Nothing if `text` is not wholly a finite number.
std::optional<double> parse_number(std::string_view text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) return std::nullopt;
  return value;
}

}  // namespace

CLI::Validator seconds(bool zero_allowed) {
  const auto check = [zero_allowed](const std::string& text) -> std::string {
    const auto value = parse_number(text);
    if (value && (zero_allowed ? *value >= 0 : *value > 0)) return "";
    return fmt::format("'{}': expected a finite number of seconds, {}", text, zero_allowed ? "0 or more" : "above 0");
  };
  return CLI::Validator(check, "");
}

CLI::Validator whole_number(int64_t least, int64_t most) {
  const auto check = [least, most](const std::string& text) -> std::string {
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size() && least <= value && value <= most) return "";
    return fmt::format("'{}': expected a whole number from {} to {}", text, least, most);
  };
  return CLI::Validator(check, "");
}

CLI::Validator path() {
  return CLI::Validator(
      [](std::string& text) { return text.empty() ? std::string("expected a path, and not an empty one") : ""; }, "");
}

void add_duration_flag(CLI::App& command, const std::string& flag, std::optional<double>& seconds,
                       const std::string& description) {
  command
      .add_option_function<std::string>(
          flag,
          [flag, &seconds](const std::string& text) {
            std::string_view digits = text;
            double unit = 1;
            for (const auto& [letter, length] : {std::pair('s', 1.0), {'m', 60.0}, {'h', 3600.0}}) {
              if (!digits.ends_with(letter)) continue;
              digits.remove_suffix(1);
              unit = length;
              break;
            }
            const auto value = parse_number(digits);
            if (!value || !(*value > 0))
              throw UsageError(fmt::format("{} '{}': expected a time above 0 such as 90, 90s, 15m or 2h", flag, text));
            seconds = *value * unit;
          },
          description)
      ->type_name("DURATION");
}

void add_percent_flag(CLI::App& command, const std::string& flag, double& fraction, const std::string& description) {
  command
      .add_option_function<std::string>(
          flag,
          [flag, &fraction](const std::string& text) {
            std::string_view digits = text;
            if (digits.ends_with('%')) digits.remove_suffix(1);
            const auto value = parse_number(digits);
            if (!value || !(*value >= 0))
              throw UsageError(fmt::format("{} '{}': expected percent, 0 or more, such as 1.5", flag, text));
            fraction = *value / 100;
          },
          description)
      ->type_name("PERCENT")
      ->default_str(fmt::format("{:g}", 100 * fraction));
}

void add_patience_flag(CLI::App& command, double& patience) {
  command
      .add_option("--patience", patience,
                  "Seconds without a sign of life, sampling up to --timeout not counted, until a child process counts "
                  "as hung and is killed")
      ->check(seconds(false))
      ->capture_default_str();
}

void add_threshold_flag(CLI::App& command, double& threshold) {
  add_percent_flag(command, "--threshold", threshold,
                   "Percent by which a median has to change to be FAST or SLOW, at least 0.2 µs");
}

}  // namespace lrnnx::bench
