// `compare`: reads two results files and prints what changed.
#include "harness/compare_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "harness/baseline.h"
#include "harness/error.h"
#include "harness/files.h"
#include "harness/flags.h"
#include "harness/output.h"

namespace lrnnx::bench {
namespace {

struct CompareFlags {
  std::string before, after, against, json;
  double threshold = kDefaultThreshold;
  bool strict = false, allow_mixed = false;
};

int run_compare(const CompareFlags& flags) {
  require_places({flags.json}, {flags.before, flags.after});
  if (flags.after.empty() == flags.against.empty())
    throw UsageError("compare: expected either NEW, another results file, or --against, an implementation in OLD");
  const Results before = read_results(flags.before);
  Comparisons comparisons;
  if (flags.after.empty()) {
    comparisons = compare_implementations(before, flags.against, flags.threshold);
  } else {
    const Results after = read_results(flags.after);
    if (!flags.allow_mixed) require_same_machine(before.environment, after.environment, flags.before, flags.after);
    comparisons = compare_results(before, after, flags.threshold);
    for (const auto& [path, results] : {std::pair(flags.before, &before), std::pair(flags.after, &after)})
      if (!results->complete) write_stderr(fmt::format("{} is incomplete\n", path));
  }
  std::vector<Output> outputs;
  if (!flags.json.empty()) outputs.push_back({flags.json, to_json(comparisons).dump(1) + '\n'});
  if (flags.json != "-") outputs.push_back({"-", table_text(comparisons)});
  write_outputs(std::move(outputs));
  return exit_code_of(comparisons, flags.strict);
}

}  // namespace

void add_compare_command(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<CompareFlags>();
  CLI::App* command =
      app.add_subcommand("compare",
                         "Say of each problem in two results files whether it became faster or slower,\n"
                         "or in one file whether implementations are faster or slower than another\n"
                         "FAST or SLOW: the 99 % confidence intervals of the medians lie apart by more "
                         "than the threshold;\nSAME: they differ by less than it; else AMBIGUOUS");
  command->add_option("OLD", flags->before, "JSON of the sweep to compare with")->required()->type_name("FILE");
  command->add_option("NEW", flags->after, "JSON of the sweep to judge")->type_name("FILE");
  command
      ->add_option(
          "--against", flags->against,
          "Instead of NEW: judge the other implementations in OLD against this one, with which they took turns")
      ->type_name("NAME");
  add_threshold_flag(*command, flags->threshold);
  command->add_flag("--strict", flags->strict, "Exit with 6 if a row is AMBIGUOUS, skipped now, or not in NEW");
  command->add_flag("--allow-mixed", flags->allow_mixed, "Compare even if the two ran on different machines");
  command->add_option("--json", flags->json, "Also write the comparison to FILE; - writes it to stdout instead of text")
      ->check(path())
      ->type_name("FILE|-");
  command->footer(
      "Exit code: 0 nothing slower, 1 wrong numbers where there was a time, 2 usage, 3 system error there,\n"
      "4 no problem in both, or one is now skipped, 5 something slower, 6 something ambiguous or gone (with "
      "--strict).");
  command->callback([flags, &exit_code] { exit_code = run_compare(*flags); });
}

}  // namespace lrnnx::bench
