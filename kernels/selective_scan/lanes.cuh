// How a warp's 32 lanes cover (state, channel), and the sums over either of the two.
//
// kStateLanes lanes hold the states of one channel, 32 / kStateLanes channels lie side by side. Bit 0 of the lane
// number belongs to the channel and bit 1 to the state: a 16-byte shared-memory load is then served for lane pairs at
// once, whether it reads a row of B or C (same address for all channels) or a row of delta (same address for all
// states).
#pragma once

namespace lrnnx::cuda {

__host__ __device__ constexpr int log2_of(int x) { return x <= 1 ? 0 : 1 + log2_of(x / 2); }

template <int kStateLanes>
struct LaneMap {
  static constexpr int kStateBits = log2_of(kStateLanes);
  static constexpr int kChannelBits = 5 - kStateBits;
  static constexpr int kChannelLanes = 32 / kStateLanes;
  static_assert(kStateBits >= 1 && kChannelBits >= 1);

  // The lane bit that carries bit i of the state or channel index.
  __host__ __device__ static constexpr int state_mask(int i) { return i == 0 ? 2 : 1 << (kChannelBits + i); }
  __host__ __device__ static constexpr int channel_mask(int i) { return i == 0 ? 1 : 1 << (i + 1); }

  __device__ static int state(int lane) { return ((lane >> 1) & 1) | (lane >> (kChannelBits + 1)) << 1; }
  __device__ static int channel(int lane) { return (lane & 1) | ((lane >> 2) & (kChannelLanes / 2 - 1)) << 1; }
};

// One halving step: lanes with `upper` end with b summed over the pair, the others with a.
__device__ __forceinline__ float halve(float a, float b, bool upper, int mask) {
  const float sent = upper ? a : b;
  const float kept = upper ? b : a;
  return kept + __shfl_xor_sync(~0u, sent, mask);
}

__device__ __forceinline__ float4 halve(float4 a, float4 b, bool upper, int mask) {
  return {halve(a.x, b.x, upper, mask), halve(a.y, b.y, upper, mask), halve(a.z, b.z, upper, mask),
          halve(a.w, b.w, upper, mask)};
}

// Sums kValues values over the lanes that differ in an index of kBits bits. Each lane ends with
// kValues >> kBits of the sums in values[0..], those from position_after_sum() on.
// kSwapped: lanes whose index has the highest bit set hold the two halves of the values in each other's place, which
// spares the first step its choices.
template <int kValues, int kBits, bool kSwapped, class MaskOfBit>
__device__ __forceinline__ void sum_over_lanes(float* values, int index, MaskOfBit mask_of_bit) {
  int count = kValues;
#pragma unroll
  for (int bit = kBits - 1; bit >= 0; --bit) {
    count /= 2;
#pragma unroll
    for (int i = 0; i < kValues / 2; ++i) {
      if (i >= count) continue;
      if (kSwapped && bit == kBits - 1) {
        values[i] += __shfl_xor_sync(~0u, values[i + count], mask_of_bit(bit));
      } else {
        values[i] = halve(values[i], values[i + count], index >> bit & 1, mask_of_bit(bit));
      }
    }
  }
}

template <int kValues, int kBits>
__device__ __forceinline__ int position_after_sum(int index) {
  int position = 0;
#pragma unroll
  for (int bit = 0; bit < kBits; ++bit) position += (index >> bit & 1) * (kValues >> (kBits - bit));
  return position;
}

template <int kStateLanes>
__device__ __forceinline__ float sum_over_state_lanes(float value) {
#pragma unroll
  for (int bit = 0; bit < LaneMap<kStateLanes>::kStateBits; ++bit) {
    value += __shfl_xor_sync(~0u, value, LaneMap<kStateLanes>::state_mask(bit));
  }
  return value;
}

}  // namespace lrnnx::cuda
