// `sweep`: from a selection of problems to a report.
#include "harness/sweep.h"

#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <map>
#include <memory>

#include "harness/case.h"
#include "harness/environment.h"
#include "harness/error.h"
#include "harness/output.h"

namespace lrnnx::bench {
namespace {

// A cold time may beat the copy rate by what the two measurements' noise allows.
constexpr double kCopyTolerance = 1.02;
// Below this many times an empty kernel, a time says more about launching than about the kernel.
constexpr double kShortLaunch = 3;
// Of the interquartile range over the median; on a machine that does nothing else it stays below a few percent.
constexpr double kNoisySpread = 0.2;

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
  void finish(const Row& row) {
    if (quiet_) return;
    const std::string time = row.summary ? fmt::format("{:.4f} ms", row.summary->median) : row.reason;
    fmt::print(stderr, "{}[{}/{}] {} {}: {}\n", live_ ? "\r\x1b[K" : "", current_, total_, to_string(row.verdict),
               name_, time);
  }

 private:
  size_t total_, current_ = 0;
  bool quiet_, live_;
  std::string name_;
};

Verdict verdict_of(Status status) {
  switch (status) {
    case Status::passed:
      return Verdict::passed;
    case Status::failed:
      return Verdict::failed;
    case Status::skipped:
      return Verdict::skipped;
    case Status::error:
      return Verdict::error;
  }
  return Verdict::error;
}

class Sweep {
 public:
  Sweep(size_t problems, const SweepOptions& options) : options_(options), progress_(problems, options.quiet) {
    report_.environment = environment();
    report_.options = options.measure;
    if (options.cold || !options.warm) states_.push_back(CacheState::cold);
    if (options.warm) states_.push_back(CacheState::warm);
  }

  void run(const Problem& problem) {
    progress_.start(problem);
    Row row;
    row.problem = problem;
    row.cache = states_.front();
    row.cost = cost(problem);
    row.configuration = problem.configuration;
    std::vector<Row> rows;
    const auto give_up = [&](Verdict verdict, ExitCode code, const char* reason) {
      row.verdict = verdict;
      row.exit_code = code;
      row.reason = reason;
      rows = {row};
    };
    try {
      rows = check_and_time(row);
    } catch (const LibraryError& error) {
      if (error.is_skip())
        give_up(Verdict::skipped, ExitCode::nothing_ran, error.what());
      else
        give_up(Verdict::error, error.exit_code(), error.what());
    } catch (const Error& error) {
      give_up(Verdict::error, error.exit_code(), error.what());
    } catch (const std::exception& error) {
      give_up(Verdict::error, ExitCode::system, error.what());
    }
    for (Row& finished : rows) {
      progress_.finish(finished);
      report_.rows.push_back(std::move(finished));
    }
  }

  Report take() { return std::move(report_); }

 private:
  // The rows of a problem, one a cache state; a single one if it is not timed.
  std::vector<Row> check_and_time(Row& row) {
    Backend& backend = bench::backend(row.problem.backend);
    if (const auto why = backend.unavailable()) {
      row.verdict = Verdict::skipped;
      row.exit_code = ExitCode::nothing_ran;
      row.reason = *why;
      return {row};
    }
    if (options_.check) {
      progress_.doing("checking");
      row.check = checker_.check(row.problem, backend);
      row.verdict = verdict_of(row.check->status);
      row.exit_code = row.check->exit_code;
      row.reason = row.check->reason;
      if (row.verdict != Verdict::passed) return {row};
    } else {
      row.verdict = Verdict::unchecked;
    }
    progress_.doing("timing");
    Timer& timer = timer_of(backend);
    const Ceilings& ceilings = report_.ceilings.at(row.problem.backend);
    Case prepared(row.problem, backend);
    row.memory = prepared.memory();
    row.configuration = prepared.configuration();
    row.exit_code = ExitCode::ok;
    std::vector<Row> rows;
    for (const CacheState state : states_) {
      if (g_signal != 0 && !rows.empty()) break;
      MeasureOptions options = options_.measure;
      options.cache = state;
      options.stop = &g_signal;
      row.cache = state;
      row.floor.reset();  // what lies in a cache is read faster than the floor supposes
      if (state == CacheState::cold) row.floor = floor_of(row.cost, ceilings);
      row.measurement = measure(
          timer, [&] { prepared.launch(); }, options, to_string(row.problem));
      row.summary = summarize(row.measurement->samples_ms);
      rows.push_back(judged(row, ceilings));
    }
    return rows;
  }

  // Of this backend; made, with its ceilings, when the first problem needs it.
  Timer& timer_of(Backend& backend) {
    std::unique_ptr<Timer>& timer = timers_[std::string(backend.name())];
    if (!timer) {
      report_.ceilings.emplace(backend.name(), measure_ceilings(backend));
      timer = make_timer(backend);
    }
    return *timer;
  }

  const SweepOptions& options_;
  Progress progress_;
  std::vector<CacheState> states_;
  Checker checker_;
  std::map<std::string, std::unique_ptr<Timer>> timers_;
  Report report_;
};

// Of a flag; CLI11's own ranges let a NaN through.
CLI::Validator seconds(bool zero_allowed) {
  const auto check = [zero_allowed](const std::string& text) -> std::string {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size() && std::isfinite(value) &&
        (zero_allowed ? value >= 0 : value > 0))
      return "";
    return fmt::format("'{}': expected a finite number of seconds, {}", text, zero_allowed ? "0 or more" : "above 0");
  };
  return CLI::Validator(check, "");
}

}  // namespace

Row judged(Row row, const Ceilings& ceilings) {
  const double ms = row.summary->median;
  const double copy_ms = 1e3 * row.cost.bytes / ceilings.copy_bytes_per_second;
  if (row.cache == CacheState::cold && ms * kCopyTolerance < copy_ms) {
    row.verdict = Verdict::invalid;
    row.exit_code = ExitCode::wrong_numbers;
    row.reason = fmt::format(
        "{:.4f} ms is less than the {:.4f} ms that copying its bytes takes here: the caches were "
        "not cold, or the ceiling was measured too low",
        ms, copy_ms);
  }
  if (ceilings.empty_launch_ms && ms < kShortLaunch * *ceilings.empty_launch_ms)
    row.note = fmt::format("within {:g} times an empty kernel", kShortLaunch);
  if (row.summary->relative_spread() > kNoisySpread) row.note += row.note.empty() ? "noisy" : "; noisy";
  return row;
}

Report sweep(const std::vector<Problem>& problems, const SweepOptions& options) {
  const StopOnSignal stop;
  Sweep sweep(problems.size(), options);
  for (const Problem& problem : problems) {
    if (g_signal != 0) break;
    sweep.run(problem);
  }
  Report report = sweep.take();
  report.signal = g_signal;
  return report;
}

int exit_code_of(const Report& report) {
  if (report.signal != 0) return 128 + report.signal;
  // Skips count only if nothing else happened.
  for (const ExitCode code : {ExitCode::wrong_numbers, ExitCode::system, ExitCode::usage, ExitCode::ok})
    if (std::ranges::any_of(report.rows, [code](const Row& row) { return row.exit_code == code; }))
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

  const Report report = sweep(problems, options);
  const auto invalid = std::ranges::count(report.rows, Verdict::invalid, &Row::verdict);
  if (invalid > 0)
    fmt::print(stderr, "{} of {} rows invalid: faster than copying their bytes\n", invalid, report.rows.size());
  const std::string json = json_text(report), csv = csv_text(report);
  std::vector<Output> outputs;
  if (!options.json.empty()) outputs.push_back({options.json, json});
  if (!options.csv.empty()) outputs.push_back({options.csv, csv});
  if (!options.out.empty()) {
    outputs.push_back({options.out + "/sweep.json", json});
    outputs.push_back({options.out + "/sweep.csv", csv});
  }
  if (options.json != "-" && options.csv != "-") outputs.push_back({"-", table_text(report)});
  write_outputs(std::move(outputs));
  return exit_code_of(report);
}

void add_sweep_command(CLI::App& app, int& exit_code) {
  auto options = std::make_shared<SweepOptions>();
  CLI::App* command = app.add_subcommand("sweep", "Check problems against the oracle and time what passed");
  add_selection_flags(*command, options->selection, "quickstart");
  command->add_option("--direction", options->direction, "Only this direction")
      ->check(CLI::IsMember({"forward", "backward"}));
  command->add_flag("!--no-check", options->check, "Time without asking the oracle first");
  command->add_flag("--cold", options->cold, "Flush the caches before each sample (default)");
  command->add_flag("--warm", options->warm, "Leave in the caches what the launch before left; with --cold: both");
  command->add_option("--min-samples", options->measure.min_samples, "Samples at least")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--min-time", options->measure.min_seconds, "Seconds of samples at least")
      ->check(seconds(true))
      ->capture_default_str();
  command->add_option("--timeout", options->measure.timeout_seconds, "Seconds to spend on one measurement at most")
      ->check(seconds(false))
      ->capture_default_str();
  command->add_option("--json", options->json,
                      "Write everything, with every sample, to this file; - is stdout, in the table's place");
  command->add_option("--csv", options->csv, "Write one line a row to this file; - likewise");
  command->add_option("--out", options->out, "Write sweep.json and sweep.csv into this directory");
  command->add_flag("-q,--quiet", options->quiet, "No progress on stderr");
  command->callback([options, &exit_code] { exit_code = run_sweep(*options); });
}

}  // namespace lrnnx::bench
