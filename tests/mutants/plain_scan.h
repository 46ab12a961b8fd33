// The plain scan and its faults, one text for the processor and for CUDA: steps, each of which computes one element or
// one sum of its result from what the steps before it have left in the workspace.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/half.h"
#include "discretization/functors.h"
#include "tests/mutants/steps.h"

namespace lrnnx::mutants {

template <class T>
constexpr int kParts = sizeof(T) / sizeof(float);

LRNNX_SIDE inline float to_bf16(float x) { return from_bits((bits(x) + 0x8000u) & 0xffff0000u); }

LRNNX_SIDE inline float scale(float s, float x) { return s * x; }
LRNNX_SIDE inline Complex scale(float s, Complex x) { return s * x; }
LRNNX_SIDE inline float divide(float a, float b) { return a / b; }
LRNNX_SIDE inline Complex divide(Complex a, Complex b) { return a * reciprocal_approx(b); }
LRNNX_SIDE inline float exp_of(float x) { return std::exp(x); }
LRNNX_SIDE inline Complex exp_of(Complex x) {
  const float e = std::exp(x.re);
  return {e * std::cos(x.im), e * std::sin(x.im)};
}
LRNNX_SIDE inline float one_less(float x) { return x - 1.0f; }
LRNNX_SIDE inline Complex one_less(Complex x) { return {x.re - 1.0f, x.im}; }
LRNNX_SIDE inline bool is_zero(float x) { return x == 0; }
LRNNX_SIDE inline bool is_zero(Complex x) { return x.re == 0 && x.im == 0; }

// What the steps leave to those after them; of no workspace, to count its bytes.
template <class T>
struct Workspace {
  T *omega, *transition, *state, *adjoint;  // (D, N), (B, D, L, N), (B, D, L + 1, N), (B, D, L, N)
  float *unset, *dy, *ddt;                  // none of it is written; (B, D, L)
  int64_t bytes = 0;

  Workspace(const lrnnx_selective_scan_problem& p, lrnnx_direction direction, void* memory) {
    const auto take = [&]<class Number>(Number*& part, Index count) {
      part = memory ? reinterpret_cast<Number*>(static_cast<char*>(memory) + bytes) : nullptr;
      bytes += (count * static_cast<Index>(sizeof(Number)) + 255) / 256 * 256;
    };
    const bool goes_back = direction == LRNNX_BACKWARD;
    const Index steps = p.batch * p.dim * p.seqlen;
    take(unset, 64);
    take(omega, p.dim * p.dstate);
    take(transition, steps * p.dstate);
    take(state, (steps + p.batch * p.dim) * p.dstate);
    take(adjoint, goes_back ? steps * p.dstate : 0);
    take(dy, goes_back ? steps : 0);
    take(ddt, goes_back ? steps : 0);
  }
};

template <class D>
struct Scan {
  using T = typename D::Weight;

  Scan(const Planted& planted, const lrnnx_selective_scan_problem& problem,
       const lrnnx_selective_scan_forward_args& args)
      : Scan(planted, problem, LRNNX_FORWARD, args) {
    out_ = args.out;
  }
  Scan(const Planted& planted, const lrnnx_selective_scan_problem& problem,
       const lrnnx_selective_scan_backward_args& args)
      : Scan(planted, problem, LRNNX_BACKWARD, args) {
    out_ = args.out;
    dout_ = args.dout;
  }

  template <class Steps>
  void forward(Steps& steps, const lrnnx_selective_scan_forward_args& args) const {
    recur(steps);
    steps.template sum<1>(
        rows() * p_.seqlen, p_.dstate,
        [*this] LRNNX_SIDE(Sums<1> & y, Index i, Index n) {
          const auto [b, d, t] = step_at(i);
          if (has(Bug::odd_state_dropped) && p_.dstate > 1 && n >= p_.dstate / 2 * 2) return;
          y.add(0, readout_factor() * real(C(b, d, t, n) * state(b, d, t + 1, n)));
        },
        [*this, out_z = args.out_z] LRNNX_SIDE(Index i, const Sums<1>& y) {
          const auto [b, d, t] = step_at(i);
          float out = value<float>(y);
          if (skip_ && !has(Bug::D_skipped)) out += skip_[d] * u(b, d, t);
          if (has(Bug::nan_sideways) && d > 0) out += 0.0f * u(b, d - 1, t);
          if (has(Bug::nan_from_future) && t + 1 < p_.seqlen) out += 0.0f * u(b, d, t + 1);
          if (has(Bug::workspace_assumed_zero)) out += w_.unset[0];
          write(out_, b, d, t, out);
          if (!z_.data || has(Bug::output_untouched)) return;
          const float gate = silu(z(b, d, t));
          if (has(Bug::gated_after_rounding)) out = rounded(out);
          put(out_z, at(out_z, b, d, t), out * (has(Bug::gate_twice) ? gate * gate : gate));
        });
    if (T* const last_state = static_cast<T*>(args.last_state.data))
      steps.each(rows() * p_.dstate, [*this, last_state] LRNNX_SIDE(Index i) {
        const auto [b, d, n] = state_at(i);
        last_state[i] = state(b, d, p_.seqlen - (has(Bug::last_state_early) ? 1 : 0), n);
      });
    finish(steps, args.out);
  }

  template <class Steps>
  void backward(Steps& steps, const lrnnx_selective_scan_backward_args& args) const {
    recur(steps);
    // The gate
    steps.each(rows() * p_.seqlen, [*this, dz = args.dz] LRNNX_SIDE(Index i) {
      const auto [b, d, t] = step_at(i);
      const float dout = get(dout_, at(dout_, b, d, t));
      w_.dy[i] = dout;
      if (!z_.data) return;
      const ValueAndSlope gate = silu_and_slope(z(b, d, t));
      float out = get(out_, at(out_, b, d, t));
      if (has(Bug::dz_of_out_z)) out *= gate.value;
      put(dz, at(dz, b, d, t), dout * out * (has(Bug::silu_slope) ? sigmoid(z(b, d, t)) : gate.slope));
      w_.dy[i] = dout * gate.value;
    });
    // The adjoint of every state
    steps.each(rows() * p_.dstate, [*this, dlast_state = static_cast<const T*>(args.dlast_state.data),
                                    dh0 = static_cast<T*>(args.dh0.data)] LRNNX_SIDE(Index i) {
      const auto [b, d, n] = state_at(i);
      T g = dlast_state && !has(Bug::dlast_state_ignored) ? dlast_state[i] : from_real<T>(0);
      for (Index t = p_.seqlen - 1; t >= 0; --t) {
        g += scale(dreadout(b, d, t), conj(C(b, d, t, n)));
        adjoint(b, d, t, n) = g;
        if (t == 0 && has(Bug::dh0_transition)) break;
        const T a = transition(b, d, has(Bug::adjoint_transition) && t > 0 ? t - 1 : t, n);
        g = g * (has(Bug::conj_missing_adjoint) ? a : conj(a));
      }
      if (dh0) dh0[i] = g;
    });
    // du, ddelta and ddeltaA
    steps.template sum<3>(
        rows() * p_.seqlen, p_.dstate,
        [*this] LRNNX_SIDE(Sums<3> & sums, Index i, Index n) {
          const auto [b, d, t] = step_at(i);
          const float step = input_step(b, d, t);
          const T gB = adjoint(b, d, t, n) * conj(B(b, d, t, n));
          sums.add(0, real(gB * conj(input(d, n, step))));
          sums.add(1, u(b, d, t) * real(gB * conj(input_slopes(d, n, step).by_step)));
          sums.add(2, D::kSlopeUnit * real(through_transition(b, d, t, n) * conj(omega(d, n))));
        },
        [*this, args_du = args.du, args_ddelta = args.ddelta, args_ddeltaA = args.ddeltaA] LRNNX_SIDE(
            Index i, const Sums<3>& sums) {
          const auto [b, d, t] = step_at(i);
          float du = value<float>(sums, 0), ddt = value<float>(sums, 1), ddtA = value<float>(sums, 2);
          if (skip_ && !has(Bug::du_without_D)) du += skip_[d] * w_.dy[i];
          if (has(Bug::workspace_assumed_zero)) du += w_.unset[0];
          if (has(Bug::nan_sideways) && d > 0) du += 0.0f * u(b, d - 1, t);
          if (has(Bug::nan_from_future) && t > 0) du += 0.0f * get(dout_, at(dout_, b, d, t - 1));
          write(args_du, b, d, t, du);
          if (deltaA_.data)
            put(args_ddeltaA, at(args_ddeltaA, b, d, t), has(Bug::ddeltaA_is_ddelta) ? ddt : ddtA);
          else
            ddt += ddtA;
          if (option(LRNNX_DELTA_SOFTPLUS) && !has(Bug::softplus_slope)) ddt *= sigmoid(biased(b, d, t));
          put(args_ddelta, at(args_ddelta, b, d, t), ddt);
          w_.ddt[i] = ddt;
        });
    if (T* const dA = static_cast<T*>(args.dA.data))
      steps.template sum<2 * kParts<T>>(
          p_.dim * p_.dstate, p_.batch * p_.seqlen,
          [*this] LRNNX_SIDE(Sums<2 * kParts<T>> & sums, Index i, Index j) {
            const Index b = j / p_.seqlen, t = j % p_.seqlen, d = i / p_.dstate, n = i % p_.dstate;
            if (has(Bug::dA_last_batch_only) && b + 1 < p_.batch) return;
            const T slope = input_slopes(d, n, input_step(b, d, t)).by_omega;
            sums.add(0, scale(dtA(b, d, t), through_transition(b, d, t, n)));
            sums.add(kParts<T>, scale(u(b, d, t), adjoint(b, d, t, n) * conj(B(b, d, t, n)) * conj(slope)));
          },
          [*this, dA] LRNNX_SIDE(Index i, const Sums<2 * kParts<T>>& sums) {
            const T gradient = D::weight_gradient(A_[i], value<T>(sums), value<T>(sums, kParts<T>));
            dA[i] = scale(has(Bug::dA_scaled) ? 0.999f : 1.0f, gradient);
          });
    if (D::kTakesB)
      sum_coefficients(steps, args.dB, variable_B(), has(Bug::dB_wrong_group) ? 1 : 0,
                       [*this] LRNNX_SIDE(Sums<kParts<T>> & sums, Index b, Index d, Index t, Index n) {
                         const T gamma = input(d, n, input_step(b, d, t));
                         sums.add(0, scale(u(b, d, t), adjoint(b, d, t, n) * conj(gamma)));
                         if (has(Bug::dB_in_16_bits) && variable_B()) sums.at[0] = rounded(value<float>(sums));
                       });
    if (!has(Bug::output_untouched))
      sum_coefficients(steps, args.dC, variable_C(), 0,
                       [*this] LRNNX_SIDE(Sums<kParts<T>> & sums, Index b, Index d, Index t, Index n) {
                         if (has(Bug::dC_last_step) && t == p_.seqlen - 1) return;
                         if (has(Bug::race) && planted_.launches % 3 == 2 && d == 0 && t == 0 && n == 0) return;
                         const T h = state(b, d, t + 1, n);
                         sums.add(0, scale(dreadout(b, d, t), has(Bug::conj_missing_dC) ? h : conj(h)));
                       });
    sum_channels(
        steps, static_cast<float*>(args.dD.data), [*this] LRNNX_SIDE(Sums<1> & sums, Index b, Index d, Index t) {
          const float dy = has(Bug::dD_after_gate) ? get(dout_, at(dout_, b, d, t)) : w_.dy[number_of(b, d, t)];
          sums.add(0, dy * u(b, d, t));
        });
    sum_channels(steps, static_cast<float*>(args.ddelta_bias.data),
                 [*this] LRNNX_SIDE(Sums<1> & sums, Index b, Index d, Index t) {
                   if (has(Bug::ddelta_bias_batch) && b > 0) return;
                   const float ddt = w_.ddt[number_of(b, d, t)];
                   sums.add(0, has(Bug::ddelta_bias_of_rounded) ? rounded(ddt) : ddt);
                 });
    finish(steps, args.du);
  }

  // omega, the transitions and the states of every step
  template <class Steps>
  void recur(Steps& steps) const {
    steps.each(p_.dim * p_.dstate,
               [*this] LRNNX_SIDE(Index i) { w_.omega[i] = D::prepare(A(i / p_.dstate, i % p_.dstate)); });
    // On the processor chunks follow each other, whatever is planted.
    const Index length = has(Bug::cuda_chunks_unordered) ? 128 : p_.seqlen;
    const Index chunks = (p_.seqlen + length - 1) / length;
    steps.each(rows() * p_.dstate * chunks, [*this, length, chunks] LRNNX_SIDE(Index i) {
      const auto [b, d, n] = state_at(i / chunks);
      const Index first = i % chunks * length, last = first + length < p_.seqlen ? first + length : p_.seqlen;
      if (first == 0) state(b, d, 0, n) = h0_ && !has(Bug::h0_ignored) ? h0_[i / chunks] : from_real<T>(0);
      T previous_a = from_real<T>(1), previous_x = from_real<T>(0);
      for (Index t = first; t < last; ++t) {
        const T a = transition_of(omega(d, n), dtA(b, d, t));
        const T x = scale(u(b, d, t), input(d, n, input_step(b, d, t)) * B(b, d, t, n));
        T h = state(b, d, t, n);
        if (has(Bug::carry_reset) && t == 128) h = from_real<T>(0);
        if (has(Bug::operands_swapped) && t % 4 == 1)  // (a1, x1) after (a2, x2): x1 + a1 x2
          h = a * previous_a * state(b, d, t - 1, n) + (previous_a * x + previous_x);
        else
          h = a * h + x;
        if constexpr (kParts<T> == 1)
          if (has(Bug::state_in_16_bits)) h = rounded(h);
        state(b, d, t + 1, n) = h;
        transition(b, d, t, n) = a;
        previous_a = a;
        previous_x = x;
      }
    });
  }

  // The gradient of B or C, to which add(sums, b, d, t, n) adds one step's part: a variable one is summed over the
  // channels of a group (and not of another), a fixed one over batches and time.
  template <class Steps, class Add>
  void sum_coefficients(Steps& steps, const lrnnx_tensor& to, bool variable, Index groups_off, Add add) const {
    const Index width = p_.dim / p_.groups;
    steps.template sum<kParts<T>>(
        variable ? p_.batch * p_.groups * p_.dstate * p_.seqlen : p_.dim * p_.dstate,
        variable ? width : p_.batch * p_.seqlen,
        [*this, variable, groups_off, width, add] LRNNX_SIDE(Sums<kParts<T>> & sums, Index i, Index j) {
          if (!variable) return add(sums, j / p_.seqlen, i / p_.dstate, j % p_.seqlen, i % p_.dstate);
          const Index n = i / p_.seqlen % p_.dstate, own = i / p_.seqlen / p_.dstate;
          const Index group = (own % p_.groups + groups_off) % p_.groups;
          add(sums, own / p_.groups, group * width + j, i % p_.seqlen, n);
        },
        [*this, variable, to] LRNNX_SIDE(Index i, const Sums<kParts<T>>& sums) {
          if (halves_ && variable)
            put(to, i, value<float>(sums));
          else
            static_cast<T*>(to.data)[i] = value<T>(sums);
        });
  }

  // A gradient of one number a channel, if it is asked for, over batches and time.
  template <class Steps, class Add>
  void sum_channels(Steps& steps, float* to, Add add) const {
    if (!to) return;
    steps.template sum<1>(
        p_.dim, p_.batch * p_.seqlen,
        [*this, add] LRNNX_SIDE(Sums<1> & sums, Index d, Index j) { add(sums, j / p_.seqlen, d, j % p_.seqlen); },
        [to] LRNNX_SIDE(Index d, const Sums<1>& sums) { to[d] = value<float>(sums); });
  }

  template <class Steps>
  void finish(Steps& steps, const lrnnx_tensor& output) const {
    steps.each(1, [*this, output] LRNNX_SIDE(Index) {
      if (has(Bug::one_past_the_end)) put(output, output.size, 0);
      if (has(Bug::input_overwritten)) put(u_, 0, get(u_, 0) + 1);
      if (has(Bug::race) && planted_.launches % 3 == 2) put(output, 0, get(output, 0) * (1 + 0x1p-20f));
      if (has(Bug::eleventh_launch) && planted_.launches_there > 10) put(output, 0, get(output, 0) + 1);
    });
  }

  LRNNX_HD bool has(Bug bug) const { return planted_.bug == bug; }
  LRNNX_HD bool option(uint32_t bit) const { return p_.options & bit; }
  LRNNX_HD bool variable_B() const { return option(LRNNX_VARIABLE_B); }
  LRNNX_HD bool variable_C() const { return option(LRNNX_VARIABLE_C); }
  LRNNX_HD Index rows() const { return p_.batch * p_.dim; }

  // A channel of a batch, and which of its steps or states: of number i of (B, D, L) or (B, D, N).
  struct Place {
    Index b, d, last;
  };
  LRNNX_SIDE Place place(Index i, Index length) const { return {i / length / p_.dim, i / length % p_.dim, i % length}; }
  LRNNX_SIDE Place step_at(Index i) const { return place(i, p_.seqlen); }
  LRNNX_SIDE Place state_at(Index i) const { return place(i, p_.dstate); }

  LRNNX_SIDE Index row(Index b, Index d) const { return b * p_.dim + d; }
  LRNNX_SIDE Index number_of(Index b, Index d, Index t) const { return row(b, d) * p_.seqlen + t; }
  LRNNX_SIDE T& transition(Index b, Index d, Index t, Index n) const {
    return w_.transition[number_of(b, d, t) * p_.dstate + n];
  }
  LRNNX_SIDE T& adjoint(Index b, Index d, Index t, Index n) const {
    return w_.adjoint[number_of(b, d, t) * p_.dstate + n];
  }
  // Before step t.
  LRNNX_SIDE T& state(Index b, Index d, Index t, Index n) const {
    return w_.state[(row(b, d) * (p_.seqlen + 1) + t) * p_.dstate + n];
  }
  LRNNX_SIDE T omega(Index d, Index n) const { return w_.omega[d * p_.dstate + n]; }

  // Where in a (B, D, L) tensor an element lies, and a number of a tensor with a time axis.
  LRNNX_SIDE static Index at(const lrnnx_tensor& tensor, Index b, Index d, Index t) {
    return b * tensor.stride_batch + d * tensor.stride_dim + t;
  }
  LRNNX_SIDE float get(const lrnnx_tensor& tensor, Index i) const {
    if (!halves_) return static_cast<const float*>(tensor.data)[i];
    float x;
    widen(p_.dtype, static_cast<const uint16_t*>(tensor.data) + i, 1, &x);
    return x;
  }
  LRNNX_SIDE void put(const lrnnx_tensor& tensor, Index i, float x) const {
    if (!halves_) {
      static_cast<float*>(tensor.data)[i] = x;
      return;
    }
    constexpr float kLargest = 65504;
    if (has(Bug::f16_saturates) && p_.dtype == LRNNX_F16 && std::abs(x) > kLargest) x = x < 0 ? -kLargest : kLargest;
    narrow(p_.dtype, &x, 1, static_cast<uint16_t*>(tensor.data) + i);
  }
  LRNNX_SIDE float rounded(float x) const {
    if (!halves_) return x;
    uint16_t stored;
    narrow(p_.dtype, &x, 1, &stored);
    widen(p_.dtype, &stored, 1, &x);
    return x;
  }
  // Of normal numbers: without the bits that do not fit.
  LRNNX_SIDE float truncated(float x) const {
    const uint32_t rest = p_.dtype == LRNNX_BF16 ? 0xffffu : 0x1fffu;
    return halves_ ? from_bits(bits(x) & ~rest) : x;
  }
  LRNNX_SIDE Complex truncated(Complex a) const { return a; }  // 16-bit types are of real weights
  LRNNX_SIDE float ties_up(float x) const {
    const float kept = truncated(x), halfway = std::abs(x - kept);
    return halfway > 0 && truncated(x + (x - kept)) == x + (x - kept) ? x + (x - kept) : x;
  }
  // Into the first output, which the faults of memory and order concern.
  LRNNX_SIDE void write(const lrnnx_tensor& tensor, Index b, Index d, Index t, float value) const {
    const bool last = b == p_.batch - 1 && d == p_.dim - 1 && t == p_.seqlen - 1;
    if (has(Bug::last_element_unwritten) && last) return;
    if (has(Bug::last_batch_zeroed) && b == p_.batch - 1) value = 0;
    if (has(Bug::out_bf16)) value = to_bf16(value);
    if (has(Bug::out_truncated)) value = truncated(value);
    if (has(Bug::out_ties_up)) value = ties_up(value);
    if (has(Bug::f16_flushes) && p_.dtype == LRNNX_F16 && std::abs(value) < 0x1p-14f) value = 0;
    put(tensor, at(tensor, b, d, t), value);
    if (has(Bug::whole_vectors) && t == p_.seqlen - 1)
      for (++t; t % 4 != 0; ++t) put(tensor, at(tensor, b, d, t), 0);
  }

  LRNNX_SIDE float u(Index b, Index d, Index t) const {
    if (has(Bug::tail_repeated) && t == p_.seqlen - 1 && t > 0) --t;
    const float u = get(u_, at(u_, b, d, t));
    return has(Bug::u_bf16) ? to_bf16(u) : u;
  }
  LRNNX_SIDE float z(Index b, Index d, Index t) const {
    return get(z_, at(z_, has(Bug::gate_of_first_batch) ? 0 : b, d, t));
  }

  // The step before softplus, and after it.
  LRNNX_SIDE float biased(Index b, Index d, Index t) const {
    float x = get(delta_, at(delta_, b, d, t));
    if (has(Bug::nan_swallowed) && std::isnan(x)) x = 0;
    return bias_ && !has(Bug::bias_after_softplus) ? x + bias_[d] : x;
  }
  LRNNX_SIDE float dt(Index b, Index d, Index t) const {
    float x = biased(b, d, t);
    if (option(LRNNX_DELTA_SOFTPLUS) && !(has(Bug::softplus_cut_early) && x > 8)) x = softplus(x);
    if (bias_ && has(Bug::bias_after_softplus)) x += bias_[d];
    return has(Bug::dt_in_16_bits) ? rounded(x) : x;
  }
  LRNNX_SIDE float dtA(Index b, Index d, Index t) const {
    if (!deltaA_.data) return dt(b, d, t);
    const Index i = at(has(Bug::deltaA_strides) ? delta_ : deltaA_, b, d, t);
    return get(deltaA_, i < deltaA_.size ? i : deltaA_.size - 1);  // what lies behind may end a CUDA program
  }
  LRNNX_SIDE float input_step(Index b, Index d, Index t) const {
    return has(Bug::deltaA_for_input) ? dtA(b, d, t) : dt(b, d, t);
  }

  LRNNX_SIDE T A(Index d, Index n) const {
    const T a = D::kUsesA ? A_[d * p_.dstate + n] : from_real<T>(1);
    return has(Bug::A_truncated) ? truncated(a) : a;
  }
  LRNNX_SIDE T B(Index b, Index d, Index t, Index n) const {
    return D::kTakesB ? coefficient(B_, variable_B(), b, d, t, n) : from_real<T>(1);
  }
  LRNNX_SIDE T C(Index b, Index d, Index t, Index n) const { return coefficient(C_, variable_C(), b, d, t, n); }
  LRNNX_SIDE T coefficient(const lrnnx_tensor& tensor, bool variable, Index b, Index d, Index t, Index n) const {
    if (!variable) return static_cast<const T*>(tensor.data)[d * p_.dstate + n];
    const Index i = ((b * p_.groups + group_of(d)) * p_.dstate + n) * p_.seqlen + t;
    return halves_ ? from_real<T>(get(tensor, i)) : static_cast<const T*>(tensor.data)[i];
  }
  LRNNX_SIDE Index group_of(Index d) const {
    const Index group = d / (p_.dim / p_.groups);
    if (has(Bug::group_doubled)) return 2 * group % p_.groups;
    if (has(Bug::last_channel_group) && d == p_.dim - 1) return 0;
    return group;
  }

  static constexpr bool kIsZoh = D::kInput == InputFactor::per_state && D::kSlopeUnit != 2.0f && D::kTakesB;

  LRNNX_SIDE T transition_of(T omega, float dtA) const {
    const T a = D::transition(omega, dtA);
    if (has(Bug::transition_off)) return scale(0.9999f, a);
    if (has(Bug::exp_inaccurate)) return scale(1.0f + 0x1p-20f, a);
    return a;
  }
  LRNNX_SIDE T input(Index d, Index n, float dt) const {
    if (kIsZoh && has(Bug::phi_cancels) && !is_zero(A(d, n)))
      return divide(one_less(exp_of(scale(dt, A(d, n)))), A(d, n));
    const T gamma = D::input(omega(d, n), dt);
    return has(Bug::phi_off) ? scale(1.0001f, gamma) : gamma;
  }
  LRNNX_SIDE InputSlopes<T> input_slopes(Index d, Index n, float dt) const {
    InputSlopes<T> slopes = D::input_slopes(omega(d, n), dt);
    if (has(Bug::input_slope_dropped)) slopes.by_step = from_real<T>(0);
    // A is omega ln 2, or omega 2 pi.
    if (kIsZoh && has(Bug::input_weight_slope_cancels) && !is_zero(A(d, n))) {
      const T rest = scale(dt, exp_of(scale(dt, A(d, n)))) + scale(-1.0f, D::input(omega(d, n), dt));
      slopes.by_omega = scale(D::kSlopeUnit, divide(rest, A(d, n)));
    }
    return slopes;
  }

  LRNNX_SIDE float readout_factor() const { return kParts<T> == 1 || has(Bug::readout_not_doubled) ? 1.0f : 2.0f; }
  LRNNX_SIDE float dreadout(Index b, Index d, Index t) const { return readout_factor() * w_.dy[number_of(b, d, t)]; }

  // The gradient of what the transition is a function of, short of kSlopeUnit.
  LRNNX_SIDE T through_transition(Index b, Index d, Index t, Index n) const {
    const T a = transition(b, d, t, n), h = state(b, d, t + 1, n);
    T previous = state(b, d, t, n);
    if (has(Bug::state_for_previous)) previous = h;
    if (has(Bug::divides_by_transition)) {
      const T entered = input(d, n, input_step(b, d, t)) * B(b, d, t, n);
      previous = divide(h + scale(-u(b, d, t), entered), a);
    }
    return adjoint(b, d, t, n) * conj(previous) * conj(D::transition_slope(omega(d, n), dtA(b, d, t), a));
  }

 private:
  template <class Args>
  Scan(const Planted& planted, const lrnnx_selective_scan_problem& problem, lrnnx_direction direction, const Args& args)
      : planted_(planted),
        p_(problem),
        u_(args.u),
        delta_(args.delta),
        z_(args.z),
        deltaA_(args.deltaA),
        B_(args.B),
        C_(args.C),
        A_(static_cast<const T*>(args.A.data)),
        h0_(static_cast<const T*>(args.h0.data)),
        skip_(static_cast<const float*>(args.D.data)),
        bias_(static_cast<const float*>(args.delta_bias.data)),
        w_(problem, direction, args.workspace),
        halves_(is_half(problem.dtype)) {}

  Planted planted_;
  lrnnx_selective_scan_problem p_;
  lrnnx_tensor u_, delta_, z_, deltaA_, B_, C_;
  lrnnx_tensor out_{}, dout_{};
  const T *A_, *h0_;
  const float *skip_, *bias_;
  Workspace<T> w_;
  bool halves_;  // whether what has a time axis is stored in 16 bits
};

}  // namespace lrnnx::mutants
