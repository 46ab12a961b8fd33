// The scalar functions around a scan, and how each arithmetic computes them of an input.
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
template <class Real>
Real silu_slope(Real x) {
  return sigmoid(x) + x * sigmoid(x) * sigmoid(-x);
}

// dtA is the step of the transition, dt that of the input; the same one unless deltaA was given.
template <class Real>
struct Steps {
  Real dtA, dt;
  bool same;
};

// What a sequence's inputs say of one step; null means absent.
template <class InputReal>
struct StepInputs {
  const InputReal *delta, *delta_bias, *deltaA;
  bool delta_softplus;

  InputReal sum() const { return delta_bias ? *delta + *delta_bias : *delta; }
};

// Specialised where Real is not the type of the inputs.
template <class Real>
struct Functions {
  static Real silu(const Real& x) { return reference::silu(x); }
  static Real silu_slope(const Real& x) { return reference::silu_slope(x); }

  static Steps<Real> steps(const StepInputs<Real>& inputs) {
    const Real dt = inputs.delta_softplus ? softplus(inputs.sum()) : inputs.sum();
    return {inputs.deltaA ? *inputs.deltaA : dt, dt, !inputs.deltaA};
  }
  // By which the gradient of dt becomes that of delta. Only with softplus.
  static Real step_slope(const StepInputs<Real>& inputs) { return sigmoid(inputs.sum()); }
};

}  // namespace lrnnx::reference
