// The selective scan as a framework runs it: every step of the formula on its own, its result kept in memory. Also the
// simplest text of the operator: what each step computes stands in one place, for the processor and for CUDA.
//
// Steps that are the same for all discretizations are functions without one, or of the type of weights alone: each body
// is a kernel, and takes as long to compile.
#pragma once

#include "discretization/all.h"
#include "naive/memory.h"
#include "naive/parallel.h"
#include "naive/tensors.h"

namespace lrnnx::naive {

// y = 2 Re sum C h of complex states
template <class T>
constexpr float kReadout = sizeof(T) == sizeof(Complex) ? 2.0f : 1.0f;

// The input factor times x, and its conjugate times g.
template <class F, class T = typename F::Weight>
LRNNX_HD T times_input(T omega, float dt, T x) {
  if constexpr (F::kInput == InputFactor::per_state)
    return F::input(omega, dt) * x;
  else
    return F::kInput == InputFactor::step ? x * dt : x;
}
template <class F, class T = typename F::Weight>
LRNNX_HD T times_conj_input(T omega, float dt, T g) {
  if constexpr (F::kInput == InputFactor::per_state)
    return conj(F::input(omega, dt)) * g;
  else
    return F::kInput == InputFactor::step ? g * dt : g;
}

// The gradients of dt and of omega through the input factor, given its own.
template <class F, class T = typename F::Weight>
LRNNX_HD float dt_by_input(T omega, float dt, T dfactor) {
  if constexpr (F::kInput == InputFactor::per_state)
    return real(dfactor * conj(F::input_slopes(omega, dt).by_step));
  else
    return F::kInput == InputFactor::step ? real(dfactor) : 0.0f;
}
template <class F, class T = typename F::Weight>
LRNNX_HD T omega_by_input(T omega, float dt, T dfactor) {
  if constexpr (F::kInput == InputFactor::per_state)
    return dfactor * conj(F::input_slopes(omega, dt).by_omega);
  else
    return from_real<T>(0.0f);
}

// omega: A as the discretization takes it.
template <class F, class Steps, class T = typename F::Weight>
void prepare_weights(Steps& steps, const Shape& shape, const T* A, T* omega) {
  steps.each(shape.each_weight(), [=] LRNNX_BODY(Index, Index, Index d, Index n) {
    const Index i = shape.weight_at(d, n);
    omega[i] = F::prepare(A == nullptr ? from_real<T>(0.0f) : A[i]);
  });
}

// The sums over batches of what is one sum for each batch.
template <class T, class Steps>
void sum_batches_of_states(Steps& steps, const Shape& shape, const T* partial, T* to) {
  steps.each(shape.each_weight(), [=] LRNNX_BODY(Index, Index, Index d, Index n) {
    Sum<T> sum;
    for (Index b = 0; b < shape.batch; ++b) sum.add(partial[shape.state_at(b, d, n)]);
    to[shape.weight_at(d, n)] = sum.value();
  });
}
template <class Steps>
void sum_batches_of_channels(Steps& steps, const Shape& shape, const float* partial, float* to) {
  steps.each(shape.each_channel(), [=] LRNNX_BODY(Index, Index, Index d, Index) {
    Sum<float> sum;
    for (Index b = 0; b < shape.batch; ++b) sum.add(partial[b * shape.dim + d]);
    to[d] = sum.value();
  });
}

// The gradient of B or C: of variable ones the sum of term(b, d, l, n) over the channels of each group, of fixed ones
// that over time, `partial`, and then over batches.
template <class T, class Steps, class Term>
void sum_coefficients(Steps& steps, const Shape& shape, const Coefficients<T>& gradient, T* partial, Term term) {
  if (gradient.variable) {
    steps.each(shape.each_coefficient(), [=] LRNNX_BODY(Index b, Index g, Index l, Index n) {
      const Index width = shape.dim / shape.groups;
      Sum<T> sum;
      for (Index d = g * width; d < (g + 1) * width; ++d) sum.add(term(b, d, l, n));
      gradient.write(b, g, l, n, sum.value());
    });
    return;
  }
  steps.each(shape.each_state(), [=] LRNNX_BODY(Index b, Index, Index d, Index n) {
    Sum<T> sum;
    for (Index l = 0; l < shape.seqlen; ++l) sum.add(term(b, d, l, n));
    partial[shape.state_at(b, d, n)] = sum.value();
  });
  sum_batches_of_states(steps, shape, partial, static_cast<T*>(gradient.data));
}

// The sum of term(b, d, l) over time, `partial`, and then over batches.
template <class Steps, class Term>
void sum_channels(Steps& steps, const Shape& shape, float* to, float* partial, Term term) {
  steps.each(shape.each_channel_of_batch(), [=] LRNNX_BODY(Index, Index b, Index d, Index) {
    Sum<float> sum;
    for (Index l = 0; l < shape.seqlen; ++l) sum.add(term(b, d, l));
    partial[b * shape.dim + d] = sum.value();
  });
  sum_batches_of_channels(steps, shape, partial, to);
}

// --- forward ------------------------------------------------------------------------------------------------------

// dt = softplus(delta + bias)
template <class Steps>
void find_steps(Steps& steps, const Shape& shape, const Sequence& delta, const float* bias, bool through_softplus,
                float* dt) {
  steps.each(shape.each_step(), [=] LRNNX_BODY(Index b, Index d, Index l, Index) {
    const float x = delta.read(b, d, l) + (bias == nullptr ? 0.0f : bias[d]);
    dt[shape.at(b, d, l)] = through_softplus ? softplus(x) : x;
  });
}

// h_t = transition_t h_{t-1} + what enters, in its place.
template <class T, class Steps>
void scan_states(Steps& steps, const Shape& shape, const T* h0, const Kept<T>& kept) {
  steps.each(shape.each_state(), [=] LRNNX_BODY(Index b, Index, Index d, Index n) {
    T h = h0 == nullptr ? from_real<T>(0.0f) : h0[shape.state_at(b, d, n)];
    for (Index l = 0; l < shape.seqlen; ++l) {
      const Index i = shape.at(b, d, l, n);
      h = kept.transition[i] * h + kept.state[i];
      kept.state[i] = h;
    }
  });
}

// y = sum of C h
template <class T, class Steps>
void read_out(Steps& steps, const Shape& shape, const Coefficients<T>& C, const Kept<T>& kept, float* y) {
  steps.each(shape.each_step(), [=] LRNNX_BODY(Index b, Index d, Index l, Index) {
    float sum = 0.0f;
    for (Index n = 0; n < shape.dstate; ++n)
      sum += real(C.read(b, d, shape.group_of(d), l, n) * kept.state[shape.at(b, d, l, n)]);
    y[shape.at(b, d, l)] = kReadout<T> * sum;
  });
}

// y + D u, and that through the gate.
template <class Steps>
void write_outputs(Steps& steps, const Shape& shape, const Sequence& u, const Sequence& z, const float* D, float* y,
                   const Sequence& out, const Sequence& out_z) {
  if (D != nullptr) {
    steps.each(shape.each_step(),
               [=] LRNNX_BODY(Index b, Index d, Index l, Index) { y[shape.at(b, d, l)] += D[d] * u.read(b, d, l); });
  }
  steps.each(shape.each_step(),
             [=] LRNNX_BODY(Index b, Index d, Index l, Index) { out.write(b, d, l, y[shape.at(b, d, l)]); });
  if (z.given()) {
    steps.each(shape.each_step(), [=] LRNNX_BODY(Index b, Index d, Index l, Index) {
      out_z.write(b, d, l, y[shape.at(b, d, l)] * silu(z.read(b, d, l)));
    });
  }
}

template <class T, class Steps>
void write_last_state(Steps& steps, const Shape& shape, const Kept<T>& kept, T* last_state) {
  steps.each(shape.each_state(), [=] LRNNX_BODY(Index b, Index, Index d, Index n) {
    last_state[shape.state_at(b, d, n)] = kept.state[shape.at(b, d, shape.seqlen - 1, n)];
  });
}

template <class F, class Steps>
void forward(Steps& steps, const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_forward_args& args) {
  using T = typename F::Weight;
  const Shape shape(problem);
  const Sequence u(problem, args.u), delta(problem, args.delta), deltaA(problem, args.deltaA), z(problem, args.z),
      out(problem, args.out), out_z(problem, args.out_z);
  const Coefficients<T> B(problem, args.B, LRNNX_VARIABLE_B), C(problem, args.C, LRNNX_VARIABLE_C);
  const float *D = values<float>(args.D), *bias = values<float>(args.delta_bias);
  const T* h0 = values<T>(args.h0);
  T* last_state = values<T>(args.last_state);
  const bool through_softplus = (problem.options & LRNNX_DELTA_SOFTPLUS) != 0;
  Parts workspace(args.workspace), saved(args.saved);
  const ForwardParts<T> part(shape, workspace);
  const Kept<T> kept(shape, args.saved == nullptr ? workspace : saved);

  prepare_weights<F>(steps, shape, values<T>(args.A), part.omega);
  find_steps(steps, shape, delta, bias, through_softplus, part.dt);
  // The transition of every step and state.
  steps.each(shape.each_update(), [=] LRNNX_BODY(Index b, Index d, Index l, Index n) {
    const float dtA = deltaA.given() ? deltaA.read(b, d, l) : part.dt[shape.at(b, d, l)];
    kept.transition[shape.at(b, d, l, n)] = F::transition(part.omega[shape.weight_at(d, n)], dtA);
  });
  // What enters every state: factor u B.
  steps.each(shape.each_update(), [=] LRNNX_BODY(Index b, Index d, Index l, Index n) {
    const T x =
        times_input<F>(part.omega[shape.weight_at(d, n)], part.dt[shape.at(b, d, l)], from_real<T>(u.read(b, d, l)));
    kept.state[shape.at(b, d, l, n)] = x * B.read(b, d, shape.group_of(d), l, n);
  });
  scan_states(steps, shape, h0, kept);
  read_out(steps, shape, C, kept, part.y);
  write_outputs(steps, shape, u, z, D, part.y, out, out_z);
  if (last_state != nullptr) write_last_state(steps, shape, kept, last_state);
}

// --- backward -----------------------------------------------------------------------------------------------------

// dt and its slope by delta
template <class Steps>
void find_steps_and_slopes(Steps& steps, const Shape& shape, const Sequence& delta, const float* bias,
                           bool through_softplus, float* to, float* slope) {
  steps.each(shape.each_step(), [=] LRNNX_BODY(Index b, Index d, Index l, Index) {
    const float x = delta.read(b, d, l) + (bias == nullptr ? 0.0f : bias[d]);
    const ValueAndSlope dt = through_softplus ? softplus_and_sigmoid(x) : ValueAndSlope{x, 1.0f};
    to[shape.at(b, d, l)] = dt.value;
    slope[shape.at(b, d, l)] = dt.slope;
  });
}

// The gate: dy and dz
template <class Steps>
void pass_gate(Steps& steps, const Shape& shape, const Sequence& dout, const Sequence& out, const Sequence& z,
               const Sequence& dz, float* to) {
  steps.each(shape.each_step(), [=] LRNNX_BODY(Index b, Index d, Index l, Index) {
    float dy = dout.read(b, d, l);
    if (z.given()) {
      const ValueAndSlope gate = silu_and_slope(z.read(b, d, l));
      dz.write(b, d, l, dy * out.read(b, d, l) * gate.slope);
      dy = dy * gate.value;
    }
    to[shape.at(b, d, l)] = dy;
  });
}

// What enters the adjoint of every state, conj(C) dy; then g_t = conj(transition_{t+1}) g_{t+1} + that, in its place.
template <class T, class Steps>
void scan_adjoints(Steps& steps, const Shape& shape, const Coefficients<T>& C, const float* dy, const T* dlast_state,
                   const Kept<T>& kept, T* adjoint, T* dh0) {
  steps.each(shape.each_update(), [=] LRNNX_BODY(Index b, Index d, Index l, Index n) {
    adjoint[shape.at(b, d, l, n)] = conj(C.read(b, d, shape.group_of(d), l, n)) * (kReadout<T> * dy[shape.at(b, d, l)]);
  });
  steps.each(shape.each_state(), [=] LRNNX_BODY(Index b, Index, Index d, Index n) {
    T carry = dlast_state == nullptr ? from_real<T>(0.0f) : dlast_state[shape.state_at(b, d, n)];
    for (Index l = shape.seqlen - 1; l >= 0; --l) {
      const Index i = shape.at(b, d, l, n);
      const T g = adjoint[i] + carry;
      adjoint[i] = g;
      carry = conj(kept.transition[i]) * g;
    }
    if (dh0 != nullptr) dh0[shape.state_at(b, d, n)] = carry;
  });
}

// Of the states and dy.
template <class T, class Steps>
void find_dC(Steps& steps, const Shape& shape, const Kept<T>& kept, const float* dy, const Coefficients<T>& dC,
             T* partial) {
  sum_coefficients<T>(steps, shape, dC, partial, [=] LRNNX_BODY(Index b, Index d, Index l, Index n) {
    return conj(kept.state[shape.at(b, d, l, n)]) * (kReadout<T> * dy[shape.at(b, d, l)]);
  });
}

// du, through the input, dx, and through D; dD
template <class Steps>
void find_du(Steps& steps, const Shape& shape, const Sequence& u, const float* D, const float* dx, const float* dy,
             const Sequence& du, float* dD, float* partial) {
  steps.each(shape.each_step(), [=] LRNNX_BODY(Index b, Index d, Index l, Index) {
    const float through_D = D == nullptr ? 0.0f : D[d] * dy[shape.at(b, d, l)];
    du.write(b, d, l, dx[shape.at(b, d, l)] + through_D);
  });
  if (D == nullptr) return;
  sum_channels(steps, shape, dD, partial,
               [=] LRNNX_BODY(Index b, Index d, Index l) { return dy[shape.at(b, d, l)] * u.read(b, d, l); });
}

// The gradient of the input factor.
template <class T, class Steps>
void find_dfactor(Steps& steps, const Shape& shape, const Sequence& u, const Coefficients<T>& B, const T* adjoint,
                  T* dfactor) {
  steps.each(shape.each_update(), [=] LRNNX_BODY(Index b, Index d, Index l, Index n) {
    const Index i = shape.at(b, d, l, n);
    dfactor[i] = adjoint[i] * conj(B.read(b, d, shape.group_of(d), l, n)) * u.read(b, d, l);
  });
}

template <class Steps>
void find_dbias(Steps& steps, const Shape& shape, const float* ddelta, float* dbias, float* partial) {
  sum_channels(steps, shape, dbias, partial,
               [=] LRNNX_BODY(Index b, Index d, Index l) { return ddelta[shape.at(b, d, l)]; });
}

// Complex gradients are those by the real part plus i times those by the imaginary part, so that a product's factor has
// the product's gradient times the conjugate of the other factor.
template <class F, class Steps>
void backward(Steps& steps, const lrnnx_selective_scan_problem& problem,
              const lrnnx_selective_scan_backward_args& args) {
  using T = typename F::Weight;
  const Shape shape(problem);
  const Sequence u(problem, args.u), delta(problem, args.delta), deltaA(problem, args.deltaA), z(problem, args.z),
      out(problem, args.out), dout(problem, args.dout), du(problem, args.du), ddelta(problem, args.ddelta),
      ddeltaA(problem, args.ddeltaA), dz(problem, args.dz);
  const Coefficients<T> B(problem, args.B, LRNNX_VARIABLE_B), C(problem, args.C, LRNNX_VARIABLE_C),
      dB(problem, args.dB, LRNNX_VARIABLE_B), dC(problem, args.dC, LRNNX_VARIABLE_C);
  const float *D = values<float>(args.D), *bias = values<float>(args.delta_bias);
  const T *A = values<T>(args.A), *h0 = values<T>(args.h0), *dlast_state = values<T>(args.dlast_state);
  T *dA = values<T>(args.dA), *dh0 = values<T>(args.dh0);
  const bool through_softplus = (problem.options & LRNNX_DELTA_SOFTPLUS) != 0;
  Parts workspace(args.workspace), saved(const_cast<void*>(args.saved));
  const BackwardParts<T> part(shape, workspace);
  const Kept<T> kept(shape, saved);  // read only

  prepare_weights<F>(steps, shape, A, part.omega);
  find_steps_and_slopes(steps, shape, delta, bias, through_softplus, part.dt, part.dt_slope);
  pass_gate(steps, shape, dout, out, z, dz, part.dy);
  scan_adjoints(steps, shape, C, part.dy, dlast_state, kept, part.adjoint, dh0);
  find_dC(steps, shape, kept, part.dy, dC, part.dC);
  // dB, of the adjoints and factor u
  const auto B_term = [=] LRNNX_BODY(Index b, Index d, Index l, Index n) {
    return times_conj_input<F>(part.omega[shape.weight_at(d, n)], part.dt[shape.at(b, d, l)],
                               part.adjoint[shape.at(b, d, l, n)]) *
           u.read(b, d, l);
  };
  if (F::kTakesB) sum_coefficients<T>(steps, shape, dB, part.dB, B_term);

  // du through the input
  steps.each(shape.each_step(), [=] LRNNX_BODY(Index b, Index d, Index l, Index) {
    float sum = 0.0f;
    for (Index n = 0; n < shape.dstate; ++n) {
      const T g = times_conj_input<F>(part.omega[shape.weight_at(d, n)], part.dt[shape.at(b, d, l)],
                                      part.adjoint[shape.at(b, d, l, n)]);
      sum += real(g * conj(B.read(b, d, shape.group_of(d), l, n)));
    }
    part.dx[shape.at(b, d, l)] = sum;
  });
  find_du(steps, shape, u, D, part.dx, part.dy, du, values<float>(args.dD), part.dD);

  // The gradient of the transition times its slope, short of omega, dtA and kSlopeUnit.
  steps.each(shape.each_update(), [=] LRNNX_BODY(Index b, Index d, Index l, Index n) {
    const Index i = shape.at(b, d, l, n);
    T before = h0 == nullptr ? from_real<T>(0.0f) : h0[shape.state_at(b, d, n)];
    if (l > 0) before = kept.state[shape.at(b, d, l - 1, n)];
    const float dtA = deltaA.given() ? deltaA.read(b, d, l) : part.dt[shape.at(b, d, l)];
    const T slope = F::transition_slope(part.omega[shape.weight_at(d, n)], dtA, kept.transition[i]);
    part.dtransition[i] = part.adjoint[i] * conj(slope) * conj(before);
  });
  find_dfactor(steps, shape, u, B, part.adjoint, part.dfactor);
  // ddelta and ddeltaA
  steps.each(shape.each_step(), [=] LRNNX_BODY(Index b, Index d, Index l, Index) {
    const Index step = shape.at(b, d, l);
    float by_transition = 0.0f, by_input = 0.0f;
    for (Index n = 0; n < shape.dstate; ++n) {
      const T omega = part.omega[shape.weight_at(d, n)];
      by_transition += real(conj(omega) * part.dtransition[shape.at(b, d, l, n)]);
      by_input += dt_by_input<F>(omega, part.dt[step], part.dfactor[shape.at(b, d, l, n)]);
    }
    by_transition *= F::kSlopeUnit;
    if (deltaA.given()) ddeltaA.write(b, d, l, by_transition);
    part.ddelta[step] = (deltaA.given() ? by_input : by_transition + by_input) * part.dt_slope[step];
    ddelta.write(b, d, l, part.ddelta[step]);
  });
  if (bias != nullptr) find_dbias(steps, shape, part.ddelta, values<float>(args.ddelta_bias), part.dbias);
  // dA: over time, then over batches
  if (dA == nullptr) return;
  steps.each(shape.each_state(), [=] LRNNX_BODY(Index b, Index, Index d, Index n) {
    Sum<T> by_transition, by_input;
    for (Index l = 0; l < shape.seqlen; ++l) {
      const float dt = part.dt[shape.at(b, d, l)], dtA = deltaA.given() ? deltaA.read(b, d, l) : dt;
      by_transition.add(part.dtransition[shape.at(b, d, l, n)] * dtA);
      by_input.add(omega_by_input<F>(part.omega[shape.weight_at(d, n)], dt, part.dfactor[shape.at(b, d, l, n)]));
    }
    part.dA[shape.state_at(b, d, n)] = by_transition.value();
    part.dA_input[shape.state_at(b, d, n)] = by_input.value();
  });
  steps.each(shape.each_weight(), [=] LRNNX_BODY(Index, Index, Index d, Index n) {
    Sum<T> by_transition, by_input;
    for (Index b = 0; b < shape.batch; ++b) {
      by_transition.add(part.dA[shape.state_at(b, d, n)]);
      by_input.add(part.dA_input[shape.state_at(b, d, n)]);
    }
    const Index i = shape.weight_at(d, n);
    dA[i] = F::weight_gradient(A[i], by_transition.value(), by_input.value());
  });
}

}  // namespace lrnnx::naive
