// Factors in 32 bits. Runs differ in their steps by a few ulp only, so that a function is computed once, at the first
// run's argument, and moved to the others' by its derivatives.
#include "reference/discretization_float_runs.h"

#include <algorithm>
#include <type_traits>

namespace lrnnx::reference {

namespace {

using Complex = std::complex<double>;

template <class Weight>
using RunsOf = std::conditional_t<std::is_same_v<Weight, double>, FloatRuns, ComplexFloatRuns>;

FloatRuns product(double weight, FloatRuns step) { return FloatRuns(weight) * step; }
ComplexFloatRuns product(Complex weight, FloatRuns step) { return ComplexFloatRuns(weight) * step; }

double argument(const FloatRuns& x, int run) { return x[run]; }
Complex argument(const ComplexFloatRuns& x, int run) { return {x.re[run], x.im[run]}; }

bool same_runs(const FloatRuns& x) { return x[0] == x[1] && x[0] == x[2]; }
bool same_runs(const ComplexFloatRuns& x) { return same_runs(x.re) && same_runs(x.im); }

void set(FloatRuns& x, int run, double value) { x.lanes[run] = static_cast<float>(value); }
void set(ComplexFloatRuns& x, int run, Complex value) {
  set(x.re, run, value.real());
  set(x.im, run, value.imag());
}

// As if an exponential in it were off.
FloatRuns off(FloatRuns x) { return off_by_ulps(x); }
ComplexFloatRuns off(ComplexFloatRuns x) { return {off_by_ulps(x.re), off_by_ulps(x.im)}; }

// A function with its first two derivatives by its argument.
template <class Weight>
struct Jet {
  Weight value, first, second;
};

template <class Weight>
RunsOf<Weight> at_each(const RunsOf<Weight>& z, const Jet<Weight>& jet) {
  RunsOf<Weight> result(jet.value);
  if (!same_runs(z)) {
    for (int run = 1; run < kFloatRuns; ++run) {
      const Weight d = argument(z, run) - argument(z, 0);
      set(result, run, jet.value + d * (jet.first + 0.5 * d * jet.second));
    }
  }
  return off(result);
}

template <class Weight>
Jet<Weight> exponential(Weight z) {
  const Weight e = std::exp(z);
  return {e, e, e};
}

double expm1(double z) { return std::expm1(z); }
Complex expm1(Complex z) {
  const double half = std::sin(0.5 * z.imag()), e = std::exp(z.real());
  return {std::expm1(z.real()) * std::cos(z.imag()) - 2.0 * half * half, e * std::sin(z.imag())};
}

// m_k(z) = integral of s^k e^(zs) over [0, 1], k = 0 ... 3, of which m_k' = m_(k+1): by k m_(k-1) + z m_k = e^z upwards
// where that does not cancel, downwards from the series of m_3 elsewhere.
template <class Weight>
std::array<Weight, 4> moments(Weight z) {
  std::array<Weight, 4> m;
  const Weight e = std::exp(z);
  if (std::abs(z) > 2.0) {
    m[0] = expm1(z) / z;
    for (int k = 1; k < 4; ++k) m[k] = (e - static_cast<double>(k) * m[k - 1]) / z;
    return m;
  }
  struct Series {  // 1 / (j! (j + 4))
    std::array<double, 21> coefficients{};
    constexpr Series() {
      double factorial = 1.0;
      for (int j = 0; j < 21; factorial *= ++j) coefficients[j] = 1.0 / (factorial * (j + 4));
    }
  };
  static constexpr Series kSeries;  // to 2^21 / 21! = 4e-14
  m[3] = Weight(0.0);
  for (int j = 20; j >= 0; --j) m[3] = m[3] * z + kSeries.coefficients[j];
  for (int k = 3; k > 0; --k) m[k - 1] = (e - z * m[k]) * (1.0 / k);
  return m;
}

void exponentials(const ConstStatesView<double>& A, FloatRuns step, StatesView<FloatRuns> result) {
  constexpr Eigen::Index kWidth = 8;  // side by side
  for (Eigen::Index first = 0; first < A.size(); first += kWidth) {
    const Eigen::Index count = std::min(kWidth, A.size() - first);
    Eigen::Array<double, kWidth, 1> e = Eigen::Array<double, kWidth, 1>::Zero();
    for (Eigen::Index i = 0; i < count; ++i) e[i] = product(A[first + i], step)[0];
    e = e.exp();
    for (Eigen::Index i = 0; i < count; ++i) {
      result[first + i] = at_each<double>(product(A[first + i], step), {e[i], e[i], e[i]});
    }
  }
}
void exponentials(const ConstStatesView<Complex>& A, FloatRuns step, StatesView<ComplexFloatRuns> result) {
  for (Eigen::Index n = 0; n < A.size(); ++n) {
    const auto z = product(A[n], step);
    result[n] = at_each<Complex>(z, exponential(argument(z, 0)));
  }
}

template <class Weight>
RunsOf<Weight> half_product(Weight A, FloatRuns step) {
  return product(A, step * FloatRuns(0.5));
}

template <class Weight>
void discretize_as(Discretization discretization, const ConstStatesView<Weight>& A, const Steps<FloatRuns>& steps,
                   StatesView<RunsOf<Weight>> transition, StatesView<RunsOf<Weight>> input) {
  using Runs = RunsOf<Weight>;
  const Runs one(1.0);
  switch (discretization) {
    case Discretization::mamba:
      exponentials(A, steps.dtA, transition);
      input.setConstant(one * steps.dt);
      return;
    case Discretization::dirac:
      exponentials(A, steps.dtA, transition);
      input.setConstant(one);
      return;
    case Discretization::zoh:  // dt m_0(A dt)
      exponentials(A, steps.dtA, transition);
      for (Eigen::Index n = 0; n < A.size(); ++n) {
        const auto z = product(A[n], steps.dt);
        const auto m = moments(argument(z, 0));
        input[n] = at_each<Weight>(z, {m[0], m[1], m[2]}) * steps.dt;
      }
      return;
    case Discretization::bilinear:
      for (Eigen::Index n = 0; n < A.size(); ++n) {
        const Runs w = half_product(A[n], steps.dtA), r = reciprocal(one - w);
        transition[n] = (one + w) * r;
        input[n] = (steps.same ? r : reciprocal(one - half_product(A[n], steps.dt))) * steps.dt;
      }
      return;
    case Discretization::s7: {
      const FloatRuns square = steps.dt * steps.dt, half(0.5);
      transition.setConstant(one * ((square - half) * reciprocal(square + half)));
      input.setConstant(one);
      return;
    }
    case Discretization::rglru:
      if constexpr (std::is_same_v<Weight, double>) {
        for (Eigen::Index n = 0; n < A.size(); ++n) {
          const FloatRuns w = FloatRuns(std::log(A[n])) * steps.dt;
          transition[n] = at_each<double>(w, exponential(static_cast<double>(w[0])));
          const FloatRuns complement = off_by_ulps(each(w + w, [](double y) { return -std::expm1(y); }));
          input[n] = each(complement, [](double y) { return std::sqrt(y); });
        }
      }
      return;
  }
}

template <class Weight>
void differentiate_as(Discretization discretization, const ConstStatesView<Weight>& A, const Steps<FloatRuns>& steps,
                      const ConstStatesView<RunsOf<Weight>>& transition, const ConstStatesView<RunsOf<Weight>>& input,
                      DiscretizationSlopes<RunsOf<Weight>>& slopes) {
  using Runs = RunsOf<Weight>;
  const Runs one(1.0), zero(0.0);
  slopes.input_by_step.setConstant(discretization == Discretization::mamba ? one : zero);
  slopes.input_by_weight.setConstant(zero);
  switch (discretization) {
    case Discretization::mamba:
    case Discretization::dirac:
    case Discretization::zoh:
      for (Eigen::Index n = 0; n < A.size(); ++n) {
        slopes.transition_by_step[n] = transition[n] * Runs(A[n]);
        slopes.transition_by_weight[n] = transition[n] * steps.dtA;
      }
      if (discretization != Discretization::zoh) return;
      for (Eigen::Index n = 0; n < A.size(); ++n) {  // e^z and dt^2 m_1(A dt)
        const auto z = product(A[n], steps.dt);
        const Weight z0 = argument(z, 0);
        const auto m = moments(z0);
        slopes.input_by_step[n] = at_each<Weight>(z, exponential(z0));
        slopes.input_by_weight[n] = at_each<Weight>(z, {m[1], m[2], m[3]}) * (steps.dt * steps.dt);
      }
      return;
    case Discretization::bilinear:
      for (Eigen::Index n = 0; n < A.size(); ++n) {
        const Runs by_transition = reciprocal(one - half_product(A[n], steps.dtA));
        const Runs by_input = steps.same ? by_transition : reciprocal(one - half_product(A[n], steps.dt));
        const Runs square = by_transition * by_transition;
        slopes.transition_by_step[n] = square * Runs(A[n]);
        slopes.transition_by_weight[n] = square * steps.dtA;
        slopes.input_by_step[n] = by_input * by_input;
        slopes.input_by_weight[n] = by_input * by_input * (FloatRuns(0.5) * steps.dt * steps.dt);
      }
      return;
    case Discretization::s7: {
      const FloatRuns r = reciprocal(steps.dt * steps.dt + FloatRuns(0.5));
      slopes.transition_by_step.setConstant(one * ((steps.dt + steps.dt) * r * r));
      slopes.transition_by_weight.setConstant(zero);
      return;
    }
    case Discretization::rglru:
      if constexpr (std::is_same_v<Weight, double>) {
        for (Eigen::Index n = 0; n < A.size(); ++n) {
          const FloatRuns a(A[n]);
          slopes.transition_by_step[n] = transition[n] * FloatRuns(std::log(A[n]));
          slopes.transition_by_weight[n] = transition[n] * steps.dt / a;
          FloatRuns ratio;
          for (int run = 0; run < kFloatRuns; ++run) {
            ratio.lanes[run] = input[n][run] == 0.0f ? 0.0f : -transition[n][run] / input[n][run];
          }
          slopes.input_by_step[n] = ratio * slopes.transition_by_step[n];
          slopes.input_by_weight[n] = ratio * slopes.transition_by_weight[n];
        }
      }
      return;
  }
}

// The logistic function of x and that of -x, from one exponential that is at most 1.
struct Logistic {
  explicit Logistic(FloatRuns x) {
    const FloatRuns e = exp(each(x, [](double y) { return -std::abs(y); }));
    const FloatRuns r = reciprocal(FloatRuns(1.0) + e), er = e * r;
    for (int run = 0; run < kFloatRuns; ++run) {
      value.lanes[run] = x[run] < 0.0f ? er[run] : r[run];
      complement.lanes[run] = x[run] < 0.0f ? r[run] : er[run];
    }
  }
  FloatRuns value, complement;
};

// delta + delta_bias, rounded.
FloatRuns sum(const StepInputs<double>& inputs) {
  const FloatRuns delta(*inputs.delta);
  return inputs.delta_bias ? delta + FloatRuns(*inputs.delta_bias) : delta;
}

FloatRuns softplus(FloatRuns x) {
  const FloatRuns e = exp(x);
  FloatRuns result = each(e, [](double y) { return std::log1p(y); });
  for (int run = 0; run < kFloatRuns; ++run) {
    if (x[run] > 20.0f) result.lanes[run] = x[run];
  }
  return result;
}

}  // namespace

FloatRuns Functions<FloatRuns>::silu(double x) { return FloatRuns(x) * Logistic(x).value; }

FloatRuns Functions<FloatRuns>::silu_slope(double x) {
  const Logistic s(x);
  return s.value + FloatRuns(x) * s.value * s.complement;
}

Steps<FloatRuns> Functions<FloatRuns>::steps(const StepInputs<double>& inputs) {
  const FloatRuns dt = inputs.delta_softplus ? softplus(sum(inputs)) : sum(inputs);
  return {inputs.deltaA ? FloatRuns(*inputs.deltaA) : dt, dt, !inputs.deltaA};
}

FloatRuns Functions<FloatRuns>::step_slope(const StepInputs<double>& inputs) { return Logistic(sum(inputs)).value; }

void discretize(Discretization discretization, const ConstStatesView<double>& A, const Steps<FloatRuns>& steps,
                StatesView<FloatRuns> transition, StatesView<FloatRuns> input) {
  discretize_as<double>(discretization, A, steps, transition, input);
}
void discretize(Discretization discretization, const ConstStatesView<Complex>& A, const Steps<FloatRuns>& steps,
                StatesView<ComplexFloatRuns> transition, StatesView<ComplexFloatRuns> input) {
  discretize_as<Complex>(discretization, A, steps, transition, input);
}

void differentiate(Discretization discretization, const ConstStatesView<double>& A, const Steps<FloatRuns>& steps,
                   const ConstStatesView<FloatRuns>& transition, const ConstStatesView<FloatRuns>& input,
                   DiscretizationSlopes<FloatRuns>& slopes) {
  differentiate_as<double>(discretization, A, steps, transition, input, slopes);
}
void differentiate(Discretization discretization, const ConstStatesView<Complex>& A, const Steps<FloatRuns>& steps,
                   const ConstStatesView<ComplexFloatRuns>& transition, const ConstStatesView<ComplexFloatRuns>& input,
                   DiscretizationSlopes<ComplexFloatRuns>& slopes) {
  differentiate_as<Complex>(discretization, A, steps, transition, input, slopes);
}

}  // namespace lrnnx::reference
