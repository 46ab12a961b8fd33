// `check`: selects problems, checks them one after the other, and reports.
#include "harness/check_command.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <map>
#include <nlohmann/json.hpp>

#include "harness/check.h"
#include "harness/environment.h"
#include "harness/error.h"
#include "harness/output.h"
#include "harness/suite.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kSchemaVersion = 1;

// A wrong kernel fails hundreds of problems alike.
constexpr int64_t kFaultsShown = 5;

struct Flags {
  Selection selection;
  CheckOptions options;
  std::string json;
  bool verbose = false, fail_fast = false, quiet = false;
};

// How far a tensor is from failing: 1 is the limit.
double strain(const Comparison& tensor) {
  const double by_max = tensor.max_abs_error == 0 ? 0 : tensor.max_abs_error / tensor.max_tolerance;
  return std::max(tensor.rel_l2 / tensor.tolerance, by_max);
}

const Comparison* worst_tensor(const CheckResult& result) {
  const Comparison* worst = nullptr;
  for (const Comparison& tensor : result.tensors) {
    if (!worst || !(strain(tensor) <= strain(*worst))) worst = &tensor;
  }
  return worst;
}

std::string status_text(Status status) {
  switch (status) {
    case Status::passed:
      return colored("passed", Color::green);
    case Status::skipped:
      return colored("skipped", Color::yellow);
    case Status::failed:
    case Status::error:
      return colored(to_string(status), Color::red);
  }
  return to_string(status);
}

std::string repro_line(const CheckResult& result, const CheckOptions& options) {
  const std::string reruns = options.reruns == CheckOptions{}.reruns ? "" : fmt::format(" --reruns {}", options.reruns);
  return fmt::format("lrnnx-bench check{} --problem '{}'", reruns, to_string(result.problem));
}

std::string fault_text(const CheckResult& result, const CheckOptions& options) {
  std::string reasons = "  " + result.reason;
  for (size_t i = 0; (i = reasons.find('\n', i)) != std::string::npos; i += 3) reasons.replace(i, 1, "\n  ");
  return fmt::format("{} {}\n{}\n  reproduce: {}\n", status_text(result.status), to_string(result.problem), reasons,
                     repro_line(result, options));
}

// One line for --verbose.
std::string line_of(const CheckResult& result) {
  std::string text = fmt::format("{} {}", status_text(result.status), to_string(result.problem));
  if (result.status == Status::skipped) return fmt::format("{}: {}\n", text, result.reason);
  if (const Comparison* worst = worst_tensor(result)) {
    text += fmt::format("  worst {} rel_l2={:.1e}  deterministic={}  {}", worst->name, worst->rel_l2,
                        result.deterministic ? "yes" : "no", result.configuration);
  }
  return text + '\n';
}

// One row a variant.
struct Summary {
  std::map<Status, int64_t> counts;
  int64_t problems = 0;
  bool ran = false, deterministic = true;
  std::string worst_name;
  double worst_rel_l2 = 0, worst_strain = -1, seconds = 0;

  void add(const CheckResult& result) {
    ++problems;
    ++counts[result.status];
    seconds += result.seconds;
    if (result.tensors.empty()) return;
    ran = true;
    deterministic = deterministic && result.deterministic;
    const Comparison* worst = worst_tensor(result);
    if (worst_strain < 0 || !(strain(*worst) <= worst_strain)) {
      worst_name = worst->name;
      worst_rel_l2 = worst->rel_l2;
      worst_strain = strain(*worst);
    }
  }
};

std::string summary_text(const std::vector<CheckResult>& results, const CheckOptions& options) {
  std::vector<std::pair<std::string, Summary>> variants;  // in order of appearance
  std::map<std::string, int64_t> skips;
  for (const CheckResult& result : results) {
    const std::string name = variant_name(result.problem);
    auto row = std::find_if(variants.begin(), variants.end(), [&](const auto& entry) { return entry.first == name; });
    if (row == variants.end()) row = variants.insert(row, {name, {}});
    row->second.add(result);
    if (result.status == Status::skipped) ++skips[result.reason];
  }
  std::vector<std::vector<std::string>> rows;
  for (auto& [name, summary] : variants) {
    const auto count = [&counts = summary.counts](Status status) { return std::to_string(counts[status]); };
    rows.push_back(
        {name, std::to_string(summary.problems), count(Status::passed), count(Status::failed), count(Status::skipped),
         count(Status::error), summary.ran ? fmt::format("{:.1e}", summary.worst_rel_l2) : "-",
         summary.ran ? summary.worst_name : "-", summary.ran ? fmt::format("{:.2f}", summary.worst_strain) : "-",
         !summary.ran || options.reruns == 0 ? "-"
         : summary.deterministic             ? "yes"
                                             : "no",
         fmt::format("{:.1f}", summary.seconds)});
  }
  std::string text = format_table({{"variant"},
                                   {"problems", true},
                                   {"passed", true},
                                   {"failed", true},
                                   {"skipped", true},
                                   {"error", true},
                                   {"worst rel L2", true},
                                   {"of"},
                                   {"of limit", true},
                                   {"deterministic"},
                                   {"s", true}},
                                  rows);
  for (const auto& [reason, count] : skips) {
    text += fmt::format("{}: {} ({} problem{})\n", status_text(Status::skipped), reason, count, count == 1 ? "" : "s");
  }
  return text;
}

Json to_json(const CheckResult& result) {
  Json tensors = Json::array();
  for (const Comparison& tensor : result.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"passed", tensor.passed},
                       {"reason", tensor.reason},
                       {"expected_count", tensor.expected_count},
                       {"compared", tensor.compared},
                       {"rel_l2", tensor.rel_l2},
                       {"tolerance", tensor.tolerance},
                       {"max_abs_error", tensor.max_abs_error},
                       {"max_tolerance", tensor.max_tolerance},
                       {"max_abs_reference", tensor.max_abs_reference},
                       {"worst_index", tensor.worst_index},
                       {"worst_got", tensor.worst_got},
                       {"worst_expected", tensor.worst_expected}});
  }
  return {{"problem", to_string(result.problem)},
          {"status", to_string(result.status)},
          {"reason", result.reason},
          {"deterministic", result.reruns > 0 ? Json(result.deterministic) : Json(nullptr)},
          {"reruns", result.reruns},
          {"configuration", result.configuration},
          {"seconds", result.seconds},
          {"tensors", tensors}};
}

std::string json_text(const std::vector<CheckResult>& results) {
  std::map<Status, int64_t> counts;
  Json list = Json::array();
  for (const CheckResult& result : results) {
    ++counts[result.status];
    list.push_back(to_json(result));
  }
  Json summary{{"problems", results.size()}};
  for (const Status status : {Status::passed, Status::failed, Status::skipped, Status::error}) {
    summary[to_string(status)] = counts[status];
  }
  return Json{{"schema", "lrnnx-bench.check"},
              {"schema_version", kSchemaVersion},
              {"environment", environment()},
              {"summary", summary},
              {"results", list}}
             .dump(1) +
         '\n';
}

// Wrong numbers outrank a broken machine, which outranks a refused argument. Skips count only if nothing passed.
ExitCode exit_code_of(const std::vector<CheckResult>& results) {
  for (const ExitCode code : {ExitCode::wrong_numbers, ExitCode::system, ExitCode::usage, ExitCode::ok}) {
    const auto has_code = [&](const CheckResult& result) { return result.exit_code == code; };
    if (std::any_of(results.begin(), results.end(), has_code)) return code;
  }
  return ExitCode::nothing_ran;
}

ExitCode run_check(const Flags& flags) {
  const std::vector<Problem> problems = select_problems(flags.selection);
  const bool text_to_stdout = flags.json != "-";
  const bool live = !flags.quiet && ::isatty(STDERR_FILENO);
  Checker checker(flags.options);
  std::vector<CheckResult> results;
  std::map<std::string, int64_t> faults;  // by variant
  const bool json_to_file = !flags.json.empty() && flags.json != "-";
  if (json_to_file) std::signal(SIGPIPE, SIG_IGN);  // a reader of the text who goes away costs no results
  std::string unwritten;                            // why the text no longer reaches the standard output
  const auto say = [&](const std::string& text) {
    if (!text_to_stdout || !unwritten.empty()) return;
    try {
      write_stdout(text);
    } catch (const SystemError& error) {
      if (!json_to_file) throw;
      unwritten = error.what();
    }
  };
  for (const Problem& problem : problems) {
    if (live) fmt::print(stderr, "\r\x1b[K[{}/{}] {}", results.size() + 1, problems.size(), to_string(problem));
    results.push_back(checker.check(problem, backend(problem.backend)));
    const CheckResult& result = results.back();
    const bool fault = result.status == Status::failed || result.status == Status::error;
    if (live) fmt::print(stderr, "\r\x1b[K");
    if (flags.verbose) say(line_of(result));
    if (fault) {
      const int64_t count = ++faults[variant_name(problem)];
      if (flags.verbose || count <= kFaultsShown) say(fault_text(result, flags.options));
    }
    if (fault && flags.fail_fast) break;
  }
  if (!flags.quiet && results.size() < problems.size()) {
    fmt::print(stderr, "stopped by --fail-fast: {} of {} problems not run\n", problems.size() - results.size(),
               problems.size());
  }
  std::vector<Output> outputs;
  if (!flags.json.empty()) outputs.push_back({flags.json, json_text(results)});
  if (text_to_stdout && unwritten.empty()) {
    std::string text;
    for (const auto& [variant, count] : faults) {
      if (flags.verbose || count <= kFaultsShown) continue;
      text += fmt::format("{}: {} more like these (--verbose shows all)\n", variant, count - kFaultsShown);
    }
    outputs.push_back({"-", text + summary_text(results, flags.options)});
  }
  write_outputs(std::move(outputs));
  if (!unwritten.empty()) throw SystemError(unwritten);
  return exit_code_of(results);
}

}  // namespace

void add_check_command(CLI::App& app, int& exit_code) {
  auto flags = std::make_shared<Flags>();
  CLI::App* command = app.add_subcommand(
      "check",
      "Compare every output and gradient with the fp64 reference.\n"
      "Prints one line a variant, and for the first faults of each what is wrong and the line that reproduces it.\n"
      "Outputs and workspaces start as NaN between guard bytes; inputs must come back unchanged;\n"
      "reruns must agree in every bit.");
  add_selection_flags(*command, flags->selection, "check");
  command->add_option("--reruns", flags->options.reruns, "Launches beyond the first, each compared with it bit by bit")
      ->type_name("N")
      ->check(CLI::NonNegativeNumber.description(""))
      ->capture_default_str();
  command->add_flag("--fail-fast", flags->fail_fast, "Stop at the first fault");
  command->add_option("--json", flags->json, "Also write every result to FILE; - writes it to stdout instead of text")
      ->type_name("FILE|-");
  command->add_flag("-v,--verbose", flags->verbose, "One line a problem, and every fault");
  command->add_flag("-q,--quiet", flags->quiet, "No progress on stderr");
  command->footer("Exit code: 0 all passed, 1 wrong numbers, 2 usage, 3 CUDA or system error, 4 nothing ran.");
  command->callback([flags, &exit_code] { exit_code = static_cast<int>(run_check(*flags)); });
}

}  // namespace lrnnx::bench
