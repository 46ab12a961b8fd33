// Plain 32-bit computations side by side, as one scalar: the same operations, each rounded to float, of which one has
// every exponential, power and reciprocal right to half an ulp, one 2 ulp above and one 2 ulp below: processors have
// fast approximations of these, whose errors may all have the same sign.
#pragma once

#include <Eigen/Core>
#include <array>
#include <bit>
#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>

#include "reference/activations.h"
#include "reference/arithmetic.h"

namespace lrnnx::reference {

inline constexpr int kFloatRuns = 3;
inline constexpr std::array<int32_t, kFloatRuns> kUlpsOff = {0, 2, -2};

struct FloatRuns {
  using Lanes = float __attribute__((vector_size(16)));  // one more than there are runs, unused
  Lanes lanes{};

  FloatRuns() = default;
  FloatRuns(Lanes lanes) : lanes(lanes) {}
  FloatRuns(double x) : lanes(Lanes{} + static_cast<float>(x)) {}
  float operator[](int run) const { return lanes[run]; }
};

inline FloatRuns operator+(FloatRuns x, FloatRuns y) { return x.lanes + y.lanes; }
inline FloatRuns operator-(FloatRuns x, FloatRuns y) { return x.lanes - y.lanes; }
inline FloatRuns operator-(FloatRuns x) { return -x.lanes; }
inline FloatRuns operator*(FloatRuns x, FloatRuns y) { return x.lanes * y.lanes; }
inline FloatRuns operator/(FloatRuns x, FloatRuns y) { return x.lanes / y.lanes; }
inline FloatRuns& operator+=(FloatRuns& x, FloatRuns y) { return x = x + y; }
inline FloatRuns real_part(FloatRuns x) { return x; }

// function(x) of each run.
template <class Function>
FloatRuns each(FloatRuns x, Function function) {
  FloatRuns result;
  for (int run = 0; run < kFloatRuns; ++run) result.lanes[run] = static_cast<float>(function(x[run]));
  return result;
}

// Moves each run by its ulps; zeros, subnormal and infinite numbers stay.
inline FloatRuns off_by_ulps(FloatRuns x) {
  using Bits = int32_t __attribute__((vector_size(16)));
  constexpr Bits kUlps = {kUlpsOff[0], kUlpsOff[1], kUlpsOff[2], 0};
  constexpr int32_t kExponent = 0x7f800000;
  const Bits bits = std::bit_cast<Bits>(x.lanes), exponent = bits & kExponent;
  const Bits normal = (exponent != 0) & (exponent != kExponent);
  return std::bit_cast<FloatRuns::Lanes>(bits + (kUlps & normal));
}

inline FloatRuns exp(FloatRuns x) {
  return off_by_ulps(each(x, [](double y) { return std::exp(y); }));
}

struct ComplexFloatRuns {
  FloatRuns re, im;

  ComplexFloatRuns() = default;
  ComplexFloatRuns(FloatRuns re, FloatRuns im) : re(re), im(im) {}
  ComplexFloatRuns(double x) : re(x), im(0.0) {}
  ComplexFloatRuns(std::complex<double> x) : re(x.real()), im(x.imag()) {}
};

inline ComplexFloatRuns operator+(ComplexFloatRuns x, ComplexFloatRuns y) { return {x.re + y.re, x.im + y.im}; }
inline ComplexFloatRuns operator-(ComplexFloatRuns x, ComplexFloatRuns y) { return {x.re - y.re, x.im - y.im}; }
inline ComplexFloatRuns operator*(ComplexFloatRuns x, ComplexFloatRuns y) {
  return {x.re * y.re - x.im * y.im, x.re * y.im + x.im * y.re};
}
inline ComplexFloatRuns operator*(ComplexFloatRuns x, FloatRuns y) { return {x.re * y, x.im * y}; }
inline ComplexFloatRuns operator*(FloatRuns x, ComplexFloatRuns y) { return y * x; }
inline ComplexFloatRuns& operator+=(ComplexFloatRuns& x, ComplexFloatRuns y) { return x = x + y; }
inline ComplexFloatRuns conj(ComplexFloatRuns x) { return {x.re, -x.im}; }
inline FloatRuns real_part(ComplexFloatRuns x) { return x.re; }

// 1 / x by the conjugate, scaled where |x|^2 would overflow or underflow.
inline ComplexFloatRuns reciprocal(ComplexFloatRuns x) {
  constexpr float kScale = 0x1p-80f;
  const float size = std::max(std::abs(x.re[0]), std::abs(x.im[0]));
  const FloatRuns scale(size > 0x1p40f ? kScale : size < 0x1p-40f ? 1 / kScale : 1.0f);
  const FloatRuns re = x.re * scale, im = x.im * scale, r = scale / (re * re + im * im);
  return {off_by_ulps(re * r), off_by_ulps(-im * r)};
}
inline FloatRuns reciprocal(FloatRuns x) { return off_by_ulps(FloatRuns(1.0) / x); }

}  // namespace lrnnx::reference

namespace Eigen {

template <>
struct NumTraits<lrnnx::reference::FloatRuns> : NumTraits<float> {
  using Real = lrnnx::reference::FloatRuns;
  using NonInteger = lrnnx::reference::FloatRuns;
  using Nested = lrnnx::reference::FloatRuns;
  using Literal = lrnnx::reference::FloatRuns;
  enum { IsComplex = 0, RequireInitialization = 1, ReadCost = 1, AddCost = 1, MulCost = 1 };
};

template <>
struct NumTraits<lrnnx::reference::ComplexFloatRuns> : NumTraits<float> {
  using Real = lrnnx::reference::FloatRuns;
  using NonInteger = lrnnx::reference::ComplexFloatRuns;
  using Nested = lrnnx::reference::ComplexFloatRuns;
  using Literal = lrnnx::reference::ComplexFloatRuns;
  enum { IsComplex = 1, RequireInitialization = 1, ReadCost = 2, AddCost = 2, MulCost = 6 };
};

template <class BinaryOp>
struct ScalarBinaryOpTraits<lrnnx::reference::ComplexFloatRuns, lrnnx::reference::FloatRuns, BinaryOp> {
  using ReturnType = lrnnx::reference::ComplexFloatRuns;
};

}  // namespace Eigen
