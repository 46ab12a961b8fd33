// The discretization of Mamba (Gu and Dao 2023): exponential transition, Euler input factor dt.
#pragma once

#include "discretization/exponential.h"

namespace lrnnx {

template <class T>
struct Mamba : Exponential<T> {
  static constexpr InputFactor kInput = InputFactor::step;
  static constexpr bool kTakesStepOptions = true;
  static constexpr bool kTakesB = true;
  static constexpr bool kUsesA = true;

  static LRNNX_HD T input(T, float dt) { return from_real<T>(dt); }
  static LRNNX_HD InputSlopes<T> input_slopes(T, float) { return {from_real<T>(1.0f), from_real<T>(0.0f)}; }
  static LRNNX_HD T weight_gradient(T, T by_transition, T) { return by_transition; }
};

}  // namespace lrnnx
