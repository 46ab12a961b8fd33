// From what the user selects (a suite, problem lines, axes, a filter, backends) to the problems to run. check and sweep
// share it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/implementations.h"
#include "harness/problem.h"

namespace CLI {
class App;
}

namespace lrnnx::bench {

struct Selection {
  std::string suite;                  // name or path of a JSON suite
  std::vector<std::string> problems;  // lines, instead of a suite
  std::vector<std::string> axes;      // "seqlen=1024,2048", "seqlen=[2^10:2^16:x2]"
  std::string filter;                 // glob over variant names
  std::string backend;                // "cpu", "cuda", "all"; empty: the default, or what a problem line says
  std::optional<uint64_t> seed;
  std::string configuration;           // --configuration, for every problem
  std::string configurations;          // --configurations, a file for those that have none
  std::vector<std::string> libraries;  // --library
  std::string implementation;          // glob over their names and those linked in; empty: lrnnx and every library
};

// Adds --suite --problem -a/--axis --filter --backend --seed --configuration --configurations --library
// --implementation to a subcommand.
void add_selection_flags(CLI::App& app, Selection& selection, const std::string& default_suite);

// In a stable order without duplicates, backends and then implementations innermost: those that differ in nothing else
// are a contest. Throws UsageError if anything is unknown or if nothing is left. Availability of the backend is not
// looked at: a problem of an absent device is for the runner to skip, in words; nor what is wrong with a library that
// cannot say what it computes.
std::vector<Problem> select_problems(const Selection& selection, std::span<const Implementation> implementations);
std::vector<Problem> select_problems(const Selection& selection);  // of what is linked in

// Neighbours that differ in nothing but the implementation and its configuration, each of another implementation.
std::vector<std::vector<Problem>> contests_of(const std::vector<Problem>& problems);

// How often a check of the selection runs each launch again, if its suite says.
std::optional<int> reruns_of_suite(const Selection& selection);

// The values of one axis: "1024,2048", "[2^10:2^16:x2]", "1:8" (by ones), "0:64:+16", or a named set: "warp,tile".
std::vector<int64_t> parse_axis_values(std::string_view text, std::string_view axis);

// suites/NAME.json beside the executable, installed, or in the source tree; or the path itself.
std::string find_suite(const std::string& name_or_path);

// Problems of a suite's text for each of the backends; `origin` names it in messages.
std::vector<Problem> expand_suite(const std::string& json_text, const std::string& origin,
                                  const std::vector<std::string>& backends);

}  // namespace lrnnx::bench
