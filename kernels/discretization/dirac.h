// Exponential transition with inputs that act as impulses: input factor 1.
#pragma once

#include "discretization/exponential.h"

namespace lrnnx {

template <class T>
struct Dirac : Exponential<T> {
  static constexpr InputFactor kInput = InputFactor::one;
  static constexpr bool kTakesStepOptions = true;
  static constexpr bool kTakesB = true;
  static constexpr bool kUsesA = true;

  static LRNNX_HD T input(T, float) { return from_real<T>(1.0f); }
  static LRNNX_HD InputSlopes<T> input_slopes(T, float) { return {from_real<T>(0.0f), from_real<T>(0.0f)}; }
  static LRNNX_HD T weight_gradient(T, T by_transition, T) { return by_transition; }
};

}  // namespace lrnnx
