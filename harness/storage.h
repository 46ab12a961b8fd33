// The types in which tensors lie in memory: their bytes, how a number is rounded to them, and what a rounded number may
// have been. Derived from the formats' definitions in double arithmetic, apart from what the kernels do with bits.
#pragma once

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>
#include <vector>

namespace lrnnx::bench {

enum class Storage {
  f32,
  bf16,  // 8 bits of precision, the exponents of f32
  f16,   // IEEE 754 binary16: 11 bits of precision, up to 65504
};

// That of everything with a time axis: of the dtype "bf16" or "f16"; f32 for any other.
Storage storage_of(std::string_view dtype);

int64_t bytes_of(Storage storage);

// To nearest, ties to even; infinite beyond the largest number. A NaN stays one.
double rounded_to(Storage storage, double x);

// The same for an input, where what is too large becomes the largest number instead.
float input_of(Storage storage, double x);
void round_inputs(Storage storage, std::span<const double> values, float* rounded);

// The real numbers that round to `stored`, ties included: `low` may be -infinity, `high` infinity. `stored` is a number
// of the type, or infinite.
struct Preimage {
  double low = -std::numeric_limits<double>::infinity(), high = std::numeric_limits<double>::infinity();
};
Preimage preimage_of(Storage storage, double stored);

// Numbers of the type to bytes and back.
void store(Storage storage, std::span<const float> values, unsigned char* bytes);
std::vector<unsigned char> pack(Storage storage, std::span<const float> values);
void unpack(Storage storage, std::span<const unsigned char> bytes, float* values);
std::vector<float> unpack(Storage storage, std::span<const unsigned char> bytes);

}  // namespace lrnnx::bench
