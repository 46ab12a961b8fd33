// `info`: prints the environment and measures the ceilings of every backend that is there.
#include "harness/info.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>

#include "harness/backend.h"
#include "harness/ceilings.h"
#include "harness/environment.h"
#include "harness/output.h"

namespace lrnnx::bench {

int run_info(bool json) {
  nlohmann::ordered_json facts = environment();
  std::string text = facts_text(facts);
  nlohmann::ordered_json ceilings = nlohmann::ordered_json::object();
  for (const std::string& name : backend_names()) {
    Backend& there = backend(name);
    if (const auto why = there.unavailable()) {
      ceilings[name] = nullptr;
      text += fmt::format("{:<30}skipped: {}\n", "ceilings." + name, *why);
      continue;
    }
    const Ceilings measured = measure_ceilings(there, *make_timer(there), true);
    ceilings[name] = to_json(measured);
    text += fmt::format("{:<30}{}\n", "ceilings." + name, to_string(measured));
  }
  facts["ceilings"] = ceilings;
  write_stdout(json ? facts.dump(2) + '\n' : text);
  return 0;
}

void add_info_command(CLI::App& app, int& exit_code) {
  auto json = std::make_shared<bool>(false);
  CLI::App* command = app.add_subcommand("info", "Describe the machine and the build, and measure the ceilings");
  command->add_flag("--json", *json, "As JSON");
  command->callback([json, &exit_code] { exit_code = run_info(*json); });
}

}  // namespace lrnnx::bench
