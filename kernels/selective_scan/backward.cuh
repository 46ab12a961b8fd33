// Selective scan backward: time tiles in reverse, states rebuilt from the saved ones, never divided back.
//
// Lanes cover channels and states as in the forward. For each tile of 32 steps, starting from the state that the
// forward saved:
//   prepare   each lane turns its own quads into the transition's step, the input x, dy (through the gate) and
//             softplus', and stores dz
//   rebuild   the state at the start of each quad of steps, kept in registers
//   reverse   quad by quad from the last: four states recomputed, then with g the adjoint of h,
//                 g_t = C_t dy_t + transition_{t+1} g_{t+1},  w_t = g_t transition_t h_{t-1},
//             and the sums  over states:   s1 = g B, s2 = w omega           (for du and ddelta)
//                           over channels: dB = g x, dC = dy h              (halving sums, then shared memory)
//                           over time:     domega += w step                (in the lane's registers)
//   finish    each lane turns the sums of its own quads into du, ddelta, ddeltaA
//
// Sums over the block's warps go through a double buffer guarded by mbarriers: a warp arrives when its part is
// written, goes on, and waits only one block of quads later, so that warps may drift apart without running loose.
// Every sum has a fixed order: partial sums of blocks and time segments go to the workspace and finalize.cuh adds them.
//
// Cost for real mamba, a state update: 2 ex2 and about 20 issue slots. Bound by issue on an H100.
#pragma once

#include <cstdint>

#include "common/math.h"
#include "discretization/discretization.h"
#include "selective_scan/forward.cuh"
#include "selective_scan/tile.cuh"

namespace lrnnx::cuda {

constexpr int kBackwardStateLanes = 8;
constexpr int kBackwardLaneStates = kStatesPerPass / kBackwardStateLanes;
constexpr int kQuadsPerSum = 2;
// Per-channel sums over time go to the workspace every so many tiles: short sums keep their rounding errors small.
constexpr int kTilesPerSegment = 16;

struct BackwardParameters {
  TimeInput delta, u, dout, z, out, deltaA;  // z, out, deltaA: null data when absent
  TimeOutput du, ddelta, dz, ddeltaA;
  const float *A, *B, *C, *D, *delta_bias;
  const float* saved;
  // (B, splits, D, N): the adjoint that enters each time split from the right; null: zero.
  const float* carry;
  float* dh0;
  // Sums over the block's channels. Either partial sums, (B G, channel_blocks, quads, passes, 32) float4, or, with one
  // block for each group, dB and dC themselves.
  float4* state_sums;
  float *dB, *dC;
  // Sums over time, (B splits segments, D, N) and (B splits segments, D); B_sums and C_sums for fixed B and C.
  float *A_sums, *B_sums, *C_sums, *D_sums, *bias_sums;
  std::int64_t dim, seqlen, tiles;
  std::int32_t dstate, groups, channels_per_group, channel_blocks, splits, tiles_per_split, segments;
  std::int32_t stage_bytes;
  bool variable_B, variable_C, softplus, vector;
};

// Which row of dB or dC, counted from the pass's first state, a lane ends with after the sum over channels.
struct StateSumPlace {
  bool of_B;
  int state;
};
__device__ __forceinline__ StateSumPlace state_sum_place(int lane) {
  using Lanes = LaneMap<kBackwardStateLanes>;
  const int position = position_after_sum<8 * kBackwardLaneStates, Lanes::kChannelBits>(Lanes::channel(lane));
  return {position / 4 / kBackwardLaneStates == 0,
          position / 4 % kBackwardLaneStates * kBackwardStateLanes + Lanes::state(lane)};
}

template <int kChannelsPerLane, bool kGeneral>
struct BackwardLayout {
  using Tile = ChannelTile<kBackwardStateLanes, kChannelsPerLane>;
  static constexpr int kSlots = 5;            // delta, u, dout, z, out; then deltaA if given
  static constexpr int kStateTileBytes = 2 * kStatesPerPass * Tile::kRowBytes;
  static constexpr int kSumBytes = kQuadsPerSum * 32 * 16;  // one warp's part of one block of quads

  __host__ __device__ static int slot_bytes(int warps) { return warps * Tile::kWarpChannels * Tile::kRowBytes; }
  __host__ __device__ static int states_offset(int stage_bytes, int warps) {
    return 2 * stage_bytes + (kGeneral ? 2 * slot_bytes(warps) : 0);
  }
  __host__ __device__ static int sums_offset(int stage_bytes, int warps) {
    return states_offset(stage_bytes, warps) + 2 * kStateTileBytes;
  }
  __host__ __device__ static int saved_offset(int stage_bytes, int warps) {
    return sums_offset(stage_bytes, warps) + 2 * warps * kSumBytes;
  }
  __host__ __device__ static int parameters_offset(int stage_bytes, int warps) {
    return saved_offset(stage_bytes, warps) + warps * 32 * kChannelsPerLane * kBackwardLaneStates * 4;
  }
  __host__ __device__ static int barriers_offset(int stage_bytes, int warps) {
    return parameters_offset(stage_bytes, warps) + warps * Tile::kWarpChannels * 8;
  }
  __host__ __device__ static int kept_offset(int stage_bytes, int warps) {
    return barriers_offset(stage_bytes, warps) + 16;
  }
  // Values that a lane of the general kernel keeps for each pass: the adjoint and the sums over time.
  static constexpr int kKeptPerPass = 4 * kBackwardLaneStates;
  __host__ __device__ static int total_bytes(int stage_bytes, int warps, int passes) {
    return kept_offset(stage_bytes, warps) + (kGeneral ? passes * kKeptPerPass * warps * 32 * 4 : 0);
  }
};

template <class Discretization, int kChannelsPerLane, bool kGeneral>
__global__ void __launch_bounds__(kMaxThreads, 2)
    selective_scan_backward(const __grid_constant__ BackwardParameters p) {
  using F = Discretization;
  using Lanes = LaneMap<kBackwardStateLanes>;
  using Layout = BackwardLayout<kChannelsPerLane, kGeneral>;
  using Tile = typename Layout::Tile;
  using States = StateTile<Tile::kSteps>;
  constexpr int R = kChannelsPerLane, J = kBackwardLaneStates, K = kBackwardStateLanes;
  constexpr int kSumsPerTile = Tile::kQuads / kQuadsPerSum;
  static_assert(Tile::kSteps == kSavedSteps && (!kGeneral || R == 1));
  static_assert(F::kInput != InputFactor::per_state, "the input factor is folded into u before the scan");

  extern __shared__ __align__(128) unsigned char shared[];
  const std::uint32_t shared_base = shared_address(shared);
  const int thread = threadIdx.x, threads = blockDim.x;
  const int warp = thread >> 5, lane = thread & 31, warps = threads >> 5;
  const int k = Lanes::state(lane), g = Lanes::channel(lane);

  const std::uint32_t channel_block = blockIdx.x % p.channel_blocks;
  const std::uint32_t split = blockIdx.x / p.channel_blocks % p.splits;
  const std::uint32_t batch_group = blockIdx.x / p.channel_blocks / p.splits;
  const std::uint32_t batch = batch_group / p.groups, group = batch_group % p.groups;
  const int first_in_group = channel_block * warps * Tile::kWarpChannels;
  const int last_channel = min(warps * Tile::kWarpChannels, p.channels_per_group - first_in_group) - 1;
  const std::int64_t first_channel = static_cast<std::int64_t>(group) * p.channels_per_group + first_in_group;
  const std::int64_t first_tile = static_cast<std::int64_t>(split) * p.tiles_per_split;
  const int tiles = static_cast<int>(min(static_cast<std::int64_t>(p.tiles_per_split), p.tiles - first_tile));

  const int passes = kGeneral ? (p.dstate + kStatesPerPass - 1) / kStatesPerPass : 1;
  const int slot_bytes = Layout::slot_bytes(warps);
  const bool has_z = p.z.data != nullptr, has_deltaA = p.deltaA.data != nullptr;
  const int delta_slot = 0, u_slot = slot_bytes, dout_slot = 2 * slot_bytes, z_slot = 3 * slot_bytes,
            out_slot = 4 * slot_bytes, deltaA_slot = 5 * slot_bytes;
  // Where the sums over states of a quad go: over x and dy, which the quad was the last to read; with several passes
  // next to them.
  const int sums1_slot = kGeneral ? 0 : u_slot, sums2_slot = kGeneral ? slot_bytes : dout_slot;
  const int states_offset = Layout::states_offset(p.stage_bytes, warps);
  const int sums_offset = Layout::sums_offset(p.stage_bytes, warps);
  float* const saved_here = reinterpret_cast<float*>(shared + Layout::saved_offset(p.stage_bytes, warps)) + thread;
  float2* const bias_and_D = reinterpret_cast<float2*>(shared + Layout::parameters_offset(p.stage_bytes, warps));
  const std::uint32_t barriers = shared_base + Layout::barriers_offset(p.stage_bytes, warps);
  float* const kept = reinterpret_cast<float*>(shared + Layout::kept_offset(p.stage_bytes, warps)) + thread;

  const auto block_row = [&](const auto& tensor) {
    return tensor.data + batch * tensor.stride_batch + first_channel * tensor.stride_dim;
  };
  const auto clamped_row = [&](int r) { return min(Tile::row(warp, r, g), last_channel); };
  const auto is_valid = [&](int r) { return Tile::row(warp, r, g) <= last_channel; };
  const auto state_index = [&](int pass, int j) { return pass * kStatesPerPass + j * K + k; };
  const auto time_of = [&](int m) { return (first_tile + tiles - 1 - m) * Tile::kSteps; };
  const std::int64_t group_row = static_cast<std::int64_t>(batch_group) * p.dstate * p.seqlen;

  // Copies of what tile m (counted from the right) or its pass needs.
  const auto copy_channels = [&](int m) {
    if (m >= tiles) return;
    const std::int64_t time = time_of(m);
    const bool vector = p.vector && time + Tile::kSteps <= p.seqlen;
    const std::uint32_t stage = shared_base + (m & 1) * p.stage_bytes;
    const auto copy = [&](int slot, const TimeInput& tensor) {
      copy_tile<Tile, R>(stage + slot, block_row(tensor), tensor.stride_dim, last_channel, time, p.seqlen, vector,
                         warp, lane);
    };
    copy(delta_slot, p.delta);
    copy(u_slot, p.u);
    copy(dout_slot, p.dout);
    if (has_z) {
      copy(z_slot, p.z);
      copy(out_slot, p.out);
    }
    if (has_deltaA) copy(deltaA_slot, p.deltaA);
  };
  const auto copy_saved = [&](int m, int pass) {
    if (m >= tiles) return;
    const float* const row =
        p.saved + ((batch * p.tiles + first_tile + tiles - 1 - m) * p.dim + first_channel) * p.dstate;
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int j = 0; j < J; ++j) {
        const int n = state_index(pass, j);
        const bool valid = n < p.dstate;
        copy_async_4(shared_address(saved_here + (r * J + j) * threads), row + clamped_row(r) * p.dstate + (valid ? n : 0), valid);
      }
    }
  };
  const auto copy_states = [&](int m, int pass) {
    if (m >= tiles) return;
    const std::int64_t time = time_of(m);
    const bool vector = p.vector && time + Tile::kSteps <= p.seqlen;
    const std::uint32_t target =
        shared_base + states_offset + ((m * passes + pass) & 1) * Layout::kStateTileBytes;
    const std::int64_t first = group_row + static_cast<std::int64_t>(pass) * kStatesPerPass * p.seqlen;
    const int left = p.dstate - pass * kStatesPerPass;
    if (!kGeneral || p.variable_B) {
      copy_state_tile<Tile::kSteps>(target, p.B + first, kStatesPerPass, left, time, p.seqlen, vector, thread, threads);
    }
    if (!kGeneral || p.variable_C) {
      copy_state_tile<Tile::kSteps>(target + Layout::kStateTileBytes / 2, p.C + first, kStatesPerPass, left, time,
                                    p.seqlen, vector, thread, threads);
    }
  };

  // omega, the adjoint entering from the right, and the sums over time, in registers; in the general kernel kept in
  // shared memory between the passes.
  float omega[R][J], adjoint[R][J], A_sum[R][J], B_sum[R][J], C_sum[R][J], D_sum[R], bias_sum[R];
  float B_fixed[J], C_fixed[J];
  const auto load_omega = [&](int pass) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int j = 0; j < J; ++j) {
        const int n = state_index(pass, j);
        const std::int64_t weight = (first_channel + clamped_row(r)) * p.dstate + n;
        const bool valid = n < p.dstate;
        omega[r][j] = valid ? F::prepare(p.A[weight]) : 0.0f;
        if constexpr (kGeneral) {
          B_fixed[j] = valid && !p.variable_B ? p.B[weight] : 0.0f;
          C_fixed[j] = valid && !p.variable_C ? p.C[weight] : 0.0f;
        }
      }
    }
  };
  const auto load_carry = [&](int pass) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int j = 0; j < J; ++j) {
        const int n = state_index(pass, j);
        const std::int64_t row = (static_cast<std::int64_t>(batch) * p.splits + split) * p.dim + first_channel;
        adjoint[r][j] =
            p.carry != nullptr && n < p.dstate ? p.carry[(row + clamped_row(r)) * p.dstate + n] : 0.0f;
        A_sum[r][j] = B_sum[r][j] = C_sum[r][j] = 0.0f;
      }
    }
  };
  const auto kept_value = [&](int pass, int i) -> float& { return kept[(pass * Layout::kKeptPerPass + i) * threads]; };
  const auto keep = [&](int pass) {
#pragma unroll
    for (int j = 0; j < J; ++j) {
      kept_value(pass, j) = adjoint[0][j];
      kept_value(pass, J + j) = A_sum[0][j];
      kept_value(pass, 2 * J + j) = B_sum[0][j];
      kept_value(pass, 3 * J + j) = C_sum[0][j];
    }
  };
  const auto recall = [&](int pass) {
#pragma unroll
    for (int j = 0; j < J; ++j) {
      adjoint[0][j] = kept_value(pass, j);
      A_sum[0][j] = kept_value(pass, J + j);
      B_sum[0][j] = kept_value(pass, 2 * J + j);
      C_sum[0][j] = kept_value(pass, 3 * J + j);
    }
  };
#pragma unroll
  for (int r = 0; r < R; ++r) D_sum[r] = bias_sum[r] = 0.0f;
  if constexpr (kGeneral) {
    for (int pass = 0; pass < passes; ++pass) {
      load_carry(pass);
      keep(pass);
    }
  } else {
    load_omega(0);
    load_carry(0);
  }
  for (int i = thread; i < warps * Tile::kWarpChannels; i += threads) {
    const std::int64_t channel = first_channel + min(i, last_channel);
    bias_and_D[i] = {p.delta_bias != nullptr ? p.delta_bias[channel] : 0.0f, p.D != nullptr ? p.D[channel] : 0.0f};
  }

  // Adds the warps' parts of one finished block of quads and writes the sums; the block's turn picks the threads.
  const auto reduce = [&](int buffer, int turn, std::int64_t time, int pass) {
    const int duty = threads / kSumsPerTile;
    const int first = thread - turn * duty;
    if (first < 0 || first >= duty) return;
#pragma unroll 1
    for (int i = first; i < 32 * kQuadsPerSum; i += duty) {
      const unsigned char* part = shared + sums_offset + buffer * warps * Layout::kSumBytes + i * 16;
      float4 sum = load_quad(part, 0);
#pragma unroll 2
      for (int w = 1; w < warps; ++w) {
        const float4 other = load_quad(part, w * Layout::kSumBytes);
        sum = {sum.x + other.x, sum.y + other.y, sum.z + other.z, sum.w + other.w};
      }
      const int source = i & 31, quad = i >> 5;
      if (p.state_sums != nullptr) {
        const std::int64_t quads = p.tiles * Tile::kQuads;
        const std::int64_t block = static_cast<std::int64_t>(batch_group) * p.channel_blocks + channel_block;
        p.state_sums[((block * quads + time / 4 + quad) * passes + pass) * 32 + source] = sum;
      } else {
        const StateSumPlace place = state_sum_place(source);
        const int n = pass * kStatesPerPass + place.state;
        if ((kGeneral && !(place.of_B ? p.variable_B : p.variable_C)) || n >= p.dstate) continue;
        float* const target = (place.of_B ? p.dB : p.dC) + group_row + n * p.seqlen + time + quad * 4;
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (time + quad * 4 + e < p.seqlen) target[e] = at(sum, e);
        }
      }
    }
  };

  // Writes the sums over time of one segment and starts the next.
  const auto flush = [&](int segment, int pass) {
    const std::int64_t row =
        ((static_cast<std::int64_t>(batch) * p.splits + split) * p.segments + segment) * p.dim + first_channel;
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int j = 0; j < J; ++j) {
        const int n = state_index(pass, j);
        if (is_valid(r) && n < p.dstate) {
          const std::int64_t index = (row + Tile::row(warp, r, g)) * p.dstate + n;
          p.A_sums[index] = A_sum[r][j];
          if (kGeneral && !p.variable_B) p.B_sums[index] = B_sum[r][j];
          if (kGeneral && !p.variable_C) p.C_sums[index] = C_sum[r][j];
        }
        A_sum[r][j] = B_sum[r][j] = C_sum[r][j] = 0.0f;
      }
    }
  };
  const auto flush_channels = [&](int segment) {
    const std::int64_t row =
        ((static_cast<std::int64_t>(batch) * p.splits + split) * p.segments + segment) * p.dim + first_channel;
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const float D_total = sum_over_state_lanes<K>(D_sum[r]), bias_total = sum_over_state_lanes<K>(bias_sum[r]);
      if (k == 0 && is_valid(r)) {
        if (p.D_sums != nullptr) p.D_sums[row + Tile::row(warp, r, g)] = D_total;
        if (p.bias_sums != nullptr) p.bias_sums[row + Tile::row(warp, r, g)] = bias_total;
      }
      D_sum[r] = bias_sum[r] = 0.0f;
    }
  };

  if (thread == 0) {
    barrier_init(barriers, warps);
    barrier_init(barriers + 8, warps);
  }
  copy_channels(0);
  copy_saved(0, 0);
  copy_states(0, 0);
  commit_copies();
  wait_copies<0>();
  __syncthreads();

  const std::uint32_t row_base = Tile::row_offset(Tile::row(warp, 0, g));
  constexpr int kSumValues = 8 * R >> Lanes::kStateBits;  // sums over states that a lane ends with, a quad
  const int sum_position = position_after_sum<8 * R, Lanes::kStateBits>(k);
  const std::uint32_t sum_target = (sum_position / (4 * R) == 0 ? sums1_slot : sums2_slot) +
                                   sum_position / 4 % R * Tile::kLaneChannels * Tile::kRowBytes +
                                   (sum_position & 3) * 4;
  const bool sums_states = !kGeneral || p.variable_B || p.variable_C;
  int sums_done = 0;  // blocks of quads that this warp has handed in
  std::int64_t last_time = 0;
  int last_pass = 0;

  for (int m = 0; m < tiles; ++m) {
    const std::int64_t time = time_of(m);
    const bool vector = p.vector && time + Tile::kSteps <= p.seqlen;
    const std::uint32_t stage = (m & 1) * p.stage_bytes;
    float4 Ddy[R];

    for (int pass = 0; pass < passes; ++pass) {
      if constexpr (kGeneral) {
        load_omega(pass);
        recall(pass);
      }
      const bool last_of_tile = pass + 1 == passes;
      float start[Tile::kQuads][R][J];
#pragma unroll
      for (int r = 0; r < R; ++r) {
#pragma unroll
        for (int j = 0; j < J; ++j) start[0][r][j] = saved_here[(r * J + j) * threads];
      }
      __syncwarp();
      if (pass == 0) copy_channels(m + 1);
      copy_saved(last_of_tile ? m + 1 : m, last_of_tile ? 0 : pass + 1);

      if (pass == 0) {
        float4 dz[R];
#pragma unroll
        for (int r = 0; r < R; ++r) {
          const std::uint32_t own = stage + (Tile::row_offset(Tile::row(warp, r, g)) ^ (k << 4));
          float4 step = load_quad(shared, delta_slot + own), x = load_quad(shared, u_slot + own);
          float4 dy = load_quad(shared, dout_slot + own), slope = {1.0f, 1.0f, 1.0f, 1.0f};
          const float2 bias_D = bias_and_D[Tile::row(warp, r, g)];
          const float4 u = x;
          if (has_z) {
            const float4 z = load_quad(shared, z_slot + own), out = load_quad(shared, out_slot + own);
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              const ValueAndSlope gate = silu_and_slope(at(z, e));
              at(dz[r], e) = at(dy, e) * at(out, e) * gate.slope;
              at(dy, e) *= gate.value;
            }
          }
          if constexpr (F::kTakesStepOptions) {
#pragma unroll
            for (int e = 0; e < 4; ++e) at(step, e) += bias_D.x;
            if (p.softplus) {
#pragma unroll
              for (int e = 0; e < 4; ++e) {
                const ValueAndSlope dt = softplus_and_sigmoid(at(step, e));
                at(step, e) = dt.value;
                at(slope, e) = dt.slope;
              }
            }
          }
          const bool whole = time + Tile::kSteps <= p.seqlen && last_channel + 1 == warps * Tile::kWarpChannels;
          if (!whole) {
            // Steps past the end and lanes that repeat the last channel must leave state and sums alone.
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              const bool outside = time + 4 * k + e >= p.seqlen;
              if (outside) at(step, e) = 0.0f;
              if (outside || !is_valid(r)) at(x, e) = at(dy, e) = 0.0f;
            }
          }
          if constexpr (F::kInput == InputFactor::step) {
#pragma unroll
            for (int e = 0; e < 4; ++e) at(x, e) *= at(step, e);
          }
          float D_part = 0.0f;
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            D_part = fmaf(at(dy, e), at(u, e), D_part);
            at(Ddy[r], e) = p.D != nullptr ? bias_D.y * at(dy, e) : 0.0f;
          }
          D_sum[r] += D_part;
          if (has_deltaA) {
            float4 stepA = load_quad(shared, deltaA_slot + own);
            if (!whole) {
#pragma unroll
              for (int e = 0; e < 4; ++e) {
                if (time + 4 * k + e >= p.seqlen) at(stepA, e) = 0.0f;
              }
            }
            store_quad(shared, deltaA_slot + own, step);
            step = stepA;
          }
          store_quad(shared, delta_slot + own, step);
          store_quad(shared, u_slot + own, x);
          store_quad(shared, dout_slot + own, dy);
          store_quad(shared, z_slot + own, u);
          store_quad(shared, out_slot + own, slope);
          if (has_z && vector && is_valid(r)) {
            store_streaming(block_row(p.dz) +
                                static_cast<std::uint64_t>(static_cast<std::uint32_t>(clamped_row(r))) *
                                    p.dz.stride_dim + time + 4 * k,
                            dz[r]);
          }
        }
        if (has_z && !vector) {
          // Through the u slot, whose content waits in registers: the tile of x is read again only after the barrier.
#pragma unroll
          for (int r = 0; r < R; ++r) {
            const std::uint32_t own = stage + u_slot + (Tile::row_offset(Tile::row(warp, r, g)) ^ (k << 4));
            const float4 x = load_quad(shared, own);
            store_quad(shared, own, dz[r]);
            dz[r] = x;
          }
          __syncwarp();
          store_tile<Tile>(shared, stage + u_slot, block_row(p.dz), p.dz.stride_dim, last_channel, time, p.seqlen, warp,
                           lane);
          __syncwarp();
#pragma unroll
          for (int r = 0; r < R; ++r) {
            store_quad(shared, stage + u_slot + (Tile::row_offset(Tile::row(warp, r, g)) ^ (k << 4)), dz[r]);
          }
        }
        __syncwarp();
      }

      // All warps have left the previous pass, and their copies of this one's B and C have landed.
      if (sums_done > 0) barrier_wait(barriers + 8 * ((sums_done - 1) & 1), (sums_done - 1) >> 1 & 1);
      copy_states(last_of_tile ? m + 1 : m, last_of_tile ? 0 : pass + 1);
      commit_copies();
      const std::uint32_t B_base =
          states_offset + ((m * passes + pass) & 1) * Layout::kStateTileBytes + States::row_offset(k);
      const std::uint32_t C_base = B_base + Layout::kStateTileBytes / 2;
      const auto load_B = [&](int quad, int j) -> float4 {
        if (!kGeneral || p.variable_B) return load_quad(shared, (B_base ^ (quad << 4)) + j * K * Tile::kRowBytes);
        return {B_fixed[j], B_fixed[j], B_fixed[j], B_fixed[j]};
      };
      const auto load_C = [&](int quad, int j) -> float4 {
        if (!kGeneral || p.variable_C) return load_quad(shared, (C_base ^ (quad << 4)) + j * K * Tile::kRowBytes);
        return {C_fixed[j], C_fixed[j], C_fixed[j], C_fixed[j]};
      };

#pragma unroll
      for (int quad = 0; quad + 1 < Tile::kQuads; ++quad) {
        float4 B[J];
#pragma unroll
        for (int j = 0; j < J; ++j) B[j] = load_B(quad, j);
#pragma unroll
        for (int r = 0; r < R; ++r) {
          const std::uint32_t own = stage + (row_base ^ (quad << 4)) + r * Tile::kLaneChannels * Tile::kRowBytes;
          const float4 step = load_quad(shared, delta_slot + own), x = load_quad(shared, u_slot + own);
#pragma unroll
          for (int j = 0; j < J; ++j) {
            float h = start[quad][r][j];
#pragma unroll
            for (int e = 0; e < 4; ++e) h = fmaf(F::transition(omega[r][j], at(step, e)), h, at(x, e) * at(B[j], e));
            start[quad + 1][r][j] = h;
          }
        }
      }

#pragma unroll
      for (int quad = Tile::kQuads - 1; quad >= 0; --quad) {
        const int turn = (Tile::kQuads - 1 - quad) / kQuadsPerSum;
        float4 B[J], C[J];
#pragma unroll
        for (int j = 0; j < J; ++j) {
          B[j] = load_B(quad, j);
          C[j] = load_C(quad, j);
        }
        const std::uint32_t quad_base = stage + (row_base ^ (quad << 4));
        float sums[8 * R], parts[8 * J];  // over states: s1, s2 by (r, e); over channels: dB, dC by (j, e)
#pragma unroll
        for (int r = 0; r < R; ++r) {
          const std::uint32_t own = quad_base + r * Tile::kLaneChannels * Tile::kRowBytes;
          const float4 step = load_quad(shared, delta_slot + own), x = load_quad(shared, u_slot + own),
                       dy = load_quad(shared, dout_slot + own);
#pragma unroll
          for (int j = 0; j < J; ++j) {
            float transition[4], h[5];
            h[0] = start[quad][r][j];
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              transition[e] = F::transition(omega[r][j], at(step, e));
              h[e + 1] = fmaf(transition[e], h[e], at(x, e) * at(B[j], e));
            }
#pragma unroll
            for (int e = 3; e >= 0; --e) {
              const float g_t = fmaf(at(C[j], e), at(dy, e), adjoint[r][j]);
              float& dB = parts[j * 4 + e];
              float& dC = parts[(J + j) * 4 + e];
              float& s1 = sums[r * 4 + e];
              float& s2 = sums[(R + r) * 4 + e];
              dB = r == 0 ? g_t * at(x, e) : fmaf(g_t, at(x, e), dB);
              dC = r == 0 ? at(dy, e) * h[e + 1] : fmaf(at(dy, e), h[e + 1], dC);
              adjoint[r][j] = g_t * transition[e];
              const float w = g_t * F::transition_slope(omega[r][j], at(step, e), transition[e]) * h[e];
              s1 = j == 0 ? g_t * at(B[j], e) : fmaf(g_t, at(B[j], e), s1);
              s2 = j == 0 ? w * omega[r][j] : fmaf(w, omega[r][j], s2);
              A_sum[r][j] = fmaf(w, at(step, e), A_sum[r][j]);
            }
            if constexpr (kGeneral) {
              if (!p.variable_B) B_sum[r][j] += parts[j * 4] + parts[j * 4 + 1] + parts[j * 4 + 2] + parts[j * 4 + 3];
              if (!p.variable_C) {
                const float* const dC = parts + (J + j) * 4;
                C_sum[r][j] += dC[0] + dC[1] + dC[2] + dC[3];
              }
            }
          }
        }

        sum_over_lanes<8 * R, Lanes::kStateBits>(sums, k, [](int bit) { return Lanes::state_mask(bit); });
        {
          float* const target = reinterpret_cast<float*>(
              shared + (kGeneral ? 2 * p.stage_bytes + (row_base ^ (quad << 4)) : quad_base) + sum_target);
          if constexpr (kSumValues == 2) {
            *reinterpret_cast<float2*>(target) = {sums[0], sums[1]};
          } else {
            static_assert(kSumValues == 1);
            *target = kGeneral && pass > 0 ? *target + sums[0] : sums[0];
          }
        }
        if (sums_states) sum_over_lanes<8 * J, Lanes::kChannelBits>(parts, g, [](int bit) { return Lanes::channel_mask(bit); });
        static_assert(8 * J >> Lanes::kChannelBits == 4);
        if (quad % kQuadsPerSum == kQuadsPerSum - 1 && sums_done > 0) {
          // The previous block of quads is complete: its sums can go out, and the buffer before it is free.
          barrier_wait(barriers + 8 * ((sums_done - 1) & 1), (sums_done - 1) >> 1 & 1);
          if (sums_states) {
            reduce((sums_done - 1) & 1, (turn + kSumsPerTile - 1) % kSumsPerTile, last_time, last_pass);
          }
        }
        store_quad(shared,
                   sums_offset + ((sums_done & 1) * warps + warp) * Layout::kSumBytes +
                       (quad % kQuadsPerSum * 32 + lane) * 16,
                   {parts[0], parts[1], parts[2], parts[3]});
        if (quad % kQuadsPerSum == 0) {
          if (quad == 0) wait_copies<0>();
          __syncwarp();
          if (lane == 0) barrier_arrive(barriers + 8 * (sums_done & 1));
          ++sums_done;
          last_time = time + quad * 4;
          last_pass = pass;
        }
      }

      const bool last_of_segment = m % kTilesPerSegment == kTilesPerSegment - 1 || m + 1 == tiles;
      if (last_of_segment) flush(m / kTilesPerSegment, pass);
      if constexpr (kGeneral) keep(pass);
    }

    __syncwarp();
    float4 dstepA[R];
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const std::uint32_t offset = Tile::row_offset(Tile::row(warp, r, g)) ^ (k << 4), own = stage + offset;
      const std::uint32_t sums = kGeneral ? 2 * p.stage_bytes + offset : own;
      const float4 s1 = load_quad(shared, sums + sums1_slot), s2 = load_quad(shared, sums + sums2_slot);
      const float4 u = load_quad(shared, z_slot + own), slope = load_quad(shared, out_slot + own);
      const float4 dt = load_quad(shared, (has_deltaA ? deltaA_slot : delta_slot) + own);
      float4 du, ddelta;
      float bias_part = 0.0f;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float transition_part = F::kSlopeUnit * at(s2, e);
        float dstep = has_deltaA ? 0.0f : transition_part;
        if constexpr (F::kInput == InputFactor::step) {
          at(du, e) = fmaf(at(dt, e), at(s1, e), at(Ddy[r], e));
          dstep = fmaf(at(u, e), at(s1, e), dstep);
        } else {
          at(du, e) = at(s1, e) + at(Ddy[r], e);
        }
        at(ddelta, e) = dstep * at(slope, e);
        at(dstepA[r], e) = transition_part;
        bias_part += at(ddelta, e);
      }
      bias_sum[r] += bias_part;
      if (vector) {
        if (is_valid(r)) {
          const std::uint64_t row = static_cast<std::uint32_t>(clamped_row(r));
          store_streaming(block_row(p.du) + row * p.du.stride_dim + time + 4 * k, du);
          store_streaming(block_row(p.ddelta) + row * p.ddelta.stride_dim + time + 4 * k, ddelta);
          if (has_deltaA) {
            store_streaming(block_row(p.ddeltaA) + row * p.ddeltaA.stride_dim + time + 4 * k, dstepA[r]);
          }
        }
      } else {
        store_quad(shared, u_slot + own, du);
        store_quad(shared, delta_slot + own, ddelta);
        if (has_deltaA) store_quad(shared, deltaA_slot + own, dstepA[r]);
      }
    }
    if (!vector) {
      __syncwarp();
      const auto store = [&](int slot, const TimeOutput& tensor) {
        store_tile<Tile>(shared, stage + slot, block_row(tensor), tensor.stride_dim, last_channel, time, p.seqlen, warp,
                         lane);
      };
      store(u_slot, p.du);
      store(delta_slot, p.ddelta);
      if (has_deltaA) store(deltaA_slot, p.ddeltaA);
      __syncwarp();
    }
    if (m % kTilesPerSegment == kTilesPerSegment - 1 || m + 1 == tiles) flush_channels(m / kTilesPerSegment);
  }

  if (sums_states) {
    barrier_wait(barriers + 8 * ((sums_done - 1) & 1), (sums_done - 1) >> 1 & 1);
    reduce((sums_done - 1) & 1, kSumsPerTile - 1, last_time, last_pass);
  }
  if (p.dh0 != nullptr && split == 0) {
    for (int pass = 0; pass < passes; ++pass) {
      if constexpr (kGeneral) recall(pass);
#pragma unroll
      for (int r = 0; r < R; ++r) {
#pragma unroll
        for (int j = 0; j < J; ++j) {
          const int n = state_index(pass, j);
          if (is_valid(r) && n < p.dstate) {
            p.dh0[((static_cast<std::int64_t>(batch) * p.dim) + first_channel + Tile::row(warp, r, g)) * p.dstate + n] =
                adjoint[r][j];
          }
        }
      }
    }
  }
}

}  // namespace lrnnx::cuda
