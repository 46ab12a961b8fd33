// `check`: selects problems, has them checked, and reports.
#include "harness/check_command.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>

#include "harness/check.h"
#include "harness/check_json.h"
#include "harness/checkers.h"
#include "harness/environment.h"
#include "harness/error.h"
#include "harness/files.h"
#include "harness/flags.h"
#include "harness/implementations.h"
#include "harness/junit.h"
#include "harness/list.h"
#include "harness/output.h"
#include "harness/progress.h"
#include "harness/signals.h"
#include "harness/suite.h"
#include "reference/self_test.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

// A wrong kernel fails hundreds of problems alike.
constexpr int64_t kFaultsShown = 5;

struct CheckFlags {
  Selection selection;
  CheckOptions options;
  std::optional<int> reruns;
  int64_t jobs = 0;
  double patience_seconds = kPatienceSeconds;
  std::string json, junit;
  bool verbose = false, fail_fast = false, quiet = false, list_fills = false, list_shapes = false, self_test = false;
  bool in_process = false;  // no child process: for a debugger
};

const Comparison* worst_tensor(const CheckResult& result) {
  const Comparison* worst = nullptr;
  for (const Comparison& tensor : result.tensors) {
    if (!worst || tensor.rho > worst->rho) worst = &tensor;
  }
  return worst;
}

bool is_fault(Status status) { return status == Status::failed || status == Status::error; }

std::string status_text(Status status) {
  switch (status) {
    case Status::passed:
      return colored("passed", Color::green);
    case Status::mistrusted:
    case Status::skipped:
      return colored(to_string(status), Color::yellow);
    case Status::failed:
    case Status::error:
      return colored(to_string(status), Color::red);
  }
  return to_string(status);
}

std::string repro_line(const CheckResult& result, const CheckOptions& options,
                       std::span<const Implementation> implementations) {
  std::string library;
  if (const auto& file = find_implementation(implementations, implementation_of(result.problem)).file)
    library = fmt::format(" --library '{}={}'", file->name, file->path);
  const std::string reruns = options.reruns == CheckOptions{}.reruns ? "" : fmt::format(" --reruns {}", options.reruns);
  return fmt::format("lrnnx-check{}{} --problem '{}'", library, reruns, to_string(result.problem));
}

std::string fault_text(const CheckResult& result, const CheckOptions& options,
                       std::span<const Implementation> implementations) {
  std::string reasons = "  " + result.reason;
  for (size_t i = 0; (i = reasons.find('\n', i)) != std::string::npos; i += 3) reasons.replace(i, 1, "\n  ");
  if (!result.dumped.empty()) reasons += fmt::format("\n  tensors: {}", result.dumped);
  return fmt::format("{} {}\n{}\n  reproduce: {}\n", status_text(result.status), to_string(result.problem), reasons,
                     repro_line(result, options, implementations));
}

// "no device: no CUDA device (this build has no CUDA backend)"
std::string skip_text(const CheckResult& result) {
  return fmt::format("{}: {}", to_string(result.skip_reason), result.reason);
}

std::string determinism_text(bool rerun, bool deterministic) { return !rerun ? "-" : deterministic ? "yes" : "no"; }

// One line for --verbose.
std::string line_of(const CheckResult& result) {
  std::string text = fmt::format("{} {}", status_text(result.status), to_string(result.problem));
  if (result.status == Status::skipped) return fmt::format("{}: {}\n", text, skip_text(result));
  if (const Comparison* worst = worst_tensor(result)) {
    text += fmt::format("  rho {:.2g} ({})  rel. error {:.1e}  deterministic {}  {}", worst->rho, worst->name,
                        worst->rel_l2, determinism_text(result.reruns > 0, result.deterministic), result.configuration);
  }
  return text + '\n';
}

// The variant, and the implementation unless it is the usual one.
std::string row_name(const Problem& problem) {
  return variant_name(problem) + (problem.implementation.empty() ? "" : " of " + problem.implementation);
}

// One row a variant of an implementation.
struct VariantSummary {
  explicit VariantSummary(const Problem& of) : problem(of) {}

  Problem problem;  // one of them
  std::map<Status, int64_t> counts;
  int64_t problems = 0;
  bool rerun = false, deterministic = true;
  std::string worst_name = "-";
  double worst_rho = -1, worst_rel_l2 = -1, seconds = 0;

  void add(const CheckResult& result) {
    ++problems;
    ++counts[result.status];
    seconds += result.seconds;
    rerun = rerun || result.reruns > 0;
    deterministic = deterministic && result.deterministic;
    for (const Comparison& tensor : result.tensors) {
      worst_rel_l2 = std::max(worst_rel_l2, tensor.rel_l2);
      if (!(tensor.rho > worst_rho)) continue;
      worst_rho = tensor.rho;
      worst_name = tensor.name;
    }
  }
};

std::string check_summary_text(const std::vector<CheckResult>& results, double seconds) {
  std::vector<std::pair<std::string, VariantSummary>> variants;  // in order of appearance
  std::map<std::string, int64_t> notes;                          // of skips and doubts
  std::map<Status, int64_t> totals;
  bool several = false;  // implementations
  for (const CheckResult& result : results) {
    const std::string name = row_name(result.problem);
    auto row = std::find_if(variants.begin(), variants.end(), [&](const auto& entry) { return entry.first == name; });
    if (row == variants.end()) row = variants.insert(row, {name, VariantSummary(result.problem)});
    several = several || !result.problem.implementation.empty();
    row->second.add(result);
    ++totals[result.status];
    if (result.status == Status::skipped) ++notes[skip_text(result)];
  }
  const auto number = [](double value, const char* format) {
    return value < 0 ? std::string("-") : fmt::format(fmt::runtime(format), value);
  };
  std::vector<Column> columns = {{"variant"}, {"problems", true}};
  if (several) columns.insert(columns.begin() + 1, {"implementation"});
  for (const Status status : kStatuses) columns.push_back({to_string(status), true});
  for (const Column& column : {Column{"worst rho", true}, {"of"}, {"rel. error", true}, {"deterministic"}, {"s", true}})
    columns.push_back(column);
  std::vector<std::vector<std::string>> rows;
  for (auto& [name, summary] : variants) {
    std::vector<std::string> row = {variant_name(summary.problem), std::to_string(summary.problems)};
    if (several) row.insert(row.begin() + 1, implementation_of(summary.problem));
    for (const Status status : kStatuses) row.push_back(std::to_string(summary.counts[status]));
    for (const std::string& cell :
         {number(summary.worst_rho, "{:.2g}"), summary.worst_name, number(summary.worst_rel_l2, "{:.1e}"),
          determinism_text(summary.rerun, summary.deterministic), fmt::format("{:.1f}", summary.seconds)})
      row.push_back(cell);
    rows.push_back(std::move(row));
  }
  std::string text = format_table(columns, rows);
  for (const auto& [note, count] : notes) {
    text += fmt::format("{}: {} ({} problem{})\n", status_text(Status::skipped), note, count, count == 1 ? "" : "s");
  }
  if (totals[Status::mistrusted] > 0) {
    text += fmt::format("{}: a wrong result could have passed (--verbose says where and why)\n",
                        status_text(Status::mistrusted));
  }
  text += fmt::format("{} problems:", results.size());
  for (const Status status : kStatuses) {
    text += fmt::format("{} {} {}", status == kStatuses[0] ? "" : ",", totals[status], to_string(status));
  }
  return text + fmt::format("; {:.1f} s\n", seconds);
}

std::string check_json_text(const std::vector<CheckResult>& results, bool complete) {
  std::map<Status, int64_t> counts;
  Json list = Json::array();
  for (const CheckResult& result : results) {
    ++counts[result.status];
    list.push_back(to_json(result));
  }
  Json summary{{"problems", results.size()}};
  for (const Status status : kStatuses) summary[to_string(status)] = counts[status];
  return Json{{"schema", kCheckSchema},       {"schema_version", kCheckSchemaVersion},
              {"environment", environment()}, {"complete", complete},
              {"summary", summary},           {"results", list}}
             .dump(1, ' ', false, Json::error_handler_t::replace) +
         '\n';
}

// Wrong numbers outrank a broken machine, which outranks a refused argument. If nothing passed, nothing was shown:
// skipped and mistrusted problems alone count as nothing ran.
ExitCode check_exit_code(const std::vector<CheckResult>& results) {
  for (const ExitCode code : {ExitCode::wrong_numbers, ExitCode::system, ExitCode::usage, ExitCode::ok}) {
    const auto has_code = [&](const CheckResult& result) { return result.exit_code == code; };
    if (std::any_of(results.begin(), results.end(), has_code)) return code;
  }
  return ExitCode::nothing_ran;
}

void make_directory(const std::string& path) {
  if (path.empty()) return;
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) throw SystemError(fmt::format("--dump {}: {}", path, error.message()));
}

ExitCode run_self_test(const CheckFlags& flags) {
  std::string text;
  size_t failed = 0;
  const std::vector<reference::SelfTestResult> results = reference::run_self_tests();
  for (const reference::SelfTestResult& result : results) {
    if (!result.passed) ++failed;
    if (result.passed && !flags.verbose) continue;
    text += fmt::format("{} {}\n", status_text(result.passed ? Status::passed : Status::failed), result.name);
    if (!result.passed) text += fmt::format("  {}\n", result.detail);
  }
  write_stdout(text +
               fmt::format("{} of {} self-tests of the reference passed\n", results.size() - failed, results.size()));
  return failed == 0 ? ExitCode::ok : ExitCode::wrong_numbers;
}

int run_check(CheckFlags flags) {
  if (flags.self_test) return static_cast<int>(run_self_test(flags));
  if (flags.list_fills) return write_stdout(fills_text()), 0;
  if (flags.list_shapes) return write_stdout(shapes_text()), 0;
  const auto start = std::chrono::steady_clock::now();
  const std::vector<Implementation> implementations =
      find_implementations(flags.selection.libraries, flags.patience_seconds);
  const std::vector<Problem> problems = select_problems(flags.selection, implementations);
  make_directory(flags.options.dump);
  require_places({flags.json, flags.junit});
  const int default_reruns = flags.options.reruns;
  flags.options.reruns = flags.reruns.value_or(reruns_of_suite(flags.selection).value_or(default_reruns));
  flags.options.dump_all = !flags.selection.problems.empty();
  const bool text_to_stdout = flags.json != "-";
  const StopOnSignal stop;
  Progress progress(problems.size(), flags.quiet);
  std::vector<CheckResult> results;
  std::map<std::string, int64_t> faults;  // by variant
  const bool to_file = (!flags.json.empty() && flags.json != "-") || !flags.junit.empty();
  if (to_file) std::signal(SIGPIPE, SIG_IGN);  // a reader of the text who goes away costs no results
  std::string unwritten;                       // why the text no longer reaches the standard output
  const auto say = [&](const std::string& text) {
    if (!text_to_stdout || !unwritten.empty()) return;
    try {
      write_stdout(text);
    } catch (const SystemError& error) {
      if (!to_file) throw;
      unwritten = error.what();
    }
  };
  const auto announce_next = [&] {
    if (results.size() == problems.size()) return;
    progress.start({problems[results.size()]});
    progress.doing(kCheckingPhase);
  };
  const auto take = [&](const CheckResult& result) {
    progress.count();
    results.push_back(result);
    const bool fault = is_fault(result.status);
    if (flags.verbose) say(line_of(result));
    if (fault) {
      const int64_t count = ++faults[row_name(result.problem)];
      if (flags.verbose || count <= kFaultsShown) say(fault_text(result, flags.options, implementations));
    }
    const bool asked_for = flags.verbose || !flags.selection.problems.empty();
    if (result.status == Status::mistrusted && asked_for) say(fault_text(result, flags.options, implementations));
    announce_next();
    return !(fault && flags.fail_fast) && stop.signal() == 0;
  };
  announce_next();
  check_all(problems,
            {.check = flags.options,
             .patience_seconds = flags.patience_seconds,
             .in_process = flags.in_process,
             .jobs = flags.jobs},
            implementations, take);
  const bool complete = results.size() == problems.size();
  if (!flags.quiet && !complete)
    write_stderr(fmt::format("stopped by {}: {} of {} problems not run\n",
                             stop.signal() != 0 ? "a signal" : "--fail-fast", problems.size() - results.size(),
                             problems.size()));
  std::vector<Output> outputs;
  if (!flags.json.empty()) outputs.push_back({flags.json, check_json_text(results, complete)});
  if (!flags.junit.empty()) outputs.push_back({flags.junit, junit_text(results)});
  if (text_to_stdout && unwritten.empty()) {
    std::string text;
    for (const auto& [variant, count] : faults) {
      if (flags.verbose || count <= kFaultsShown) continue;
      text += fmt::format("{}: {} more like these (--verbose shows all)\n", variant, count - kFaultsShown);
    }
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - start;
    outputs.push_back({"-", text + check_summary_text(results, wall.count())});
  }
  write_outputs(std::move(outputs));
  if (!unwritten.empty()) throw SystemError(unwritten);
  return stop.signal() != 0 ? 128 + stop.signal() : static_cast<int>(check_exit_code(results));
}

}  // namespace

void add_check_command(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<CheckFlags>();
  CLI::App* command = app.add_subcommand(
      "check",
      "Compare every output and gradient with the fp64 reference, element by element.\n"
      "Prints one line a variant, and for the first faults of each what is wrong and the line that reproduces it.\n"
      "Outputs and workspaces start as NaN between guard bytes; inputs must come back unchanged;\n"
      "reruns must agree in every bit. passed: every element is right. failed: wrong numbers or memory.\n"
      "mistrusted: nothing wrong was seen, but could have been missed. skipped: not run, and why.");
  add_selection_flags(*command, flags->selection, "check-quick");
  command
      ->add_option("--reruns", flags->reruns,
                   "Launches beyond the first, each compared with it bit by bit; without it what the suite says, or 1")
      ->type_name("N")
      ->check(whole_number(0, 1'000'000));
  CLI::Option* const jobs =
      command
          ->add_option("--jobs", flags->jobs,
                       fmt::format("Problems at the same time, each in processes of its own; default: 1 on the "
                                   "processor, else one for every {} threads, but at most {}",
                                   kThreadsPerJob, kMostDefaultJobs))
          ->type_name("N")
          ->check(whole_number(1, kMostJobs));
  add_patience_flag(*command, flags->patience_seconds);
  command->add_flag("--fail-fast", flags->fail_fast, "Stop at the first fault");
  command->add_flag("--in-process", flags->in_process, "Start no child process: for a debugger")->excludes(jobs);
  command->add_option("--json", flags->json, "Also write every result to FILE; - writes it to stdout instead of text")
      ->check(path())
      ->type_name("FILE|-");
  command->add_option("--junit", flags->junit, "Also write every result to FILE as JUnit XML")
      ->check(path())
      ->type_name("FILE");
  command
      ->add_option("--dump", flags->options.dump,
                   "Write inputs, outputs and what was expected as .npy files, a folder in DIR for each problem that "
                   "does not pass, and for each given by --problem")
      ->check(path())
      ->type_name("DIR");
  command->add_flag("--list-fills", flags->list_fills, "List the named inputs, and check nothing");
  command->add_flag("--list-shapes", flags->list_shapes,
                    "List the named sizes and the memory layouts, and check nothing");
  command->add_flag("--self-test", flags->self_test,
                    "Test the reference itself: dual numbers, closed forms, 200-digit values; and check nothing");
  command->add_flag("-v,--verbose", flags->verbose, "One line a problem, and every fault");
  command->add_flag("-q,--quiet", flags->quiet, "No progress on stderr");
  command->footer(
      "Exit code: 0 fine, 1 wrong numbers, 2 usage, 3 CUDA or system error, 4 nothing passed."
      "\n0 also if some were mistrusted or skipped beside those that passed: the counts say so."
      "\n130 or 143 after SIGINT or SIGTERM, with what was checked until then.");
  command->callback([flags, &exit_code] { exit_code = run_check(*flags); });
}

}  // namespace lrnnx::bench
