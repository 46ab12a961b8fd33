// Selective scan backward with one real state a channel: a warp a row, tiles of 128 steps from the last to the first.
//
// For each tile, from the state that the forward saved, a scan from the left rebuilds the states and one from the right
// gives the adjoints,
//     g_t = C_t dy_t + q_{t+1},   q_t = a_t g_t,   w_t = g_t h_{t-1} slope_t
// and each lane turns those of its four steps into gradients. Nothing is divided by a transition.
//
// The gradients of a variable B and C sum over the channels of a group: the warps of a block walk in step, put their
// parts of a tile into shared memory and meet at one barrier a tile; one warp then adds each tensor's rows in order.
// Sums over time stay in the lanes' registers. Every sum has a fixed order; single_state_finalize.cuh adds what blocks
// and splits leave in the workspace.
//
// Cost an element: about 113 issue slots (s7), against 20 bytes of traffic (32 with z): bound by latency and memory.
#pragma once

#include <cstdint>

#include "common/hold.cuh"
#include "selective_scan/gate.cuh"
#include "selective_scan/single_state_tile.cuh"

namespace lrnnx::cuda::single_state {

struct BackwardParameters {
  RowTensor inputs[6];   // delta, u, dout, then z and out, and deltaA, if given
  RowTensor outputs[4];  // du, ddelta, dz, ddeltaA
  const float *A, *B, *C, *D, *delta_bias, *h0, *dlast_state;
  const Quad* saved;
  const float2* maps;  // (B, D, splits), of each split on the adjoint
  float* dh0;
  float* time_sums[TimeSum::kCount];  // (B, splits, D); null where not needed
  // Sums over the block's channels: (B G, parts, kinds, padded_seqlen), or, with one part, dB and dC themselves.
  float* step_sums;
  float *dB, *dC;
  std::int64_t padded_seqlen;
  std::uint32_t dim, channels_per_group;
  std::uint32_t batch_groups, rows_a_group;  // of the rows that a sum is over; without step sums one of all rows
  std::uint32_t groups_a_block, rows_a_part, parts;
  InputStages stages;
  std::int32_t seqlen, saves, tiles, tiles_per_split, splits;
  bool has_z, has_deltaA, variable_B, variable_C, softplus, shifted;
};

// Steps of the ring in which a warp keeps its part of dB or dC: those of the tile that is being summed, of the next,
// and of the three by which rows may be shifted.
constexpr int kRingSteps = 2 * kTileSteps + 4;

constexpr int kBackwardMaxWarps = 12;
constexpr int kBackwardRows = 12;

// Of each warp, in this order: its rows, B and C that do not vary, its inputs, and its rings, of B and then of C.
constexpr int kBackwardInputsOffset = kBackwardRows * sizeof(Row) + 2 * sizeof(Quad);
__host__ __device__ inline int backward_warp_bytes(const InputStages& stages) {
  return kBackwardInputsOffset + stages.bytes() + stages.shared * kRingSteps * 4;
}
__host__ __device__ inline int backward_shared_bytes(int warps, const InputStages& stages) {
  return warps * backward_warp_bytes(stages);
}

// A position in the ring, from one ring before its start to one behind its end.
__device__ __forceinline__ int wrap(int position) {
  if (position < 0) position += kRingSteps;
  return position >= kRingSteps ? position - kRingSteps : position;
}

__device__ __forceinline__ void put_in_ring(float* ring, int position, int shift, const Quad& quad) {
  if (shift == 0) {
    *reinterpret_cast<Quad*>(ring + position) = quad;
  } else {
#pragma unroll
    for (int e = 0; e < 4; ++e) ring[position + e < kRingSteps ? position + e : position + e - kRingSteps] = quad[e];
  }
}

template <class Discretization>
__global__ void __launch_bounds__(kBackwardMaxWarps * 32, 2)
    single_state_backward(const __grid_constant__ BackwardParameters p) {
  wait_for_predecessor();
  using F = Discretization;
  extern __shared__ __align__(16) unsigned char shared[];
  const int warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
  std::uint32_t held_lane = threadIdx.x & 31;
  hold(held_lane);  // as the warp's offset below: computed anew in each tile they cost more than their registers
  const int lane = static_cast<int>(held_lane);
  const int split = blockIdx.y;

  const bool variable_B = F::kTakesB && p.variable_B, variable_C = p.variable_C;
  const int kinds = p.stages.shared;

  // The block's first group of rows, the warp's among them, and its row in that. A warp without a row takes another's,
  // of which its tiles then hold nothing.
  const std::uint32_t part = blockIdx.x % p.parts, block_group = blockIdx.x / p.parts * p.groups_a_block;
  const std::uint32_t local_group = warp / p.rows_a_part;
  const std::uint32_t row_in_group = part * p.rows_a_part + warp % p.rows_a_part;
  const bool active =
      local_group < p.groups_a_block && block_group + local_group < p.batch_groups && row_in_group < p.rows_a_group;
  const std::uint32_t row = active ? (block_group + local_group) * p.rows_a_group + row_in_group : 0;
  const std::uint32_t batch = row / p.dim, channel = row % p.dim;

  const int warp_bytes = backward_warp_bytes(p.stages);
  std::uint32_t warp_offset = warp * warp_bytes;
  hold(warp_offset);
  unsigned char* const warp_shared = shared + warp_offset;
  Row* const rows = reinterpret_cast<Row*>(warp_shared);
  const Row* const output_rows = rows + 6;
  Row* const shared_rows = rows + 10;
  Quad* const fixed = reinterpret_cast<Quad*>(rows + kBackwardRows);  // B and C that do not vary
  const Tiles tiles(rows, p.inputs, p.outputs, p.shifted, batch, channel, active ? p.seqlen : 0, lane);
  const int shift = tiles.shift();
  const std::int64_t group_row = static_cast<std::int64_t>(row / p.channels_per_group) * p.seqlen;
  if (variable_B) shared_rows[0] = tiles.shared_row(p.B + group_row);
  if (variable_C) shared_rows[variable_B] = tiles.shared_row(p.C + group_row);
  __syncwarp();
  const int first_tile = split * p.tiles_per_split, last_tile = end_of_split(p, split) - 1;
  const auto tile_before = [&](int tile, int distance) {
    return tile - distance >= first_tile ? tile - distance : kNoTile;
  };
  Inputs<3> inputs(p.stages, rows, shared_rows, warp_shared + kBackwardInputsOffset, lane);
  inputs.start(tiles, [&](int i) { return tile_before(last_tile, i); });

  const float omega = prepared_weight<F>(p.A, channel);
  const float D = p.D != nullptr ? p.D[channel] : 0.0f, bias = p.delta_bias != nullptr ? p.delta_bias[channel] : 0.0f;
  const float B_fixed = F::kTakesB && !variable_B ? p.B[channel] : 1.0f, C_fixed = variable_C ? 0.0f : p.C[channel];
  // The state before a tile, which the first lane needs, and before the next one to come: loaded while warps wait for
  // each other.
  const auto load_state = [&](int tile) {
    if (tile == 0) return p.h0 != nullptr ? p.h0[row] : 0.0f;
    // With no sign, and so in fewer instructions; a tile has no more before it than were saved.
    const std::uint64_t save = static_cast<std::uint64_t>(row) * static_cast<std::uint32_t>(p.saves) + (tile - 1);
    return p.saved[save].steps[3 - shift];
  };
  float next_state = load_state(last_tile);
  float adjoint = p.dlast_state != nullptr ? p.dlast_state[row] : 0.0f;
  adjoint = pass_splits(p.maps + static_cast<std::int64_t>(row) * p.splits + p.splits - 1, p.splits - 1 - split, -1,
                        adjoint, lane);
  float sums[TimeSum::kCount] = {};

  // Where the warp's parts of the sums over channels go, the position there of the tile's first step, not counting the
  // shift, and that of the lane's quad.
  const int rings_offset = kBackwardInputsOffset + p.stages.bytes();
  float* const B_ring = reinterpret_cast<float*>(warp_shared + rings_offset);
  float* const C_ring = B_ring + variable_B * kRingSteps;
  int ring_start = 0, position = wrap(4 * lane - shift);

  if (lane == 0) {
    fixed[0] = {B_fixed, B_fixed, B_fixed, B_fixed};
    fixed[1] = {C_fixed, C_fixed, C_fixed, C_fixed};
  }
  __syncwarp();
  const auto load_B = [&] {
    return F::kTakesB ? inputs.load_shared_or(variable_B, 0, fixed) : Quad{1.0f, 1.0f, 1.0f, 1.0f};
  };
  const auto load_C = [&] { return inputs.load_shared_or(variable_C, variable_B, fixed + 1); };
  const auto step_tile = [&](const auto& place) {
    const auto masked = [&](Quad quad) {
#pragma unroll
      for (int e = 0; e < 4; ++e) quad[e] = place.holds(e) ? quad[e] : 0.0f;
      return quad;
    };
    const auto sum_of = [&](const Quad& quad) {
      const Quad held = masked(quad);
      return (held[0] + held[1]) + (held[2] + held[3]);
    };
    const Quad dt = input_steps<F>(inputs.load(0), bias, p.softplus);
    const auto load_stepA = [&] { return p.has_deltaA ? inputs.load_last() : dt; };
    float a[4], factor[4];
    Map forward, backward;
    {
      const Quad stepA = load_stepA(), u = inputs.load(1), B = load_B();
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        factor[e] = F::input(omega, dt[e]);
        a[e] = place.holds(e) ? F::transition(omega, stepA[e]) : 1.0f;
        const Map one = {a[e], place.holds(e) ? factor[e] * u[e] * B[e] : 0.0f};
        forward = e == 0 ? one : then(forward, one);
      }
    }
    {
      Quad dy = masked(inputs.load(2));
      if (p.has_z) {
        const Quad z = inputs.load_optional(0), out = inputs.load_optional(1);
        Quad dz;
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const ValueAndSlope gated = gate_and_slope(z[e]);
          dz[e] = dy[e] * out[e] * gated.slope;
          dy[e] *= gated.value;
        }
        dy = masked(dy);
        inputs.replace(2, dy);
        store_quad(output_rows[2], place, dz);
      }
      const Quad C = masked(load_C());  // before the row it is another row's, and 0 times a NaN no identity
#pragma unroll
      for (int e = 3; e >= 0; --e) {
        const Map one = {a[e], a[e] * (C[e] * dy[e])};
        backward = e == 3 ? one : then(backward, one);
      }
    }
    float h[4];  // before each step
    h[0] = pass_through<Order::first_lane_first>(forward, next_state, lane);
    float q = pass_through<Order::last_lane_first>(backward, adjoint, lane);

    // Registers are short: what is needed again is read again, with options of the step twice.
    asm volatile("" ::: "memory");
    Quad u = inputs.load(1), dy = masked(inputs.load(2)), B = load_B();
    const auto read_again = [&] {
      if constexpr (!F::kTakesStepOptions) return;
      asm volatile("" ::: "memory");
      u = inputs.load(1);
      dy = masked(inputs.load(2));
      B = load_B();
    };
    {
      Quad dC;
      float state = h[0];
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        h[e] = state;
        state = fmaf(a[e], state, place.holds(e) ? factor[e] * u[e] * B[e] : 0.0f);
        dC[e] = dy[e] * state;
      }
      if (variable_C) {
        put_in_ring(C_ring, position, shift, dC);
      } else {
        sums[TimeSum::kC] += sum_of(dC);
      }
    }
    float g[4];  // the adjoint of the state after each step
    {
      const Quad C = masked(load_C());
#pragma unroll
      for (int e = 3; e >= 0; --e) {
        g[e] = fmaf(C[e], dy[e], q);
        q = a[e] * g[e];
      }
    }
    read_again();
    if (F::kTakesB) {
      Quad dB;
#pragma unroll
      for (int e = 0; e < 4; ++e) dB[e] = g[e] * (factor[e] * u[e]);
      if (variable_B) {
        put_in_ring(B_ring, position, shift, dB);
      } else {
        sums[TimeSum::kB] += sum_of(dB);
      }
    }
    Quad ddelta;
    {
      const Quad stepA = load_stepA();
      Quad ddeltaA;
      float dA = 0.0f;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const float w = g[e] * F::transition_slope(omega, stepA[e], a[e]) * h[e];
        dA += place.holds(e) ? w * stepA[e] : 0.0f;
        ddeltaA[e] = F::kSlopeUnit * (w * omega);
        ddelta[e] = p.has_deltaA ? 0.0f : ddeltaA[e];
      }
      if constexpr (F::kUsesA) sums[TimeSum::kTransition] += dA;
      if (p.has_deltaA) store_quad(output_rows[3], place, ddeltaA);
    }
    if constexpr (F::kInput == InputFactor::per_state) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const InputSlopes<float> slopes = F::input_slopes(omega, dt[e]);
        const float by_factor = g[e] * (B[e] * u[e]);
        ddelta[e] = fmaf(by_factor, slopes.by_step, ddelta[e]);
        sums[TimeSum::kInput] += place.holds(e) ? by_factor * slopes.by_omega : 0.0f;
      }
    } else if constexpr (F::kInput == InputFactor::step) {
#pragma unroll
      for (int e = 0; e < 4; ++e) ddelta[e] = fmaf(g[e], B[e] * u[e], ddelta[e]);
    }
    Quad du;
#pragma unroll
    for (int e = 0; e < 4; ++e) du[e] = g[e] * (factor[e] * B[e]);
    if (p.D != nullptr) {
      Quad dD;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        du[e] = fmaf(D, dy[e], du[e]);
        dD[e] = dy[e] * u[e];
      }
      sums[TimeSum::kD] += sum_of(dD);
    }
    store_quad(output_rows[0], place, du);
    if constexpr (F::kTakesStepOptions) {
      if (p.softplus) {
        const Quad delta = inputs.load(0);
#pragma unroll
        for (int e = 0; e < 4; ++e) ddelta[e] *= sigmoid(delta[e] + bias);
      }
      if (p.delta_bias != nullptr) sums[TimeSum::kBias] += sum_of(ddelta);
    }
    store_quad(output_rows[1], place, ddelta);
  };

  // Adds the warps' parts of this tile's steps [128 tile, 128 tile + 128) up and writes them.
  const auto sum_channels = [&](int tile, int job) {
    const int local = kinds == 2 ? job >> 1 : job, kind = kinds == 2 ? job & 1 : 0;
    const std::int64_t group = static_cast<std::int64_t>(block_group) + local;
    const int step = tile * kTileSteps + 4 * lane;
    if (group >= p.batch_groups || step >= p.seqlen) return;
    const int count = min(p.rows_a_part, p.rows_a_group - part * p.rows_a_part);
    const unsigned char* const ring = shared + local * static_cast<int>(p.rows_a_part) * warp_bytes + rings_offset +
                                      (kind * kRingSteps + wrap(ring_start + 4 * lane)) * 4;
    Quad total = *reinterpret_cast<const Quad*>(ring);
#pragma unroll 4
    for (int w = 1; w < count; ++w) {
      const Quad other = *reinterpret_cast<const Quad*>(ring + w * warp_bytes);
#pragma unroll
      for (int e = 0; e < 4; ++e) total[e] += other[e];
    }
    float* const target = (p.parts > 1 ? p.step_sums + ((group * p.parts + part) * kinds + kind) * p.padded_seqlen
                                       : (kind == 0 && variable_B ? p.dB : p.dC) + group * p.seqlen) +
                          step;
    if (p.parts > 1) {  // rows of the workspace are padded
      store_kept(target, total.as_float4());
    } else if (reinterpret_cast<std::uintptr_t>(target) % 16 == 0 && step + 4 <= p.seqlen) {
      *reinterpret_cast<Quad*>(target) = total;
    } else {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if (step + e < p.seqlen) target[e] = total[e];
      }
    }
  };
  int turn = warp;

  for (int tile = last_tile; tile >= first_tile; --tile) {
    inputs.wait();
    inputs.copy(tiles, tile_before(tile, p.stages.count - 1));
    tiles.visit(tile, step_tile);
    if (tile > first_tile) next_state = load_state(tile - 1);
    inputs.release();
    if (kinds > 0) {
      // All warps have put their parts of this tile, and shifted rows those of its last steps a tile ago. Each sum is
      // one warp's, by turns. The barrier of the next tile keeps what is being read from being overwritten.
      __syncthreads();
      for (int job = turn; job < static_cast<int>(p.groups_a_block) * kinds; job += warps) sum_channels(tile, job);
      turn = turn + kinds >= warps ? turn + kinds - warps : turn + kinds;
      ring_start = wrap(ring_start - kTileSteps);
      position = wrap(position - kTileSteps);
    }
  }

  if (!active) return;
#pragma unroll
  for (int kind = 0; kind < TimeSum::kCount; ++kind) {
    if (p.time_sums[kind] == nullptr) continue;
    const float sum = sum_over_warp(sums[kind]);
    if (lane == 0) p.time_sums[kind][(static_cast<std::int64_t>(batch) * p.splits + split) * p.dim + channel] = sum;
  }
  if (p.dh0 != nullptr && split == 0 && lane == 0) p.dh0[row] = adjoint;
}

}  // namespace lrnnx::cuda::single_state
