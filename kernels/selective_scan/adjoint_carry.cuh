// The adjoint that enters each time split of the backward from the right.
//
// With few channels the backward splits time. adjoint_of_split runs the adjoint recurrence alone over each split, from
// zero: it reads delta (or deltaA), dout, z and C only. adjoint_carry then joins the splits from the right.
#pragma once

#include <cstdint>

#include "selective_scan/backward.cuh"

namespace lrnnx::cuda {

struct AdjointParameters {
  TimeInput step, dout, z;  // step: deltaA if given (then raw), else delta; z: null data when absent
  const float *A, *C, *delta_bias;
  const float* dlast_state;  // (B, D, N); null: zero
  // (B, splits, D, N) the adjoint leaving each split to the left; (B, splits, D) the sum of its steps.
  float *adjoint, *step_sum;
  float* carry;  // (B, splits, D, N)
  std::int64_t batch, dim, seqlen, tiles;
  std::int32_t dstate, groups, channels_per_group, channel_blocks, splits, tiles_per_split, stage_bytes;
  bool variable_C, raw_step, softplus, vector;
};

template <class Discretization, int kChannelsPerLane, bool kGeneral>
__global__ void __launch_bounds__(kMaxThreads, 2) adjoint_of_split(const __grid_constant__ AdjointParameters p) {
  using F = Discretization;
  using Lanes = LaneMap<kBackwardStateLanes>;
  using Tile = ChannelTile<kBackwardStateLanes, kChannelsPerLane>;
  using States = StateTile<Tile::kSteps>;
  constexpr int R = kChannelsPerLane, J = kBackwardLaneStates, K = kBackwardStateLanes;
  static_assert(!kGeneral || R == 1);

  extern __shared__ __align__(128) unsigned char shared[];
  const std::uint32_t shared_base = shared_address(shared);
  const int thread = threadIdx.x, threads = blockDim.x;
  const int warp = thread >> 5, lane = thread & 31, warps = threads >> 5;
  const int k = Lanes::state(lane), g = Lanes::channel(lane);

  const std::uint32_t channel_block = blockIdx.x % p.channel_blocks;
  // The leftmost split hands nothing on.
  const std::uint32_t split = 1 + blockIdx.x / p.channel_blocks % (p.splits - 1);
  const std::uint32_t batch_group = blockIdx.x / p.channel_blocks / (p.splits - 1);
  const std::uint32_t batch = batch_group / p.groups, group = batch_group % p.groups;
  const int first_in_group = channel_block * warps * Tile::kWarpChannels;
  const int last_channel = min(warps * Tile::kWarpChannels, p.channels_per_group - first_in_group) - 1;
  const std::int64_t first_channel = static_cast<std::int64_t>(group) * p.channels_per_group + first_in_group;
  const std::int64_t first_tile = static_cast<std::int64_t>(split) * p.tiles_per_split;
  const int tiles = static_cast<int>(min(static_cast<std::int64_t>(p.tiles_per_split), p.tiles - first_tile));
  const int passes = kGeneral ? (p.dstate + kStatesPerPass - 1) / kStatesPerPass : 1;
  const int rows = passes * kStatesPerPass;
  const int state_bytes = rows * Tile::kRowBytes, slot_bytes = warps * Tile::kWarpChannels * Tile::kRowBytes;
  const bool has_z = p.z.data != nullptr;
  const std::int64_t group_row = static_cast<std::int64_t>(batch_group) * p.dstate * p.seqlen;
  float* const kept = reinterpret_cast<float*>(shared + 2 * p.stage_bytes) + thread;

  const auto block_row = [&](const TimeInput& tensor) {
    return tensor.data + batch * tensor.stride_batch + first_channel * tensor.stride_dim;
  };
  const auto clamped_row = [&](int r) { return min(Tile::row(warp, r, g), last_channel); };
  const auto state_index = [&](int pass, int j) { return pass * kStatesPerPass + j * K + k; };

  const auto copy = [&](int m) {
    if (m < tiles) {
      const std::int64_t time = (first_tile + tiles - 1 - m) * Tile::kSteps;
      const bool vector = p.vector && time + Tile::kSteps <= p.seqlen;
      const std::uint32_t stage = shared_base + (m & 1) * p.stage_bytes;
      std::uint32_t slot = stage + state_bytes;
      const auto copy_next = [&](const TimeInput& tensor) {
        copy_tile<Tile, R>(slot, block_row(tensor), tensor.stride_dim, last_channel, time, p.seqlen, vector, warp,
                           lane);
        slot += slot_bytes;
      };
      copy_next(p.step);
      copy_next(p.dout);
      if (has_z) copy_next(p.z);
      if (!kGeneral || p.variable_C) {
        copy_state_tile<Tile::kSteps>(stage, p.C + group_row, rows, p.dstate, time, p.seqlen, vector, thread, threads);
      }
    }
    commit_copies();
  };

  float omega[R][J], adjoint[R][J], C_fixed[J], bias[R], step_sum[R];
  const auto load_pass = [&](int pass) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int j = 0; j < J; ++j) {
        const int n = state_index(pass, j);
        const bool valid = n < p.dstate;
        const std::int64_t weight = (first_channel + clamped_row(r)) * p.dstate + n;
        omega[r][j] = valid ? F::prepare(p.A[weight]) : 0.0f;
        if constexpr (kGeneral) C_fixed[j] = valid && !p.variable_C ? p.C[weight] : 0.0f;
      }
    }
  };
#pragma unroll
  for (int r = 0; r < R; ++r) {
    bias[r] = p.delta_bias != nullptr ? p.delta_bias[first_channel + clamped_row(r)] : 0.0f;
    step_sum[r] = 0.0f;
#pragma unroll
    for (int j = 0; j < J; ++j) adjoint[r][j] = 0.0f;
  }
  if constexpr (kGeneral) {
    for (int i = 0; i < passes * J; ++i) kept[i * threads] = 0.0f;
  } else {
    load_pass(0);
  }

  copy(0);
  for (int m = 0; m < tiles; ++m) {
    wait_copies<0>();
    __syncthreads();
    copy(m + 1);
    const std::int64_t time = (first_tile + tiles - 1 - m) * Tile::kSteps;
    const std::uint32_t stage = (m & 1) * p.stage_bytes;
    const std::uint32_t step_slot = stage + state_bytes, dout_slot = step_slot + slot_bytes,
                        z_slot = dout_slot + slot_bytes;
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const std::uint32_t own = Tile::row_offset(Tile::row(warp, r, g)) ^ (k << 4);
      float4 step = load_quad(shared, step_slot + own), dy = load_quad(shared, dout_slot + own);
      if (!p.raw_step) {
#pragma unroll
        for (int e = 0; e < 4; ++e) at(step, e) += bias[r];
        if (p.softplus) {
#pragma unroll
          for (int e = 0; e < 4; ++e) at(step, e) = softplus(at(step, e));
        }
      }
      if (has_z) {
        const float4 z = load_quad(shared, z_slot + own);
#pragma unroll
        for (int e = 0; e < 4; ++e) at(dy, e) *= silu(at(z, e));
      }
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if (time + 4 * k + e >= p.seqlen) at(step, e) = at(dy, e) = 0.0f;
        step_sum[r] += at(step, e);
      }
      store_quad(shared, step_slot + own, step);
      store_quad(shared, dout_slot + own, dy);
    }
    __syncwarp();

    for (int pass = 0; pass < passes; ++pass) {
      if constexpr (kGeneral) {
        load_pass(pass);
#pragma unroll
        for (int j = 0; j < J; ++j) adjoint[0][j] = kept[(pass * J + j) * threads];
      }
      const std::uint32_t C_base = stage + pass * kStatesPerPass * Tile::kRowBytes + States::row_offset(k);
      const std::uint32_t row_base = Tile::row_offset(Tile::row(warp, 0, g));
#pragma unroll
      for (int quad = Tile::kQuads - 1; quad >= 0; --quad) {
        float4 C[J];
#pragma unroll
        for (int j = 0; j < J; ++j) {
          if (!kGeneral || p.variable_C) {
            C[j] = load_quad(shared, (C_base ^ (quad << 4)) + j * K * Tile::kRowBytes);
          } else {
            C[j] = {C_fixed[j], C_fixed[j], C_fixed[j], C_fixed[j]};
          }
        }
#pragma unroll
        for (int r = 0; r < R; ++r) {
          const std::uint32_t own = (row_base ^ (quad << 4)) + r * Tile::kLaneChannels * Tile::kRowBytes;
          const float4 step = load_quad(shared, step_slot + own), dy = load_quad(shared, dout_slot + own);
#pragma unroll
          for (int e = 3; e >= 0; --e) {
#pragma unroll
            for (int j = 0; j < J; ++j) {
              adjoint[r][j] =
                  fmaf(at(C[j], e), at(dy, e), adjoint[r][j]) * F::transition(omega[r][j], at(step, e));
            }
          }
        }
      }
      if constexpr (kGeneral) {
#pragma unroll
        for (int j = 0; j < J; ++j) kept[(pass * J + j) * threads] = adjoint[0][j];
      }
    }
  }

  const std::int64_t row = (static_cast<std::int64_t>(batch) * p.splits + split) * p.dim + first_channel;
#pragma unroll
  for (int r = 0; r < R; ++r) {
    const float sum = sum_over_state_lanes<K>(step_sum[r]);
    if (Tile::row(warp, r, g) > last_channel) continue;
    const std::int64_t channel = row + Tile::row(warp, r, g);
    if (k == 0) p.step_sum[channel] = sum;
    for (int pass = 0; pass < passes; ++pass) {
#pragma unroll
      for (int j = 0; j < J; ++j) {
        const int n = state_index(pass, j);
        if (n < p.dstate) p.adjoint[channel * p.dstate + n] = kGeneral ? kept[(pass * J + j) * threads] : adjoint[r][j];
      }
    }
  }
}

// One thread a (batch, channel, state).
template <class Discretization>
__global__ void adjoint_carry(const __grid_constant__ AdjointParameters p) {
  using F = Discretization;
  const std::int64_t index = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  const std::int64_t row = p.dim * p.dstate;
  if (index >= p.batch * row) return;
  const std::int64_t batch = index / row, weight = index % row;
  const float omega = F::prepare(p.A[weight]);
  float carry = p.dlast_state != nullptr ? p.dlast_state[index] : 0.0f;
  for (int split = p.splits - 1; split >= 0; --split) {
    const std::int64_t here = batch * p.splits + split;
    p.carry[here * row + weight] = carry;
    if (split > 0) {
      // The transitions of a split multiply to one with the sum of its steps, as exponentials do.
      const float transition = F::transition(omega, p.step_sum[here * p.dim + weight / p.dstate]);
      carry = fmaf(transition, carry, p.adjoint[here * row + weight]);
    }
  }
}

}  // namespace lrnnx::cuda
