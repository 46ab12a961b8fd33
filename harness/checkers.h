// Which process checks which problem.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "harness/check.h"
#include "harness/implementations.h"
#include "harness/problem.h"

namespace lrnnx::bench {

struct CheckersOptions {
  CheckOptions check;
  double patience_seconds = kPatienceSeconds;  // see Worker
  bool in_process = false;
  int64_t jobs = 0;  // problems at the same time; 0: see jobs_for()
};

// Where little but the processor's reference takes time, as on a GPU: one for each of these threads, but not too many
// for the device; else one.
int64_t jobs_for(const std::vector<Problem>& problems, int64_t threads);
inline constexpr int64_t kThreadsPerJob = 2, kMostDefaultJobs = 8, kMostJobs = 64;

// Checks the problems and gives `take` their results, in the order of the problems, until it returns false or a signal
// came. What is linked in is checked by one child process a job, and each library of --library by another, so that a
// crash costs its own problem and nothing else; or all of it in this process. What found too little memory beside the
// others is checked once more after them.
void check_all(const std::vector<Problem>& problems, const CheckersOptions& options,
               std::span<const Implementation> implementations,
               const std::function<bool(const CheckResult& result)>& take);

}  // namespace lrnnx::bench
