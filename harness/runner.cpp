// From one problem to its rows.
#include "harness/runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <deque>
#include <nlohmann/json.hpp>
#include <optional>

#include "harness/activity.h"
#include "harness/case.h"
#include "harness/error.h"
#include "harness/profiler_range.h"
#include "harness/words.h"

namespace lrnnx::bench {
namespace {

// A cold time may beat the copy rate by what the two measurements' noise allows.
constexpr double kCopyTolerance = 1.02;
// Below this many times an empty kernel, a time says more about launching than about the kernel.
constexpr double kShortLaunch = 3;
// Of the interquartile range over the median; on a machine that does nothing else it stays below a few percent.
constexpr double kNoisySpread = 0.2;

Verdict checked_verdict(Status status) {
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

int64_t processes_for(const Problem& problem, int64_t asked) {
  if (cost(problem).bytes > kSmallBytes) return 1;
  return asked > 0 ? asked : problem.backend == "cuda" ? kProcesses : 1;
}

nlohmann::ordered_json to_json(const RunOptions& options) {
  nlohmann::ordered_json states = nlohmann::ordered_json::array();
  for (const CacheState state : options.states) states.push_back(to_string(state));
  return {{"check", options.check},
          {"cache", states},
          {"profile", options.profile},
          {"processes", options.processes},
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
  options.processes = json.at("processes");
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

Row broken_row(const Problem& problem, const RunOptions& options, const std::string& reason) {
  Row row = row_of(problem, options.states.front());
  row.verdict = Verdict::error;
  row.exit_code = ExitCode::system;
  row.reason = reason;
  return row;
}

struct Runner::Contender {
  explicit Contender(Row of) : row(std::move(of)) {}
  // With this row beside those of the cache states before.
  void end() {
    prepared.reset();
    rows.push_back(row);
    is_over = true;
  }

  Row row;  // what is known so far
  bool is_over = false;
  std::optional<Case> prepared;  // to be timed
  std::vector<Row> rows;
};

Runner::Runner(RunOptions options, std::map<std::string, Ceilings> ceilings, std::vector<const Library*> libraries)
    : options_(std::move(options)), libraries_(std::move(libraries)), ceilings_(std::move(ceilings)) {}

std::vector<Row> Runner::run(const std::vector<Problem>& contest, const Share& share) {
  const auto part = static_cast<double>(share.processes);
  measure_ = options_.measure;
  measure_.min_samples = (measure_.min_samples + share.processes - 1) / share.processes;
  measure_.min_seconds /= part;
  measure_.timeout_seconds /= part;
  measure_.round_seconds /= part;
  checked_ = share.checked;
  // Of several each phase has the name of its problem, for they take turns.
  const bool alone = contest.size() == 1;
  std::optional<ProfilerRange> whole;
  if (alone) whole.emplace(to_string(contest.front()).c_str());
  std::deque<Contender> contenders;
  for (const Problem& problem : contest) {
    std::optional<ProfilerRange> own;
    if (!alone) own.emplace(to_string(problem).c_str());
    Contender& contender = contenders.emplace_back(row_of(problem, options_.states.front()));
    attempt(contender, [&] { check(contender); });
  }
  int stage = 1;
  if (on_round) on_round(stage);
  std::vector<Contender*> timed;
  for (Contender& contender : contenders) {
    if (contender.is_over) continue;
    std::optional<ProfilerRange> own;
    if (!alone) own.emplace(to_string(contender.row.problem).c_str());
    attempt(contender, [&] { prepare(contender); });
    if (!contender.is_over) timed.push_back(&contender);
  }
  if (!timed.empty()) {
    const ProfilerRange timing("timing");
    on_phase("timing");
    for (const CacheState state : options_.states) {
      const bool stopped = options_.measure.stop && *options_.measure.stop != 0;
      if (stopped && stage > 1) break;
      if (stage > 1 && on_round && !timed.empty()) on_round(stage);
      time(timed, state, stage++);
      std::erase_if(timed, [](const Contender* contender) { return contender->is_over; });
    }
  }
  std::vector<Row> rows;
  for (Contender& contender : contenders) rows.insert(rows.end(), contender.rows.begin(), contender.rows.end());
  return rows;
}

void Runner::attempt(Contender& contender, const std::function<void()>& step) {
  const auto give_up = [&](Verdict verdict, ExitCode code, const char* reason) {
    contender.row.verdict = verdict;
    contender.row.exit_code = code;
    contender.row.reason = reason;
    contender.end();
  };
  try {
    step();
  } catch (const LibraryError& error) {
    if (error.is_skip()) return give_up(Verdict::skipped, ExitCode::nothing_ran, error.what());
    give_up(Verdict::error, error.exit_code(), error.what());
  } catch (const OutOfMemory& error) {
    give_up(Verdict::skipped, ExitCode::nothing_ran, error.what());
  } catch (const Error& error) {
    give_up(Verdict::error, error.exit_code(), error.what());
  } catch (const std::exception& error) {
    give_up(Verdict::error, ExitCode::system, error.what());
  }
}

const Library& Runner::library_of(const Problem& problem) const {
  std::vector<std::string> names;
  for (const Library* library : libraries_) {
    if (library->name == implementation_of(problem)) return *library;
    names.push_back(library->name);
  }
  throw UsageError(
      fmt::format("implementation '{}': expected {}, or another --library", problem.implementation, join_or(names)));
}

void Runner::check(Contender& contender) {
  Row& row = contender.row;
  Backend& backend = bench::backend(row.problem.backend);
  if (const auto why = backend.unavailable()) {
    row.verdict = Verdict::skipped;
    row.exit_code = ExitCode::nothing_ran;
    row.reason = *why;
    return contender.end();
  }
  const Library& library = library_of(row.problem);
  if (options_.profile) {
    Case prepared(row.problem, backend, library);
    row.verdict = Verdict::unchecked;
    row.exit_code = ExitCode::ok;
    row.configuration = prepared.configuration();
    row.note = "launched once for a profiler";
    const ProfilerRange launch("launch");
    prepared.launch();
    backend.synchronize();
    return contender.end();
  }
  if (!options_.check) {
    row.verdict = Verdict::unchecked;
    return;
  }
  if (const auto known = checked_.find(to_string(row.problem)); known != checked_.end()) {
    row.verdict = Verdict::passed;
    row.exit_code = ExitCode::ok;
    row.check.emplace().output_checksums = known->second;
    return;
  }
  const ProfilerRange checking("checking");
  on_phase(kCheckingPhase);
  checker_.on_phase = on_phase;
  row.check = checker_.check(row.problem, backend, library);
  row.verdict = checked_verdict(row.check->status);
  row.exit_code = row.check->exit_code;
  row.reason = row.check->reason;
  if (row.verdict != Verdict::passed && row.verdict != Verdict::mistrusted) return contender.end();
  checked_[to_string(row.problem)] = row.check->output_checksums;
}

// Lays it out in memory, to be timed.
void Runner::prepare(Contender& contender) {
  Row& row = contender.row;
  Backend& backend = bench::backend(row.problem.backend);
  const ProfilerRange preparing("preparing");
  on_phase("preparing");
  timer_of(backend);  // with the ceilings, which the first problem waits for
  Case& prepared = contender.prepared.emplace(row.problem, backend, library_of(row.problem));
  row.memory = prepared.memory();
  row.configuration = prepared.configuration();
  if (row.check) {
    const Doing comparison(Activity::comparison);
    prepared.seal();
  } else {
    row.exit_code = ExitCode::ok;
  }
}

// What the launches whose times were taken have done, and what one does that finds neither NaN nor its own outputs:
// the same as was checked, or a sentence.
std::string Runner::fault_after_samples(Case& prepared, const CheckResult& checked) {
  const Doing comparison(Activity::comparison);
  for (const std::string& violation : prepared.violations()) return "while it was timed it " + violation;
  const auto differ = [&] { return prepared.output_checksums() != checked.output_checksums; };
  if (differ()) return "what it computed while it was timed is not what was checked";
  prepared.litter_outputs();
  {
    const Doing kernels(Activity::kernels);
    prepared.launch();
    prepared.backend().synchronize();
  }
  if (differ()) return "onto outputs that hold other numbers it does not compute what was checked";
  return "";
}

// In turns, until each has enough samples.
void Runner::time(std::vector<Contender*> contenders, CacheState state, int stage) {
  MeasureOptions options = measure_;
  options.cache = state;
  std::map<Contender*, Sampling> samplings;
  for (Contender* contender : contenders) {
    contender->row.cache = state;
    contender->row.measurement.reset();
    contender->row.summary.reset();
    contender->row.floor.reset();
    Case& prepared = *contender->prepared;
    Timer& timer = timer_of(prepared.backend());
    // A launch that finds its own answer, and leaves it at that, leaves the disturbance too, which
    // fault_after_samples() sees.
    samplings.try_emplace(
        contender, timer, [&prepared] { prepared.launch(); }, options, to_string(contender->row.problem),
        [&prepared] { prepared.disturb_output(); });
  }
  while (true) {
    for (Contender* contender : contenders) {
      attempt(*contender, [&] {
        Sampling& sampling = samplings.at(contender);
        const bool alone = contenders.size() == 1 && !on_round;
        if (sampling.round(alone)) return;
        finish(*contender, sampling.measurement());
        samplings.erase(contender);
      });
    }
    std::erase_if(contenders, [&](Contender* c) { return c->is_over || !samplings.contains(c); });
    if (contenders.empty()) return;
    if (on_round) on_round(stage);
  }
}

void Runner::finish(Contender& contender, const Measurement& measurement) {
  Row& row = contender.row;
  if (row.check) {
    if (const std::string fault = fault_after_samples(*contender.prepared, *row.check); !fault.empty()) {
      row.verdict = Verdict::failed;
      row.exit_code = ExitCode::wrong_numbers;
      row.reason = fault;
      return contender.end();
    }
  }
  const Ceilings& ceilings = ceilings_.at(row.problem.backend);
  // What lies in a cache is read faster than the floor supposes.
  if (row.cache == CacheState::cold) row.floor = floor_of(row.cost, ceilings);
  row.measurement = measurement;
  if (!measurement.samples_ms.empty()) row.summary = summarize(measurement.samples_ms);
  Row finished = judged(row, ceilings);
  if (finished.summary && ceilings.empty_launch_ms &&
      finished.summary->median < kShortLaunch * *ceilings.empty_launch_ms)
    finished.batched_ms = batched_ms(timer_of(contender.prepared->backend()), *contender.prepared);
  contender.rows.push_back(std::move(finished));
}

double Runner::batched_ms(Timer& timer, Case& prepared) {
  constexpr int kLaunches = 100;
  MeasureOptions options = measure_;
  options.cache = CacheState::warm;
  options.min_seconds = std::min(options.min_seconds, 0.1);
  const auto launches = timer.batched([&] { prepared.launch(); }, kLaunches);
  const Measurement measurement = measure(timer, launches, options, "batch of " + to_string(prepared.problem()));
  return measurement.samples_ms.empty() ? std::nan("") : summarize(measurement.samples_ms).median / kLaunches;
}

// Of this backend; made, with its ceilings, when the first problem needs it.
Timer& Runner::timer_of(Backend& backend) {
  const std::string name(backend.name());
  if (const auto known = timers_.find(name); known != timers_.end()) return *known->second;
  const Doing ceilings(Activity::ceilings);
  std::unique_ptr<Timer> timer = make_timer(backend);
  if (!ceilings_.contains(name)) ceilings_.emplace(name, measure_ceilings(backend, *timer, false));
  if (const auto& flush = ceilings_.at(name).flush) timer->set_flush_bytes(flush->bytes);
  return *(timers_[name] = std::move(timer));
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
  if (row.cache == CacheState::cold && ceilings.flush && !ceilings.flush->holds())
    doubt("that it was cold is not proven");
  if (ceilings.empty_launch_ms && ms < kShortLaunch * *ceilings.empty_launch_ms)
    doubt(fmt::format("within {:g} times an empty {}", kShortLaunch,
                      ceilings.backend == "cpu" ? "parallel region" : "kernel"));
  if (row.measurement->stopped == Stopped::timed_out) doubt("sampling timed out");
  if (row.summary->relative_spread() > kNoisySpread) doubt("noisy");
  return row;
}

}  // namespace lrnnx::bench
