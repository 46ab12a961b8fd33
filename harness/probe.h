// Causality: one number, or row, of the inputs becomes a NaN or an infinity. What depends on it must then be no finite
// number; what neither it nor its channel's later (for gradients: or earlier) steps reach must keep every bit.
#pragma once

#include <string>
#include <vector>

#include "harness/fill.h"
#include "harness/tensors.h"

namespace lrnnx::bench {

// What the reference computes of a problem with other values in the place of the plant.
struct PlantedOracles {
  OracleTensors clean;  // the value of the problem without a plant
  OracleTensors moved;  // another finite value: what changes depends on it
  OracleTensors lost;   // a NaN
};

// One sentence a fault. `with` and `without` are what the same launch gave with and without the plant. Where a NaN in
// the reference reaches any (batch, channel, time) of one output, it may reach that of the others: 0 times it is NaN.
std::vector<std::string> causality_faults(const Problem& problem, const Plant& plant, const HostTensors& with,
                                          const HostTensors& without, const PlantedOracles& oracles);

}  // namespace lrnnx::bench
