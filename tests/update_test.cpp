// The joint updates of zoh and bilinear against the separate ones, which the golden values test through their parts.
#include "discretization/update.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <limits>
#include <random>
#include <type_traits>
#include <utility>

#include "discretization/bilinear.h"
#include "discretization/mamba.h"
#include "discretization/zoh.h"

namespace lrnnx::update_test {
namespace {

using Wide = std::complex<double>;
constexpr double kUnitRoundoff = 0x1p-24;

Wide wide(float x) { return x; }
Wide wide(Complex x) { return {x.re, x.im}; }

template <class T>
T number(double re, double im) {
  if constexpr (std::is_same_v<T, float>) {
    return static_cast<float>(re);
  } else {
    return {static_cast<float>(re), static_cast<float>(im)};
  }
}

// One step's results in units that all updates share.
struct Result {
  Wide next, next_only, rebuilt, state, input, omega;
  double step;
};

template <class U, class T>
Result run(T omega, float dt, T h, T Bu, T g) {
  const auto constant = U::constant(omega);
  U update(omega, constant, dt, dt, U::aside(dt, 1.0f)), ahead(omega, constant, dt, dt);
  typename U::Rebuild rebuild(omega, constant, dt, dt);
  const float folded = U::kInput == InputFactor::step ? U::kInputUnit * dt : 1.0f;
  const T next = update.template advance<true>(h, folded, Bu);  // with B = Bu and u = 1
  const Adjoints<T> to = update.reverse(g, h, folded, Bu);
  Result result{wide(next),
                wide(ahead.advance(h, folded, Bu)),
                wide(rebuild.advance(h, folded, Bu)),
                wide(to.state),
                static_cast<double>(folded) * wide(to.input),
                static_cast<double>(U::kOmegaUnit) * wide(to.omega),
                0};
  result.step = U::kStepUnit * (wide(to.step) * std::conj(wide(to.by))).real();
  if (!U::kOneStep) result.step += U::kStepUnit * wide(to.input_step).real();
  if (!U::kWholeStep && U::kInput == InputFactor::step) result.step += (wide(to.input) * std::conj(wide(Bu))).real();
  return result;
}

template <class F>
class Joint : public ::testing::Test {};
using Functors = ::testing::Types<Zoh<float>, Zoh<Complex>, Bilinear<float>, Bilinear<Complex>>;
TYPED_TEST_SUITE(Joint, Functors);

TYPED_TEST(Joint, AgreesWithTheSeparateUpdateFromTinyToLargeSteps) {
  using F = TypeParam;
  using T = typename F::Weight;
  static_assert(!std::is_same_v<JointUpdate<F>, SeparateUpdate<F>>);
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> exponent(-8, 4);
  for (int i = 0; i < 20000; ++i) {
    const double size = std::pow(10.0, exponent(random)), dt = std::pow(10.0, exponent(random) / 2);
    const double angle = std::is_same_v<T, float> ? 0 : 3.14159 * (0.5 - std::generate_canonical<double, 53>(random));
    const T A = number<T>(-size / dt * std::cos(angle), size / dt * std::sin(angle));
    const T h = number<T>(normal(random), normal(random)), Bu = number<T>(normal(random), normal(random)),
            g = number<T>(normal(random), normal(random));
    const T omega = F::prepare(A);
    const Result joint = run<JointUpdate<F>>(omega, static_cast<float>(dt), h, Bu, g);
    const Result separate = run<SeparateUpdate<F>>(omega, static_cast<float>(dt), h, Bu, g);
    const double a = std::abs(wide(F::transition(omega, static_cast<float>(dt)))),
                 phi = std::abs(wide(F::input(omega, static_cast<float>(dt))));
    const double h_ = std::abs(wide(h)), Bu_ = std::abs(wide(Bu)), g_ = std::abs(wide(g)), A_ = std::abs(wide(A));
    const double z = A_ * dt;
    // Slopes of the transition and of the input factor by z: of the bilinear ones 2 r^2 and dt r^2.
    const bool bilinear = F::kStepsAdd == false;
    const double r = bilinear ? phi / dt : 1;
    const double a_slope = bilinear ? 2 * r * r : a,
                 phi_slope = bilinear ? dt * r * r : std::max(phi, a * dt) / (1 + z);
    const auto expect = [&](const char* what, double error, double scale) {
      EXPECT_LE(error, 40 * kUnitRoundoff * (1 + z * !bilinear * (a > 1e-6)) * scale + 1e-38)  // that is subnormal
          << what << " at |z| = " << z << ", dt = " << dt;
    };
    expect("h'", std::abs(joint.next - separate.next), a * h_ + phi * Bu_ + (bilinear ? phi / dt * h_ : 0));
    expect("h', forward only", std::abs(joint.next_only - separate.next),
           a * h_ + phi * Bu_ + (bilinear ? phi / dt * h_ : 0));
    expect("h', rebuilt", std::abs(joint.rebuilt - separate.next), a * h_ + phi * Bu_ + (bilinear ? phi / dt * h_ : 0));
    expect("adjoint of h", std::abs(joint.state - separate.state), g_ * (a + (bilinear ? phi / dt : 0)));
    expect("adjoint of Bu", std::abs(joint.input - separate.input), g_ * phi);
    expect("gradient of A", std::abs(joint.omega - separate.omega), g_ * dt * (a_slope * h_ + phi_slope * Bu_));
    expect("gradient of dt", std::abs(joint.step - separate.step),
           g_ * (A_ * a_slope * h_ + (bilinear ? r * r : a) * Bu_));
  }
}

TYPED_TEST(Joint, IsTheEulerStepWhereAIsZero) {
  using F = TypeParam;
  using T = typename F::Weight;
  const T one = from_real<T>(1.0f);
  for (float dt : {1e-6f, 0.25f, 3.0f, 512.0f}) {
    const Result result = run<JointUpdate<F>>(F::prepare(from_real<T>(0.0f)), dt, one, one, one);
    EXPECT_FLOAT_EQ(result.next.real(), 1.0f + dt);
    EXPECT_FLOAT_EQ(result.rebuilt.real(), 1.0f + dt);
    EXPECT_FLOAT_EQ(result.state.real(), 1.0f);
    EXPECT_FLOAT_EQ(result.input.real(), dt);
    EXPECT_FLOAT_EQ(result.step, 1.0f);
    EXPECT_FLOAT_EQ(result.omega.real(), dt + dt * dt / 2);
  }
}

TYPED_TEST(Joint, LeavesTheStateAloneAtStepZero) {
  using F = TypeParam;
  using T = typename F::Weight;
  T omega = F::prepare(number<T>(-3, 5));
  const auto constant = JointUpdate<F>::constant(omega);
  JointUpdate<F> update(omega, constant, 0.0f, 0.0f);
  typename JointUpdate<F>::Rebuild rebuild(omega, constant, 0.0f, 0.0f);
  for (float h : {1.5f, -1e30f, 3e38f}) {
    EXPECT_EQ(wide(rebuild.advance(from_real<T>(h), 0.0f, from_real<T>(1.0f))).real(), h);
    EXPECT_EQ(wide(update.advance(from_real<T>(h), 0.0f, from_real<T>(1.0f))).real(), h);
    EXPECT_EQ(wide(update.template advance<true>(from_real<T>(h), 0.0f, from_real<T>(1.0f))).real(), h);
  }
  if (F::kStepsAdd) {  // a bilinear one may become a NaN
    constexpr float kInfinity = std::numeric_limits<float>::infinity();
    EXPECT_EQ(wide(update.advance(from_real<T>(kInfinity), 0.0f, from_real<T>(1.0f))).real(), kInfinity);
  }
}

TYPED_TEST(Joint, KeepsAnInfiniteStateNotFinite) {
  using F = TypeParam;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  if constexpr (std::is_same_v<typename F::Weight, float>) {
    float omega = F::prepare(-1.0f);
    const auto constant = JointUpdate<F>::constant(omega);
    for (float dt : {0.0f, 0.01f, 0.9f}) {
      JointUpdate<F> update(omega, constant, dt, dt);
      const float next = update.advance(kInfinity, dt, 1.0f);
      EXPECT_FALSE(std::isfinite(next)) << dt;
      if (F::kStepsAdd) {
        EXPECT_EQ(next, kInfinity) << dt;  // a bilinear one may be a NaN
      }
      typename JointUpdate<F>::Rebuild rebuild(omega, constant, dt, dt);
      EXPECT_FALSE(std::isfinite(rebuild.advance(kInfinity, dt, 1.0f))) << dt;
    }
  }
}

TEST(JointUpdate, OfZohIsRebuiltWhereStatesGrowToo) {
  using F = Zoh<float>;
  for (double z = -3; z <= 3; z += 0.01) {
    float omega = F::prepare(static_cast<float>(z / 0.25));
    const auto constant = JointUpdate<F>::constant(omega);
    JointUpdate<F>::Rebuild rebuild(omega, constant, 0.25f, 0.25f);
    JointUpdate<F> update(omega, constant, 0.25f, 0.25f);
    for (const auto& [h, x] : {std::pair(1.0f, 0.0f), std::pair(0.0f, 1.0f), std::pair(1.0f, 1.0f)}) {
      const double next = update.advance(h, x, 1.0f);
      EXPECT_NEAR(rebuild.advance(h, x, 1.0f), next, 40 * kUnitRoundoff * std::abs(next)) << z;
    }
  }
}

TEST(JointUpdate, OfZohTakesNothingInWhereBIsZero) {
  using F = Zoh<float>;
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  float omega = -0x1p-40f;  // of a state that is not there
  const auto constant = JointUpdate<F>::constant(omega);
  for (const auto& [dt, u] : {std::pair(10.0f, 1e38f), std::pair(1e12f, 1e30f), std::pair(kInfinity, 1e30f)}) {
    EXPECT_EQ(JointUpdate<F>(omega, constant, dt, dt).advance(0.0f, u, 0.0f), 0.0f) << dt;
    EXPECT_EQ(JointUpdate<F>::Rebuild(omega, constant, dt, dt).advance(0.0f, u, 0.0f), 0.0f) << dt;
  }
}

TEST(JointUpdate, IsTheSeparateOneWhereNoneIsDefined) {
  EXPECT_TRUE((std::is_same_v<JointUpdate<Mamba<float>>, SeparateUpdate<Mamba<float>>>));
  EXPECT_TRUE((std::is_same_v<JointUpdate<Mamba<Complex>>, SeparateUpdate<Mamba<Complex>>>));
}

}  // namespace
}  // namespace lrnnx::update_test
