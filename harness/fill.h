// Named generators of inputs: the value of element i of a tensor is a function of the tensor's name, the seed and i,
// computed with integers and basic IEEE arithmetic only, so that it is the same on every platform and for any number
// of threads.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "harness/problem.h"
#include "harness/tensors.h"

namespace lrnnx::bench {

// One number of a tensor, with the random numbers that belong to it.
class Element {
 public:
  Element(uint64_t key, int64_t index, int64_t last, bool imaginary)
      : key_(key), index_(static_cast<uint64_t>(index)), last_(last), imaginary_(imaginary) {}

  int64_t last() const { return last_; }  // index along the last axis: the state, for A
  bool imaginary() const { return imaginary_; }

  double uniform(double low, double high) const;
  double log_uniform(double low_exponent, double high_exponent) const;  // 10^low_exponent to 10^high_exponent
  double normal() const;                                                // mean 0, variance 1, |x| < 8.3

 private:
  uint64_t bits(uint64_t draw) const;
  uint64_t key_, index_;
  int64_t last_;
  bool imaginary_;
};

using Generator = double (*)(const Element& element);

struct Fill {
  const char* name;
  const char* description;
  double memory;  // steps for which a state typically lasts: 1 / (-A dt)
  Generator (*generator)(const Problem& problem, std::string_view tensor);
};

std::span<const Fill> fills();

// Throws UsageError listing the names.
const Fill& find_fill(std::string_view name);

// The values of one input of the problem, rounded to float.
std::vector<float> generate(const Problem& problem, const TensorSpec& tensor);

uint64_t hash_text(std::string_view text);

}  // namespace lrnnx::bench
