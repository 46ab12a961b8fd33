// Selective scan forward: lanes over channels and states, sequential in time.
//
// A warp holds kChannelsPerLane channels for each of its channel lanes, and the 16 states of a pass spread over the
// state lanes. Per tile each lane copies and prepares one quad of time steps of its channels (softplus, dt * u), all
// lanes then walk through the tile with their states in registers, and a halving sum leaves each lane the outputs of
// the quad it prepared, so that global memory is read and written in 16-byte pieces.
//
// Cost for real mamba, a state update: 1 ex2, 4.1 FMA-pipe instructions, 5.9 issue slots; 5 floats of memory traffic
// for 16 of them with z. An H100 at (8, 2048, 2048, 16) is bound by memory, then by ex2.
#pragma once

#include <cstdint>

#include "common/math.h"
#include "discretization/discretization.h"
#include "selective_scan/tile.cuh"

namespace lrnnx::cuda {

// States that one pass over a tile holds in registers; more states take more passes.
constexpr int kStatesPerPass = 16;
// The state at every kSavedSteps-th step is what the forward saves for the backward.
constexpr int kSavedSteps = 32;
constexpr int kMaxThreads = 256;

struct ForwardParameters {
  TimeInput delta, u, z, deltaA;  // z, deltaA: null data when absent
  TimeOutput out, out_z;
  const float *A, *B, *C, *D, *delta_bias, *h0;  // D, delta_bias, h0: null when absent
  float *last_state, *saved;                     // null when not asked for
  std::int64_t dim, seqlen;
  std::int32_t dstate, groups, channels_per_group, channel_blocks;
  std::int32_t stages, stage_bytes;
  bool variable_B, variable_C, softplus, vector;
};

// Layout of one pipeline stage in bytes: B rows, C rows, then the slots of delta, u, z, deltaA (the last two if given).
template <int kStateLanes, int kChannelsPerLane>
struct ForwardStage {
  using Tile = ChannelTile<kStateLanes, kChannelsPerLane>;
  __host__ __device__ static int state_bytes(int states) { return 2 * states * Tile::kRowBytes; }
  __host__ __device__ static int slot_bytes(int warps) { return warps * Tile::kWarpChannels * Tile::kRowBytes; }
};

// kGeneral: any number of states and any kind of B and C, chosen at run time. Otherwise at most kStatesPerPass states,
// B and C variable.
template <class Discretization, int kStateLanes, int kChannelsPerLane, bool kGeneral>
__global__ void __launch_bounds__(kMaxThreads, 2)
    selective_scan_forward(const __grid_constant__ ForwardParameters p) {
  using F = Discretization;
  using Lanes = LaneMap<kStateLanes>;
  using Tile = ChannelTile<kStateLanes, kChannelsPerLane>;
  using States = StateTile<Tile::kSteps>;
  using Stage = ForwardStage<kStateLanes, kChannelsPerLane>;
  constexpr int R = kChannelsPerLane;
  constexpr int kLaneStates = kStatesPerPass / kStateLanes;
  static_assert(!kGeneral || R == 1);
  static_assert(F::kInput != InputFactor::per_state, "the input factor is folded into u before the scan");

  extern __shared__ __align__(128) unsigned char shared[];
  const std::uint32_t shared_base = shared_address(shared);
  const int thread = threadIdx.x, threads = blockDim.x;
  const int warp = thread >> 5, lane = thread & 31, warps = threads >> 5;
  const int k = Lanes::state(lane), g = Lanes::channel(lane);

  const std::uint32_t batch_group = blockIdx.x / p.channel_blocks;
  const std::uint32_t batch = batch_group / p.groups, group = batch_group % p.groups;
  const int first_in_group = (blockIdx.x % p.channel_blocks) * warps * Tile::kWarpChannels;
  const int last_channel = min(warps * Tile::kWarpChannels, p.channels_per_group - first_in_group) - 1;
  const std::int64_t first_channel = static_cast<std::int64_t>(group) * p.channels_per_group + first_in_group;

  const int passes = kGeneral ? (p.dstate + kStatesPerPass - 1) / kStatesPerPass : 1;
  const int rows = passes * kStatesPerPass;
  const int state_bytes = Stage::state_bytes(rows), slot_bytes = Stage::slot_bytes(warps);
  const bool has_z = p.z.data != nullptr, has_deltaA = p.deltaA.data != nullptr;

  const auto block_row = [&](const auto& tensor) {
    return tensor.data + batch * tensor.stride_batch + first_channel * tensor.stride_dim;
  };
  const float* const delta_block = block_row(p.delta);
  const float* const u_block = block_row(p.u);
  const std::int64_t group_row = static_cast<std::int64_t>(batch_group) * p.dstate * p.seqlen;

  // Lane constants and the state, in registers; in the general kernel in shared memory between the passes.
  float omega[R][kLaneStates], h[R][kLaneStates], B_fixed[R][kLaneStates], C_fixed[R][kLaneStates], D[R], bias[R];
  float* const kept = reinterpret_cast<float*>(shared + p.stages * p.stage_bytes) + thread;
  const auto state_index = [&](int pass, int j) { return pass * kStatesPerPass + j * kStateLanes + k; };
  const auto channel = [&](int r) { return first_channel + min(Tile::row(warp, r, g), last_channel); };
  const auto load_pass = [&](int pass) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int j = 0; j < kLaneStates; ++j) {
        const int n = state_index(pass, j);
        const std::int64_t weight = channel(r) * p.dstate + n;
        const bool valid = n < p.dstate;
        omega[r][j] = valid ? F::prepare(p.A[weight]) : 0.0f;
        if constexpr (kGeneral) {
          B_fixed[r][j] = valid && !p.variable_B ? p.B[weight] : 0.0f;
          C_fixed[r][j] = valid && !p.variable_C ? p.C[weight] : 0.0f;
        }
      }
    }
  };
  const auto state_offset = [&](int r) { return (batch * p.dim + channel(r)) * p.dstate; };
  const auto initial_state = [&](int pass) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int j = 0; j < kLaneStates; ++j) {
        const int n = state_index(pass, j);
        h[r][j] = p.h0 != nullptr && n < p.dstate ? p.h0[state_offset(r) + n] : 0.0f;
      }
    }
  };
  const auto keep_state = [&](int pass) {
#pragma unroll
    for (int i = 0; i < R * kLaneStates; ++i) kept[(pass * R * kLaneStates + i) * threads] = h[i / kLaneStates][i % kLaneStates];
  };
  const auto recall_state = [&](int pass) {
#pragma unroll
    for (int i = 0; i < R * kLaneStates; ++i) h[i / kLaneStates][i % kLaneStates] = kept[(pass * R * kLaneStates + i) * threads];
  };
  if constexpr (kGeneral) {
    for (int pass = 0; pass < passes; ++pass) {
      initial_state(pass);
      keep_state(pass);
    }
  } else {
    load_pass(0);
    initial_state(0);
  }
#pragma unroll
  for (int r = 0; r < R; ++r) {
    D[r] = p.D != nullptr ? p.D[channel(r)] : 0.0f;
    bias[r] = p.delta_bias != nullptr ? p.delta_bias[channel(r)] : 0.0f;
  }

  const std::int64_t tiles = (p.seqlen + Tile::kSteps - 1) / Tile::kSteps;
  const auto copy = [&](std::int64_t tile, int stage) {
    if (tile < tiles) {
      const std::int64_t time = tile * Tile::kSteps;
      const bool vector = p.vector && time + Tile::kSteps <= p.seqlen;
      const std::uint32_t base = shared_base + stage * p.stage_bytes;
      std::uint32_t slot = base + state_bytes;
      const auto copy_next = [&](const float* block, std::uint32_t stride_dim) {
        copy_tile<Tile, R>(slot, block, stride_dim, last_channel, time, p.seqlen, vector, warp, lane);
        slot += slot_bytes;
      };
      copy_next(delta_block, p.delta.stride_dim);
      copy_next(u_block, p.u.stride_dim);
      if (has_z) copy_next(block_row(p.z), p.z.stride_dim);
      if (has_deltaA) copy_next(block_row(p.deltaA), p.deltaA.stride_dim);
      if (!kGeneral || p.variable_B) {
        copy_state_tile<Tile::kSteps>(base, p.B + group_row, rows, p.dstate, time, p.seqlen, vector, thread, threads);
      }
      if (!kGeneral || p.variable_C) {
        copy_state_tile<Tile::kSteps>(base + state_bytes / 2, p.C + group_row, rows, p.dstate, time, p.seqlen, vector,
                                      thread, threads);
      }
    }
    commit_copies();
  };

  for (int stage = 0; stage < p.stages - 1; ++stage) copy(stage, stage);
  int stage = 0;
  for (std::int64_t tile = 0; tile < tiles; ++tile) {
    if (p.stages == 2) {
      wait_copies<0>();
    } else if (p.stages == 3) {
      wait_copies<1>();
    } else {
      wait_copies<2>();
    }
    __syncthreads();
    copy(tile + p.stages - 1, stage == 0 ? p.stages - 1 : stage - 1);

    const std::int64_t time = tile * Tile::kSteps;
    const bool vector = p.vector && time + Tile::kSteps <= p.seqlen;
    const std::uint32_t base = stage * p.stage_bytes;
    const std::uint32_t delta_slot = base + state_bytes, u_slot = delta_slot + slot_bytes;
    const std::uint32_t z_slot = u_slot + slot_bytes, deltaA_slot = z_slot + (has_z ? slot_bytes : 0);

    // Each lane prepares its own quads in place: delta becomes the transition's step, u the input with its factor.
    float4 Du[R];
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const std::uint32_t own = Tile::row_offset(Tile::row(warp, r, g)) ^ (k << 4);
      float4 step = load_quad(shared, delta_slot + own), x = load_quad(shared, u_slot + own);
      Du[r] = {D[r] * x.x, D[r] * x.y, D[r] * x.z, D[r] * x.w};
      if constexpr (F::kTakesStepOptions) {
#pragma unroll
        for (int e = 0; e < 4; ++e) at(step, e) += bias[r];
        if (p.softplus) {
#pragma unroll
          for (int e = 0; e < 4; ++e) at(step, e) = softplus(at(step, e));
        }
      }
      if constexpr (F::kInput == InputFactor::step) {
#pragma unroll
        for (int e = 0; e < 4; ++e) at(x, e) *= at(step, e);
      }
      if (has_deltaA) step = load_quad(shared, deltaA_slot + own);
      if (time + Tile::kSteps > p.seqlen) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (time + 4 * k + e >= p.seqlen) at(step, e) = at(x, e) = 0.0f;
        }
      }
      store_quad(shared, delta_slot + own, step);
      store_quad(shared, u_slot + own, x);
    }
    __syncwarp();

    float4 y[R];
    for (int pass = 0; pass < passes; ++pass) {
      if constexpr (kGeneral) {
        load_pass(pass);
        recall_state(pass);
      }
      const std::uint32_t B_base = base + States::row_offset(k) + pass * kStatesPerPass * Tile::kRowBytes;
      const std::uint32_t C_base = B_base + state_bytes / 2;
      const std::uint32_t row_base = Tile::row_offset(Tile::row(warp, 0, g));
      // Quad sums still to be merged, one for each bit of the quad number.
      float4 pending[R][Lanes::kStateBits + 1];
#pragma unroll
      for (int quad = 0; quad < Tile::kQuads; ++quad) {
        if (quad % (kSavedSteps / 4) == 0 && p.saved != nullptr && time + quad * 4 < p.seqlen) {
          const std::int64_t saves = (p.seqlen + kSavedSteps - 1) / kSavedSteps;
          const std::int64_t row = (batch * saves + (time + quad * 4) / kSavedSteps) * p.dim;
#pragma unroll
          for (int r = 0; r < R; ++r) {
            if (Tile::row(warp, r, g) > last_channel) continue;
            float* const target = p.saved + (row + channel(r)) * p.dstate;
#pragma unroll
            for (int j = 0; j < kLaneStates; ++j) {
              const int n = state_index(pass, j);
              if (n < p.dstate) target[n] = h[r][j];
            }
          }
        }
        float4 B[kLaneStates], C[kLaneStates];
#pragma unroll
        for (int j = 0; j < kLaneStates; ++j) {
          // Rows kStateLanes apart are a multiple of 8 apart: the same swizzle.
          const std::uint32_t row = j * kStateLanes * Tile::kRowBytes;
          if (!kGeneral || p.variable_B) {
            B[j] = load_quad(shared, (B_base ^ (quad << 4)) + row);
          } else {
            B[j] = {B_fixed[0][j], B_fixed[0][j], B_fixed[0][j], B_fixed[0][j]};
          }
          if (!kGeneral || p.variable_C) {
            C[j] = load_quad(shared, (C_base ^ (quad << 4)) + row);
          } else {
            C[j] = {C_fixed[0][j], C_fixed[0][j], C_fixed[0][j], C_fixed[0][j]};
          }
        }
#pragma unroll
        for (int r = 0; r < R; ++r) {
          const std::uint32_t own = (row_base ^ (quad << 4)) + r * Tile::kLaneChannels * Tile::kRowBytes;
          const float4 step = load_quad(shared, delta_slot + own), x = load_quad(shared, u_slot + own);
          float4 sum;
#pragma unroll
          for (int e = 0; e < 4; ++e) {
#pragma unroll
            for (int j = 0; j < kLaneStates; ++j) {
              const float transition = F::transition(omega[r][j], at(step, e));
              h[r][j] = fmaf(transition, h[r][j], at(x, e) * at(B[j], e));
              at(sum, e) = j == 0 ? h[r][j] * at(C[j], e) : fmaf(h[r][j], at(C[j], e), at(sum, e));
            }
          }
          // A quad whose low bits are all ones completes that many levels of the halving sum.
          int level = 0;
#pragma unroll
          for (int bit = 0; bit < Lanes::kStateBits; ++bit) {
            if ((quad & ((2 << bit) - 1)) == (2 << bit) - 1) {
              sum = halve(pending[r][bit], sum, k >> bit & 1, Lanes::state_mask(bit));
              level = bit + 1;
            }
          }
          pending[r][level] = sum;
        }
      }
#pragma unroll
      for (int r = 0; r < R; ++r) {
        const float4 sum = pending[r][Lanes::kStateBits];
        if (!kGeneral || pass == 0) {
          y[r] = sum;
          continue;
        }
        y[r] = {y[r].x + sum.x, y[r].y + sum.y, y[r].z + sum.z, y[r].w + sum.w};
      }
      if constexpr (kGeneral) keep_state(pass);
    }

#pragma unroll
    for (int r = 0; r < R; ++r) {
      const int row = Tile::row(warp, r, g);
      const std::uint32_t own = Tile::row_offset(row) ^ (k << 4);
      if (p.D != nullptr) y[r] = {y[r].x + Du[r].x, y[r].y + Du[r].y, y[r].z + Du[r].z, y[r].w + Du[r].w};
      float4 gated = y[r];
      if (has_z) {
        const float4 z = load_quad(shared, z_slot + own);
#pragma unroll
        for (int e = 0; e < 4; ++e) at(gated, e) *= silu(at(z, e));
      }
      if (vector) {
        if (row <= last_channel) {
          const std::uint64_t channel_in_block = static_cast<std::uint32_t>(row);
          store_streaming(block_row(p.out) + channel_in_block * p.out.stride_dim + time + 4 * k, y[r]);
          if (has_z) store_streaming(block_row(p.out_z) + channel_in_block * p.out_z.stride_dim + time + 4 * k, gated);
        }
      } else {
        // Through the slots, which no other lane reads any more after the barrier.
        __syncwarp();
        store_quad(shared, delta_slot + own, y[r]);
        if (has_z) store_quad(shared, z_slot + own, gated);
      }
    }
    if (!vector) {
      __syncwarp();
      store_tile<Tile>(shared, delta_slot, block_row(p.out), p.out.stride_dim, last_channel, time, p.seqlen, warp, lane);
      if (has_z) {
        store_tile<Tile>(shared, z_slot, block_row(p.out_z), p.out_z.stride_dim, last_channel, time, p.seqlen, warp, lane);
      }
    }
    stage = stage + 1 == p.stages ? 0 : stage + 1;
  }

  if (p.last_state != nullptr) {
    for (int pass = 0; pass < passes; ++pass) {
      if constexpr (kGeneral) recall_state(pass);
#pragma unroll
      for (int r = 0; r < R; ++r) {
        if (Tile::row(warp, r, g) > last_channel) continue;
#pragma unroll
        for (int j = 0; j < kLaneStates; ++j) {
          const int n = state_index(pass, j);
          if (n < p.dstate) p.last_state[state_offset(r) + n] = h[r][j];
        }
      }
    }
  }
}

}  // namespace lrnnx::cuda
