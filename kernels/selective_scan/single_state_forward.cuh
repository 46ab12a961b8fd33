// Selective scan forward with one real state a channel: a warp a row, all memory traffic in 16-byte pieces, no
// barriers.
//
// Each lane computes the transition and the input of its four steps and composes them; the warp composes the lanes'
// maps by shuffles, and each lane then runs its steps from the state that enters them. With few rows, several warps
// share one row: single_state_split.cuh gives each the map of the splits before it.
//
// An H100 is bound by memory: 12 bytes an element, 20 with z.
#pragma once

#include <cstdint>

#include "selective_scan/gate.cuh"
#include "selective_scan/single_state_tile.cuh"

namespace lrnnx::cuda::single_state {

struct ForwardParameters {
  RowTensor inputs[4];   // delta, u, then z and deltaA if given
  RowTensor outputs[2];  // out, out_z
  const float *A, *B, *C, *D, *delta_bias, *h0;
  float* last_state;
  // (B, D, saves): the states after the steps 128 k - 4 to 128 k - 1, k = 1, 2, ...; null where not asked for
  Quad* saved;
  const float2* maps;  // (B, D, splits), of each split
  std::uint32_t rows, dim, channels_per_group;
  InputStages stages;
  std::int32_t seqlen, saves, tiles, tiles_per_split, splits;
  bool has_z, has_deltaA, variable_B, variable_C, softplus, shifted;
};

// What a warp keeps of shared memory before its inputs: its rows, and states to be saved, which go out 128 bytes at
// once.
constexpr int kForwardRows = 8;
constexpr int kSavesAtOnce = 8;
constexpr int kForwardWarpBytes = kForwardRows * sizeof(Row) + kSavesAtOnce * sizeof(Quad);

__host__ __device__ inline int forward_shared_bytes(int warps, const InputStages& stages) {
  return warps * (kForwardWarpBytes + stages.bytes());
}

template <class Discretization>
__global__ void __launch_bounds__(kMaxWarps * 32, 2) single_state_forward(const __grid_constant__ ForwardParameters p) {
  wait_for_predecessor();
  using F = Discretization;
  extern __shared__ __align__(16) unsigned char shared[];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, warps = blockDim.x >> 5;
  const std::uint32_t row = blockIdx.x * warps + warp;
  if (row >= p.rows) return;
  const std::uint32_t batch = row / p.dim, channel = row % p.dim;
  const int split = blockIdx.y;
  const bool variable_B = F::kTakesB && p.variable_B, variable_C = p.variable_C;

  unsigned char* const warp_shared = shared + forward_shared_bytes(warp, p.stages);
  Row* const rows = reinterpret_cast<Row*>(warp_shared);
  const Row* const output_rows = rows + 4;
  Row* const shared_rows = rows + 6;
  Quad* const saving = reinterpret_cast<Quad*>(rows + kForwardRows);
  const Tiles tiles(rows, p.inputs, p.outputs, p.shifted, batch, channel, p.seqlen, lane);
  const int shift = tiles.shift();
  const std::int64_t group_row = static_cast<std::int64_t>(row / p.channels_per_group) * p.seqlen;
  if (variable_B) shared_rows[0] = tiles.shared_row(p.B + group_row);
  if (variable_C) shared_rows[variable_B] = tiles.shared_row(p.C + group_row);
  __syncwarp();
  const int first_tile = split * p.tiles_per_split, end_tile = end_of_split(p, split);
  const auto tile_after = [&](int tile, int distance) {
    return tile + distance < end_tile ? tile + distance : kNoTile;
  };
  Inputs<2> inputs(p.stages, rows, shared_rows, warp_shared + kForwardWarpBytes, lane);
  inputs.start(tiles, [&](int i) { return tile_after(first_tile, i); });

  const float omega = prepared_weight<F>(p.A, channel);
  const float D = p.D != nullptr ? p.D[channel] : 0.0f, bias = p.delta_bias != nullptr ? p.delta_bias[channel] : 0.0f;
  const float B_fixed = F::kTakesB && !variable_B ? p.B[channel] : 1.0f, C_fixed = variable_C ? 0.0f : p.C[channel];
  float carry = p.h0 != nullptr ? p.h0[row] : 0.0f;
  carry = pass_splits(p.maps + static_cast<std::int64_t>(row) * p.splits, split, 1, carry, lane);

  const auto step_tile = [&](int tile, const auto& place) {
    Quad B = {B_fixed, B_fixed, B_fixed, B_fixed}, C = {C_fixed, C_fixed, C_fixed, C_fixed};
    if (variable_B) B = inputs.load_shared(0);
    if (variable_C) C = inputs.load_shared(variable_B);
    const Quad u = inputs.load(1), dt = input_steps<F>(inputs.load(0), bias, p.softplus);
    const Quad stepA = p.has_deltaA ? inputs.load_last() : dt;

    float a[4], b[4];
    Map map = {1.0f, 0.0f};
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      a[e] = F::transition(omega, stepA[e]);
      b[e] = F::input(omega, dt[e]) * u[e] * B[e];
      if (!place.holds(e)) a[e] = 1.0f, b[e] = 0.0f;
      map = e == 0 ? Map{a[e], b[e]} : then(map, {a[e], b[e]});
    }
    float h = pass_through<Order::first_lane_first>(map, carry, lane);
    Quad state, out;
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      h = fmaf(a[e], h, b[e]);
      state[e] = h;
      out[e] = h * C[e];
    }
    if (p.D != nullptr) {
#pragma unroll
      for (int e = 0; e < 4; ++e) out[e] = fmaf(D, u[e], out[e]);
    }
    store_quad(output_rows[0], place, out);
    if (p.has_z) {
      const Quad z = inputs.load_optional(0);
#pragma unroll
      for (int e = 0; e < 4; ++e) out[e] *= gate(z[e]);
      store_quad(output_rows[1], place, out);
    }
    return state;
  };

  for (int tile = first_tile; tile < end_tile; ++tile) {
    inputs.wait();
    inputs.copy(tiles, tile_after(tile, p.stages.count - 1));
    Quad state;
    tiles.visit(tile, [&](const auto& place) { state = step_tile(tile, place); });
    inputs.release();

    if (p.saved != nullptr) {
      // The four states before a multiple of 128 steps lie in the last lane, of a shifted row the last `shift` of them
      // in the first lane of the next tile.
      Quad* const saved = p.saved + static_cast<std::int64_t>(row) * p.saves;
      if (shift == 0) {
        const int in_batch = tile % kSavesAtOnce;
        if (lane == 31) saving[in_batch] = state;
        if (in_batch == kSavesAtOnce - 1 || tile + 1 == end_tile) {
          __syncwarp();
          const int save = tile - in_batch + lane;
          if (lane <= in_batch && save >= first_tile && save < p.saves) saved[save] = saving[lane];
          __syncwarp();
        }
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (e >= shift && lane == 31 && tile < p.saves) saved[tile].steps[e - shift] = state[e];
          if (e < shift && lane == 0 && tile > 0 && tile <= p.saves) saved[tile - 1].steps[4 - shift + e] = state[e];
        }
      }
    }
  }
  if (p.last_state != nullptr && end_tile == p.tiles && lane == 0) p.last_state[row] = carry;
}

}  // namespace lrnnx::cuda::single_state
