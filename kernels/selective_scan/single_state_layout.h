// What host and device agree on about the scans with one state a channel.
#pragma once

namespace lrnnx::cuda::single_state {

// Steps of a warp's tile. The forward saves states at its multiples for the backward.
constexpr int kTileSteps = 128;

// Sums over time, by what they sum: the gradients of omega through the transition and through the input factor, and
// those of a fixed B, a fixed C, D and delta_bias.
struct TimeSum {
  enum : int { kTransition, kInput, kB, kC, kD, kBias, kCount };
};

}  // namespace lrnnx::cuda::single_state
