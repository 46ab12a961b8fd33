// The selective scan with one real state a channel on CUDA: its launch configurations, the memory that it needs, and
// the launches of one discretization. Instances of single_state_launch.cuh define the templates.
#pragma once

#include <cstdint>
#include <string>

#include "lrnnx/lrnnx.h"
#include "selective_scan/single_state_layout.h"
#include "selective_scan/tuning.h"

namespace lrnnx::cuda {

// Whether the problem is one for these kernels.
bool has_single_state(const lrnnx_selective_scan_problem& problem);

struct SingleStateConfiguration {
  std::int64_t rows;    // a block, one a warp; in the backward they share their sums for a variable B and C
  std::int64_t stages;  // tiles of time in flight
  std::int64_t splits;  // of time; more than one costs a pass over the inputs for what enters each

  static constexpr std::int64_t kRows[] = {4, 5, 6, 7, 8, 9, 10, 11, 12};
  static constexpr std::int64_t kStages[] = {2, 3, 4};
  static constexpr std::int64_t kMaxSplits = 4096;
};

// The problem's own configuration if it names one, else the choice for this device. Fails on an unknown key or a value
// that is not allowed.
lrnnx_status configure(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction, const Device& device,
                       SingleStateConfiguration& configuration);

// Every key and its values.
std::string single_state_configuration_keys(const lrnnx_selective_scan_problem& problem);

std::string to_string(const SingleStateConfiguration& configuration);

// How a problem is cut into tiles, and where the parts of the workspace begin, in bytes.
struct SingleStatePlan {
  std::int64_t tiles_per_split, splits;
  std::int64_t saves;  // of each row
  // Of the backward: the rows that a sum over channels is over, and how blocks share them.
  std::int64_t batch_groups, rows_a_group, groups_a_block, rows_a_part, parts, kinds, padded_seqlen, blocks;
  std::int64_t maps, step_sums;
  std::int64_t time_sums[single_state::TimeSum::kCount];  // -1 where not needed
  std::int64_t saved_bytes, workspace_bytes;
};
SingleStatePlan plan_single_state(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                                  const SingleStateConfiguration& configuration);

lrnnx_memory single_state_memory(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                                 const SingleStateConfiguration& configuration);

template <class Discretization>
lrnnx_status launch_single_state_forward(const lrnnx_selective_scan_problem& problem,
                                         const lrnnx_selective_scan_forward_args& args,
                                         const SingleStateConfiguration& configuration, const Device& device);

template <class Discretization>
lrnnx_status launch_single_state_backward(const lrnnx_selective_scan_problem& problem,
                                          const lrnnx_selective_scan_backward_args& args,
                                          const SingleStateConfiguration& configuration, const Device& device);

}  // namespace lrnnx::cuda
