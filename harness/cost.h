// The least that a problem asks of the machine, and the time that follows from what the machine can do.
#pragma once

#include <optional>
#include <string>

#include "harness/ceilings.h"
#include "harness/problem.h"

namespace lrnnx::bench {

struct Cost {
  double state_updates = 0;  // batch * dim * seqlen * dstate
  double bytes = 0;          // every input read once, every output written once
  // Lane operations of the whole problem; absent for variants whose cost is not declared.
  std::optional<double> exp2;         // what the special function units do: exp2, reciprocals, roots, sines, cosines
  std::optional<double> issue_slots;  // instructions issued, each of those included as one
};

Cost cost(const Problem& problem);

// No variant can be faster than this on a machine with these ceilings. It leaves out what a forward saves for the
// backward, and lets polynomials in the other units take as many of the special functions as helps, so that it stays a
// lower bound.
struct Floor {
  double ms = 0;
  std::string binds;  // "DRAM", "exp2" or "issue": the unit that is busy all the time
};

Floor floor_of(const Cost& cost, const Ceilings& ceilings);

}  // namespace lrnnx::bench
