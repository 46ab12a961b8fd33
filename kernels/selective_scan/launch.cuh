// From validated arguments and a configuration to kernel launches.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "common/cuda_status.h"
#include "common/error.h"
#include "selective_scan/adjoint_carry.cuh"
#include "selective_scan/backward.cuh"
#include "selective_scan/finalize.cuh"
#include "selective_scan/forward.cuh"
#include "selective_scan/launch.h"

namespace lrnnx::cuda {
namespace detail {

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

inline bool is_variable_B(const lrnnx_selective_scan_problem& problem) { return problem.options & LRNNX_VARIABLE_B; }
inline bool is_variable_C(const lrnnx_selective_scan_problem& problem) { return problem.options & LRNNX_VARIABLE_C; }

inline const float* input(const lrnnx_tensor& tensor) { return static_cast<const float*>(tensor.data); }
inline float* output(const lrnnx_tensor& tensor) { return static_cast<float*>(tensor.data); }
inline TimeInput time_input(const lrnnx_tensor& tensor) {
  return {input(tensor), tensor.stride_batch, static_cast<std::uint32_t>(tensor.stride_dim)};
}
inline TimeOutput time_output(const lrnnx_tensor& tensor) {
  return {output(tensor), tensor.stride_batch, static_cast<std::uint32_t>(tensor.stride_dim)};
}

// Rows of every given (B, D, L) tensor, and of B and C where they vary, start at multiples of 16 bytes.
inline bool has_vector_rows(const lrnnx_selective_scan_problem& problem, const lrnnx_tensor& B, const lrnnx_tensor& C,
                            std::initializer_list<const lrnnx_tensor*> tensors) {
  const auto aligned = [](const void* data) { return reinterpret_cast<std::uintptr_t>(data) % 16 == 0; };
  bool result = true;
  for (const lrnnx_tensor* tensor : tensors) {
    result = result && aligned(tensor->data) && tensor->stride_batch % 4 == 0 && tensor->stride_dim % 4 == 0;
  }
  if (is_variable_B(problem)) result = result && aligned(B.data) && problem.seqlen % 4 == 0;
  if (is_variable_C(problem)) result = result && aligned(C.data) && problem.seqlen % 4 == 0;
  return result;
}

// A kernel sees channel strides as 32-bit numbers, and a grid has at most 2^31 - 1 blocks.
inline lrnnx_status validate_reach(std::int64_t blocks, std::int64_t seqlen,
                                   std::initializer_list<const lrnnx_tensor*> tensors) {
  constexpr std::int64_t kLargest = (std::int64_t{1} << 32) - 1;
  for (const lrnnx_tensor* tensor : tensors) {
    if (tensor->data != nullptr && tensor->stride_dim > kLargest) {
      return fail(LRNNX_UNSUPPORTED, "stride_dim is %lld; backend cuda takes at most %lld",
                  static_cast<long long>(tensor->stride_dim), static_cast<long long>(kLargest));
    }
  }
  if (seqlen > kLargest) {
    return fail(LRNNX_UNSUPPORTED, "seqlen is %lld; backend cuda takes at most %lld", static_cast<long long>(seqlen),
                static_cast<long long>(kLargest));
  }
  if (blocks > 0x7fffffff) {
    return fail(LRNNX_UNSUPPORTED, "batch, groups and dim need %lld thread blocks; backend cuda takes at most 2147483647",
                static_cast<long long>(blocks));
  }
  return LRNNX_OK;
}

template <class Kernel, class Parameters>
lrnnx_status launch(Kernel kernel, const char* name, std::int64_t blocks, std::int64_t threads,
                    std::int64_t shared_bytes, const Device& device, void* stream, const Parameters& parameters) {
  if (shared_bytes > device.shared_bytes) {
    return fail(LRNNX_UNSUPPORTED, "%s needs %lld bytes of shared memory a block; this device has %lld", name,
                static_cast<long long>(shared_bytes), static_cast<long long>(device.shared_bytes));
  }
  constexpr std::int64_t kDefaultSharedBytes = 48 * 1024;
  if (shared_bytes > kDefaultSharedBytes) {
    const cudaError_t error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                                   static_cast<int>(shared_bytes));
    if (error != cudaSuccess) return fail_cuda(error, name);
  }
  kernel<<<static_cast<unsigned>(blocks), static_cast<unsigned>(threads), static_cast<std::size_t>(shared_bytes),
           static_cast<cudaStream_t>(stream)>>>(parameters);
  const cudaError_t error = cudaGetLastError();
  return error == cudaSuccess ? LRNNX_OK : fail_cuda(error, name);
}

template <class F, int kStateLanes, int kChannelsPerLane, bool kGeneral>
lrnnx_status launch_forward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_forward_args& args,
                            const ForwardConfiguration& configuration, const Device& device) {
  using Tile = ChannelTile<kStateLanes, kChannelsPerLane>;
  using Stage = ForwardStage<kStateLanes, kChannelsPerLane>;
  const int warps = static_cast<int>(configuration.warps), stages = static_cast<int>(configuration.stages);
  const std::int64_t passes = ceil_div(problem.dstate, kStatesPerPass);
  const bool has_z = args.z.data != nullptr, has_deltaA = args.deltaA.data != nullptr;
  const int stage_bytes = Stage::state_bytes(static_cast<int>(passes) * kStatesPerPass) +
                          (2 + has_z + has_deltaA) * Stage::slot_bytes(warps);
  const std::int64_t channels_per_group = problem.dim / problem.groups;
  const std::int64_t channel_blocks = ceil_div(channels_per_group, warps * Tile::kWarpChannels);
  const std::int64_t blocks = problem.batch * problem.groups * channel_blocks;
  const std::int64_t kept_bytes =
      kGeneral ? passes * kChannelsPerLane * (kStatesPerPass / kStateLanes) * warps * 32 * 4 : 0;

  const std::initializer_list<const lrnnx_tensor*> tensors = {&args.u, &args.delta, &args.z,
                                                              &args.deltaA, &args.out, &args.out_z};
  if (const lrnnx_status status = validate_reach(blocks, problem.seqlen, tensors); status != LRNNX_OK) return status;
  const ForwardParameters parameters = {
      .delta = time_input(args.delta),
      .u = time_input(args.u),
      .z = time_input(args.z),
      .deltaA = time_input(args.deltaA),
      .out = time_output(args.out),
      .out_z = time_output(args.out_z),
      .A = input(args.A),
      .B = input(args.B),
      .C = input(args.C),
      .D = input(args.D),
      .delta_bias = input(args.delta_bias),
      .h0 = input(args.h0),
      .last_state = output(args.last_state),
      .saved = problem.options & LRNNX_SAVE_FOR_BACKWARD ? static_cast<float*>(args.saved) : nullptr,
      .dim = problem.dim,
      .seqlen = problem.seqlen,
      .dstate = static_cast<std::int32_t>(problem.dstate),
      .groups = static_cast<std::int32_t>(problem.groups),
      .channels_per_group = static_cast<std::int32_t>(channels_per_group),
      .channel_blocks = static_cast<std::int32_t>(channel_blocks),
      .stages = stages,
      .stage_bytes = stage_bytes,
      .variable_B = is_variable_B(problem),
      .variable_C = is_variable_C(problem),
      .softplus = (problem.options & LRNNX_DELTA_SOFTPLUS) != 0,
      .vector = has_vector_rows(problem, args.B, args.C, tensors),
  };
  return launch(selective_scan_forward<F, kStateLanes, kChannelsPerLane, kGeneral>, "selective_scan_forward", blocks,
                warps * 32, stages * stage_bytes + kept_bytes, device, args.stream, parameters);
}

template <class F, int kChannelsPerLane, bool kGeneral>
lrnnx_status launch_backward(const lrnnx_selective_scan_problem& problem,
                             const lrnnx_selective_scan_backward_args& args, const BackwardConfiguration& configuration,
                             const Device& device) {
  using Layout = BackwardLayout<kChannelsPerLane, kGeneral>;
  const BackwardWorkspace workspace = backward_workspace(problem, configuration);
  const auto part = [&](std::int64_t offset) {
    return reinterpret_cast<float*>(static_cast<unsigned char*>(args.workspace) + offset);
  };
  const int warps = static_cast<int>(configuration.warps);
  const bool has_z = args.z.data != nullptr, has_deltaA = args.deltaA.data != nullptr;
  const bool variable_B = is_variable_B(problem), variable_C = is_variable_C(problem);
  const std::int64_t channels_per_group = problem.dim / problem.groups;
  const std::int64_t column_blocks = problem.batch * problem.groups * workspace.channel_blocks;
  const bool softplus = (problem.options & LRNNX_DELTA_SOFTPLUS) != 0;
  const std::initializer_list<const lrnnx_tensor*> tensors = {&args.u,  &args.delta,  &args.z,  &args.deltaA, &args.out,
                                                              &args.dout, &args.du, &args.ddelta, &args.dz,
                                                              &args.ddeltaA};
  if (const lrnnx_status status = validate_reach(column_blocks * workspace.splits, problem.seqlen, tensors);
      status != LRNNX_OK) {
    return status;
  }
  const bool vector = has_vector_rows(problem, args.B, args.C, tensors);

  const float* carry = input(args.dlast_state);
  if (workspace.splits > 1) {
    const int slot_bytes = Layout::slot_bytes(warps);
    const std::int64_t state_bytes = workspace.passes * kStatesPerPass * Layout::Tile::kRowBytes;
    const std::int64_t stage_bytes = state_bytes + (2 + has_z) * slot_bytes;
    const AdjointParameters parameters = {
        .step = time_input(has_deltaA ? args.deltaA : args.delta),
        .dout = time_input(args.dout),
        .z = time_input(args.z),
        .A = input(args.A),
        .C = input(args.C),
        .delta_bias = input(args.delta_bias),
        .dlast_state = input(args.dlast_state),
        .adjoint = part(workspace.adjoint),
        .step_sum = part(workspace.step_sum),
        .carry = part(workspace.carry),
        .batch = problem.batch,
        .dim = problem.dim,
        .seqlen = problem.seqlen,
        .tiles = workspace.tiles,
        .dstate = static_cast<std::int32_t>(problem.dstate),
        .groups = static_cast<std::int32_t>(problem.groups),
        .channels_per_group = static_cast<std::int32_t>(channels_per_group),
        .channel_blocks = static_cast<std::int32_t>(workspace.channel_blocks),
        .splits = static_cast<std::int32_t>(workspace.splits),
        .tiles_per_split = static_cast<std::int32_t>(workspace.tiles_per_split),
        .stage_bytes = static_cast<std::int32_t>(stage_bytes),
        .variable_C = variable_C,
        .raw_step = has_deltaA || !F::kTakesStepOptions,
        .softplus = softplus,
        .vector = vector,
    };
    const std::int64_t kept_bytes = kGeneral ? workspace.passes * kBackwardLaneStates * warps * 32 * 4 : 0;
    lrnnx_status status = launch(adjoint_of_split<F, kChannelsPerLane, kGeneral>, "adjoint_of_split",
                                 column_blocks * (workspace.splits - 1), warps * 32, 2 * stage_bytes + kept_bytes,
                                 device, args.stream, parameters);
    if (status != LRNNX_OK) return status;
    const std::int64_t states = problem.batch * problem.dim * problem.dstate;
    status = launch(adjoint_carry<F>, "adjoint_carry", ceil_div(states, 128), 128, 0, device, args.stream, parameters);
    if (status != LRNNX_OK) return status;
    carry = parameters.carry;
  }

  const int stage_bytes = (Layout::kSlots + has_deltaA) * Layout::slot_bytes(warps);
  const bool direct = workspace.channel_blocks == 1;
  const BackwardParameters parameters = {
      .delta = time_input(args.delta),
      .u = time_input(args.u),
      .dout = time_input(args.dout),
      .z = time_input(args.z),
      .out = time_input(args.out),
      .deltaA = time_input(args.deltaA),
      .du = time_output(args.du),
      .ddelta = time_output(args.ddelta),
      .dz = time_output(args.dz),
      .ddeltaA = time_output(args.ddeltaA),
      .A = input(args.A),
      .B = input(args.B),
      .C = input(args.C),
      .D = input(args.D),
      .delta_bias = input(args.delta_bias),
      .saved = static_cast<const float*>(args.saved),
      .carry = carry,
      .dh0 = output(args.dh0),
      .state_sums = direct ? nullptr : reinterpret_cast<float4*>(part(workspace.state_sums)),
      .dB = output(args.dB),
      .dC = output(args.dC),
      .A_sums = part(workspace.A_sums),
      .B_sums = part(workspace.B_sums),
      .C_sums = part(workspace.C_sums),
      .D_sums = args.D.data != nullptr ? part(workspace.D_sums) : nullptr,
      .bias_sums = args.delta_bias.data != nullptr ? part(workspace.bias_sums) : nullptr,
      .dim = problem.dim,
      .seqlen = problem.seqlen,
      .tiles = workspace.tiles,
      .dstate = static_cast<std::int32_t>(problem.dstate),
      .groups = static_cast<std::int32_t>(problem.groups),
      .channels_per_group = static_cast<std::int32_t>(channels_per_group),
      .channel_blocks = static_cast<std::int32_t>(workspace.channel_blocks),
      .splits = static_cast<std::int32_t>(workspace.splits),
      .tiles_per_split = static_cast<std::int32_t>(workspace.tiles_per_split),
      .segments = static_cast<std::int32_t>(workspace.segments),
      .stage_bytes = stage_bytes,
      .variable_B = variable_B,
      .variable_C = variable_C,
      .softplus = softplus,
      .vector = vector,
  };
  lrnnx_status status =
      launch(selective_scan_backward<F, kChannelsPerLane, kGeneral>, "selective_scan_backward",
             column_blocks * workspace.splits, warps * 32,
             Layout::total_bytes(stage_bytes, warps, static_cast<int>(workspace.passes)), device, args.stream, parameters);
  if (status != LRNNX_OK) return status;

  const TimeSums time_sums = {
      .A = parameters.A_sums,
      .B = variable_B ? nullptr : parameters.B_sums,
      .C = variable_C ? nullptr : parameters.C_sums,
      .D = parameters.D_sums,
      .bias = parameters.bias_sums,
      .dA = output(args.dA),
      .dB = output(args.dB),
      .dC = output(args.dC),
      .dD = output(args.dD),
      .ddelta_bias = output(args.ddelta_bias),
      .weight = input(args.A),
      .parts = problem.batch * workspace.splits * workspace.segments,
      .dim = problem.dim,
      .dstate = problem.dstate,
  };
  status = launch(finalize_time_sums<F>, "finalize_time_sums", ceil_div(problem.dim * problem.dstate, 128), 128, 0,
                  device, args.stream, time_sums);
  if (status != LRNNX_OK || direct || !(variable_B || variable_C)) return status;

  const auto is_aligned = [](const lrnnx_tensor& tensor) { return reinterpret_cast<std::uintptr_t>(tensor.data) % 16 == 0; };
  const StateSums state_sums = {
      .parts = parameters.state_sums,
      .dB = variable_B ? output(args.dB) : nullptr,
      .dC = variable_C ? output(args.dC) : nullptr,
      .batch_groups = problem.batch * problem.groups,
      .channel_blocks = workspace.channel_blocks,
      .quads = workspace.tiles * Layout::Tile::kQuads,
      .passes = workspace.passes,
      .dstate = problem.dstate,
      .seqlen = problem.seqlen,
      .vector = problem.seqlen % 4 == 0 && is_aligned(args.dB) && is_aligned(args.dC),
  };
  const std::int64_t places = state_sums.batch_groups * state_sums.quads * state_sums.passes * 32;
  return launch(finalize_state_sums, "finalize_state_sums", ceil_div(places, 256), 256, 0, device, args.stream,
                state_sums);
}

}  // namespace detail

template <class F>
lrnnx_status launch_forward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_forward_args& args,
                            const ForwardConfiguration& configuration, const Device& device) {
  if (needs_general_kernel(problem)) return detail::launch_forward<F, 8, 1, true>(problem, args, configuration, device);
  if (configuration.state_lanes == 8) return detail::launch_forward<F, 8, 2, false>(problem, args, configuration, device);
  return detail::launch_forward<F, 16, 1, false>(problem, args, configuration, device);
}

template <class F>
lrnnx_status launch_backward(const lrnnx_selective_scan_problem& problem,
                             const lrnnx_selective_scan_backward_args& args, const BackwardConfiguration& configuration,
                             const Device& device) {
  if (needs_general_kernel(problem)) return detail::launch_backward<F, 1, true>(problem, args, configuration, device);
  if (configuration.channels_per_lane == 2) return detail::launch_backward<F, 2, false>(problem, args, configuration, device);
  return detail::launch_backward<F, 1, false>(problem, args, configuration, device);
}

}  // namespace lrnnx::cuda
