// Puts results, the page's script and the chart library into one file.
#include "harness/report.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "harness/baseline.h"
#include "harness/check_json.h"
#include "harness/error.h"
#include "harness/files.h"
#include "harness/flags.h"
#include "harness/problem.h"
#include "harness/report_assets.h"
#include "harness/status.h"
#include "harness/strict_json.h"
#include "harness/words.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

struct ReportFlags {
  std::vector<std::string> inputs;
  std::string output, baseline;
};

bool is_same_file(const std::string& one, const std::string& other) {
  std::error_code none;
  return one == other || std::filesystem::equivalent(one, other, none);
}

void require_once(const std::vector<std::string>& paths) {
  for (size_t i = 0; i < paths.size(); ++i) {
    for (size_t j = 0; j < i; ++j)
      if (is_same_file(paths[i], paths[j])) throw UsageError(fmt::format("{} is given twice", paths[i]));
  }
}

// The file's name, after as many of the folders that it lies in as tell it from the others.
std::string short_name(const std::string& path, const std::vector<std::string>& paths) {
  const auto whole = [](const std::string& some) {
    return std::filesystem::absolute(some).lexically_normal().string();
  };
  const std::string full = whole(path);
  for (size_t at = full.rfind('/');; at = full.rfind('/', at - 1)) {
    const bool unique = std::ranges::none_of(paths, [&](const std::string& other) {
      return !is_same_file(path, other) && whole(other).ends_with(full.substr(at));
    });
    if (unique) return full.substr(at + 1);
    if (at == 0) return path;
  }
}

// Throws UsageError unless it is what `check --json` writes, as far as the page reads it.
void require_check(const Json& json, const std::string& origin) {
  const Json version = json.value("schema_version", Json());
  require(version == kCheckSchemaVersion, origin,
          fmt::format("schema_version {}: this program reads {}", version.dump(), kCheckSchemaVersion));
  require(json.value("environment", Json()).is_object(), origin, "expected an object \"environment\"");
  const Json results = json.value("results", Json());
  require(results.is_array(), origin, "expected a list \"results\"");
  std::vector<std::string> statuses;
  for (const Status status : kStatuses) statuses.emplace_back(to_string(status));
  size_t number = 0;
  for (const Json& result : results) {
    const std::string where = fmt::format("{}: result {}", origin, ++number);
    require(result.is_object() && result.value("problem", Json()).is_string(), where,
            "expected an object with a problem line");
    const Json status = result.value("status", Json());
    require(std::ranges::any_of(statuses, [&](const std::string& name) { return status == name; }), where,
            fmt::format("status {}: expected {}", status.dump(), join_or(statuses)));
    const Json tensors = result.value("tensors", Json());
    require(tensors.is_array() && std::ranges::all_of(tensors,
                                                      [](const Json& tensor) {
                                                        return tensor.is_object() &&
                                                               tensor.value("name", Json()).is_string() &&
                                                               tensor.contains("rho");
                                                      }),
            where, "expected tensors to be a list of objects with name and rho");
  }
}

Json read_input(const std::string& path) {
  const std::string text = read_file(path);
  Json json = parse_json(text, path);
  if (json.is_object() && json.value("schema", Json()) == kCheckSchema)
    require_check(json, path);
  else
    parse_results(text, path);  // or refuses
  return json;
}

void replace(std::string& page, const std::string& mark, const std::string& text) {
  const size_t at = page.find(mark);
  if (at == page.npos) throw SystemError(fmt::format("report: the page has no {}", mark));
  page.replace(at, mark.size(), text);
}

// For a <script> element: no "</script>" and no "<!--" can occur in it, and it is the same JSON.
std::string script_safe(const Json& json) {
  std::string safe;
  for (const char c : json.dump(-1, ' ', false, Json::error_handler_t::replace))
    c == '<' ? safe += "\\u003c" : safe += c;
  return safe;
}

// The page shows summaries: thousands of samples a row would make it slow to open.
Json without_samples(Json json) {
  if (json.contains("results"))
    for (Json& row : json["results"])
      for (const char* key : {"samples_ms", "rounds"}) row.erase(key);
  return json;
}

int run_report(const ReportFlags& flags) {
  require_once(flags.inputs);
  std::vector<std::string> paths = flags.inputs;
  if (!flags.baseline.empty()) paths.push_back(flags.baseline);  // may be one of the inputs
  std::vector<Json> read;
  for (const std::string& path : paths) read.push_back(read_input(path));
  std::vector<ReportInput> inputs;
  for (size_t i = 0; i < paths.size(); ++i)
    inputs.push_back({.name = short_name(paths[i], paths), .json = std::move(read[i])});
  std::optional<ReportInput> baseline;
  if (!flags.baseline.empty()) {
    baseline = std::move(inputs.back());
    inputs.pop_back();
  }
  write_file(flags.output, report_html(inputs, baseline ? &*baseline : nullptr));
  return static_cast<int>(ExitCode::ok);
}

}  // namespace

std::string report_html(const std::vector<ReportInput>& inputs, const ReportInput* baseline) {
  if (kChartLibrary[0] == '\0')
    throw SystemError(
        "report: this program was built without the chart library; install Chart.js 3 (Debian: libjs-chart.js), "
        "configure and build again");
  Json sweeps = Json::array(), checks = Json::array();
  for (const ReportInput& input : inputs) {
    (input.json.at("schema") == kCheckSchema ? checks : sweeps)
        .push_back({{"name", input.name}, {"data", without_samples(input.json)}});
  }
  Json shown = Json::array();
  for (const Metric& metric : metrics()) {
    if (metric.shown != Shown::never)
      shown.push_back({{"tag", metric.tag},
                       {"heading", metric.heading},
                       {"unit", metric.unit},
                       {"description", metric.description}});
  }
  Json changes = Json::array();
  if (baseline) {
    const Results before = parse_results(baseline->json.dump(), baseline->name);
    for (const ReportInput& input : inputs) {
      if (input.json.at("schema") == kCheckSchema) continue;
      const Results after = parse_results(input.json.dump(), input.name);
      Json compared = to_json(compare_results(before, after, kDefaultThreshold));
      changes.push_back({{"name", input.name},
                         {"baseline", baseline->name},
                         {"machines", machine_differences(before.environment, after.environment)},
                         {"compared", compared}});
    }
  }
  const Json data{{"sweeps", sweeps}, {"checks", checks}, {"metrics", shown}, {"changes", changes}};
  std::string page = kReportPage;
  // The data last: nothing in it may be taken for a mark.
  replace(page, "/*CHART LIBRARY*/", kChartLibrary);
  replace(page, "/*REPORT SCRIPT*/", kReportScript);
  replace(page, "/*DATA*/", script_safe(data));
  return page;
}

void add_report_command(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<ReportFlags>();
  CLI::App* command = app.add_subcommand(
      "report",
      "Make one HTML page, readable offline, with charts of these results\n"
      "Times against each axis with the floor, fractions of the floor, speed-ups, errors, the machine");
  command->add_option("RESULTS", flags->inputs, "JSON of sweep or check")->required()->type_name("FILE...");
  command->add_option("-o,--output", flags->output, "The page; - is stdout")
      ->required()
      ->check(path())
      ->type_name("FILE|-");
  command->add_option("--baseline", flags->baseline, "Also show the speed-up over these results")
      ->check(path())
      ->type_name("FILE");
  command->callback([flags, &exit_code] { exit_code = run_report(*flags); });
}

}  // namespace lrnnx::bench
