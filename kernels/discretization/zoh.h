// Zero-order hold: exponential transition, input factor phi = (exp(dt A) - 1) / A, which is dt at A = 0.
#pragma once

#include "discretization/exponential.h"
#include "discretization/update.h"

namespace lrnnx {

template <class T>
struct Zoh;

// With a = e^z and phi = (a - 1) / A, the slopes of the step are a (A h + B x) by dt and dt (a h + R B x) by A, where R
// is that of phi by A over dt. It has two forms:
//   phi - dt (1/2 + z/6 + ...)   for small z, where the other one cancels
//   (a - phi / dt) / A           for large z, where that one does
template <class T, class Derived>
struct ZohUpdate {
  static constexpr bool kOneStep = true, kWholeStep = true;
  static constexpr InputFactor kInput = InputFactor::one;
  static constexpr float kInputUnit = 1.0f, kStepUnit = 1.0f, kOmegaUnit = 1.0f;
  using Constant = T;  // 1 / A
  static LRNNX_HD float aside(float dt, float) { return reciprocal_approx(dt); }

  template <bool kReverses = false>
  LRNNX_HD T advance(T h, float x, T B) {
    const T Bx = x * B;
    if constexpr (!kReverses) return multiply_add(transition, h, phi * Bx);  // the shorter chain from h on
    const T decayed = transition * h;
    by_A = multiply_add(R, Bx, decayed);
    return multiply_add(phi, Bx, decayed);
  }

  LRNNX_HD Adjoints<T> reverse(T g, T h, float x, T B) const {
    Adjoints<T> to;
    to.state = g * conj(transition);
    to.input = g * conj(phi);
    to.step = to.state;
    to.by = multiply_add(Derived::kRadix * omega, h, x * B);
    to.omega = (g * dt) * conj(by_A);
    return to;
  }

  float dt;
  T omega, phi, transition, R;
  T by_A;  // the slope of h' by A, over dt

 protected:
  LRNNX_HD ZohUpdate(T omega, float dt) : dt(dt), omega(omega) {}

  static constexpr float kPolynomialEnd = 0.3f;  // of |v|, v = log2 |a|: polynomials up to there
  static constexpr float kLeast = 0x1p-40f;      // of |omega|: it has an inverse, and its exponential is 1
};

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

  struct JointUpdate : ZohUpdate<float, JointUpdate> {
    static constexpr float kRadix = kLn2;  // A / omega

    static LRNNX_HD float constant(float& omega) {
      if (std::fabs(omega) < kLeast) omega = kLeast;
      return kLog2E / omega;
    }

    LRNNX_HD JointUpdate(float omega, float inverse, float, float dt, float per_dt = 0.0f) : ZohUpdate(omega, dt) {
      const float v = exponent(omega, dt);
      const bool near = std::fabs(v) < kPolynomialEnd;
      transition = exp2_approx(v);
      const float dt_p = dt * exp2m1_second(v);
      phi = fma(dt_p, v, dt);
      R = fma(dt_p, -kLog2E, phi);
      // In this order nvcc overwrites both under a predicate, without selections.
      phi = select(near, phi, fma(transition, inverse, -inverse));
      R = select(near, R, inverse * fma(-phi, per_dt, transition));
    }

    // Of r = 2^(v/2) alone: the transition is r^2, at twice its error, and phi near 0 a polynomial in r, for
    // (r^2 - 1) / (2 ln(r)) has next to no third derivative at r = 1.
    struct Rebuild {
      LRNNX_HD Rebuild(float omega, float inverse, float, float dt) {
        const float half = exponent(0.5f * omega, dt);
        const float root = exp2_approx(half);
        transition = root * root;
        // For |v| <= 1/2: 17 u with its roundings, none at 0; the other form has as much from there on.
        float p = 0.166528642f;
        p = p * root + 0.666942716f;
        p = p * root + 0.166528642f;
        phi = select(std::fabs(half) < 0.25f, dt * p, fma(transition, inverse, -inverse));
      }

      // Not phi x first: where that overflows and B is 0, as of a state that is not there, nothing must come in.
      LRNNX_HD float advance(float h, float x, float B) { return multiply_add(transition, h, phi * B * x); }

      float transition, phi;
    };

   private:
    // (2^x - 1) / (x ln(2)) = 1 + x p(x) for |x| <= kPolynomialEnd, with this p to 2 u. R gets up to 15 u of it, none
    // at 0; from the other form, at |x| = kPolynomialEnd, some 50 times the transition's error.
    static LRNNX_HD float exp2m1_second(float x) {
      float p = 0.00191295077f;
      p = p * x + 0.0138924234f;
      p = p * x + 0.0800762773f;
      return p * x + 0.346573591f;
    }
  };
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

  struct JointUpdate : ZohUpdate<Complex, JointUpdate> {
    static constexpr float kRadix = kTwoPi;
    using Rebuild = JointUpdate;

    static LRNNX_HD Complex constant(Complex& omega) {
      if (std::fabs(omega.re) < kLeast && std::fabs(omega.im) < kLeast) omega = {kLeast, 0.0f};
      return Zoh::inverse(omega);
    }

    LRNNX_HD JointUpdate(Complex omega, Complex inverse, float, float dt, float per_dt = 0.0f) : ZohUpdate(omega, dt) {
      const float x = exponent(omega, dt);
      const float e = exp2_approx(x);
      const Phase phase = phase_of(omega, dt);
      const float expm1 = select(std::fabs(x) < kPolynomialEnd, x * exp2m1_ratio(x), e - 1.0f);
      transition = {e - e * phase.one_minus_cos, e * phase.sin};
      phi = Complex{expm1 - e * phase.one_minus_cos, transition.im} * inverse;
      const Complex z = dt * (kRadix * omega);
      const float squared = squared_magnitude(z);
      R = select(squared < 0.0625f, multiply_add(phi2(z, squared), -dt, phi),
                 inverse * multiply_add(phi, -per_dt, transition));
    }

   private:
    // (2^x - 1) / x for |x| <= kPolynomialEnd: 0.65 u.
    static LRNNX_HD float exp2m1_ratio(float x) {
      float p = 0.00133914594f;
      p = p * x + 0.00963612087f;
      p = p * x + 0.0555037521f;
      p = p * x + 0.240226075f;
      return p * x + 0.693147182f;
    }

    // The sum of z^k / (k + 2)! for |z| <= 1/4: R gets up to 8 u of what is left out. From the other form, which
    // cancels there, it has up to 91 u, 17 u rms. As psi below.
    static LRNNX_HD Complex phi2(Complex z, float squared) {
      return polynomial(z, squared, 0.00138888889f, 0.00833333333f, 0.0416666667f, 0.166666667f, 0.5f);
    }
  };

 private:
  // 1 / A, the same at every step
  static LRNNX_HD Complex inverse(Complex omega) {
    return (0.159154937f * reciprocal_approx(squared_magnitude(omega))) * conj(omega);
  }

  // The sum of (k + 1) / (k + 2)! z^k for |z| <= 1: 0.07 u.
  static LRNNX_HD Complex psi(Complex z, float squared) {
    return polynomial(z, squared, 2.29644330e-08f, 2.50521084e-07f, 2.48015873e-06f, 2.20458554e-05f, 0.000173611111f,
                      0.00119047619f, 0.00694444444f, 0.0333333333f, 0.125f, 0.333333333f, 0.5f);
  }

  // Coefficients from the highest power on. Real ones take two multiplications each (Knuth, The Art of Computer
  // Programming 2, 4.6.4): the remainder modulo z^2 - 2 Re(z) z + |z|^2.
  template <class... Coefficients>
  static LRNNX_HD Complex polynomial(Complex z, float squared, float highest, float next, Coefficients... rest) {
    const float twice = z.re + z.re;
    float b = highest, c = next;
    const auto step = [&](float coefficient) {
      const float above = c + twice * b;
      c = coefficient - squared * b;
      b = above;
    };
    (step(rest), ...);
    return {z.re * b + c, z.im * b};
  }
};

}  // namespace lrnnx
