// What the oracle of the selective scan accepts.
#pragma once

#include "reference/selective_scan.h"

namespace lrnnx::reference {

// Both throw std::invalid_argument.
void validate(const Problem& problem, const Inputs& inputs);
void validate_output_gradients(const Problem& problem, const std::vector<double>& dout,
                               const std::vector<double>& dlast_state);

}  // namespace lrnnx::reference
