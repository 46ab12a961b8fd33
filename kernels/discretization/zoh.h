// Zero-order hold: exponential transition, input factor phi = (exp(dt A) - 1) / A, which is dt at A = 0.
#pragma once

#include "discretization/exponential.h"

namespace lrnnx {

template <class T>
struct Zoh;

// With z = dt A = v ln(2): phi = dt (e^z - 1) / z, and its slope by A is dt^2 psi(z), psi = (e^z (z - 1) + 1) / z^2.
// Both quotients cancel for small z, where polynomials replace them.
template <>
struct Zoh<float> : Exponential<float> {
  static constexpr InputFactor kInput = InputFactor::per_state;
  static constexpr bool kTakesStepOptions = true;
  static constexpr bool kTakesB = true;
  static constexpr bool kUsesA = true;

  static LRNNX_HD float input(float omega, float dt) {
    const float v = dt * omega;
    const float e = transition(omega, dt);
    const float inverse = kLog2E * reciprocal_approx(omega);  // 1 / A, the same at every step
    float p = 1.63857192e-06f;                                // (2^v - 1) / (v ln(2)) for |v| <= 1: 0.17 u
    p = p * v + 2.22980889e-05f;
    p = p * v + 0.000222841758f;
    p = p * v + 0.00192346249f;
    p = p * v + 0.0138756381f;
    p = p * v + 0.0800755247f;
    p = p * v + 0.346573651f;
    p = p * v + 1.0f;
    return select(std::fabs(v) < 1.0f, dt * p, fma(e, inverse, -inverse));
  }

  static LRNNX_HD InputSlopes<float> input_slopes(float omega, float dt) {
    const float v = dt * omega;
    const float e = transition(omega, dt);
    const float inverse = kLog2E * reciprocal_approx(omega);
    const float far = fma(e, dt - inverse, inverse) * reciprocal_approx(omega);
    float p = 6.40212106e-09f;  // ln(2) psi for |v| <= 2: 0.13 u
    p = p * v + 9.54558104e-08f;
    p = p * v + 1.17588411e-06f;
    p = p * v + 1.33339136e-05f;
    p = p * v + 0.000132026616f;
    p = p * v + 0.00111114548f;
    p = p * v + 0.00769450609f;
    p = p * v + 0.0416280739f;
    p = p * v + 0.160151005f;
    p = p * v + 0.346573591f;
    return {e, select(std::fabs(v) < 2.0f, (dt * dt) * p, far)};
  }

  static LRNNX_HD float weight_gradient(float, float by_transition, float by_input) {
    return by_transition + kLog2E * by_input;
  }
};

// z = dt A = 2 pi v
template <>
struct Zoh<Complex> : Exponential<Complex> {
  static constexpr InputFactor kInput = InputFactor::per_state;
  static constexpr bool kTakesStepOptions = true;
  static constexpr bool kTakesB = true;
  static constexpr bool kUsesA = true;

  // exp(z) - 1 is accurate however small z is (Kahan 1987: expm1(x) - 2 sin^2(y/2) e^x + i e^x sin(y)), so that only an
  // A too small to divide by needs phi = dt (1 + z/2 + ...).
  static LRNNX_HD Complex input(Complex omega, float dt) {
    const float x = exponent(omega, dt);
    const float e = exp2_approx(x);
    const Phase phase = phase_of(omega, dt);
    const Complex expm1 = {exp2m1(x, e) - e * phase.one_minus_cos, e * phase.sin};
    const float tiny = 0x1p-27f;  // of |v|: z/2 is then below u / 2
    return select(squared_magnitude(dt * omega) < tiny * tiny, Complex{dt, 0.0f}, expm1 * inverse(omega));
  }

  static LRNNX_HD InputSlopes<Complex> input_slopes(Complex omega, float dt) {
    const Complex e = transition(omega, dt);
    const Complex a = inverse(omega);
    const Complex far = (e * Complex{dt - a.re, -a.im} + a) * (kTwoPi * a);
    const Complex z = (kTwoPi * dt) * omega;
    const float squared = squared_magnitude(z);
    return {e, select(squared < 1.0f, (kTwoPi * dt * dt) * psi(z, squared), far)};
  }

  static LRNNX_HD Complex weight_gradient(Complex, Complex by_transition, Complex by_input) {
    return by_transition + 0.159154937f * by_input;
  }

 private:
  // 1 / A, the same at every step
  static LRNNX_HD Complex inverse(Complex omega) {
    return (0.159154937f * reciprocal_approx(squared_magnitude(omega))) * conj(omega);
  }

  // The sum of (k + 1) / (k + 2)! z^k for |z| <= 1: 0.07 u. Real coefficients take two multiplications each (Knuth, The
  // Art of Computer Programming 2, 4.6.4): the remainder modulo z^2 - 2 Re(z) z + |z|^2.
  static LRNNX_HD Complex psi(Complex z, float squared) {
    const float twice = z.re + z.re;
    float b = 2.29644330e-08f;  // 11 / 12!
    float c = 2.50521084e-07f;  // 10 / 11!
    const auto step = [&](float coefficient) {
      const float next = c + twice * b;
      c = coefficient - squared * b;
      b = next;
    };
    step(2.48015873e-06f);  // 9 / 10!
    step(2.20458554e-05f);  // 8 / 9!
    step(0.000173611111f);  // 7 / 8!
    step(0.00119047619f);   // 6 / 7!
    step(0.00694444444f);   // 5 / 6!
    step(0.0333333333f);    // 4 / 5!
    step(0.125f);           // 3 / 4!
    step(0.333333333f);     // 2 / 3!
    step(0.5f);             // 1 / 2!
    return {z.re * b + c, z.im * b};
  }
};

}  // namespace lrnnx
