// `sweep`: from a selection of problems to a report.
#include "harness/sweep.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <filesystem>
#include <memory>
#include <optional>

#include "harness/environment.h"
#include "harness/error.h"
#include "harness/flags.h"
#include "harness/output.h"
#include "harness/sinks.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

volatile std::sig_atomic_t g_signal = 0;

// While it lives, the first SIGINT or SIGTERM lets the sample in flight finish, so that what was measured is reported;
// the second one ends the program at once.
class StopOnSignal {
 public:
  StopOnSignal() {
    g_signal = 0;
    struct sigaction action {};
    action.sa_handler = [](int signal) { g_signal = signal; };
    action.sa_flags = static_cast<int>(SA_RESETHAND | SA_RESTART);
    sigaction(SIGINT, &action, &interrupt_);
    sigaction(SIGTERM, &action, &terminate_);
  }
  ~StopOnSignal() {
    sigaction(SIGINT, &interrupt_, nullptr);
    sigaction(SIGTERM, &terminate_, nullptr);
  }
  StopOnSignal(const StopOnSignal&) = delete;
  StopOnSignal& operator=(const StopOnSignal&) = delete;

 private:
  struct sigaction interrupt_ {};
  struct sigaction terminate_ {};
};

// One line a row on stderr; on a terminal also what is being done now.
class Progress {
 public:
  Progress(size_t total, bool quiet) : total_(total), quiet_(quiet), live_(!quiet && ::isatty(STDERR_FILENO)) {}

  void start(const Problem& problem) {
    ++current_;
    name_ = to_string(problem);
  }
  void doing(const char* what) {
    if (live_) fmt::print(stderr, "\r\x1b[K[{}/{}] {} {}", current_, total_, what, name_);
  }
  void finish(const Json& row) {
    if (quiet_) return;
    const std::string result = row.at("median_ms").is_number()
                                   ? fmt::format("{:.4f} ms", row.at("median_ms").get<double>())
                               : row.at("reason").is_string() ? row.at("reason").get<std::string>()
                                                              : "";
    fmt::print(stderr, "{}[{}/{}] {} {}: {}\n", live_ ? "\r\x1b[K" : "", current_, total_,
               row.at("verdict").get<std::string>(), name_, result);
  }

 private:
  size_t total_, current_ = 0;
  bool quiet_, live_;
  std::string name_;
};

}  // namespace

Swept sweep(const std::vector<Problem>& problems, const SweepOptions& options) {
  const StopOnSignal stop;
  Progress progress(problems.size(), options.quiet);
  RunOptions run_options = options.run;
  run_options.measure.stop = &g_signal;
  Runner runner(run_options);
  runner.on_phase = [&](const char* phase) { progress.doing(phase); };
  Swept swept;
  swept.results.environment = environment();
  swept.results.timing = {{"min_samples", options.run.measure.min_samples},
                          {"min_seconds", options.run.measure.min_seconds},
                          {"timeout_seconds", options.run.measure.timeout_seconds}};
  for (const Problem& problem : problems) {
    if (g_signal != 0) break;
    progress.start(problem);
    for (const Row& row : runner.run(problem)) {
      swept.results.rows.push_back(to_json(row));
      progress.finish(swept.results.rows.back());
    }
  }
  swept.results.ceilings = runner.ceilings();
  swept.signal = g_signal;
  swept.results.complete = g_signal == 0;
  return swept;
}

int exit_code_of(const Swept& swept) {
  if (swept.signal != 0) return 128 + swept.signal;
  // Skips count only if nothing else happened.
  for (const ExitCode code : {ExitCode::wrong_numbers, ExitCode::system, ExitCode::usage, ExitCode::ok})
    if (std::ranges::any_of(swept.results.rows,
                            [code](const Json& row) { return row.at("exit_code") == static_cast<int>(code); }))
      return static_cast<int>(code);
  return static_cast<int>(ExitCode::nothing_ran);
}

int run_sweep(const SweepOptions& options) {
  std::vector<Problem> problems = select_problems(options.selection);
  if (!options.direction.empty()) {
    std::erase_if(problems, [&](const Problem& problem) { return problem.direction != options.direction; });
    if (problems.empty())
      throw UsageError(fmt::format("--direction {}: no problem of the selection has it", options.direction));
  }
  for (const std::string& path : {options.json, options.csv}) {
    const std::filesystem::path parent = std::filesystem::path(path).parent_path();
    if (!parent.empty() && !std::filesystem::is_directory(parent))  // better known before an hour of timing
      throw SystemError(fmt::format("cannot write {}: {} is not a directory", path, parent.string()));
  }
  if (!options.out.empty()) {
    std::error_code error;
    std::filesystem::create_directories(options.out, error);
    if (error) throw SystemError(fmt::format("--out {}: {}", options.out, error.message()));
  }

  std::optional<Results> baseline;
  if (!options.baseline.empty()) {
    baseline = read_results(options.baseline);
    if (!options.allow_mixed)
      require_same_machine(baseline->environment, environment(), options.baseline, "this sweep");
  }

  const Swept swept = sweep(problems, options);
  const Results& results = swept.results;
  const auto invalid =
      std::ranges::count_if(results.rows, [](const Json& row) { return verdict_of(row) == Verdict::invalid; });
  if (invalid > 0)
    fmt::print(stderr, "{} of {} rows invalid: faster than copying their bytes\n", invalid, results.rows.size());
  int exit_code = exit_code_of(swept);
  std::string table = table_text(results);
  if (baseline) {
    const Comparisons comparisons = compare_results(*baseline, results, options.threshold);
    table += fmt::format("\nagainst {}:\n{}", options.baseline, table_text(comparisons));
    if (exit_code == 0) exit_code = exit_code_of(comparisons, options.strict);
  }
  const std::string json = json_text(results), csv = csv_text(results);
  std::vector<Output> outputs;
  if (!options.json.empty()) outputs.push_back({options.json, json});
  if (!options.csv.empty()) outputs.push_back({options.csv, csv});
  if (!options.out.empty()) {
    outputs.push_back({options.out + "/sweep.json", json});
    outputs.push_back({options.out + "/sweep.csv", csv});
  }
  if (options.json != "-" && options.csv != "-") outputs.push_back({"-", table});
  write_outputs(std::move(outputs));
  return exit_code;
}

void add_sweep_command(CLI::App& app, int& exit_code) {
  struct Flags {
    SweepOptions options;
    bool cold = false, warm = false;
  };
  auto flags = std::make_shared<Flags>();
  SweepOptions* const options = &flags->options;
  CLI::App* command = app.add_subcommand("sweep", "Check problems against the oracle and time what passed");
  add_selection_flags(*command, options->selection, "quickstart");
  command->add_option("--direction", options->direction, "Only this direction")
      ->check(CLI::IsMember({"forward", "backward"}));
  command->add_flag("!--no-check", options->run.check, "Time without asking the oracle first");
  command->add_flag("--cold", flags->cold, "Flush the caches before each sample (default)");
  command->add_flag("--warm", flags->warm, "Leave in the caches what the launch before left; with --cold: both");
  command->add_option("--min-samples", options->run.measure.min_samples, "Samples at least")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--min-time", options->run.measure.min_seconds, "Seconds of samples at least")
      ->check(seconds(true))
      ->capture_default_str();
  command->add_option("--timeout", options->run.measure.timeout_seconds, "Seconds to spend on one measurement at most")
      ->check(seconds(false))
      ->capture_default_str();
  command->add_option("--json", options->json,
                      "Write everything, with every sample, to this file; - is stdout, in the table's place");
  command->add_option("--csv", options->csv, "Write one line a row to this file; - likewise");
  command->add_option("--out", options->out, "Write sweep.json and sweep.csv into this directory");
  command->add_flag("-q,--quiet", options->quiet, "No progress on stderr");
  command->add_option("--baseline", options->baseline, "Compare with these results (see compare)")->type_name("FILE");
  add_threshold_flag(*command, options->threshold);
  command->add_flag("--strict", options->strict, "With --baseline: exit with 6 if a row is AMBIGUOUS");
  command->add_flag("--allow-mixed", options->allow_mixed, "With --baseline: even if it ran on another machine");
  command->callback([flags, &exit_code] {
    std::vector<CacheState>& states = flags->options.run.states;
    states.clear();
    if (flags->cold || !flags->warm) states.push_back(CacheState::cold);
    if (flags->warm) states.push_back(CacheState::warm);
    exit_code = run_sweep(flags->options);
  });
}

}  // namespace lrnnx::bench
