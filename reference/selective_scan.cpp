// The selective scan and its gradients in double precision.
#include "reference/selective_scan.h"

#include "reference/selective_scan_backward.h"
#include "reference/selective_scan_forward.h"
#include "reference/selective_scan_inputs.h"
#include "reference/selective_scan_validation.h"

namespace lrnnx::reference {

namespace {

// The parts of complex weights, interleaved.
std::vector<double> parts(std::vector<double> weights) { return weights; }
std::vector<double> parts(const std::vector<std::complex<double>>& weights) {
  const auto* values = reinterpret_cast<const double*>(weights.data());
  return {values, values + 2 * weights.size()};
}

template <class Weight>
Outputs forward_as(const Problem& problem, const Inputs& inputs) {
  auto result = forward<Arithmetic<double, Weight>>(problem, view<Weight>(inputs));
  return {std::move(result.out), std::move(result.out_z), parts(std::move(result.last_state))};
}

template <class Weight>
Gradients backward_as(const Problem& problem, const Inputs& inputs, const std::vector<double>& dout,
                      const std::vector<double>& dlast_state) {
  auto result =
      Backward<Arithmetic<double, Weight>>(problem, view<Weight>(inputs), dout.data(), as_weights<Weight>(dlast_state))
          .run();
  return {.du = std::move(result.du),
          .ddelta = std::move(result.ddelta),
          .dA = parts(std::move(result.dA)),
          .dB = parts(std::move(result.dB)),
          .dC = parts(std::move(result.dC)),
          .dD = std::move(result.dD),
          .dz = std::move(result.dz),
          .ddelta_bias = std::move(result.ddelta_bias),
          .ddeltaA = std::move(result.ddeltaA),
          .dh0 = parts(std::move(result.dh0))};
}

}  // namespace

Outputs forward(const Problem& problem, const Inputs& inputs) {
  validate(problem, inputs);
  return problem.complex ? forward_as<std::complex<double>>(problem, inputs) : forward_as<double>(problem, inputs);
}

Gradients backward(const Problem& problem, const Inputs& inputs, const std::vector<double>& dout,
                   const std::vector<double>& dlast_state) {
  validate(problem, inputs);
  validate_output_gradients(problem, dout, dlast_state);
  return problem.complex ? backward_as<std::complex<double>>(problem, inputs, dout, dlast_state)
                         : backward_as<double>(problem, inputs, dout, dlast_state);
}

}  // namespace lrnnx::reference
