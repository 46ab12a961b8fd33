// A finished sweep as a table to read, as CSV and as JSON.
#pragma once

#include <string>

#include "harness/results.h"

namespace lrnnx::bench {

// One line a row; what is the same in all rows stands above it once, reasons of what did not pass below. Skipped rows
// are counted by reason instead.
std::string table_text(const Results& results);

// The same as Markdown, for an issue or a job's summary.
std::string markdown_text(const Results& results);

// A header of "problem" and the metrics' tags, then one line a row; fields quoted where they need it.
std::string csv_text(const Results& results);

// Everything, with every sample; parse_results() reads it back.
std::string json_text(const Results& results);

}  // namespace lrnnx::bench
