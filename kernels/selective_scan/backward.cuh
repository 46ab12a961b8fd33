// Selective scan backward: time tiles in reverse, states rebuilt from the saved ones, never divided back.
//
// Lanes cover channels and states as in the forward. For each tile of 32 steps, starting from the state that the
// forward saved:
//   prepare   each lane turns its own quads into the transition's step, the input x, dy (through the gate), what the
//             update wants aside and softplus', and stores dz
//   rebuild   the state at the start of each quad of steps, kept in registers or, where those are short, in shared
//             memory
//   reverse   quad by quad from the last: four states recomputed, then with g the adjoint of h,
//                 g_t = C_t dy_t + transition_{t+1} g_{t+1},  w_t = g_t slope_t h_{t-1},
//             and the sums  over states:   s1 = g B, s2 = w omega           (for du and ddelta)
//                           over channels: dB = g x, dC = dy h              (halving sums, then shared memory)
//                           over time:     domega += w step                (in the lane's registers)
//   finish    each lane turns the sums of its own quads into du, ddelta, ddeltaA
// Slopes and the gradients through them are kept in units of F::kSlopeUnit. With complex weights a factor hands
// gradients on times its conjugate, and g starts from 2 dy, for y is twice a real part.
// An input factor f that depends on the state is left out of x, which then is u. Instead
//                 s1 = g f B,  dB = g f u,  and with v_t = g B u / unit
//                 s2 += v df/dt,  domega += v df/domega
// where s2 becomes two sums if deltaA gives the transition a step of its own. If not, a discretization's joint update
// (discretization/update.h) gives the same from what the transition and the factor share.
//
// Sums over the block's warps go through a double buffer guarded by mbarriers: a warp's lanes arrive when its part is
// written, goes on, and waits only one block of quads later, so that warps may drift apart without running loose.
// Every sum has a fixed order: partial sums of blocks and time segments go to the workspace and finalize.cuh adds them.
//
// Cost for real mamba, a state update: 2 ex2 and 31 to 35 warp instructions. Bound by issue, and by registers: a
// quarter of a Hopper multiprocessor reads at most two a cycle, an even-numbered one and an odd one, so that a
// multiplication and addition of three takes one and a half cycles (measured; an operand's .reuse saves its read).
#pragma once

#include <cstdint>

#include "common/math.h"
#include "discretization/discretization.h"
#include "discretization/update.h"
#include "selective_scan/forward.cuh"
#include "selective_scan/gate.cuh"
#include "selective_scan/layout.h"
#include "selective_scan/tile.cuh"

namespace lrnnx::cuda {

constexpr int kBackwardLaneStates = kStatesPerPass / kBackwardStateLanes;
// Quads whose sums over channels are added up at once.
template <class Weight>
constexpr int kQuadsPerSum = kIsComplex<Weight> ? 1 : 2;
// Groups of four floats, a quad of steps each, that a lane has after the sum over channels.
template <class Weight>
constexpr int kStateSumQuads = kParts<Weight>;

struct BackwardTensors {
  enum : int { kDelta, kU, kDout, kZ, kOut, kDeltaA, kDu, kDdelta, kDz, kDdeltaA, kCount };
};

struct BackwardParameters {
  TimeTensor tensors[BackwardTensors::kCount];
  const float *A, *D, *delta_bias;
  const void *B, *C;  // float if fixed
  const float* saved;
  // (B, splits, D, N): the adjoint that enters each time split from the right; null: zero.
  const float* carry;
  float* dh0;
  // Sums over the block's channels. Either partial sums, (B G, channel_blocks, quads, passes, kStateSumQuads, 32)
  // float4, of the block's own tiles, or, with one block for each group, dB and dC themselves.
  float4* state_sums;
  void *dB, *dC;
  // Sums over time, (B splits segments, D, N) and (B splits segments, D); B_sums and C_sums for fixed B and C.
  float *A_sums, *B_sums, *C_sums, *D_sums, *bias_sums;
  std::int64_t dim;
  std::uint32_t seqlen, tiles;
  RowPhase phase;
  std::int32_t dstate, groups, channels_per_group, channel_blocks, splits, tiles_per_split, segments;
  bool variable_B, variable_C, softplus;
  bool bf16;  // of halves: else f16
};

// Which row of dB or dC, counted from the pass's first state, a lane ends with after the sum over channels, and which
// of its four steps' parts: part q of the weight in its q-th group of four.
struct StateSumPlace {
  bool of_B;
  int state;
};
template <class Weight>
__device__ __forceinline__ StateSumPlace state_sum_place(int lane) {
  using Lanes = LaneMap<kBackwardStateLanes>;
  const int position =
      position_after_sum<8 * kBackwardLaneStates * kParts<Weight>, Lanes::kChannelBits>(Lanes::channel(lane));
  const int row = position / (4 * kParts<Weight>);
  return {row % 2 == 0, row / 2 * kBackwardStateLanes + Lanes::state(lane)};
}

// Shared memory, in this order: two tiles of B and C, first because of States::kPairMask; for rows of any kind where
// they lie of each tensor; two stages of slots for delta, u, dout, z, out and, in the general kernel, deltaA; there too
// slots for the sums over states; for lines the rings of dz, du, ddelta and, in the general kernel, ddeltaA; two
// buffers for the warps' sums over channels; for complex weights the states at the start of each quad, unless rows take
// lines; the saved states; the sums for D and bias; bias and D; barriers; and in the general kernel what a lane
// keeps between passes.
template <class Discretization, RowKind kRowKind, int kChannelsPerLane, int kWarps, bool kGeneral>
struct BackwardLayout : BackwardTensors {
  using Weight = typename Discretization::Weight;
  static constexpr bool kAligned = !take_lines(kRowKind);
  using Tile = ChannelTile<kRowKind, kBackwardStateLanes, kChannelsPerLane>;
  using States = StateTile<kRowKind, Tile::kSteps, Weight, true>;
  using Rows = RowsOf<kRowKind, kCount>;
  static constexpr int kThreads = kWarps * 32;
  static constexpr int kSlotBytes = kWarps * Tile::kWarpChannels * Tile::kRowBytes;
  static constexpr int kUSlot = kSlotBytes, kDoutSlot = 2 * kSlotBytes, kZSlot = 3 * kSlotBytes,
                       kOutSlot = 4 * kSlotBytes, kDeltaASlot = 5 * kSlotBytes;
  static constexpr int kStageBytes = ((kGeneral ? 6 : 5) * kSlotBytes + 127) / 128 * 128;
  static constexpr int kStateTileBytes = 2 * kStatesPerPass * States::kRowBytes;
  static constexpr int kSumBytes =
      kQuadsPerSum<Weight> * kStateSumQuads<Weight> * 32 * 16;  // one warp's part of a block of quads
  // Sums over states for each step: of the general kernel 2 or, with an input factor that depends on the state, 3, for
  // which there are 4.
  static constexpr int kLaneSums = kGeneral && Discretization::kInput == InputFactor::per_state ? 4 : 2;

  static constexpr int kStatesOffset = 0;
  static constexpr int kRowsOffset = kStatesOffset + 2 * kStateTileBytes;
  static constexpr int kStagesOffset = kRowsOffset + Rows::kSharedBytes;
  static constexpr int kLaneSumsOffset = kStagesOffset + 2 * kStageBytes;
  static constexpr int kRingBytes = Tile::ring_bytes(kWarps);
  static constexpr int kRingsOffset = kLaneSumsOffset + (kGeneral ? (kLaneSums * kSlotBytes + 127) / 128 * 128 : 0);
  static constexpr int kSumsOffset = kRingsOffset + (kGeneral ? 4 : 3) * kRingBytes;
  // The states at the start of each quad, where registers are short. Real ones lie in the stage of the next tile, each
  // warp's in its own rows, two quads a slot; what is copied there waits until the last block of quads has begun.
  // Those kernels of halves that can keep them in registers spill less so; of one channel a lane, those of shifted
  // rows.
  static constexpr bool kIsShort =
      kChannelsPerLane == 2 || (kRowKind == RowKind::shifted && KernelUpdate<Discretization, kGeneral>::kOneStep);
  static constexpr bool kStartsInStage =
      kIsShort && kAligned && !kGeneral && (Discretization::kInput == InputFactor::per_state || !are_halves(kRowKind));
  static constexpr bool kStartsInShared = kStartsInStage || (kIsComplex<Weight> && kAligned && !kGeneral);
  static constexpr int kStartBytes = kChannelsPerLane * kBackwardLaneStates * static_cast<int>(sizeof(Weight));
  static constexpr int kStartsOffset = kSumsOffset + 2 * kWarps * kSumBytes;
  static constexpr int kSavedOffset =
      kStartsOffset + (kStartsInShared && !kStartsInStage ? Tile::kQuads * kThreads * kStartBytes : 0);
  static constexpr int kChannelSumsOffset =
      kSavedOffset + kThreads * kChannelsPerLane * kBackwardLaneStates * static_cast<int>(sizeof(Weight));
  static constexpr int kParametersOffset = kChannelSumsOffset + kThreads * kChannelsPerLane * 8;
  static constexpr int kBarriersOffset = kParametersOffset + kWarps * Tile::kWarpChannels * 8;
  static constexpr int kKeptOffset = kBarriersOffset + 16;
  // Values that a lane of the general kernel keeps for each pass: the adjoint and the sums over time.
  static constexpr int kKeptPerPass = 4 * kBackwardLaneStates * kParts<Weight>;
  __host__ __device__ static constexpr int total_bytes(int passes) {
    return kKeptOffset + (kGeneral ? passes * kKeptPerPass * kThreads * 4 : 0);
  }
};

template <class Discretization, RowKind kRowKind, int kChannelsPerLane, int kWarps, bool kGeneral>
__global__ void __launch_bounds__(kWarps * 32, kWarps == 4 ? 3 : 16 / kWarps)
    selective_scan_backward(const __grid_constant__ BackwardParameters p) {
  wait_for_predecessor();
  using F = Discretization;
  using T = typename F::Weight;
  using Lanes = LaneMap<kBackwardStateLanes>;
  using Layout = BackwardLayout<F, kRowKind, kChannelsPerLane, kWarps, kGeneral>;
  constexpr bool kAligned = Layout::kAligned;
  using Tile = typename Layout::Tile;
  using States = typename Layout::States;
  constexpr int R = kChannelsPerLane, J = kBackwardLaneStates, K = kBackwardStateLanes;
  using Update = KernelUpdate<F, kGeneral>;
  constexpr bool kInputPerState = F::kInput == InputFactor::per_state;
  constexpr int kWeightParts = kParts<T>;
  constexpr int kQuadsInSum = kQuadsPerSum<T>;
  // Quads that are unrolled: over the whole tile their instructions overflow the instruction cache.
  constexpr int kBlockQuads = (kInputPerState ? 2 : 4) / kWeightParts, kBlocks = Tile::kQuads / kBlockQuads;
  constexpr int kTurnsPerBlock = kBlockQuads / kQuadsInSum;
  constexpr int kSumsPerTile = Tile::kQuads / kQuadsInSum;
  static_assert(kSumsPerTile % 4 == 0 && (kSumsPerTile & (kSumsPerTile - 1)) == 0,
                "a block of quads has the same buffer and barrier phase in every tile");
  static_assert(Tile::kSteps == kSavedSteps && (!kGeneral || R == 1));

  extern __shared__ __align__(256) unsigned char shared[];
  const std::uint32_t shared_base = shared_address(shared);
  constexpr int threads = kWarps * 32, warps = kWarps;
  const int thread = threadIdx.x, warp = thread >> 5, lane = thread & 31;
  typename Tile::Place mine(thread);
  if constexpr (kIsComplex<T>) mine.hold();  // real kernels have no registers to spare
  const int k = mine.k;

  const std::uint32_t channel_block = blockIdx.x % p.channel_blocks;
  const std::uint32_t split = blockIdx.x / p.channel_blocks % p.splits;
  const BlockPlace place(channel_block, blockIdx.x / p.channel_blocks / p.splits, p.groups, p.channels_per_group,
                         warps * Tile::kWarpChannels, phase_of<kRowKind>(p.phase), p.seqlen);
  const std::uint32_t batch = place.batch, batch_group = place.batch_group;
  const int last_channel = place.last_channel, lead = place.lead;
  const std::uint32_t end = p.seqlen + lead;
  const std::uint32_t first_tile = split * p.tiles_per_split;
  const int tiles = min(static_cast<std::uint32_t>(p.tiles_per_split), p.tiles - first_tile);

  const int passes = kGeneral ? (p.dstate + kStatesPerPass - 1) / kStatesPerPass : 1;
  const bool has_z = p.tensors[Layout::kZ].data != nullptr,
             has_deltaA = kGeneral && p.tensors[Layout::kDeltaA].data != nullptr;
  // Saved states that one load takes. It made complex zoh faster, and complex mamba and bilinear slower.
  constexpr bool kSavedTogether = !kIsComplex<T> || Update::kInput == InputFactor::one;
  constexpr bool kStartsInShared = Layout::kStartsInShared, kStartsInStage = Layout::kStartsInStage;
  struct alignas(Layout::kStartBytes) Start {
    T states[R * J];
  };
  T* const saved_here =
      reinterpret_cast<T*>(shared + Layout::kSavedOffset) + (kSavedTogether ? thread * R * J : thread);
  float2* const bias_and_D = reinterpret_cast<float2*>(shared + Layout::kParametersOffset);
  const std::uint32_t barriers = shared_base + Layout::kBarriersOffset;
  float* const kept = reinterpret_cast<float*>(shared + Layout::kKeptOffset) + thread;

  const typename Layout::Rows rows(shared + Layout::kRowsOffset, p.tensors, place);
  if (thread == 0) {
    barrier_init(barriers, threads);
    barrier_init(barriers + 8, threads);
  }
  for (int i = thread; i < warps * Tile::kWarpChannels; i += threads) {
    const std::int64_t channel = place.channel(min(i, last_channel));
    bias_and_D[i] = {p.delta_bias != nullptr ? p.delta_bias[channel] : 0.0f, p.D != nullptr ? p.D[channel] : 0.0f};
  }
  __syncthreads();
  const auto misalignment = [&](int tensor) {
    if (kAligned || p.tensors[tensor].data == nullptr) return 0u;
    return Tile::misalignment(rows, tensor, last_channel, mine);
  };
  const std::uint32_t skipped = misalignment(Layout::kDelta) | misalignment(Layout::kU) << 4 |
                                misalignment(Layout::kDout) << 8 | misalignment(Layout::kZ) << 12 |
                                misalignment(Layout::kOut) << 16 | misalignment(Layout::kDeltaA) << 20;

  // sum_over_lanes() likes half of the lanes to have their two states, or channels, in each other's place. state_row()
  // are the channels whose states a lane holds, mine.row() those whose quads it prepares.
  constexpr bool kSwapChannels = R == 2;
  const int swap_states = Lanes::channel(lane) >> (Lanes::kChannelBits - 1);
  const int swap_channels = kSwapChannels ? k >> (Lanes::kStateBits - 1) : 0;
  const auto state_row = [&](int r) { return mine.row(r ^ swap_channels); };
  const auto clamped_row = [&](int r) { return min(state_row(r), last_channel); };
  const auto is_valid = [&](int row) { return row <= last_channel; };
  const auto lane_state = [&](int j) { return (j ^ swap_states) * K + k; };
  const auto state_index = [&](int pass, int j) { return pass * kStatesPerPass + lane_state(j); };
  // Tiles are counted from the right.
  const auto time_of = [&](int m) { return (first_tile + tiles - 1 - m) * Tile::kSteps; };
  const std::int64_t group_row = static_cast<std::int64_t>(batch_group) * p.dstate * p.seqlen - lead;

  const auto copy_channels = [&](int m) {
    if (m >= tiles) return;
    const std::uint32_t time = time_of(m);
    const int begin = begin_of_rows<kRowKind>(lead, time), left = static_cast<int>(end - time);
    const std::uint32_t stage = shared_base + Layout::kStagesOffset + (m & 1) * Layout::kStageBytes;
    const auto copy = [&](int tensor, int slot) {
      Tile::copy(stage + slot, rows, tensor, last_channel, time, begin, left, skipped >> 4 * tensor, mine);
    };
    copy(Layout::kDelta, 0);
    copy(Layout::kU, Layout::kUSlot);
    copy(Layout::kDout, Layout::kDoutSlot);
    if (has_z) {
      copy(Layout::kZ, Layout::kZSlot);
      copy(Layout::kOut, Layout::kOutSlot);
    }
    if (has_deltaA) copy(Layout::kDeltaA, Layout::kDeltaASlot);
  };
  // Where the state of the lane's own row r and index j goes: together, they lie as the lane holds its states.
  const auto saved_target = [&](int r, int j) {
    if constexpr (kSavedTogether) {
      return shared_address(saved_here + (swap_channels * J + swap_states)) ^ (r * J + j) * sizeof(T);
    } else {
      return shared_address(saved_here + (r * J + j) * threads);
    }
  };
  const auto copy_saved = [&](int m, int pass) {
    if (m >= tiles) return;
    const std::int64_t save = static_cast<std::int64_t>(batch) * p.tiles + first_tile + tiles - 1 - m;
    const T* const states = reinterpret_cast<const T*>(p.saved) + (save * p.dim + place.first_channel) * p.dstate;
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const T* const row = states + (min(mine.row(r), last_channel) * place.channel_step * p.dstate + k);
#pragma unroll
      for (int j = 0; j < J; ++j) {
        const int n = pass * kStatesPerPass + j * K;
        copy_async<sizeof(T)>(saved_target(r, j), row + n, n + k < p.dstate);
      }
    }
  };
  const auto copy_states = [&](int m, int pass) {
    if (m >= tiles) return;
    const std::uint32_t time = time_of(m);
    const std::uint32_t target =
        shared_base + Layout::kStatesOffset + ((m * passes + pass) & 1) * Layout::kStateTileBytes;
    const std::int64_t first =
        (group_row + static_cast<std::int64_t>(pass) * kStatesPerPass * p.seqlen + time) * kWeightParts;
    const int states = p.dstate - pass * kStatesPerPass;
    const int begin = begin_of_rows<kRowKind>(lead, time), left = static_cast<int>(end - time);
    if (F::kTakesB && (!kGeneral || p.variable_B)) {
      States::template copy<threads>(target, static_cast<const Stored<kRowKind>*>(p.B) + first, kStatesPerPass, states,
                                     p.seqlen, begin, left, thread);
    }
    if (!kGeneral || p.variable_C) {
      States::template copy<threads>(target + Layout::kStateTileBytes / 2,
                                     static_cast<const Stored<kRowKind>*>(p.C) + first, kStatesPerPass, states,
                                     p.seqlen, begin, left, thread);
    }
  };

  // Of the pass that comes after (m, pass), once what copy_states() copied for it has landed.
  const auto widen_states = [&](int m, int pass) {
    if constexpr (are_halves(kRowKind)) {
      const std::uint32_t target = Layout::kStatesOffset + ((m * passes + pass + 1) & 1) * Layout::kStateTileBytes;
      const auto widen = [&](std::uint32_t target) {
        States::template widen_copied<threads>(shared, target, kStatesPerPass, thread, p.bf16);
      };
      if (F::kTakesB && (!kGeneral || p.variable_B)) widen(target);
      if (!kGeneral || p.variable_C) widen(target + Layout::kStateTileBytes / 2);
    }
  };

  // omega, the adjoint that enters from the right, and the sums over time, in registers; in the general kernel kept in
  // shared memory between the passes.
  T omega[R][J], adjoint[R][J], A_sum[R][J];
  typename Update::Constant constant[R][J];
  T B_sum[J], C_sum[J], B_fixed[J], C_fixed[J];  // of the general kernel
  const auto load_weights = [&](int pass) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int j = 0; j < J; ++j) {
        const int n = state_index(pass, j);
        const std::int64_t weight = place.channel(clamped_row(r)) * p.dstate + n;
        const bool valid = n < p.dstate;
        omega[r][j] = load_omega<F>(p.A, weight, valid);
        constant[r][j] = Update::constant(omega[r][j]);
        if constexpr (kGeneral) {
          B_fixed[j] = C_fixed[j] = from_real<T>(0.0f);
          if (F::kTakesB && valid && !p.variable_B) B_fixed[j] = load_weight<T>(static_cast<const float*>(p.B), weight);
          if (valid && !p.variable_C) C_fixed[j] = load_weight<T>(static_cast<const float*>(p.C), weight);
        }
      }
    }
  };
  const auto load_carry = [&](int pass) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int j = 0; j < J; ++j) {
        const int n = state_index(pass, j);
        const std::int64_t row = (static_cast<std::int64_t>(batch) * p.splits + split) * p.dim;
        adjoint[r][j] = A_sum[r][j] = B_sum[j] = C_sum[j] = from_real<T>(0.0f);
        if (p.carry != nullptr && n < p.dstate) {
          adjoint[r][j] = load_weight<T>(p.carry, (row + place.channel(clamped_row(r))) * p.dstate + n);
        }
      }
    }
  };
  const auto kept_value = [&](int pass, int i) -> float& { return kept[(pass * Layout::kKeptPerPass + i) * threads]; };
  // Calls visit(i, part) for each float of them.
  const auto for_each_kept = [&](auto visit) {
#pragma unroll
    for (int j = 0; j < J; ++j) {
      T* const values[] = {&adjoint[0][j], &A_sum[0][j], &B_sum[j], &C_sum[j]};
#pragma unroll
      for (int i = 0; i < 4 * kWeightParts; ++i) {
        visit(j * 4 * kWeightParts + i, part(*values[i / kWeightParts], i % kWeightParts));
      }
    }
  };
  const auto keep = [&](int pass) { for_each_kept([&](int i, float value) { kept_value(pass, i) = value; }); };
  const auto recall = [&](int pass) { for_each_kept([&](int i, float& value) { value = kept_value(pass, i); }); };
  // Sums for dD and ddelta_bias that only the ends of a tile touch: (D, bias) of each r.
  float2* const channel_sums = reinterpret_cast<float2*>(shared + Layout::kChannelSumsOffset) + thread;
#pragma unroll
  for (int r = 0; r < R; ++r) channel_sums[r * threads] = {0.0f, 0.0f};
  if constexpr (kGeneral) {
    for (int pass = 0; pass < passes; ++pass) {
      load_carry(pass);
      keep(pass);
    }
  } else {
    load_weights(0);
    load_carry(0);
  }

  // Adds the warps' parts of one finished block of quads, numbered `turn` within its tile, and writes the sums. The
  // turn picks the threads.
  const bool sums_channels = !kGeneral || (F::kTakesB && p.variable_B) || p.variable_C;
  const auto reduce = [&](int turn, std::uint32_t channel_block, std::uint32_t time, int pass) {
    constexpr int duty = threads / kSumsPerTile;
    const int first = thread - turn * duty;
    if (first < 0 || first >= duty) return;
#pragma unroll 1
    for (int i = first; i < 32 * kStateSumQuads<T> * kQuadsInSum; i += duty) {
      const unsigned char* part = shared + Layout::kSumsOffset + (turn & 1) * warps * Layout::kSumBytes + i * 16;
      float4 sum = load_quad(part, 0);
#pragma unroll
      for (int w = 1; w < warps; ++w) {
        const float4 other = load_quad(part, w * Layout::kSumBytes);
        sum = {sum.x + other.x, sum.y + other.y, sum.z + other.z, sum.w + other.w};
      }
      const int source = i & 31, group_of_four = i / 32 % kStateSumQuads<T>;
      const std::uint32_t quad =
          (time + (kSumsPerTile - 1 - turn) * kQuadsInSum * 4) / 4 + i / (32 * kStateSumQuads<T>);
      if (p.state_sums != nullptr) {
        const std::int64_t block = static_cast<std::int64_t>(batch_group) * p.channel_blocks + channel_block;
        const std::int64_t row = (block * p.tiles * Tile::kQuads + quad) * passes + pass;
        __stcg(p.state_sums + (row * kStateSumQuads<T> + group_of_four) * 32 + source, sum);
      } else {
        const StateSumPlace place = state_sum_place<T>(source);
        const int n = pass * kStatesPerPass + place.state;
        if ((place.of_B && !F::kTakesB) || (kGeneral && !(place.of_B ? p.variable_B : p.variable_C))) continue;
        if (n >= p.dstate) continue;
        auto* const target = static_cast<Stored<kRowKind>*>(place.of_B ? p.dB : p.dC) +
                             (group_row + static_cast<std::int64_t>(n) * p.seqlen + quad * 4) * kWeightParts +
                             group_of_four;
        if constexpr (are_halves(kRowKind)) {
          if (quad * 4 < p.seqlen) {
            store_halves(target, narrow(sum, p.bf16), static_cast<int>(min(p.seqlen - quad * 4, 4u)));
          }
        } else {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            if (quad * 4 + e < p.seqlen) target[e * kWeightParts] = at(sum, e);
          }
        }
      }
    }
  };
  const auto wait_for_sums = [&](int turn) { barrier_wait(barriers + 8 * (turn & 1), turn >> 1 & 1); };

  // Write the sums over time of one segment and start the next.
  const auto segment_row = [&](int segment) {
    return ((static_cast<std::int64_t>(batch) * p.splits + split) * p.segments + segment) * p.dim;
  };
  const auto flush_states = [&](int segment, int pass) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int j = 0; j < J; ++j) {
        const int n = state_index(pass, j);
        if (is_valid(state_row(r)) && n < p.dstate) {
          const std::int64_t index = (segment_row(segment) + place.channel(state_row(r))) * p.dstate + n;
          if (F::kUsesA) store_weight(p.A_sums, index, Update::kOmegaUnit * A_sum[r][j]);
          if (F::kTakesB && kGeneral && !p.variable_B) store_weight(p.B_sums, index, B_sum[j]);
          if (kGeneral && !p.variable_C) store_weight(p.C_sums, index, C_sum[j]);
        }
        A_sum[r][j] = B_sum[j] = C_sum[j] = from_real<T>(0.0f);
      }
    }
  };
  const auto flush_channels = [&](int segment) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const float2 sums = channel_sums[r * threads];
      const float D_total = sum_over_state_lanes<K>(sums.x), bias_total = sum_over_state_lanes<K>(sums.y);
      if (k == 0 && is_valid(mine.row(r))) {
        const std::int64_t index = segment_row(segment) + place.channel(mine.row(r));
        if (p.D_sums != nullptr) p.D_sums[index] = D_total;
        if (p.bias_sums != nullptr) p.bias_sums[index] = bias_total;
      }
      channel_sums[r * threads] = {0.0f, 0.0f};
    }
  };

  // A line ends in the tile on its right, which was there first.
  int behind[R];
  const auto store_line = [&](int tensor, int ring, int time) {
    if constexpr (!kAligned) {
      Tile::measure_lines(rows, tensor, last_channel, mine, behind);
      Tile::store_line(shared, Layout::kRingsOffset + ring * Layout::kRingBytes, rows, tensor, last_channel, time,
                       max(lead, static_cast<int>(time_of(tiles - 1))),
                       static_cast<int>(min(end, time_of(0) + Tile::kSteps)), behind, mine);
    }
  };
  const auto store_lines = [&](int time) {
    store_line(Layout::kDu, 1, time);
    store_line(Layout::kDdelta, 2, time);
    if (has_deltaA) store_line(Layout::kDdeltaA, 3, time);
  };

  copy_channels(0);
  copy_saved(0, 0);
  copy_states(0, 0);
  commit_copies();
  wait_copies<0>();
  widen_states(0, -1);
  __syncthreads();

  // Where a lane's sums over states go: over x and dy of the quad, which it was the last to read; in the general
  // kernel, whose later passes read those again, to slots of their own. Where finish needs neither the quad's step nor
  // what lies aside, and the sums are to take less (real zoh; complex kernels have no registers for that), two lanes
  // keep a part of each sum, the second part over these.
  constexpr int kPartBits =
      !kGeneral && !kIsComplex<T> && Update::kInput != InputFactor::step && Update::kWholeStep ? 1 : 0;
  constexpr int kSumBits = Lanes::kStateBits - kPartBits;
  constexpr int kLaneSums = Layout::kLaneSums, kSumValues = 4 * kLaneSums * R >> kSumBits;
  const int sum_position = position_after_sum<4 * kLaneSums * R, kSumBits>(k >> kPartBits);
  // Of the sum number i.
  const auto sums_slot = [&](int i, int part) {
    if (kGeneral) return i * Layout::kSlotBytes;
    if (part == 0) return i == 0 ? Layout::kUSlot : Layout::kDoutSlot;
    return i == 0 ? 0 : Layout::kZSlot;
  };
  const std::uint32_t sum_target = sums_slot(sum_position / 4 % kLaneSums, k & ((1 << kPartBits) - 1)) +
                                   sum_position / (4 * kLaneSums) * Tile::kLaneRowBytes + (sum_position & 3) * 4;
  const std::uint32_t row_base = Tile::row_offset(mine.first_row);
  const std::uint32_t first_state_row = row_base + swap_channels * Tile::kLaneRowBytes,
                      next_state_row = Tile::kLaneRowBytes * (1 - 2 * swap_channels);

  for (int m = 0; m < tiles; ++m) {
    const std::uint32_t time = time_of(m);
    const int begin = begin_of_rows<kRowKind>(lead, time), left = static_cast<int>(end - time);
    const bool whole = max(begin, Tile::kSteps - left) <= 0;
    const std::uint32_t slots = Layout::kStagesOffset + (m & 1) * Layout::kStageBytes;
    const std::uint32_t sums_slots = kGeneral ? Layout::kLaneSumsOffset : slots;
    const std::uint32_t stage = slots + first_state_row, sums_stage = sums_slots + row_base;
    float4 Ddy[R];
    bool last_of_segment = false;

    for (int pass = 0; pass < passes; ++pass) {
      if constexpr (kGeneral) {
        load_weights(pass);
        recall(pass);
      }
      const bool last_pass = pass + 1 == passes;
      T start[kStartsInShared ? 1 : Tile::kQuads][R][J];  // the state before each quad
      if constexpr (kSavedTogether) {
        const Start saved = *reinterpret_cast<const Start*>(saved_here);
#pragma unroll
        for (int i = 0; i < R * J; ++i) start[0][i / J][i % J] = saved.states[i];
      } else {
#pragma unroll
        for (int i = 0; i < R * J; ++i) {
          start[0][i / J][i % J] = saved_here[((i / J ^ swap_channels) * J + (i % J ^ swap_states)) * threads];
        }
      }
      __syncwarp();
      if (!kStartsInStage && pass == 0) copy_channels(m + 1);
      copy_saved(last_pass ? m + 1 : m, last_pass ? 0 : pass + 1);

      if (pass == 0) {
#pragma unroll
        for (int r = 0; r < R; ++r) {
          const auto load = [&](int tensor, int slot) {
            return Tile::load_copied(shared, slots + mine.quad + slot + r * Tile::kLaneRowBytes,
                                     skipped >> (4 * tensor + 2 * r) & 3, p.bf16);
          };
          float4 step = load(Layout::kDelta, 0), x = load(Layout::kU, Layout::kUSlot),
                 dy = load(Layout::kDout, Layout::kDoutSlot);
          // What is not given is 0: arrays that are set on one path only would go to local memory.
          constexpr float4 kNone = {0.0f, 0.0f, 0.0f, 0.0f};
          const float4 z = has_z ? load(Layout::kZ, Layout::kZSlot) : kNone,
                       out = has_z ? load(Layout::kOut, Layout::kOutSlot) : kNone;
          float4 slope = {1.0f, 1.0f, 1.0f, 1.0f}, dz = kNone,
                 stepA = has_deltaA ? load(Layout::kDeltaA, Layout::kDeltaASlot) : kNone;
          if (!kAligned) __syncwarp();
          const float2 bias_D = bias_and_D[mine.row(r)];
          float4 u = x;
          if (has_z) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              const ValueAndSlope gated = gate_and_slope(at(z, e));
              at(dz, e) = at(dy, e) * at(out, e) * gated.slope;
              at(dy, e) *= gated.value;
            }
          }
          if constexpr (F::kTakesStepOptions) {
#pragma unroll
            for (int e = 0; e < 4; ++e) at(step, e) += bias_D.x;
            if (p.softplus) {
#pragma unroll
              for (int e = 0; e < 4; ++e) {
                const ValueAndSlope dt = softplus_and_sigmoid(at(step, e));
                at(step, e) = dt.value;
                at(slope, e) = dt.slope;
              }
            }
          }
          if constexpr (Update::kInput == InputFactor::step) {
#pragma unroll
            for (int e = 0; e < 4; ++e) at(x, e) *= Update::kInputUnit * at(step, e);
          }
          if (!whole || last_channel + 1 < warps * Tile::kWarpChannels) {
            // Steps past the end, and lanes that repeat the last channel, must leave states and sums alone.
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              const bool outside = 4 * k + e < begin || 4 * k + e >= left;
              if (outside) at(step, e) = at(stepA, e) = F::kNeutralStep;
              if (outside) at(slope, e) = 0.0f;
              if (outside || !is_valid(mine.row(r))) at(x, e) = at(u, e) = at(dy, e) = 0.0f;
            }
          }
          float D_part = 0.0f;
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            D_part = fmaf(at(dy, e), at(u, e), D_part);
            at(Ddy[r], e) = p.D != nullptr ? bias_D.y * at(dy, e) : 0.0f;
          }
          channel_sums[r * threads].x += D_part;

          const std::uint32_t own = slots + mine.quad + r * Tile::kLaneRowBytes;
          if (has_z) {
            if constexpr (kAligned) {
              if (is_valid(mine.row(r)) && 4 * k < left) {
                Tile::store(rows.at(Layout::kDz, mine.row(r), time + 4 * k), dz, whole, begin - 4 * k, left - 4 * k,
                            p.bf16);
              }
            } else {
              Tile::put(shared, Layout::kRingsOffset, mine.row(r), k, time, dz);
            }
          }
          if (has_deltaA) {
            store_quad(shared, own + Layout::kDeltaASlot, step);
            step = stepA;
          }
          float4 aside;
#pragma unroll
          for (int e = 0; e < 4; ++e) at(aside, e) = Update::aside(at(step, e), at(u, e));
          store_quad(shared, own, step);
          store_quad(shared, own + Layout::kUSlot, x);
          if constexpr (kIsComplex<T>) dy = {2.0f * dy.x, 2.0f * dy.y, 2.0f * dy.z, 2.0f * dy.w};
          store_quad(shared, own + Layout::kDoutSlot, dy);
          store_quad(shared, own + Layout::kZSlot, aside);
          store_quad(shared, own + Layout::kOutSlot, slope);
        }
        __syncwarp();
        if (!kAligned && has_z) store_line(Layout::kDz, 0, time + Tile::kSteps);
      }

      // All warps have left the previous pass, and their copies of this one's B and C have landed.
      if (m > 0 || pass > 0) wait_for_sums(kSumsPerTile - 1);
      copy_states(last_pass ? m + 1 : m, last_pass ? 0 : pass + 1);
      commit_copies();
      const std::uint32_t B_base = Layout::kStatesOffset + ((m * passes + pass) & 1) * Layout::kStateTileBytes +
                                   States::row_offset(lane_state(0));
      const auto load_B = [&](std::uint32_t first, int quad, int j) {
        if (!F::kTakesB) return repeated(from_real<T>(1.0f));
        if (kGeneral && !p.variable_B) return repeated(B_fixed[j]);
        return States::load(shared, j == 0 ? first : first ^ States::kPairMask, quad);
      };
      const auto load_C = [&](std::uint32_t first, int quad, int j) {
        if (kGeneral && !p.variable_C) return repeated(C_fixed[j]);
        return States::load(shared + Layout::kStateTileBytes / 2, j == 0 ? first : first ^ States::kPairMask, quad);
      };
      // The input's step of a quad, which is that of the transition unless deltaA is given.
      const auto load_dt = [&](std::uint32_t quad, float4 step) {
        return !Update::kOneStep && has_deltaA ? load_quad(shared, quad + Layout::kDeltaASlot) : step;
      };
      const auto rebuild = [&](std::uint32_t rows, std::uint32_t states, int quad, T(&h)[R][J]) {
        WeightQuad<T> B[J];
#pragma unroll
        for (int j = 0; j < J; ++j) B[j] = load_B(states, quad, j);
#pragma unroll
        for (int r = 0; r < R; ++r) {
          const std::uint32_t here = Tile::quad_offset(rows, quad) + r * next_state_row;
          const float4 step = load_quad(shared, here), x = load_quad(shared, here + Layout::kUSlot);
          const float4 dt = load_dt(here, step);
#pragma unroll
          for (int j = 0; j < J; ++j) {
#pragma unroll
            for (int e = 0; e < 4; ++e) {
              typename Update::Rebuild update(omega[r][j], constant[r][j], at(step, e), at(dt, e));
              h[r][j] = update.advance(h[r][j], at(x, e), B[j].at[e]);
            }
          }
        }
      };
      const auto start_at = [&](int block, int quad) -> Start& {
        if constexpr (kStartsInStage) {
          constexpr int kWarpBytes = Tile::kWarpChannels * Tile::kRowBytes;
          static_assert(kWarpBytes == 2 * 32 * sizeof(Start) && kBlockQuads % 2 == 0);
          const std::uint32_t next_stage = Layout::kStagesOffset + (~m & 1) * Layout::kStageBytes + warp * kWarpBytes;
          const std::uint32_t slot = (block * (kBlockQuads / 2) + quad / 2) * Layout::kSlotBytes;
          return reinterpret_cast<Start*>(shared + next_stage + slot)[quad % 2 * 32 + lane];
        } else {
          return reinterpret_cast<Start*>(shared +
                                          Layout::kStartsOffset)[(block * kBlockQuads + quad) * threads + thread];
        }
      };
      const auto copy_start = [&](int to, int from) {
#pragma unroll
        for (int i = 0; i < R * J; ++i) start[to][i / J][i % J] = start[from][i / J][i % J];
      };
      if constexpr (kBlocks == 2 && !kStartsInShared) {
#pragma unroll
        for (int quad = 0; quad + 1 < Tile::kQuads; ++quad) {
          copy_start(quad + 1, quad);
          rebuild(stage, B_base, quad, start[quad + 1]);
        }
      } else {
        // Each block moves the states of the blocks before it down.
        T h[R][J];
#pragma unroll
        for (int i = 0; i < R * J; ++i) h[i / J][i % J] = start[0][i / J][i % J];
#pragma unroll 1
        for (int block = 0; block < kBlocks; ++block) {
          const std::uint32_t rows_block = Tile::quad_offset(stage, block * kBlockQuads);
          const std::uint32_t B_block = States::quad_offset(B_base, block * kBlockQuads);
          if constexpr (!kStartsInShared) {
#pragma unroll
            for (int quad = 0; quad + kBlockQuads < Tile::kQuads; ++quad) copy_start(quad, quad + kBlockQuads);
          }
#pragma unroll
          for (int quad = 0; quad < kBlockQuads; ++quad) {
            if constexpr (kStartsInShared) {
              Start& place = start_at(block, quad);
#pragma unroll
              for (int i = 0; i < R * J; ++i) place.states[i] = h[i / J][i % J];
            } else {
#pragma unroll
              for (int i = 0; i < R * J; ++i) start[Tile::kQuads - kBlockQuads + quad][i / J][i % J] = h[i / J][i % J];
            }
            if (quad + 1 < kBlockQuads || block + 1 < kBlocks) rebuild(rows_block, B_block, quad, h);
          }
        }
      }

      // Steps past the end add to the gradient of A 0 times the last state and the adjoint from the right. Where that
      // product is not finite it is a NaN, which is not theirs to spread.
      constexpr bool kMayEndWithin = !are_whole_quads(kRowKind), kChecksState = kRowKind == RowKind::shifted;
      bool adds_nothing = true;
      if (left < Tile::kSteps) {
        if constexpr (kChecksState) {
          constexpr int kLastBlock = Tile::kQuads - kBlockQuads;
          T last[R][J];
#pragma unroll
          for (int i = 0; i < R * J; ++i) {
            if constexpr (kStartsInShared) {
              last[i / J][i % J] = start_at(kBlocks - 1, kBlockQuads - 1).states[i];
            } else {
              last[i / J][i % J] = start[Tile::kQuads - 1][i / J][i % J];
            }
          }
          rebuild(Tile::quad_offset(stage, kLastBlock), States::quad_offset(B_base, kLastBlock), kBlockQuads - 1, last);
          float zero = 0.0f;
#pragma unroll
          for (int i = 0; i < R * J; ++i) zero = fmaf(adjoint[i / J][i % J] * last[i / J][i % J], 0.0f, zero);
          adds_nothing = __all_sync(~0u, zero == 0.0f);
        }
        // Quads past the end: as above, whatever the last state is.
#pragma unroll
        for (int quad = 1; quad < Tile::kQuads; ++quad) {
          if constexpr (kStartsInShared) {
            if (quad * 4 >= left) start_at(0, quad) = {};
          } else {
#pragma unroll
            for (int i = 0; i < R * J; ++i) {
              if (quad * 4 >= left) start[quad][i / J][i % J] = from_real<T>(0.0f);
            }
          }
        }
      }

      // The block at hand has its states in the last places of `start`. The instructions that nearly all tiles run are
      // to be few: there is a version for those without steps to leave out.
      constexpr int kVersions = kChecksState ? 2 : 1;
#pragma unroll
      for (int version = 0; version < kVersions; ++version) {
        const bool leaves_out = kVersions == 2 ? version == 1 : kMayEndWithin;
        if (kVersions == 2 && leaves_out == adds_nothing) continue;
#pragma unroll 1
        for (int block = kBlocks - 1; block >= 0; --block) {
          const std::uint32_t block_stage = Tile::quad_offset(stage, block * kBlockQuads);
          const std::uint32_t block_sums = Tile::quad_offset(sums_stage, block * kBlockQuads);
          const std::uint32_t B_block = States::quad_offset(B_base, block * kBlockQuads);
          [[maybe_unused]] Start starts_now[kStartsInShared ? kBlockQuads : 1];
          if constexpr (kStartsInShared) {
#pragma unroll
            for (int quad = 0; quad < kBlockQuads; ++quad) starts_now[quad] = start_at(block, quad);
          }
          if constexpr (kStartsInStage) {
            if (block == 0) {
              __syncwarp();
              copy_channels(m + 1);
              commit_copies();
            }
          }
#pragma unroll
          for (int quad = kBlockQuads - 1; quad >= 0; --quad) {
            const int turn = (kBlocks - 1 - block) * kTurnsPerBlock + (kBlockQuads - 1 - quad) / kQuadsInSum;
            WeightQuad<T> B[J], C[J];
#pragma unroll
            for (int j = 0; j < J; ++j) {
              B[j] = load_B(B_block, quad, j);
              C[j] = load_C(B_block, quad, j);
            }
            // Over states, by (r, sum, e); over channels by (j, dB or dC, part, e).
            float sums[4 * kLaneSums * R], parts[8 * J * kWeightParts];
#pragma unroll
            for (int r = 0; r < R; ++r) {
              const std::uint32_t here = Tile::quad_offset(block_stage, quad) + r * next_state_row;
              const float4 step = load_quad(shared, here), x = load_quad(shared, here + Layout::kUSlot),
                           dy = load_quad(shared, here + Layout::kDoutSlot);
              const float4 dt = load_dt(here, step), aside = load_quad(shared, here + Layout::kZSlot);
#pragma unroll
              for (int j = 0; j < J; ++j) {
                const auto update_of = [&](int e) {
                  return Update(omega[r][j], constant[r][j], at(step, e), at(dt, e), at(aside, e));
                };
                // Where that of step e is. Real ones with much to compute from the last on: nvcc's registers then meet
                // in one bank less often.
                const auto place_of = [](int e) { return kInputPerState && !kIsComplex<T> ? 3 - e : e; };
                Update updates[] = {update_of(place_of(0)), update_of(place_of(1)), update_of(place_of(2)),
                                    update_of(place_of(3))};
                T h[5], A_part[4];
                if constexpr (kStartsInShared) {
                  h[0] = starts_now[quad].states[r * J + j];
                } else {
                  h[0] = start[Tile::kQuads - kBlockQuads + quad][r][j];
                }
#pragma unroll
                for (int e = 0; e < 4; ++e) {
                  h[e + 1] = updates[place_of(e)].template advance<true>(h[e], at(x, e), B[j].at[e]);
                }
#pragma unroll
                for (int e = 3; e >= 0; --e) {
                  // Adds to a sum, which starts with the first j or r.
                  const auto sum = [&](int i) -> float& { return sums[(r * kLaneSums + i) * 4 + e]; };
                  const auto add_product = [&](int i, T a, T b) {
                    sum(i) = real_multiply_add(a, b, j == 0 ? 0.0f : sum(i));
                  };
                  const auto add_part = [&](int row, T a, float b) {
#pragma unroll
                    for (int i = 0; i < kWeightParts; ++i) {
                      float& target = parts[(row * kWeightParts + i) * 4 + e];
                      target = fmaf(part(a, i), b, r == 0 ? 0.0f : target);
                    }
                  };
                  const T g_t = multiply_add(conj(C[j].at[e]), at(dy, e), adjoint[r][j]);
                  add_part(2 * j + 1, conj(h[e + 1]), at(dy, e));
                  const Adjoints<T> to = updates[place_of(e)].reverse(g_t, h[e], at(x, e), B[j].at[e]);
                  adjoint[r][j] = to.state;
                  add_part(2 * j, to.input, at(x, e));
                  add_product(0, to.input, conj(B[j].at[e]));
                  add_product(1, to.step, conj(to.by));
                  A_part[e] = to.omega;
                  if constexpr (!Update::kOneStep) {
                    if constexpr (kGeneral) {
                      sum(2) = real(to.input_step) + (j == 0 ? 0.0f : sum(2));
                      sum(3) = 0.0f;
                    } else {
                      sum(1) += real(to.input_step);
                    }
                  }
                  if (!leaves_out) A_sum[r][j] += A_part[e];
                }
                if (leaves_out) {
                  const int steps = left - (block * kBlockQuads + quad) * 4;
#pragma unroll
                  for (int e = 3; e >= 0; --e) {
                    if (e < steps) A_sum[r][j] += A_part[e];
                  }
                }
                if constexpr (kGeneral) {
                  const auto add_fixed = [&](T& sum, int row) {
#pragma unroll
                    for (int i = 0; i < kWeightParts; ++i) {
                      const float* const quad = parts + (row * kWeightParts + i) * 4;
                      part(sum, i) += quad[0] + quad[1] + quad[2] + quad[3];
                    }
                  };
                  if (!p.variable_B) add_fixed(B_sum[j], 2 * j);
                  if (!p.variable_C) add_fixed(C_sum[j], 2 * j + 1);
                }
              }
            }

            sum_over_lanes<4 * kLaneSums * R, kSumBits, kSwapChannels>(
                sums, k >> kPartBits, [](int bit) { return Lanes::state_mask(bit + kPartBits); });
            __syncwarp();  // every lane has read what the sums take the place of
            float* const target = reinterpret_cast<float*>(shared + Tile::quad_offset(block_sums, quad) + sum_target);
            if constexpr (kSumValues == 4) {
              *reinterpret_cast<float4*>(target) = {sums[0], sums[1], sums[2], sums[3]};
            } else if constexpr (kSumValues == 2) {
              const float2 before = kGeneral && pass > 0 ? *reinterpret_cast<float2*>(target) : float2{0.0f, 0.0f};
              *reinterpret_cast<float2*>(target) = {before.x + sums[0], before.y + sums[1]};
            } else {
              static_assert(kSumValues == 1);
              *target = kGeneral && pass > 0 ? *target + sums[0] : sums[0];
            }

            if (sums_channels) {
              sum_over_lanes<8 * J * kWeightParts, Lanes::kChannelBits, true>(
                  parts, Lanes::channel(lane), [](int bit) { return Lanes::channel_mask(bit); });
            }
            static_assert(8 * J * kWeightParts >> Lanes::kChannelBits == 4 * kStateSumQuads<T>);
            if (quad % kQuadsInSum == kQuadsInSum - 1 && (turn > 0 || m > 0 || pass > 0)) {
              // The previous block of quads is complete: its sums can go out, and the buffer before it is free.
              const int previous = (turn + kSumsPerTile - 1) & (kSumsPerTile - 1);
              wait_for_sums(previous);
              if (sums_channels) {
                const bool previous_tile = turn == 0 && pass == 0;
                reduce(previous, channel_block, previous_tile ? time + Tile::kSteps : time,
                       turn > 0 ? pass : (pass == 0 ? passes - 1 : pass - 1));
              }
            }
#pragma unroll
            for (int i = 0; i < kStateSumQuads<T>; ++i) {
              store_quad(shared,
                         Layout::kSumsOffset + ((turn & 1) * warps + warp) * Layout::kSumBytes +
                             ((quad % kQuadsInSum * kStateSumQuads<T> + i) * 32 + lane) * 16,
                         {parts[4 * i], parts[4 * i + 1], parts[4 * i + 2], parts[4 * i + 3]});
            }
            if (quad % kQuadsInSum == 0) {
              if (quad == 0 && block == 0) {
                wait_copies<0>();
                widen_states(m, pass);
              }
              __syncwarp();
              barrier_arrive(barriers + 8 * (turn & 1));
            }
          }
          if constexpr (!kStartsInShared) {
#pragma unroll
            for (int quad = Tile::kQuads - 1; quad >= kBlockQuads; --quad) copy_start(quad, quad - kBlockQuads);
          }
        }
      }

      last_of_segment = m % kTilesPerSegment == kTilesPerSegment - 1 || m + 1 == tiles;
      if (last_of_segment) flush_states(m / kTilesPerSegment, pass);
      if constexpr (kGeneral) keep(pass);
    }

    __syncwarp();
#pragma unroll
    for (int r = 0; r < R; ++r) {
      const std::uint32_t own = slots + mine.quad + r * Tile::kLaneRowBytes;
      const std::uint32_t sums = sums_slots + mine.quad + r * Tile::kLaneRowBytes;
      const auto load_sum = [&](int i) {
        float4 sum = load_quad(shared, sums + sums_slot(i, 0));
        if constexpr (kPartBits > 0) {
          const float4 other = load_quad(shared, sums + sums_slot(i, 1));
          sum = {sum.x + other.x, sum.y + other.y, sum.z + other.z, sum.w + other.w};
        }
        return sum;
      };
      const float4 s1 = load_sum(0), s2 = load_sum(1);
      float4 s3 = {0.0f, 0.0f, 0.0f, 0.0f};  // of the input factor's step
      if constexpr (kLaneSums > 2) s3 = load_sum(2);
      // What lies aside is u where the step needs it below.
      const float4 u = load_quad(shared, own + Layout::kZSlot), slope = load_quad(shared, own + Layout::kOutSlot);
      const float4 dt = load_quad(shared, own + (has_deltaA ? Layout::kDeltaASlot : 0));
      float4 du, ddelta, ddeltaA;
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        at(ddeltaA, e) = Update::kStepUnit * at(s2, e);
        float dstep = has_deltaA ? 0.0f : at(ddeltaA, e);
        if constexpr (kLaneSums > 2) dstep = fmaf(Update::kStepUnit, at(s3, e), dstep);
        if constexpr (Update::kInput == InputFactor::step) {
          at(du, e) = fmaf(Update::kInputUnit * at(dt, e), at(s1, e), at(Ddy[r], e));
          if (!Update::kWholeStep) dstep = fmaf(at(u, e), at(s1, e), dstep);
        } else {
          at(du, e) = at(s1, e) + at(Ddy[r], e);
        }
        at(ddelta, e) = dstep * at(slope, e);
      }
      if (!whole) {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (4 * k + e < begin || 4 * k + e >= left) at(ddelta, e) = 0.0f;
        }
      }
      channel_sums[r * threads].y += ddelta.x + ddelta.y + ddelta.z + ddelta.w;
      if constexpr (kAligned) {
        if (is_valid(mine.row(r)) && 4 * k < left) {
          const int row = mine.row(r);
          const auto store = [&](int tensor, float4 quad) {
            Tile::store(rows.at(tensor, row, time + 4 * k), quad, whole, begin - 4 * k, left - 4 * k, p.bf16);
          };
          store(Layout::kDu, du);
          store(Layout::kDdelta, ddelta);
          if (has_deltaA) store(Layout::kDdeltaA, ddeltaA);
        }
      } else {
        const int row = mine.row(r);
        Tile::put(shared, Layout::kRingsOffset + Layout::kRingBytes, row, k, time, du);
        Tile::put(shared, Layout::kRingsOffset + 2 * Layout::kRingBytes, row, k, time, ddelta);
        if (has_deltaA) Tile::put(shared, Layout::kRingsOffset + 3 * Layout::kRingBytes, row, k, time, ddeltaA);
      }
    }
    if constexpr (!kAligned) {
      __syncwarp();
      store_lines(time + Tile::kSteps);
    }
    if (last_of_segment) flush_channels(m / kTilesPerSegment);
  }
  if constexpr (!kAligned) {
    if (has_z) store_line(Layout::kDz, 0, time_of(tiles - 1));
    store_lines(time_of(tiles - 1));
  }

  if (sums_channels) {
    wait_for_sums(kSumsPerTile - 1);
    std::uint32_t block = channel_block, last_time = time_of(tiles - 1);
    // Kept through all tiles they would cost a register that some kernels do not have: these compute them anew. Others
    // are slower by that.
    if constexpr (R == 1 && !kGeneral && !kIsComplex<T> && Update::kOneStep &&
                  (kInputPerState || kRowKind == RowKind::shifted || kRowKind == RowKind::any)) {
      std::uint32_t index = blockIdx.x;
      hold(index);
      block = index % p.channel_blocks;
      last_time = index / p.channel_blocks % p.splits * p.tiles_per_split * Tile::kSteps;
    }
    reduce(kSumsPerTile - 1, block, last_time, passes - 1);
  }
  // A short last split leaves segments without tiles: their sums are 0, as the last flush left them.
  for (int segment = (tiles - 1) / kTilesPerSegment + 1; segment < p.segments; ++segment) {
    for (int pass = 0; pass < passes; ++pass) flush_states(segment, pass);
    flush_channels(segment);
  }
  if (p.dh0 != nullptr && split == 0) {
    for (int pass = 0; pass < passes; ++pass) {
      if constexpr (kGeneral) recall(pass);
#pragma unroll
      for (int r = 0; r < R; ++r) {
#pragma unroll
        for (int j = 0; j < J; ++j) {
          const int n = state_index(pass, j);
          if (is_valid(state_row(r)) && n < p.dstate) {
            store_weight(p.dh0, (batch * p.dim + place.channel(state_row(r))) * p.dstate + n, adjoint[r][j]);
          }
        }
      }
    }
  }
}

}  // namespace lrnnx::cuda
