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

// The step with r = 2 / (1 - v) and x = dt u / 2: h' = r (h + B x) - h, as good as r is. So an infinite state becomes a
// NaN, and adjoints are to stay below a quarter of the largest float.
template <class F>
struct BilinearUpdate {
  using T = typename F::Weight;
  static constexpr bool kOneStep = true, kWholeStep = true;
  static constexpr InputFactor kInput = InputFactor::step;
  static constexpr float kInputUnit = 0.5f, kStepUnit = 1.0f, kOmegaUnit = 0.25f;
  using Rebuild = BilinearUpdate;

  struct Constant {};
  static LRNNX_HD Constant constant(T& omega) {
    omega = 0.5f * omega;  // A / 4
    return {};
  }
  static LRNNX_HD float aside(float, float u) { return 0.25f * u; }

  LRNNX_HD BilinearUpdate(T omega, Constant, float, float dt, float quarter_u = 0.0f)
      : dt(dt), quarter_u(quarter_u), omega(omega), r(F::twice_resolvent(omega, dt)) {}

  template <bool kReverses = false>
  LRNNX_HD T advance(T h, float x, T B) {
    return multiply_add(r, multiply_add(B, x, h), -h);
  }

  // The slopes are r^2 (A h + B u) / 4 by dt and r^2 dt (h + B x) / 4 by A. As sums of those of the transition and of
  // the input factor, or of h' and h, they would cancel where v is large, or small.
  LRNNX_HD Adjoints<T> reverse(T g, T h, float x, T B) const {
    Adjoints<T> to;
    to.input = g * conj(r);
    to.state = to.input - g;
    to.step = to.input * conj(r);
    to.by = multiply_add(B, quarter_u, omega * h);
    to.omega = (to.step * dt) * conj(multiply_add(B, x, h));
    return to;
  }

  float dt, quarter_u;
  T omega, r;
};

template <>
struct Bilinear<float> : BilinearInput<float, Bilinear<float>> {
  static LRNNX_HD float transition(float omega, float dtA) { return fma(dtA, omega, 1.0f) * resolvent(omega, dtA); }

  // 1 / (1 - v)
  static LRNNX_HD float resolvent(float omega, float dt) { return reciprocal_approx(fma(-dt, omega, 1.0f)); }
  // Likewise of omega / 2.
  static LRNNX_HD float twice_resolvent(float half, float dt) { return reciprocal_approx(fma(-dt, half, 0.5f)); }

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

  static LRNNX_HD Complex resolvent(Complex omega, float dt) { return inverse(omega, dt, 1.0f); }
  static LRNNX_HD Complex twice_resolvent(Complex half, float dt) { return inverse(half, dt, 0.5f); }

  using JointUpdate = BilinearUpdate<Bilinear>;

 private:
  // 1 / (one - dt omega)
  static LRNNX_HD Complex inverse(Complex omega, float dt, float one) {
    const float q = fma(-dt, omega.re, one), y = dt * omega.im;
    const float k = reciprocal_approx(q * q + y * y);
    return {q * k, y * k};
  }
};

}  // namespace lrnnx
