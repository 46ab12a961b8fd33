// Flags and values that several subcommands take.
#pragma once

#include <CLI/CLI.hpp>

namespace lrnnx::bench {

// A finite number of seconds; CLI11's own ranges let a NaN through.
CLI::Validator seconds(bool zero_allowed);

// --threshold PERCENT, kept as a fraction.
void add_threshold_flag(CLI::App& command, double& threshold);

}  // namespace lrnnx::bench
