// The bilinear (Tustin) discretization: transition (1 + v) / (1 - v) and input factor dt / (1 - v), v = dt A / 2.
#pragma once

#include "discretization/discretization.h"
#include "discretization/update.h"

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

// The step with r = 1 / (1 - v): h' = (2 r - 1) h + r (dt B u). 2 r - 1 is as good as r is, which for |v| < 2 may be a
// rounding of 1 worse than (1 + v) r, and around v = -1 not relative to itself; that takes an instruction more.
template <class F>
struct BilinearUpdate {
  using T = typename F::Weight;
  static constexpr bool kOneStep = true, kWholeStep = true;
  static constexpr InputFactor kInput = InputFactor::step;
  static constexpr float kStepUnit = 1.0f, kOmegaUnit = 0.5f;

  struct Constant {};
  static LRNNX_HD Constant constant(T&) { return {}; }

  LRNNX_HD BilinearUpdate(T omega, Constant, float, float dt)
      : dt(dt), omega(omega), r(F::resolvent(omega, dt)), transition(multiply_add(r, 2.0f, from_real<T>(-1.0f))) {}

  LRNNX_HD T advance(T h, T Bx) { return multiply_add(transition, h, r * Bx); }

  // The slopes are r^2 (A h + B u) by dt and r^2 dt (h + dt B u / 2) by A. As sums of those of the transition and of
  // the input factor, or of h' and h, they would cancel where v is large, or small.
  LRNNX_HD Adjoints<T> reverse(T g, T h, T Bx, T Bu) const {
    Adjoints<T> to;
    to.state = g * conj(transition);
    to.input = g * conj(r);
    to.step = to.input * conj(r);
    to.by = multiply_add(omega + omega, h, Bu);
    to.omega = to.step * conj(multiply_add(h, 2.0f, Bx)) * dt;
    return to;
  }

  float dt;
  T omega, r, transition;
};

template <>
struct Bilinear<float> : BilinearInput<float, Bilinear<float>> {
  static LRNNX_HD float transition(float omega, float dtA) { return fma(dtA, omega, 1.0f) * resolvent(omega, dtA); }

  // 1 / (1 - v)
  static LRNNX_HD float resolvent(float omega, float dt) { return reciprocal_approx(fma(-dt, omega, 1.0f)); }

  using JointUpdate = BilinearUpdate<Bilinear>;
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

  using JointUpdate = BilinearUpdate<Bilinear>;
};

}  // namespace lrnnx
