// Gauges of the discretizations' factors and of their derivatives.
#pragma once

#include "reference/discretization.h"
#include "reference/gauge.h"

namespace lrnnx::reference {

// Steps with the relative errors, in units of u, that they come with: 0 for a step that was given.
template <>
struct Steps<Gauge> {
  double dtA, dt;
  double dtA_error, dt_error;
  bool same;
};

template <>
struct Functions<Gauge> {
  static Gauge silu(double x);
  static Gauge silu_slope(double x);
  static Steps<Gauge> steps(const StepInputs<double>& inputs);
  static Gauge step_slope(const StepInputs<double>& inputs);
};

// A product of the gradient with something else rounds once.
template <>
inline Gauge upstream<Gauge, double>(const double& gradient) {
  Gauge result(gradient);
  result.running = result.size;
  return result;
}

template <class Weight>
void discretize(Discretization discretization, const ConstStatesView<Weight>& A, const Steps<Gauge>& steps,
                StatesView<Gauge> transition, StatesView<Gauge> input);

template <class Weight>
void differentiate(Discretization discretization, const ConstStatesView<Weight>& A, const Steps<Gauge>& steps,
                   const ConstStatesView<Gauge>& transition, const ConstStatesView<Gauge>& input,
                   DiscretizationSlopes<Gauge>& slopes);

}  // namespace lrnnx::reference
