// Norms of the difference, and the verdict.
#include "harness/compare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "harness/fill.h"

namespace lrnnx::bench {
namespace {

constexpr double kCancellation = 32;
constexpr int64_t kFew = 8;  // elements

// Of one block of elements; blocks are combined in order, so that the result does not depend on the threads.
struct Partial {
  double error_squares = 0, reference_squares = 0;
  double reference_fourths = 0;  // sum of fourth powers
  double max_error = 0, max_reference = 0;
  int64_t worst = -1;       // position of max_error
  int64_t not_finite = -1;  // first position where either side is not finite
  int64_t not_finite_count = 0;
};

Partial compare_block(std::span<const float> got, std::span<const double> expected, int64_t begin, int64_t end) {
  Partial sums;
  for (int64_t i = begin; i < end; ++i) {
    const double reference = expected[static_cast<size_t>(i)];
    const double error = std::abs(static_cast<double>(got[static_cast<size_t>(i)]) - reference);
    if (!std::isfinite(error)) {  // NaN or infinite on either side
      if (sums.not_finite < 0) sums.not_finite = i;
      ++sums.not_finite_count;
      continue;
    }
    sums.error_squares += error * error;
    sums.reference_squares += reference * reference;
    sums.reference_fourths += reference * reference * reference * reference;
    sums.max_reference = std::max(sums.max_reference, std::abs(reference));
    if (error > sums.max_error || sums.worst < 0) {
      sums.max_error = error;
      sums.worst = i;
    }
  }
  return sums;
}

Partial combine(Partial a, const Partial& b) {
  a.error_squares += b.error_squares;
  a.reference_squares += b.reference_squares;
  a.reference_fourths += b.reference_fourths;
  a.max_reference = std::max(a.max_reference, b.max_reference);
  if (a.worst < 0 || (b.worst >= 0 && b.max_error > a.max_error)) {
    a.max_error = b.max_error;
    a.worst = b.worst;
  }
  if (a.not_finite < 0) a.not_finite = b.not_finite;
  a.not_finite_count += b.not_finite_count;
  return a;
}

std::vector<int64_t> index_of(const TensorSpec& tensor, int64_t position) {
  std::vector<int64_t> extents = tensor.shape;
  if (tensor.complex) extents.push_back(2);
  std::vector<int64_t> index(extents.size());
  for (size_t axis = extents.size(); axis-- > 0;) {
    index[axis] = position % extents[axis];
    position /= extents[axis];
  }
  return index;
}

// Sums of terms of either sign may cancel, and then their rounding errors are large beside them. A norm over k numbers
// of like size falls below e times its typical size with a chance of the order of e^k: this matters for the smallest
// tensors only, and larger ones get nothing, or one large element would excuse errors in all others. k is the
// participation ratio (sum x^2)^2 / sum x^4, so that four numbers that one dominates count as one.
double cancellation_factor(const Partial& sums, int64_t count) {
  if (count > kFew || sums.reference_fourths == 0) return 1;
  const double k = sums.reference_squares * sums.reference_squares / sums.reference_fourths;
  return 1 + kCancellation / (k * k);
}

// Written so that a NaN in any number fails.
std::string judge(const Comparison& result, const Partial& sums) {
  if (sums.not_finite_count > 0) {
    return fmt::format("{} of {} elements are not finite", sums.not_finite_count, result.compared);
  }
  if (!(result.rel_l2 <= result.tolerance)) {
    return fmt::format("relative L2 error {:.2e} is above {:.1e}", result.rel_l2, result.tolerance);
  }
  if (!(result.max_abs_error <= result.max_tolerance)) {
    return fmt::format("largest error {:.2e} is above {:.1e}", result.max_abs_error, result.max_tolerance);
  }
  return "";
}

}  // namespace

Comparison compare(const TensorSpec& tensor, std::span<const float> got, std::span<const double> expected,
                   Tolerance tolerance) {
  Comparison result;
  result.name = tensor.name;
  result.expected_count = tensor.floats();
  const auto got_count = static_cast<int64_t>(got.size()), reference_count = static_cast<int64_t>(expected.size());
  if (got_count != result.expected_count || reference_count != result.expected_count) {
    result.reason = fmt::format("{} elements, and {} in the reference, instead of {}", got_count, reference_count,
                                result.expected_count);
    return result;
  }
  if (got_count == 0) {
    result.reason = "nothing to compare";
    return result;
  }
  constexpr int64_t kBlock = 1 << 16;
  const int64_t blocks = (got_count + kBlock - 1) / kBlock;
  std::vector<Partial> partials(static_cast<size_t>(blocks));
#pragma omp parallel for schedule(static) if (blocks > 1)
  for (int64_t block = 0; block < blocks; ++block) {
    partials[static_cast<size_t>(block)] =
        compare_block(got, expected, block * kBlock, std::min(got_count, (block + 1) * kBlock));
  }
  Partial sums;
  for (const Partial& partial : partials) sums = combine(sums, partial);

  result.compared = got_count;
  // 0 where both are 0; infinite where only the reference is.
  result.rel_l2 = sums.error_squares == 0 ? 0 : std::sqrt(sums.error_squares / sums.reference_squares);
  result.max_abs_error = sums.max_error;
  if (sums.not_finite_count > 0) result.rel_l2 = result.max_abs_error = std::numeric_limits<double>::infinity();
  result.max_abs_reference = sums.max_reference;
  result.tolerance = tolerance.rel_l2 * cancellation_factor(sums, got_count);
  result.max_tolerance = tolerance.max * cancellation_factor(sums, got_count) * sums.max_reference;
  const int64_t worst = sums.not_finite >= 0 ? sums.not_finite : sums.worst;
  result.worst_index = index_of(tensor, worst);
  result.worst_got = got[static_cast<size_t>(worst)];
  result.worst_expected = expected[static_cast<size_t>(worst)];
  result.reason = judge(result, sums);
  result.passed = result.reason.empty();
  return result;
}

// Three sources of honest error:
// - Roundings of the last few operations. A plain 32-bit loop over time stays below 2e-6.
// - Roundings of sums over time and batch, which grow like the root of the number of terms.
// - An exponential that is off to one side. The error of a state then grows with the steps that the state lasts. The
//   GPU's ex2.approx, which is right to 2 ulp, lost 5e-9 a step (slow, 2049 steps, H100) before its bias was made good
//   on average; twice that is allowed, for what is left depends on the argument.
Tolerance tolerance_of(const Problem& problem) {
  constexpr double kRounding = 2e-6, kPerStep = 1e-8;
  constexpr double kTerms = 4096;
  // The phase of a complex transition, |Im(A) dt| radians, has an error of that many roundings; in fill init Im(A)
  // grows with the number of states.
  const double phase = problem.dtype == "c64" ? 5e-7 * static_cast<double>(problem.shape.dstate) : 0;
  const auto steps = static_cast<double>(problem.shape.seqlen);
  const double sums = std::max(1.0, std::sqrt(static_cast<double>(problem.shape.batch) * steps / kTerms));
  const double rel_l2 = phase + kRounding * sums + kPerStep * std::min(steps, find_fill(problem.fill).memory);
  return {.rel_l2 = rel_l2, .max = 4 * rel_l2};
}

std::string format_index(const std::vector<int64_t>& index) { return fmt::format("[{}]", fmt::join(index, ", ")); }

}  // namespace lrnnx::bench
