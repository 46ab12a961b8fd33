// The scan's own formulas run on gauges, and on 32-bit floats.
#include "reference/selective_scan_gauge.h"

#include "reference/discretization_float_runs.h"
#include "reference/discretization_gauge.h"
#include "reference/selective_scan_backward.h"
#include "reference/selective_scan_inputs.h"
#include "reference/selective_scan_validation.h"

namespace lrnnx::reference {

namespace {

// Of `terms` products, summed last.
TensorGauge tensor_gauge(const std::vector<Gauge>& gauges, int64_t terms) {
  const double roundings = sum_roundings(terms), factor = long_sum_factor(terms);
  TensorGauge result;
  result.G1.resize(gauges.size());
  result.G2.resize(gauges.size());
  result.F.resize(gauges.size());
  for (size_t i = 0; i < gauges.size(); ++i) {
    result.G1[i] = factor * gauges[i].absolute;
    result.G2[i] = gauges[i].running + roundings * gauges[i].absolute;
    result.F[i] = kSmallestNormal * gauges[i].reach;
  }
  return result;
}

double distance(const std::vector<double>& value, const FloatRuns& computed, size_t i, int run) {
  return std::abs(value[i] - computed[run]);
}
double distance(const std::vector<double>& value, const ComplexFloatRuns& computed, size_t i, int run) {
  return std::hypot(value[2 * i] - computed.re[run], value[2 * i + 1] - computed.im[run]);
}

// Numbers that are not finite say nothing.
template <class Runs>
void measure(TensorGauge& gauge, const std::vector<double>& value, const std::vector<Runs>& computed) {
  for (size_t i = 0; i < computed.size(); ++i) {
    for (int run = 0; run < kFloatRuns; ++run) {
      const double error = distance(value, computed[i], i, run);
      if (!std::isfinite(error) || error == 0.0) continue;
      const double ratio = error / (kUnitRoundoff * gauge.G1[i] + gauge.F[i]);
      if (ratio > gauge.S1_env) gauge.S1_env = ratio;
    }
  }
}

template <class InputWeight>
using Gauged = Arithmetic<Gauge, Gauge, double, InputWeight>;
template <class InputWeight>
using InFloat =
    Arithmetic<FloatRuns, std::conditional_t<std::is_same_v<InputWeight, double>, FloatRuns, ComplexFloatRuns>, double,
               InputWeight>;

template <class InputWeight>
OutputGauges forward_gauges_as(const Problem& problem, const Inputs& inputs) {
  const auto gauges = forward<Gauged<InputWeight>>(problem, reference::view<InputWeight>(inputs));
  const int64_t terms = problem.dstate + (inputs.D.empty() ? 0 : 1);
  return {.out = tensor_gauge(gauges.out, terms),
          .out_z = tensor_gauge(gauges.out_z, terms),
          .last_state = tensor_gauge(gauges.last_state, 1)};
}

template <class InputWeight>
void measure_envelopes_as(const Problem& problem, const Inputs& inputs, const Outputs& outputs, OutputGauges& gauges) {
  const auto computed = forward<InFloat<InputWeight>>(problem, reference::view<InputWeight>(inputs));
  measure(gauges.out, outputs.out, computed.out);
  measure(gauges.out_z, outputs.out_z, computed.out_z);
  measure(gauges.last_state, outputs.last_state, computed.last_state);
}

template <class Numbers>
auto run_backward(const Problem& problem, const Inputs& inputs, const std::vector<double>& dout,
                  const std::vector<double>& dlast_state) {
  using InputWeight = typename Numbers::InputWeight;
  return Backward<Numbers>(problem, reference::view<InputWeight>(inputs), dout.data(),
                           as_weights<InputWeight>(dlast_state))
      .run();
}

template <class InputWeight>
GradientGauges backward_gauges_as(const Problem& problem, const Inputs& inputs, const std::vector<double>& dout,
                                  const std::vector<double>& dlast_state) {
  const auto gauges = run_backward<Gauged<InputWeight>>(problem, inputs, dout, dlast_state);
  const int64_t steps = problem.batch * problem.seqlen, states = problem.dstate + (inputs.D.empty() ? 0 : 1);
  const int64_t channels = problem.dim / problem.groups;
  return {.du = tensor_gauge(gauges.du, states),
          .ddelta = tensor_gauge(gauges.ddelta, states),
          .dA = tensor_gauge(gauges.dA, steps),
          .dB = tensor_gauge(gauges.dB, problem.variable_B ? channels : steps),
          .dC = tensor_gauge(gauges.dC, problem.variable_C ? channels : steps),
          .dD = tensor_gauge(gauges.dD, steps),
          .dz = tensor_gauge(gauges.dz, inputs.out.empty() ? states : 1),
          .ddelta_bias = tensor_gauge(gauges.ddelta_bias, steps),
          .ddeltaA = tensor_gauge(gauges.ddeltaA, states),
          .dh0 = tensor_gauge(gauges.dh0, 1)};
}

template <class InputWeight>
void measure_envelopes_as(const Problem& problem, const Inputs& inputs, const std::vector<double>& dout,
                          const std::vector<double>& dlast_state, const Gradients& gradients, GradientGauges& gauges) {
  const auto computed = run_backward<InFloat<InputWeight>>(problem, inputs, dout, dlast_state);
  measure(gauges.du, gradients.du, computed.du);
  measure(gauges.ddelta, gradients.ddelta, computed.ddelta);
  measure(gauges.dA, gradients.dA, computed.dA);
  measure(gauges.dB, gradients.dB, computed.dB);
  measure(gauges.dC, gradients.dC, computed.dC);
  measure(gauges.dD, gradients.dD, computed.dD);
  measure(gauges.dz, gradients.dz, computed.dz);
  measure(gauges.ddelta_bias, gradients.ddelta_bias, computed.ddelta_bias);
  measure(gauges.ddeltaA, gradients.ddeltaA, computed.ddeltaA);
  measure(gauges.dh0, gradients.dh0, computed.dh0);
}

}  // namespace

OutputGauges forward_gauges(const Problem& problem, const Inputs& inputs) {
  validate(problem, inputs);
  return problem.complex ? forward_gauges_as<std::complex<double>>(problem, inputs)
                         : forward_gauges_as<double>(problem, inputs);
}

void measure_envelopes(const Problem& problem, const Inputs& inputs, const Outputs& outputs, OutputGauges& gauges) {
  validate(problem, inputs);
  problem.complex ? measure_envelopes_as<std::complex<double>>(problem, inputs, outputs, gauges)
                  : measure_envelopes_as<double>(problem, inputs, outputs, gauges);
}

GradientGauges backward_gauges(const Problem& problem, const Inputs& inputs, const std::vector<double>& dout,
                               const std::vector<double>& dlast_state) {
  validate(problem, inputs);
  validate_output_gradients(problem, dout, dlast_state);
  return problem.complex ? backward_gauges_as<std::complex<double>>(problem, inputs, dout, dlast_state)
                         : backward_gauges_as<double>(problem, inputs, dout, dlast_state);
}

void measure_envelopes(const Problem& problem, const Inputs& inputs, const std::vector<double>& dout,
                       const std::vector<double>& dlast_state, const Gradients& gradients, GradientGauges& gauges) {
  validate(problem, inputs);
  validate_output_gradients(problem, dout, dlast_state);
  problem.complex ? measure_envelopes_as<std::complex<double>>(problem, inputs, dout, dlast_state, gradients, gauges)
                  : measure_envelopes_as<double>(problem, inputs, dout, dlast_state, gradients, gauges);
}

}  // namespace lrnnx::reference
