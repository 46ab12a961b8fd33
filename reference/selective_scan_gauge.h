// How far an honest 32-bit computation of the selective scan may stray from selective_scan.h: for every tensor that it
// returns, the gauges of reference/gauge.h. About as parallel, and as independent of the number of threads.
#pragma once

#include <vector>

#include "reference/gauge.h"
#include "reference/selective_scan.h"

namespace lrnnx::reference {

struct OutputGauges {
  TensorGauge out, out_z, last_state;
};

struct GradientGauges {
  TensorGauge du, ddelta, dA, dB, dC, dD, dz, ddelta_bias, ddeltaA, dh0;
};

// G1, G2 and F; S1_env is 0.
OutputGauges forward_gauges(const Problem& problem, const Inputs& inputs);
GradientGauges backward_gauges(const Problem& problem, const Inputs& inputs, const std::vector<double>& dout,
                               const std::vector<double>& dlast_state);

// Sets S1_env in what those gave. `outputs` and `gradients` are what forward() and backward() gave.
void measure_envelopes(const Problem& problem, const Inputs& inputs, const Outputs& outputs, OutputGauges& gauges);
void measure_envelopes(const Problem& problem, const Inputs& inputs, const std::vector<double>& dout,
                       const std::vector<double>& dlast_state, const Gradients& gradients, GradientGauges& gauges);

}  // namespace lrnnx::reference
