// The CUDA backend's host side: the device, the memory that a call needs, and the dispatch by discretization.
#ifdef LRNNX_WITH_CUDA
#include <cuda_runtime_api.h>

#include "common/cuda_status.h"
#include "common/error.h"
#include "discretization/mamba.h"
#include "selective_scan/cuda.h"
#include "selective_scan/launch.h"
#include "selective_scan/layout.h"
#include "selective_scan/tuning.h"

namespace lrnnx {
namespace cuda {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

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

template <class Configuration>
lrnnx_status configure_here(const lrnnx_selective_scan_problem& problem, Device& device, Configuration& configuration) {
  const lrnnx_status status = current_device(device);
  return status == LRNNX_OK ? configure(problem, device, configuration) : status;
}

}  // namespace

std::int64_t saved_bytes(const lrnnx_selective_scan_problem& problem) {
  return problem.batch * ceil_div(problem.seqlen, kSavedSteps) * problem.dim * problem.dstate * 4;
}

BackwardWorkspace backward_workspace(const lrnnx_selective_scan_problem& problem,
                                     const BackwardConfiguration& configuration) {
  BackwardWorkspace workspace = {};
  workspace.tiles = ceil_div(problem.seqlen, kSavedSteps);
  workspace.tiles_per_split = ceil_div(workspace.tiles, configuration.splits);
  workspace.splits = ceil_div(workspace.tiles, workspace.tiles_per_split);
  workspace.segments = ceil_div(workspace.tiles_per_split, kTilesPerSegment);
  workspace.channel_blocks =
      ceil_div(problem.dim / problem.groups, 4 * configuration.channels_per_lane * configuration.warps);
  workspace.passes = ceil_div(problem.dstate, kStatesPerPass);

  const auto reserve = [&](std::int64_t floats) {
    const std::int64_t offset = workspace.bytes;
    workspace.bytes += ceil_div(floats * 4, 256) * 256;
    return offset;
  };
  const bool variable_B = problem.options & LRNNX_VARIABLE_B, variable_C = problem.options & LRNNX_VARIABLE_C;
  const std::int64_t weights = problem.dim * problem.dstate;
  const std::int64_t parts = problem.batch * workspace.splits * workspace.segments;
  const std::int64_t splits = workspace.splits > 1 ? problem.batch * workspace.splits : 0;
  const bool sums_blocks = workspace.channel_blocks > 1 && (variable_B || variable_C);
  workspace.state_sums = reserve(sums_blocks ? problem.batch * problem.groups * workspace.channel_blocks *
                                                   workspace.tiles * kBackwardQuads * workspace.passes * 32 * 4
                                             : 0);
  workspace.A_sums = reserve(parts * weights);
  workspace.B_sums = reserve(variable_B ? 0 : parts * weights);
  workspace.C_sums = reserve(variable_C ? 0 : parts * weights);
  workspace.D_sums = reserve(problem.options & LRNNX_HAS_D ? parts * problem.dim : 0);
  workspace.bias_sums = reserve(problem.options & LRNNX_HAS_DELTA_BIAS ? parts * problem.dim : 0);
  workspace.carry = reserve(splits * weights);
  workspace.adjoint = reserve(splits * weights);
  workspace.step_sum = reserve(splits * problem.dim);
  return workspace;
}

}  // namespace cuda

lrnnx_status selective_scan_cuda_memory(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                                        lrnnx_memory& memory) {
  cuda::Device device;
  memory = {};
  if (direction == LRNNX_FORWARD) {
    cuda::ForwardConfiguration configuration;
    const lrnnx_status status = cuda::configure_here(problem, device, configuration);
    if (status != LRNNX_OK) return status;
    if (problem.options & LRNNX_SAVE_FOR_BACKWARD) memory.saved_bytes = cuda::saved_bytes(problem);
    return LRNNX_OK;
  }
  cuda::BackwardConfiguration configuration;
  const lrnnx_status status = cuda::configure_here(problem, device, configuration);
  if (status != LRNNX_OK) return status;
  memory = {.saved_bytes = cuda::saved_bytes(problem),
            .workspace_bytes = cuda::backward_workspace(problem, configuration).bytes};
  return LRNNX_OK;
}

lrnnx_status selective_scan_cuda_configuration(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                                               std::string& text) {
  cuda::Device device;
  if (direction == LRNNX_FORWARD) {
    cuda::ForwardConfiguration configuration;
    const lrnnx_status status = cuda::configure_here(problem, device, configuration);
    if (status == LRNNX_OK) text = cuda::to_string(configuration);
    return status;
  }
  cuda::BackwardConfiguration configuration;
  const lrnnx_status status = cuda::configure_here(problem, device, configuration);
  if (status == LRNNX_OK) text = cuda::to_string(configuration);
  return status;
}

lrnnx_status selective_scan_cuda_forward(const lrnnx_selective_scan_problem& problem,
                                         const lrnnx_selective_scan_forward_args& args) {
  cuda::Device device;
  cuda::ForwardConfiguration configuration;
  const lrnnx_status status = cuda::configure_here(problem, device, configuration);
  return status == LRNNX_OK ? cuda::launch_forward<Mamba<float>>(problem, args, configuration, device) : status;
}

lrnnx_status selective_scan_cuda_backward(const lrnnx_selective_scan_problem& problem,
                                          const lrnnx_selective_scan_backward_args& args) {
  cuda::Device device;
  cuda::BackwardConfiguration configuration;
  const lrnnx_status status = cuda::configure_here(problem, device, configuration);
  return status == LRNNX_OK ? cuda::launch_backward<Mamba<float>>(problem, args, configuration, device) : status;
}

}  // namespace lrnnx
#endif
