// Declared costs of the variants and the floor that they give.
#include "harness/cost.h"

#include <algorithm>

#include "harness/tensors.h"

namespace lrnnx::bench {
namespace {

// Lane operations a state update of the sequential recurrence, in straight-line code without the reductions' and
// loops' overhead. One line a variant; it is the least found by counting, so that a floor stays a floor.
struct DeclaredCost {
  const char* family;
  const char* discretization;
  const char* dtype;
  const char* direction;
  double exp2, issue_slots;
};

constexpr DeclaredCost kDeclared[] = {
    // exp2(dt A'); h = abar h + (dt u) B; y += C h: 4.1 on the fma pipe, the rest are loads of shared operands.
    {"selective_scan", "mamba", "f32", "forward", 1, 5.9},
    // The state once more, then the reverse recurrence and the six sums that du, ddelta, dA, dB, dC need.
    {"selective_scan", "mamba", "f32", "backward", 1, 17},
};

// Of one (batch, channel, step), whatever the number of states: softplus is one exp2 (its logarithm can be a
// polynomial), the gate's and the softplus derivative's logistic functions an exp2 and a reciprocal each.
double exp2_of_a_step(const Problem& problem) {
  const bool backward = problem.direction == "backward";
  double count = 0;
  if (problem.options.delta_softplus) count += backward ? 2 : 1;  // backward: e^x serves both functions
  if (problem.options.z) count += 2;
  return count;
}

}  // namespace

Cost cost(const Problem& problem) {
  const Shape& shape = problem.shape;
  const double steps =
      static_cast<double>(shape.batch) * static_cast<double>(shape.dim) * static_cast<double>(shape.seqlen);
  Cost result{.state_updates = steps * static_cast<double>(shape.dstate), .bytes = 0, .exp2 = {}, .issue_slots = {}};
  for (const TensorSpec& tensor : tensors(problem)) result.bytes += static_cast<double>(tensor.bytes());
  for (const DeclaredCost& declared : kDeclared) {
    if (problem.family != declared.family || problem.discretization != declared.discretization ||
        problem.dtype != declared.dtype || problem.direction != declared.direction)
      continue;
    result.exp2 = declared.exp2 * result.state_updates + exp2_of_a_step(problem) * steps;
    result.issue_slots = declared.issue_slots * result.state_updates;
  }
  return result;
}

Floor floor_of(const Cost& cost, const Ceilings& ceilings) {
  Floor floor{.ms = 1e3 * cost.bytes / ceilings.copy_bytes_per_second, .binds = "DRAM"};
  const auto consider = [&floor](const std::optional<double>& count, const std::optional<double>& rate,
                                 const char* unit) {
    if (!count || !rate) return;
    if (const double ms = 1e3 * *count / *rate; ms > floor.ms) floor = {.ms = ms, .binds = unit};
  };
  consider(cost.exp2, ceilings.exp2_per_second, "exp2");
  consider(cost.issue_slots, ceilings.issue_slots_per_second, "issue");
  return floor;
}

}  // namespace lrnnx::bench
