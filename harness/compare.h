// Judges one tensor against the oracle's, element by element.
//
// The oracle says beside each value how far an honest 32-bit computation may stray: with u = 2^-24,
//   S2 = max |error| / (u G2 + F)      S1 = max |error| / (u G1 + F)      T1 = max(32, 4 S1_env)
//   rho = max(S2 / 8, S1 / T1)         right if and only if rho <= 1
// over every element; the error of a complex element is the modulus of the difference. Where the gauges are 0 only 0
// is right. What is stored in 16 bits was rounded once more: its error is the distance of the reference from the
// nearest number that rounds to it, the least that the computation must have been wrong by.
#pragma once

#include <complex>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "harness/status.h"
#include "harness/tensors.h"

namespace lrnnx::bench {

// What the inputs were made for decides how strictly the result can be read.
enum class Judgement {
  gauged,  // the rule above
  exact,   // every sum and product is exact in 32 bits: only the reference rounded to its storage is right
};

// The elements that are wrong, along one axis.
struct Extent {
  std::string axis;
  int64_t size = 0;             // of the axis
  int64_t first = 0, last = 0;  // index of a wrong element
  int64_t distinct = 0;         // indices with a wrong element
};

struct Comparison {
  std::string name;
  Status status = Status::failed;  // passed, failed or mistrusted
  std::string reason;              // empty if passed
  int64_t expected_count = 0;      // elements that the problem defines
  int64_t compared = 0;

  double rho = 0, S1 = 0, S2 = 0, T1 = 0;
  // For information; no part of the verdict. Over what is finite.
  double rel_l2 = 0, max_abs_error = 0, max_abs_reference = 0;

  std::vector<int64_t> worst_index;  // of the element with the largest rho
  std::complex<double> worst_got, worst_expected;
  double worst_allowed = 0;

  bool complex = false;
  int64_t wrong = 0;            // elements with rho > 1
  std::vector<Extent> extents;  // of these, one an axis
};

// The only place where a tensor is judged right or wrong.
Comparison compare(const TensorSpec& tensor, std::span<const float> got, const OracleTensor& expected,
                   Judgement judgement = Judgement::gauged);

// One line: what is wrong, the worst element, and where the wrong ones lie.
std::string describe(const Comparison& comparison);

std::vector<int64_t> index_of(const TensorSpec& tensor, int64_t element);
// "[0, 3, 17]"
std::string format_index(const std::vector<int64_t>& index);

}  // namespace lrnnx::bench
