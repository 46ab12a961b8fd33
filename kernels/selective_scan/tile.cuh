// Tiles of time in shared memory: where an element lies, and how it gets there and back.
//
// A tile is 4 * kStateLanes time steps of the block's channels: a slot for each tensor, a row for each channel. A quad
// is four consecutive steps, 16 bytes; lane (k, g) owns quad k of the rows of its channels.
//
// Aligned tiles: every row starts at a multiple of 16 bytes and has whole quads. Lanes copy and store their own quads.
// Rows are swizzled so that neither a lane's own quad nor one quad read across the rows causes a bank conflict.
// Ragged tiles: a row starts anywhere. Lanes copy the 16-byte pieces around it, one more than a row has quads, and pick
// their four steps out of them; stores go through shared memory, 32 consecutive steps at a time. Rows are padded.
#pragma once

#include <cstdint>

#include "common/cuda_async.cuh"
#include "selective_scan/lanes.cuh"

namespace lrnnx::cuda {

// What a kernel may assume of the (B, D, L) tensors' rows.
enum class RowKind {
  aligned,  // 16-byte aligned, of whole quads, and all tensors have the same strides
  ragged,   // all tensors have the same strides and start equally far from a multiple of 16 bytes
  any
};

// A (B, D, L) tensor as a kernel sees it; null data when absent.
struct TimeTensor {
  float* data;
  std::int64_t stride_batch;
  std::uint32_t stride_dim;
};

// Where the rows of one block's channels lie. Tensors of equal strides share one offset. Others keep their own rows in
// shared memory, for registers are short.
template <bool kEqualStrides, int kTensors>
class BlockRows;

template <int kTensors>
class BlockRows<true, kTensors> {
 public:
  static constexpr int kSharedBytes = 0;

  __device__ BlockRows(unsigned char*, const TimeTensor (&tensors)[kTensors], std::uint32_t batch, std::int64_t channel)
      : tensors_(tensors),
        offset_(batch * tensors[0].stride_batch + channel * tensors[0].stride_dim),
        stride_(tensors[0].stride_dim) {}

  __device__ float* at(int tensor, int row, std::uint32_t time) const {
    return tensors_[tensor].data +
           (offset_ + static_cast<std::int64_t>(static_cast<std::uint64_t>(static_cast<std::uint32_t>(row)) * stride_) +
            time);
  }
  __device__ std::uint32_t stride(int) const { return stride_; }

 private:
  const TimeTensor (&tensors_)[kTensors];
  std::int64_t offset_;
  std::uint32_t stride_;
};

template <int kTensors>
class BlockRows<false, kTensors> {
  struct alignas(16) Entry {
    float* first;
    std::uint32_t stride, padding;
  };

 public:
  static constexpr int kSharedBytes = (kTensors * sizeof(Entry) + 255) / 256 * 256;

  // A barrier of the block must follow before the first use.
  __device__ BlockRows(unsigned char* shared, const TimeTensor (&tensors)[kTensors], std::uint32_t batch,
                       std::int64_t channel)
      : entries_(reinterpret_cast<Entry*>(shared)) {
    if (threadIdx.x < kTensors) {
      const TimeTensor& tensor = tensors[threadIdx.x];
      const std::int64_t offset = batch * tensor.stride_batch + channel * tensor.stride_dim;
      entries_[threadIdx.x] = {tensor.data == nullptr ? nullptr : tensor.data + offset, tensor.stride_dim, 0};
    }
  }

  __device__ float* at(int tensor, int row, std::uint32_t time) const {
    const Entry entry = entries_[tensor];
    return entry.first + static_cast<std::uint64_t>(static_cast<std::uint32_t>(row)) * entry.stride + time;
  }
  __device__ std::uint32_t stride(int tensor) const { return entries_[tensor].stride; }

 private:
  Entry* entries_;
};

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

template <bool kAligned, int kStateLanes, int kChannelsPerLane>
struct ChannelTile {
  using Lanes = LaneMap<kStateLanes>;
  static constexpr int kSteps = 4 * kStateLanes;
  static constexpr int kQuads = kStateLanes;
  static constexpr int kRowBytes = kSteps * 4 + (kAligned ? 0 : 16);
  static constexpr int kLaneChannels = Lanes::kChannelLanes;
  static constexpr int kWarpChannels = kLaneChannels * kChannelsPerLane;
  static constexpr int kLaneRowBytes = kLaneChannels * kRowBytes;  // from a lane's channel to its next

  // Rows lie in the order (warp, channel of the lane, channel lane).
  __device__ static int row(int warp, int r, int g) { return warp * kWarpChannels + r * kLaneChannels + g; }

  __device__ static std::uint32_t row_offset(int row) {
    const int swizzle = kAligned ? row % kLaneChannels * (8 / kLaneChannels) << 4 : 0;
    return row * kRowBytes + swizzle;
  }
  // Of a row_offset() plus any multiple of kLaneRowBytes and of 128.
  __device__ static std::uint32_t quad_offset(std::uint32_t row, int quad) {
    return kAligned ? row ^ (quad << 4) : row + (quad << 4);
  }

  // Floats that the lane's first step lies behind a multiple of 16 bytes, 2 bits for each of the lane's channels.
  // Tiles start at multiples of four steps: it is the same in all of them.
  template <class Rows>
  __device__ static std::uint32_t misalignment(const Rows& rows, int tensor, int last_channel, int warp, int g) {
    std::uint32_t bits = 0;
#pragma unroll
    for (int r = 0; r < kChannelsPerLane; ++r) {
      const auto address = reinterpret_cast<std::uintptr_t>(rows.at(tensor, min(row(warp, r, g), last_channel), 0));
      bits |= static_cast<std::uint32_t>(address / 4 & 3) << 2 * r;
    }
    return bits;
  }

  // Copies the lane's quads of one tensor's tile to its slot. `left` steps remain from the tile's first on.
  // Channels past `last_channel` repeat that one. What is copied from past the end has no meaning.
  template <class Rows>
  __device__ static void copy(std::uint32_t slot, const Rows& rows, int tensor, int last_channel, std::uint32_t time,
                              int left, int warp, int lane) {
    const int k = Lanes::state(lane), g = Lanes::channel(lane);
#pragma unroll
    for (int r = 0; r < kChannelsPerLane; ++r) {
      const int row = ChannelTile::row(warp, r, g);
      const float* const source = rows.at(tensor, min(row, last_channel), time + 4 * k);
      const std::uint32_t target = slot + row_offset(row);
      if constexpr (kAligned) {
        copy_async_16(quad_offset(target, k), source, bytes_before_end(left - 4 * k));
      } else {
        const int skipped = static_cast<int>(reinterpret_cast<std::uintptr_t>(source) / 4 & 3);
        copy_async_16(quad_offset(target, k), source - skipped, bytes_before_end(left + skipped - 4 * k));
        if (k == kQuads - 1) {
          copy_async_16(quad_offset(target, kQuads), source - skipped + 4,
                        skipped == 0 ? 0 : bytes_before_end(left + skipped - kSteps));
        }
      }
    }
  }

  // The lane's own quad of a copied row. Ragged: a barrier of the warp must follow before anyone writes to the row.
  __device__ static float4 load_copied(const unsigned char* shared, std::uint32_t row, int k, std::uint32_t skipped) {
    if constexpr (kAligned) {
      return load_quad(shared, quad_offset(row, k));
    } else {
      const float* const first = reinterpret_cast<const float*>(shared + row) + 4 * k + skipped;
      return {first[0], first[1], first[2], first[3]};
    }
  }

  // Writes the slot's rows of this warp to global memory; ragged tiles only.
  template <class Rows>
  __device__ static void store_rows(const unsigned char* shared, std::uint32_t slot, const Rows& rows, int tensor,
                                    int last_channel, std::uint32_t time, int left, int warp, int lane) {
    const int first = warp * kWarpChannels;
    float* target = rows.at(tensor, first, time + lane);
    const std::uint32_t stride = rows.stride(tensor);
    const float* source = reinterpret_cast<const float*>(shared + slot + first * kRowBytes) + lane;
#pragma unroll
    for (int step = 0; step < kSteps; step += 32) {
      float values[kWarpChannels];
#pragma unroll
      for (int i = 0; i < kWarpChannels; ++i) values[i] = source[i * (kRowBytes / 4) + step];
#pragma unroll
      for (int i = 0; i < kWarpChannels; ++i) {
        if (first + i <= last_channel && lane + step < left) {
          store_global(target + static_cast<std::uint64_t>(i) * stride + step, values[i]);
        }
      }
    }
  }
};

// The tile of B and C: a row for each state, all of B's before all of C's, swizzled as aligned rows are.
template <bool kAligned, int kSteps>
struct StateTile {
  static constexpr int kRowBytes = kSteps * 4;
  __device__ static std::uint32_t row_offset(int row) {
    return row * kRowBytes + (static_cast<std::uint32_t>(row & 7) << 4);
  }

  // Copies rows [0, rows); those past `dstate`, and steps past the end, are zeros. `source` points at the tile's first
  // step of the first row.
  __device__ static void copy(std::uint32_t target, const float* source, int rows, int dstate, std::uint32_t seqlen,
                              int left, int thread, int threads) {
    if constexpr (kAligned) {
      for (int i = thread; i < rows * (kSteps / 4); i += threads) {
        const int row = i / (kSteps / 4), quad = i % (kSteps / 4);
        copy_async_16(target + (row_offset(row) ^ (quad << 4)),
                      source + static_cast<std::uint64_t>(static_cast<std::uint32_t>(min(row, dstate - 1))) * seqlen +
                          quad * 4,
                      row < dstate ? bytes_before_end(left - quad * 4) : 0);
      }
    } else {
      const int lane = thread & 31;
      for (int row = thread >> 5; row < rows; row += threads >> 5) {
        const float* const row_source =
            source + static_cast<std::uint64_t>(static_cast<std::uint32_t>(min(row, dstate - 1))) * seqlen + lane;
#pragma unroll
        for (int step = 0; step < kSteps; step += 32) {
          // Steps 32 apart are 8 quads apart, which the swizzle leaves alone.
          copy_async_4(target + (row_offset(row) ^ (lane >> 2 << 4)) + (lane & 3) * 4 + step * 4, row_source + step,
                       row < dstate && lane + step < left);
        }
      }
    }
  }
};

}  // namespace lrnnx::cuda
