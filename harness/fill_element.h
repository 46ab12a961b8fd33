// The random numbers that belong to one number of a tensor, and elementary functions: both from integers and basic IEEE
// arithmetic only, so that inputs are the same on every platform and for any number of threads. Here, and without
// branches where most numbers come from, so that a compiler makes vectors of them.
#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lrnnx::bench {

// Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators": the output function of SplitMix64.
inline uint64_t mix_bits(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

uint64_t hash_text(std::string_view text);

// n < 2^52. Few instruction sets convert vectors of 64-bit integers.
inline double exact_double(uint64_t n) { return std::bit_cast<double>(n | std::bit_cast<uint64_t>(0x1p52)) - 0x1p52; }

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
  uint64_t bits(uint64_t draw) const { return mix_bits(key_ + (2 * index_ + draw + 1) * 0x9E3779B97F4A7C15u); }
  uint64_t key_, index_;
  int64_t row_, last_;
  bool imaginary_;
};

double portable_exp2(double x);  // |x| <= 1000
double portable_exp(double x);
double portable_log(double x);      // x positive and normal
double softplus_inverse(double y);  // ln(e^y - 1), y > 0

// --- what they are ------------------------------------------------------------------------------------------------

inline constexpr double kLn2 = 0x1.62e42fefa39efp-1;

// 1 / k: divisions would dominate the series below.
inline constexpr auto kReciprocals = [] {
  std::array<double, 24> reciprocals{};
  for (size_t k = 1; k < reciprocals.size(); ++k) reciprocals[k] = 1.0 / static_cast<double>(k);
  return reciprocals;
}();

inline double portable_exp2(double x) {
  const double n = std::trunc(x + (x < 0 ? -0.5 : 0.5));
  const double y = (x - n) * kLn2;
  double sum = 1;
#pragma GCC unroll 13
  for (size_t k = 13; k >= 1; --k) sum = 1 + sum * (y * kReciprocals[k]);
  // The last bits of the first factor's sum are those of n + 1023.
  return sum * std::bit_cast<double>(std::bit_cast<uint64_t>(n + (0x1p52 + 1023)) << 52);
}

inline double portable_exp(double x) { return portable_exp2(x / kLn2); }

// ln x = 2 artanh((x - 1) / (x + 1)), after x is brought to [sqrt(1/2), sqrt(2)) by a power of two.
inline double portable_log(double x) {
  const auto bits = std::bit_cast<uint64_t>(x);
  double exponent = exact_double(bits >> 52) - 1023;
  double mantissa = std::bit_cast<double>((bits & ((uint64_t{1} << 52) - 1)) | (uint64_t{1023} << 52));
  const bool large = mantissa > 0x1.6a09e667f3bcdp+0;
  mantissa = large ? mantissa / 2 : mantissa;
  exponent = large ? exponent + 1 : exponent;
  const double s = (mantissa - 1) / (mantissa + 1), square = s * s;
  double sum = 0;
#pragma GCC unroll 11
  for (int k = 21; k >= 1; k -= 2) sum = kReciprocals[static_cast<size_t>(k)] + square * sum;
  return 2 * s * sum + exponent * kLn2;
}

inline double softplus_inverse(double y) {
  double small = 0;  // e^y - 1
#pragma GCC unroll 13
  for (size_t k = 13; k >= 1; --k) small = y * kReciprocals[k] * (1 + small);
  const double expm1 = y < 0.5 ? small : portable_exp2(y / kLn2) - 1;
  const double x = portable_log(expm1);
  return y > 40 ? y : x;  // less e^-y, which no longer counts
}

inline double Element::uniform(double low, double high) const {
  const uint64_t random = bits(0) >> 11;
  return low + (high - low) * ((2 * exact_double(random >> 1) + exact_double(random & 1)) * 0x1p-53);
}

inline double Element::log_uniform(double low_exponent, double high_exponent) const {
  constexpr double kLog2Of10 = 0x1.a934f0979a371p+1;
  return portable_exp2(kLog2Of10 * uniform(low_exponent, high_exponent));
}

inline double Element::sign() const { return bits(1) >> 63 ? 1 : -1; }

// The number of ones in 64 random bits, less 32, is binomial with variance 16; the sum of two uniforms (variance 1/6)
// fills the gaps. Its excess kurtosis is -0.03. No logarithm, so exact everywhere.
inline double Element::normal() const {
  constexpr double kPerDeviation = 1 / 4.0207793606049406;  // 1 / sqrt(16 + 1/6)
  uint64_t ones = bits(0);
  ones -= (ones >> 1) & 0x5555555555555555u;
  ones = (ones & 0x3333333333333333u) + ((ones >> 2) & 0x3333333333333333u);
  ones = (ones + (ones >> 4)) & 0x0F0F0F0F0F0F0F0Fu;
  ones += ones >> 8;
  ones += ones >> 16;
  ones = (ones + (ones >> 32)) & 0x7F;
  const uint64_t second = bits(1);
  const double smooth = exact_double((second >> 32) + (second & 0xFFFFFFFFu)) * 0x1p-32 - 1;
  return (exact_double(ones) - 32 + smooth) * kPerDeviation;
}

}  // namespace lrnnx::bench
