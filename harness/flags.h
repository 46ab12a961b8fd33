// Flags and values that several subcommands take.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>

namespace lrnnx::bench {

// A finite number of seconds; CLI11's own ranges let a NaN through.
CLI::Validator seconds(bool zero_allowed);
// Both included.
CLI::Validator whole_number(int64_t least, int64_t most);

// Of a file or directory: not empty.
CLI::Validator path();

// FLAG DURATION: 90, 90s, 15m, 2h; kept in seconds.
void add_duration_flag(CLI::App& command, const std::string& flag, std::optional<double>& seconds,
                       const std::string& description);

// FLAG PERCENT from 0 on, kept as a fraction.
void add_percent_flag(CLI::App& command, const std::string& flag, double& fraction, const std::string& description);

// --patience: how long a child process may be silent.
void add_patience_flag(CLI::App& command, double& seconds);

// --threshold of a comparison.
void add_threshold_flag(CLI::App& command, double& threshold);

}  // namespace lrnnx::bench
