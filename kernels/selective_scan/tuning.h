// Launch configurations of the CUDA selective scan: what can be chosen, how it prints, and a stateless choice by
// problem.
#pragma once

#include <cstdint>
#include <string>

#include "lrnnx/lrnnx.h"
#include "selective_scan/layout.h"

namespace lrnnx::cuda {

struct Device {
  std::int64_t multiprocessors;
  std::int64_t shared_bytes;  // that one block may ask for
};

// The general kernels, with one channel a lane, take what the others do not: more than 16 states, fixed B or C, deltaA.
struct ForwardConfiguration {
  std::int64_t state_lanes;  // lanes that share one channel's states: 8, or 16 with one channel a lane
  std::int64_t channels_per_lane;
  std::int64_t warps;   // a block
  std::int64_t stages;  // tiles of time in flight; rows that are read by lines always take 2
  std::int64_t splits;  // of time; more than one costs a pass for the state that enters each

  static constexpr std::int64_t kStateLanes[] = {8, 16};
  static constexpr std::int64_t kChannelsPerLane[] = {1, 2};
  static constexpr std::int64_t kWarps[] = {4, 8};
  static constexpr std::int64_t kStages[] = {1, 2, 3, 4};
  static constexpr std::int64_t kMaxSplits = 4096;
};

struct BackwardConfiguration {
  std::int64_t channels_per_lane;
  std::int64_t warps;   // a block; 16 with one channel a lane
  std::int64_t splits;  // of time; more than one costs a pass for the adjoint that enters each

  static constexpr std::int64_t kChannelsPerLane[] = {1, 2};
  static constexpr std::int64_t kWarps[] = {4, 8, 16};
  static constexpr std::int64_t kMaxSplits = 4096;
};

// Of the kernels for up to 16 states: complex ones fill a lane's registers with one channel.
std::int64_t most_channels_per_lane(const lrnnx_selective_scan_problem& problem);

bool needs_general_kernel(const lrnnx_selective_scan_problem& problem);

// Which channels of a problem share blocks; not of kernels for a single state.
RowPhase row_phase(const lrnnx_selective_scan_problem& problem);

// Tiles of kSavedSteps steps that a row takes.
std::int64_t time_tiles(const lrnnx_selective_scan_problem& problem);

// Of a row whose forward is split so often: tiles of kSavedSteps that each split but the last takes.
std::int64_t forward_split_tiles(const lrnnx_selective_scan_problem& problem, std::int64_t splits);

// Blocks of so many channels that a batch and group takes.
std::int64_t channel_blocks_of(const lrnnx_selective_scan_problem& problem, std::int64_t block_channels);

// The problem's own configuration if it names one, else the choice for this device. Fails on an unknown key, a value
// that is not allowed, or a configuration that has no kernel.
lrnnx_status configure(const lrnnx_selective_scan_problem& problem, const Device& device,
                       ForwardConfiguration& configuration);
lrnnx_status configure(const lrnnx_selective_scan_problem& problem, const Device& device,
                       BackwardConfiguration& configuration);

// Every key and its values for this problem. Not all have a kernel with each other: real weights take channels=2 with
// lanes=8 and channels=1 with lanes=16 in the forward.
std::string configuration_keys(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction);

std::string to_string(const ForwardConfiguration& configuration);
std::string to_string(const BackwardConfiguration& configuration);

}  // namespace lrnnx::cuda
