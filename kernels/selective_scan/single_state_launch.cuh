// From validated arguments and a configuration to the kernels for one real state a channel.
#pragma once

#include <cstdint>

#include "common/cuda_status.h"
#include "common/error.h"
#include "selective_scan/launch_kernel.cuh"
#include "selective_scan/single_state.h"
#include "selective_scan/single_state_backward.cuh"
#include "selective_scan/single_state_finalize.cuh"
#include "selective_scan/single_state_forward.cuh"
#include "selective_scan/single_state_split.cuh"

namespace lrnnx::cuda {
namespace single_state {

inline const float* input(const lrnnx_tensor& tensor) { return static_cast<const float*>(tensor.data); }
inline float* output(const lrnnx_tensor& tensor) { return static_cast<float*>(tensor.data); }
inline RowTensor row_tensor(const lrnnx_tensor& tensor) {
  return {output(tensor), tensor.stride_batch, tensor.stride_dim};
}

// Appends those that are given.
template <int kCount, class... Tensors>
int append(RowTensor (&list)[kCount], int count, const Tensors&... tensors) {
  ((tensors.data != nullptr ? void(list[count++] = row_tensor(tensors)) : void()), ...);
  return count;
}

inline bool starts_aligned(const lrnnx_selective_scan_problem& problem, const lrnnx_tensor& tensor) {
  return reinterpret_cast<std::uintptr_t>(tensor.data) % 16 == 0 &&
         (problem.batch == 1 || tensor.stride_batch % 4 == 0) && (problem.dim == 1 || tensor.stride_dim % 4 == 0);
}

// The tiles that cover every row, where those start as far as three steps before a row that is not aligned.
inline std::int32_t count_tiles(const lrnnx_selective_scan_problem& problem, const lrnnx_tensor& delta, bool shifted) {
  const std::int64_t shift = shifted && !starts_aligned(problem, delta) ? 3 : 0;
  return static_cast<std::int32_t>((problem.seqlen + shift + kTileSteps - 1) / kTileSteps);
}

// As many stages as the configuration says, or fit.
inline InputStages choose_stages(int own, int shared, const SingleStateConfiguration& configuration,
                                 const Device& device, auto shared_bytes) {
  int count = static_cast<int>(configuration.stages);
  while (count > 2 && shared_bytes(InputStages::of(own, shared, count)) > device.shared_bytes) --count;
  return InputStages::of(own, shared, count);
}

// What all but the first split (in the backward: the last) of a row start from.
template <class F, Order kOrder, class Args>
lrnnx_status launch_maps(const lrnnx_selective_scan_problem& problem, const Args& args, const lrnnx_tensor& x,
                         const lrnnx_tensor& z, const SingleStateConfiguration& configuration,
                         const SingleStatePlan& plan, bool shifted, const Device& device) {
  if (plan.splits == 1) return LRNNX_OK;
  MapParameters parameters = {
      .inputs = {},
      .A = input(args.A),
      .B = input(args.B),
      .C = input(args.C),
      .delta_bias = input(args.delta_bias),
      .maps = reinterpret_cast<float2*>(static_cast<unsigned char*>(args.workspace) + plan.maps),
      .rows = static_cast<std::uint32_t>(problem.batch * problem.dim),
      .dim = static_cast<std::uint32_t>(problem.dim),
      .channels_per_group = static_cast<std::uint32_t>(problem.dim / problem.groups),
      .stages = {},
      .seqlen = static_cast<std::int32_t>(problem.seqlen),
      .tiles = count_tiles(problem, args.delta, shifted),
      .tiles_per_split = static_cast<std::int32_t>(plan.tiles_per_split),
      .splits = static_cast<std::int32_t>(plan.splits),
      .has_z = z.data != nullptr,
      .has_deltaA = args.deltaA.data != nullptr,
      .variable_B = (problem.options & LRNNX_VARIABLE_B) != 0,
      .variable_C = (problem.options & LRNNX_VARIABLE_C) != 0,
      .softplus = (problem.options & LRNNX_DELTA_SOFTPLUS) != 0,
      .shifted = shifted,
  };
  const int own = append(parameters.inputs, 0, args.delta, x, z, args.deltaA);
  const int warps = static_cast<int>(configuration.rows);
  const bool shared = kOrder == Order::first_lane_first ? F::kTakesB && parameters.variable_B : parameters.variable_C;
  const auto shared_bytes = [&](const InputStages& stages) { return map_shared_bytes(warps, stages); };
  parameters.stages = choose_stages(own, shared, configuration, device, shared_bytes);
  return launch(single_state_maps<F, kOrder>, "single_state_maps", Sequence::first,
                (std::int64_t{parameters.rows} + warps - 1) / warps, plan.splits - 1, warps * 32,
                shared_bytes(parameters.stages), device, args.stream, parameters);
}

}  // namespace single_state

template <class F>
lrnnx_status launch_single_state_forward(const lrnnx_selective_scan_problem& problem,
                                         const lrnnx_selective_scan_forward_args& args,
                                         const SingleStateConfiguration& configuration, const Device& device) {
  using namespace single_state;
  const SingleStatePlan plan = plan_single_state(problem, LRNNX_FORWARD, configuration);
  lrnnx_status status =
      launch_maps<F, Order::first_lane_first>(problem, args, args.u, {}, configuration, plan, true, device);
  if (status != LRNNX_OK) return status;
  ForwardParameters parameters = {
      .inputs = {},
      .outputs = {row_tensor(args.out), row_tensor(args.out_z)},
      .A = input(args.A),
      .B = input(args.B),
      .C = input(args.C),
      .D = input(args.D),
      .delta_bias = input(args.delta_bias),
      .h0 = input(args.h0),
      .last_state = output(args.last_state),
      .saved = problem.options & LRNNX_SAVE_FOR_BACKWARD ? static_cast<Quad*>(args.saved) : nullptr,
      .maps = reinterpret_cast<const float2*>(static_cast<const unsigned char*>(args.workspace) + plan.maps),
      .rows = static_cast<std::uint32_t>(problem.batch * problem.dim),
      .dim = static_cast<std::uint32_t>(problem.dim),
      .channels_per_group = static_cast<std::uint32_t>(problem.dim / problem.groups),
      .stages = {},
      .seqlen = static_cast<std::int32_t>(problem.seqlen),
      .saves = static_cast<std::int32_t>(plan.saves),
      .tiles = count_tiles(problem, args.delta, true),
      .tiles_per_split = static_cast<std::int32_t>(plan.tiles_per_split),
      .splits = static_cast<std::int32_t>(plan.splits),
      .has_z = args.z.data != nullptr,
      .has_deltaA = args.deltaA.data != nullptr,
      .variable_B = (problem.options & LRNNX_VARIABLE_B) != 0,
      .variable_C = (problem.options & LRNNX_VARIABLE_C) != 0,
      .softplus = (problem.options & LRNNX_DELTA_SOFTPLUS) != 0,
      .shifted = true,
  };
  const int own = append(parameters.inputs, 0, args.delta, args.u, args.z, args.deltaA);
  const int warps = static_cast<int>(configuration.rows);
  const int shared = (F::kTakesB && parameters.variable_B) + parameters.variable_C;
  const auto shared_bytes = [&](const InputStages& stages) { return forward_shared_bytes(warps, stages); };
  parameters.stages = choose_stages(own, shared, configuration, device, shared_bytes);
  return launch(single_state_forward<F>, "single_state_forward", plan.splits > 1 ? Sequence::follower : Sequence::first,
                (std::int64_t{parameters.rows} + warps - 1) / warps, plan.splits, warps * 32,
                shared_bytes(parameters.stages), device, args.stream, parameters);
}

template <class F>
lrnnx_status launch_single_state_backward(const lrnnx_selective_scan_problem& problem,
                                          const lrnnx_selective_scan_backward_args& args,
                                          const SingleStateConfiguration& configuration, const Device& device) {
  using namespace single_state;
  const SingleStatePlan plan = plan_single_state(problem, LRNNX_BACKWARD, configuration);
  // The steps by which tiles of shifted rows overlap would belong to two splits of the sums over channels.
  const bool shifted = plan.splits == 1 || plan.kinds == 0;
  lrnnx_status status =
      launch_maps<F, Order::last_lane_first>(problem, args, args.dout, args.z, configuration, plan, shifted, device);
  if (status != LRNNX_OK) return status;
  const bool variable_B = problem.options & LRNNX_VARIABLE_B, variable_C = problem.options & LRNNX_VARIABLE_C;
  const auto part = [&](std::int64_t offset) {
    return offset < 0 ? nullptr : reinterpret_cast<float*>(static_cast<unsigned char*>(args.workspace) + offset);
  };
  BackwardParameters parameters = {
      .inputs = {},
      .outputs = {row_tensor(args.du), row_tensor(args.ddelta), row_tensor(args.dz), row_tensor(args.ddeltaA)},
      .A = input(args.A),
      .B = input(args.B),
      .C = input(args.C),
      .D = input(args.D),
      .delta_bias = input(args.delta_bias),
      .h0 = input(args.h0),
      .dlast_state = input(args.dlast_state),
      .saved = static_cast<const Quad*>(args.saved),
      .maps = reinterpret_cast<const float2*>(part(plan.maps)),
      .dh0 = output(args.dh0),
      .time_sums = {},
      .step_sums = part(plan.step_sums),
      .dB = output(args.dB),
      .dC = output(args.dC),
      .padded_seqlen = plan.padded_seqlen,
      .dim = static_cast<std::uint32_t>(problem.dim),
      .channels_per_group = static_cast<std::uint32_t>(problem.dim / problem.groups),
      .batch_groups = static_cast<std::uint32_t>(plan.batch_groups),
      .rows_a_group = static_cast<std::uint32_t>(plan.rows_a_group),
      .groups_a_block = static_cast<std::uint32_t>(plan.groups_a_block),
      .rows_a_part = static_cast<std::uint32_t>(plan.rows_a_part),
      .parts = static_cast<std::uint32_t>(plan.parts),
      .stages = {},
      .seqlen = static_cast<std::int32_t>(problem.seqlen),
      .saves = static_cast<std::int32_t>(plan.saves),
      .tiles = count_tiles(problem, args.delta, shifted),
      .tiles_per_split = static_cast<std::int32_t>(plan.tiles_per_split),
      .splits = static_cast<std::int32_t>(plan.splits),
      .has_z = args.z.data != nullptr,
      .has_deltaA = args.deltaA.data != nullptr,
      .variable_B = variable_B,
      .variable_C = variable_C,
      .softplus = (problem.options & LRNNX_DELTA_SOFTPLUS) != 0,
      .shifted = shifted,
  };
  for (int kind = 0; kind < TimeSum::kCount; ++kind) parameters.time_sums[kind] = part(plan.time_sums[kind]);
  const int own = append(parameters.inputs, 0, args.delta, args.u, args.dout, args.z, args.out, args.deltaA);
  const int warps = static_cast<int>(configuration.rows);
  const auto shared_bytes = [&](const InputStages& stages) { return backward_shared_bytes(warps, stages); };
  parameters.stages = choose_stages(own, static_cast<int>(plan.kinds), configuration, device, shared_bytes);
  status =
      launch(single_state_backward<F>, "single_state_backward", plan.splits > 1 ? Sequence::follower : Sequence::first,
             plan.blocks, plan.splits, warps * 32, shared_bytes(parameters.stages), device, args.stream, parameters);
  if (status != LRNNX_OK) return status;

  const bool sums_parts = plan.kinds > 0 && plan.parts > 1;
  constexpr int kThreads = kFinalizeWarps * 32;
  FinalizeParameters finalize = {
      .time_sums = {},
      .A = input(args.A),
      .dA = output(args.dA),
      .dB_fixed = variable_B ? nullptr : output(args.dB),
      .dC_fixed = variable_C ? nullptr : output(args.dC),
      .dD = output(args.dD),
      .ddelta_bias = output(args.ddelta_bias),
      .step_sums = parameters.step_sums,
      .step_gradients = {variable_B ? parameters.dB : parameters.dC, parameters.dC},
      .dim = problem.dim,
      .time_parts = problem.batch * plan.splits,
      .channel_blocks = (problem.dim + kThreads - 1) / kThreads,
      .parts = plan.parts,
      .padded_seqlen = plan.padded_seqlen,
      .seqlen = problem.seqlen,
      .steps_blocks = (problem.seqlen + kTileSteps - 1) / kTileSteps,
      .kinds = static_cast<std::int32_t>(plan.kinds),
  };
  for (int kind = 0; kind < TimeSum::kCount; ++kind) finalize.time_sums[kind] = parameters.time_sums[kind];
  const std::int64_t steps_blocks = sums_parts ? plan.batch_groups * plan.kinds * finalize.steps_blocks : 0;
  return launch(finalize_single_state<F>, "finalize_single_state", Sequence::follower,
                finalize.channel_blocks + steps_blocks, 1, kThreads, 0, device, args.stream, finalize);
}

}  // namespace lrnnx::cuda
