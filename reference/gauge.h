// Gauges: how far an honest 32-bit computation of a number may stray from it. They are numbers to compute with, so that
// the formula that gives a value gives its gauges too.
//
// With u = 2^-24, for every number x of a computation
//   size      |x|, or a bound of it that does not cancel
//   absolute  the same formula on absolute values; a factor f(y) that is no plain product counts as |f| + |y f'(y)|,
//   its
//             change under a change of y of its own size: (1 + |y|) e^y for an exponential (Miller and Stewart; Higham,
//             "Accuracy and Stability of Numerical Algorithms", 2002, ch. 1 and 3)
//   running   a first-order bound of the rounding errors, in units of u (Higham, section 3.3). Sums and products hand
//             errors on; function values and transitions bring their own, at least 1 for themselves and the product
//             that they go into
//   reach     |x| plus a bound, in units of the smallest normal float, of what underflow on the way may have cost.
//   Every
//             factor of a product counts as |x| + 1, for (|x| + 1)(|y| + 1) bounds what the loss of any partial product
//             does to the whole, whatever the order of multiplication; an exponential thereby counts as if it could
//             be 1. Exactly 0 where x is, and x must then be computed exactly.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <complex>
#include <cstdint>
#include <limits>
#include <vector>

#include "reference/activations.h"
#include "reference/arithmetic.h"

namespace lrnnx::reference {

inline constexpr double kUnitRoundoff = 0x1p-24;
inline constexpr double kSmallestNormal = 0x1p-126;

// Of one tensor: one number an element, that of a complex element for the modulus of its error.
struct TensorGauge {
  std::vector<double> G1;  // absolute; times sqrt(n) / 32 if it is a sum of n > 1024 terms
  std::vector<double> G2;  // running, with the roundings of the last sum
  std::vector<double> F;   // what underflow may cost
  double S1_env = 0;       // largest |error| / (u G1 + F) of three plain 32-bit computations
};

// Of numbers that were floats, whose squares are far from double's limits.
inline double modulus(double x) { return std::abs(x); }
inline double modulus(std::complex<double> x) { return std::sqrt(std::norm(x)); }

// In pairs, so that sums and products are a few instructions of two lanes.
struct alignas(16) Gauge {
  using Pair = double __attribute__((vector_size(16)));

  double size = 0, absolute = 0, running = 0, reach = 0;

  Gauge() = default;
  // An input: as given, without error.
  Gauge(double x) : size(std::abs(x)), absolute(size), reach(size == 0 ? 0 : size + 1) {}
  explicit Gauge(std::complex<double> x) : Gauge(modulus(x)) {}
  // A function value with its condition: absolute and running in multiples of size, floor in those of the smallest
  // normal float.
  Gauge(double size, double absolute, double running, double floor)
      : size(size), absolute(absolute), running(running), reach(size + floor) {}
  Gauge(Pair values, Pair errors) : size(values[0]), absolute(values[1]), running(errors[0]), reach(errors[1]) {}

  Pair values() const { return Pair{size, absolute}; }
  Pair errors() const { return Pair{running, reach}; }
};

inline Gauge operator+(const Gauge& x, const Gauge& y) { return {x.values() + y.values(), x.errors() + y.errors()}; }
inline Gauge& operator+=(Gauge& x, const Gauge& y) { return x = x + y; }

inline Gauge operator*(const Gauge& x, const Gauge& y) {
  Gauge product(x.values() * y.values(), x.errors() * Gauge::Pair{y.size, y.reach});
  product.running += x.size * y.running;
  return product;
}

inline Gauge real_part(const Gauge& x) { return x; }

// The product that recurs at every step, to first order, or its change and its reach would grow like powers:
//   change(a h) = |a| change(h) + change(a) |h|      lost(a h) = |a| lost(h) + lost(a) |h| + 1
// where absolute = size + change and reach = size + lost. A product of exponentials thereby counts as the one
// exponential that it is, with the condition of its whole exponent.
template <>
struct Carry<Gauge> {
  Gauge operator()(const Gauge& transition, const Gauge& state) const {
    const Gauge::Pair a{transition.size, transition.size}, h{state.size, state.size};
    const Gauge::Pair errors{transition.running, transition.reach - transition.size};
    Gauge next(a * state.values(), a * state.errors() + errors * h);
    next.absolute += (transition.absolute - transition.size) * state.size;
    next.reach += state.size > 0 ? 1.0 : 0.0;
    return next;
  }
};

// The rounding errors of a sum of n terms, in units of u times the sum of their sizes: sqrt(n). A bound for sums in
// blocks of sqrt(n), and, up to a small factor and with a probability close to 1, for sums in any order (Higham and
// Mary 2019, "A New Approach to Probabilistic Rounding Error Analysis").
inline double sum_roundings(int64_t terms) { return std::sqrt(static_cast<double>(terms)); }

// Up to this many, the 32 u times the sum of the sizes that a verdict allows at least are as much.
inline constexpr int64_t kShortSum = 1024;
inline double long_sum_factor(int64_t terms) {
  return terms > kShortSum ? sum_roundings(terms) / sum_roundings(kShortSum) : 1.0;
}

// |x| times the logistic function of -x: the condition of e^x / (1 + e^x).
inline double sigmoid_condition(double x) { return std::abs(x) * sigmoid(-x); }

}  // namespace lrnnx::reference

namespace Eigen {

template <>
struct NumTraits<lrnnx::reference::Gauge> : NumTraits<double> {
  using Real = lrnnx::reference::Gauge;
  using NonInteger = lrnnx::reference::Gauge;
  using Nested = lrnnx::reference::Gauge;
  using Literal = lrnnx::reference::Gauge;
  enum { IsComplex = 0, RequireInitialization = 1, ReadCost = 4, AddCost = 4, MulCost = 6 };
};

}  // namespace Eigen
