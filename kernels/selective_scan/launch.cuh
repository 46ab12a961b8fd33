// From validated arguments and a configuration to kernel launches.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <type_traits>

#include "common/cuda_status.h"
#include "common/error.h"
#include "common/half.h"
#include "common/integers.h"
#include "selective_scan/adjoint_of_split.cuh"
#include "selective_scan/backward.cuh"
#include "selective_scan/finalize.cuh"
#include "selective_scan/forward.cuh"
#include "selective_scan/launch.h"
#include "selective_scan/launch_kernel.cuh"
#include "selective_scan/split_carry.cuh"

namespace lrnnx::cuda {
namespace detail {

inline int stage_size(std::int64_t bytes) { return static_cast<int>(round_up(bytes, 256)); }

inline bool is_variable_B(const lrnnx_selective_scan_problem& problem) { return problem.options & LRNNX_VARIABLE_B; }
inline bool is_variable_C(const lrnnx_selective_scan_problem& problem) { return problem.options & LRNNX_VARIABLE_C; }

inline const float* input(const lrnnx_tensor& tensor) { return static_cast<const float*>(tensor.data); }
inline float* output(const lrnnx_tensor& tensor) { return static_cast<float*>(tensor.data); }
inline TimeTensor time_tensor(const lrnnx_tensor& tensor) {
  return {tensor.data, tensor.stride_batch, static_cast<std::uint32_t>(tensor.stride_dim)};
}

// The (B, D, L) tensors of a call, and their names.
constexpr const char* kForwardTimeTensors[] = {"u", "delta", "z", "deltaA", "out", "out_z"};
constexpr const char* kBackwardTimeTensors[] = {"u",    "delta", "z",      "deltaA", "out",
                                                "dout", "du",    "ddelta", "dz",     "ddeltaA"};
inline std::array<const lrnnx_tensor*, 6> time_tensors(const lrnnx_selective_scan_forward_args& args) {
  return {&args.u, &args.delta, &args.z, &args.deltaA, &args.out, &args.out_z};
}
inline std::array<const lrnnx_tensor*, 10> time_tensors(const lrnnx_selective_scan_backward_args& args) {
  return {&args.u,    &args.delta, &args.z,      &args.deltaA, &args.out,
          &args.dout, &args.du,    &args.ddelta, &args.dz,     &args.ddeltaA};
}

inline RowKind row_kind(const lrnnx_selective_scan_problem& problem, const lrnnx_tensor& B, const lrnnx_tensor& C,
                        std::span<const lrnnx_tensor* const> tensors) {
  const bool halves = is_half(problem.dtype);
  const RowPhase phase = row_phase(problem);
  const auto is_aligned = [&](const void* data) {  // to a quad
    return reinterpret_cast<std::uintptr_t>(data) % (halves ? 8 : 16) == 0;
  };
  bool aligned = problem.seqlen % 4 == 0 && (!is_variable_B(problem) || is_aligned(B.data)) &&
                 (!is_variable_C(problem) || is_aligned(C.data));
  bool equal = true;  // strides
  // Rows begin by quads as those of a contiguous tensor, and no sooner.
  bool in_phase = phase.channel_step > 1;
  for (const lrnnx_tensor* tensor : tensors) {
    if (tensor->data == nullptr) continue;
    equal = equal && tensor->stride_batch == tensors[0]->stride_batch && tensor->stride_dim == tensors[0]->stride_dim;
    in_phase = in_phase && is_aligned(tensor->data) && tensor->stride_batch % 4 == 0 &&
               (tensor->stride_dim - problem.seqlen) % 4 == 0 && tensor->stride_dim >= problem.seqlen &&
               tensor->stride_dim < (std::int64_t{1} << 32) / phase.channel_step;
    aligned = aligned && is_aligned(tensor->data) && tensor->stride_batch % 4 == 0 && tensor->stride_dim % 4 == 0;
  }
  if (halves) return equal && aligned ? RowKind::halves : RowKind::any_halves;
  if (!equal) return RowKind::any;
  return aligned ? RowKind::aligned : in_phase ? RowKind::shifted : RowKind::any;
}

// The kinds of rows that every kernel is made for: of whole quads, and any.
template <Storage storage>
constexpr RowKind kWhole = storage == Storage::halves ? RowKind::halves : RowKind::aligned;
template <Storage storage>
constexpr RowKind kAny = storage == Storage::halves ? RowKind::any_halves : RowKind::any;

// Calls launch(kind) with the kind as a constant.
template <class F, Storage storage, class Launch>
lrnnx_status with_row_kind(RowKind kind, Launch launch) {
  if (kind == kWhole<storage>) return launch(std::integral_constant<RowKind, kWhole<storage>>());
  if constexpr (!kIsComplex<typename F::Weight> && storage == Storage::floats) {
    if (kind == RowKind::shifted) return launch(std::integral_constant<RowKind, RowKind::shifted>());
  }
  return launch(std::integral_constant<RowKind, kAny<storage>>());
}

// A kernel sees channel strides as 32-bit numbers.
inline lrnnx_status validate_strides(std::span<const lrnnx_tensor* const> tensors, std::span<const char* const> names) {
  constexpr std::int64_t kLargest = (std::int64_t{1} << 32) - 1;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const lrnnx_tensor* const tensor = tensors[i];
    if (tensor->data != nullptr && tensor->stride_dim > kLargest) {
      return fail(LRNNX_UNSUPPORTED, "%s has stride_dim = %lld; backend cuda takes at most %lld", names[i],
                  static_cast<long long>(tensor->stride_dim), static_cast<long long>(kLargest));
    }
  }
  return LRNNX_OK;
}

// From what a kernel before it left of each split in `part` and `product`.
template <class F, bool kReverse>
lrnnx_status launch_carry(const lrnnx_selective_scan_problem& problem, const lrnnx_tensor& A,
                          const lrnnx_tensor& initial, const float* part, const float* product, float* carry,
                          std::int64_t splits, const Device& device, void* stream) {
  const CarryParameters parameters = {.A = input(A),
                                      .initial = input(initial),
                                      .part = part,
                                      .product = product,
                                      .carry = carry,
                                      .batch = problem.batch,
                                      .dim = problem.dim,
                                      .dstate = static_cast<std::int32_t>(problem.dstate),
                                      .splits = static_cast<std::int32_t>(splits)};
  return launch(carry_over_splits<F, kReverse>, "carry_over_splits", Sequence::follower,
                ceil_div(problem.batch * problem.dim * problem.dstate, 128), 1, 128, 0, device, stream, parameters);
}

// With the parameters of the scan itself.
template <class F, RowKind kRowKind, bool kGeneral>
lrnnx_status launch_state_of_split(const lrnnx_selective_scan_problem& problem,
                                   const lrnnx_selective_scan_forward_args& args, ForwardParameters parameters,
                                   const Device& device) {
  constexpr int kChannelsPerLane = kIsComplex<typename F::Weight> || kGeneral ? 1 : 2;
  using Layout = ForwardLayout<typename F::Weight, kRowKind, kSplitStateLanes, kChannelsPerLane, kSplitWarps, kGeneral>;
  for (const int absent : {Layout::kZ, Layout::kOut, Layout::kOutZ}) parameters.tensors[absent].data = nullptr;
  parameters.D = nullptr;
  const int passes = static_cast<int>(ceil_div(problem.dstate, kStatesPerPass)),
            inputs = args.deltaA.data != nullptr ? 3 : 2;
  if (Layout::kAligned && !kGeneral) parameters.stages = 3;
  parameters.stage_bytes = Layout::template stage_bytes<true>(passes * kStatesPerPass, inputs);
  parameters.channel_blocks =
      static_cast<std::int32_t>(channel_blocks_of(problem, kSplitWarps * Layout::Tile::kWarpChannels));
  const std::int64_t kept_bytes = kGeneral
                                      ? passes * (kStatesPerPass / kSplitStateLanes) * Layout::template kKept<F, true> *
                                            kSplitWarps * 32 * static_cast<int>(sizeof(typename F::Weight))
                                      : 0;
  return launch(state_of_split<F, kRowKind, kChannelsPerLane, kGeneral>, "state_of_split", Sequence::first,
                problem.batch * problem.groups * parameters.channel_blocks, parameters.splits - 1, kSplitWarps * 32,
                Layout::kept_offset(parameters.stages, parameters.stage_bytes, inputs) + kept_bytes, device,
                args.stream, parameters);
}

template <class F, RowKind kRowKind, int kStateLanes, int kChannelsPerLane, int kWarps, bool kGeneral>
lrnnx_status launch_forward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_forward_args& args,
                            const ForwardConfiguration& configuration, const Device& device) {
  using Layout = ForwardLayout<typename F::Weight, kRowKind, kStateLanes, kChannelsPerLane, kWarps, kGeneral>;
  using Tile = typename Layout::Tile;
  const int stages = Layout::kAligned || kGeneral ? static_cast<int>(configuration.stages) : 2;
  const std::int64_t passes = ceil_div(problem.dstate, kStatesPerPass);
  const bool has_z = args.z.data != nullptr, has_deltaA = args.deltaA.data != nullptr;
  const int inputs = 2 + has_z + has_deltaA;
  const int stage_bytes = Layout::template stage_bytes<false>(static_cast<int>(passes) * kStatesPerPass, inputs);
  const RowPhase phase = row_phase(problem);
  const std::int64_t channels_per_group = problem.dim / problem.groups;
  const std::int64_t channel_blocks = channel_blocks_of(problem, kWarps * Tile::kWarpChannels);
  const ForwardWorkspace workspace = forward_workspace(problem, configuration);
  const auto part = [&](std::int64_t offset) {
    return reinterpret_cast<float*>(static_cast<unsigned char*>(args.workspace) + offset);
  };
  const std::int64_t kept_bytes =
      kGeneral ? passes * (kStatesPerPass / kStateLanes) * kWarps * 32 * static_cast<int>(sizeof(typename F::Weight))
               : 0;

  if (const lrnnx_status status = validate_strides(time_tensors(args), kForwardTimeTensors); status != LRNNX_OK)
    return status;
  ForwardParameters parameters = {
      .tensors = {time_tensor(args.delta), time_tensor(args.u), time_tensor(args.z), time_tensor(args.deltaA),
                  time_tensor(args.out), time_tensor(args.out_z)},
      .A = input(args.A),
      .D = input(args.D),
      .delta_bias = input(args.delta_bias),
      .B = args.B.data,
      .C = args.C.data,
      .last_state = output(args.last_state),
      .saved = problem.options & LRNNX_SAVE_FOR_BACKWARD ? static_cast<float*>(args.saved) : nullptr,
      .initial = input(args.h0),
      .state = nullptr,
      .product = nullptr,
      .dim = problem.dim,
      .seqlen = static_cast<std::uint32_t>(problem.seqlen),
      .steps = static_cast<std::uint32_t>(phase.steps(problem.seqlen)),
      .split_steps = static_cast<std::uint32_t>(workspace.tiles_per_split * kSavedSteps),
      .phase = phase,
      .dstate = static_cast<std::int32_t>(problem.dstate),
      .groups = static_cast<std::int32_t>(problem.groups),
      .channels_per_group = static_cast<std::int32_t>(channels_per_group),
      .channel_blocks = static_cast<std::int32_t>(channel_blocks),
      .stages = stages,
      .stage_bytes = stage_bytes,
      .splits = static_cast<std::int32_t>(workspace.splits),
      .variable_B = is_variable_B(problem),
      .variable_C = is_variable_C(problem),
      .softplus = (problem.options & LRNNX_DELTA_SOFTPLUS) != 0,
      .bf16 = problem.dtype == LRNNX_BF16,
  };
  if (workspace.splits > 1) {
    parameters.state = part(workspace.state);
    parameters.product = part(workspace.product);
    lrnnx_status status = launch_state_of_split<F, kRowKind, kGeneral>(problem, args, parameters, device);
    if (status != LRNNX_OK) return status;
    float* const carry = part(workspace.carry);
    status = launch_carry<F, false>(problem, args.A, args.h0, parameters.state, parameters.product, carry,
                                    workspace.splits, device, args.stream);
    if (status != LRNNX_OK) return status;
    parameters.initial = carry;
  }
  return launch(selective_scan_forward<F, kRowKind, kStateLanes, kChannelsPerLane, kWarps, kGeneral>,
                "selective_scan_forward", workspace.splits > 1 ? Sequence::follower : Sequence::first,
                problem.batch * problem.groups * channel_blocks, workspace.splits, kWarps * 32,
                Layout::kept_offset(stages, stage_bytes, inputs) + kept_bytes, device, args.stream, parameters);
}

template <class F, RowKind kRowKind, int kChannelsPerLane, int kWarps, bool kGeneral>
lrnnx_status launch_backward(const lrnnx_selective_scan_problem& problem,
                             const lrnnx_selective_scan_backward_args& args, const BackwardConfiguration& configuration,
                             const Device& device) {
  using Layout = BackwardLayout<F, kRowKind, kChannelsPerLane, kWarps, kGeneral>;
  const BackwardWorkspace workspace = backward_workspace(problem, configuration);
  const auto part = [&](std::int64_t offset) {
    return reinterpret_cast<float*>(static_cast<unsigned char*>(args.workspace) + offset);
  };
  const bool has_z = args.z.data != nullptr, has_deltaA = args.deltaA.data != nullptr;
  const bool variable_B = is_variable_B(problem), variable_C = is_variable_C(problem);
  const RowPhase phase = row_phase(problem);
  const std::int64_t channels_per_group = problem.dim / problem.groups;
  const std::int64_t column_blocks = problem.batch * problem.groups * workspace.channel_blocks;
  const bool softplus = (problem.options & LRNNX_DELTA_SOFTPLUS) != 0, bf16 = problem.dtype == LRNNX_BF16;
  if (const lrnnx_status status = validate_strides(time_tensors(args), kBackwardTimeTensors); status != LRNNX_OK)
    return status;

  const float* carry = input(args.dlast_state);
  if (workspace.splits > 1) {
    using AdjointLayout = AdjointLayout<typename F::Weight, kRowKind, kChannelsPerLane, kGeneral>;
    constexpr int kAdjointThreads = kAdjointWarps<kGeneral> * 32;
    const std::int64_t channel_blocks =
        channel_blocks_of(problem, kAdjointWarps<kGeneral> * AdjointLayout::Tile::kWarpChannels);
    const int stage_bytes = stage_size(AdjointLayout::state_bytes(static_cast<int>(workspace.passes) * kStatesPerPass) +
                                       (2 + has_z) * AdjointLayout::kSlotBytes);
    const AdjointParameters parameters = {
        .tensors = {time_tensor(has_deltaA ? args.deltaA : args.delta), time_tensor(args.dout), time_tensor(args.z)},
        .A = input(args.A),
        .delta_bias = input(args.delta_bias),
        .C = args.C.data,
        .adjoint = part(workspace.adjoint),
        .product = part(workspace.product),
        .dim = problem.dim,
        .seqlen = static_cast<std::uint32_t>(problem.seqlen),
        .tiles = static_cast<std::uint32_t>(workspace.tiles),
        .phase = phase,
        .dstate = static_cast<std::int32_t>(problem.dstate),
        .groups = static_cast<std::int32_t>(problem.groups),
        .channels_per_group = static_cast<std::int32_t>(channels_per_group),
        .channel_blocks = static_cast<std::int32_t>(channel_blocks),
        .splits = static_cast<std::int32_t>(workspace.splits),
        .tiles_per_split = static_cast<std::int32_t>(workspace.tiles_per_split),
        .stage_bytes = stage_bytes,
        .variable_C = variable_C,
        .raw_step = has_deltaA || !F::kTakesStepOptions,
        .softplus = softplus,
        .bf16 = bf16,
    };
    const std::int64_t kept_bytes = kGeneral
                                        ? workspace.passes * kBackwardLaneStates * AdjointLayout::template kKept<F> *
                                              kAdjointThreads * static_cast<int>(sizeof(typename F::Weight))
                                        : 0;
    lrnnx_status status =
        launch(adjoint_of_split<F, kRowKind, kChannelsPerLane, kGeneral>, "adjoint_of_split", Sequence::first,
               problem.batch * problem.groups * channel_blocks * (workspace.splits - 1), 1, kAdjointThreads,
               AdjointLayout::kRowsBytes + 2 * stage_bytes + kept_bytes, device, args.stream, parameters);
    if (status != LRNNX_OK) return status;
    status = launch_carry<F, true>(problem, args.A, args.dlast_state, parameters.adjoint, parameters.product,
                                   part(workspace.carry), workspace.splits, device, args.stream);
    if (status != LRNNX_OK) return status;
    carry = part(workspace.carry);
  }

  const bool direct = workspace.channel_blocks == 1;
  const BackwardParameters parameters = {
      .tensors = {time_tensor(args.delta), time_tensor(args.u), time_tensor(args.dout), time_tensor(args.z),
                  time_tensor(args.out), time_tensor(args.deltaA), time_tensor(args.du), time_tensor(args.ddelta),
                  time_tensor(args.dz), time_tensor(args.ddeltaA)},
      .A = input(args.A),
      .D = input(args.D),
      .delta_bias = input(args.delta_bias),
      .B = args.B.data,
      .C = args.C.data,
      .saved = static_cast<const float*>(args.saved),
      .carry = carry,
      .dh0 = output(args.dh0),
      .state_sums = direct ? nullptr : reinterpret_cast<float4*>(part(workspace.state_sums)),
      .dB = args.dB.data,
      .dC = args.dC.data,
      .A_sums = part(workspace.A_sums),
      .B_sums = part(workspace.B_sums),
      .C_sums = part(workspace.C_sums),
      .D_sums = args.D.data != nullptr ? part(workspace.D_sums) : nullptr,
      .bias_sums = args.delta_bias.data != nullptr ? part(workspace.bias_sums) : nullptr,
      .dim = problem.dim,
      .seqlen = static_cast<std::uint32_t>(problem.seqlen),
      .tiles = static_cast<std::uint32_t>(workspace.tiles),
      .phase = phase,
      .dstate = static_cast<std::int32_t>(problem.dstate),
      .groups = static_cast<std::int32_t>(problem.groups),
      .channels_per_group = static_cast<std::int32_t>(channels_per_group),
      .channel_blocks = static_cast<std::int32_t>(workspace.channel_blocks),
      .splits = static_cast<std::int32_t>(workspace.splits),
      .tiles_per_split = static_cast<std::int32_t>(workspace.tiles_per_split),
      .segments = static_cast<std::int32_t>(workspace.segments),
      .variable_B = variable_B,
      .variable_C = variable_C,
      .softplus = softplus,
      .bf16 = bf16,
  };
  lrnnx_status status =
      launch(selective_scan_backward<F, kRowKind, kChannelsPerLane, kWarps, kGeneral>, "selective_scan_backward",
             workspace.splits > 1 ? Sequence::follower : Sequence::first, column_blocks * workspace.splits, 1,
             kWarps * 32, Layout::total_bytes(static_cast<int>(workspace.passes)), device, args.stream, parameters);
  if (status != LRNNX_OK) return status;

  const auto is_aligned = [](const lrnnx_tensor& tensor) {
    return reinterpret_cast<std::uintptr_t>(tensor.data) % 16 == 0;
  };
  const FinalizeParameters sums = {
      .time = {.A = parameters.A_sums,
               .B = parameters.B_sums,
               .C = parameters.C_sums,
               .D = parameters.D_sums,
               .bias = parameters.bias_sums,
               .dA = output(args.dA),
               .dB = variable_B ? nullptr : output(args.dB),
               .dC = variable_C ? nullptr : output(args.dC),
               .dD = output(args.dD),
               .ddelta_bias = output(args.ddelta_bias),
               .weight = input(args.A),
               .parts = problem.batch * workspace.splits * workspace.segments,
               .dim = problem.dim,
               .dstate = problem.dstate},
      .states = {.parts = parameters.state_sums,
                 .phase = phase,
                 .dB = variable_B ? args.dB.data : nullptr,
                 .dC = variable_C ? args.dC.data : nullptr,
                 .batch_groups = static_cast<std::uint32_t>(problem.batch * problem.groups),
                 .channel_blocks = static_cast<std::uint32_t>(workspace.channel_blocks),
                 .quads = static_cast<std::uint32_t>(workspace.tiles * Layout::Tile::kQuads),
                 .passes = static_cast<std::uint32_t>(workspace.passes),
                 .dstate = static_cast<std::uint32_t>(problem.dstate),
                 .seqlen = static_cast<std::uint32_t>(problem.seqlen),
                 .vector = problem.seqlen % 4 == 0 && is_aligned(args.dB) && is_aligned(args.dC),
                 .halves = is_half(problem.dtype),
                 .bf16 = bf16},
      .time_blocks = static_cast<std::uint32_t>(ceil_div(problem.dim * problem.dstate, 32)),
  };
  const std::int64_t rows = problem.batch * problem.groups * workspace.tiles * Layout::Tile::kQuads * workspace.passes *
                            kStateSumQuads<typename F::Weight>;
  const bool sums_states = !direct && (variable_B || variable_C);
  return launch(finalize_selective_scan<F>, "finalize_selective_scan", Sequence::follower,
                sums.time_blocks + (sums_states ? ceil_div(rows, kFinalizeWarps) : 0), 1, kFinalizeWarps * 32, 0,
                device, args.stream, sums);
}

}  // namespace detail

template <class F, Storage storage>
lrnnx_status launch_forward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_forward_args& args,
                            const ForwardConfiguration& configuration, const Device& device) {
  const RowKind kind = detail::row_kind(problem, args.B, args.C, detail::time_tensors(args));
  if (needs_general_kernel(problem)) {
    return kind == detail::kWhole<storage>
               ? detail::launch_forward<F, detail::kWhole<storage>, 8, 1, 4, true>(problem, args, configuration, device)
               : detail::launch_forward<F, detail::kAny<storage>, 8, 1, 4, true>(problem, args, configuration, device);
  }
  constexpr int R = kIsComplex<typename F::Weight> ? 1 : 2;
  return detail::with_row_kind<F, storage>(kind, [&](auto row_kind) {
    constexpr RowKind kKind = decltype(row_kind)::value;
    const auto is = [&](int lanes, int warps) {
      return configuration.state_lanes == lanes && configuration.warps == warps;
    };
    if (is(8, 8)) return detail::launch_forward<F, kKind, 8, R, 8, false>(problem, args, configuration, device);
    if (is(8, 4)) return detail::launch_forward<F, kKind, 8, R, 4, false>(problem, args, configuration, device);
    if (is(16, 8)) return detail::launch_forward<F, kKind, 16, 1, 8, false>(problem, args, configuration, device);
    return detail::launch_forward<F, kKind, 16, 1, 4, false>(problem, args, configuration, device);
  });
}

template <class F, Storage storage>
lrnnx_status launch_backward(const lrnnx_selective_scan_problem& problem,
                             const lrnnx_selective_scan_backward_args& args, const BackwardConfiguration& configuration,
                             const Device& device) {
  const RowKind kind = detail::row_kind(problem, args.B, args.C, detail::time_tensors(args));
  if (needs_general_kernel(problem)) {
    return kind == detail::kWhole<storage>
               ? detail::launch_backward<F, detail::kWhole<storage>, 1, 4, true>(problem, args, configuration, device)
               : detail::launch_backward<F, detail::kAny<storage>, 1, 4, true>(problem, args, configuration, device);
  }
  return detail::with_row_kind<F, storage>(kind, [&](auto row_kind) {
    constexpr RowKind kKind = decltype(row_kind)::value;
    if constexpr (!kIsComplex<typename F::Weight> && !take_lines(kKind)) {
      if (configuration.channels_per_lane == 2)
        return detail::launch_backward<F, kKind, 2, 8, false>(problem, args, configuration, device);
    }
    if constexpr (!are_halves(kKind)) {
      // Lines take the shared memory of a second channel a lane: blocks of as many channels then have twice the warps.
      if (configuration.channels_per_lane * configuration.warps == 16)
        return detail::launch_backward<F, kKind, 1, 16, false>(problem, args, configuration, device);
    }
    return detail::launch_backward<F, kKind, 1, 8, false>(problem, args, configuration, device);
  });
}

}  // namespace lrnnx::cuda
