// The transition of S7: 1 - 1 / (a^2 + 1/2) with a, the input-dependent parameter, in the place of the step; inputs
// enter with factor 1 and there is no weight A.
#pragma once

#include "discretization/discretization.h"

namespace lrnnx {

template <class T>
struct S7;

template <>
struct S7<float> {
  using Weight = float;
  static constexpr bool kStepsAdd = false;
  static constexpr float kNeutralStep = 0x1p60f;  // its square does not overflow
  static constexpr float kSlopeUnit = 2.0f;
  static constexpr InputFactor kInput = InputFactor::one;
  static constexpr bool kTakesStepOptions = false;
  static constexpr bool kTakesB = true;
  static constexpr bool kUsesA = false;

  static LRNNX_HD float prepare(float) { return 1.0f; }

  // (a^2 - 1/2) / (a^2 + 1/2), which keeps its relative accuracy where the transition crosses 0.
  static LRNNX_HD float transition(float, float a) {
    const float near = fma(a, a, -0.5f) * reciprocal_approx(fma(a, a, 0.5f));
    return select(std::fabs(a) > 65536.0f, 1.0f, near);  // 1 in float, and a^2 may overflow
  }

  // 2 a / (a^2 + 1/2)^2, in an order in which nothing underflows before the result does.
  static LRNNX_HD float transition_slope(float, float a, float) {
    const float r = reciprocal_approx(fma(a, a, 0.5f));
    return (a * r) * r;
  }

  static LRNNX_HD float input(float, float) { return 1.0f; }
  static LRNNX_HD InputSlopes<float> input_slopes(float, float) { return {0.0f, 0.0f}; }
  static LRNNX_HD float weight_gradient(float, float, float) { return 0.0f; }
};

}  // namespace lrnnx
