// Puts results, the page's script and the chart library into one file.
#include "harness/report.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iterator>
#include <memory>

#include "harness/baseline.h"
#include "harness/check_json.h"
#include "harness/error.h"
#include "harness/files.h"
#include "harness/report_assets.h"
#include "harness/strict_json.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

struct Flags {
  std::vector<std::string> inputs;
  std::string output, baseline;
};

ReportInput read_input(const std::string& path) {
  const std::string text = read_file(path);
  const Json json = parse_json(text, path);
  if (!json.is_object() || json.value("schema", Json()) != kCheckSchema) parse_results(text, path);  // or refuses
  return {.name = path.substr(path.rfind('/') + 1), .json = json};
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
    for (Json& row : json["results"]) row.erase("samples_ms");
  return json;
}

int run_report(const Flags& flags) {
  std::vector<ReportInput> inputs;
  for (const std::string& path : flags.inputs) inputs.push_back(read_input(path));
  std::unique_ptr<ReportInput> baseline;
  if (!flags.baseline.empty()) {
    read_results(flags.baseline);  // or refuses
    baseline = std::make_unique<ReportInput>(read_input(flags.baseline));
  }
  write_file(flags.output, report_html(inputs, baseline.get()));
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
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "report",
      "Make one HTML page, readable offline, with charts of these results\n"
      "Times against each axis with the floor, fractions of the floor, speed-ups, errors, the machine");
  command->add_option("RESULTS", flags->inputs, "JSON of sweep or check")->required()->type_name("FILE...");
  command->add_option("-o,--output", flags->output, "The page; - is stdout")->required()->type_name("FILE|-");
  command->add_option("--baseline", flags->baseline, "Also show the speed-up over these results")->type_name("FILE");
  command->callback([flags, &exit_code] { exit_code = run_report(*flags); });
}

}  // namespace lrnnx::bench
