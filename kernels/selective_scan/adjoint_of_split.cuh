// The adjoint that each time split of the backward hands on to its left.
//
// With few channels the backward splits time. adjoint_of_split runs the adjoint recurrence alone over each split, from
// zero: it reads delta (or deltaA), dout, z and C only. carry_over_splits then joins the splits from the right.
#pragma once

#include <cstdint>

#include "selective_scan/backward.cuh"
#include "selective_scan/gate.cuh"

namespace lrnnx::cuda {

struct AdjointTensors {
  enum : int { kStep, kDout, kZ, kCount };  // kStep: deltaA if given (then raw), else delta
};

struct AdjointParameters {
  TimeTensor tensors[AdjointTensors::kCount];
  const float *A, *delta_bias;
  const void* C;  // float if fixed
  // (B, splits, D, N) the adjoint leaving each split to the left, and the product of its transitions: if steps add,
  // as (B, splits, D) sums of them.
  float *adjoint, *product;
  std::int64_t dim;
  std::uint32_t seqlen, tiles;
  RowPhase phase;
  std::int32_t dstate, groups, channels_per_group, channel_blocks, splits, tiles_per_split, stage_bytes;
  bool variable_C, raw_step, softplus;
  bool bf16;  // of halves: else f16
};

// Of a block, whatever the backward's own have.
template <bool kGeneral>
constexpr int kAdjointWarps = kGeneral ? 4 : 8;

// Shared memory: for rows of any kind where they lie; two stages, each with C rows, then the slots of the step, dout
// and, if given, z; in the general kernel the adjoints that a lane keeps between passes.
template <class Weight, RowKind kRowKind, int kChannelsPerLane, bool kGeneral>
struct AdjointLayout : AdjointTensors {
  static constexpr bool kAligned = !take_lines(kRowKind);
  using Tile = ChannelTile<kRowKind, kBackwardStateLanes, kChannelsPerLane>;
  using States = StateTile<kRowKind, Tile::kSteps, Weight>;
  using Rows = RowsOf<kRowKind, kCount>;
  static constexpr int kRowsBytes = Rows::kSharedBytes;

  __host__ __device__ static int state_bytes(int states) { return states * States::kRowBytes; }
  static constexpr int kSlotBytes = kAdjointWarps<kGeneral> * Tile::kWarpChannels * Tile::kRowBytes;
  // Weights that a lane of the general kernel keeps for each of its states: the adjoint, and a product that it needs.
  template <class Discretization>
  static constexpr int kKept = Discretization::kStepsAdd ? 1 : 2;
};

template <class Discretization, RowKind kRowKind, int kChannelsPerLane, bool kGeneral>
__global__ void __launch_bounds__(kAdjointWarps<kGeneral> * 32, kGeneral ? 3 : 2)
    adjoint_of_split(const __grid_constant__ AdjointParameters p) {
  using F = Discretization;
  using T = typename F::Weight;
  using Lanes = LaneMap<kBackwardStateLanes>;
  using Layout = AdjointLayout<T, kRowKind, kChannelsPerLane, kGeneral>;
  constexpr bool kAligned = Layout::kAligned;
  using Tile = typename Layout::Tile;
  using States = typename Layout::States;
  constexpr int R = kChannelsPerLane, J = kBackwardLaneStates, K = kBackwardStateLanes;
  static_assert(!kGeneral || R == 1);

  extern __shared__ __align__(256) unsigned char shared[];
  const std::uint32_t shared_base = shared_address(shared);
  constexpr int warps = kAdjointWarps<kGeneral>, threads = warps * 32, slot_bytes = Layout::kSlotBytes;
  const int thread = threadIdx.x;
  const typename Tile::Place mine(thread);
  const int k = mine.k;

  const std::uint32_t channel_block = blockIdx.x % p.channel_blocks;
  // The leftmost split hands nothing on.
  const std::uint32_t split = 1 + blockIdx.x / p.channel_blocks % (p.splits - 1);
  const BlockPlace place(channel_block, blockIdx.x / p.channel_blocks / (p.splits - 1), p.groups, p.channels_per_group,
                         warps * Tile::kWarpChannels, phase_of<kRowKind>(p.phase), p.seqlen);
  const std::uint32_t batch = place.batch;
  const int last_channel = place.last_channel, lead = place.lead;
  const std::uint32_t end = p.seqlen + lead;
  const std::uint32_t first_tile = split * p.tiles_per_split;
  const int tiles = min(static_cast<std::uint32_t>(p.tiles_per_split), p.tiles - first_tile);
  const int passes = kGeneral ? (p.dstate + kStatesPerPass - 1) / kStatesPerPass : 1;
  const int state_bytes = Layout::state_bytes(passes * kStatesPerPass);
  const bool has_z = p.tensors[Layout::kZ].data != nullptr;
  const std::int64_t group_row = static_cast<std::int64_t>(place.batch_group) * p.dstate * p.seqlen - lead;
  float* const kept = reinterpret_cast<float*>(shared + Layout::kRowsBytes + 2 * p.stage_bytes) + thread;

  const typename Layout::Rows rows(shared, p.tensors, place);
  __syncthreads();
  const auto misalignment = [&](int tensor) {
    if (kAligned || p.tensors[tensor].data == nullptr) return 0u;
    return Tile::misalignment(rows, tensor, last_channel, mine);
  };
  const std::uint32_t skipped =
      misalignment(Layout::kStep) | misalignment(Layout::kDout) << 4 | misalignment(Layout::kZ) << 8;

  const auto clamped_row = [&](int r) { return min(mine.row(r), last_channel); };
  const auto state_index = [&](int pass, int j) { return pass * kStatesPerPass + j * K + k; };
  const auto time_of = [&](int m) { return (first_tile + tiles - 1 - m) * Tile::kSteps; };

  const auto copy = [&](int m) {
    if (m < tiles) {
      const std::uint32_t time = time_of(m);
      const int begin = begin_of_rows<kRowKind>(lead, time), left = static_cast<int>(end - time);
      const std::uint32_t states = shared_base + Layout::kRowsBytes + (m & 1) * p.stage_bytes;
      const std::uint32_t slots = states + state_bytes;
      const auto copy_tensor = [&](std::uint32_t slot, int tensor) {
        Tile::copy(slot, rows, tensor, last_channel, time, begin, left, skipped >> 4 * tensor, mine);
      };
      copy_tensor(slots, Layout::kStep);
      copy_tensor(slots + slot_bytes, Layout::kDout);
      if (has_z) copy_tensor(slots + 2 * slot_bytes, Layout::kZ);
      if (!kGeneral || p.variable_C) {
        States::template copy<threads>(states,
                                       static_cast<const Stored<kRowKind>*>(p.C) + (group_row + time) * kParts<T>,
                                       passes * kStatesPerPass, p.dstate, p.seqlen, begin, left, thread);
      }
    }
    commit_copies();
  };

  T omega[R][J], adjoint[R][J], product[R][J], C_fixed[J];
  float bias[R], step_sum[R];
  const auto load_pass = [&](int pass) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int j = 0; j < J; ++j) {
        const int n = state_index(pass, j);
        const bool valid = n < p.dstate;
        const std::int64_t weight = place.channel(clamped_row(r)) * p.dstate + n;
        omega[r][j] = load_omega<F>(p.A, weight, valid);
        if constexpr (kGeneral) {
          C_fixed[j] = from_real<T>(0.0f);
          if (valid && !p.variable_C) C_fixed[j] = load_weight<T>(static_cast<const float*>(p.C), weight);
        }
      }
    }
  };
#pragma unroll
  for (int r = 0; r < R; ++r) {
    bias[r] = p.delta_bias != nullptr ? p.delta_bias[place.channel(clamped_row(r))] : 0.0f;
    step_sum[r] = 0.0f;
#pragma unroll
    for (int j = 0; j < J; ++j) {
      adjoint[r][j] = from_real<T>(0.0f);
      product[r][j] = from_real<T>(1.0f);
    }
  }
  // Calls visit(i, part) for each float that the general kernel keeps between the passes.
  const auto for_each_kept = [&](int pass, auto visit) {
    constexpr int kKept = Layout::template kKept<F>;
#pragma unroll
    for (int i = 0; i < J * kKept * kParts<T>; ++i) {
      const int j = i / (kKept * kParts<T>);
      T& value = i / kParts<T> % kKept == 0 ? adjoint[0][j] : product[0][j];
      visit(kept[(pass * J * kKept * kParts<T> + i) * threads], part(value, i % kParts<T>));
    }
  };
  const auto keep = [&](int pass) { for_each_kept(pass, [](float& slot, float value) { slot = value; }); };
  const auto recall = [&](int pass) { for_each_kept(pass, [](float slot, float& value) { value = slot; }); };
  if constexpr (kGeneral) {
    for (int pass = 0; pass < passes; ++pass) keep(pass);
  } else {
    load_pass(0);
  }

  copy(0);
  for (int m = 0; m < tiles; ++m) {
    wait_copies<0>();
    if (!kGeneral || p.variable_C) {
      States::template widen_copied<threads>(shared, Layout::kRowsBytes + (m & 1) * p.stage_bytes,
                                             passes * kStatesPerPass, thread, p.bf16);
    }
    __syncthreads();
    copy(m + 1);
    const int begin = begin_of_rows<kRowKind>(lead, time_of(m)), left = static_cast<int>(end - time_of(m));
    const std::uint32_t states = Layout::kRowsBytes + (m & 1) * p.stage_bytes;
    const std::uint32_t slots = states + state_bytes, steps = slots + Tile::row_offset(mine.first_row);
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const auto load = [&](int tensor) {
        return Tile::load_copied(shared, slots + mine.quad + tensor * slot_bytes + r * Tile::kLaneRowBytes,
                                 skipped >> (4 * tensor + 2 * r) & 3, p.bf16);
      };
      float4 step = load(Layout::kStep), dy = load(Layout::kDout), z = {0.0f, 0.0f, 0.0f, 0.0f};
      if (has_z) z = load(Layout::kZ);
      if (!kAligned) __syncwarp();
      if (!p.raw_step) {
#pragma unroll
        for (int e = 0; e < 4; ++e) at(step, e) += bias[r];
        if (p.softplus) {
#pragma unroll
          for (int e = 0; e < 4; ++e) at(step, e) = softplus(at(step, e));
        }
      }
      if (has_z) {
#pragma unroll
        for (int e = 0; e < 4; ++e) at(dy, e) *= gate(at(z, e));
      }
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if (4 * k + e < begin || 4 * k + e >= left) {
          at(step, e) = F::kNeutralStep;
          at(dy, e) = 0.0f;
        }
        if (F::kStepsAdd) step_sum[r] += at(step, e);
      }
      if constexpr (kIsComplex<T>) dy = {2.0f * dy.x, 2.0f * dy.y, 2.0f * dy.z, 2.0f * dy.w};
      const std::uint32_t own = slots + mine.quad + r * Tile::kLaneRowBytes;
      store_quad(shared, own, step);
      store_quad(shared, own + slot_bytes, dy);
    }
    __syncwarp();

    for (int pass = 0; pass < passes; ++pass) {
      if constexpr (kGeneral) {
        load_pass(pass);
        recall(pass);
      }
      const std::uint32_t C_base = states + pass * kStatesPerPass * States::kRowBytes + States::row_offset(k);
#pragma unroll
      for (int quad = Tile::kQuads - 1; quad >= 0; --quad) {
        WeightQuad<T> C[J];
#pragma unroll
        for (int j = 0; j < J; ++j) {
          C[j] = !kGeneral || p.variable_C ? States::load(shared, C_base + j * K * States::kRowBytes, quad)
                                           : repeated(C_fixed[j]);
        }
#pragma unroll
        for (int r = 0; r < R; ++r) {
          const std::uint32_t here = Tile::quad_offset(steps, quad) + r * Tile::kLaneRowBytes;
          const float4 step = load_quad(shared, here), dy = load_quad(shared, here + slot_bytes);
#pragma unroll
          for (int e = 3; e >= 0; --e) {
#pragma unroll
            for (int j = 0; j < J; ++j) {
              const T transition = conj(F::transition(omega[r][j], at(step, e)));
              adjoint[r][j] = multiply_add(conj(C[j].at[e]), at(dy, e), adjoint[r][j]) * transition;
              if constexpr (!F::kStepsAdd) product[r][j] = product[r][j] * transition;
            }
          }
        }
      }
      if constexpr (kGeneral) {
        keep(pass);
      }
    }
  }

  const std::int64_t row = (static_cast<std::int64_t>(batch) * p.splits + split) * p.dim;
#pragma unroll
  for (int r = 0; r < R; ++r) {
    const float sum = sum_over_state_lanes<K>(step_sum[r]);
    if (mine.row(r) > last_channel) continue;
    const std::int64_t channel = row + place.channel(mine.row(r));
    if (F::kStepsAdd && k == 0) p.product[channel] = sum;
    for (int pass = 0; pass < passes; ++pass) {
      if constexpr (kGeneral) recall(pass);
#pragma unroll
      for (int j = 0; j < J; ++j) {
        const int n = state_index(pass, j);
        if (n >= p.dstate) continue;
        store_weight(p.adjoint, channel * p.dstate + n, adjoint[r][j]);
        if constexpr (!F::kStepsAdd) store_weight(p.product, channel * p.dstate + n, product[r][j]);
      }
    }
  }
}

}  // namespace lrnnx::cuda
