// From one problem to its rows.
#include "harness/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "harness/case.h"
#include "harness/error.h"
#include "harness/profiler_range.h"

namespace lrnnx::bench {
namespace {

// A cold time may beat the copy rate by what the two measurements' noise allows.
constexpr double kCopyTolerance = 1.02;
// Below this many times an empty kernel, a time says more about launching than about the kernel.
constexpr double kShortLaunch = 3;
// Of the interquartile range over the median; on a machine that does nothing else it stays below a few percent.
constexpr double kNoisySpread = 0.2;

Verdict verdict_of(Status status) {
  switch (status) {
    case Status::passed:
      return Verdict::passed;
    case Status::failed:
      return Verdict::failed;
    case Status::mistrusted:
      return Verdict::mistrusted;
    case Status::skipped:
      return Verdict::skipped;
    case Status::error:
      return Verdict::error;
  }
  return Verdict::error;
}

}  // namespace

nlohmann::ordered_json to_json(const RunOptions& options) {
  nlohmann::ordered_json states = nlohmann::ordered_json::array();
  for (const CacheState state : options.states) states.push_back(to_string(state));
  return {{"check", options.check},
          {"cache", states},
          {"profile", options.profile},
          {"warmup", options.measure.warmup},
          {"min_samples", options.measure.min_samples},
          {"min_seconds", options.measure.min_seconds},
          {"max_noise", options.measure.max_noise},
          {"timeout_seconds", options.measure.timeout_seconds}};
}

RunOptions run_options_from_json(const nlohmann::ordered_json& json) {
  RunOptions options;
  options.check = json.at("check");
  options.states.clear();
  for (const auto& state : json.at("cache"))
    options.states.push_back(state == to_string(CacheState::warm) ? CacheState::warm : CacheState::cold);
  options.profile = json.at("profile");
  options.measure.warmup = json.at("warmup");
  options.measure.min_samples = json.at("min_samples");
  options.measure.min_seconds = json.at("min_seconds");
  options.measure.max_noise = json.at("max_noise");
  options.measure.timeout_seconds = json.at("timeout_seconds");
  return options;
}

Row row_of(const Problem& problem, CacheState cache) {
  Row row;
  row.problem = problem;
  row.cache = cache;
  row.cost = cost(problem);
  row.configuration = problem.configuration;
  return row;
}

Runner::Runner(RunOptions options, std::map<std::string, Ceilings> ceilings)
    : options_(std::move(options)), ceilings_(std::move(ceilings)) {}

std::vector<Row> Runner::run(const Problem& problem) {
  Row row = row_of(problem, options_.states.front());
  const auto give_up = [&](Verdict verdict, ExitCode code, const char* reason) {
    row.verdict = verdict;
    row.exit_code = code;
    row.reason = reason;
    return std::vector<Row>{row};
  };
  try {
    return check_and_time(row);
  } catch (const LibraryError& error) {
    if (error.is_skip()) return give_up(Verdict::skipped, ExitCode::nothing_ran, error.what());
    return give_up(Verdict::error, error.exit_code(), error.what());
  } catch (const Error& error) {
    return give_up(Verdict::error, error.exit_code(), error.what());
  } catch (const std::exception& error) {
    return give_up(Verdict::error, ExitCode::system, error.what());
  }
}

std::vector<Row> Runner::check_and_time(Row& row) {
  Backend& backend = bench::backend(row.problem.backend);
  if (const auto why = backend.unavailable()) {
    row.verdict = Verdict::skipped;
    row.exit_code = ExitCode::nothing_ran;
    row.reason = *why;
    return {row};
  }
  const std::string line = to_string(row.problem);
  const ProfilerRange whole(line.c_str());
  if (options_.profile) {
    Case prepared(row.problem, backend);
    row.verdict = Verdict::unchecked;
    row.exit_code = ExitCode::ok;
    row.configuration = prepared.configuration();
    row.note = "launched once for a profiler";
    const ProfilerRange launch("launch");
    prepared.launch();
    backend.synchronize();
    return {row};
  }
  if (options_.check) {
    const ProfilerRange checking("checking");
    on_phase("checking");
    row.check = checker_.check(row.problem, backend);
    row.verdict = verdict_of(row.check->status);
    row.exit_code = row.check->exit_code;
    row.reason = row.check->reason;
    if (row.verdict != Verdict::passed && row.verdict != Verdict::mistrusted) return {row};
  } else {
    row.verdict = Verdict::unchecked;
  }
  const ProfilerRange timing("timing");
  on_phase("timing");
  Timer& timer = timer_of(backend);
  const Ceilings& ceilings = ceilings_.at(row.problem.backend);
  Case prepared(row.problem, backend);
  row.memory = prepared.memory();
  row.configuration = prepared.configuration();
  row.exit_code = ExitCode::ok;
  std::vector<Row> rows;
  for (const CacheState state : options_.states) {
    MeasureOptions measure_options = options_.measure;
    if (measure_options.stop && *measure_options.stop != 0 && !rows.empty()) break;
    measure_options.cache = state;
    row.cache = state;
    row.floor.reset();  // what lies in a cache is read faster than the floor supposes
    if (state == CacheState::cold) row.floor = floor_of(row.cost, ceilings);
    row.measurement = measure(
        timer, [&] { prepared.launch(); }, measure_options, line);
    row.summary.reset();
    if (!row.measurement->samples_ms.empty()) row.summary = summarize(row.measurement->samples_ms);
    rows.push_back(judged(row, ceilings));
    Row& finished = rows.back();
    if (!finished.summary || !ceilings.empty_launch_ms) continue;
    if (finished.summary->median < kShortLaunch * *ceilings.empty_launch_ms)
      finished.batched_ms = batched_ms(timer, prepared);
  }
  return rows;
}

double Runner::batched_ms(Timer& timer, Case& prepared) {
  constexpr int kLaunches = 100;
  MeasureOptions options = options_.measure;
  options.cache = CacheState::warm;
  options.min_seconds = std::min(options.min_seconds, 0.1);
  const auto launches = timer.batched([&] { prepared.launch(); }, kLaunches);
  const Measurement measurement = measure(timer, launches, options, "batch of " + to_string(prepared.problem()));
  return measurement.samples_ms.empty() ? std::nan("") : summarize(measurement.samples_ms).median / kLaunches;
}

// Of this backend; made, with its ceilings, when the first problem needs it.
Timer& Runner::timer_of(Backend& backend) {
  const std::string name(backend.name());
  std::unique_ptr<Timer>& timer = timers_[name];
  if (!timer) {
    timer = make_timer(backend);
    if (!ceilings_.contains(name)) ceilings_.emplace(name, measure_ceilings(backend, *timer, false));
    if (const auto& flush = ceilings_.at(name).flush) timer->set_flush_bytes(flush->bytes);
  }
  return *timer;
}

Row judged(Row row, const Ceilings& ceilings) {
  const auto doubt = [&row](const std::string& note) { row.note += row.note.empty() ? note : "; " + note; };
  if (!row.summary) {
    row.verdict = Verdict::invalid;
    row.exit_code = ExitCode::wrong_numbers;
    row.reason = fmt::format("all {} samples were taken below {:g} % of the nominal clock", row.measurement->throttled,
                             100 * kLeastClockRatio);
    return row;
  }
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
    doubt(fmt::format("within {:g} times an empty {}", kShortLaunch,
                      ceilings.backend == "cpu" ? "parallel region" : "kernel"));
  if (row.measurement->stopped == Stopped::timed_out) doubt("sampling timed out");
  if (row.summary->relative_spread() > kNoisySpread) doubt("noisy");
  return row;
}

}  // namespace lrnnx::bench
