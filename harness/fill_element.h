// The random numbers that belong to one number of a tensor, and elementary functions: both from integers and basic IEEE
// arithmetic only, so that inputs are the same on every platform and for any number of threads.
#pragma once

#include <cstdint>
#include <string_view>

namespace lrnnx::bench {

// One number of a tensor: the k-th of its last axis in the j-th row.
class Element {
 public:
  Element(uint64_t key, int64_t index, int64_t row, int64_t last, bool imaginary)
      : key_(key), index_(static_cast<uint64_t>(index)), row_(row), last_(last), imaginary_(imaginary) {}

  int64_t row() const { return row_; }    // of (B, D, L): batch * D + channel; of (D, N): the channel
  int64_t last() const { return last_; }  // the time, or the state
  bool imaginary() const { return imaginary_; }

  // The same place with other random numbers: with those of another `key`.
  Element with_key(uint64_t key) const { return Element(key, static_cast<int64_t>(index_), row_, last_, imaginary_); }

  double uniform(double low, double high) const;
  double log_uniform(double low_exponent, double high_exponent) const;  // 10^low_exponent to 10^high_exponent
  double normal() const;                                                // mean 0, variance 1, |x| < 8.3
  double sign() const;                                                  // 1 or -1, independent of uniform()
  bool chance(double probability) const { return uniform(0, 1) < probability; }

 private:
  uint64_t bits(uint64_t draw) const;
  uint64_t key_, index_;
  int64_t row_, last_;
  bool imaginary_;
};

uint64_t mix_bits(uint64_t x);
uint64_t hash_text(std::string_view text);

double portable_exp2(double x);  // |x| <= 1000
double portable_exp(double x);
double portable_log(double x);      // x positive and normal
double softplus_inverse(double y);  // ln(e^y - 1), y > 0

}  // namespace lrnnx::bench
