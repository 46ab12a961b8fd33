// Complex numbers as the C ABI stores them: two floats, real part first.
#pragma once

#include "common/host_device.h"

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

// The same names for real numbers, so that one kernel text serves both.
LRNNX_HD float conj(float a) { return a; }
LRNNX_HD float real(float a) { return a; }

}  // namespace lrnnx
