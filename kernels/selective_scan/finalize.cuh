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

struct StateSums {
  const float4* parts;  // (B G, channel_blocks, quads, passes, kStateSumQuads, 32), 32 in the lanes' order
  RowPhase phase;       // whose leads the blocks' quads have
  void *dB, *dC;        // null where B or C is fixed
  std::uint32_t batch_groups, channel_blocks, quads, passes, dstate, seqlen;
  bool vector;        // float quads are 16-byte aligned
  bool halves, bf16;  // how dB and dC are stored
};

struct FinalizeParameters {
  TimeSums time;
  StateSums states;
  std::uint32_t time_blocks;  // which come first
};

constexpr int kFinalizeWarps = 8;

// A lane a (channel, state). The warps share the parts, in double, for there may be thousands.
template <class Discretization>
__device__ void finalize_time_sums(const TimeSums& p, std::int64_t block, int warp, int lane) {
  using F = Discretization;
  using T = typename F::Weight;
  __shared__ double shared[kFinalizeWarps][2][32];
  const std::int64_t index = block * 32 + lane, weights = p.dim * p.dstate;
  // For warp 0; all warps take part.
  const auto total = [&](auto zero, const float* parts, std::int64_t stride) {
    using Number = decltype(zero);
    double sums[kParts<Number>] = {};
    if (index < stride) {
#pragma unroll 8
      for (std::int64_t i = warp; i < p.parts; i += kFinalizeWarps) {
        Number value = load_weight<Number>(parts, i * stride + index);
#pragma unroll
        for (int half = 0; half < kParts<Number>; ++half) sums[half] += part(value, half);
      }
    }
#pragma unroll
    for (int half = 0; half < kParts<Number>; ++half) shared[warp][half][lane] = sums[half];
    __syncthreads();
#pragma unroll
    for (int half = 0; half < kParts<Number>; ++half) {
      for (int w = 1; w < kFinalizeWarps; ++w) sums[half] += shared[w][half][lane];
      part(zero, half) = static_cast<float>(sums[half]);
    }
    __syncthreads();
    return zero;
  };
  const bool writes = warp == 0;
  const T zero = from_real<T>(0.0f);
  if (p.dA != nullptr) {
    T dA = zero;
    if constexpr (F::kUsesA) dA = total(zero, p.A, weights);
    if (writes && index < weights) {
      if constexpr (F::kUsesA) dA = F::weight_gradient(load_weight<T>(p.weight, index), dA, zero);
      store_weight(p.dA, index, dA);
    }
  }
  if (p.dB != nullptr) {
    T dB = zero;
    if constexpr (F::kTakesB) dB = total(zero, p.B, weights);
    if (writes && index < weights) store_weight(p.dB, index, dB);
  }
  if (p.dC != nullptr) {
    const T dC = total(zero, p.C, weights);
    if (writes && index < weights) store_weight(p.dC, index, dC);
  }
  if (block * 32 >= p.dim) return;
  if (p.D != nullptr) {
    const float dD = total(0.0f, p.D, p.dim);
    if (writes && index < p.dim) p.dD[index] = dD;
  }
  if (p.bias != nullptr) {
    const float ddelta_bias = total(0.0f, p.bias, p.dim);
    if (writes && index < p.dim) p.ddelta_bias[index] = ddelta_bias;
  }
}

// Four of the eight numbers, from `offset` below 4 on.
__device__ __forceinline__ float4 four_from(float4 low, float4 high, int offset) {
  if (offset & 2) low = {low.z, low.w, high.x, high.y}, high.x = high.z;
  if (offset & 1) low = {low.y, low.z, low.w, high.x};
  return low;
}

// A warp a row of sums, counted over (batch and group, quad, pass, group of four).
template <class Weight>
__device__ void finalize_state_sums(const StateSums& p, std::uint32_t row, int lane) {
  constexpr std::uint32_t kFours = kStateSumQuads<Weight>;
  const std::uint32_t rows = p.quads * p.passes * kFours;  // of a batch and group: 512 bytes each, so they are few
  const std::uint32_t batch_group = row / rows, place = row % rows;
  if (batch_group >= p.batch_groups) return;
  const std::uint32_t four = place % kFours, pass = place / kFours % p.passes, time = place / kFours / p.passes * 4;
  const StateSumPlace sum_place = state_sum_place<Weight>(lane);
  const std::uint32_t n = pass * kStatesPerPass + sum_place.state;
  void* const tensor = sum_place.of_B ? p.dB : p.dC;
  if (tensor == nullptr || n >= p.dstate || time >= p.seqlen) return;

  const std::uint64_t stride = std::uint64_t{rows} * 32;
  const float4* source = p.parts + batch_group * p.channel_blocks * stride + (std::uint64_t{place} * 32 + lane);
  const std::uint32_t quad_stride = p.passes * kFours * 32;
  constexpr float4 kNone = {0.0f, 0.0f, 0.0f, 0.0f};
  constexpr int kAtOnce = 4;  // blocks, whose loads do not wait for each other
  float4 sum = kNone;
  for (std::uint32_t begin = 0; begin < p.channel_blocks; begin += kAtOnce) {
    float4 low[kAtOnce], high[kAtOnce];  // a shifted row's four steps lie in two quads of the block's tiles
    const auto lead = [&](int i) { return ((begin + i) & (p.phase.channel_step - 1)) * p.seqlen & (p.phase.unit - 1); };
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      low[i] = high[i] = kNone;
      if (begin + i >= p.channel_blocks) continue;
      const float4* const quad = source + (begin + i) * stride + lead(i) / 4 * quad_stride;
      low[i] = __ldcs(quad);
      if (lead(i) % 4 != 0) high[i] = __ldcs(quad + quad_stride);
    }
#pragma unroll
    for (int i = 0; i < kAtOnce; ++i) {
      const float4 part = four_from(low[i], high[i], lead(i) % 4);
      sum = {sum.x + part.x, sum.y + part.y, sum.z + part.z, sum.w + part.w};
    }
  }
  const std::uint64_t first =
      ((static_cast<std::uint64_t>(batch_group) * p.dstate + n) * p.seqlen + time) * kFours + four;
  const int left = static_cast<int>(min(p.seqlen - time, 4u));
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

template <class Discretization>
__global__ void __launch_bounds__(kFinalizeWarps * 32)
    finalize_selective_scan(const __grid_constant__ FinalizeParameters p) {
  wait_for_predecessor();
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  if (blockIdx.x < p.time_blocks) {
    finalize_time_sums<Discretization>(p.time, blockIdx.x, warp, lane);
  } else {
    finalize_state_sums<typename Discretization::Weight>(p.states, (blockIdx.x - p.time_blocks) * kFinalizeWarps + warp,
                                                         lane);
  }
}

}  // namespace lrnnx::cuda
