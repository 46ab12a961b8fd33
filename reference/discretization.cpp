// The derivatives of every discretization, each from the equation that defines its factors.
#include "reference/discretization.h"

namespace lrnnx::reference {

template <class Weight>
void differentiate(Discretization discretization, const ConstStatesView<Weight>& A, const Steps<double>& steps,
                   const ConstStatesView<Weight>& transition, const ConstStatesView<Weight>& input,
                   DiscretizationSlopes<Weight>& slopes) {
  const auto& [dtA, dt, same_step] = steps;
  switch (discretization) {
    case Discretization::mamba:
    case Discretization::dirac:
      slopes.transition_by_step = transition * A;
      slopes.transition_by_weight = transition * dtA;
      slopes.input_by_step.setConstant(discretization == Discretization::mamba ? 1.0 : 0.0);
      slopes.input_by_weight.setZero();
      return;
    case Discretization::zoh:
      slopes.transition_by_step = transition * A;
      slopes.transition_by_weight = transition * dtA;
      for (Eigen::Index n = 0; n < A.size(); ++n) {
        const auto hold = zero_order_hold(A[n], dt);
        slopes.input_by_step[n] = hold.transition;
        slopes.input_by_weight[n] = hold.input_by_weight;
      }
      return;
    case Discretization::bilinear: {
      // With R = 1 / (1 - v/2): transition = 2R - 1, input = dt R, and dR = R (dv/2) R.
      slopes.transition_by_step = (1.0 - A * (dtA * 0.5)).square().inverse();
      slopes.transition_by_weight = slopes.transition_by_step * dtA;
      slopes.transition_by_step *= A;
      slopes.input_by_step = (1.0 - A * (dt * 0.5)).square().inverse();
      slopes.input_by_weight = slopes.input_by_step * (0.5 * dt * dt);
      return;
    }
    case Discretization::s7: {  // from 1 - 2 / (2a^2 + 1)
      const double denominator = 2.0 * dt * dt + 1.0;
      slopes.transition_by_step.setConstant(8.0 * dt / (denominator * denominator));
      slopes.transition_by_weight.setZero();
      slopes.input_by_step.setZero();
      slopes.input_by_weight.setZero();
      return;
    }
    case Discretization::rglru:
      if constexpr (std::is_same_v<Weight, double>) {
        slopes.transition_by_step = transition * A.log();
        slopes.transition_by_weight = transition * dt / A;
        // From input^2 + transition^2 = 1. At step 0 the slope is infinite, and 0 by definition.
        const States<double> ratio = (input == 0.0).select(0.0, -transition / input);
        slopes.input_by_step = ratio * slopes.transition_by_step;
        slopes.input_by_weight = ratio * slopes.transition_by_weight;
      }
      return;
  }
}

template void differentiate(Discretization, const ConstStatesView<double>&, const Steps<double>&,
                            const ConstStatesView<double>&, const ConstStatesView<double>&,
                            DiscretizationSlopes<double>&);
template void differentiate(Discretization, const ConstStatesView<std::complex<double>>&, const Steps<double>&,
                            const ConstStatesView<std::complex<double>>&, const ConstStatesView<std::complex<double>>&,
                            DiscretizationSlopes<std::complex<double>>&);

}  // namespace lrnnx::reference
