// Complex numbers as the C ABI stores them: two floats, real part first.
#pragma once

#include "common/host_device.h"
#include "common/math.h"

namespace lrnnx {

struct alignas(8) Complex {
  float re, im;
};

LRNNX_HD Complex operator-(Complex a) { return {-a.re, -a.im}; }
LRNNX_HD Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
LRNNX_HD Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
LRNNX_HD Complex operator*(float a, Complex b) { return {a * b.re, a * b.im}; }
LRNNX_HD Complex operator*(Complex a, float b) { return {a.re * b, a.im * b}; }
LRNNX_HD Complex operator*(Complex a, Complex b) { return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re}; }
LRNNX_HD Complex& operator+=(Complex& a, Complex b) { return a = a + b; }

LRNNX_HD Complex conj(Complex a) { return {a.re, -a.im}; }
LRNNX_HD float real(Complex a) { return a.re; }
LRNNX_HD float squared_magnitude(Complex a) { return a.re * a.re + a.im * a.im; }

LRNNX_HD Complex reciprocal_approx(Complex a) { return conj(a) * reciprocal_approx(squared_magnitude(a)); }
LRNNX_HD Complex select(bool condition, Complex yes, Complex no) {
  return {select(condition, yes.re, no.re), select(condition, yes.im, no.im)};
}

// The same names for real numbers, so that one kernel text serves both.
LRNNX_HD float conj(float a) { return a; }
LRNNX_HD float real(float a) { return a; }

// a b + c
LRNNX_HD float multiply_add(float a, float b, float c) { return fma(a, b, c); }
LRNNX_HD Complex multiply_add(Complex a, float b, Complex c) { return {fma(a.re, b, c.re), fma(a.im, b, c.im)}; }
LRNNX_HD Complex multiply_add(Complex a, Complex b, Complex c) {
  return {fma(-a.im, b.im, fma(a.re, b.re, c.re)), fma(a.im, b.re, fma(a.re, b.im, c.im))};
}

// Re(a b) + c
LRNNX_HD float real_multiply_add(float a, float b, float c) { return fma(a, b, c); }
LRNNX_HD float real_multiply_add(Complex a, Complex b, float c) { return fma(-a.im, b.im, fma(a.re, b.re, c)); }

// x as the number type T = float or Complex
template <class T>
LRNNX_HD T from_real(float x);
template <>
LRNNX_HD float from_real<float>(float x) {
  return x;
}
template <>
LRNNX_HD Complex from_real<Complex>(float x) {
  return {x, 0.0f};
}

}  // namespace lrnnx
