// A counter-based generator, and functions that libm computes differently from platform to platform.
#include "harness/fill_element.h"

#include <array>
#include <bit>
#include <cstddef>

namespace lrnnx::bench {
namespace {

constexpr double kLn2 = 0x1.62e42fefa39efp-1;
constexpr double kLog2Of10 = 0x1.a934f0979a371p+1;

int count_ones(uint64_t x) {
  x -= (x >> 1) & 0x5555555555555555u;
  x = (x & 0x3333333333333333u) + ((x >> 2) & 0x3333333333333333u);
  x = (x + (x >> 4)) & 0x0F0F0F0F0F0F0F0Fu;
  return static_cast<int>((x * 0x0101010101010101u) >> 56);
}

// 1 / k: divisions would dominate the series below.
constexpr auto kReciprocals = [] {
  std::array<double, 24> reciprocals{};
  for (size_t k = 1; k < reciprocals.size(); ++k) reciprocals[k] = 1.0 / static_cast<double>(k);
  return reciprocals;
}();

}  // namespace

// Steele, Lea and Flood 2014, "Fast splittable pseudorandom number generators": the output function of SplitMix64.
uint64_t mix_bits(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// FNV-1a, with SplitMix64's finaliser for the high bits.
uint64_t hash_text(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return mix_bits(hash);
}

double portable_exp2(double x) {
  const auto n = static_cast<int64_t>(x + (x < 0 ? -0.5 : 0.5));
  const double y = (x - static_cast<double>(n)) * kLn2;
  double sum = 1;
  for (size_t k = 13; k >= 1; --k) sum = 1 + sum * (y * kReciprocals[k]);
  return sum * std::bit_cast<double>(static_cast<uint64_t>(n + 1023) << 52);
}

double portable_exp(double x) { return portable_exp2(x / kLn2); }

// ln x = 2 artanh((x - 1) / (x + 1)), after x is brought to [sqrt(1/2), sqrt(2)) by a power of two.
double portable_log(double x) {
  const auto bits = std::bit_cast<uint64_t>(x);
  int64_t exponent = static_cast<int64_t>(bits >> 52) - 1023;
  double mantissa = std::bit_cast<double>((bits & ((uint64_t{1} << 52) - 1)) | (uint64_t{1023} << 52));
  if (mantissa > 0x1.6a09e667f3bcdp+0) {
    mantissa /= 2;
    ++exponent;
  }
  const double s = (mantissa - 1) / (mantissa + 1), square = s * s;
  double sum = 0;
  for (int k = 21; k >= 1; k -= 2) sum = kReciprocals[static_cast<size_t>(k)] + square * sum;
  return 2 * s * sum + static_cast<double>(exponent) * kLn2;
}

double softplus_inverse(double y) {
  if (y > 40) return y;  // less e^-y, which no longer counts
  double expm1 = 0;
  if (y < 0.5) {
    for (size_t k = 13; k >= 1; --k) expm1 = y * kReciprocals[k] * (1 + expm1);
  } else {
    expm1 = portable_exp2(y / kLn2) - 1;
  }
  return portable_log(expm1);
}

uint64_t Element::bits(uint64_t draw) const { return mix_bits(key_ + (2 * index_ + draw + 1) * 0x9E3779B97F4A7C15u); }

double Element::uniform(double low, double high) const {
  return low + (high - low) * (static_cast<double>(bits(0) >> 11) * 0x1p-53);
}

double Element::log_uniform(double low_exponent, double high_exponent) const {
  return portable_exp2(kLog2Of10 * uniform(low_exponent, high_exponent));
}

double Element::sign() const { return bits(1) >> 63 ? 1 : -1; }

// The number of ones in 64 random bits, less 32, is binomial with variance 16; the sum of two uniforms (variance 1/6)
// fills the gaps. Its excess kurtosis is -0.03. No logarithm, so exact everywhere.
double Element::normal() const {
  constexpr double kPerDeviation = 1 / 4.0207793606049406;  // 1 / sqrt(16 + 1/6)
  const uint64_t second = bits(1);
  const double smooth = static_cast<double>((second >> 32) + (second & 0xFFFFFFFFu)) * 0x1p-32 - 1;
  return (static_cast<double>(count_ones(bits(0)) - 32) + smooth) * kPerDeviation;
}

}  // namespace lrnnx::bench
