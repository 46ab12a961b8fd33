// Binary floating-point formats by their precision and smallest exponent.
#include "harness/storage.h"

#include <array>
#include <cmath>
#include <cstring>

namespace lrnnx::bench {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// Numbers m 2^(e - precision + 1) with |m| < 2^precision and smallest_exponent <= e <= largest_exponent.
struct Format {
  int precision, smallest_exponent, largest_exponent;

  double ulp(double magnitude) const {  // from magnitude on, which is finite
    const int exponent = magnitude == 0 ? smallest_exponent : std::max(std::ilogb(magnitude), smallest_exponent);
    return std::ldexp(1.0, exponent - precision + 1);
  }
  double largest() const { return std::ldexp(2.0 - std::ldexp(1.0, 1 - precision), largest_exponent); }
  bool is_first_of_binade(double magnitude) const {
    return magnitude > std::ldexp(1.0, smallest_exponent) && magnitude == std::ldexp(1.0, std::ilogb(magnitude));
  }
};

constexpr Format format(Storage storage) {
  switch (storage) {
    case Storage::bf16:
      return {8, -126, 127};
    case Storage::f16:
      return {11, -14, 15};
    case Storage::f32:
      break;
  }
  return {24, -126, 127};
}

constexpr uint16_t kSign = 0x8000;

// The fields of a 16-bit number: sign, exponent, and the bits of the significand but the first.
uint16_t encode(const Format& type, double x) {
  const int fraction_bits = type.precision - 1;
  const int exponents = type.largest_exponent - type.smallest_exponent + 2;  // the field of what is not finite
  const auto sign = static_cast<uint16_t>(std::signbit(x) ? kSign : 0);
  const auto with = [&](int exponent, int64_t fraction) {
    return static_cast<uint16_t>(sign | exponent << fraction_bits | fraction);
  };
  if (std::isnan(x)) return with(exponents, int64_t{1} << (fraction_bits - 1));
  const double magnitude = std::abs(x);
  if (std::isinf(magnitude)) return with(exponents, 0);
  const auto significand = static_cast<int64_t>(magnitude / type.ulp(magnitude));
  const int64_t first_bit = int64_t{1} << fraction_bits;
  if (significand < first_bit) return with(0, significand);
  return with(std::ilogb(magnitude) - type.smallest_exponent + 1, significand - first_bit);
}

double decode(const Format& type, uint16_t bits) {
  const int fraction_bits = type.precision - 1;
  const int exponent = (bits & ~kSign) >> fraction_bits, fraction = bits & ((1 << fraction_bits) - 1);
  double magnitude;
  if (exponent == type.largest_exponent - type.smallest_exponent + 2) {
    magnitude = fraction == 0 ? kInfinity : std::numeric_limits<double>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(fraction, type.smallest_exponent - fraction_bits);
  } else {
    magnitude = std::ldexp(fraction + (1 << fraction_bits), exponent - 1 + type.smallest_exponent - fraction_bits);
  }
  return bits & kSign ? -magnitude : magnitude;
}

std::array<float, 1 << 16> decode_all(const Format& type) {
  std::array<float, 1 << 16> numbers{};
  for (size_t bits = 0; bits < numbers.size(); ++bits)
    numbers[bits] = static_cast<float>(decode(type, static_cast<uint16_t>(bits)));
  return numbers;
}

const std::array<float, 1 << 16>& numbers_of(Storage storage) {
  static const std::array<float, 1 << 16> kBf16 = decode_all(format(Storage::bf16));
  static const std::array<float, 1 << 16> kF16 = decode_all(format(Storage::f16));
  return storage == Storage::bf16 ? kBf16 : kF16;
}

}  // namespace

Storage storage_of(std::string_view dtype) {
  return dtype == "bf16" ? Storage::bf16 : dtype == "f16" ? Storage::f16 : Storage::f32;
}

int64_t bytes_of(Storage storage) { return storage == Storage::f32 ? 4 : 2; }

double rounded_to(Storage storage, double x) {
  if (storage == Storage::f32) return static_cast<double>(static_cast<float>(x));
  if (!std::isfinite(x)) return x;
  const Format type = format(storage);
  const double ulp = type.ulp(std::abs(x)), rounded = std::nearbyint(x / ulp) * ulp;
  return std::abs(rounded) > type.largest() ? std::copysign(kInfinity, x) : rounded;
}

float input_of(Storage storage, double x) {
  if (storage == Storage::f32) return static_cast<float>(x);
  const double rounded = rounded_to(storage, x);
  const double kept = std::isinf(rounded) ? std::copysign(format(storage).largest(), x) : rounded;
  return static_cast<float>(kept);
}

Preimage preimage_of(Storage storage, double stored) {
  const Format type = format(storage);
  const double magnitude = std::abs(stored);
  Preimage of_magnitude;
  if (magnitude > type.largest()) {
    of_magnitude.low = type.largest() + type.ulp(type.largest()) / 2;
  } else {
    const double up = type.ulp(magnitude), down = type.is_first_of_binade(magnitude) ? up / 2 : up;
    of_magnitude = {magnitude - down / 2, magnitude + up / 2};
  }
  return stored < 0 ? Preimage{-of_magnitude.high, -of_magnitude.low} : of_magnitude;
}

void store(Storage storage, float value, unsigned char* bytes) {
  if (storage == Storage::f32) {
    std::memcpy(bytes, &value, sizeof value);
  } else {
    const uint16_t bits = encode(format(storage), static_cast<double>(value));
    std::memcpy(bytes, &bits, sizeof bits);
  }
}

std::vector<unsigned char> pack(Storage storage, std::span<const float> values) {
  const auto width = static_cast<size_t>(bytes_of(storage));
  std::vector<unsigned char> bytes(values.size() * width);
  for (size_t i = 0; i < values.size(); ++i) store(storage, values[i], bytes.data() + i * width);
  return bytes;
}

std::vector<float> unpack(Storage storage, std::span<const unsigned char> bytes) {
  std::vector<float> values(bytes.size() / static_cast<size_t>(bytes_of(storage)));
  if (storage == Storage::f32) {
    std::memcpy(values.data(), bytes.data(), bytes.size());
    return values;
  }
  const auto& numbers = numbers_of(storage);
  for (size_t i = 0; i < values.size(); ++i) {
    uint16_t bits;
    std::memcpy(&bits, bytes.data() + i * sizeof bits, sizeof bits);
    values[i] = numbers[bits];
  }
  return values;
}

}  // namespace lrnnx::bench
