// How the weight A and a step become the factors of h_t = transition h_{t-1} + input B_t u_t, in double precision.
// Everything is derived here from the definitions (matrix exponential, linear solve), without a look at the kernels.
#pragma once

#include <Eigen/Core>
#include <array>
#include <cmath>
#include <complex>
#include <type_traits>

#include "reference/activations.h"

namespace lrnnx::reference {

enum class Discretization { mamba, zoh, bilinear, dirac, s7, rglru };

constexpr bool reads_A(Discretization discretization) { return discretization != Discretization::s7; }
constexpr bool reads_B(Discretization discretization) { return discretization != Discretization::rglru; }

// One number for each state of a channel.
template <class Weight>
using States = Eigen::Array<Weight, Eigen::Dynamic, 1>;
template <class Weight>
using StatesView = Eigen::Map<States<Weight>>;
template <class Weight>
using ConstStatesView = Eigen::Map<const States<Weight>>;

template <class Weight>
struct ZeroOrderHold {
  Weight transition;       // e^{A dt}
  Weight input;            // integral of e^{As} ds over [0, dt]
  Weight input_by_weight;  // integral of s e^{As} ds over [0, dt]
};

// The exponential of dt [[A, 1, 0], [0, A, 1], [0, 0, 0]] by scaling and squaring. Its lower right corner
// X = [[A, 1], [0, 0]] is the augmented matrix of x' = A x + 1, whose exponential holds transition and input (Van Loan
// 1978). The whole is [[X, E], [0, X]] with E = dX/dA, less a row of zeros and its column: the exponential of that
// block form holds the derivative of exp(X) in the direction E (Higham, "Functions of Matrices", 2008, section 3.2).
// With e, p, q the three entries at a step h:
//   exp(hM) = [[e, he, q], [0, e, p], [0, 0, 1]],  exp(hM)^2: e <- e^2, p <- p + ep, q <- q + e(q + hp)
// where nothing cancels for A <= 0.
template <class Weight, class Real>
ZeroOrderHold<Weight> zero_order_hold(Weight A, Real dt) {
  constexpr int kDegree = 14;  // the first term left out is below 2^-15 / 16! = 1.5e-18 for |x| <= 1/2
  struct Series {
    std::array<double, kDegree + 1> input, input_by_weight;
    constexpr Series() : input(), input_by_weight() {
      double factorial = 1.0;
      for (int k = 0; k <= kDegree; ++k) {
        factorial *= k + 1;
        input[k] = 1.0 / factorial;
        input_by_weight[k] = (k + 1) / (factorial * (k + 2));
      }
    }
  };
  static constexpr Series kSeries;

  const Weight x = A * dt;
  const double x_real = std::real(value_of(x));
  if (x_real < -800.0) return {Weight(0.0), Weight(-1.0) / A, Weight(1.0) / (A * A)};  // at rest: e^x < 2^-1100

  const double size = std::abs(x_real) + std::abs(std::imag(value_of(x)));
  const int squarings = size > 0.5 && std::isfinite(size) ? std::ilogb(size) + 2 : 0;
  const double scale = std::ldexp(1.0, -squarings);
  const Weight scaled = x * Real(scale);
  Real h = dt * Real(scale);
  Weight input(kSeries.input[kDegree]), input_by_weight(kSeries.input_by_weight[kDegree]);
  for (int k = kDegree - 1; k >= 0; --k) {
    input = input * scaled + Weight(kSeries.input[k]);
    input_by_weight = input_by_weight * scaled + Weight(kSeries.input_by_weight[k]);
  }
  Weight transition = Weight(1.0) + scaled * input;
  input = input * h;
  input_by_weight = input_by_weight * (h * h);
  for (int i = 0; i < squarings; ++i) {
    input_by_weight = input_by_weight + transition * (input_by_weight + input * h);
    input = input + transition * input;
    transition = transition * transition;
    h = h + h;
  }
  return {transition, input, input_by_weight};
}

// Eigen 3.4's vectorised exp does not fall below 5.6e-309, not even at -infinity.
template <class Weight, class Real>
void exponential(const ConstStatesView<Weight>& A, Real step, StatesView<Weight> result) {
  result = (A * step).exp();
  if constexpr (std::is_same_v<Weight, double>) result = (A * step < -708.0).select(0.0, result);
}

// transition and input for every state of a channel at one time step. Weight is Real, or complex over Real.
template <class Weight, class Real>
void discretize(Discretization discretization, const ConstStatesView<Weight>& A, const Steps<Real>& steps,
                StatesView<Weight> transition, StatesView<Weight> input) {
  const auto& [dtA, dt, same_step] = steps;
  switch (discretization) {
    case Discretization::mamba:
      exponential<Weight, Real>(A, dtA, transition);
      input.setConstant(Weight(dt));
      return;
    case Discretization::dirac:
      exponential<Weight, Real>(A, dtA, transition);
      input.setConstant(Weight(1.0));
      return;
    case Discretization::zoh:
      for (Eigen::Index n = 0; n < A.size(); ++n) {
        const auto hold = zero_order_hold(A[n], dt);
        input[n] = hold.input;
        transition[n] = same_step ? hold.transition : zero_order_hold(A[n], dtA).transition;
      }
      return;
    case Discretization::bilinear:  // (1 - dtA A/2) transition = 1 + dtA A/2,  (1 - dt A/2) input = dt
      transition = (Weight(1.0) + A * (dtA * Real(0.5))) / (Weight(1.0) - A * (dtA * Real(0.5)));
      input = Weight(dt) / (Weight(1.0) - A * (dt * Real(0.5)));
      return;
    case Discretization::s7: {  // 1 - 1/(a^2 + 1/2)
      const Real twice_square = Real(2.0) * dt * dt;
      transition.setConstant(Weight((twice_square - Real(1.0)) / (twice_square + Real(1.0))));
      input.setConstant(Weight(1.0));
      return;
    }
    case Discretization::rglru:  // 1 - e^{-2w} = 2 tanh(w) / (1 + tanh(w))
      if constexpr (std::is_same_v<Weight, Real>) {
        using std::log, std::pow, std::sqrt, std::tanh;
        for (Eigen::Index n = 0; n < A.size(); ++n) {
          const Real t = tanh(-(dt * log(A[n])));
          transition[n] = pow(A[n], dt);
          input[n] = sqrt(Real(2.0) * t / (Real(1.0) + t));
        }
      }
      return;
  }
}

// Derivatives of the two factors for every state of a channel: the transition's by dtA and A, the input's by dt and A.
template <class Weight>
struct DiscretizationSlopes {
  explicit DiscretizationSlopes(Eigen::Index dstate)
      : transition_by_step(dstate), transition_by_weight(dstate), input_by_step(dstate), input_by_weight(dstate) {}

  States<Weight> transition_by_step, transition_by_weight, input_by_step, input_by_weight;
};

// transition and input are what discretize() gave for the same A and steps. Weight: double or std::complex<double>.
template <class Weight>
void differentiate(Discretization discretization, const ConstStatesView<Weight>& A, const Steps<double>& steps,
                   const ConstStatesView<Weight>& transition, const ConstStatesView<Weight>& input,
                   DiscretizationSlopes<Weight>& slopes);

}  // namespace lrnnx::reference
