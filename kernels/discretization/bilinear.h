// The bilinear (Tustin) discretization: transition (1 + v) / (1 - v) and input factor dt / (1 - v), v = dt A / 2.
#pragma once

#include "discretization/discretization.h"

namespace lrnnx {

template <class T>
struct Bilinear;

// What does not depend on the number type. omega = A / 2, so that 1 + v and 1 - v are one rounding each; with
// r = 1 / (1 - v) every slope is r^2 times something at hand.
template <class T, class Derived>
struct BilinearInput {
  using Weight = T;
  static constexpr bool kStepsAdd = false;
  static constexpr float kNeutralStep = 0.0f;
  static constexpr float kSlopeUnit = 2.0f;  // d transition = 2 r^2 dv
  static constexpr InputFactor kInput = InputFactor::per_state;
  static constexpr bool kTakesStepOptions = true;
  static constexpr bool kTakesB = true;
  static constexpr bool kUsesA = true;

  static LRNNX_HD T prepare(T A) { return 0.5f * A; }

  static LRNNX_HD T transition_slope(T omega, float dtA, T) {
    const T r = Derived::resolvent(omega, dtA);
    return r * r;
  }

  static LRNNX_HD T input(T omega, float dt) { return dt * Derived::resolvent(omega, dt); }

  static LRNNX_HD InputSlopes<T> input_slopes(T omega, float dt) {
    const T r = Derived::resolvent(omega, dt);
    const T factor = dt * r;
    return {r * r, factor * factor};
  }

  static LRNNX_HD T weight_gradient(T, T by_transition, T by_input) { return by_transition + 0.5f * by_input; }
};

template <>
struct Bilinear<float> : BilinearInput<float, Bilinear<float>> {
  static LRNNX_HD float transition(float omega, float dtA) { return fma(dtA, omega, 1.0f) * resolvent(omega, dtA); }

  // 1 / (1 - v)
  static LRNNX_HD float resolvent(float omega, float dt) { return reciprocal_approx(fma(-dt, omega, 1.0f)); }
};

template <>
struct Bilinear<Complex> : BilinearInput<Complex, Bilinear<Complex>> {
  // (1 + v) conj(1 - v) / |1 - v|^2
  static LRNNX_HD Complex transition(Complex omega, float dtA) {
    const float p = fma(dtA, omega.re, 1.0f), q = fma(-dtA, omega.re, 1.0f), y = dtA * omega.im;
    const float k = reciprocal_approx(q * q + y * y);
    return {(p * q - y * y) * k, (y + y) * k};
  }

  static LRNNX_HD Complex resolvent(Complex omega, float dt) {
    const float q = fma(-dt, omega.re, 1.0f), y = dt * omega.im;
    const float k = reciprocal_approx(q * q + y * y);
    return {q * k, y * k};
  }
};

}  // namespace lrnnx
