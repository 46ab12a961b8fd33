// The rule, and where what breaks it lies.
#include "harness/compare.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace lrnnx::bench {
namespace {

constexpr double kUnitRoundoff = 0x1p-24;
constexpr double kMaxS2 = 8;
constexpr double kMinT1 = 32;
constexpr double kEnvelopeFactor = 4;
// When nothing can be concluded from a pass.
constexpr double kMaxAllowedNorm = 1e-2;  // of the norm of the reference
constexpr double kMaxZeros = 0.3;         // of the elements
constexpr double kMaxOverflows = 0.3;     // likewise
constexpr double kInfinity = std::numeric_limits<double>::infinity();

double modulus(double x) { return std::abs(x); }
double modulus(std::complex<double> x) { return std::hypot(x.real(), x.imag()); }  // std::abs may drop a NaN

bool is_finite(double x) { return std::isfinite(x); }
bool is_finite(std::complex<double> x) { return std::isfinite(x.real()) && std::isfinite(x.imag()); }

bool is_infinite(double x) { return std::isinf(x); }
bool is_infinite(std::complex<double> x) { return std::isinf(x.real()) || std::isinf(x.imag()); }

// To a number of the storage and back: what lies beyond becomes infinite.
double rounded(double x, Storage storage = Storage::f32) { return rounded_to(storage, x); }
std::complex<double> rounded(std::complex<double> x, Storage storage = Storage::f32) {
  return {rounded(x.real(), storage), rounded(x.imag(), storage)};
}

// The least error in front of the last rounding with which `expected` becomes `got`.
double error_before(Storage storage, double got, double expected) {
  if (storage == Storage::f32) return std::abs(got - expected);  // the gauges count that rounding
  const Preimage origin = preimage_of(storage, got);
  return std::max({0.0, origin.low - expected, expected - origin.high});
}
double error_before(Storage, std::complex<double> got, std::complex<double> expected) {
  return modulus(got - expected);
}

// The elements of both sides, and what is allowed between them.
template <class Number>
struct Elements {
  const float* got_;
  const double* expected_;
  const OracleTensor& oracle;
  Storage storage;
  double T1;
  Judgement judgement;

  static constexpr int64_t kParts = sizeof(Number) / sizeof(double);

  Number got(int64_t i) const { return number(got_ + kParts * i); }
  Number expected(int64_t i) const { return number(expected_ + kParts * i); }
  double G1(int64_t i) const { return oracle.G1[static_cast<size_t>(i)]; }
  double G2(int64_t i) const { return oracle.G2[static_cast<size_t>(i)]; }
  double F(int64_t i) const { return oracle.F[static_cast<size_t>(i)]; }

  double allowed(int64_t i) const {
    if (judgement == Judgement::exact) return 0;
    const double before_rounding =
        std::min(kMaxS2 * (kUnitRoundoff * G2(i) + F(i)), T1 * (kUnitRoundoff * G1(i) + F(i)));
    return before_rounding + half_spacing(expected(i));
  }

 private:
  // Between the numbers of a 16-bit storage.
  double half_spacing(double x) const {
    if (storage == Storage::f32 || x == 0) return 0;
    const Preimage origin = preimage_of(storage, rounded(x, storage));
    return (origin.high - origin.low) / 2;
  }
  double half_spacing(std::complex<double>) const { return 0; }

  template <class Real>
  static Number number(const Real* parts) {
    if constexpr (kParts == 1) {
      return parts[0];
    } else {
      return {parts[0], parts[1]};
    }
  }
};

// error / allowed, where nothing over nothing is nothing. NaN if either is.
double ratio(double error, double allowed) { return error == 0 && allowed == 0 ? 0 : error / allowed; }

bool same_class(double got, double expected) {
  return std::isnan(expected) ? std::isnan(got) : got == expected;  // infinities by sign
}
// The parts of a complex infinity depend on the order of the operations: it is infinite as a whole.
bool same_class(std::complex<double> got, std::complex<double>) { return !is_finite(got); }

struct Ratios {
  double rho = 0, S1 = 0, S2 = 0;
};

template <class Number>
Ratios judge(const Elements<Number>& elements, int64_t i) {
  const Number got = elements.got(i), expected = elements.expected(i);
  const bool finite = is_finite(rounded(expected));
  const bool overflow = elements.storage != Storage::f32 && is_infinite(got);  // of the last rounding alone
  if (!finite || (!is_finite(got) && !overflow)) {
    // Where the reference is finite, but no float, an infinity of either sign or a NaN came of one on the way.
    const bool equal = !finite && (is_finite(expected) ? !is_finite(got) : same_class(got, rounded(expected)));
    return equal ? Ratios{} : Ratios{kInfinity, kInfinity, kInfinity};
  }
  if (elements.judgement == Judgement::exact) return {got == rounded(expected, elements.storage) ? 0 : kInfinity, 0, 0};
  const double error = error_before(elements.storage, got, expected);
  Ratios ratios{0, ratio(error, kUnitRoundoff * elements.G1(i) + elements.F(i)),
                ratio(error, kUnitRoundoff * elements.G2(i) + elements.F(i))};
  // Near the smallest doubles a gauge may have become 0 where the reference is not yet.
  const bool is_infinite = std::max(ratios.S1, ratios.S2) == kInfinity && !std::isnan(ratios.S1 + ratios.S2);
  if (is_infinite && got == rounded(expected, elements.storage)) ratios = {};
  const double by_S1 = ratios.S1 / elements.T1, by_S2 = ratios.S2 / kMaxS2;
  ratios.rho = by_S1 >= by_S2 ? by_S1 : by_S2;
  if (!(by_S1 >= 0 && by_S2 >= 0)) ratios.rho = kInfinity;  // a gauge that is no number excuses nothing
  return ratios;
}

// Of one block of elements; blocks are combined in order, so that the result does not depend on the threads.
struct Partial {
  Ratios max;
  int64_t worst = -1;  // element of max.rho
  int64_t wrong = 0;
  int64_t not_finite = 0;   // of the reference
  int64_t overflows = 0;    // finite in the reference, infinite once stored
  int64_t loose_zeros = 0;  // 0 in the reference by cancellation or underflow: something else could be let pass
  bool inexact = false;     // the reference is no float, although it should be
  double error_squares = 0, reference_squares = 0, gauge_squares = 0, allowed_squares = 0;
  double max_error = 0, max_reference = 0;
};

template <class Number>
Partial compare_block(const Elements<Number>& elements, int64_t begin, int64_t end) {
  Partial sums;
  for (int64_t i = begin; i < end; ++i) {
    const Ratios ratios = judge(elements, i);
    sums.max.S1 = std::max(sums.max.S1, ratios.S1);
    sums.max.S2 = std::max(sums.max.S2, ratios.S2);
    if (sums.worst < 0 || ratios.rho > sums.max.rho) {
      sums.max.rho = ratios.rho;
      sums.worst = i;
    }
    sums.wrong += !(ratios.rho <= 1);

    const Number expected = elements.expected(i);
    if (!is_finite(rounded(expected))) {
      ++sums.not_finite;
      continue;
    }
    if (!is_finite(rounded(expected, elements.storage))) {
      ++sums.overflows;
      continue;
    }
    const double reference = modulus(expected), gauge = elements.G1(i), allowed = elements.allowed(i);
    sums.loose_zeros += reference == 0 && !(gauge == 0);
    // Relative to the roundings of the reference itself, and beneath any of 32 bits.
    sums.inexact = sums.inexact || modulus(rounded(expected) - expected) > 0x1p-34 * reference;
    sums.reference_squares += reference * reference;
    sums.gauge_squares += gauge * gauge;
    sums.allowed_squares += allowed * allowed;
    sums.max_reference = std::max(sums.max_reference, reference);
    const double error = is_finite(elements.got(i)) ? modulus(elements.got(i) - expected) : kInfinity;
    sums.error_squares += error * error;
    sums.max_error = std::max(sums.max_error, error);
  }
  return sums;
}

Partial combine(Partial a, const Partial& b) {
  a.max.S1 = std::max(a.max.S1, b.max.S1);
  a.max.S2 = std::max(a.max.S2, b.max.S2);
  if (a.worst < 0 || (b.worst >= 0 && b.max.rho > a.max.rho)) {
    a.max.rho = b.max.rho;
    a.worst = b.worst;
  }
  a.wrong += b.wrong;
  a.not_finite += b.not_finite;
  a.overflows += b.overflows;
  a.loose_zeros += b.loose_zeros;
  a.inexact = a.inexact || b.inexact;
  a.error_squares += b.error_squares;
  a.reference_squares += b.reference_squares;
  a.gauge_squares += b.gauge_squares;
  a.allowed_squares += b.allowed_squares;
  a.max_error = std::max(a.max_error, b.max_error);
  a.max_reference = std::max(a.max_reference, b.max_reference);
  return a;
}

template <class Number>
Partial compare_all(const Elements<Number>& elements, int64_t count) {
  constexpr int64_t kBlock = 1 << 15;
  const int64_t blocks = (count + kBlock - 1) / kBlock;
  std::vector<Partial> partials(static_cast<size_t>(blocks));
#pragma omp parallel for schedule(static) if (blocks > 1)
  for (int64_t block = 0; block < blocks; ++block) {
    partials[static_cast<size_t>(block)] =
        compare_block(elements, block * kBlock, std::min(count, (block + 1) * kBlock));
  }
  Partial sums;
  for (const Partial& partial : partials) sums = combine(sums, partial);
  return sums;
}

template <class Number>
std::vector<Extent> extents_of_wrong(const TensorSpec& tensor, const Elements<Number>& elements) {
  std::vector<std::vector<bool>> hit;
  for (const int64_t extent : tensor.shape) hit.emplace_back(static_cast<size_t>(extent));
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    if (judge(elements, i).rho <= 1) continue;
    const std::vector<int64_t> index = index_of(tensor, i);
    for (size_t axis = 0; axis < index.size(); ++axis) hit[axis][static_cast<size_t>(index[axis])] = true;
  }
  std::vector<Extent> extents;
  for (size_t axis = 0; axis < hit.size(); ++axis) {
    const auto first = std::find(hit[axis].begin(), hit[axis].end(), true);
    const auto last = std::find(hit[axis].rbegin(), hit[axis].rend(), true);
    extents.push_back({.axis = axis < tensor.axes.size() ? tensor.axes[axis] : fmt::format("axis {}", axis),
                       .size = tensor.shape[axis],
                       .first = first - hit[axis].begin(),
                       .last = hit[axis].rend() - last - 1,
                       .distinct = std::count(hit[axis].begin(), hit[axis].end(), true)});
  }
  return extents;
}

// Why a pass would say nothing; empty if it says something. A zero whose gauge is 0 is no doubt: only 0 was allowed.
std::string doubt(const Comparison& result, const Partial& sums, Judgement judgement) {
  if (sums.not_finite > 0) {
    return fmt::format("{} of {} elements of the reference are not finite", sums.not_finite, result.compared);
  }
  if (const auto overflows = static_cast<double>(sums.overflows);
      overflows > kMaxOverflows * static_cast<double>(result.compared)) {
    return fmt::format("{} of {} elements of the reference are too large for how they are stored", sums.overflows,
                       result.compared);
  }
  if (judgement == Judgement::exact) {
    return sums.inexact ? "the reference is not exact in 32 bits, so equality cannot be asked for" : "";
  }
  const double reference = std::sqrt(sums.reference_squares), allowed = std::sqrt(sums.allowed_squares);
  // Where all is 0 and had to be, underflow alone is no doubt.
  const bool bound = reference == 0 ? sums.gauge_squares == 0 : allowed <= kMaxAllowedNorm * reference;
  if (!bound) {
    return fmt::format("errors of norm {:.1e} would pass, which is more than {:.0e} of the reference's {:.1e}", allowed,
                       kMaxAllowedNorm, reference);
  }
  const auto zeros = static_cast<double>(sums.loose_zeros);
  if (zeros > kMaxZeros * static_cast<double>(result.compared)) {
    return fmt::format("{} of {} elements of the reference are 0 by cancellation", sums.loose_zeros, result.compared);
  }
  return "";
}

template <class Number>
void compare_as(const TensorSpec& tensor, const Elements<Number>& elements, Comparison& result) {
  const Partial sums = compare_all(elements, tensor.elements());
  result.compared = tensor.elements();
  result.rho = sums.max.rho;
  result.S1 = sums.max.S1;
  result.S2 = sums.max.S2;
  result.T1 = elements.T1;
  // 0 where both are 0; infinite where only the reference is.
  result.rel_l2 = sums.error_squares == 0 ? 0 : std::sqrt(sums.error_squares / sums.reference_squares);
  result.max_abs_error = sums.max_error;
  result.max_abs_reference = sums.max_reference;
  result.worst_index = index_of(tensor, sums.worst);
  result.worst_got = elements.got(sums.worst);
  result.worst_expected = elements.expected(sums.worst);
  result.worst_allowed = elements.allowed(sums.worst);
  result.wrong = sums.wrong;
  if (result.rho <= 1) {
    result.reason = doubt(result, sums, elements.judgement);
    result.status = result.reason.empty() ? Status::passed : Status::mistrusted;
    return;
  }
  result.extents = extents_of_wrong(tensor, elements);
  result.reason = fmt::format("{} of {} elements are wrong", sums.wrong, result.compared);
}

std::string format_number(std::complex<double> number, bool complex) {
  return complex ? fmt::format("{:.9g}{:+.9g}i", number.real(), number.imag()) : fmt::format("{:.9g}", number.real());
}

// "channel 3", "time 2048..4098 (all 2051)", "batch all 2".
std::string format_extent(const Extent& extent) {
  if (extent.size > 1 && extent.distinct == extent.size) return fmt::format("{} all {}", extent.axis, extent.size);
  if (extent.distinct == 1) return fmt::format("{} {} of {}", extent.axis, extent.first, extent.size);
  return fmt::format("{} {}..{} ({} of {})", extent.axis, extent.first, extent.last, extent.distinct, extent.size);
}

// Kernels work on time in chunks of powers of two: a first wrong step that begins one is a hint.
std::string chunk_hint(const std::vector<Extent>& extents) {
  constexpr int64_t kSmallestChunk = 32;
  for (const Extent& extent : extents) {
    if (extent.axis != "time" || extent.first == 0) continue;
    const int64_t chunk = extent.first & -extent.first;
    if (chunk >= kSmallestChunk)
      return fmt::format("; from the start of chunk {} of {} steps", extent.first / chunk, chunk);
  }
  return "";
}

}  // namespace

Comparison compare(const TensorSpec& tensor, std::span<const float> got, const OracleTensor& expected,
                   Judgement judgement) {
  Comparison result;
  result.name = tensor.name;
  result.complex = tensor.complex;
  result.expected_count = tensor.elements();
  const auto floats = static_cast<size_t>(tensor.floats()), elements = static_cast<size_t>(tensor.elements());
  if (got.size() != floats || expected.value.size() != floats) {
    result.rho = kInfinity;
    result.reason =
        fmt::format("{} numbers, and {} in the reference, instead of {}", got.size(), expected.value.size(), floats);
    return result;
  }
  for (const auto* gauge : {&expected.G1, &expected.G2, &expected.F}) {
    if (gauge->size() == elements) continue;
    result.rho = kInfinity;
    result.reason = fmt::format("a gauge of the reference has {} elements instead of {}", gauge->size(), elements);
    return result;
  }
  if (elements == 0) {
    result.rho = kInfinity;
    result.reason = "nothing to compare";
    return result;
  }
  const double T1 = std::max(kMinT1, kEnvelopeFactor * expected.S1_env);  // 32 where S1_env is NaN
  if (tensor.complex) {
    compare_as(
        tensor,
        Elements<std::complex<double>>{got.data(), expected.value.data(), expected, tensor.storage, T1, judgement},
        result);
  } else {
    compare_as(tensor, Elements<double>{got.data(), expected.value.data(), expected, tensor.storage, T1, judgement},
               result);
  }
  return result;
}

std::string describe(const Comparison& comparison) {
  std::string text = fmt::format("{}: {}", comparison.name, comparison.reason);
  if (comparison.status != Status::failed || comparison.worst_index.empty()) return text;
  text += fmt::format("; worst (rho {:.3g}) at {}: got {}, expected {} +- {:.2g}", comparison.rho,
                      format_index(comparison.worst_index), format_number(comparison.worst_got, comparison.complex),
                      format_number(comparison.worst_expected, comparison.complex), comparison.worst_allowed);
  std::vector<std::string> where;
  for (const Extent& extent : comparison.extents) where.push_back(format_extent(extent));
  return text + fmt::format("; in {}{}", fmt::join(where, ", "), chunk_hint(comparison.extents));
}

std::vector<int64_t> index_of(const TensorSpec& tensor, int64_t element) {
  std::vector<int64_t> index(tensor.shape.size());
  for (size_t axis = index.size(); axis-- > 0;) {
    index[axis] = element % tensor.shape[axis];
    element /= tensor.shape[axis];
  }
  return index;
}

std::string format_index(const std::vector<int64_t>& index) { return fmt::format("[{}]", fmt::join(index, ", ")); }

}  // namespace lrnnx::bench
