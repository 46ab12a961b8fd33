// The discretizations' factors and their derivatives in 32 bits, by formulas that do not cancel: the functions
// themselves are computed in double at arguments rounded to float, and rounded.
#pragma once

#include "reference/discretization.h"
#include "reference/float_runs.h"

namespace lrnnx::reference {

template <>
struct Functions<FloatRuns> {
  static FloatRuns silu(double x);
  static FloatRuns silu_slope(double x);
  static Steps<FloatRuns> steps(const StepInputs<double>& inputs);
  static FloatRuns step_slope(const StepInputs<double>& inputs);
};

void discretize(Discretization discretization, const ConstStatesView<double>& A, const Steps<FloatRuns>& steps,
                StatesView<FloatRuns> transition, StatesView<FloatRuns> input);
void discretize(Discretization discretization, const ConstStatesView<std::complex<double>>& A,
                const Steps<FloatRuns>& steps, StatesView<ComplexFloatRuns> transition,
                StatesView<ComplexFloatRuns> input);

void differentiate(Discretization discretization, const ConstStatesView<double>& A, const Steps<FloatRuns>& steps,
                   const ConstStatesView<FloatRuns>& transition, const ConstStatesView<FloatRuns>& input,
                   DiscretizationSlopes<FloatRuns>& slopes);
void differentiate(Discretization discretization, const ConstStatesView<std::complex<double>>& A,
                   const Steps<FloatRuns>& steps, const ConstStatesView<ComplexFloatRuns>& transition,
                   const ConstStatesView<ComplexFloatRuns>& input, DiscretizationSlopes<ComplexFloatRuns>& slopes);

}  // namespace lrnnx::reference
