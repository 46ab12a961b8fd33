// The discretization functors against values computed at 50 digits (golden/discretizations.py).
#include "discretization_test.h"

#include <gtest/gtest.h>
#include <lrnnx/lrnnx.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

namespace lrnnx::test::discretization_test {
namespace {

constexpr double kUnitRoundoff = 0x1p-24;
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

struct Quantity {
  double re, im, scale, floor;
};

struct Golden {
  Point point;
  Quantity value, by_step, by_weight;
};

std::vector<Golden> load(const std::string& discretization, const std::string& dtype, const std::string& part) {
  std::ifstream file(LRNNX_SOURCE_DIR "/tests/golden/discretizations.csv");
  const std::string prefix = discretization + "," + dtype + "," + part + ",";
  std::vector<Golden> rows;
  for (std::string line; std::getline(file, line);) {
    if (line.compare(0, prefix.size(), prefix) != 0) continue;
    std::istringstream cells(line.substr(prefix.size()));
    const auto next = [&] {
      std::string cell;
      std::getline(cells, cell, ',');
      return std::strtod(cell.c_str(), nullptr);
    };
    const auto quantity = [&] {
      Quantity q;
      q.re = next(), q.im = next(), q.scale = next(), q.floor = next();
      return q;
    };
    Golden row;
    row.point.A.re = static_cast<float>(next());
    row.point.A.im = static_cast<float>(next());
    row.point.step = static_cast<float>(next());
    row.value = quantity(), row.by_step = quantity(), row.by_weight = quantity();
    rows.push_back(row);
  }
  return rows;
}

template <class D, class T>
std::vector<Evaluation> evaluate_on_host(Part part, const std::vector<Point>& points) {
  std::vector<Evaluation> out;
  for (const Point& point : points) out.push_back(evaluate<D, T>(part, point));
  return out;
}

using Evaluator = std::vector<Evaluation> (*)(Part, const std::vector<Point>&);

// The errors allowed in the value and in its slopes, in units of u * scale (see golden/discretizations.py).
struct Bounds {
  double value, by_step, by_weight;
};

struct Case {
  const char* discretization;
  const char* dtype;
  const char* golden;  // the rows that hold its values
  Part part;
  Bounds bounds;
  double limit;  // only rows with |A dt| below it
  Evaluator on_host, on_device;
};

std::string part_name(Part part) { return part == Part::transition ? "transition" : "input"; }

template <class D, class T>
Case make_case(const char* discretization, const char* golden, Part part, Bounds bounds, double limit = HUGE_VAL) {
  Case out = {.discretization = discretization,
              .dtype = std::is_same_v<T, float> ? "f32" : "c64",
              .golden = golden,
              .part = part,
              .bounds = bounds,
              .limit = limit,
              .on_host = evaluate_on_host<D, T>,
              .on_device = nullptr};
#if defined(LRNNX_WITH_CUDA)
  out.on_device = evaluate_on_device<D, T>;
#endif
  return out;
}

// The bounds follow from counting roundings of u each; `scale` turns those of z = A dt into errors of the result.
//   exponential  z: 2 (prepare and the product); exp2: 2.5; sin and cos: 2.5; a slope: up to 3 products more.
//   zoh          1 / A: 2 for the reciprocal and 2 products; expm1 amplifies exp2's error by e / |e - 1| <= 1 where the
//                polynomial ends; there psi's numerator cancels from 1 to 0.4 (real, |v| = 2) or 0.26 (complex, |z| =
//                1).
//   bilinear     1 - v: 1, its reciprocal: 2, 1 + v and the product: 1.5; complex, normwise: 5. r^2 and dt^2 r^2 take
//                the reciprocal's errors twice.
//   s7           as bilinear, with a^2 - 1/2 and a^2 + 1/2 rounded once each.
//   rglru        half the error of 1 - Ā^2; its slopes divide by that root and multiply by Ā twice.
// The worst cases of all roundings do not meet, so that most bounds are below the sums; none is twice what is measured
// on the host or an H200, 2025-11.
std::vector<Case> cases() {
  constexpr Part transition = Part::transition, input = Part::input;
  return {
      make_case<Mamba<float>, float>("mamba", "exponential", transition, {3, 4, 4}),
      make_case<Mamba<Complex>, Complex>("mamba", "exponential", transition, {3, 4, 4}),
      make_case<Zoh<float>, float>("zoh", "exponential", transition, {3, 4, 4}),
      make_case<Zoh<float>, float>("zoh", "zoh", input, {4, 3, 3}),
      make_case<Zoh<Complex>, Complex>("zoh", "exponential", transition, {3, 4, 4}),
      make_case<Zoh<Complex>, Complex>("zoh", "zoh", input, {5, 3, 9}),
      make_case<Zoh<Complex>, Complex>("zoh", "zoh", input, {5, 2, 2.5}, 1.0),
      make_case<Bilinear<float>, float>("bilinear", "bilinear", transition, {4, 5, 5}),
      make_case<Bilinear<float>, float>("bilinear", "bilinear", input, {3, 5, 6}),
      make_case<Bilinear<Complex>, Complex>("bilinear", "bilinear", transition, {4, 7, 8}),
      make_case<Bilinear<Complex>, Complex>("bilinear", "bilinear", input, {5, 9, 10}),
      make_case<Dirac<float>, float>("dirac", "exponential", transition, {3, 4, 4}),
      make_case<Dirac<Complex>, Complex>("dirac", "exponential", transition, {3, 4, 4}),
      make_case<S7<float>, float>("s7", "s7", transition, {4, 5, 1}),
      make_case<Rglru<float>, float>("rglru", "rglru", transition, {2.5, 4, 4}),
      make_case<Rglru<float>, float>("rglru", "rglru", input, {2.5, 4, 5}),
  };
}

std::string label(const Point& at) {
  std::ostringstream text;
  text.precision(9);
  text << "A = " << at.A.re << " + " << at.A.im << "i, step = " << at.step;
  return text.str();
}

// Written so that NaN fails. Returns the error in units of u * scale, less what the floor allows.
double expect_near(const Quantity& want, Complex got, double bound, double floors, const char* what, const Point& at) {
  const double error = std::hypot(got.re - want.re, got.im - want.im);
  const double tolerance = bound * kUnitRoundoff * want.scale + floors * want.floor;
  EXPECT_TRUE(error <= tolerance) << what << " at " << label(at) << ": got " << got.re << " + " << got.im << "i, want "
                                  << want.re << " + " << want.im << "i, error " << error << " > " << tolerance;
  return want.scale > 0 ? (error - floors * want.floor) / (kUnitRoundoff * want.scale) : 0.0;
}

// floors: how many times FLT_MIN an exponential may be off where it underflows.
void check(const Case& c, Evaluator evaluator, Bounds bounds, double floors) {
  std::vector<Golden> rows = load(c.golden, c.dtype, part_name(c.part));
  std::erase_if(rows, [&](const Golden& row) {
    return !(std::hypot(row.point.A.re, row.point.A.im) * row.point.step < c.limit);
  });
  ASSERT_GT(rows.size(), 50u) << "golden/discretizations.csv";
  std::vector<Point> points;
  for (const Golden& row : rows) points.push_back(row.point);
  const std::vector<Evaluation> got = evaluator(c.part, points);
  ASSERT_EQ(got.size(), rows.size());
  Bounds worst = {0, 0, 0};
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto& [point, value, by_step, by_weight] = rows[i];
    worst.value = std::max(worst.value, expect_near(value, got[i].value, bounds.value, floors, "value", point));
    worst.by_step =
        std::max(worst.by_step, expect_near(by_step, got[i].by_step, bounds.by_step, floors, "slope by step", point));
    worst.by_weight = std::max(
        worst.by_weight, expect_near(by_weight, got[i].by_weight, bounds.by_weight, floors, "slope by weight", point));
  }
  testing::Test::RecordProperty("value", std::to_string(worst.value));
  testing::Test::RecordProperty("by_step", std::to_string(worst.by_step));
  testing::Test::RecordProperty("by_weight", std::to_string(worst.by_weight));
}

class Discretization : public testing::TestWithParam<Case> {};

// The host underflows gradually: each of a few roundings is off by half the least subnormal, u * FLT_MIN.
TEST_P(Discretization, AgreesWithFiftyDigitsOnTheHost) {
  check(GetParam(), GetParam().on_host, GetParam().bounds, 4 * kUnitRoundoff);
}

#if defined(LRNNX_WITH_CUDA)
// The device takes what is below FLT_MIN for 0.
TEST_P(Discretization, AgreesWithFiftyDigitsOnTheDevice) {
  if (!device_available()) GTEST_SKIP() << "no CUDA device";
  check(GetParam(), GetParam().on_device, GetParam().bounds, 1.0);
}
#endif

INSTANTIATE_TEST_SUITE_P(, Discretization, testing::ValuesIn(cases()), [](const auto& info) {
  return std::string(info.param.discretization) + "_" + info.param.dtype + "_" + part_name(info.param.part) +
         (std::isinf(info.param.limit) ? "" : "_of_small_arguments");
});

TEST(DiscretizationRegistry, EveryFunctorIsTestedForEveryTypeItTakes) {
  const auto tested = [](const std::string& name, const std::string& dtype) {
    for (const Case& c : cases()) {
      if (name == c.discretization && dtype == c.dtype && c.part == Part::transition) return true;
    }
    return false;
  };
#define LRNNX_DISCRETIZATION(enumerator, name, functor, takes_real, takes_complex) \
  EXPECT_EQ(tested(#name, "f32"), takes_real) << #name;                            \
  EXPECT_EQ(tested(#name, "c64"), takes_complex) << #name;
#include "lrnnx/discretizations.def"
}

TEST(Exponential, IsExactlyOneWhereAOrTheStepIsZero) {
  for (float x : {1e-6f, 0.37f, 7.3f, 1e6f}) {
    EXPECT_EQ(Mamba<float>::transition(Mamba<float>::prepare(0.0f), x), 1.0f);
    EXPECT_EQ(Mamba<float>::transition(Mamba<float>::prepare(-x), 0.0f), 1.0f);
    const Complex by_A = Mamba<Complex>::transition(Mamba<Complex>::prepare({0.0f, 0.0f}), x);
    const Complex by_step = Mamba<Complex>::transition(Mamba<Complex>::prepare({-x, x}), 0.0f);
    EXPECT_EQ(by_A.re, 1.0f);
    EXPECT_EQ(by_A.im, 0.0f);
    EXPECT_EQ(by_step.re, 1.0f);
    EXPECT_EQ(by_step.im, 0.0f);
  }
}

TEST(Exponential, OverflowsToInfinityAndUnderflowsToZero) {
  EXPECT_EQ(Mamba<float>::transition(Mamba<float>::prepare(89.0f), 1.0f), kInfinity);
  EXPECT_EQ(Mamba<float>::transition(Mamba<float>::prepare(-1e30f), 1e30f), 0.0f);
  EXPECT_EQ(Zoh<float>::input(Zoh<float>::prepare(-4.0f), 1e30f), 0.25f);
  EXPECT_EQ(Zoh<float>::input(Zoh<float>::prepare(1e3f), 1.0f), kInfinity);
}

// The other input factors, which kernels need not evaluate: kInput says what they are.
template <class D, class T>
void expect_plain_input(InputFactor kind) {
  EXPECT_EQ(D::kInput, kind);
  for (const Point& point : {Point{{-0.5f, 0.25f}, 0.37f}, Point{{-3.0f, 1e3f}, 0.0f}, Point{{0.0f, 0.0f}, 7.3f}}) {
    const Evaluation got = evaluate<D, T>(Part::input, point);
    EXPECT_EQ(got.value.re, kind == InputFactor::step ? point.step : 1.0f);
    EXPECT_EQ(got.by_step.re, kind == InputFactor::step ? 1.0f : 0.0f);
    for (float zero : {got.value.im, got.by_step.im, got.by_weight.re, got.by_weight.im}) EXPECT_EQ(zero, 0.0f);
  }
}

TEST(InputFactor, IsTheStepForMambaAndOneForDiracAndS7) {
  expect_plain_input<Mamba<float>, float>(InputFactor::step);
  expect_plain_input<Mamba<Complex>, Complex>(InputFactor::step);
  expect_plain_input<Dirac<float>, float>(InputFactor::one);
  expect_plain_input<Dirac<Complex>, Complex>(InputFactor::one);
  expect_plain_input<S7<float>, float>(InputFactor::one);
}

TEST(Zoh, IsTheEulerStepWhereAIsZero) {
  for (float dt : {1e-20f, 1e-6f, 0.25f, 3.0f, 512.0f}) {
    const float omega = Zoh<float>::prepare(0.0f);
    EXPECT_EQ(Zoh<float>::input(omega, dt), dt);
    EXPECT_EQ(Zoh<float>::input_slopes(omega, dt).by_step, 1.0f);
    const Complex complex_omega = Zoh<Complex>::prepare({0.0f, 0.0f});
    EXPECT_EQ(Zoh<Complex>::input(complex_omega, dt).re, dt);
    EXPECT_EQ(Zoh<Complex>::input(complex_omega, dt).im, 0.0f);
    EXPECT_EQ(Zoh<Complex>::input_slopes(complex_omega, dt).by_step.re, 1.0f);
    EXPECT_EQ(Zoh<Complex>::input_slopes(complex_omega, dt).by_step.im, 0.0f);
  }
}

TEST(Bilinear, IsExactAtDyadicPoints) {
  struct Exact {
    float A, dt, transition, input;
  };
  for (const Exact& e : {Exact{-2, 1, 0, 0.5f}, Exact{-8, 0.25f, 0, 0.125f}, Exact{-6, 1, -0.5f, 0.25f},
                         Exact{-12, 0.5f, -0.5f, 0.125f}, Exact{0, 3, 1, 3}, Exact{-5, 0, 1, 0}}) {
    const float omega = Bilinear<float>::prepare(e.A);
    EXPECT_EQ(Bilinear<float>::transition(omega, e.dt), e.transition) << e.A;
    EXPECT_EQ(Bilinear<float>::input(omega, e.dt), e.input) << e.A;
    const Complex complex_omega = Bilinear<Complex>::prepare({e.A, 0.0f});
    EXPECT_EQ(Bilinear<Complex>::transition(complex_omega, e.dt).re, e.transition) << e.A;
    EXPECT_EQ(Bilinear<Complex>::transition(complex_omega, e.dt).im, 0.0f) << e.A;
    EXPECT_EQ(Bilinear<Complex>::input(complex_omega, e.dt).re, e.input) << e.A;
  }
}

TEST(Rglru, HasInputFactorAndGradientZeroWhereDeltaIsZero) {
  for (float A : {0.1f, 0.9f, 0.99999994f}) {
    const float omega = Rglru<float>::prepare(A);
    const InputSlopes<float> slopes = Rglru<float>::input_slopes(omega, 0.0f);
    EXPECT_EQ(Rglru<float>::transition(omega, 0.0f), 1.0f);
    EXPECT_EQ(Rglru<float>::input(omega, 0.0f), 0.0f);
    EXPECT_EQ(slopes.by_step, 0.0f);
    EXPECT_EQ(slopes.by_omega, 0.0f);
  }
}

// A NaN in the step must reach all that the step enters; in A likewise.
TEST_P(Discretization, PropagatesNaN) {
  const Case& c = GetParam();
  const auto is_nan = [](Complex x) { return std::isnan(x.re) || std::isnan(x.im); };
  const Evaluation by_step = c.on_host(c.part, {{{-0.5f, 0.25f}, kNaN}}).front();
  EXPECT_TRUE(is_nan(by_step.value));
  EXPECT_TRUE(is_nan(by_step.by_step));
  if (std::string(c.discretization) == "s7") return;
  EXPECT_TRUE(is_nan(by_step.by_weight));
  for (const Complex A : {Complex{kNaN, 0.25f}, Complex{-0.5f, kNaN}}) {
    if (std::string(c.dtype) == "f32" && !std::isnan(A.re)) continue;
    const Evaluation by_weight = c.on_host(c.part, {{A, 0.5f}}).front();
    EXPECT_TRUE(is_nan(by_weight.value));
    EXPECT_TRUE(is_nan(by_weight.by_step));
    EXPECT_TRUE(is_nan(by_weight.by_weight));
  }
}

}  // namespace
}  // namespace lrnnx::test::discretization_test
