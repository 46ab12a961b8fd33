// The elementary functions of common/math.h against double precision, over every binade of their domains.
#include "math_test.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

namespace lrnnx::test::math_test {
namespace {

constexpr double kUnitRoundoff = 0x1p-24;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

double logistic(double x) { return x < 0 ? std::exp(x) / (1 + std::exp(x)) : 1 / (1 + std::exp(-x)); }
double softplus_reference(double x) { return x > 20 ? x : std::log1p(std::exp(x)); }
double silu_reference(double x) { return x * logistic(x); }
double silu_slope_reference(double x) { return logistic(x) * (1 + x * logistic(-x)); }

// What the error is relative to: the result, or the terms of a sum that may cancel.
double own_size(double, double y) { return std::fabs(y); }
double unit_size(double, double) { return 1.0; }
double silu_slope_size(double x, double) { return logistic(x) * (1 + std::fabs(x) * logistic(-x)); }

struct Case {
  const char* name;
  Function function;
  double (*reference)(double);
  double (*size)(double x, double y);
  float lowest, highest;
  double host, device;  // the error allowed in units of u * size; 1 ulp is at most 2 u
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all = {
      {"reciprocal", Function::reciprocal_approx, [](double x) { return 1 / x; }, own_size, 0x1p-125f, 0x1p125f, 1, 2},
      {"sqrt", Function::sqrt_approx, [](double x) { return std::sqrt(x); }, own_size, FLT_MIN, FLT_MAX, 1, 2},
      {"exp2", Function::exp2_approx, [](double x) { return std::exp2(x); }, own_size, -160.0f, 127.9f, 2, 3},
      {"exp", Function::exp, [](double x) { return std::exp(x); }, own_size, -1000.0f, 88.7f, 2, 4},
      {"expm1", Function::expm1, [](double x) { return std::expm1(x); }, own_size, -1000.0f, 88.7f, 3, 6},
      {"exp2m1", Function::exp2m1, [](double x) { return std::expm1(x * std::log(2.0)); }, own_size, -160.0f, 127.9f, 3,
       5},
      {"log1p_unit", Function::log1p_unit, [](double x) { return std::log1p(x); }, own_size, 0.0f, 1.0f, 3, 5},
      {"sigmoid", Function::sigmoid, logistic, own_size, -1000.0f, 1e30f, 4, 5.5},
      {"softplus", Function::softplus, softplus_reference, own_size, -1000.0f, 1e30f, 4, 4.5},
      {"softplus_value", Function::softplus_value, softplus_reference, own_size, -1000.0f, 1e30f, 4, 4.5},
      {"softplus_slope", Function::softplus_slope, logistic, own_size, -1000.0f, 1e30f, 4, 5.5},
      {"silu", Function::silu, silu_reference, own_size, -1000.0f, 1e30f, 4, 6},
      {"silu_value", Function::silu_value, silu_reference, own_size, -1000.0f, 1e30f, 4, 6},
      {"silu_slope", Function::silu_slope, silu_slope_reference, silu_slope_size, -1000.0f, 1e30f, 6, 7},
      {"sin", Function::sin, [](double x) { return std::sin(x); }, own_size, -1e5f, 1e5f, 3, 3},
      {"cos", Function::cos, [](double x) { return std::cos(x); }, unit_size, -1e5f, 1e5f, 3, 3},
  };
  return all;
}

// Floats spread evenly over the representable numbers of [lowest, highest], and as many over the part within +-128.
std::vector<float> samples(float lowest, float highest) {
  std::vector<float> out;
  for (uint64_t pattern = 0; pattern < uint64_t{1} << 32; pattern += 4099) {
    const float x = from_bits(static_cast<uint32_t>(pattern));
    if (x >= lowest && x <= highest) out.push_back(x);
  }
  const float near_lowest = std::max(lowest, -128.0f), near_highest = std::min(highest, 128.0f);
  for (int i = 0; i <= 1000000; ++i) out.push_back(near_lowest + (near_highest - near_lowest) * (i * 1e-6f));
  return out;
}

// floor: the absolute error allowed where the result or the exponential in it underflows.
void check(const Case& c, const std::vector<float>& x, const std::vector<float>& got, double bound, double floor) {
  ASSERT_EQ(got.size(), x.size());
  double worst = 0.0;
  int failures = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = c.reference(x[i]);
    const double unit = kUnitRoundoff * c.size(x[i], want);
    const double allowance = floor * std::max(1.0, std::fabs(static_cast<double>(x[i])));
    const double error = std::fabs(got[i] - want) - allowance;
    if (error > 0) worst = std::max(worst, error / unit);
    if (error <= bound * unit) continue;  // NaN goes on
    if (++failures <= 10) ADD_FAILURE() << c.name << "(" << x[i] << ") = " << got[i] << ", want " << want;
  }
  EXPECT_EQ(failures, 0) << "of " << x.size() << " values; the largest error is " << worst << " u";
  testing::Test::RecordProperty("largest_error", std::to_string(worst));
}

class Math : public testing::TestWithParam<Case> {};

TEST_P(Math, IsAccurateOnTheHost) {
  const std::vector<float> x = samples(GetParam().lowest, GetParam().highest);
  std::vector<float> got;
  for (float value : x) got.push_back(apply(GetParam().function, value));
  check(GetParam(), x, got, GetParam().host, 2 * kUnitRoundoff * FLT_MIN);
}

#if defined(LRNNX_WITH_CUDA)
TEST_P(Math, IsAccurateOnTheDevice) {
  if (!device_available()) GTEST_SKIP() << "no CUDA device";
  const std::vector<float> x = samples(GetParam().lowest, GetParam().highest);
  check(GetParam(), x, apply_on_device(GetParam().function, x), GetParam().device, FLT_MIN);
}
#endif

TEST_P(Math, PropagatesNaN) { EXPECT_TRUE(std::isnan(apply(GetParam().function, kNaN))); }

INSTANTIATE_TEST_SUITE_P(, Math, testing::ValuesIn(cases()), [](const auto& info) { return info.param.name; });

TEST(MathLimits, AreThoseOfTheFunctions) {
  EXPECT_EQ(exp2_approx(-kInfinity), 0.0f);
  EXPECT_EQ(exp2_approx(kInfinity), kInfinity);
  EXPECT_EQ(exp2_approx(128.0f), kInfinity);
  EXPECT_EQ(exp2_approx(-126.0f), FLT_MIN);
  EXPECT_EQ(exp2_approx(-149.0f), 0x1p-149f);
  EXPECT_EQ(exp2_approx(-151.0f), 0.0f);
  EXPECT_EQ(exp(-kInfinity), 0.0f);
  EXPECT_EQ(exp(kInfinity), kInfinity);
  EXPECT_EQ(exp(89.0f), kInfinity);
  EXPECT_EQ(expm1(-kInfinity), -1.0f);
  EXPECT_EQ(expm1(kInfinity), kInfinity);
  EXPECT_EQ(sigmoid(-kInfinity), 0.0f);
  EXPECT_EQ(sigmoid(kInfinity), 1.0f);
  EXPECT_EQ(softplus(-kInfinity), 0.0f);
  EXPECT_EQ(softplus(kInfinity), kInfinity);
  EXPECT_EQ(softplus_and_sigmoid(-kInfinity).slope, 0.0f);
  EXPECT_EQ(silu(kInfinity), kInfinity);
  EXPECT_EQ(silu(-FLT_MAX), 0.0f);
}

TEST(MathExact, SoftplusIsItsArgumentAboveTwenty) {
  for (float x = std::nextafter(20.0f, 21.0f); x < 1e30f; x *= 1.37f) EXPECT_EQ(softplus(x), x);
}

// A whole number of steps of exp2 is exact, so that a dyadic test stays dyadic.
TEST(MathExact, Exp2OfIntegersIsExact) {
  for (int n = -149; n <= 127; ++n) EXPECT_EQ(exp2_approx(static_cast<float>(n)), std::ldexp(1.0f, n)) << n;
}

TEST(MathExact, FmaRoundsOnce) {
  const float a = 1.0f + 0x1p-12f;
  EXPECT_EQ(fma(a, a, -(1.0f + 0x1p-11f)), 0x1p-24f);
}

}  // namespace
}  // namespace lrnnx::test::math_test
