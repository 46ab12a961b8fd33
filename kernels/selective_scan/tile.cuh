// Tiles of time in shared memory: where an element lies, and how it gets there and back.
//
// A tile is 4 * kStateLanes time steps of the block's channels: a slot for each tensor, a row for each channel. A quad
// is four consecutive steps, 16 bytes; lane (k, g) owns quad k of the rows of its channels.
//
// Aligned tiles: every row starts at a multiple of 16 bytes and has whole quads. Lanes copy and store their own quads.
// Rows are swizzled so that neither a lane's own quad nor one quad read across the rows causes a bank conflict.
// Shifted tiles: all rows of a block start `lead` steps behind a multiple of 16 bytes, and the block's tiles as far
// before them, so that quads are aligned again; only those at the two ends of a row are not whole.
// Tiles of any rows: a row starts anywhere. Lanes copy the 16-byte pieces around it, one more than a row has quads, and
// pick their four steps out of them; stores go through a ring in shared memory. Rows are padded.
// Time is counted from a block's first tile on: a row's own steps are [lead, lead + seqlen).
// Halves: numbers stored in 16 bits lie at the start of the 16 bytes that their quad takes as floats, until the lane
// that owns the quad widens them. Rows that are not aligned are read and written number by number.
#pragma once

#include <cfloat>
#include <cstdint>
#include <type_traits>

#include "common/cuda_async.cuh"
#include "common/hold.cuh"
#include "common/math.h"
#include "selective_scan/halves.cuh"
#include "selective_scan/lanes.cuh"
#include "selective_scan/layout.h"
#include "selective_scan/weights.cuh"

namespace lrnnx::cuda {

// What a kernel may assume of the (B, D, L) tensors' rows.
enum class RowKind {
  aligned,  // 16-byte aligned, of whole quads, and all tensors have the same strides
  shifted,  // a block's are equally far from a multiple of 16 bytes, and all tensors have the same strides
  any,
  halves,  // 16 bits a number, 8-byte aligned, of whole quads, and all tensors have the same strides
  any_halves
};

__host__ __device__ constexpr bool are_halves(RowKind kind) {
  return kind == RowKind::halves || kind == RowKind::any_halves;
}
__host__ __device__ constexpr bool are_whole_quads(RowKind kind) {
  return kind == RowKind::aligned || kind == RowKind::halves;
}
// Read and written by lines that lie across tiles.
__host__ __device__ constexpr bool take_lines(RowKind kind) { return kind == RowKind::any; }
// A block's channels may lie further apart, and its rows begin within its first tile: see RowPhase.
__host__ __device__ constexpr bool may_shift(RowKind kind) { return kind == RowKind::shifted || kind == RowKind::any; }

// A number of a tensor with a time axis in memory.
template <RowKind kind>
using Stored = std::conditional_t<are_halves(kind), std::uint16_t, float>;

// A (B, D, L) tensor as a kernel sees it; null data when absent.
struct TimeTensor {
  void* data;
  std::int64_t stride_batch;
  std::uint32_t stride_dim;
};

// Which channels of which batch a block works on: every channel_step-th from its first on.
struct BlockPlace {
  std::uint32_t batch, group, batch_group;
  std::int64_t first_channel;
  int last_channel;  // counted from the first, in such steps
  int channel_step;
  int lead;  // steps of the block's first tile before those of its rows

  // For blocks of `channels` channels.
  __device__ BlockPlace(std::uint32_t channel_block, std::uint32_t batch_group, std::int32_t groups,
                        std::int32_t channels_per_group, int channels, RowPhase phase, std::uint32_t seqlen)
      : batch(batch_group / groups),
        group(batch_group % groups),
        batch_group(batch_group),
        channel_step(phase.channel_step),
        lead(static_cast<int>(channel_block % phase.channel_step * seqlen & (phase.unit - 1))) {
    const int first = channel_block / phase.channel_step * channels;
    last_channel = min(channels, channels_per_group / phase.channel_step - first) - 1;
    first_channel = static_cast<std::int64_t>(group) * channels_per_group + channel_block % phase.channel_step +
                    static_cast<std::int64_t>(first) * phase.channel_step;
  }

  __device__ std::int64_t channel(int row) const {
    return first_channel + static_cast<std::int64_t>(row) * channel_step;
  }
};

// How a problem's rows lie, as a kernel sees it.
template <RowKind kind>
__device__ __forceinline__ RowPhase phase_of(RowPhase phase) {
  return may_shift(kind) ? phase : RowPhase{};
}

// Where the rows of one block's channels lie. Tensors of equal strides share one offset. Others keep their own rows in
// shared memory, for registers are short.
template <class Number, bool kEqualStrides, int kTensors>
class BlockRows;

template <class Number, int kTensors>
class BlockRows<Number, true, kTensors> {
 public:
  static constexpr int kSharedBytes = 0;

  __device__ BlockRows(unsigned char*, const TimeTensor (&tensors)[kTensors], const BlockPlace& place)
      : tensors_(tensors),
        offset_(place.batch * tensors[0].stride_batch + place.first_channel * tensors[0].stride_dim - place.lead),
        stride_(tensors[0].stride_dim * place.channel_step) {}

  __device__ Number* at(int tensor, int row, int step) const {
    return static_cast<Number*>(tensors_[tensor].data) +
           (offset_ + static_cast<std::int64_t>(static_cast<std::uint64_t>(static_cast<std::uint32_t>(row)) * stride_) +
            step);
  }

 private:
  const TimeTensor (&tensors_)[kTensors];
  std::int64_t offset_;
  std::uint32_t stride_;  // from a row to the block's next
};

template <class Number, int kTensors>
class BlockRows<Number, false, kTensors> {
  struct alignas(16) Entry {
    Number* first;
    std::uint32_t stride, padding;
  };

 public:
  static constexpr int kSharedBytes = (kTensors * sizeof(Entry) + 255) / 256 * 256;

  // A barrier of the block must follow before the first use.
  __device__ BlockRows(unsigned char* shared, const TimeTensor (&tensors)[kTensors], const BlockPlace& place)
      : entries_(reinterpret_cast<Entry*>(shared)), channel_step_(place.channel_step) {
    if (threadIdx.x < kTensors) {
      const TimeTensor& tensor = tensors[threadIdx.x];
      const std::int64_t offset =
          place.batch * tensor.stride_batch + place.first_channel * tensor.stride_dim - place.lead;
      entries_[threadIdx.x] = {tensor.data == nullptr ? nullptr : static_cast<Number*>(tensor.data) + offset,
                               tensor.stride_dim, 0};
    }
  }

  __device__ Number* at(int tensor, int row, int step) const {
    const Entry entry = entries_[tensor];
    const auto channel = static_cast<std::uint32_t>(row * channel_step_);
    return entry.first + static_cast<std::int64_t>(static_cast<std::uint64_t>(channel) * entry.stride) + step;
  }

 private:
  Entry* entries_;
  int channel_step_;
};

template <RowKind kind, int kTensors>
using RowsOf = BlockRows<Stored<kind>, kind != RowKind::any && kind != RowKind::any_halves, kTensors>;

// Where the steps of a block's rows begin in the tile at `time`; at most 0: with the tile or before it.
template <RowKind kind>
__device__ __forceinline__ int begin_of_rows(int lead, std::uint32_t time) {
  return may_shift(kind) ? lead - static_cast<int>(time) : 0;
}

// Steps past the end must leave the state alone, also where A is infinite. NaN stays NaN.
__device__ __forceinline__ float finite(float omega) {
  return lrnnx::detail::at_most(lrnnx::detail::at_least(omega, -FLT_MAX), FLT_MAX);
}
__device__ __forceinline__ Complex finite(Complex omega) { return {finite(omega.re), finite(omega.im)}; }

// The prepared weight of a state; of one past the last, a neutral one.
template <class F>
__device__ __forceinline__ typename F::Weight load_omega(const float* A, std::int64_t index, bool valid) {
  using T = typename F::Weight;
  // A state that is not there starts at 0 and gets nothing; its transition has to be finite even where an infinite step
  // makes that of every other state 0.
  if (!valid) return from_real<T>(-0x1p-40f);
  return finite(F::prepare(F::kUsesA ? load_weight<T>(A, index) : from_real<T>(0.0f)));
}

__device__ __forceinline__ float4 load_quad(const unsigned char* shared, std::uint32_t offset) {
  return *reinterpret_cast<const float4*>(shared + offset);
}
__device__ __forceinline__ void store_quad(unsigned char* shared, std::uint32_t offset, float4 value) {
  *reinterpret_cast<float4*>(shared + offset) = value;
}
__device__ __forceinline__ float& at(float4& quad, int i) { return (&quad.x)[i]; }
__device__ __forceinline__ float at(const float4& quad, int i) { return (&quad.x)[i]; }

// Bytes of a 16-byte piece that lie before the end, `left` floats away from its start.
__device__ __forceinline__ std::uint32_t bytes_before_end(int left) {
  return static_cast<std::uint32_t>(min(max(left, 0), 4)) * 4;
}

template <RowKind kRowKind, int kStateLanes, int kChannelsPerLane>
struct ChannelTile {
  static constexpr bool kAligned = !take_lines(kRowKind), kHalves = are_halves(kRowKind);
  using Lanes = LaneMap<kStateLanes>;
  static constexpr int kSteps = 4 * kStateLanes;
  static constexpr int kQuads = kStateLanes;
  static constexpr int kRowBytes = kSteps * 4 + (kAligned ? 0 : 16);
  static constexpr int kLaneChannels = Lanes::kChannelLanes;
  static constexpr int kWarpChannels = kLaneChannels * kChannelsPerLane;
  static constexpr int kLaneRowBytes = kLaneChannels * kRowBytes;  // from a lane's channel to its next

  __device__ static std::uint32_t row_offset(int row) {
    const int swizzle = kAligned ? row % kLaneChannels * (8 / kLaneChannels) << 4 : 0;
    return row * kRowBytes + swizzle;
  }
  // Of a row_offset() plus any multiple of kLaneRowBytes and of 128.
  __device__ static std::uint32_t quad_offset(std::uint32_t row, int quad) {
    return kAligned ? row ^ (quad << 4) : row + (quad << 4);
  }

  // Where a lane stands.
  struct Place {
    int k;               // its quad of the tile's time, and its first state
    int first_row;       // of its channels
    std::uint32_t quad;  // its own quad in that row, counted from a slot's start

    __device__ explicit Place(int thread) {
      const int lane = thread & 31;
      k = Lanes::state(lane);
      first_row = (thread >> 5) * kWarpChannels + Lanes::channel(lane);
      quad = quad_offset(row_offset(first_row), k);
    }

    // Keeps the compiler from computing these anew wherever they are used.
    __device__ void hold() { asm volatile("" : "+r"(k), "+r"(first_row), "+r"(quad)); }

    // Rows lie in the order (warp, channel of the lane, channel lane).
    __device__ int row(int r) const { return first_row + r * kLaneChannels; }
  };

  // Floats that the lane's first step lies behind a multiple of 16 bytes, 2 bits for each of the lane's channels.
  // Tiles start at multiples of four steps: it is the same in all of them.
  template <class Rows>
  __device__ static std::uint32_t misalignment(const Rows& rows, int tensor, int last_channel, const Place& mine) {
    std::uint32_t bits = 0;
#pragma unroll
    for (int r = 0; r < kChannelsPerLane; ++r) {
      const auto address = reinterpret_cast<std::uintptr_t>(rows.at(tensor, min(mine.row(r), last_channel), 0));
      bits |= static_cast<std::uint32_t>(address / 4 & 3) << 2 * r;
    }
    return bits;
  }

  // Copies the lane's quads of one tensor's tile to its slot. Of the tile's steps those from `begin` on are the row's,
  // and `left` remain from its first on; `skipped` is the tensor's misalignment(). Channels past `last_channel` repeat
  // that one. What is copied from outside the row has no meaning.
  template <class Rows>
  __device__ static void copy(std::uint32_t slot, const Rows& rows, int tensor, int last_channel, int time, int begin,
                              int left, std::uint32_t skipped, const Place& mine) {
#pragma unroll
    for (int r = 0; r < kChannelsPerLane; ++r) {
      const int before = kAligned ? 0 : static_cast<int>(skipped >> 2 * r & 3);
      const auto* const source = rows.at(tensor, min(mine.row(r), last_channel), time + 4 * mine.k - before);
      const std::uint32_t target = slot + mine.quad + r * kLaneRowBytes;
      if constexpr (kRowKind == RowKind::aligned) {
        copy_async_row_16(target, source, 4 * mine.k < left);
      } else if constexpr (kRowKind == RowKind::halves) {
        copy_async_row_8(target, source, 4 * mine.k < left);
      } else if constexpr (kHalves) {
        store_shared(target, load_halves(source, left - 4 * mine.k));
      } else {
        // What lies before a shifted row is another's; before any row there may be nothing.
        const bool outside = !kAligned && 4 * mine.k - before + 4 <= begin;
        copy_async_16(target, source, outside ? 0 : bytes_before_end(left + before - 4 * mine.k));
      }
      if constexpr (!kAligned) {
        if (mine.k == kQuads - 1) {
          copy_async_16(target + 16, source + 4, before == 0 ? 0 : bytes_before_end(left + before - kSteps));
        }
      }
    }
  }

  // A lane's own quad of a copied row. Of any rows: a barrier of the warp must follow before anyone writes to the row.
  __device__ static float4 load_copied(const unsigned char* shared, std::uint32_t own, std::uint32_t skipped,
                                       bool bf16) {
    if constexpr (kHalves) {
      return widen(*reinterpret_cast<const uint2*>(shared + own), bf16);
    } else if constexpr (kAligned) {
      return load_quad(shared, own);
    } else {
      const float* const first = reinterpret_cast<const float*>(shared + own) + skipped;
      return {first[0], first[1], first[2], first[3]};
    }
  }

  // Writes those steps of a lane's own quad that are the row's, [begin, left); not of any rows. `whole`: all steps of
  // the tile are.
  __device__ static void store(Stored<kRowKind>* target, float4 quad, bool whole, int begin, int left, bool bf16) {
    if constexpr (kRowKind == RowKind::halves) {
      store_streaming(target, narrow(quad, bf16));
    } else if constexpr (kHalves) {
      store_halves(target, narrow(quad, bf16), left);
    } else if (kRowKind == RowKind::shifted && !whole) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        if (e >= begin && e < left) store_global(target + e, at(quad, e));
      }
    } else {
      store_streaming(target, quad);
    }
  }

  // How far the lane's rows are from the start of the line, the piece of a tile's length aligned in memory, that their
  // first step lies in.
  template <class Rows>
  __device__ static void measure_lines(const Rows& rows, int tensor, int last_channel, const Place& mine,
                                       int (&behind)[kChannelsPerLane]) {
#pragma unroll
    for (int r = 0; r < kChannelsPerLane; ++r) {
      const auto address = reinterpret_cast<std::uintptr_t>(rows.at(tensor, min(mine.row(r), last_channel), 0));
      behind[r] = static_cast<int>(address / 4 & (kSteps - 1));
    }
  }

  // Copies the lane's quads of the line that ends after `time`, a multiple of kSteps, to the rings at `ring`, which
  // hold the lines of two tiles. What lies outside the row, [begin, end), has no meaning.
  template <class Rows>
  __device__ static void copy_line(std::uint32_t ring, const Rows& rows, int tensor, int last_channel, int time,
                                   int begin, int end, const int (&behind)[kChannelsPerLane], const Place& mine) {
    const bool whole = time >= begin + kSteps && time + kSteps <= end;
#pragma unroll
    for (int r = 0; r < kChannelsPerLane; ++r) {
      const int row = mine.row(r);
      const int first = time - behind[r] + 4 * mine.k;
      copy_async_16(ring_place(ring, row, mine.k, time), rows.at(tensor, min(row, last_channel), first),
                    whole ? 16 : (first + 4 <= begin ? 0 : bytes_before_end(end - first)));
    }
  }

  // The lane's own quad of the tile at `time` from a ring that holds the lines of this tile and the next.
  __device__ static float4 load_lines(const unsigned char* shared, std::uint32_t ring_row, int k, std::uint32_t time,
                                      int behind) {
    const float* const row = reinterpret_cast<const float*>(shared + ring_row);
    const int first = static_cast<int>(time) + behind + 4 * k;
    constexpr int kMask = 2 * kSteps - 1;
    return {row[first & kMask], row[(first + 1) & kMask], row[(first + 2) & kMask], row[(first + 3) & kMask]};
  }

  // Any rows are written by whole lines too: writes that leave sectors incomplete cost a third of the forward's
  // time. A line takes steps of two tiles, so each row has a ring of two, whose first quad stands again behind its
  // last.
  static constexpr int kRingRowBytes = 2 * kSteps * 4 + 16;
  __host__ __device__ static constexpr int ring_bytes(int warps) {
    return kAligned ? 0 : warps * kWarpChannels * kRingRowBytes;
  }

  // Where the lane's own quad of the tile at `time` lies in a ring that is indexed by time.
  __device__ static std::uint32_t ring_place(std::uint32_t ring, int row, int k, std::uint32_t time) {
    return ring + row * kRingRowBytes + (time / kSteps & 1) * kSteps * 4 + k * 16;
  }
  __device__ static void put(unsigned char* shared, std::uint32_t ring, int row, int k, std::uint32_t time,
                             float4 quad) {
    const std::uint32_t place = ring_place(ring, row, k, time);
    store_quad(shared, place, quad);
    if ((time / kSteps & 1) == 0 && k == 0) store_quad(shared, place + 2 * kSteps * 4, quad);
  }

  // Writes the line that ends after `time`, a multiple of kSteps: those of its steps that lie in [begin, end).
  template <class Rows>
  __device__ static void store_line(const unsigned char* shared, std::uint32_t ring, const Rows& rows, int tensor,
                                    int last_channel, int time, int begin, int end,
                                    const int (&behind)[kChannelsPerLane], const Place& mine) {
    const bool whole = time >= begin + kSteps && time + kSteps <= end;
#pragma unroll
    for (int r = 0; r < kChannelsPerLane; ++r) {
      const int row = mine.row(r);
      if (row > last_channel) continue;
      const int first = time - behind[r] + 4 * mine.k;
      const float* const source =
          reinterpret_cast<const float*>(shared + ring + row * kRingRowBytes) + (first & (2 * kSteps - 1));
      const float4 quad = {source[0], source[1], source[2], source[3]};
      float* const target = rows.at(tensor, row, first);
      if (whole) {
        store_streaming(target, quad);
      } else {
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          if (first + e >= begin && first + e < end) store_global(target + e, at(quad, e));
        }
      }
    }
  }
};

// The tile of B and C: a row for each state, all of B's before all of C's, swizzled as aligned rows are. A step is one
// weight, of one or two floats. kPaired: one load of a warp may read rows 8 apart.
template <RowKind kRowKind, int kSteps, class Weight, bool kPaired = false>
struct StateTile {
  static constexpr bool kAligned = !may_shift(kRowKind), kHalves = are_halves(kRowKind);
  static constexpr int kRowFloats = kSteps * kParts<Weight>;
  static constexpr int kRowBytes = kRowFloats * 4;
  __device__ static std::uint32_t row_offset(int row) {
    const int swizzle = kPaired ? (row & 7) ^ (row >> 1 & 4) : row & 7;
    return row * kRowBytes + (static_cast<std::uint32_t>(swizzle) << 4);
  }
  // Between the offsets of rows 8 apart, of which the first is an even multiple of 8 away from the tile's start.
  static constexpr std::uint32_t kPairMask = 8 * kRowBytes | 4 << 4;

  // Of a row_offset() plus any multiple of 16 rows, or of 8 unless they are paired, and of 128. The swizzle stays
  // within 8 pieces of 16 bytes.
  __device__ static std::uint32_t quad_offset(std::uint32_t row, int quad) { return piece(row, quad * kParts<Weight>); }

  // `row` may be a quad_offset() of some multiple of 4 quads.
  __device__ static WeightQuad<Weight> load(const unsigned char* shared, std::uint32_t row, int quad) {
    WeightQuad<Weight> weights;
#pragma unroll
    for (int i = 0; i < kParts<Weight>; ++i) {
      const float4 floats = load_quad(shared, piece(row, quad * kParts<Weight> + i));
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        part(weights.at[(4 * i + e) / kParts<Weight>], (4 * i + e) % kParts<Weight>) = at(floats, e);
      }
    }
    return weights;
  }

  // Copies rows [0, rows); those past `dstate`, and steps outside a row, are zeros. `source` points at the tile's first
  // step of the first row. Of its steps those from `begin` on are the row's, and `left` remain from the first on.
  template <int kThreads>
  __device__ static void copy(std::uint32_t target, const Stored<kRowKind>* source, int rows, int dstate,
                              std::uint32_t seqlen, int begin, int left, int thread) {
    const int across = thread % kAcross, first_row = thread / kAcross;
    const std::uint64_t row_numbers = static_cast<std::uint64_t>(seqlen) * kParts<Weight>;
    const int numbers_left = left * kParts<Weight>, first_number = begin * kParts<Weight>;
    const std::uint64_t stride = kRowStep<kThreads> * row_numbers;
    const Stored<kRowKind>* from = source +
                                   static_cast<std::uint64_t>(static_cast<std::uint32_t>(first_row)) * row_numbers +
                                   (kAligned ? across * 4 : across);
    const std::uint32_t bytes = bytes_before_end(numbers_left - across * 4);  // of an aligned piece
    for_each_piece<kThreads>(rows, thread, [&](int row) {
      const bool valid = row < dstate;
      const std::uint32_t place = target + (row_offset(row) ^ ((kAligned ? across : across >> 2) << 4));
      if constexpr (kRowKind == RowKind::halves) {
        copy_async_row_8(place, valid ? from : source, valid && bytes > 0);
      } else if constexpr (kHalves) {
        store_shared(place, load_halves(from, valid ? numbers_left - across * 4 : 0));
      } else if constexpr (kAligned) {
        copy_async_16(place, valid ? from : source, valid ? bytes : 0);
      } else {
#pragma unroll
        for (int i = 0; i < kRowFloats; i += 32) {
          // Floats 32 apart are 8 pieces apart, which the swizzle leaves alone.
          copy_async<4>(place + (across & 3) * 4 + i * 4, from + i,
                        valid && across + i >= first_number && across + i < numbers_left);
        }
      }
      from += stride;
    });
  }

  // Halves: widens what the thread has copied, once it has landed.
  template <int kThreads>
  __device__ static void widen_copied(unsigned char* shared, std::uint32_t target, int rows, int thread, bool bf16) {
    if constexpr (kHalves) {
      for_each_piece<kThreads>(rows, thread, [&](int row) {
        const std::uint32_t place = target + (row_offset(row) ^ (thread % kAcross << 4));
        store_quad(shared, place, widen(*reinterpret_cast<const uint2*>(shared + place), bf16));
      });
    }
  }

 private:
  // A thread copies the same piece, or float, of every so many rows.
  static constexpr int kAcross = kAligned ? kRowFloats / 4 : 32;
  template <int kThreads>
  static constexpr int kRowStep = kThreads / kAcross;

  template <int kThreads, class Visit>
  __device__ static void for_each_piece(int rows, int thread, Visit visit) {
    const int first_row = thread / kAcross;
#pragma unroll
    for (int i = 0; i < rows; i += kRowStep<kThreads>) {
      const int row = first_row + i;
      if (kRowStep<kThreads> <= kStatesPerPass || row < rows) visit(row);
    }
  }

  __device__ static std::uint32_t piece(std::uint32_t row, int i) { return (row ^ ((i & 7) << 4)) + (i >> 3 << 7); }
};

}  // namespace lrnnx::cuda
