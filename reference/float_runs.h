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

// Moves each run by its ulps.
inline FloatRuns off_by_ulps(FloatRuns x) {
  for (int run = 1; run < kFloatRuns; ++run) {
    const float value = x[run];
    if (std::abs(value) >= std::numeric_limits<float>::min() && std::isfinite(value)) {
      x.lanes[run] = std::bit_cast<float>(std::bit_cast<int32_t>(value) + kUlpsOff[run]);
    }
  }
  return x;
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

// 1 / x by the conjugate, scaled so that |x|^2 neither overflows nor underflows.
inline ComplexFloatRuns reciprocal(ComplexFloatRuns x) {
  ComplexFloatRuns result;
  for (int run = 0; run < kFloatRuns; ++run) {
    int exponent = 0;
    std::frexp(std::max(std::abs(x.re[run]), std::abs(x.im[run])), &exponent);
    const float re = std::ldexp(x.re[run], -exponent), im = std::ldexp(x.im[run], -exponent);
    const float square = re * re + im * im;
    result.re.lanes[run] = std::ldexp(re / square, -exponent);
    result.im.lanes[run] = std::ldexp(-im / square, -exponent);
  }
  return {off_by_ulps(result.re), off_by_ulps(result.im)};
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
