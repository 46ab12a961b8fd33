// Which process runs which problem.
#include "harness/executor.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "harness/error.h"
#include "harness/results.h"
#include "harness/signals.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;
using Rows = Executor::Rows;

// Samples of several processes, round by round in turns; null: a process without any. Every round has as many turns, of
// which some may be empty, so that those of two rows stand at the same places.
Measurement interleaved(const std::vector<const Json*>& rows) {
  Measurement all;
  std::vector<std::vector<double>> samples;
  std::vector<std::vector<int64_t>> rounds;
  size_t most = 0;
  for (const Json* row : rows) {
    if (!row) {
      samples.emplace_back();
      rounds.emplace_back();
      continue;
    }
    samples.push_back(row->at("samples_ms").get<std::vector<double>>());
    rounds.push_back(row->at("rounds").get<std::vector<int64_t>>());
    most = std::max(most, rounds.back().size());
    all.throttled += row->at("throttled").is_null() ? 0 : row->at("throttled").get<int64_t>();
    for (const Stopped why : kStopped)
      if (row->at("sampling") == to_string(why)) all.stopped = std::max(all.stopped, why);
  }
  std::vector<size_t> taken(rows.size());
  for (size_t round = 0; round < most; ++round) {
    for (size_t process = 0; process < rows.size(); ++process) {
      const int64_t count = round < rounds[process].size() ? rounds[process][round] : 0;
      const auto begin = samples[process].begin() + static_cast<std::ptrdiff_t>(taken[process]);
      all.samples_ms.insert(all.samples_ms.end(), begin, begin + count);
      all.rounds.push_back(count);
      taken[process] += static_cast<size_t>(count);
    }
  }
  return all;
}

bool has_samples(const Json& row) {
  return (is_timed(row) || verdict_of(row) == Verdict::invalid) && !row.at("samples_ms").empty();
}

// The first row, with what follows from the samples of all; null: a process without any.
Json pooled_row(const Json& first, const std::vector<const Json*>& rows, const Ceilings& ceilings) {
  Json one = first;
  Row row;
  row.problem = parse_problem(one.at("problem").get<std::string>());
  row.cost = cost(row.problem);
  row.cache = one.at("cache") == to_string(CacheState::warm) ? CacheState::warm : CacheState::cold;
  row.verdict = verdict_of(one);
  row.exit_code = static_cast<ExitCode>(one.at("exit_code").get<int>());
  if (one.at("reason").is_string()) row.reason = one.at("reason");
  if (row.verdict == Verdict::invalid) {  // its own samples were, which decides nothing: what it was before
    const Json& check = one.at("check");
    const bool mistrusted = !check.is_null() && check.at("status") == to_string(Status::mistrusted);
    row.verdict = check.is_null() ? Verdict::unchecked : mistrusted ? Verdict::mistrusted : Verdict::passed;
    row.exit_code = mistrusted ? ExitCode::nothing_ran : ExitCode::ok;
    row.reason.clear();
  }
  row.measurement = interleaved(rows);
  row.summary = summarize(row.measurement->samples_ms);
  row.processes = std::ranges::count_if(rows, [](const Json* some) { return some != nullptr; });
  if (const auto asked = static_cast<int64_t>(rows.size()); row.processes < asked)
    row.note = fmt::format("timed by {} of {} processes", row.processes, asked);
  if (row.cache == CacheState::cold) row.floor = floor_of(row.cost, ceilings);
  const Json all = to_json(judged(row, ceilings));
  // What else is null there is known from the first alone.
  for (const auto& [key, value] : all.items())
    if (!value.is_null() || key == "note" || key == "reason") one[key] = value;
  return one;
}

}  // namespace

Rows pooled(const std::vector<Rows>& processes, const std::map<std::string, Ceilings>& ceilings) {
  Rows pool;
  std::set<std::string> given_up;  // problems: after what went wrong there is no further cache state
  for (const Json& first : processes.front()) {
    const std::string line = first.at("problem");
    if (given_up.contains(line)) continue;
    std::vector<const Json*> sampled;  // by process
    const Json* wrong = nullptr;
    for (const Rows& rows : processes) {
      const auto own = std::ranges::find(rows, key_of(first), key_of);
      sampled.push_back(own != rows.end() && has_samples(*own) ? &*own : nullptr);
      if (own == rows.end() || wrong) continue;
      if (const Verdict verdict = verdict_of(*own); verdict == Verdict::failed || verdict == Verdict::error)
        wrong = &*own;
    }
    const auto known = ceilings.find(parse_problem(line).backend);
    if (wrong) {
      pool.push_back(*wrong);
      pool.back()["check"] = first.at("check");
      given_up.insert(line);
    } else if (sampled.front() && known != ceilings.end()) {
      pool.push_back(pooled_row(first, sampled, known->second));
    } else {
      pool.push_back(first);
    }
  }
  return pool;
}

Executor::Executor(Options options, std::span<const Implementation> implementations, const std::string& backend)
    : options_(std::move(options)) {
  std::vector<const Library*> libraries = linked_libraries();
  for (const Implementation& implementation : implementations) {
    if (!implementation.file) continue;
    if (!implementation.error.empty())
      broken_[implementation.name] = implementation.error;
    else if (options_.in_process)
      libraries.push_back(&load_library(*implementation.file));
    else
      files_[implementation.name] = *implementation.file;
  }
  if (!options_.in_process) {
    if (!backend.empty()) worker_of("").start(backend);
    return;
  }
  RunOptions run = options_.run;
  run.measure.stop = StopOnSignal::flag();
  runner_.emplace(run, ceilings_, libraries);
  runner_->on_phase = [this](const char* phase) { on_phase(phase); };
}

void Executor::learn(const std::map<std::string, Ceilings>& ceilings) {
  ceilings_.insert(ceilings.begin(), ceilings.end());
  if (runner_) runner_->learn(ceilings);
}

Rows Executor::run(const std::vector<Problem>& contest) {
  Shares shares;
  std::map<std::string, Rows> rows;  // by problem
  const auto collect = [&rows](const Rows& some) {
    for (const Json& row : some) rows[row.at("problem")].push_back(row);
  };
  for (const Problem& problem : contest) {
    if (const auto broken = broken_.find(problem.implementation); broken != broken_.end())
      collect({to_json(broken_row(problem, options_.run, broken->second))});
    else
      shares[!runner_ && files_.contains(problem.implementation) ? problem.implementation : ""].push_back(problem);
  }
  const bool has_library = shares.size() > 1 || !shares.contains("");
  const int64_t processes = processes_for(contest.front(), options_.run.processes);
  if (has_library && !runner_ && !ceilings_.contains(contest.front().backend)) {
    // Before the library is loaded, and not by a process that it is in.
    worker_of("").measure(contest.front().backend);
    ceilings_ = worker_of("").ceilings();
  }
  if (runner_) {
    for (const Row& row : runner_->run(shares[""])) collect({to_json(row)});
    ceilings_ = runner_->ceilings();
  } else if (shares.size() == 1 && processes == 1) {
    const auto& [library, problems] = *shares.begin();
    Worker& worker = worker_of(library);
    worker.learn(ceilings_);
    collect(worker.run(problems));
    if (library.empty())
      ceilings_ = worker.ceilings();
    else
      worker.pause();
  } else if (!shares.empty()) {
    take_turns(shares, processes, collect);
  }
  Rows ordered;
  for (const Problem& problem : contest) {
    const Rows& own = rows[to_string(problem)];
    ordered.insert(ordered.end(), own.begin(), own.end());
  }
  return ordered;
}

void Executor::take_turns(const Shares& shares, int64_t processes, const std::function<void(const Rows&)>& collect) {
  struct Seat {
    std::string library;
    int64_t process;
    Worker* worker;
    bool is_over = false;
  };
  std::map<std::string, std::vector<Rows>> rows;  // by library, of each process
  const auto turn = [&](Seat& seat) {
    seat.worker->learn(ceilings_);
    const bool goes_on = seat.worker->turn();
    seat.worker->pause();
    const std::map<std::string, Ceilings>& known = seat.worker->ceilings();
    if (seat.library.empty())
      ceilings_ = known;
    else
      ceilings_.insert(known.begin(), known.end());  // if they could not be measured before
    if (goes_on) return;
    rows.at(seat.library)[static_cast<size_t>(seat.process)] = seat.worker->take();
    seat.is_over = true;
  };
  // The first process of each checks; the others are given what it found right.
  std::vector<Seat> seats;
  for (const auto& [library, problems] : shares) {
    rows[library].resize(static_cast<size_t>(processes));
    seats.push_back({library, 0, &worker_of(library)});
    seats.back().worker->begin(problems, {.processes = processes, .checked = {}});
  }
  for (Seat& seat : seats) turn(seat);
  const std::vector<Seat> first = seats;
  // A child that starts after a signal would not learn of it.
  for (int64_t process = 1; process < processes && *StopOnSignal::flag() == 0; ++process) {
    for (const Seat& checked : first) {
      if (checked.is_over) continue;
      std::vector<Problem> problems = shares.at(checked.library);
      const Checksums& right = checked.worker->checked();
      if (options_.run.check)
        std::erase_if(problems, [&](const Problem& problem) { return !right.contains(to_string(problem)); });
      if (problems.empty()) continue;
      Seat seat{checked.library, process, &worker_of(checked.library, process)};
      if (seat.worker->pid() == 0) seat.worker->start(problems.front().backend);  // all get ready at the same time
      seat.worker->begin(problems, {.processes = processes, .checked = right});
      seats.push_back(seat);
    }
  }
  while (true) {
    std::erase_if(seats, [](const Seat& seat) { return seat.is_over; });
    if (seats.empty()) break;
    const int stage =
        std::ranges::min(seats, {}, [](const Seat& seat) { return seat.worker->stage(); }).worker->stage();
    for (Seat& seat : seats)
      if (seat.worker->stage() == stage) turn(seat);  // else the others have to catch up
  }
  for (const auto& [library, own] : rows) collect(processes == 1 ? own.front() : pooled(own, ceilings_));
}

Worker& Executor::worker_of(const std::string& library, int64_t process) {
  std::unique_ptr<Worker>& worker = workers_[{library, process}];
  if (!worker) {
    Worker::Options options;
    options.run = options_.run;
    options.patience_seconds = options_.patience_seconds;
    options.program = options_.program;
    if (!library.empty()) options.library = files_.at(library);
    worker = std::make_unique<Worker>(options);
    worker->on_phase = [this](const char* phase) { on_phase(phase); };
  }
  return *worker;
}

}  // namespace lrnnx::bench
