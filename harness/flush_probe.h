// Proves that a cold sample finds nothing in the cache: how much does a kernel that reads what fits into it still gain?
#pragma once

#include <functional>

#include "harness/timing.h"

namespace lrnnx::bench {

// What is left may be at most so much, and there must be so much to lose.
inline constexpr double kMostColdBenefit = 0.02, kLeastWarmBenefit = 0.1;

struct FlushProof {
  int64_t bytes = 0;        // that a cold sample overwrites
  double cold_benefit = 0;  // 1 - time after that flush / time after one eight times the size of the cache
  double warm_benefit = 0;  // the same for no flush at all: what there is to lose

  // A probe that hardly gains from the cache shows nothing about it, nor does one that took longer with the greatest
  // flush by more than that of a lesser one may gain: its noise would hide what there is to see.
  bool holds() const {
    return cold_benefit < kMostColdBenefit && cold_benefit > -kMostColdBenefit && warm_benefit > kLeastWarmBenefit;
  }
};

// Grows the timer's flush by the size of the cache until what is left of the
// benefit is under kMostColdBenefit, and leaves the timer so.
FlushProof prove_flush(Timer& timer, Backend& backend);

// The same with a given launch, which reads what fits into the cache.
FlushProof prove_flush(Timer& timer, const std::function<void()>& read);

}  // namespace lrnnx::bench
