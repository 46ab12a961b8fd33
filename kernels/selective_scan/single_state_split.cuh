// Where several warps share one row: what each split of time does to the state (forward) or to the adjoint (backward).
//
// single_state_maps composes the maps of all steps of a split; the scans then start each split from the maps of the
// splits before it, composed in order.
#pragma once

#include <cstdint>

#include "selective_scan/gate.cuh"
#include "selective_scan/single_state_tile.cuh"

namespace lrnnx::cuda::single_state {

struct MapParameters {
  RowTensor inputs[4];  // delta, u or, in the backward, dout, then z (in the backward) and deltaA if given
  RowTensor no_outputs[1];
  const float *A, *B, *C, *delta_bias;
  float2* maps;  // (B, D, splits)
  std::uint32_t rows, dim, channels_per_group;
  InputStages stages;
  std::int32_t seqlen, tiles, tiles_per_split, splits;
  bool has_z, has_deltaA, variable_B, variable_C, softplus, shifted;
};

constexpr int kMapRows = 6;
__host__ __device__ inline int map_shared_bytes(int warps, const InputStages& stages) {
  return warps * (kMapRows * static_cast<int>(sizeof(Row)) + stages.bytes());
}

// The last split of the order needs no map: nothing comes after it.
template <class Discretization, Order kOrder>
__global__ void __launch_bounds__(kMaxWarps * 32, 2) single_state_maps(const __grid_constant__ MapParameters p) {
  using F = Discretization;
  constexpr bool kForward = kOrder == Order::first_lane_first;
  extern __shared__ __align__(16) unsigned char shared[];
  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31, warps = blockDim.x >> 5;
  const std::uint32_t row = blockIdx.x * warps + warp;
  if (row >= p.rows) return;
  const std::uint32_t batch = row / p.dim, channel = row % p.dim;
  const int split = blockIdx.y + (kForward ? 0 : 1);
  const float* const coefficients = kForward ? p.B : p.C;
  const bool variable = kForward ? F::kTakesB && p.variable_B : p.variable_C;

  unsigned char* const warp_shared = shared + map_shared_bytes(warp, p.stages);
  Row* const rows = reinterpret_cast<Row*>(warp_shared);
  const Tiles tiles(rows, p.inputs, p.no_outputs, p.shifted, batch, channel, p.seqlen, lane);
  if (variable) {
    rows[kMapRows - 1] =
        tiles.shared_row(coefficients + static_cast<std::int64_t>(row / p.channels_per_group) * p.seqlen);
  }
  __syncwarp();
  const int first_tile = split * p.tiles_per_split, count = end_of_split(p, split) - first_tile;
  const auto tile_of = [&](int i) {
    if (i >= count) return kNoTile;
    return first_tile + (kForward ? i : count - 1 - i);
  };
  Inputs<2> inputs(p.stages, rows, rows + kMapRows - 1, warp_shared + kMapRows * sizeof(Row), lane);
  inputs.start(tiles, tile_of);

  const float omega = prepared_weight<F>(p.A, channel);
  const float bias = p.delta_bias != nullptr ? p.delta_bias[channel] : 0.0f;
  const float fixed = coefficients != nullptr && !variable ? coefficients[channel] : 1.0f;
  const auto map_tile = [&](const auto& place) {
    Quad k = {fixed, fixed, fixed, fixed};
    if (variable) k = inputs.load_shared(0);
    Quad x = inputs.load(1), step = inputs.load(0);
    Map map = {1.0f, 0.0f};
    if constexpr (kForward) {
      const Quad dt = input_steps<F>(step, bias, p.softplus);
      const Quad stepA = p.has_deltaA ? inputs.load_last() : dt;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const Map one = {F::transition(omega, stepA[e]), F::input(omega, dt[e]) * x[e] * k[e]};
        if (place.holds(e)) map = then(map, one);
      }
    } else {
      step = p.has_deltaA ? inputs.load_last() : input_steps<F>(step, bias, p.softplus);
      if (p.has_z) {
        const Quad z = inputs.load_optional(0);
#pragma unroll
        for (int e = 0; e < 4; ++e) x[e] *= gate(z[e]);
      }
#pragma unroll
      for (int e = 3; e >= 0; --e) {
        const float a = F::transition(omega, step[e]);
        if (place.holds(e)) map = then(map, {a, a * (k[e] * x[e])});
      }
    }
    return map;
  };

  Map all = {1.0f, 0.0f};
  for (int i = 0; i < count; ++i) {
    inputs.wait();
    inputs.copy(tiles, tile_of(i + p.stages.count - 1));
    Map map;
    tiles.visit(tile_of(i), [&](const auto& place) { map = map_tile(place); });
    inputs.release();
    all = then(all, compose_lanes<kOrder>(map));
  }
  if (lane == 0) p.maps[static_cast<std::int64_t>(row) * p.splits + split] = {all.a, all.b};
}

}  // namespace lrnnx::cuda::single_state
