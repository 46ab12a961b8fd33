// Quads of time steps stored in 16 bits, from and to floats by the hardware's conversions, which round as common/half.h
// does.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace lrnnx::cuda {

__device__ __forceinline__ float4 widen(uint2 quad, bool bf16) {
  if (bf16) {
    return {__uint_as_float(quad.x << 16), __uint_as_float(quad.x & 0xffff0000u), __uint_as_float(quad.y << 16),
            __uint_as_float(quad.y & 0xffff0000u)};
  }
  const float2 low = __half22float2(*reinterpret_cast<const __half2*>(&quad.x)),
               high = __half22float2(*reinterpret_cast<const __half2*>(&quad.y));
  return {low.x, low.y, high.x, high.y};
}

__device__ __forceinline__ uint2 narrow(float4 quad, bool bf16) {
  uint2 narrowed;
  if (bf16) {
    *reinterpret_cast<__nv_bfloat162*>(&narrowed.x) = __floats2bfloat162_rn(quad.x, quad.y);
    *reinterpret_cast<__nv_bfloat162*>(&narrowed.y) = __floats2bfloat162_rn(quad.z, quad.w);
  } else {
    *reinterpret_cast<__half2*>(&narrowed.x) = __floats2half2_rn(quad.x, quad.y);
    *reinterpret_cast<__half2*>(&narrowed.y) = __floats2half2_rn(quad.z, quad.w);
  }
  return narrowed;
}

__device__ __forceinline__ std::uint16_t half_at(uint2 quad, int i) {
  return static_cast<std::uint16_t>((i < 2 ? quad.x : quad.y) >> (i % 2 * 16));
}

// The first `count` of four numbers, the others 0, from wherever they lie.
__device__ __forceinline__ uint2 load_halves(const std::uint16_t* source, int count) {
  std::uint32_t halves[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) halves[i] = i < count ? source[i] : 0;
  return {halves[0] | halves[1] << 16, halves[2] | halves[3] << 16};
}

__device__ __forceinline__ void store_halves(std::uint16_t* target, uint2 quad, int count) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (i < count) target[i] = half_at(quad, i);
  }
}

}  // namespace lrnnx::cuda
