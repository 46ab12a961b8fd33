// The second stage of the backward's sums, in a fixed order.
#pragma once

#include <cstdint>

#include "selective_scan/backward.cuh"

namespace lrnnx::cuda {

struct TimeSums {
  const float *A, *B, *C, *D, *bias;  // (parts, D, N) or (parts, D); null when absent
  float *dA, *dB, *dC, *dD, *ddelta_bias;
  const float* weight;  // A itself
  std::int64_t parts, dim, dstate;
};

// One thread a (channel, state): parts added in double, for there may be thousands.
template <class Discretization>
__global__ void finalize_time_sums(const __grid_constant__ TimeSums p) {
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const std::int64_t weights = p.dim * p.dstate;
  const auto total = [&](const float* parts, std::int64_t stride) {
    double sum = 0.0;
#pragma unroll 4
    for (std::int64_t part = 0; part < p.parts; ++part) sum += parts[part * stride + index];
    return static_cast<float>(sum);
  };
  if (index < weights) {
    p.dA[index] = Discretization::weight_gradient(p.weight[index], total(p.A, weights), 0.0f);
    if (p.B != nullptr) p.dB[index] = total(p.B, weights);
    if (p.C != nullptr) p.dC[index] = total(p.C, weights);
  }
  if (index < p.dim) {
    if (p.D != nullptr) p.dD[index] = total(p.D, p.dim);
    if (p.bias != nullptr) p.ddelta_bias[index] = total(p.bias, p.dim);
  }
}

struct StateSums {
  const float4* parts;  // (B G, channel_blocks, quads, passes, 32), 32 in the lanes' order
  float *dB, *dC;       // null where B or C is fixed
  std::int64_t batch_groups, channel_blocks, quads, passes, dstate, seqlen;
  bool vector;
};

// One thread a (batch and group, quad, pass, lane).
static __global__ void finalize_state_sums(const __grid_constant__ StateSums p) {
  const std::int64_t per_block = p.quads * p.passes * 32;
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (index >= p.batch_groups * per_block) return;
  const std::int64_t batch_group = index / per_block, place = index % per_block;
  const std::int64_t pass = place / 32 % p.passes, time = place / 32 / p.passes * 4;
  const StateSumPlace sum_place = state_sum_place(static_cast<int>(place & 31));
  const std::int64_t n = pass * kStatesPerPass + sum_place.state;
  float* const tensor = sum_place.of_B ? p.dB : p.dC;
  if (tensor == nullptr || n >= p.dstate || time >= p.seqlen) return;

  const float4* source = p.parts + batch_group * p.channel_blocks * per_block + place;
  float4 sum = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll 8
  for (std::int64_t block = 0; block < p.channel_blocks; ++block) {
    const float4 part = __ldcs(source + block * per_block);
    sum = {sum.x + part.x, sum.y + part.y, sum.z + part.z, sum.w + part.w};
  }
  float* const target = tensor + (batch_group * p.dstate + n) * p.seqlen + time;
  if (p.vector) {
    *reinterpret_cast<float4*>(target) = sum;
  } else {
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      if (time + e < p.seqlen) target[e] = at(sum, e);
    }
  }
}

}  // namespace lrnnx::cuda
