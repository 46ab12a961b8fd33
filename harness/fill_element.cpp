// What few numbers need.
#include "harness/fill_element.h"

namespace lrnnx::bench {

// FNV-1a, with SplitMix64's finaliser for the high bits.
uint64_t hash_text(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return mix_bits(hash);
}

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

}  // namespace lrnnx::bench
