// Rounding to 16 bits: the harness by the formats' definitions, the kernels by bits, and both must agree on every
// number.
#include "harness/storage.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "common/half.h"

namespace lrnnx::bench::storage_test {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr Storage kHalves[] = {Storage::bf16, Storage::f16};

uint16_t packed(Storage storage, float value) {
  const std::vector<unsigned char> bytes = pack(storage, std::vector<float>{value});
  uint16_t bits;
  std::memcpy(&bits, bytes.data(), sizeof bits);
  return bits;
}

float unpacked(Storage storage, uint16_t bits) {
  std::vector<unsigned char> bytes(sizeof bits);
  std::memcpy(bytes.data(), &bits, sizeof bits);
  return unpack(storage, bytes)[0];
}

int64_t kernel_dtype(Storage storage) { return storage == Storage::bf16 ? LRNNX_BF16 : LRNNX_F16; }

float kernel_widened(Storage storage, uint16_t bits) {
  float value;
  widen(kernel_dtype(storage), &bits, 1, &value);
  return value;
}

uint16_t kernel_narrowed(Storage storage, float value) {
  uint16_t bits;
  narrow(kernel_dtype(storage), &value, 1, &bits);
  return bits;
}

TEST(Storage, IsSixteenBitsForTheDtypesNamedSo) {
  EXPECT_EQ(storage_of("bf16"), Storage::bf16);
  EXPECT_EQ(storage_of("f16"), Storage::f16);
  EXPECT_EQ(storage_of("f32"), Storage::f32);
  EXPECT_EQ(storage_of("c64"), Storage::f32);
  EXPECT_EQ(bytes_of(Storage::f32), 4);
  for (const Storage storage : kHalves) EXPECT_EQ(bytes_of(storage), 2);
}

TEST(Storage, KnownNumbersHaveTheirBits) {
  const struct {
    float value;
    uint16_t bf16, f16;
  } kKnown[] = {{0, 0, 0},
                {-0.0f, 0x8000, 0x8000},
                {1, 0x3f80, 0x3c00},
                {-2.5f, 0xc020, 0xc100},
                {0x1p-14f, 0x3880, 0x0400},  // f16: the smallest normal number
                {0x1p-24f, 0x3380, 0x0001},  // and the smallest of all
                {65280, 0x477f, 0x7bf8},
                {static_cast<float>(kInfinity), 0x7f80, 0x7c00}};
  for (const auto& known : kKnown) {
    EXPECT_EQ(packed(Storage::bf16, known.value), known.bf16) << known.value;
    EXPECT_EQ(packed(Storage::f16, known.value), known.f16) << known.value;
  }
  EXPECT_EQ(packed(Storage::f16, 65504), 0x7bff);
  EXPECT_EQ(unpacked(Storage::bf16, 0x7f7f), 0x1.fep127f);
  EXPECT_EQ(unpacked(Storage::bf16, 0x0001), 0x1p-133f);
}

TEST(Storage, RoundsToNearestAndTiesToEven) {
  EXPECT_EQ(rounded_to(Storage::bf16, 1 + 0x1p-8), 1);
  EXPECT_EQ(rounded_to(Storage::bf16, 1 + 3 * 0x1p-8), 1 + 4 * 0x1p-8);
  EXPECT_EQ(rounded_to(Storage::bf16, -(1 + 0x1.0001p-8)), -(1 + 0x1p-7));
  EXPECT_EQ(rounded_to(Storage::f16, 2049), 2048);
  EXPECT_EQ(rounded_to(Storage::f16, 2051), 2052);
  EXPECT_EQ(rounded_to(Storage::f16, 0x1p-25), 0);
  EXPECT_EQ(rounded_to(Storage::f16, 0x1.0001p-25), 0x1p-24);
  EXPECT_EQ(rounded_to(Storage::f16, 65519.99), 65504);
  EXPECT_EQ(rounded_to(Storage::f16, 65520), kInfinity);
  EXPECT_EQ(rounded_to(Storage::bf16, -0x1.ffp127), -kInfinity);
  EXPECT_EQ(rounded_to(Storage::f32, 1 + 0x1p-24), 1);
  EXPECT_TRUE(std::isnan(rounded_to(Storage::f16, std::nan(""))));
}

TEST(Storage, InputsStayFinite) {
  EXPECT_EQ(input_of(Storage::f16, -1e10), -65504);
  EXPECT_EQ(input_of(Storage::bf16, 0x1.ffp127), 0x1.fep127f);
  EXPECT_EQ(input_of(Storage::f16, 2051), 2052);
}

TEST(Storage, EveryNumberIsItselfAfterAWayThroughMemory) {
  for (const Storage storage : kHalves)
    for (uint32_t bits = 0; bits < 1 << 16; ++bits) {
      const float value = unpacked(storage, static_cast<uint16_t>(bits));
      if (std::isnan(value)) {
        ASSERT_TRUE(std::isnan(unpacked(storage, packed(storage, value)))) << bits;
        continue;
      }
      ASSERT_EQ(packed(storage, value), bits);
      ASSERT_EQ(rounded_to(storage, value), value) << bits;
    }
}

TEST(Storage, ThePreimageOfEveryNumberIsWhatRoundsToIt) {
  for (const Storage storage : kHalves)
    for (uint32_t bits = 0; bits < 1 << 16; ++bits) {
      const double value = unpacked(storage, static_cast<uint16_t>(bits));
      if (std::isnan(value)) continue;
      const Preimage origin = preimage_of(storage, value);
      ASSERT_LE(origin.low, value);
      ASSERT_GE(origin.high, value);
      ASSERT_LT(origin.low, origin.high);
      // In front of the ends it rounds to the number, behind them to another.
      for (const double end : {origin.low, origin.high}) {
        if (std::isinf(end)) continue;
        const double outwards = end == origin.low ? -kInfinity : kInfinity;
        ASSERT_EQ(rounded_to(storage, std::nextafter(end, -outwards)), value) << bits;
        ASSERT_NE(rounded_to(storage, std::nextafter(end, outwards)), value) << bits;
      }
    }
}

// --- the kernels' conversions --------------------------------------------------------------------------------------

TEST(KernelHalf, WidensEveryNumberExactly) {
  for (const Storage storage : kHalves)
    for (uint32_t bits = 0; bits < 1 << 16; ++bits) {
      const float expected = unpacked(storage, static_cast<uint16_t>(bits));
      const float value = kernel_widened(storage, static_cast<uint16_t>(bits));
      if (std::isnan(expected)) {
        ASSERT_TRUE(std::isnan(value)) << bits;
      } else {
        ASSERT_EQ(std::bit_cast<uint32_t>(value), std::bit_cast<uint32_t>(expected)) << bits;
      }
    }
}

void expect_narrowed_right(Storage storage, float value) {
  const uint16_t bits = kernel_narrowed(storage, value);
  if (std::isnan(value)) {
    ASSERT_TRUE(std::isnan(unpacked(storage, bits))) << value;
  } else {
    ASSERT_EQ(bits, packed(storage, static_cast<float>(rounded_to(storage, value)))) << value;
  }
}

TEST(KernelHalf, NarrowsToNearestEverywhere) {
  std::mt19937 random(1);
  for (const Storage storage : kHalves) {
    for (int i = 0; i < 1 << 20; ++i)
      expect_narrowed_right(storage, std::bit_cast<float>(static_cast<uint32_t>(random())));
    // On and beside every number, and every tie between two.
    for (uint32_t bits = 0; bits < 1 << 16; ++bits) {
      const float value = unpacked(storage, static_cast<uint16_t>(bits));
      expect_narrowed_right(storage, value);
      if (!std::isfinite(value)) continue;
      const auto tie = static_cast<float>(preimage_of(storage, value).high);
      for (const float near : {tie, std::nextafter(tie, -HUGE_VALF), std::nextafter(tie, HUGE_VALF)})
        expect_narrowed_right(storage, near);
    }
  }
}

}  // namespace
}  // namespace lrnnx::bench::storage_test
