// A finished sweep as text. What is reported stands in metrics.cpp.
#include "harness/sinks.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

#include "harness/output.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

// Numbers so that they read back exactly; nothing if there is no value.
std::string plain_text(const Json& value) {
  if (value.is_null()) return "";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

Json value_of(const Metric& metric, const Json& row) { return row.value(metric.tag, Json(nullptr)); }

std::string cell_text(const Json& row, const char* tag) {
  const Json value = row.value(tag, Json(nullptr));
  return value.is_string() ? value.get<std::string>() : "";
}

// What is the same in all rows on one line, then a column for everything else.
std::string columns_text(const std::vector<const Json*>& rows, decltype(&format_table) format) {
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> cells(rows.size());
  std::string shared;
  for (const Metric& metric : metrics()) {
    if (metric.shown == Shown::never) continue;
    std::vector<std::string> values;
    bool numeric = false;
    for (const Json* row : rows) {
      const Json value = value_of(metric, *row);
      numeric = numeric || value.is_number();
      values.push_back(table_text(metric, value));
    }
    const std::string& first = values.front();
    const bool varies = std::ranges::any_of(values, [&](const std::string& value) { return value != first; });
    if (metric.shown == Shown::if_varies && !varies) {
      if (first != kAbsent) shared += fmt::format("{}{} {}", shared.empty() ? "" : ", ", metric.heading, first);
      continue;
    }
    columns.push_back({metric.heading, numeric});
    for (size_t i = 0; i < values.size(); ++i) cells[i].push_back(std::move(values[i]));
  }

  return (shared.empty() ? "" : fmt::format("in every row: {}\n\n", shared)) + format(columns, cells);
}

// Sentences, with `gap` between what would else be one paragraph.
std::string summary_text(const Results& results, decltype(&format_table) format, const char* gap) {
  std::vector<const Json*> rows;
  std::map<std::string, int> skipped;  // rows by reason
  for (const Json& row : results.rows) {
    if (verdict_of(row) == Verdict::skipped)
      ++skipped[cell_text(row, "reason")];
    else
      rows.push_back(&row);
  }
  std::string text;
  for (const auto& [backend, ceilings] : results.ceilings)
    text += fmt::format("ceilings of {}: {}\n{}", backend, to_string(ceilings), gap);
  if (!rows.empty()) text += columns_text(rows, format);
  for (const Json* row : rows)
    if (const std::string reason = cell_text(*row, "reason"); !reason.empty())
      text += fmt::format("\n{}: {}\n  {}\n", cell_text(*row, "verdict"), cell_text(*row, "problem"), reason);
  for (const auto& [reason, count] : skipped)
    text += fmt::format("{}skipped: {} ({} problem{})\n", gap, reason, count, count == 1 ? "" : "s");
  if (!results.complete) text += fmt::format("{}ended before the last problem\n", gap);
  return text;
}

}  // namespace

std::string table_text(const Results& results) { return summary_text(results, format_table, ""); }

std::string markdown_text(const Results& results) { return summary_text(results, format_markdown, "\n"); }

std::string csv_text(const Results& results) {
  std::string text = "problem";
  for (const Metric& metric : metrics()) text += fmt::format(",{}", metric.tag);
  text += "\n";
  for (const Json& row : results.rows) {
    text += csv_field(cell_text(row, "problem"));
    for (const Metric& metric : metrics()) text += ',' + csv_field(plain_text(value_of(metric, row)));
    text += "\n";
  }
  return text;
}

std::string json_text(const Results& results) {
  Json described = Json::array();
  for (const Metric& metric : metrics())
    described.push_back({{"tag", metric.tag}, {"unit", metric.unit}, {"description", metric.description}});
  Json ceilings = Json::object();
  for (const auto& [backend, measured] : results.ceilings) ceilings[backend] = to_json(measured);
  const Json head{{"schema", kResultsSchema},
                  {"schema_version", kResultsSchemaVersion},
                  {"environment", results.environment},
                  {"timing", results.timing},
                  {"complete", results.complete},
                  {"shards", results.shards},
                  {"wall_time_seconds", results.wall_time},
                  {"ceilings", ceilings},
                  {"metrics", described}};
  // A result a line: thousands of samples would otherwise take a line each.
  std::string text = head.dump(2, ' ', false, Json::error_handler_t::replace);  // a command line need not be UTF-8
  text.resize(text.size() - std::string_view("\n}").size());
  text += ",\n  \"results\": [";
  const char* separator = "\n    ";
  for (const Json& row : results.rows) {
    text += separator + row.dump(-1, ' ', false, Json::error_handler_t::replace);
    separator = ",\n    ";
  }
  return text + "\n  ]\n}\n";
}

}  // namespace lrnnx::bench
