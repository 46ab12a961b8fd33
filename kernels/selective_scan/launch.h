// What one discretization's kernels are launched with; instances of launch.cuh define these functions.
#pragma once

#include <cstdint>

#include "lrnnx/lrnnx.h"
#include "selective_scan/tuning.h"

namespace lrnnx::cuda {

// Where the forward keeps what in its workspace, in bytes from its start; it has none if time is not split.
struct ForwardWorkspace {
  std::int64_t carry, state, product;
  std::int64_t bytes;
  std::int64_t tiles_per_split, splits;  // tiles of kSavedSteps
};

// Where the backward keeps what in its workspace, in bytes from its start; a part that is not needed has no bytes.
struct BackwardWorkspace {
  std::int64_t state_sums, A_sums, B_sums, C_sums, D_sums, bias_sums, carry, adjoint, product;
  std::int64_t bytes;
  // How the sums are laid out.
  std::int64_t tiles, tiles_per_split, splits, segments, channel_blocks, passes;
};

std::int64_t saved_bytes(const lrnnx_selective_scan_problem& problem);
ForwardWorkspace forward_workspace(const lrnnx_selective_scan_problem& problem,
                                   const ForwardConfiguration& configuration);
BackwardWorkspace backward_workspace(const lrnnx_selective_scan_problem& problem,
                                     const BackwardConfiguration& configuration);

// How tensors with a time axis are stored.
enum class Storage { floats, halves };

template <class Discretization, Storage storage>
lrnnx_status launch_forward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_forward_args& args,
                            const ForwardConfiguration& configuration, const Device& device);

template <class Discretization, Storage storage>
lrnnx_status launch_backward(const lrnnx_selective_scan_problem& problem,
                             const lrnnx_selective_scan_backward_args& args, const BackwardConfiguration& configuration,
                             const Device& device);

}  // namespace lrnnx::cuda
