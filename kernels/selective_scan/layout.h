// What host and device agree on about the selective scan's tiles and buffers.
#pragma once

#include <cstdint>

namespace lrnnx::cuda {

// States that one pass over a tile holds in registers; more states take more passes.
constexpr int kStatesPerPass = 16;
// The state before every kSavedSteps-th step is what the forward saves for the backward: (B, ceil(steps / 32), D, N),
// with the steps of RowPhase.
constexpr int kSavedSteps = 32;
// State lanes of the backward, whose tile is kSavedSteps long.
constexpr int kBackwardStateLanes = 8;
constexpr int kBackwardQuads = kSavedSteps / 4;
// The backward hands its sums over time to the workspace every so many tiles: short sums keep rounding errors small.
constexpr int kTilesPerSegment = 16;

// Rows of a length that is no multiple of 4 begin anywhere within a unit of 4, 8 or 16 floats, up to 64 bytes; but
// those `channel_step` channels apart begin alike. So a block takes such channels, and its tiles begin at the unit that
// its rows begin in, `lead` steps before them. That depends on the problem alone, whatever the strides: what the
// forward saves lies at the ends of these tiles. With a channel_step of 1 tiles begin with the rows.
struct RowPhase {
  std::int32_t channel_step = 1, unit = 1;

  // Steps of all tiles, at least: the longest lead, and a row's whole quads.
  std::int64_t steps(std::int64_t seqlen) const { return channel_step == 1 ? seqlen : (seqlen + 3) / 4 * 4 + unit - 1; }
};

}  // namespace lrnnx::cuda
