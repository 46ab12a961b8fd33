// The CUDA backend's host side: the device, the memory that a call needs, and the dispatch by discretization.
#ifdef LRNNX_WITH_CUDA
#include <cuda_runtime_api.h>

#include <type_traits>

#include "common/cuda_status.h"
#include "common/error.h"
#include "common/half.h"
#include "common/integers.h"
#include "discretization/functors.h"
#include "selective_scan/cuda.h"
#include "selective_scan/launch.h"
#include "selective_scan/layout.h"
#include "selective_scan/single_state.h"
#include "selective_scan/tuning.h"

namespace lrnnx {
namespace cuda {
namespace {

lrnnx_status current_device(Device& device) {
  int ordinal = 0, multiprocessors = 0, shared_bytes = 0;
  cudaError_t error = cudaGetDevice(&ordinal);
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&multiprocessors, cudaDevAttrMultiProcessorCount, ordinal);
  }
  if (error == cudaSuccess) {
    error = cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, ordinal);
  }
  if (error != cudaSuccess) return fail_cuda(error, "querying the current CUDA device");
  device = {.multiprocessors = multiprocessors, .shared_bytes = shared_bytes};
  return LRNNX_OK;
}

// The launch that a configuration belongs to.
template <class F>
lrnnx_status launch_forward_of(const lrnnx_selective_scan_problem& problem,
                               const lrnnx_selective_scan_forward_args& args, const ForwardConfiguration& configuration,
                               const Device& device) {
  if constexpr (std::is_same_v<typename F::Weight, float>) {
    if (is_half(problem.dtype)) return launch_forward<F, Storage::halves>(problem, args, configuration, device);
  }
  return launch_forward<F, Storage::floats>(problem, args, configuration, device);
}
template <class F>
lrnnx_status launch_forward_of(const lrnnx_selective_scan_problem& problem,
                               const lrnnx_selective_scan_forward_args& args,
                               const SingleStateConfiguration& configuration, const Device& device) {
  using Real = typename RealOf<F>::type;
  return launch_single_state_forward<Real>(problem, args, configuration, device);
}
template <class F>
lrnnx_status launch_backward_of(const lrnnx_selective_scan_problem& problem,
                                const lrnnx_selective_scan_backward_args& args,
                                const BackwardConfiguration& configuration, const Device& device) {
  if constexpr (std::is_same_v<typename F::Weight, float>) {
    if (is_half(problem.dtype)) return launch_backward<F, Storage::halves>(problem, args, configuration, device);
  }
  return launch_backward<F, Storage::floats>(problem, args, configuration, device);
}
template <class F>
lrnnx_status launch_backward_of(const lrnnx_selective_scan_problem& problem,
                                const lrnnx_selective_scan_backward_args& args,
                                const SingleStateConfiguration& configuration, const Device& device) {
  using Real = typename RealOf<F>::type;
  return launch_single_state_backward<Real>(problem, args, configuration, device);
}

std::int64_t weight_floats(const lrnnx_selective_scan_problem& problem) { return problem.dtype == LRNNX_C64 ? 2 : 1; }

// Whether the product of a split's transitions follows from the sum of its steps.
bool steps_add(const lrnnx_selective_scan_problem& problem) {
  bool add = false;
  with_functor(problem, [&](auto functor) {
    add = decltype(functor)::kStepsAdd;
    return LRNNX_OK;
  });
  return add;
}

// Lays out a workspace: each part begins where the one before it ends, at a multiple of 256 bytes.
class Reserver {
 public:
  explicit Reserver(std::int64_t& bytes) : bytes_(bytes) {}

  std::int64_t operator()(std::int64_t floats) {
    const std::int64_t offset = bytes_;
    bytes_ += round_up(floats * 4, 256);
    return offset;
  }

 private:
  std::int64_t& bytes_;
};

}  // namespace

std::int64_t saved_bytes(const lrnnx_selective_scan_problem& problem) {
  return problem.batch * time_tiles(problem) * problem.dim * problem.dstate * weight_floats(problem) * 4;
}

ForwardWorkspace forward_workspace(const lrnnx_selective_scan_problem& problem,
                                   const ForwardConfiguration& configuration) {
  const std::int64_t tiles = time_tiles(problem);
  ForwardWorkspace workspace = {};
  workspace.tiles_per_split = forward_split_tiles(problem, configuration.splits);
  workspace.splits = ceil_div(tiles, workspace.tiles_per_split);
  if (workspace.splits == 1) return workspace;
  Reserver reserve(workspace.bytes);
  const std::int64_t channels = problem.batch * workspace.splits * problem.dim;
  const std::int64_t weights = channels * problem.dstate * weight_floats(problem);
  workspace.carry = reserve(weights);
  workspace.state = reserve(weights);
  workspace.product = reserve(steps_add(problem) ? channels : weights);
  return workspace;
}

BackwardWorkspace backward_workspace(const lrnnx_selective_scan_problem& problem,
                                     const BackwardConfiguration& configuration) {
  BackwardWorkspace workspace = {};
  workspace.tiles = time_tiles(problem);
  workspace.tiles_per_split = ceil_div(workspace.tiles, configuration.splits);
  workspace.splits = ceil_div(workspace.tiles, workspace.tiles_per_split);
  workspace.segments = ceil_div(workspace.tiles_per_split, kTilesPerSegment);
  workspace.channel_blocks = channel_blocks_of(problem, 4 * configuration.channels_per_lane * configuration.warps);
  workspace.passes = ceil_div(problem.dstate, kStatesPerPass);

  Reserver reserve(workspace.bytes);
  const bool variable_B = problem.options & LRNNX_VARIABLE_B, variable_C = problem.options & LRNNX_VARIABLE_C;
  const std::int64_t weights = problem.dim * problem.dstate * weight_floats(problem);
  const std::int64_t parts = problem.batch * workspace.splits * workspace.segments;
  const std::int64_t splits = workspace.splits > 1 ? problem.batch * workspace.splits : 0;
  const bool sums_blocks = workspace.channel_blocks > 1 && (variable_B || variable_C);
  workspace.state_sums =
      reserve(sums_blocks ? problem.batch * problem.groups * workspace.channel_blocks * workspace.tiles *
                                kBackwardQuads * workspace.passes * 32 * 4 * weight_floats(problem)
                          : 0);
  workspace.A_sums = reserve(parts * weights);
  workspace.B_sums = reserve(variable_B ? 0 : parts * weights);
  workspace.C_sums = reserve(variable_C ? 0 : parts * weights);
  workspace.D_sums = reserve(problem.options & LRNNX_HAS_D ? parts * problem.dim : 0);
  workspace.bias_sums = reserve(problem.options & LRNNX_HAS_DELTA_BIAS ? parts * problem.dim : 0);
  workspace.carry = reserve(splits * weights);
  workspace.adjoint = reserve(splits * weights);
  workspace.product = reserve(splits * (steps_add(problem) ? problem.dim : weights));
  return workspace;
}

}  // namespace cuda

namespace {

// Calls visit(configuration, device) with the configuration that the problem's kernels of one direction take.
template <lrnnx_direction direction, class Visit>
lrnnx_status with_configuration(const lrnnx_selective_scan_problem& problem, Visit visit) {
  cuda::Device device;
  if (const lrnnx_status status = cuda::current_device(device); status != LRNNX_OK) return status;
  if (cuda::has_single_state(problem)) {
    cuda::SingleStateConfiguration configuration;
    const lrnnx_status status = cuda::configure(problem, direction, device, configuration);
    return status == LRNNX_OK ? visit(configuration, device) : status;
  }
  std::conditional_t<direction == LRNNX_FORWARD, cuda::ForwardConfiguration, cuda::BackwardConfiguration> configuration;
  const lrnnx_status status = cuda::configure(problem, device, configuration);
  return status == LRNNX_OK ? visit(configuration, device) : status;
}

// For a direction that is known at run time.
template <class Visit>
lrnnx_status with_configuration(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction, Visit visit) {
  return direction == LRNNX_FORWARD ? with_configuration<LRNNX_FORWARD>(problem, visit)
                                    : with_configuration<LRNNX_BACKWARD>(problem, visit);
}

lrnnx_memory memory_of(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                       const cuda::SingleStateConfiguration& configuration) {
  return cuda::single_state_memory(problem, direction, configuration);
}
lrnnx_memory memory_of(const lrnnx_selective_scan_problem& problem, lrnnx_direction,
                       const cuda::ForwardConfiguration& configuration) {
  return {.saved_bytes = problem.options & LRNNX_SAVE_FOR_BACKWARD ? cuda::saved_bytes(problem) : 0,
          .workspace_bytes = cuda::forward_workspace(problem, configuration).bytes};
}
lrnnx_memory memory_of(const lrnnx_selective_scan_problem& problem, lrnnx_direction,
                       const cuda::BackwardConfiguration& configuration) {
  return {.saved_bytes = cuda::saved_bytes(problem),
          .workspace_bytes = cuda::backward_workspace(problem, configuration).bytes};
}

}  // namespace

lrnnx_status selective_scan_cuda_memory(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                                        lrnnx_memory& memory) {
  memory = {};
  return with_configuration(problem, direction, [&](const auto& configuration, const cuda::Device&) {
    memory = memory_of(problem, direction, configuration);
    return LRNNX_OK;
  });
}

lrnnx_status selective_scan_cuda_configuration(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                                               std::string& text) {
  return with_configuration(problem, direction, [&](const auto& configuration, const cuda::Device&) {
    text = cuda::to_string(configuration);
    return LRNNX_OK;
  });
}

// Asks no device.
lrnnx_status selective_scan_cuda_configuration_keys(const lrnnx_selective_scan_problem& problem,
                                                    lrnnx_direction direction, std::string& text) {
  text = cuda::has_single_state(problem) ? cuda::single_state_configuration_keys(problem)
                                         : cuda::configuration_keys(problem, direction);
  return LRNNX_OK;
}

lrnnx_status selective_scan_cuda_forward(const lrnnx_selective_scan_problem& problem,
                                         const lrnnx_selective_scan_forward_args& args) {
  return with_configuration<LRNNX_FORWARD>(problem, [&](const auto& configuration, const cuda::Device& device) {
    return with_functor(problem, [&](auto functor) {
      return cuda::launch_forward_of<decltype(functor)>(problem, args, configuration, device);
    });
  });
}

lrnnx_status selective_scan_cuda_backward(const lrnnx_selective_scan_problem& problem,
                                          const lrnnx_selective_scan_backward_args& args) {
  return with_configuration<LRNNX_BACKWARD>(problem, [&](const auto& configuration, const cuda::Device& device) {
    return with_functor(problem, [&](auto functor) {
      return cuda::launch_backward_of<decltype(functor)>(problem, args, configuration, device);
    });
  });
}

}  // namespace lrnnx
#endif
