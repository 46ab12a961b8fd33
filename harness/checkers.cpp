// Which process checks which problem.
#include "harness/checkers.h"

#include <omp.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <thread>
#include <tuple>
#include <utility>

#include "harness/cost.h"
#include "harness/signals.h"
#include "harness/worker.h"

namespace lrnnx::bench {
namespace {

// One job's processes.
class Checkers {
 public:
  Checkers(const CheckersOptions& options, std::span<const Implementation> implementations,
           const std::atomic<bool>* cancelled = nullptr)
      : options_(options), implementations_(implementations), cancelled_(cancelled) {
    if (!options.in_process) return;
    own_.emplace(options.check);
    for (const Implementation& implementation : implementations)
      if (implementation.file && implementation.error.empty())
        libraries_.push_back(&load_library(*implementation.file));
  }

  // Nothing if a signal or cancellation came before there was a result.
  std::optional<CheckResult> check(const Problem& problem) {
    const Implementation& implementation = find_implementation(implementations_, implementation_of(problem));
    if (!implementation.error.empty()) return broken_check(problem, implementation.error);
    if (!own_) return worker_of(implementation).check(problem);
    const auto library = std::ranges::find(libraries_, implementation.name, &Library::name);
    return own_->check(problem, backend(problem.backend), **library);
  }

 private:
  Worker& worker_of(const Implementation& implementation) {
    std::unique_ptr<Worker>& worker = workers_[implementation.file ? implementation.name : ""];
    if (!worker) {
      Worker::Options options;
      options.check = options_.check;
      options.patience_seconds = options_.patience_seconds;
      options.library = implementation.file;
      options.cancelled = cancelled_;
      worker = std::make_unique<Worker>(options);
    }
    return *worker;
  }

  const CheckersOptions& options_;
  std::span<const Implementation> implementations_;
  const std::atomic<bool>* cancelled_;
  std::vector<const Library*> libraries_ = linked_libraries();
  std::optional<Checker> own_;                              // in this process
  std::map<std::string, std::unique_ptr<Worker>> workers_;  // by library; "": linked in
};

using Group = std::pair<size_t, size_t>;  // problems [first, second)

// Neighbours with the same question to the reference, for a Checker keeps its last answer; in order, but those that are
// a large part of all first, so that the others need not wait for them at the end.
std::vector<Group> groups_of(const std::vector<Problem>& problems) {
  constexpr double kLarge = 0.01;
  const auto updates = [&](size_t i) { return cost(problems[i]).state_updates; };
  std::vector<Group> groups;
  double all = 0;
  for (size_t i = 0; i < problems.size(); ++i) {
    if (groups.empty() || question_of(problems[groups.back().first]) != question_of(problems[i]))
      groups.emplace_back(i, i);
    groups.back().second = i + 1;
    all += updates(i);
  }
  std::ranges::stable_partition(groups, [&](const Group& group) { return updates(group.first) > kLarge * all; });
  return groups;
}

// Several jobs, and the results in order.
class Jobs {
 public:
  Jobs(const std::vector<Problem>& problems, const CheckersOptions& options,
       std::span<const Implementation> implementations, int64_t count)
      : problems_(problems),
        options_(options),
        implementations_(implementations),
        groups_(groups_of(problems)),
        results_(problems.size()),
        at_work_(count) {
    for (int64_t i = 0; i < count; ++i) threads_.emplace_back([this] { work(); });
  }
  ~Jobs() {
    cancelled_ = true;
    finish();
  }
  Jobs(const Jobs&) = delete;
  Jobs& operator=(const Jobs&) = delete;

  // Of problem i, once it is there; nothing if it will not come.
  std::optional<CheckResult> result(size_t i) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return results_[i] || error_ || at_work_ == 0; });
    if (!results_[i] && error_) std::rethrow_exception(error_);
    return std::move(results_[i]);
  }

  // Nothing new begins; what is in flight ends.
  void finish() {
    stop();
    for (std::jthread& thread : threads_)
      if (thread.joinable()) thread.join();
  }

 private:
  void stop() {
    const std::scoped_lock lock(mutex_);
    next_ = groups_.size();
  }

  Group take_group() {
    const std::scoped_lock lock(mutex_);
    return next_ < groups_.size() ? groups_[next_++] : Group();
  }

  std::optional<CheckResult> check(Checkers& checkers, const Problem& problem) {
    {
      const std::shared_lock beside_others(memory_);
      std::optional<CheckResult> checked = checkers.check(problem);
      const bool lacked_memory = checked && checked->skip_reason == SkipReason::not_enough_memory;
      if (!lacked_memory) return checked;
    }
    const std::scoped_lock alone(memory_);
    return checkers.check(problem);
  }

  void work() {
    try {
      Checkers checkers(options_, implementations_, &cancelled_);
      for (auto [i, end] = take_group(); i < end; std::tie(i, end) = take_group()) {
        for (; i < end; ++i) {
          std::optional<CheckResult> checked = check(checkers, problems_[i]);
          if (!checked) {
            stop();
            break;
          }
          const std::scoped_lock lock(mutex_);
          results_[i] = std::move(checked);
          changed_.notify_one();
        }
      }
    } catch (...) {
      stop();
      const std::scoped_lock lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
    const std::scoped_lock lock(mutex_);
    --at_work_;
    changed_.notify_one();
  }

  const std::vector<Problem>& problems_;
  const CheckersOptions& options_;
  std::span<const Implementation> implementations_;
  std::atomic<bool> cancelled_ = false;
  std::shared_mutex memory_;  // of the machine
  std::mutex mutex_;          // of the rest
  std::condition_variable changed_;
  std::vector<Group> groups_;
  size_t next_ = 0;  // of the groups
  std::vector<std::optional<CheckResult>> results_;
  std::exception_ptr error_;
  std::vector<std::jthread> threads_;
  int64_t at_work_;  // jobs
};

}  // namespace

int64_t jobs_for(const std::vector<Problem>& problems, int64_t threads) {
  if (std::ranges::any_of(problems, [](const Problem& problem) { return problem.backend == "cpu"; })) return 1;
  return std::clamp<int64_t>(threads / kThreadsPerJob, 1, kMostDefaultJobs);
}

void check_all(const std::vector<Problem>& problems, const CheckersOptions& options,
               std::span<const Implementation> implementations,
               const std::function<bool(const CheckResult& result)>& take) {
  const int threads = omp_get_max_threads();
  const int64_t wanted = options.jobs > 0 ? options.jobs : jobs_for(problems, threads);
  const int64_t jobs = std::min(wanted, static_cast<int64_t>(groups_of(problems).size()));
  if (options.in_process || jobs <= 1) {
    Checkers checkers(options, implementations);
    for (const Problem& problem : problems) {
      const std::optional<CheckResult> checked = checkers.check(problem);
      if (!checked || !take(*checked)) return;
    }
    return;
  }
  // Of which each child gets its part.
  ::setenv("OMP_NUM_THREADS", std::to_string(std::max<int64_t>(1, threads / jobs)).c_str(), 1);
  Jobs at_work(problems, options, implementations, jobs);
  size_t i = 0;
  for (bool goes_on = true; goes_on && i < problems.size(); ++i) {
    const std::optional<CheckResult> checked = at_work.result(i);
    if (!checked) break;
    goes_on = take(*checked);
  }
  if (*StopOnSignal::flag() == 0) return;
  // What was checked out of order is not lost.
  at_work.finish();
  for (; i < problems.size(); ++i)
    if (const std::optional<CheckResult> checked = at_work.result(i)) take(*checked);
}

}  // namespace lrnnx::bench
