// Elementary functions in float for the host and the device, accurate to a few units in the last place.
//
// Host versions are branch-free polynomials without library calls, so that gcc vectorises loops over them (sqrt_approx
// needs -fno-math-errno for that). Compile them with IEEE semantics: -ffast-math breaks the rounding by
// kRoundToInteger. The coefficients are minimax (Remez), rounded to float one after another with the rest refitted each
// time by tests/golden/polynomials.py; the comments give the largest error of each rounded polynomial in units of u =
// 2^-24; those of the functions were measured on an H200 over all floats, on the host over samples (math_test).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "common/host_device.h"

namespace lrnnx {

inline constexpr float kLog2E = 1.44269504f;
inline constexpr float kLn2 = 0.693147182f;
inline constexpr float kTwoPi = 6.28318548f;

struct ValueAndSlope {
  float value, slope;
};

struct SinCos {
  float sin, cos;
};

LRNNX_HD uint32_t bits(float x) {
#if defined(__CUDA_ARCH__)
  return __float_as_uint(x);
#else
  return std::bit_cast<uint32_t>(x);
#endif
}

LRNNX_HD float from_bits(uint32_t x) {
#if defined(__CUDA_ARCH__)
  return __uint_as_float(x);
#else
  return std::bit_cast<float>(x);
#endif
}

// condition ? yes : no, as bits on the host: gcc turns the ternary into a branch, and then vectorises nothing, unless
// -fno-trapping-math is given.
LRNNX_HD float select(bool condition, float yes, float no) {
#if defined(__CUDA_ARCH__)
  return condition ? yes : no;
#else
  const uint32_t mask = 0u - static_cast<uint32_t>(condition);
  return from_bits((bits(yes) & mask) | (bits(no) & ~mask));
#endif
}

namespace detail {

// Adding it rounds |x| < 2^22 to the nearest integer, which is then in the low bits of the sum.
inline constexpr float kRoundToInteger = 12582912.0f;  // 1.5 * 2^23
inline constexpr uint32_t kRoundToIntegerBits = 0x4b400000u;

// The larger or smaller of x and a bound; a NaN x stays NaN, which fmaxf and fminf would drop.
LRNNX_HD float at_least(float x, float bound) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  float y;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(x), "f"(bound));
  return y;
#else
  return select(x < bound, bound, x);
#endif
}

LRNNX_HD float at_most(float x, float bound) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
  float y;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(y) : "f"(x), "f"(bound));
  return y;
#else
  return select(x > bound, bound, x);
#endif
}

// p * 2^n for p in [1/2, 2) and the n in the low bits of `shifted` = n + kRoundToInteger, |n| < 250. In two factors, so
// that 2^n itself may leave float's range: the product underflows gradually and overflows to infinity.
LRNNX_HD float scale(float p, float shifted) {
  const uint32_t n = bits(shifted) - kRoundToIntegerBits;
  const uint32_t half = static_cast<uint32_t>(static_cast<int32_t>(n) >> 1);
  return p * from_bits((half + 127u) << 23) * from_bits((n - half + 127u) << 23);
}

// 2^f for |f| <= 1/2: 0.18 u.
LRNNX_HD float exp2_polynomial(float f) {
  float p = 0.000155689777f;
  p = p * f + 0.00133857143f;
  p = p * f + 0.00961795077f;
  p = p * f + 0.0555037782f;
  p = p * f + 0.240226507f;
  p = p * f + 0.693147182f;
  return p * f + 1.0f;
}

// e^r for |r| <= ln(2)/2: 0.06 u.
LRNNX_HD float exp_polynomial(float r) {
  float p = 0.00138389238f;
  p = p * r + 0.00836919341f;
  p = p * r + 0.0416681021f;
  p = p * r + 0.166665167f;
  p = p * r + 0.49999994f;
  p = p * r + 1.0f;
  return p * r + 1.0f;
}

// sin(r) for |r| <= pi/2: 0.11 u, relative to sin(r).
LRNNX_HD float sin_polynomial(float r) {
  const float q = r * r;
  float p = 2.60609568e-06f;
  p = p * q - 0.000198097769f;
  p = p * q + 0.00833306927f;
  p = p * q - 0.166666597f;
  return (p * q) * r + r;
}

// cos(r) for |r| <= pi/2: 0.01 u, absolute.
LRNNX_HD float cos_polynomial(float r) {
  const float q = r * r;
  float p = -2.62090168e-07f;
  p = p * q + 2.47701792e-05f;
  p = p * q - 0.00138885854f;
  p = p * q + 0.0416666567f;
  p = p * q - 0.5f;
  return p * q + 1.0f;
}

}  // namespace detail

// a * b + c with one rounding, on every machine.
LRNNX_HD float fma(float a, float b, float c) {
#if defined(__CUDA_ARCH__)
  return __fmaf_rn(a, b, c);
#elif defined(__FP_FAST_FMAF)
  return __builtin_fmaf(a, b, c);
#else
  return static_cast<float>(static_cast<double>(a) * b + c);  // the product is exact in double
#endif
}

// 1 / x: 1.7 u on the device (subnormal x counts as 0, results below 2^-126 are 0), rounded to nearest on the host.
LRNNX_HD float reciprocal_approx(float x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return 1.0f / x;
#endif
}

// sqrt(x): 1.7 u on the device, rounded to nearest on the host.
LRNNX_HD float sqrt_approx(float x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("sqrt.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  return __builtin_sqrtf(x);
#endif
}

// 2^x: 2.5 u on the device (results below 2^-126 are 0), 1.6 u on the host (gradual underflow).
LRNNX_HD float exp2_approx(float x) {
#if defined(__CUDA_ARCH__)
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
#else
  x = detail::at_most(detail::at_least(x, -151.0f), 129.0f);
  const float shifted = x + detail::kRoundToInteger;
  const float f = x - (shifted - detail::kRoundToInteger);
  return detail::scale(detail::exp2_polynomial(f), shifted);
#endif
}

namespace detail {

// e^x for x <= 88.7, with the rounding of x * log2(e) made good, so that the error does not grow with |x|.
LRNNX_HD float exp_bounded(float x) {
  x = at_least(x, -110.0f);
#if defined(__CUDA_ARCH__)
  const float t = x * kLog2E;
  const float rest = fma(t, 1.90465421e-9f, fma(t, -kLn2, x));  // x - t ln(2), ln(2) to 48 bits
  const float e = exp2_approx(t);
  return fma(e, rest, e);
#else
  const float shifted = x * kLog2E + kRoundToInteger;
  const float n = shifted - kRoundToInteger;
  // ln(2) = 0.693359375 - 2.12194440e-4; n times the first is exact.
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  return scale(exp_polynomial(r), shifted);
#endif
}

}  // namespace detail

// e^x: 3.4 u on the device, 1.7 u on the host, however large |x|.
LRNNX_HD float exp(float x) {
  const float e = detail::exp_bounded(detail::at_most(x, 88.8f));
  return select(x > 88.722839f, from_bits(0x7f800000u), e);  // inf * rest may be NaN
}

// e^x - 1: 5.7 u on the device, 2.1 u on the host, relative to the result.
LRNNX_HD float expm1(float x) {
  float p = 2.2456883e-05f;  // (e^x - 1) / x for |x| <= ln(2): 0.14 u
  p = p * x + 0.000200882016f;
  p = p * x + 0.00139148999f;
  p = p * x + 0.00833273586f;
  p = p * x + 0.0416658744f;
  p = p * x + 0.166666701f;
  p = p * x + 0.50000006f;
  p = p * x + 1.0f;
  const float far = exp(x) - 1.0f;
  return select(std::fabs(x) <= kLn2, p * x, far);
}

// (2^x - 1) / x for |x| <= 1: 0.27 u
LRNNX_HD float exp2m1_ratio(float x) {
  float p = 6.6894944e-07f;
  p = p * x + 1.53811834e-05f;
  p = p * x + 0.000155207657f;
  p = p * x + 0.00133334706f;
  p = p * x + 0.00961753447f;
  p = p * x + 0.0555040874f;
  p = p * x + 0.240226582f;
  return p * x + 0.693147182f;
}

// 2^x - 1, relatively accurate around 0, given exp2_x = 2^x.
LRNNX_HD float exp2m1(float x, float exp2_x) { return select(std::fabs(x) < 1.0f, x * exp2m1_ratio(x), exp2_x - 1.0f); }

// ln(1 + x) for 0 <= x <= 1: 2.8 u, relative to the result.
LRNNX_HD float log1p_unit(float x) {
  float p = 0.00536539266f;  // ln(1 + x) / x: 0.56 u
  p = p * x - 0.0300681964f;
  p = p * x + 0.0792086944f;
  p = p * x - 0.137541801f;
  p = p * x + 0.191538468f;
  p = p * x - 0.248572171f;
  p = p * x + 0.3332133f;
  p = p * x - 0.499996483f;
  return (p * x) * x + x;
}

// The logistic function 1 / (1 + e^-x): 5.3 u on the device, 3.2 u on the host.
LRNNX_HD float sigmoid(float x) {
  const float e = detail::exp_bounded(-std::fabs(x));
  const float r = reciprocal_approx(1.0f + e);
  return select(x < 0.0f, e * r, r);
}

// ln(1 + e^x): 4.3 u on the device, 3.3 u on the host, down to the underflow of e^x. Above 20 the logarithm is below
// half an ulp of x, so that the value is x itself.
LRNNX_HD float softplus(float x) { return select(x > 0.0f, x, 0.0f) + log1p_unit(detail::exp_bounded(-std::fabs(x))); }

// softplus(x) and its slope, the logistic function, from one exponential.
LRNNX_HD ValueAndSlope softplus_and_sigmoid(float x) {
  const float e = detail::exp_bounded(-std::fabs(x));
  const float r = reciprocal_approx(1.0f + e);
  return {select(x > 0.0f, x, 0.0f) + log1p_unit(e), select(x < 0.0f, e * r, r)};
}

// x * sigmoid(x): 5.8 u on the device, 3.6 u on the host.
LRNNX_HD float silu(float x) { return x * sigmoid(x); }

// silu(x) and its slope s + x s (1 - s), s = sigmoid(x), with 1 - s = sigmoid(-x) from the same exponential.
LRNNX_HD ValueAndSlope silu_and_slope(float x) {
  const float e = detail::exp_bounded(-std::fabs(x));
  const float r = reciprocal_approx(1.0f + e);
  const float er = e * r;
  const float s = select(x < 0.0f, er, r);
  const float complement = select(x < 0.0f, r, er);
  const float value = x * s;
  return {value, value * complement + s};
}

// sin(y) and cos(y) for |y| <= 1e5, absolute error below 3 u, relative too for sin; u |y| beyond.
LRNNX_HD SinCos sincos(float y) {
  // pi to 72 bits; y - n times its first 24 is exact.
  const float shifted = fma(y, 0.318309873f, detail::kRoundToInteger);
  const float n = shifted - detail::kRoundToInteger;
  float r = fma(n, -3.14159274f, y);
  r = fma(n, 8.74227766e-08f, r);
  r = fma(n, 3.43024902e-15f, r);
  const uint32_t sign = bits(shifted) << 31;  // sin and cos change sign with every half turn
  return {from_bits(bits(detail::sin_polynomial(r)) ^ sign), from_bits(bits(detail::cos_polynomial(r)) ^ sign)};
}

}  // namespace lrnnx
