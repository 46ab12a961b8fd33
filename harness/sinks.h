// A finished sweep as a table to read, as CSV and as JSON.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "harness/ceilings.h"
#include "harness/metrics.h"

namespace lrnnx::bench {

// Goes up whenever a reader of the JSON would have to change.
inline constexpr int kSchemaVersion = 1;

struct Report {
  nlohmann::ordered_json environment;
  MeasureOptions options;
  std::map<std::string, Ceilings> ceilings;  // by backend, of those that ran
  std::vector<Row> rows;
  int signal = 0;  // that ended the sweep before its last problem; 0: none did
};

// One line a row; what is the same in all rows stands above it once, reasons of what did not pass below. Skipped rows
// are counted by reason instead.
std::string table_text(const Report& report);

// A header of "problem" and the metrics' tags, then one line a row; fields quoted where they need it.
std::string csv_text(const Report& report);

// Everything, with every sample.
std::string json_text(const Report& report);

}  // namespace lrnnx::bench
