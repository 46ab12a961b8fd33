// The inputs of the selective scan as the scan reads them.
#pragma once

#include <complex>
#include <vector>

#include "reference/selective_scan.h"
#include "reference/selective_scan_forward.h"

namespace lrnnx::reference {

// std::complex is laid out as its two parts (C++ standard, [complex.numbers.general]).
template <class Weight>
const Weight* as_weights(const std::vector<double>& tensor) {
  return tensor.empty() ? nullptr : reinterpret_cast<const Weight*>(tensor.data());
}

template <class Weight>
InputView<double, Weight> view(const Inputs& inputs) {
  return {.u = as_weights<double>(inputs.u),
          .delta = as_weights<double>(inputs.delta),
          .D = as_weights<double>(inputs.D),
          .z = as_weights<double>(inputs.z),
          .delta_bias = as_weights<double>(inputs.delta_bias),
          .deltaA = as_weights<double>(inputs.deltaA),
          .out = as_weights<double>(inputs.out),
          .A = as_weights<Weight>(inputs.A),
          .B = as_weights<Weight>(inputs.B),
          .C = as_weights<Weight>(inputs.C),
          .h0 = as_weights<Weight>(inputs.h0)};
}

}  // namespace lrnnx::reference
