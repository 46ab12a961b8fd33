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

// One thread a (batch, channel, state).
template <class Discretization, bool kReverse>
__global__ void carry_over_splits(const __grid_constant__ CarryParameters p) {
  wait_for_predecessor();
  using F = Discretization;
  using T = typename F::Weight;
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const std::int64_t row = p.dim * p.dstate;
  if (index >= p.batch * row) return;
  const std::int64_t batch = index / row, weight = index % row;
  const T omega = load_omega<F>(p.A, weight, true);
  T carry = p.initial != nullptr ? load_weight<T>(p.initial, index) : from_real<T>(0.0f);
  for (int i = 0; i < p.splits; ++i) {
    const std::int64_t here = batch * p.splits + (kReverse ? p.splits - 1 - i : i);
    store_weight(p.carry, here * row + weight, carry);
    if (i + 1 == p.splits) break;
    T product;
    if constexpr (F::kStepsAdd) {
      product = F::transition(omega, p.product[here * p.dim + weight / p.dstate]);
      if constexpr (kReverse) product = conj(product);
    } else {
      product = load_weight<T>(p.product, here * row + weight);
    }
    // A carry of 0 adds nothing, also where the product has overflowed. What is no number has reached the part itself.
    const T part_here = load_weight<T>(p.part, here * row + weight);
    carry = is_zero(carry) ? part_here : multiply_add(product, carry, part_here);
  }
}

}  // namespace lrnnx::cuda
