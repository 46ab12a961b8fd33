// Tiles of time in shared memory: where an element lies, and how it gets there.
//
// A tile is 4 * kStateLanes time steps of the block's channels, one slot for each tensor, a row for each channel. A
// quad is four consecutive steps, 16 bytes. Within a row the quads are swizzled so that neither a lane's own quad nor
// one quad read across the rows causes a bank conflict.
#pragma once

#include <cstdint>

#include "common/cuda_async.cuh"
#include "selective_scan/lanes.cuh"

namespace lrnnx::cuda {

// A (B, D, L) tensor as a kernel sees it. Channels lie less than 2^32 elements apart, so that 32 x 32 -> 64 bit products
// address them; the launch refuses more.
template <class Pointer>
struct TimeTensor {
  Pointer data;
  std::int64_t stride_batch;
  std::uint32_t stride_dim;
};
using TimeInput = TimeTensor<const float*>;
using TimeOutput = TimeTensor<float*>;

template <int kStateLanes, int kChannelsPerLane>
struct ChannelTile {
  using Lanes = LaneMap<kStateLanes>;
  static constexpr int kSteps = 4 * kStateLanes;
  static constexpr int kQuads = kStateLanes;
  static constexpr int kRowBytes = kSteps * 4;
  static constexpr int kLaneChannels = Lanes::kChannelLanes;
  static constexpr int kWarpChannels = kLaneChannels * kChannelsPerLane;

  // Rows lie in the order (warp, channel of the lane, channel lane).
  __device__ static int row(int warp, int r, int g) { return warp * kWarpChannels + r * kLaneChannels + g; }
  __device__ static std::uint32_t swizzle(int row) {
    return static_cast<std::uint32_t>(row % kLaneChannels * (8 / kLaneChannels)) << 4;
  }
  // Byte of the row's first quad; XOR with (quad << 4) gives the others.
  __device__ static std::uint32_t row_offset(int row) { return row * kRowBytes + swizzle(row); }
};

// The tile of B and C: a row for each state, all of B's before all of C's.
template <int kSteps>
struct StateTile {
  static constexpr int kRowBytes = kSteps * 4;
  __device__ static std::uint32_t row_offset(int row) {
    return row * kRowBytes + (static_cast<std::uint32_t>(row & 7) << 4);
  }
};

__device__ __forceinline__ float4 load_quad(const unsigned char* shared, std::uint32_t offset) {
  return *reinterpret_cast<const float4*>(shared + offset);
}
__device__ __forceinline__ void store_quad(unsigned char* shared, std::uint32_t offset, float4 value) {
  *reinterpret_cast<float4*>(shared + offset) = value;
}
__device__ __forceinline__ float& at(float4& quad, int i) { return (&quad.x)[i]; }
__device__ __forceinline__ float at(const float4& quad, int i) { return (&quad.x)[i]; }

// Copies one tile of one tensor into a slot: the lane's own quads where rows are 16-byte aligned and the tile is
// whole, else element by element, 32 consecutive ones a warp, with zeros past the end.
// `block` points at the block's first channel, channels past `last_channel` repeat that one.
template <class Tile, int kChannelsPerLane>
__device__ __forceinline__ void copy_tile(std::uint32_t slot, const float* block, std::uint32_t stride_dim,
                                          int last_channel, std::int64_t time, std::int64_t seqlen, bool vector,
                                          int warp, int lane) {
  using Lanes = typename Tile::Lanes;
  if (vector) {
    const int k = Lanes::state(lane), g = Lanes::channel(lane);
#pragma unroll
    for (int r = 0; r < kChannelsPerLane; ++r) {
      const int row = Tile::row(warp, r, g);
      const float* source = block + time + 4 * k +
                            static_cast<std::uint64_t>(static_cast<std::uint32_t>(min(row, last_channel))) * stride_dim;
      copy_async_16(slot + (Tile::row_offset(row) ^ (k << 4)), source);
    }
  } else {
#pragma unroll
    for (int i = 0; i < Tile::kWarpChannels; ++i) {
      const int row = warp * Tile::kWarpChannels + i;
      const float* source = block + time + lane +
                            static_cast<std::uint64_t>(static_cast<std::uint32_t>(min(row, last_channel))) * stride_dim;
      const std::uint32_t target = slot + (Tile::row_offset(row) ^ (lane >> 2 << 4)) + (lane & 3) * 4;
#pragma unroll
      for (int step = 0; step < Tile::kSteps; step += 32) {
        // Steps 32 apart are 8 quads apart, which the swizzle of the low 3 bits leaves alone.
        copy_async_4(target + step * 4, source + step, time + lane + step < seqlen);
      }
    }
  }
}

// Copies rows [0, states) of one tile of B or C; rows past `dstate` are zeros. `group` points at the group's first row.
template <int kSteps>
__device__ __forceinline__ void copy_state_tile(std::uint32_t target, const float* group, int rows, int dstate,
                                                std::int64_t time, std::int64_t seqlen, bool vector, int thread,
                                                int threads) {
  using Tile = StateTile<kSteps>;
  const std::uint32_t stride = static_cast<std::uint32_t>(seqlen);
  if (vector) {
    for (int i = thread; i < rows * (kSteps / 4); i += threads) {
      const int row = i / (kSteps / 4), quad = i % (kSteps / 4);
      const float* source = group + time + quad * 4 + static_cast<std::uint64_t>(min(row, dstate - 1)) * stride;
      copy_async_16(target + (Tile::row_offset(row) ^ (quad << 4)), source, row < dstate ? 16 : 0);
    }
  } else {
    for (int i = thread; i < rows * kSteps; i += threads) {
      const int row = i / kSteps, step = i % kSteps;
      const float* source = group + time + step + static_cast<std::uint64_t>(min(row, dstate - 1)) * stride;
      copy_async_4(target + (Tile::row_offset(row) ^ (step >> 2 << 4)) + (step & 3) * 4, source,
                   row < dstate && time + step < seqlen);
    }
  }
}

// Writes one tile from a slot, 32 consecutive steps of a row at a time: for rows that are not 16-byte aligned.
template <class Tile>
__device__ __forceinline__ void store_tile(const unsigned char* shared, std::uint32_t slot, float* block,
                                           std::uint32_t stride_dim, int last_channel, std::int64_t time,
                                           std::int64_t seqlen, int warp, int lane) {
#pragma unroll
  for (int i = 0; i < Tile::kWarpChannels; ++i) {
    const int row = warp * Tile::kWarpChannels + i;
    float* target =
        block + time + lane + static_cast<std::uint64_t>(static_cast<std::uint32_t>(row)) * stride_dim;
    const std::uint32_t source = slot + (Tile::row_offset(row) ^ (lane >> 2 << 4)) + (lane & 3) * 4;
#pragma unroll
    for (int step = 0; step < Tile::kSteps; step += 32) {
      if (row <= last_channel && time + lane + step < seqlen) {
        target[step] = *reinterpret_cast<const float*>(shared + source + step * 4);
      }
    }
  }
}

}  // namespace lrnnx::cuda
