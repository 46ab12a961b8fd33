// `report`: results as one HTML page that needs nothing else, with charts.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace lrnnx::bench {

// A file of results: its name on the page, which no other has, and its JSON (of sweep or of check).
struct ReportInput {
  std::string name;
  nlohmann::ordered_json json;
};

// The page. `baseline` may be null. Throws SystemError if this build has no chart library.
std::string report_html(const std::vector<ReportInput>& inputs, const ReportInput* baseline);

// Registers `report`; its callback stores the exit code.
void add_report_command(CLI::App& app, int& exit_code);

}  // namespace lrnnx::bench
