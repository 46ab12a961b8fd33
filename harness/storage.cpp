// Binary floating-point formats by their precision and smallest exponent.
#include "harness/storage.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

namespace lrnnx::bench {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double power_of_2(int exponent) { return std::bit_cast<double>(static_cast<uint64_t>(exponent + 1023) << 52); }

// Numbers m 2^(e - precision + 1) with |m| < 2^precision and smallest_exponent <= e <= largest_exponent.
struct Format {
  int precision, smallest_exponent, largest_exponent;

  int exponent(double magnitude) const {  // which is finite
    return std::max(static_cast<int>(std::bit_cast<uint64_t>(magnitude) >> 52) - 1023, smallest_exponent);
  }
  double ulp(double magnitude) const { return power_of_2(exponent(magnitude) - precision + 1); }  // from there on
  double largest() const { return (2 - power_of_2(1 - precision)) * power_of_2(largest_exponent); }
  bool is_first_of_binade(double magnitude) const {
    return magnitude > power_of_2(smallest_exponent) && magnitude == power_of_2(exponent(magnitude));
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
  const auto with = [&](int exponent, int fraction) {
    return static_cast<uint16_t>(sign | ((exponent << fraction_bits) + fraction));
  };
  if (std::isnan(x)) return with(exponents, 1 << (fraction_bits - 1));
  const double magnitude = std::abs(x);
  if (std::isinf(magnitude)) return with(exponents, 0);
  // The first bit of the significand, which only the smallest numbers lack, adds 1 to the exponent's field.
  const int exponent = type.exponent(magnitude);
  return with(exponent - type.smallest_exponent, static_cast<int>(magnitude / type.ulp(magnitude)));
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
  // What is added leaves no room for a fraction.
  const double ulp = type.ulp(std::abs(x)), rounded = (std::abs(x) / ulp + 0x1p52 - 0x1p52) * ulp;
  return std::copysign(rounded > type.largest() ? kInfinity : rounded, x);
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

namespace {

template <Storage storage>
void round_all(std::span<const double> values, float* rounded) {
  for (size_t i = 0; i < values.size(); ++i) rounded[i] = input_of(storage, values[i]);
}

template <Storage storage>
void encode_all(std::span<const float> values, unsigned char* bytes) {
  for (size_t i = 0; i < values.size(); ++i) {
    const uint16_t bits = encode(format(storage), static_cast<double>(values[i]));
    std::memcpy(bytes + i * sizeof bits, &bits, sizeof bits);
  }
}

}  // namespace

void round_inputs(Storage storage, std::span<const double> values, float* rounded) {
  switch (storage) {
    case Storage::f32:
      return round_all<Storage::f32>(values, rounded);
    case Storage::bf16:
      return round_all<Storage::bf16>(values, rounded);
    case Storage::f16:
      return round_all<Storage::f16>(values, rounded);
  }
}

void store(Storage storage, std::span<const float> values, unsigned char* bytes) {
  switch (storage) {
    case Storage::f32:
      std::memcpy(bytes, values.data(), values.size_bytes());
      return;
    case Storage::bf16:
      return encode_all<Storage::bf16>(values, bytes);
    case Storage::f16:
      return encode_all<Storage::f16>(values, bytes);
  }
}

std::vector<unsigned char> pack(Storage storage, std::span<const float> values) {
  std::vector<unsigned char> bytes(values.size() * static_cast<size_t>(bytes_of(storage)));
  store(storage, values, bytes.data());
  return bytes;
}

void unpack(Storage storage, std::span<const unsigned char> bytes, float* values) {
  if (storage == Storage::f32) {
    std::memcpy(values, bytes.data(), bytes.size());
    return;
  }
  const auto& numbers = numbers_of(storage);
  for (size_t i = 0; i < bytes.size() / sizeof(uint16_t); ++i) {
    uint16_t bits;
    std::memcpy(&bits, bytes.data() + i * sizeof bits, sizeof bits);
    values[i] = numbers[bits];
  }
}

std::vector<float> unpack(Storage storage, std::span<const unsigned char> bytes) {
  std::vector<float> values(bytes.size() / static_cast<size_t>(bytes_of(storage)));
  unpack(storage, bytes, values.data());
  return values;
}

}  // namespace lrnnx::bench
