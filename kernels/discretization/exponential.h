// The transition exp(dtA A), which the mamba, zoh and dirac discretizations share.
#pragma once

#include "discretization/discretization.h"

namespace lrnnx {

template <class T>
struct Exponential;

// omega = A log2(e): the transition is 2^(dtA omega).
template <>
struct Exponential<float> {
  using Weight = float;
  static constexpr bool kStepsAdd = true;
  static constexpr float kNeutralStep = 0.0f;
  static constexpr float kSlopeUnit = kLn2;

  static LRNNX_HD float prepare(float A) { return fma(A, kLog2E, A * 1.92596303e-08f); }
  static LRNNX_HD float transition(float omega, float dtA) { return exp2_approx(exponent(omega, dtA)); }

  // log2 of the transition
  static LRNNX_HD float exponent(float omega, float dtA) {
#if defined(__CUDA_ARCH__)
    // ex2.approx is low by 6e-9 on average just below 0 and by 1.5e-8 to 3e-8 from -0.003 to -1 (H100, 2026-11-22). A
    // recurrence over hundreds of steps gathers that up, so the exponent is raised by 1e-8 / ln(2). 2^0 stays 1.
    return fma(dtA, omega, 1.44e-8f);
#else
    return dtA * omega;
#endif
  }
  static LRNNX_HD float transition_slope(float, float, float transition) { return transition; }
};

// omega = A / (2 pi): the imaginary part of dtA omega counts turns, which reduce without a rounding.
template <>
struct Exponential<Complex> {
  using Weight = Complex;
  static constexpr bool kStepsAdd = true;
  static constexpr float kNeutralStep = 0.0f;
  static constexpr float kSlopeUnit = kTwoPi;

  static LRNNX_HD Complex prepare(Complex A) { return {turns(A.re), turns(A.im)}; }

  static LRNNX_HD Complex transition(Complex omega, float dtA) {
    const float e = modulus(omega, dtA);
    const Phase phase = phase_of(omega, dtA);
    return {e - e * phase.one_minus_cos, e * phase.sin};
  }

  static LRNNX_HD Complex transition_slope(Complex, float, Complex transition) { return transition; }

  // log2 of the transition's modulus
  static LRNNX_HD float exponent(Complex omega, float dtA) { return dtA * (omega.re * 9.06472015f); }  // 2 pi log2(e)
  static LRNNX_HD float modulus(Complex omega, float dtA) { return exp2_approx(exponent(omega, dtA)); }

  struct Phase {
    float sin, one_minus_cos;
  };

  // Through half the angle: 1 - cos y = 2 sin^2(y/2) keeps its relative accuracy, as exp(z) - 1 needs, and the sign
  // that sin(y/2) and cos(y/2) change after a full turn cancels. Good for |dtA omega.im| < 2^22 turns.
  static LRNNX_HD Phase phase_of(Complex omega, float dtA) {
    const float n = fma(dtA, omega.im, detail::kRoundToInteger) - detail::kRoundToInteger;
    const float f = fma(dtA, omega.im, -n);
    const float q = f * f;
    float s = 0.0798357651f;  // sin(pi f) / f for |f| <= 1/2: 0.49 u
    s = s * q - 0.599437356f;
    s = s * q + 2.55026984f;
    s = s * q - 5.16772079f;
    s = s * q + 3.14159274f;
    s = s * f;
    float c = -0.0239640884f;  // cos(pi f): 0.02 u, absolute
    c = c * q + 0.234683812f;
    c = c * q - 1.33516157f;
    c = c * q + 4.05870533f;
    c = c * q - 4.93480206f;
    c = c * q + 1.0f;
    const float twice = s + s;
    return {twice * c, twice * s};
  }

 private:
  static LRNNX_HD float turns(float radians) { return fma(radians, 0.159154937f, radians * 6.42063824e-09f); }
};

}  // namespace lrnnx
