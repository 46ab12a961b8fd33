// The 16-bit types that tensors with a time axis may be stored in, from and to the floats that kernels compute with.
// To a type rounds to nearest, ties to even; what is too large becomes infinite, and a NaN stays one. Without branches,
// so that loops become vectors.
#pragma once

#include <cstdint>

#include "common/host_device.h"
#include "common/math.h"
#include "lrnnx/lrnnx.h"

namespace lrnnx {

LRNNX_HD constexpr bool is_half(int64_t dtype) { return dtype == LRNNX_BF16 || dtype == LRNNX_F16; }

LRNNX_HD uint32_t select_bits(bool condition, uint32_t yes, uint32_t no) {
  const uint32_t mask = 0u - static_cast<uint32_t>(condition);
  return (yes & mask) | (no & ~mask);
}

// The upper half of a float.
struct Bf16 {
  static LRNNX_HD float widen(uint16_t x) { return from_bits(uint32_t{x} << 16); }
  static LRNNX_HD uint16_t narrow(float x) {
    const uint32_t b = bits(x);
    const uint32_t rounded = (b + 0x7fffu + ((b >> 16) & 1u)) >> 16;
    const uint32_t quiet = (b >> 16) | 0x40u;
    return static_cast<uint16_t>(select_bits((b & 0x7fffffffu) > 0x7f800000u, quiet, rounded));
  }
};

// IEEE 754 binary16: 5 bits of exponent, 10 of fraction.
struct F16 {
  static LRNNX_HD float widen(uint16_t x) {
    constexpr uint32_t kBias = (127u - 15u) << 23, kInfinite = 31u << 23;
    const uint32_t magnitude = (uint32_t{x} & 0x7fffu) << 13, sign = (uint32_t{x} & 0x8000u) << 16;
    const uint32_t normal = magnitude + kBias;
    // 2^-14 (1 + fraction) - 2^-14
    const float step = from_bits(normal + (1u << 23)) - 0x1p-14f;
    const uint32_t finite = select_bits(magnitude < (1u << 23), bits(step), normal);
    return from_bits(sign | select_bits(magnitude >= kInfinite, magnitude + 2 * kBias, finite));
  }
  static LRNNX_HD uint16_t narrow(float x) {
    constexpr uint32_t kBias = (127u - 15u) << 23, kInfinity = 0x7c00u, kQuiet = 0x7e00u;
    const uint32_t b = bits(x), magnitude = b & 0x7fffffffu, sign = (b >> 16) & 0x8000u;
    const uint32_t carried = (magnitude - kBias + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    const uint32_t normal = select_bits(carried > kInfinity, kInfinity, carried);
    // In a sum of 1/2 and less than 2^-14 the last bit is worth 2^-24, as in a subnormal number.
    const uint32_t subnormal = bits(from_bits(magnitude) + 0.5f) - bits(0.5f);
    const uint32_t number = select_bits(magnitude < (113u << 23), subnormal, normal);
    return static_cast<uint16_t>(sign | select_bits(magnitude > 0x7f800000u, kQuiet, number));
  }
};

template <class Type>
LRNNX_HD void widen_as(const uint16_t* __restrict from, int64_t count, float* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] = Type::widen(from[i]);
}
template <class Type>
LRNNX_HD void narrow_as(const float* __restrict from, int64_t count, uint16_t* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] = Type::narrow(from[i]);
}

// Of a dtype that is_half().
LRNNX_HD void widen(int64_t dtype, const uint16_t* from, int64_t count, float* to) {
  dtype == LRNNX_BF16 ? widen_as<Bf16>(from, count, to) : widen_as<F16>(from, count, to);
}
LRNNX_HD void narrow(int64_t dtype, const float* from, int64_t count, uint16_t* to) {
  dtype == LRNNX_BF16 ? narrow_as<Bf16>(from, count, to) : narrow_as<F16>(from, count, to);
}

}  // namespace lrnnx
