// What host and device agree on about the selective scan's tiles and buffers.
#pragma once

namespace lrnnx::cuda {

// States that one pass over a tile holds in registers; more states take more passes.
constexpr int kStatesPerPass = 16;
// The state before every kSavedSteps-th step is what the forward saves for the backward: (B, ceil(L / 32), D, N).
constexpr int kSavedSteps = 32;
// State lanes of the backward, whose tile is kSavedSteps long.
constexpr int kBackwardStateLanes = 8;
constexpr int kBackwardQuads = kSavedSteps / 4;
// The backward hands its sums over time to the workspace every so many tiles: short sums keep rounding errors small.
constexpr int kTilesPerSegment = 16;

}  // namespace lrnnx::cuda
