// What each factor adds to the gauges. Of a function f of a product x, whose rounding changes x by its own size times
// u,
//   running = |f| + |x f'(x)| (1 + error of the step),
// and floor = 1 for f itself (it, or what it is made of, may underflow) + |df/dstep|, for the step may.
#include "reference/discretization_gauge.h"

#include <algorithm>

namespace lrnnx::reference {

namespace {

// Steps from a softplus and gates underflow to 0, and infinite arguments make 0 times infinity of a condition.
double times(double x, double y) { return x == 0.0 ? 0.0 : x * y; }

// |x f| and the like are 0 where f is, and must then be computed exactly.
Gauge function_value(double size, double absolute, double running, double floor) {
  return size == 0.0 ? Gauge() : Gauge(size, absolute, running, floor);
}

// change: |x f'(x)|
Gauge transition_value(double size, double change, double floor) { return {size, size + change, size + change, floor}; }

// Calls visit(n, e^(scale Re A_n)) for every state, a few at a time so that the exponentials are computed side by side.
template <class Weight, class Visit>
void for_each_exponential(const ConstStatesView<Weight>& A, double scale, Visit visit) {
  constexpr Eigen::Index kWidth = 8;
  for (Eigen::Index first = 0; first < A.size(); first += kWidth) {
    const Eigen::Index count = std::min(kWidth, A.size() - first);
    Eigen::Array<double, kWidth, 1> x = Eigen::Array<double, kWidth, 1>::Zero();
    for (Eigen::Index i = 0; i < count; ++i) x[i] = std::real(A[first + i]) * scale;
    // Eigen's vectorised exp does not fall below 5.6e-309.
    const Eigen::Array<double, kWidth, 1> e = (x < -708.0).select(0.0, x.exp());
    for (Eigen::Index i = 0; i < count; ++i) visit(first + i, e[i]);
  }
}

// e^z = transition, z = A step: |z e^z| is its change.
Gauge exponential(double weight, double step, double step_error, double e) {
  const double change = times(e, weight * std::abs(step) * (1.0 + step_error));
  return transition_value(e, change, 1.0 + times(e, weight));
}

// Derivatives of e^z by step and weight: times |A|, times |step|. The condition now counts into `absolute` too.
Gauge exponential_by_step(double weight, double step, double step_error, double e) {
  const double size = times(e, weight), condition = weight * std::abs(step);
  return weight == 0.0 ? Gauge()
                       : Gauge(size, size + times(size, condition), size + times(size, condition * (1.0 + step_error)),
                               (weight + 1.0) * (e + 1.0));
}
Gauge exponential_by_weight(double weight, double step, double step_error, double e) {
  const double magnitude = std::abs(step), size = magnitude * e, condition = weight * magnitude;
  return magnitude == 0.0
             ? Gauge()
             : Gauge(size, size + times(size, condition + step_error),
                     size + times(size, (1.0 + condition) * (1.0 + step_error)), (magnitude + 1.0) * (e + 1.0));
}

// The integral of e^(xs) over [0, dt] for z = x dt and e = e^z: (e - 1) / x, accurate enough for a gauge.
double integral(double x, double dt, double e) {
  const double z = x * dt;
  return std::abs(z) < 1e-4 ? std::abs(dt) * (1.0 + 0.5 * z) : std::abs((e - 1.0) / x);
}

// The integral of s e^(xs) over [0, dt].
double first_moment(double x, double dt, double e) {
  const double z = x * dt;
  return std::abs(z) < 1e-2 ? dt * dt * (0.5 + z / 3.0) : std::abs((times(e, dt) - (e - 1.0) / x) / x);
}

struct ZeroOrderHoldGauges {
  Gauge input, input_by_step, input_by_weight;
};

// phi = integral of e^(As), of which |phi| <= integral of e^(Re A s); d phi / d dt = e^z, |z e^z / A| = dt |e^z|.
// d phi / dA = integral of s e^(As) likewise; its derivative by dt is dt e^z.
template <class Weight>
ZeroOrderHoldGauges zero_order_hold_gauges(Weight A, const Steps<Gauge>& steps, double e) {
  const double dt = std::abs(steps.dt);
  if (dt == 0.0) return {Gauge(), exponential(modulus(A), 0.0, 0.0, e), Gauge()};
  const double x = std::real(A), error = 1.0 + steps.dt_error;
  const double phi = integral(x, steps.dt, e), moment = first_moment(x, steps.dt, e);
  const double condition = modulus(A) * dt;
  return {.input = {phi, phi * error, phi + times(e, dt * error), 1.0 + e},
          .input_by_step = {e, e + times(e, condition), e + times(e, condition * error), 1.0 + times(e, modulus(A))},
          .input_by_weight = {moment, moment + times(e, dt * dt), moment + times(e, dt * dt * error),
                              std::isinf(dt) ? 1.0 : 1.0 + dt + dt * dt}};
}

// Of two states, side by side.
using Pair = Gauge::Pair;
struct GaugePair {
  Pair size, absolute, running, reach;
  Gauge operator[](int i) const { return {Pair{size[i], absolute[i]}, Pair{running[i], reach[i]}}; }
};

GaugePair function_values(Pair size, Pair absolute, Pair running, Pair floor) {
  const auto nonzero = [&](Pair x) { return size == 0.0 ? Pair{} : x; };
  return {size, nonzero(absolute), nonzero(running), nonzero(size + floor)};
}

template <class Weight>
struct WeightPair {
  Pair one_plus(double x) const { return Pair{modulus(1.0 + x * first), modulus(1.0 + x * second)}; }
  Pair size() const { return Pair{modulus(first), modulus(second)}; }
  Weight first, second;
};

// Calls visit(n, count, A_n and A_(n+1)) for one or two states at a time.
template <class Weight, class Visit>
void for_each_pair(const ConstStatesView<Weight>& A, Visit visit) {
  Eigen::Index n = 0;
  for (; n + 1 < A.size(); n += 2) visit(n, 2, WeightPair<Weight>{A[n], A[n + 1]});
  if (n < A.size()) visit(n, 1, WeightPair<Weight>{A[n], A[n]});
}

// With R = 1 / (1 - w), w = A step / 2: a change of w by u |w| changes R by |w R| of itself.
struct Resolvent {
  template <class Weight>
  Resolvent(const WeightPair<Weight>& A, double step, double step_error) : size(1.0 / A.one_plus(-0.5 * step)) {
    if (std::isinf(step)) size = A.size() == 0.0 ? size : Pair{};
    change = (size == 0.0 ? Pair{} : size * (0.5 * std::abs(step) * A.size())) * (1.0 + step_error);
  }
  Pair size, change;
};

template <class Weight>
GaugePair bilinear_transition(const WeightPair<Weight>& A, const Steps<Gauge>& steps, const Resolvent& R) {
  const Pair size = A.one_plus(0.5 * steps.dtA) * R.size;
  // At w = -1, where it is 0, its change, 2 |w| R^2, is all there is.
  const Pair absolute = size + 2.0 * R.size * R.change;
  return {size, absolute, absolute, size + (1.0 + A.size() * R.size * R.size)};
}

GaugePair bilinear_input(const Steps<Gauge>& steps, const Resolvent& R) {
  const Pair size = std::abs(steps.dt) * R.size, condition = 1.0 + R.size * steps.dt_error;
  return function_values(size, size * condition, size * (condition + R.change), 1.0 + R.size * R.size);
}

// factor R^2, with the relative error of the factor.
GaugePair resolvent_square(Pair factor, double factor_error, const Resolvent& R) {
  const Pair size = factor * R.size * R.size;
  return function_values(size, size * (1.0 + factor_error + R.change), size * (1.0 + factor_error + 2.0 * R.change),
                         (factor + 1.0) * (R.size * R.size + 1.0));
}

// 1 - 1 / (a^2 + 1/2): its change with a^2 is a^2 / (a^2 + 1/2)^2, all there is where it crosses 0.
Gauge s7_transition(double a) {
  const double square = a * a, r = 1.0 / (square + 0.5);
  return transition_value(std::abs(square - 0.5) * r, square * r * r, 1.0);
}

Gauge s7_by_step(double a) {
  const double square = a * a, r = 1.0 / (square + 0.5), size = 2.0 * std::abs(a) * r * r;
  return function_value(size, size, size * (1.0 + 2.0 * square * r), 1.0);
}

// With w = delta ln A, e = A^delta = e^w and s = sqrt(-expm1(2w)).
struct RglruGauges {
  Gauge transition, input, transition_by_step, transition_by_weight, input_by_step, input_by_weight;
};

RglruGauges rglru_gauges(double A, double delta) {
  const double log = std::abs(std::log(A)), step = std::abs(delta), w = log * step;
  const double e = std::exp(-w), square = e * e, s = std::sqrt(-std::expm1(-2.0 * w));
  RglruGauges result;
  result.transition = transition_value(e, times(e, w), 1.0 + times(e, log));
  result.transition_by_step =
      function_value(times(e, log), times(e, log * (1.0 + w)), times(e, log * (2.0 + w)), (log + 1.0) * (e + 1.0));
  const double by_weight = step * e / A;
  result.transition_by_weight =
      function_value(by_weight, times(by_weight, 1.0 + w), times(by_weight, 1.0 + w), (step + 1.0) * (1.0 / A + 1.0));
  if (s == 0.0) return result;
  // ds/dw = -e^2 / s, so that w changes s by w e^2 / s^2 <= 1/2 of itself.
  const double change = times(square, w) / (s * s), slope = square / s;
  result.input = {s, s, s + s * change, 1.0 + slope};
  // A w that underflows takes 1/s with it: by 1 / (2w) of itself for each unit.
  const auto slope_gauge = [&](double factor, double floor) {
    const double size = times(slope, factor);
    return function_value(size, times(size, 1.0 + 2.0 * w), times(size, 2.0 + 2.0 * w + change),
                          times(size, 0.5 / w) + floor);
  };
  result.input_by_step = slope_gauge(log, (log + 1.0) * (1.0 / s + 1.0));
  result.input_by_weight = slope_gauge(step / A, (step / A + 1.0) * (1.0 / s + 1.0));
  return result;
}

}  // namespace

// x s(x), s the logistic function: s changes by |x| s(-x) of itself. s underflows, and x follows.
Gauge Functions<Gauge>::silu(double x) {
  const double s = sigmoid(x), magnitude = std::abs(x), size = times(s, magnitude);
  const double running = size + times(size, times(sigmoid(-x), magnitude));
  return function_value(size, running, running, 1.0 + magnitude);
}

// s(x) + x s(x) s(-x): each logistic function with its change.
Gauge Functions<Gauge>::silu_slope(double x) {
  const double s = sigmoid(x), complement = sigmoid(-x), magnitude = std::abs(x);
  const double change = times(complement, magnitude), other_change = times(s, magnitude);
  const double product = times(s, change);
  const double running = s + times(s, change) + product + times(product, 1.0 + change + other_change);
  return function_value(s + product, running, running, 1.0 + magnitude);
}

// softplus'(x) = s(x), so that x, which is rounded if it is a sum, or within the exponential, changes softplus(x) by
// |x| s(x) / softplus(x) of itself.
Steps<Gauge> Functions<Gauge>::steps(const StepInputs<double>& inputs) {
  const Steps<double> steps = Functions<double>::steps(inputs);
  double error = inputs.delta_bias ? 1.0 : 0.0;
  if (inputs.delta_softplus) {
    const double x = inputs.sum();
    error = steps.dt == 0.0 ? 0.0 : 1.0 + (x > 20.0 ? 1.0 : std::abs(x) * sigmoid(x) / steps.dt);
  }
  return {
      .dtA = steps.dtA, .dt = steps.dt, .dtA_error = steps.same ? error : 0.0, .dt_error = error, .same = steps.same};
}

Gauge Functions<Gauge>::step_slope(const StepInputs<double>& inputs) {
  const double x = inputs.sum(), s = sigmoid(x), running = s + times(s, times(sigmoid(-x), std::abs(x)));
  return function_value(s, running, running, 1.0);
}

template <class Weight>
void discretize(Discretization discretization, const ConstStatesView<Weight>& A, const Steps<Gauge>& steps,
                StatesView<Gauge> transition, StatesView<Gauge> input) {
  const auto exponentials = [&] {
    for_each_exponential(A, steps.dtA, [&](Eigen::Index n, double e) {
      transition[n] = exponential(modulus(A[n]), steps.dtA, steps.dtA_error, e);
    });
  };
  switch (discretization) {
    case Discretization::mamba: {
      exponentials();
      const double dt = std::abs(steps.dt), running = dt * (1.0 + steps.dt_error);
      input.setConstant(function_value(dt, running, running, 1.0));
      return;
    }
    case Discretization::dirac:
      exponentials();
      input.setConstant(Gauge(1.0, 1.0, 1.0, 0.0));
      return;
    case Discretization::zoh:
      exponentials();
      for_each_exponential(A, steps.dt,
                           [&](Eigen::Index n, double e) { input[n] = zero_order_hold_gauges(A[n], steps, e).input; });
      return;
    case Discretization::bilinear:
      for_each_pair(A, [&](Eigen::Index n, int count, const WeightPair<Weight>& weights) {
        const Resolvent R(weights, steps.dtA, steps.dtA_error);
        const GaugePair transitions = bilinear_transition(weights, steps, R);
        const GaugePair inputs = bilinear_input(steps, steps.same ? R : Resolvent(weights, steps.dt, steps.dt_error));
        for (int i = 0; i < count; ++i) {
          transition[n + i] = transitions[i];
          input[n + i] = inputs[i];
        }
      });
      return;
    case Discretization::s7:
      transition.setConstant(s7_transition(steps.dt));
      input.setConstant(Gauge(1.0, 1.0, 1.0, 0.0));
      return;
    case Discretization::rglru:
      for (Eigen::Index n = 0; n < A.size(); ++n) {
        const RglruGauges gauges = rglru_gauges(std::real(A[n]), steps.dt);
        transition[n] = gauges.transition;
        input[n] = gauges.input;
      }
      return;
  }
}

template <class Weight>
void differentiate(Discretization discretization, const ConstStatesView<Weight>& A, const Steps<Gauge>& steps,
                   const ConstStatesView<Gauge>& transition, const ConstStatesView<Gauge>&,
                   DiscretizationSlopes<Gauge>& slopes) {
  const auto exponentials = [&] {
    for (Eigen::Index n = 0; n < A.size(); ++n) {
      const double weight = modulus(A[n]), e = transition[n].size;
      slopes.transition_by_step[n] = exponential_by_step(weight, steps.dtA, steps.dtA_error, e);
      slopes.transition_by_weight[n] = exponential_by_weight(weight, steps.dtA, steps.dtA_error, e);
    }
  };
  switch (discretization) {
    case Discretization::mamba:
    case Discretization::dirac:
      exponentials();
      slopes.input_by_step.setConstant(discretization == Discretization::mamba ? Gauge(1.0, 1.0, 1.0, 0.0) : Gauge());
      slopes.input_by_weight.setZero();
      return;
    case Discretization::zoh:
      exponentials();
      for_each_exponential(A, steps.dt, [&](Eigen::Index n, double e) {
        const ZeroOrderHoldGauges gauges = zero_order_hold_gauges(A[n], steps, e);
        slopes.input_by_step[n] = gauges.input_by_step;
        slopes.input_by_weight[n] = gauges.input_by_weight;
      });
      return;
    case Discretization::bilinear:
      for_each_pair(A, [&](Eigen::Index n, int count, const WeightPair<Weight>& weights) {
        const Resolvent transition_R(weights, steps.dtA, steps.dtA_error);
        const Resolvent input_R = steps.same ? transition_R : Resolvent(weights, steps.dt, steps.dt_error);
        const double dtA = std::abs(steps.dtA), dt = std::abs(steps.dt);
        const auto square = [](double factor, double error, const Resolvent& R) {
          return resolvent_square(Pair{factor, factor}, error, R);
        };
        const GaugePair transition_by_step = resolvent_square(weights.size(), 0.0, transition_R);
        const GaugePair transition_by_weight = square(dtA, steps.dtA_error, transition_R);
        const GaugePair input_by_step = square(1.0, 0.0, input_R);
        const GaugePair input_by_weight = square(0.5 * dt * dt, 2.0 * steps.dt_error, input_R);
        for (int i = 0; i < count; ++i) {
          slopes.transition_by_step[n + i] = transition_by_step[i];
          slopes.transition_by_weight[n + i] = transition_by_weight[i];
          slopes.input_by_step[n + i] = input_by_step[i];
          slopes.input_by_weight[n + i] = input_by_weight[i];
        }
      });
      return;
    case Discretization::s7:
      slopes.transition_by_step.setConstant(s7_by_step(steps.dt));
      slopes.transition_by_weight.setZero();
      slopes.input_by_step.setZero();
      slopes.input_by_weight.setZero();
      return;
    case Discretization::rglru:
      for (Eigen::Index n = 0; n < A.size(); ++n) {
        const RglruGauges gauges = rglru_gauges(std::real(A[n]), steps.dt);
        slopes.transition_by_step[n] = gauges.transition_by_step;
        slopes.transition_by_weight[n] = gauges.transition_by_weight;
        slopes.input_by_step[n] = gauges.input_by_step;
        slopes.input_by_weight[n] = gauges.input_by_weight;
      }
      return;
  }
}

template void discretize(Discretization, const ConstStatesView<double>&, const Steps<Gauge>&, StatesView<Gauge>,
                         StatesView<Gauge>);
template void discretize(Discretization, const ConstStatesView<std::complex<double>>&, const Steps<Gauge>&,
                         StatesView<Gauge>, StatesView<Gauge>);
template void differentiate(Discretization, const ConstStatesView<double>&, const Steps<Gauge>&,
                            const ConstStatesView<Gauge>&, const ConstStatesView<Gauge>&, DiscretizationSlopes<Gauge>&);
template void differentiate(Discretization, const ConstStatesView<std::complex<double>>&, const Steps<Gauge>&,
                            const ConstStatesView<Gauge>&, const ConstStatesView<Gauge>&, DiscretizationSlopes<Gauge>&);

}  // namespace lrnnx::reference
