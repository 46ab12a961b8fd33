// That a kernel which is wrong in one way is seen to be, in some schedule, and a right one in none.
#include "scheduler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <string>

#include "common/cuda_async.cuh"

namespace lrnnx::cuda {
namespace {

constexpr unsigned kThreads = 64;
constexpr std::size_t kBytes = 1024;
alignas(16) const float kSource[4] = {1, 2, 3, 4};
float results[kThreads];

extern "C" __shared__ unsigned char lrnnx_emulated_shared[];
float* shared_floats() { return reinterpret_cast<float*>(lrnnx_emulated_shared); }

// What each schedule says of the kernel: a text, or the sum of the results.
struct Outcome {
  std::string failure;
  float sum;
};
template <class Kernel>
std::vector<Outcome> run_all(Kernel kernel) {
  std::vector<Outcome> outcomes;
  for (std::size_t i = 0; i < std::size(emulation::kSchedules); ++i) {
    emulation::choose_schedule(i);
    std::string failure = emulation::run({2, 1, 1}, {kThreads, 1, 1}, kBytes, false, kernel);
    outcomes.push_back({std::move(failure), std::accumulate(results, results + kThreads, 0.0f)});
  }
  return outcomes;
}

template <class Kernel>
void expect_sum(float sum, Kernel kernel) {
  for (const Outcome& outcome : run_all(kernel)) {
    EXPECT_EQ(outcome.failure, "");
    EXPECT_EQ(outcome.sum, sum);
  }
}
template <class Kernel>
void expect_other_sum_somewhere(float sum, Kernel kernel) {
  bool other = false;
  for (const Outcome& outcome : run_all(kernel)) other = other || outcome.sum != sum;
  EXPECT_TRUE(other);
}
template <class Kernel>
void expect_failure(const char* part, Kernel kernel) {
  for (const Outcome& outcome : run_all(kernel))
    EXPECT_NE(outcome.failure.find(part), std::string::npos) << outcome.failure;
}

// Each thread hands its number to the other end of the block.
template <bool kSynchronised>
void reverse() {
  shared_floats()[threadIdx.x] = static_cast<float>(threadIdx.x);
  if (kSynchronised) __syncthreads();
  results[threadIdx.x] = shared_floats()[kThreads - 1 - threadIdx.x];
}
TEST(Scheduler, SeesAMissingBarrier) {
  expect_sum(2016, reverse<true>);
  expect_other_sum_somewhere(2016, reverse<false>);
}

template <bool kWaits>
void copy() {
  const std::uint32_t place = threadIdx.x * 16;
  copy_async_16(place, kSource, 12);
  commit_copies();
  if (kWaits) wait_copies<0>();
  const float* const copied = shared_floats() + threadIdx.x * 4;
  results[threadIdx.x] = copied[0] + copied[1] + copied[2] + copied[3];
}
TEST(Scheduler, SeesACopyThatIsNotWaitedFor) {
  expect_sum(6 * kThreads, copy<true>);
  expect_other_sum_somewhere(6 * kThreads, copy<false>);
}

// The second warp fills what the first reads.
template <bool kSynchronised>
void hand_over() {
  if (threadIdx.x == 0) barrier_init(kBytes - 8, 32);
  __syncthreads();
  if (threadIdx.x >= 32) {
    shared_floats()[threadIdx.x] = 2;
    barrier_arrive(kBytes - 8);
    results[threadIdx.x] = 0;
  } else {
    if (kSynchronised) barrier_wait(kBytes - 8, 0);
    results[threadIdx.x] = shared_floats()[threadIdx.x + 32];
  }
}
TEST(Scheduler, WarpsWaitAtBarriersInSharedMemory) {
  expect_sum(64, hand_over<true>);
  expect_other_sum_somewhere(64, hand_over<false>);
}

TEST(Scheduler, LanesExchangeNumbers) {
  expect_sum(2 * 496, [] { results[threadIdx.x] = __shfl_xor_sync(~0u, static_cast<float>(threadIdx.x % 32), 5); });
  expect_sum(2 * 465, [] { results[threadIdx.x] = __shfl_up_sync(~0u, static_cast<float>(threadIdx.x % 32), 1); });
  expect_sum(2 * 527, [] { results[threadIdx.x] = __shfl_down_sync(~0u, static_cast<float>(threadIdx.x % 32), 1); });
  expect_sum(2 * 31 * 32, [] { results[threadIdx.x] = __shfl_sync(~0u, static_cast<float>(threadIdx.x % 32), 31); });
  expect_sum(0, [] { results[threadIdx.x] = __all_sync(~0u, threadIdx.x % 32 != 7); });
}

TEST(Scheduler, SeesThreadsThatWaitForEver) {
  expect_failure("wait for each other", [] {
    if (threadIdx.x != 3) __syncthreads();
  });
}

TEST(Scheduler, SeesWhatLiesOutsideOfSharedMemoryOrOffAlignment) {
  expect_failure("wrote behind", [] { shared_floats()[kBytes / 4] = 1; });
  expect_failure("lies behind", [] { copy_async<4>(kBytes, kSource, true); });
  expect_failure("not aligned", [] { copy_async_16(4, kSource, 16); });
  expect_failure("not aligned", [] { copy_async_16(0, kSource + 1, 12); });
}

TEST(Scheduler, SeesABarrierThatIsOverwrittenOrNotThere) {
  expect_failure("overwritten", [] {
    if (threadIdx.x == 0) barrier_init(0, kThreads);
    __syncthreads();
    shared_floats()[0] = 1;
    barrier_arrive(0);
  });
  expect_failure("nobody has initialised", [] { barrier_arrive(0); });
}

TEST(Scheduler, GivesEachBlockSharedMemoryThatNobodyHasWritten) {
  for (const Outcome& outcome : run_all([] {
         results[threadIdx.x] = shared_floats()[threadIdx.x];
         shared_floats()[threadIdx.x] = 1;
       }))
    EXPECT_TRUE(std::isnan(outcome.sum));
}

TEST(Scheduler, SeesAFollowerThatDoesNotWaitFirst) {
  const auto run = [](auto kernel) { return emulation::run({2, 1, 1}, {kThreads, 1, 1}, kBytes, true, kernel); };
  EXPECT_EQ(run([] {
              wait_for_predecessor();
              __syncthreads();
            }),
            "");
  const auto expect_seen = [](const std::string& failure) {
    EXPECT_NE(failure.find("has not waited"), std::string::npos) << failure;
  };
  expect_seen(run([] {
    if (threadIdx.x > 0) wait_for_predecessor();
    if (threadIdx.x == 1) wait_for_predecessor();
  }));
  expect_seen(run([] {
    __syncthreads();
    wait_for_predecessor();
  }));
}

}  // namespace
}  // namespace lrnnx::cuda
