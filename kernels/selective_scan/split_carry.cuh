// The state, or adjoint, that enters each split of time.
//
// With few channels time is split, so that more blocks run at once. A kernel finds what each split would hand on had
// it begun with zero, and the product of its transitions; carry_over_splits joins them from the first on, in the
// backward from the last; then all splits can run.
#pragma once

#include <cstdint>

#include "discretization/discretization.h"
#include "selective_scan/tile.cuh"
#include "selective_scan/weights.cuh"

namespace lrnnx::cuda {

struct CarryParameters {
  const float* A;
  const float* initial;  // (B, D, N): enters the first split, in the backward the last; null: zero
  const float* part;     // (B, splits, D, N): what each hands on from zero
  const float* product;  // of its transitions, in the backward conjugated; if steps add, (B, splits, D) sums of them
  float* carry;          // (B, splits, D, N): what enters each
  std::int64_t batch, dim;
  std::int32_t dstate, splits;
};

// Splits that a thread loads together: the latency of memory is most of this kernel's time.
template <class T>
constexpr int kSplitsAhead = 16 / kParts<T>;

// One thread a (batch, channel, state).
template <class Discretization, bool kReverse>
__global__ void carry_over_splits(const __grid_constant__ CarryParameters p) {
  wait_for_predecessor();
  using F = Discretization;
  using T = typename F::Weight;
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const std::int64_t row = p.dim * p.dstate;
  if (index >= p.batch * row) return;
  const std::int64_t batch = index / row, weight = index % row, channel = weight / p.dstate;
  const T omega = load_omega<F>(p.A, weight, true);
  const auto split_of = [&](int i) { return batch * p.splits + (kReverse ? p.splits - 1 - i : i); };
  T carry = p.initial != nullptr ? load_weight<T>(p.initial, index) : from_real<T>(0.0f);
  const int last = p.splits - 1;  // hands nothing on
  for (int first = 0; first < last; first += kSplitsAhead<T>) {
    T part[kSplitsAhead<T>], transition[kSplitsAhead<T>];
#pragma unroll
    for (int i = 0; i < kSplitsAhead<T>; ++i) {
      const std::int64_t split = split_of(min(first + i, last - 1));
      part[i] = load_weight<T>(p.part, split * row + weight);
      if constexpr (F::kStepsAdd) {
        // Of half the steps, to be applied twice: that of all may overflow where what it does to a small carry does
        // not.
        transition[i] = F::transition(omega, 0.5f * p.product[split * p.dim + channel]);
        if constexpr (kReverse) transition[i] = conj(transition[i]);
      } else {
        transition[i] = load_weight<T>(p.product, split * row + weight);
      }
    }
#pragma unroll
    for (int i = 0; i < kSplitsAhead<T>; ++i) {
      if (first + i >= last) break;
      store_weight(p.carry, split_of(first + i) * row + weight, carry);
      // A carry of 0 adds nothing, also where the transition has overflowed. What is no number has reached the part
      // itself.
      if (is_zero(carry)) {
        carry = part[i];
      } else {
        if constexpr (F::kStepsAdd) carry = carry * transition[i];
        carry = multiply_add(transition[i], carry, part[i]);
      }
    }
  }
  store_weight(p.carry, split_of(last) * row + weight, carry);
}

}  // namespace lrnnx::cuda
