// What an operator computes with. Its formulas are written once, as templates, and run on double (the oracle), on dual
// numbers (their test), on gauges and on 32-bit floats (how far an honest kernel may stray).
#pragma once

#include <complex>
#include <type_traits>

namespace lrnnx::reference {

// Real: steps and sequences. Weight: A, B, C and the state. The inputs may be kept as something that converts to them.
template <class RealT, class WeightT, class InputRealT = RealT, class InputWeightT = WeightT>
struct Arithmetic {
  using Real = RealT;
  using Weight = WeightT;
  using InputReal = InputRealT;
  using InputWeight = InputWeightT;
};

inline double real_part(double x) { return x; }
inline double real_part(std::complex<double> x) { return x.real(); }

// The gradient of a result, as the backward pass receives it.
template <class Real, class InputReal>
Real upstream(const InputReal& gradient) {
  return Real(gradient);
}

// transition times state, for arrays of them. Some arithmetics treat the factor that recurs apart.
template <class Weight>
struct Carry;

template <class Transition, class State>
auto carry(const Transition& transition, const State& state) {
  using Weight = typename State::Scalar;
  if constexpr (requires { Carry<Weight>(); }) {
    return transition.binaryExpr(state, Carry<Weight>());
  } else {
    return transition * state;
  }
}

}  // namespace lrnnx::reference
