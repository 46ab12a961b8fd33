// The second stage of the sums that the backward with one state a channel leaves in the workspace, in a fixed order.
#pragma once

#include <cstdint>

#include "selective_scan/single_state_backward.cuh"

namespace lrnnx::cuda::single_state {

struct FinalizeParameters {
  const float* time_sums[TimeSum::kCount];  // (time_parts, D); null where absent
  const float* A;
  float *dA, *dB_fixed, *dC_fixed, *dD, *ddelta_bias;
  const float* step_sums;  // (B G, parts, kinds, padded_seqlen)
  float* step_gradients[2];
  std::int64_t dim, time_parts, channel_blocks;
  std::int64_t parts, padded_seqlen, seqlen, steps_blocks;
  std::int32_t kinds;
};

constexpr int kFinalizeWarps = 8;

// The first `channel_blocks` blocks take a channel a thread, each later one a stretch of 128 steps of dB or dC.
template <class Discretization>
__global__ void __launch_bounds__(kFinalizeWarps * 32)
    finalize_single_state(const __grid_constant__ FinalizeParameters p) {
  wait_for_predecessor();
  using F = Discretization;
  if (blockIdx.x < p.channel_blocks) {
    const std::int64_t channel = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (channel >= p.dim) return;
    const auto total = [&](int kind) {
      const float* const parts = p.time_sums[kind];
      if (parts == nullptr) return 0.0f;
      double sum = 0.0;
#pragma unroll 8
      for (std::int64_t part = 0; part < p.time_parts; ++part) sum += parts[part * p.dim + channel];
      return static_cast<float>(sum);
    };
    if (p.dA != nullptr) {
      p.dA[channel] = F::weight_gradient(p.A[channel], total(TimeSum::kTransition), total(TimeSum::kInput));
    }
    if (p.dB_fixed != nullptr) p.dB_fixed[channel] = total(TimeSum::kB);
    if (p.dC_fixed != nullptr) p.dC_fixed[channel] = total(TimeSum::kC);
    if (p.dD != nullptr) p.dD[channel] = total(TimeSum::kD);
    if (p.ddelta_bias != nullptr) p.ddelta_bias[channel] = total(TimeSum::kBias);
    return;
  }

  __shared__ Quad sums[kFinalizeWarps][32];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  const std::int64_t block = blockIdx.x - p.channel_blocks;
  const std::int64_t step = block % p.steps_blocks * kTileSteps + 4 * lane;
  const int kind = static_cast<int>(block / p.steps_blocks % p.kinds);
  const std::int64_t batch_group = block / p.steps_blocks / p.kinds;
  Quad sum = {0.0f, 0.0f, 0.0f, 0.0f};
  if (step < p.seqlen) {
    const float* const first = p.step_sums + (batch_group * p.parts * p.kinds + kind) * p.padded_seqlen + step;
#pragma unroll 8
    for (std::int64_t part = warp; part < p.parts; part += kFinalizeWarps) {
      const Quad other = *reinterpret_cast<const Quad*>(first + part * p.kinds * p.padded_seqlen);
#pragma unroll
      for (int e = 0; e < 4; ++e) sum[e] += other[e];
    }
  }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || step >= p.seqlen) return;
  for (int w = 1; w < kFinalizeWarps; ++w) {
#pragma unroll
    for (int e = 0; e < 4; ++e) sum[e] += sums[w][lane][e];
  }
  float* const target = p.step_gradients[kind] + batch_group * p.seqlen + step;
#pragma unroll
  for (int e = 0; e < 4; ++e) {
    if (step + e < p.seqlen) target[e] = sum[e];
  }
}

}  // namespace lrnnx::cuda::single_state
