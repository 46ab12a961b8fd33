// What every discretization is to the kernels: how a weight A and a step dt become the transition and the input factor
// of h_t = transition(dtA, A) h_{t-1} + input(dt, A) B_t u_t.
//
// A functor D = Mamba<T>, Zoh<T>, ... with T = float or Complex has these static members. omega is A scaled once for
// each (channel, state) by a real constant (rglru: log2(A); s7, which has no A: 1).
//
//   using Weight = T
//   bool kTakesStepOptions, kTakesB, kUsesA      whether delta_bias, softplus and deltaA are allowed, B and A read
//   bool kStepsAdd                               transition(a) transition(b) = transition(a + b)
//   float kNeutralStep                           the step at which transition = 1
//   InputFactor kInput                           what the input factor depends on
//   T prepare(T A)                               omega
//   T transition(T omega, float dtA)
//   T transition_slope(T omega, float dtA, T transition)
//                                                d transition = kSlopeUnit * slope * (omega * d dtA + dtA * d omega)
//   T input(T omega, float dt)                   float where kInput is not per_state
//   InputSlopes<T> input_slopes(T omega, float dt)
//                                                the derivatives of input by dt and by omega
//   T weight_gradient(T A, T by_transition, T by_input)
//                                                the gradient of A from the gradients of omega: that through the
//                                                transition, summed without kSlopeUnit, and that through the input
//                                                factor
//   JointUpdate                                  if there is a cheaper form of both with one step: see update.h
//
// Slopes are plain complex derivatives f'. A complex gradient follows PyTorch, dx = dy * conj(f'): the conjugation is
// the caller's, and weight_gradient needs none because omega / A is real.
#pragma once

#include "common/complex.h"
#include "common/host_device.h"
#include "common/math.h"

namespace lrnnx {

enum class InputFactor {
  step,      // dt, whatever the state
  one,       // 1
  per_state  // a function of dt and A
};

template <class T>
struct InputSlopes {
  T by_step, by_omega;
};

}  // namespace lrnnx
