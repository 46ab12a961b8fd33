// A finished sweep as text. What is reported stands in metrics.cpp.
#include "harness/sinks.h"

#include <fmt/format.h>

#include <algorithm>
#include <string_view>

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
std::string plain_text(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* number = std::get_if<double>(&value)) return fmt::format("{}", *number);
  if (const auto* count = std::get_if<int64_t>(&value)) return fmt::format("{}", *count);
  return "";
}

Json to_json(const Value& value) {
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (const auto* number = std::get_if<double>(&value)) return *number;
  if (const auto* count = std::get_if<int64_t>(&value)) return *count;
  return nullptr;
}

Json to_json(const CheckResult& check) {
  Json tensors = Json::array();
  for (const Comparison& tensor : check.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"passed", tensor.passed},
                       {"rel_l2", tensor.rel_l2},
                       {"tolerance", tensor.tolerance},
                       {"max_abs_error", tensor.max_abs_error},
                       {"max_abs_reference", tensor.max_abs_reference}});
  }
  return {{"status", to_string(check.status)}, {"deterministic", check.deterministic}, {"tensors", tensors}};
}

Json to_json(const Row& row) {
  Json json{{"problem", to_string(row.problem)}};
  for (const Metric& metric : metrics()) json[metric.tag] = to_json(metric.compute(row));
  json["check"] = row.check ? to_json(*row.check) : Json(nullptr);
  json["samples_ms"] = row.measurement ? Json(row.measurement->samples_ms) : Json::array();
  return json;
}

// What is the same in all rows on one line, then a column for everything else.
std::string columns_text(const std::vector<const Row*>& rows) {
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> cells(rows.size());
  std::string shared;
  for (const Metric& metric : metrics()) {
    if (metric.shown == Shown::never) continue;
    std::vector<std::string> values;
    bool numeric = false;
    for (const Row* row : rows) {
      const Value value = metric.compute(*row);
      numeric = numeric || std::holds_alternative<double>(value) || std::holds_alternative<int64_t>(value);
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

  return (shared.empty() ? "" : fmt::format("in every row: {}\n\n", shared)) + format_table(columns, cells);
}

}  // namespace

std::string table_text(const Report& report) {
  std::vector<const Row*> rows;
  std::map<std::string, int> skipped;  // rows by reason
  for (const Row& row : report.rows) {
    if (row.verdict == Verdict::skipped)
      ++skipped[row.reason];
    else
      rows.push_back(&row);
  }
  std::string text;
  for (const auto& [backend, ceilings] : report.ceilings)
    text += fmt::format("ceilings of {}: {}\n", backend, to_string(ceilings));
  if (!rows.empty()) text += columns_text(rows);
  for (const Row* row : rows)
    if (!row->reason.empty())
      text += fmt::format("\n{}: {}\n  {}\n", to_string(row->verdict), to_string(row->problem), row->reason);
  for (const auto& [reason, count] : skipped)
    text += fmt::format("skipped: {} ({} problem{})\n", reason, count, count == 1 ? "" : "s");
  if (report.signal != 0) text += fmt::format("ended by signal {} before the last problem\n", report.signal);
  return text;
}

std::string csv_text(const Report& report) {
  std::string text = "problem";
  for (const Metric& metric : metrics()) text += fmt::format(",{}", metric.tag);
  text += "\n";
  for (const Row& row : report.rows) {
    text += csv_field(to_string(row.problem));
    for (const Metric& metric : metrics()) text += ',' + csv_field(plain_text(metric.compute(row)));
    text += "\n";
  }
  return text;
}

std::string json_text(const Report& report) {
  Json described = Json::array();
  for (const Metric& metric : metrics())
    described.push_back({{"tag", metric.tag}, {"unit", metric.unit}, {"description", metric.description}});
  Json ceilings = Json::object();
  for (const auto& [backend, measured] : report.ceilings) ceilings[backend] = to_json(measured);
  const Json head{{"schema", "lrnnx-bench.sweep"},
                  {"schema_version", kSchemaVersion},
                  {"environment", report.environment},
                  {"timing",
                   {{"min_samples", report.options.min_samples},
                    {"min_seconds", report.options.min_seconds},
                    {"timeout_seconds", report.options.timeout_seconds}}},
                  {"complete", report.signal == 0},
                  {"ceilings", ceilings},
                  {"metrics", described}};
  // A result a line: thousands of samples would otherwise take a line each.
  std::string text = head.dump(2);
  text.resize(text.size() - std::string_view("\n}").size());
  text += ",\n  \"results\": [";
  const char* separator = "\n    ";
  for (const Row& row : report.rows) {
    text += separator + to_json(row).dump();
    separator = ",\n    ";
  }
  return text + "\n  ]\n}\n";
}

}  // namespace lrnnx::bench
