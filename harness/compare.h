// Compares one tensor with the oracle's, element by element.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lrnnx::bench {

struct Comparison {
  std::string name;
  bool passed = false;
  std::string reason;          // empty if passed
  int64_t expected_count = 0;  // floats that the problem defines
  int64_t compared = 0;
  double rel_l2 = 0;  // ||got - expected|| / ||expected||
  double max_abs_error = 0;
  double max_abs_reference = 0;
  double rms_reference = 0;
  double tolerance = 0;      // of rel_l2
  double max_tolerance = 0;  // of max_abs_error, absolute
  // Of the largest error, or of the first element that is not finite.
  std::vector<int64_t> worst_index;
  double worst_got = 0, worst_expected = 0;
};

struct Tolerance {
  double rel_l2;   // of ||error|| / ||reference||
  double max_rms;  // of max |error| / rms(reference)
};

Comparison compare(const std::string& name, std::span<const int64_t> shape, bool complex, std::span<const float> got,
                   std::span<const double> expected, Tolerance tolerance);

}  // namespace lrnnx::bench
