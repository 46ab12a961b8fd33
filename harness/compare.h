// Compares one tensor with the oracle's, element by element, and judges it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "harness/problem.h"
#include "harness/tensors.h"

namespace lrnnx::bench {

// What an honest 32-bit computation keeps to, as multiples of norms of the reference, before cancellation (see
// judge()).
struct Tolerance {
  double rel_l2;  // of ||error|| / ||reference||
  double max;     // of max |error| / max |reference|
};

struct Comparison {
  std::string name;
  bool passed = false;
  std::string reason;          // empty if passed
  int64_t expected_count = 0;  // floats that the problem defines
  int64_t compared = 0;
  double rel_l2 = 0;
  double max_abs_error = 0;
  double max_abs_reference = 0;
  double tolerance = 0;      // of rel_l2
  double max_tolerance = 0;  // of max_abs_error, in the tensor's unit
  // The first float that is not finite on one side only, else the one with the largest error. Of a complex tensor the
  // index ends in 0 (real) or 1 (imaginary).
  std::vector<int64_t> worst_index;
  double worst_got = 0, worst_expected = 0;
};

// The only place where a tensor is judged right or wrong.
Comparison compare(const TensorSpec& tensor, std::span<const float> got, std::span<const double> expected,
                   Tolerance tolerance);

Tolerance tolerance_of(const Problem& problem);

// "[0, 3, 17]"
std::string format_index(const std::vector<int64_t>& index);

}  // namespace lrnnx::bench
