// Selective scan forward: lanes over channels and states, sequential in time.
//
// A warp holds kChannelsPerLane channels for each of its channel lanes, and the 16 states of a pass spread over the
// state lanes. Per tile each lane copies and prepares one quad of time steps of its channels (softplus, dt * u), all
// lanes then walk through the tile with their states in registers, and a halving sum leaves each lane the outputs of
// the quad it prepared, so that global memory is read and written in 16-byte pieces.
//
// Weights are real or complex; an input factor that depends on the state is applied to each state's input.
//
// With few channels and many steps time is split, so that more blocks run at once: state_of_split finds what each split
// hands on, split_carry.cuh joins that, and then all splits run.
//
// Cost for real mamba, a state update: 1 ex2, 4.1 FMA-pipe instructions, 5.9 issue slots; 5 floats of memory traffic
// for 16 of them with z. An H100 at (8, 2048, 2048, 16) is bound by memory, then by ex2.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/math.h"
#include "discretization/discretization.h"
#include "discretization/update.h"
#include "selective_scan/gate.cuh"
#include "selective_scan/layout.h"
#include "selective_scan/tile.cuh"

namespace lrnnx::cuda {

// The general kernels take a deltaA, whose step is the transition's alone.
template <class F, bool kGeneral>
using KernelUpdate = std::conditional_t<kGeneral, SeparateUpdate<F>, JointUpdate<F>>;

struct ForwardTensors {
  enum : int { kDelta, kU, kZ, kDeltaA, kOut, kOutZ, kCount };
};

struct ForwardParameters {
  TimeTensor tensors[ForwardTensors::kCount];
  const float *A, *D, *delta_bias;  // D and delta_bias: null when absent
  const void *B, *C;                // float if fixed
  float *last_state, *saved;        // null when not asked for
  // (B, splits, D, N): the state that enters each split of time; null: zero.
  const float* initial;
  // state_of_split writes (B, splits, D, N) the state that each split hands on from zero, and the product of its
  // transitions: if steps add, as (B, splits, D) sums of them.
  float *state, *product;
  std::int64_t dim;
  std::uint32_t seqlen, steps, split_steps;  // of a row, of all tiles, and of all splits but the last
  RowPhase phase;
  std::int32_t dstate, groups, channels_per_group, channel_blocks;
  std::int32_t stages, stage_bytes, splits;
  bool variable_B, variable_C, softplus;
  bool bf16;  // of halves: else f16
};

// Shared memory: for rows of any kind where they lie; the stages, at multiples of 256 bytes as swizzling wants, each
// with B rows, C rows and, unless rows take lines, the slots of delta, u, z, deltaA (the last two if given); for lines
// the rings of out, out_z, delta, u, z, deltaA and the slots of the transition's step, the input and, with deltaA, the
// input's step; in the general kernel what a lane keeps between passes: the states and, for a split, their products.
template <class Weight, RowKind kRowKind, int kStateLanes, int kChannelsPerLane, int kWarps, bool kGeneral>
struct ForwardLayout : ForwardTensors {
  static constexpr bool kAligned = !take_lines(kRowKind);
  using Tile = ChannelTile<kRowKind, kStateLanes, kChannelsPerLane>;
  using States = StateTile<kRowKind, Tile::kSteps, Weight>;
  using Rows = RowsOf<kRowKind, kCount>;
  static constexpr int kRowsBytes = Rows::kSharedBytes;

  // Of the rows of so many states in a stage: of B and, unless kStateOnly, of C.
  template <bool kStateOnly>
  __host__ __device__ static int state_bytes(int states) {
    return (kStateOnly ? 1 : 2) * states * States::kRowBytes;
  }
  static constexpr int kSlotBytes = kWarps * Tile::kWarpChannels * Tile::kRowBytes;
  static constexpr int kRingBytes = Tile::ring_bytes(kWarps);
  template <bool kStateOnly>
  __host__ __device__ static int stage_bytes(int states, int inputs) {
    const int bytes = state_bytes<kStateOnly>(states) + (kAligned ? inputs * kSlotBytes : 0);
    return (bytes + 255) / 256 * 256;
  }
  __host__ __device__ static int rings_offset(int stages, int stage_bytes) { return kRowsBytes + stages * stage_bytes; }
  __host__ __device__ static int slots_offset(int stages, int stage_bytes, int inputs) {
    return rings_offset(stages, stage_bytes) + (2 + inputs) * kRingBytes;
  }
  // Weights that a lane of the general kernel keeps for each of its states: the state, and a product that it needs.
  template <class Discretization, bool kStateOnly>
  static constexpr int kKept = kStateOnly && !Discretization::kStepsAdd ? 2 : 1;
  __host__ __device__ static int kept_offset(int stages, int stage_bytes, int inputs) {
    return slots_offset(stages, stage_bytes, inputs) + (kAligned ? 0 : (kGeneral ? 3 : 2) * kSlotBytes);
  }
};

// Those of state_of_split.
constexpr int kSplitStateLanes = 8, kSplitWarps = 4;

// kGeneral: any number of states, any kind of B and C, and deltaA, chosen at run time. Otherwise at most kStatesPerPass
// states, B and C variable, no deltaA.
// kStateOnly: no outputs but the state and the product of one split, which all but the last hand on.
template <class Discretization, RowKind kRowKind, int kStateLanes, int kChannelsPerLane, int kWarps, bool kGeneral,
          bool kStateOnly>
__device__ __forceinline__ void scan_forward(const ForwardParameters& p) {
  using F = Discretization;
  using T = typename F::Weight;
  using Lanes = LaneMap<kStateLanes>;
  using Layout = ForwardLayout<T, kRowKind, kStateLanes, kChannelsPerLane, kWarps, kGeneral>;
  constexpr bool kAligned = Layout::kAligned;
  using Tile = typename Layout::Tile;
  using States = typename Layout::States;
  constexpr int R = kChannelsPerLane, J = kStatesPerPass / kStateLanes;
  static_assert(!kGeneral || R == 1);
  using Update = KernelUpdate<F, kGeneral>;
  // Quads of a tile that are unrolled: the instructions of longer runs overflow the instruction cache.
  constexpr bool kLong =
      kIsComplex<T> || (F::kInput == InputFactor::per_state && F::kStepsAdd);  // more than one exponential
  constexpr int kBlockUpdates = kIsComplex<T> ? 32 : 64;
  constexpr int kBlockQuads = kLong ? kBlockUpdates / (4 * R * J) : Tile::kQuads;
  constexpr int kBlockBits = log2_of(kBlockQuads);

  extern __shared__ __align__(256) unsigned char shared[];
  const std::uint32_t shared_base = shared_address(shared);
  constexpr int threads = kWarps * 32, warps = kWarps, slot_bytes = Layout::kSlotBytes;
  const int thread = threadIdx.x;
  const typename Tile::Place mine(thread);
  const int k = mine.k;

  const std::uint32_t split = blockIdx.y;
  const BlockPlace place(blockIdx.x % p.channel_blocks, blockIdx.x / p.channel_blocks, p.groups, p.channels_per_group,
                         warps * Tile::kWarpChannels, phase_of<kRowKind>(p.phase), p.seqlen);
  const std::uint32_t batch = place.batch;
  const int last_channel = place.last_channel, lead = place.lead;
  const std::uint32_t end = p.seqlen + lead, steps = may_shift(kRowKind) ? p.steps : p.seqlen;
  const std::uint32_t split_begin = split * p.split_steps, split_end = min(split_begin + p.split_steps, steps);

  const int passes = kGeneral ? (p.dstate + kStatesPerPass - 1) / kStatesPerPass : 1;
  const int state_bytes = Layout::template state_bytes<kStateOnly>(passes * kStatesPerPass);
  const bool has_z = p.tensors[Layout::kZ].data != nullptr,
             has_deltaA = kGeneral && p.tensors[Layout::kDeltaA].data != nullptr;
  std::int64_t group_row = static_cast<std::int64_t>(place.batch_group) * p.dstate * p.seqlen - lead;
  if constexpr (R == 2) hold(group_row);  // computed anew in each tile it costs 2 % of the time

  const typename Layout::Rows rows(shared, p.tensors, place);
  __syncthreads();
  // The lane's constants and states, in registers; in the general kernel kept in shared memory between the passes.
  T omega[R][J], h[R][J], B_fixed[J], C_fixed[J];
  [[maybe_unused]] T product[R][J];         // of kStateOnly
  [[maybe_unused]] float step_sum[R] = {};  // instead of it, if steps add
  typename Update::Constant constant[R][J];
  float D[R], bias[R];
  float* const kept =
      reinterpret_cast<float*>(shared + Layout::kept_offset(p.stages, p.stage_bytes, 2 + has_z + has_deltaA)) + thread;
  const auto state_index = [&](int pass, int j) { return pass * kStatesPerPass + j * kStateLanes + k; };
  const auto is_valid = [&](int r) { return mine.row(r) <= last_channel; };
  const auto clamped_row = [&](int r) { return min(mine.row(r), last_channel); };
  const auto channel = [&](int r) { return place.channel(clamped_row(r)); };
  const auto load_weights = [&](int pass) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int j = 0; j < J; ++j) {
        const int n = state_index(pass, j);
        const std::int64_t weight = channel(r) * p.dstate + n;
        const bool valid = n < p.dstate;
        omega[r][j] = load_omega<F>(p.A, weight, valid);
        constant[r][j] = Update::constant(omega[r][j]);
        if constexpr (kGeneral) {
          B_fixed[j] = C_fixed[j] = from_real<T>(0.0f);
          if (F::kTakesB && valid && !p.variable_B) B_fixed[j] = load_weight<T>(static_cast<const float*>(p.B), weight);
          if (!kStateOnly && valid && !p.variable_C)
            C_fixed[j] = load_weight<T>(static_cast<const float*>(p.C), weight);
        }
      }
    }
  };
  // Of the arrays by split.
  const auto split_channel = [&](int r) {
    return (static_cast<std::int64_t>(batch) * p.splits + split) * p.dim + channel(r);
  };
  const auto load_initial_state = [&](int pass) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int j = 0; j < J; ++j) {
        const int n = state_index(pass, j);
        h[r][j] = from_real<T>(0.0f);
        if constexpr (kStateOnly) {
          product[r][j] = from_real<T>(1.0f);
        } else if (p.initial != nullptr && n < p.dstate) {
          h[r][j] = load_weight<T>(p.initial, split_channel(r) * p.dstate + n);
        }
      }
    }
  };
  // Calls visit(slot, value) for each float that the general kernel keeps between the passes.
  const auto for_each_kept = [&](int pass, auto visit) {
    constexpr int kKept = Layout::template kKept<F, kStateOnly>;
#pragma unroll
    for (int i = 0; i < J * kKept * kParts<T>; ++i) {
      const int j = i / (kKept * kParts<T>);
      T& value = i / kParts<T> % kKept == 0 ? h[0][j] : product[0][j];
      visit(kept[(pass * J * kKept * kParts<T> + i) * threads], part(value, i % kParts<T>));
    }
  };
  const auto keep_state = [&](int pass) { for_each_kept(pass, [](float& slot, float value) { slot = value; }); };
  const auto recall_state = [&](int pass) { for_each_kept(pass, [](float slot, float& value) { value = slot; }); };
  if constexpr (kGeneral) {
    for (int pass = 0; pass < passes; ++pass) {
      load_initial_state(pass);
      keep_state(pass);
    }
  } else {
    load_weights(0);
    load_initial_state(0);
  }
#pragma unroll
  for (int r = 0; r < R; ++r) {
    D[r] = p.D != nullptr ? p.D[channel(r)] : 0.0f;
    bias[r] = p.delta_bias != nullptr ? p.delta_bias[channel(r)] : 0.0f;
  }

  const auto stage_offset = [&](int stage) { return Layout::kRowsBytes + stage * p.stage_bytes; };
  const auto copy_states = [&](std::uint32_t time, int stage) {
    const int begin = begin_of_rows<kRowKind>(lead, time), left = static_cast<int>(end - time);
    const std::uint32_t target = shared_base + stage_offset(stage);
    const std::int64_t first = (group_row + time) * kParts<T>;
    if (F::kTakesB && (!kGeneral || p.variable_B)) {
      States::template copy<threads>(target, static_cast<const Stored<kRowKind>*>(p.B) + first, passes * kStatesPerPass,
                                     p.dstate, p.seqlen, begin, left, thread);
    }
    if (!kStateOnly && (!kGeneral || p.variable_C)) {
      States::template copy<threads>(target + state_bytes / 2, static_cast<const Stored<kRowKind>*>(p.C) + first,
                                     passes * kStatesPerPass, p.dstate, p.seqlen, begin, left, thread);
    }
  };
  // Calls copy(tensor, place) for each input with its place among the slots or rings.
  const int deltaA_place = has_z ? 3 : 2;
  const auto for_each_input = [&](auto copy) {
    copy(Layout::kDelta, 0);
    copy(Layout::kU, 1);
    if (has_z) copy(Layout::kZ, 2);
    if (has_deltaA) copy(Layout::kDeltaA, deltaA_place);
  };
  const auto copy_tile = [&](std::uint32_t time, int stage) {
    if (time < split_end) {
      copy_states(time, stage);
      if constexpr (kAligned) {
        for_each_input([&](int tensor, int place) {
          Tile::copy(shared_base + stage_offset(stage) + state_bytes + place * slot_bytes, rows, tensor, last_channel,
                     time, begin_of_rows<kRowKind>(lead, time), static_cast<int>(end - time), 0, mine);
        });
      }
    }
    commit_copies();
  };
  // Lines: the steps of a tile lie in the one that ends in it and in the next.
  const int rings = Layout::rings_offset(p.stages, p.stage_bytes);
  const int input_rings = rings + 2 * Layout::kRingBytes;
  int behind[R];
  const auto measure = [&](int tensor) { Tile::measure_lines(rows, tensor, last_channel, mine, behind); };
  const auto copy_lines = [&](int time) {
    for_each_input([&](int tensor, int place) {
      measure(tensor);
      Tile::copy_line(shared_base + input_rings + place * Layout::kRingBytes, rows, tensor, last_channel, time,
                      max(lead, static_cast<int>(split_begin)), static_cast<int>(min(end, split_end)), behind, mine);
    });
    commit_copies();
  };
  const auto store_line = [&](int tensor, int ring, int time) {
    if constexpr (!kAligned) {
      measure(tensor);
      Tile::store_line(shared, rings + ring * Layout::kRingBytes, rows, tensor, last_channel, time,
                       max(lead, static_cast<int>(split_begin)), static_cast<int>(min(end, split_end)), behind, mine);
    }
  };
  const auto store_lines = [&](int time) {
    store_line(Layout::kOut, 0, time);
    if (has_z) store_line(Layout::kOutZ, 1, time);
  };

  if constexpr (!kAligned) {
    copy_lines(split_begin);
    copy_lines(split_begin + Tile::kSteps);
  }
  for (int stage = 0; stage < p.stages - 1; ++stage) copy_tile(split_begin + stage * Tile::kSteps, stage);
  int stage = 0;
  for (std::uint32_t time = split_begin; time < split_end; time += Tile::kSteps) {
    if (kGeneral && p.stages == 1) {  // no room for the next tile before every warp has left this one
      __syncthreads();
      copy_tile(time, 0);
      wait_copies<0>();
    } else if (!kAligned || p.stages == 2) {
      wait_copies<0>();
    } else if (p.stages == 3) {
      wait_copies<1>();
    } else {
      wait_copies<2>();
    }
    if constexpr (are_halves(kRowKind)) {
      const auto widen_states = [&](std::uint32_t target) {
        States::template widen_copied<threads>(shared, target, passes * kStatesPerPass, thread, p.bf16);
      };
      if (F::kTakesB && (!kGeneral || p.variable_B)) widen_states(stage_offset(stage));
      if (!kStateOnly && (!kGeneral || p.variable_C)) widen_states(stage_offset(stage) + state_bytes / 2);
    }
    __syncthreads();
    if (!kGeneral || p.stages > 1)
      copy_tile(time + (p.stages - 1) * Tile::kSteps, stage == 0 ? p.stages - 1 : stage - 1);

    const int begin = begin_of_rows<kRowKind>(lead, time), left = static_cast<int>(end - time);
    const std::uint32_t states = stage_offset(stage);
    const std::uint32_t delta_slots =
        kAligned ? states + state_bytes : Layout::slots_offset(p.stages, p.stage_bytes, 2 + has_z + has_deltaA);
    const std::uint32_t row_base = Tile::row_offset(mine.first_row), own_slots = delta_slots + mine.quad;

    // Each lane prepares its own quads in place: delta becomes the transition's step, u the input with its factor if
    // that is the same for all states. Where it is not, and has a step of its own, that step goes where deltaA was.
    const std::uint32_t dt_slot = kAligned ? deltaA_place * slot_bytes : 2 * slot_bytes;
    float4 Du[R];
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const std::uint32_t own = own_slots + r * Tile::kLaneRowBytes;
      const auto load = [&](int tensor, int place) {
        if constexpr (kAligned) {
          return Tile::load_copied(shared, own + place * slot_bytes, 0, p.bf16);
        } else {
          measure(tensor);
          return Tile::load_lines(shared, input_rings + place * Layout::kRingBytes + mine.row(r) * Tile::kRingRowBytes,
                                  k, time, behind[r]);
        }
      };
      float4 step = load(Layout::kDelta, 0), x = load(Layout::kU, 1), stepA = {0.0f, 0.0f, 0.0f, 0.0f};
      // The lines of z go before it is needed: it waits where the output will be put.
      if (!kAligned && has_z) {
        store_quad(shared, Tile::ring_place(rings, mine.row(r), k, time), load(Layout::kZ, 2));
      }
      if (has_deltaA) stepA = load(Layout::kDeltaA, deltaA_place);
#pragma unroll
      for (int e = 0; e < 4; ++e) at(Du[r], e) = D[r] * at(x, e);
      if constexpr (F::kTakesStepOptions) {
#pragma unroll
        for (int e = 0; e < 4; ++e) at(step, e) += bias[r];
        if (p.softplus) {
#pragma unroll
          for (int e = 0; e < 4; ++e) at(step, e) = softplus(at(step, e));
        }
      }
      if constexpr (Update::kInput == InputFactor::step) {
#pragma unroll
        for (int e = 0; e < 4; ++e) at(x, e) *= Update::kInputUnit * at(step, e);
      }
      if (begin > 0 || left < Tile::kSteps) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (4 * k + e < begin || 4 * k + e >= left) {
            at(step, e) = at(stepA, e) = F::kNeutralStep;
            at(x, e) = 0.0f;
          }
        }
      }
      if (has_deltaA) {
        if (!Update::kOneStep) store_quad(shared, own + dt_slot, step);
        step = stepA;
      }
      if constexpr (kStateOnly && F::kStepsAdd) step_sum[r] += step.x + step.y + step.z + step.w;
      store_quad(shared, own, step);
      store_quad(shared, own + slot_bytes, x);
    }
    __syncwarp();
    if (!kAligned && time + Tile::kSteps < split_end) copy_lines(time + 2 * Tile::kSteps);

    float4 y[R];
    for (int pass = 0; pass < passes; ++pass) {
      if constexpr (kGeneral) {
        load_weights(pass);
        recall_state(pass);
      }
      const std::uint32_t B_base = states + States::row_offset(k) + pass * kStatesPerPass * States::kRowBytes;
      const std::uint32_t C_base = B_base + state_bytes / 2;
      // Quad sums still to be merged, one for each bit of the quad number: those within a block, and those beyond.
      float4 pending[R][kBlockBits + 1], pending_blocks[R][Lanes::kStateBits - kBlockBits + 1], total[R];
#pragma unroll 1
      for (int block = 0; block < Tile::kQuads / kBlockQuads; ++block) {
        const std::uint32_t B_block = States::quad_offset(B_base, block * kBlockQuads);
        const std::uint32_t C_block = States::quad_offset(C_base, block * kBlockQuads);
        const std::uint32_t rows_block = Tile::quad_offset(delta_slots + row_base, block * kBlockQuads);
#pragma unroll
        for (int quad = 0; quad < kBlockQuads; ++quad) {
          const int quad_of_tile = block * kBlockQuads + quad;
          if (!kStateOnly && quad_of_tile % (kSavedSteps / 4) == 0 && p.saved != nullptr &&
              time + quad_of_tile * 4 < steps) {
            const std::int64_t saves = (steps + kSavedSteps - 1) / kSavedSteps;
            const std::int64_t save = batch * saves + (time + quad_of_tile * 4) / kSavedSteps;
#pragma unroll
            for (int r = 0; r < R; ++r) {
              T* const target = reinterpret_cast<T*>(p.saved) + (save * p.dim + channel(r)) * p.dstate;
#pragma unroll
              for (int j = 0; j < J; ++j) {
                const int n = state_index(pass, j);
                if (is_valid(r) && n < p.dstate) target[n] = h[r][j];
              }
            }
          }
          WeightQuad<T> B[J], C[J];
#pragma unroll
          for (int j = 0; j < J; ++j) {
            // Rows kStateLanes apart are a multiple of 8 apart: the same swizzle.
            const std::uint32_t row = j * kStateLanes * States::kRowBytes;
            if (!F::kTakesB) {
              B[j] = repeated(from_real<T>(1.0f));
            } else {
              B[j] = !kGeneral || p.variable_B ? States::load(shared, B_block + row, quad) : repeated(B_fixed[j]);
            }
            if (!kStateOnly)
              C[j] = !kGeneral || p.variable_C ? States::load(shared, C_block + row, quad) : repeated(C_fixed[j]);
          }
          const std::uint32_t row_quad = Tile::quad_offset(rows_block, quad);
#pragma unroll
          for (int r = 0; r < R; ++r) {
            const float4 step = load_quad(shared, row_quad + r * Tile::kLaneRowBytes),
                         x = load_quad(shared, row_quad + slot_bytes + r * Tile::kLaneRowBytes);
            float4 dt = step, sum;
            if (!Update::kOneStep && has_deltaA) dt = load_quad(shared, row_quad + dt_slot + r * Tile::kLaneRowBytes);
#pragma unroll
            for (int e = 0; e < 4; ++e) {
#pragma unroll
              for (int j = 0; j < J; ++j) {
                Update update(omega[r][j], constant[r][j], at(step, e), at(dt, e));
                h[r][j] = update.advance(h[r][j], at(x, e), B[j].at[e]);
                if constexpr (kStateOnly) {
                  if (!F::kStepsAdd) product[r][j] = update.advance(product[r][j], 0.0f, from_real<T>(0.0f));
                  continue;
                }
                at(sum, e) = real_multiply_add(h[r][j], C[j].at[e], j == 0 ? 0.0f : at(sum, e));
              }
            }
            if constexpr (!kStateOnly) {
              // A quad whose low bits are all ones completes that many levels of the halving sum.
              int level = 0;
#pragma unroll
              for (int bit = 0; bit < kBlockBits; ++bit) {
                if ((quad & ((2 << bit) - 1)) == (2 << bit) - 1) {
                  sum = halve(pending[r][bit], sum, k >> bit & 1, Lanes::state_mask(bit));
                  level = bit + 1;
                }
              }
              pending[r][level] = sum;
            }
          }
        }
        if constexpr (!kStateOnly) {
#pragma unroll
          for (int r = 0; r < R; ++r) {
            total[r] = pending[r][kBlockBits];
            bool complete = true;  // so far: the block's low bits are all ones
#pragma unroll
            for (int bit = kBlockBits; bit < Lanes::kStateBits; ++bit) {
              float4& other = pending_blocks[r][bit - kBlockBits];
              const bool upper = block >> (bit - kBlockBits) & 1;
              if (complete && upper) total[r] = halve(other, total[r], k >> bit & 1, Lanes::state_mask(bit));
              if (complete && !upper) other = total[r];
              complete = complete && upper;
            }
          }
        }
      }
      if constexpr (kGeneral) keep_state(pass);
      if constexpr (!kStateOnly) {
#pragma unroll
        for (int r = 0; r < R; ++r) {
          if (!kGeneral || pass == 0) {
            y[r] = total[r];
          } else {
            y[r] = {y[r].x + total[r].x, y[r].y + total[r].y, y[r].z + total[r].z, y[r].w + total[r].w};
          }
        }
      }
    }

    if constexpr (!kStateOnly) {
#pragma unroll
      for (int r = 0; r < R; ++r) {
        const std::uint32_t own = own_slots + r * Tile::kLaneRowBytes;
        if constexpr (kIsComplex<T>) {
#pragma unroll
          for (int e = 0; e < 4; ++e) at(y[r], e) *= 2.0f;
        }
        if (p.D != nullptr) {
#pragma unroll
          for (int e = 0; e < 4; ++e) at(y[r], e) += at(Du[r], e);
        }
        float4 gated = y[r];
        if (has_z) {
          const float4 z = kAligned ? Tile::load_copied(shared, own + 2 * slot_bytes, 0, p.bf16)
                                    : load_quad(shared, Tile::ring_place(rings, mine.row(r), k, time));
#pragma unroll
          for (int e = 0; e < 4; ++e) at(gated, e) *= gate(at(z, e));
        }
        if constexpr (kAligned) {
          if (is_valid(r) && 4 * k < left) {
            const int row = mine.row(r);
            const auto store = [&](int tensor, float4 quad) {
              Tile::store(rows.at(tensor, row, time + 4 * k), quad, begin - 4 * k <= 0 && left - 4 * k >= 4,
                          begin - 4 * k, left - 4 * k, p.bf16);
            };
            store(Layout::kOut, y[r]);
            if (has_z) store(Layout::kOutZ, gated);
          }
        } else {
          Tile::put(shared, rings, mine.row(r), k, time, y[r]);
          if (has_z) Tile::put(shared, rings + Layout::kRingBytes, mine.row(r), k, time, gated);
        }
      }
      if constexpr (!kAligned) {
        __syncwarp();
        store_lines(time);
      }
    }
    stage = stage + 1 == p.stages ? 0 : stage + 1;
  }
  // Calls store(r, n, state, product) for each of the lane's states.
  const auto for_each_state = [&](auto store) {
    for (int pass = 0; pass < passes; ++pass) {
      if constexpr (kGeneral) recall_state(pass);
#pragma unroll
      for (int r = 0; r < R; ++r) {
#pragma unroll
        for (int j = 0; j < J; ++j) {
          const int n = state_index(pass, j);
          if (is_valid(r) && n < p.dstate) store(r, n, h[r][j], product[r][j]);
        }
      }
    }
  };
  if constexpr (kStateOnly) {
    for_each_state([&](int r, int n, const T& state, const T& product) {
      store_weight(p.state, split_channel(r) * p.dstate + n, state);
      if (!F::kStepsAdd) store_weight(p.product, split_channel(r) * p.dstate + n, product);
    });
    if constexpr (F::kStepsAdd) {
#pragma unroll
      for (int r = 0; r < R; ++r) {
        const float sum = sum_over_state_lanes<kStateLanes>(step_sum[r]);
        if (k == 0 && is_valid(r)) p.product[split_channel(r)] = sum;
      }
    }
  } else {
    if constexpr (!kAligned) store_lines((split_end + Tile::kSteps - 1) / Tile::kSteps * Tile::kSteps);
    if (p.last_state != nullptr && split + 1 == p.splits) {
      for_each_state([&](int r, int n, const T& state, const T&) {
        store_weight(p.last_state, (batch * p.dim + channel(r)) * p.dstate + n, state);
      });
    }
  }
}

template <class Discretization, RowKind kRowKind, int kStateLanes, int kChannelsPerLane, int kWarps, bool kGeneral>
__global__ void __launch_bounds__(kWarps * 32, kStateLanes == 16 ? 1
                                               : kWarps == 8     ? 2
                                                                 : 3)
    selective_scan_forward(const __grid_constant__ ForwardParameters p) {
  wait_for_predecessor();
  scan_forward<Discretization, kRowKind, kStateLanes, kChannelsPerLane, kWarps, kGeneral, false>(p);
}

// What each split but the last hands on, from a state of zero.
template <class Discretization, RowKind kRowKind, int kChannelsPerLane, bool kGeneral>
__global__ void __launch_bounds__(kSplitWarps * 32, 3) state_of_split(const __grid_constant__ ForwardParameters p) {
  scan_forward<Discretization, kRowKind, kSplitStateLanes, kChannelsPerLane, kSplitWarps, kGeneral, true>(p);
}

}  // namespace lrnnx::cuda
