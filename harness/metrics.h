// The one table of what is reported for a problem; every output format is made from it.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "harness/check.h"
#include "harness/cost.h"
#include "harness/error.h"
#include "harness/stats.h"
#include "harness/timing.h"
#include "lrnnx/lrnnx.h"

namespace lrnnx::bench {

enum class Verdict {
  passed,
  failed,      // wrong numbers: not timed
  mistrusted,  // no fault found, but a wrong result could have passed
  skipped,     // this machine or this build does not compute it
  error,       // the variant or the machine broke
  unchecked,   // timed without asking the oracle
  invalid      // a time that cannot be true, or was taken while the machine throttled
};
const char* to_string(Verdict verdict);

// One problem, checked and timed in one cache state.
struct Row {
  Problem problem;
  Verdict verdict = Verdict::error;
  ExitCode exit_code = ExitCode::system;  // of a program that runs only this row
  std::string reason;                     // why not passed
  std::string note;                       // what to know when reading the time
  std::optional<CheckResult> check;
  CacheState cache = CacheState::cold;
  std::optional<Measurement> measurement;
  std::optional<Summary> summary;  // of the measurement's samples
  int64_t processes = 1;           // that took them in turns
  Cost cost;
  std::optional<double> batched_ms;  // of one launch among many, if one alone is too short to time
  std::optional<Floor> floor;        // of a cold row
  std::optional<lrnnx_memory> memory;
  std::string configuration;
};

using Value = std::variant<std::monostate, double, int64_t, uint64_t, std::string>;

enum class Shown {
  always,     // a column of the table
  if_varies,  // a column if the rows differ, else one word above the table
  never       // in files only
};

struct Metric {
  const char* tag;
  const char* unit;  // "" for text and counts
  const char* description;
  const char* heading;  // in the table
  Shown shown;
  const char* format;  // of numbers in the table, as fmt takes it
  Value (*compute)(const Row& row);
};

std::span<const Metric> metrics();

// What the table shows where there is no value.
inline constexpr char kAbsent[] = "-";

// As the table shows it; `value` as in a row's JSON.
std::string table_text(const Metric& metric, const nlohmann::ordered_json& value);

}  // namespace lrnnx::bench
