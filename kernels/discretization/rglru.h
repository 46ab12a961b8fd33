// The RG-LRU of Griffin (De et al. 2024): transition A^delta with 0 < A < 1, input factor sqrt(1 - A^(2 delta)), no B.
#pragma once

#include "discretization/exponential.h"

namespace lrnnx {

template <class T>
struct Rglru;

// omega = log2(A), v = delta omega <= 0.
template <>
struct Rglru<float> {
  using Weight = float;
  static constexpr bool kStepsAdd = true;
  static constexpr float kNeutralStep = 0.0f;
  static constexpr float kSlopeUnit = kLn2;
  static constexpr InputFactor kInput = InputFactor::per_state;
  static constexpr bool kTakesStepOptions = false;
  static constexpr bool kTakesB = false;
  static constexpr bool kUsesA = true;

  static LRNNX_HD float prepare(float A) { return std::log2(A); }
  static LRNNX_HD float transition(float omega, float delta) { return Exponential<float>::transition(omega, delta); }
  static LRNNX_HD float transition_slope(float, float, float transition) { return transition; }

  // sqrt(1 - 2^(2v)). Computed as 2^-32 sqrt(2^64 (1 - 2^(2v))): the root of a subnormal number is none, and 2 v may be
  // subnormal when delta is.
  static LRNNX_HD float input(float omega, float delta) {
    const float w = delta * (2.0f * omega);
    const float a = transition(omega, delta);
    const float near = (-0x1p64f * delta) * (2.0f * omega * exp2m1_ratio(w));
    const float far = 0x1p64f * fma(-a, a, 1.0f);
    return 0x1p-32f * sqrt_approx(select(w > -1.0f, near, far));
  }

  // -2^(2v) ln(2) {omega, delta} / input, and 0 where the input factor is 0 and has no slope.
  static LRNNX_HD InputSlopes<float> input_slopes(float omega, float delta) {
    const float s = input(omega, delta);
    const float a = transition(omega, delta);
    const float k = select(s == 0.0f, 0.0f, (-kLn2 * a * a) * reciprocal_approx(s));
    return {k * omega, k * delta};
  }

  static LRNNX_HD float weight_gradient(float A, float by_transition, float by_input) {
    return (by_transition + kLog2E * by_input) / A;
  }
};

}  // namespace lrnnx
