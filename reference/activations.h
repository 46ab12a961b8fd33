// The scalar functions around a scan, for double and for any scalar that the tests differentiate through.
#pragma once

#include <cmath>
#include <complex>

namespace lrnnx::reference {

// What branches and scalings are chosen by: the number itself. Dual numbers overload this with their value.
inline double value_of(double x) { return x; }
inline std::complex<double> value_of(std::complex<double> x) { return x; }

template <class Real>
Real sigmoid(Real x) {
  using std::exp;
  return Real(1.0) / (Real(1.0) + exp(-x));
}

// The identity beyond 20, where log(1 + exp(x)) differs from x by 2e-9 and less.
template <class Real>
Real softplus(Real x) {
  using std::exp;
  using std::log1p;
  return value_of(x) > 20.0 ? x : log1p(exp(x));
}

template <class Real>
Real silu(Real x) {
  return x * sigmoid(x);
}

// silu' = s + x s (1 - s) with s = sigmoid(x) and 1 - s = sigmoid(-x).
inline double silu_slope(double x) { return sigmoid(x) + x * sigmoid(x) * sigmoid(-x); }

}  // namespace lrnnx::reference
