// Declared costs of the variants and the floor that they give.
#include "harness/cost.h"

#include <algorithm>

#include "harness/tensors.h"

namespace lrnnx::bench {
namespace {

// Lane instructions, special functions included.
struct Work {
  double special, slots;
  double folded = 0;  // slots that fixed B and C save: B C is then one factor of the output, and inputs need none
};

// A state update of the sequential recurrence, in straight-line code that is good for all values: the arithmetic alone,
// without loads, reductions over lanes and loops. The least found by counting, so that a floor stays a floor: products
// of constants and of what all states of a channel share count nothing, nor do comparisons and selections, the
// reduction of an angle, and what a step of its own for the transition adds. Sine, cosine, exponential, reciprocal and
// root are one special function each. In what follows h and k are states, g and j their adjoints, a the transition, c
// that of a product of two complex numbers (4 slots, with a real one 2); x is u, or dt u.
struct DeclaredCost {
  const char* family;
  const char* discretization;
  bool complex;
  Work forward, backward;
};

constexpr DeclaredCost kDeclared[] = {
    // v = dt A, a = 2^v, B x, h = a h + B x, y += C h: 5. Back: all but y (4); g = C dy + a g (2), dC += dy h,
    // dB += g x, dx += g B (3), w = a g h, ddt += w A, dA += w dt (3).
    {"selective_scan", "mamba", false, {1, 5, 1}, {1, 12, 2}},
    {"selective_scan", "dirac", false, {1, 5, 1}, {1, 12, 2}},
    // v, 2^v, expm1 as v + v^2 p(v) with five coefficients (6), k = A h in h's place: k + B x, k += expm1 (k + B x),
    // y += C k: 11. Back: all but y (10); j += C dy, j expm1, j + j expm1 (3), dC, dB, dx (3), w = a j (k + B x), ddt,
    // and dA in two sums (4).
    {"selective_scan", "zoh", false, {1, 11}, {1, 20, 1}},
    // 1 - v, its reciprocal r, 2 h + B x, h = r (2 h + B x) - h, y += C h: 5. Back: all but y (4); g += C dy, r g,
    // 2 r g - g (3), dC, dB, dx (3), w = r g (h + h'), ddt, dA (4).
    {"selective_scan", "bilinear", false, {1, 5}, {1, 14, 1}},
    // B u, h = a h + B u, y += C h: 3; a is no state's own. Back: all but y (2); g = C dy + a g (2), dC, dB, du (3),
    // da += g h (1).
    {"selective_scan", "s7", false, {0, 3, 1}, {0, 8, 2}},
    // v, 2^v, 1 - a^2, its root s, s u, h = a h + s u, y += C h: 7. Back: all but y, with s from r = 1 / s (7);
    // g = C dy + a g (2), dC, du += g s (2), w = g (a h - (u r - u s)) (3), ddelta, dA (2).
    {"selective_scan", "rglru", false, {2, 7}, {2, 16}},
    // Two exponents, 2^x, sine and cosine, times 2^x (7), B x (2), h = a h + B x (c), y += Re C h (2): 15. Back: all
    // but y (13); g += C dy (2), a g (c), dC, dB, dx (6), w = a g h (c), ddt, dA (4).
    {"selective_scan", "mamba", true, {3, 15, 2}, {3, 33, 4}},
    {"selective_scan", "dirac", true, {3, 15, 2}, {3, 33, 4}},
    // Two exponents and three special functions (5), expm1 of the real part (6), of the whole (2); with k as above
    // k + B x (2), k += expm1 (k + B x) (c), y += Re C k (2): 21. Back: all but y (19); j += C dy (2), j expm1 (c),
    // j + j expm1 (2), dC, dB, dx (6), w = a j (k + B x) (c), ddt, and dA in two sums (8).
    {"selective_scan", "zoh", true, {3, 21, 1}, {3, 45, 3}},
    // 1 - v (2), its squared magnitude (2), the reciprocal of that, r (2), 2 h + B x (2), r (2 h + B x) - h (c),
    // y += Re C h (2): 15. Back: all but y (13); g += C dy (2), r g (c), 2 r g - g (2), dC, dB, dx (6), h + h' (2),
    // w = r g (h + h') (c), ddt, dA (4).
    {"selective_scan", "bilinear", true, {1, 15, 1}, {1, 37, 3}},
};

// Of one (batch, channel, step), whatever the number of states.
Work work_of_a_step(const Problem& problem) {
  const bool backward = problem.direction == "backward";
  Work work = {0, 0};
  const auto add = [&work](double special, double slots) {
    work.special += special;
    work.slots += slots;
  };
  if (problem.options.delta_bias) add(0, 1);
  // e^x of x = -|delta|, and a polynomial for the logarithm, of which only the product and the sum count; back also the
  // reciprocal of 1 + e^x for the slope.
  if (problem.options.delta_softplus) backward ? add(2, 6) : add(1, 4);
  if (problem.options.z) add(2, 5);  // out z / (1 + e^-z)
  if (problem.options.D) add(0, 1);
  if (problem.discretization == "s7") add(1, 4);  // (a^2 - 1/2) / (a^2 + 1/2)
  return work;
}

// A special function can be a polynomial instead. The shortest is that of a sine: five instructions.
constexpr double kPolynomialSlots = 5;

// Those that are left to the special function units where as many are polynomials as make both ends meet.
double special_functions(double all, double slots, const Ceilings& ceilings) {
  const double slots_a_function = *ceilings.issue_slots_per_second / *ceilings.exp2_per_second;
  return std::min(all, (slots + (kPolynomialSlots - 1) * all) / (slots_a_function + kPolynomialSlots - 1));
}

}  // namespace

Cost cost(const Problem& problem) {
  const Shape& shape = problem.shape;
  const double steps =
      static_cast<double>(shape.batch) * static_cast<double>(shape.dim) * static_cast<double>(shape.seqlen);
  Cost result{.state_updates = steps * static_cast<double>(shape.dstate), .bytes = 0, .exp2 = {}, .issue_slots = {}};
  for (const TensorSpec& tensor : tensors(problem)) result.bytes += static_cast<double>(tensor.bytes());
  for (const DeclaredCost& declared : kDeclared) {
    // 16-bit types are storage only: the arithmetic is the same, and conversions are not counted.
    const bool complex = problem.dtype == "c64";
    if (problem.family != declared.family || problem.discretization != declared.discretization ||
        complex != declared.complex)
      continue;
    const Work& update = problem.direction == "backward" ? declared.backward : declared.forward;
    const Work step = work_of_a_step(problem);
    const bool folds = !problem.options.variable_B && !problem.options.variable_C;
    result.exp2 = update.special * result.state_updates + step.special * steps;
    result.issue_slots = (update.slots - (folds ? update.folded : 0)) * result.state_updates + step.slots * steps;
  }
  return result;
}

Floor floor_of(const Cost& cost, const Ceilings& ceilings) {
  Floor floor{.ms = 1e3 * cost.bytes / ceilings.copy_bytes_per_second, .binds = "DRAM"};
  const auto consider = [&floor](double count, double rate, const char* unit) {
    if (const double ms = 1e3 * count / rate; ms > floor.ms) floor = {.ms = ms, .binds = unit};
  };
  if (cost.exp2 && cost.issue_slots && ceilings.exp2_per_second && ceilings.issue_slots_per_second) {
    consider(special_functions(*cost.exp2, *cost.issue_slots, ceilings), *ceilings.exp2_per_second, "exp2");
    consider(*cost.issue_slots, *ceilings.issue_slots_per_second, "issue");
  }
  return floor;
}

}  // namespace lrnnx::bench
