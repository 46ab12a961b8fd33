// One step of one state, forward and back: h' = transition h + factor B x.
//
// An update U of the number type T, for kernels that are bound by instructions, has
//   InputFactor U::kInput           what x is: step: kInputUnit dt u; one or per_state: u
//   float U::kInputUnit, U::kStepUnit, U::kOmegaUnit
//   U::Constant U::constant(T& omega)  what a state needs beside omega, which it may adjust
//   U(omega, constant, dtA, dt)     dtA: the step of the transition, dt: that of the input; the same if kOneStep
//   T advance(T h, float x, T B)    h'
//   float U::aside(float dt, float u)                      what of a step is worth computing once for all states
//   U(omega, constant, dtA, dt, aside), T advance<true>(T h, float x, T B), and then
//   Adjoints<T> reverse(T g, T h, float x, T B)            given the adjoint g of h'
//   bool U::kWholeStep              the step that reverse() gives has that of dt in x too, else the caller adds it
//   U::Rebuild(omega, constant, dtA, dt)                   advance() where errors add up over a few steps only
#pragma once

#include <type_traits>

#include "common/complex.h"
#include "discretization/discretization.h"

namespace lrnnx {

template <class T>
struct Adjoints {
  T state;       // of h
  T input;       // of B x
  T step, by;    // the gradient of dtA is kStepUnit times the sum over states of Re(conj(by) step)
  T input_step;  // that of dt, of an update with two steps; else it is part of `step`
  T omega;       // the gradient of A is kOmegaUnit times the sum over time
};

// For any discretization, from its transition and its input factor.
template <class F>
struct SeparateUpdate {
  using T = typename F::Weight;
  static constexpr bool kOneStep = F::kInput != InputFactor::per_state, kWholeStep = false;
  static constexpr InputFactor kInput = F::kInput;
  static constexpr float kInputUnit = 1.0f, kStepUnit = F::kSlopeUnit, kOmegaUnit = 1.0f;

  using Rebuild = SeparateUpdate;

  struct Constant {};
  static LRNNX_HD Constant constant(T&) { return {}; }
  static LRNNX_HD float aside(float, float u) { return u; }

  LRNNX_HD SeparateUpdate(T omega, Constant, float dtA, float dt, float = 0.0f)
      : omega(omega), dtA(dtA), dt(dt), transition(F::transition(omega, dtA)) {
    if constexpr (kInput == InputFactor::per_state) factor = F::input(omega, dt);
  }

  template <bool kReverses = false>
  LRNNX_HD T advance(T h, float x, T B) {
    T Bx = x * B;
    if constexpr (kInput == InputFactor::per_state) Bx = Bx * factor;
    return multiply_add(transition, h, Bx);
  }

  LRNNX_HD Adjoints<T> reverse(T g, T h, float x, T B) const {
    Adjoints<T> to;
    to.state = g * conj(transition);
    to.input = g;
    to.step = g * conj(F::transition_slope(omega, dtA, transition)) * conj(h);
    to.by = omega;
    to.input_step = from_real<T>(0.0f);
    to.omega = to.step * dtA;
    if constexpr (kInput == InputFactor::per_state) {
      const InputSlopes<T> slopes = F::input_slopes(omega, dt);
      const T by_factor = g * conj(x * B) * (1.0f / F::kSlopeUnit);
      to.input = g * conj(factor);
      to.input_step = by_factor * conj(slopes.by_step);
      to.omega = multiply_add(by_factor, conj(slopes.by_omega), to.omega);
    }
    return to;
  }

  T omega;
  float dtA, dt;
  T transition, factor;
};

template <class F, class = void>
struct JointUpdateOf {
  using type = SeparateUpdate<F>;
};
template <class F>
struct JointUpdateOf<F, std::void_t<typename F::JointUpdate>> {
  using type = typename F::JointUpdate;
};

// The update where the transition and the input factor have one step: F::JointUpdate if there is one.
template <class F>
using JointUpdate = typename JointUpdateOf<F>::type;

}  // namespace lrnnx
