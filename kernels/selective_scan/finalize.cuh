// The second stage of the backward's sums, in a fixed order.
#pragma once

#include <cstdint>

#include "selective_scan/backward.cuh"

namespace lrnnx::cuda {

struct TimeSums {
  const float *A, *B, *C, *D, *bias;       // (parts, D, N) or (parts, D); D and bias null when absent
  float *dA, *dB, *dC, *dD, *ddelta_bias;  // dA, dB, dC null when not asked for, or not summed over time
  const float* weight;                     // A itself
  std::int64_t parts, dim, dstate;
};

// One thread a (channel, state): parts added in double, for there may be thousands.
template <class Discretization>
__global__ void finalize_time_sums(const __grid_constant__ TimeSums p) {
  using F = Discretization;
  using T = typename F::Weight;
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const std::int64_t weights = p.dim * p.dstate;
  const auto total = [&](auto zero, const float* parts, std::int64_t stride) {
    double sums[kParts<decltype(zero)>] = {};
#pragma unroll 4
    for (std::int64_t i = 0; i < p.parts; ++i) {
      auto value = load_weight<decltype(zero)>(parts, i * stride + index);
#pragma unroll
      for (int half = 0; half < kParts<decltype(zero)>; ++half) sums[half] += part(value, half);
    }
#pragma unroll
    for (int half = 0; half < kParts<decltype(zero)>; ++half) part(zero, half) = static_cast<float>(sums[half]);
    return zero;
  };
  if (index < weights) {
    const T zero = from_real<T>(0.0f);
    if (p.dA != nullptr) {
      T dA = zero;
      if (F::kUsesA) dA = F::weight_gradient(load_weight<T>(p.weight, index), total(zero, p.A, weights), zero);
      store_weight(p.dA, index, dA);
    }
    if (p.dB != nullptr) store_weight(p.dB, index, F::kTakesB ? total(zero, p.B, weights) : zero);
    if (p.dC != nullptr) store_weight(p.dC, index, total(zero, p.C, weights));
  }
  if (index < p.dim) {
    if (p.D != nullptr) p.dD[index] = total(0.0f, p.D, p.dim);
    if (p.bias != nullptr) p.ddelta_bias[index] = total(0.0f, p.bias, p.dim);
  }
}

struct StateSums {
  const float4* parts;  // (B G, channel_blocks, quads, passes, kStateSumQuads, 32), 32 in the lanes' order
  void *dB, *dC;        // null where B or C is fixed
  std::int64_t batch_groups, channel_blocks, quads, passes, dstate, seqlen;
  bool vector;        // float quads are 16-byte aligned
  bool halves, bf16;  // how dB and dC are stored
};

// One thread a (batch and group, quad, pass, group of four, lane).
template <class Weight>
__global__ void finalize_state_sums(const __grid_constant__ StateSums p) {
  constexpr int kFours = kStateSumQuads<Weight>;
  const std::int64_t per_block = p.quads * p.passes * kFours * 32;
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= p.batch_groups * per_block) return;
  const std::int64_t batch_group = index / per_block, place = index % per_block;
  const int four = static_cast<int>(place / 32 % kFours);
  const std::int64_t pass = place / 32 / kFours % p.passes, time = place / 32 / kFours / p.passes * 4;
  const StateSumPlace sum_place = state_sum_place<Weight>(static_cast<int>(place & 31));
  const std::int64_t n = pass * kStatesPerPass + sum_place.state;
  void* const tensor = sum_place.of_B ? p.dB : p.dC;
  if (tensor == nullptr || n >= p.dstate || time >= p.seqlen) return;

  const float4* source = p.parts + batch_group * p.channel_blocks * per_block + place;
  float4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 8
  for (std::int64_t block = 0; block < p.channel_blocks; ++block) {
    const float4 part = __ldcs(source + block * per_block);
    sum = {sum.x + part.x, sum.y + part.y, sum.z + part.z, sum.w + part.w};
  }
  const std::int64_t first = ((batch_group * p.dstate + n) * p.seqlen + time) * kFours + four;
  const int left = static_cast<int>(min(p.seqlen - time, std::int64_t{4}));
  if (kFours == 1 && p.halves) {
    store_halves(static_cast<std::uint16_t*>(tensor) + first, narrow(sum, p.bf16), left);
    return;
  }
  float* const target = static_cast<float*>(tensor) + first;
  if (kFours == 1 && p.vector) {
    *reinterpret_cast<float4*>(target) = sum;
  } else {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (e < left) target[e * kFours] = at(sum, e);
    }
  }
}

}  // namespace lrnnx::cuda
