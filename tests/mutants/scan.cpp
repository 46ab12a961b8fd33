// The plain scan and its faults.
#include "tests/mutants/scan.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>
#include <cstdint>
#include <vector>

#include "common/half.h"
#include "discretization/all.h"

namespace lrnnx::mutants {
namespace {

Bug planted = Bug::none;
bool has(Bug bug) { return planted == bug; }

// Launches in a row on the same buffers, and launches at all.
const void* launched_on = nullptr;
int64_t launches_there = 0, launches = 0;

float to_bf16(float x) { return std::bit_cast<float>((std::bit_cast<uint32_t>(x) + 0x8000u) & 0xffff0000u); }

template <class T>
constexpr int64_t kParts = sizeof(T) / sizeof(float);

// Sums over time and batch, in double.
template <class T>
struct Wide {
  double re = 0, im = 0;
  void add(float x) { re += x; }
  void add(Complex x) {
    re += x.re;
    im += x.im;
  }
  T get() const {
    if constexpr (kParts<T> == 1)
      return static_cast<float>(re);
    else
      return {static_cast<float>(re), static_cast<float>(im)};
  }
};

float scale(float s, float x) { return s * x; }
Complex scale(float s, Complex x) { return s * x; }
float divide(float a, float b) { return a / b; }
Complex divide(Complex a, Complex b) { return a * reciprocal_approx(b); }
float exp_of(float x) { return std::exp(x); }
Complex exp_of(Complex x) {
  const float e = std::exp(x.re);
  return {e * std::cos(x.im), e * std::sin(x.im)};
}
float one_less(float x) { return x - 1.0f; }
Complex one_less(Complex x) { return {x.re - 1.0f, x.im}; }
bool is_zero(float x) { return x == 0; }
bool is_zero(Complex x) { return x.re == 0 && x.im == 0; }

template <class D, class T>
class Scan {
 public:
  template <class Args>
  Scan(const lrnnx_selective_scan_problem& problem, const Args& args)
      : p_(problem),
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
        workspace_(static_cast<const float*>(args.workspace)),
        halves_(is_half(problem.dtype)) {
    for (int64_t i = 0; i < p_.dim * p_.dstate; ++i) omegas_.push_back(D::prepare(A(i / p_.dstate, i % p_.dstate)));
  }

  void forward(const lrnnx_selective_scan_forward_args& args) {
    for (int64_t b = 0; b < p_.batch; ++b)
      for (int64_t d = 0; d < p_.dim; ++d) {
        run(b, d);
        for (int64_t t = 0; t < p_.seqlen; ++t) {
          float out = readout(b, d, t);
          if (skip_ && !has(Bug::D_skipped)) out += skip_[d] * u(b, d, t);
          if (has(Bug::nan_sideways) && d > 0) out += 0.0f * u(b, d - 1, t);
          if (has(Bug::nan_from_future) && t + 1 < p_.seqlen) out += 0.0f * u(b, d, t + 1);
          if (has(Bug::workspace_assumed_zero)) out += workspace_[0];
          write(args.out, b, d, t, out);
          if (!z_.data || has(Bug::output_untouched)) continue;
          const float gate = silu(z(b, d, t));
          if (has(Bug::gated_after_rounding)) out = rounded(out);
          put(args.out_z, at(args.out_z, b, d, t), out * (has(Bug::gate_twice) ? gate * gate : gate));
        }
        if (args.last_state.data)
          for (int64_t n = 0; n < p_.dstate; ++n)
            static_cast<T*>(args.last_state.data)[(b * p_.dim + d) * p_.dstate + n] =
                state(p_.seqlen - (has(Bug::last_state_early) ? 1 : 0), n);
      }
    finish(args.out);
  }

  void backward(const lrnnx_selective_scan_backward_args& args) {
    const int64_t N = p_.dstate;
    const int64_t matrix = p_.batch * p_.groups * N * p_.seqlen, fixed = p_.dim * N;
    std::vector<Wide<T>> dA(fixed), dA_input(fixed), dB(variable_B() ? matrix : fixed),
        dC(variable_C() ? matrix : fixed);
    std::vector<double> dD(p_.dim), dbias(p_.dim);
    for (int64_t b = 0; b < p_.batch; ++b)
      for (int64_t d = 0; d < p_.dim; ++d) {
        run(b, d);
        std::vector<T> g(N, from_real<T>(0));
        if (args.dlast_state.data && !has(Bug::dlast_state_ignored))
          for (int64_t n = 0; n < N; ++n) g[n] = static_cast<const T*>(args.dlast_state.data)[(b * p_.dim + d) * N + n];
        for (int64_t t = p_.seqlen - 1; t >= 0; --t) {
          const float dout = get(args.dout, at(args.dout, b, d, t));
          float dy = dout;
          if (z_.data) {
            const ValueAndSlope gate = silu_and_slope(z(b, d, t));
            float out = get(args.out, at(args.out, b, d, t));
            if (has(Bug::dz_of_out_z)) out *= gate.value;
            put(args.dz, at(args.dz, b, d, t), dout * out * (has(Bug::silu_slope) ? sigmoid(z(b, d, t)) : gate.slope));
            dy = dout * gate.value;
          }
          step_back(b, d, t, dy, dout, args, g, dA, dA_input, dB, dC, dD, dbias);
        }
        if (args.dh0.data)
          for (int64_t n = 0; n < N; ++n) static_cast<T*>(args.dh0.data)[(b * p_.dim + d) * N + n] = g[n];
        if (has(Bug::dA_last_batch_only) && b + 1 < p_.batch)
          for (int64_t n = 0; n < N; ++n) dA[d * N + n] = dA_input[d * N + n] = {};
      }
    for (int64_t i = 0; D::kUsesA && i < fixed; ++i)
      static_cast<T*>(args.dA.data)[i] =
          scale(has(Bug::dA_scaled) ? 0.999f : 1.0f, D::weight_gradient(A_[i], dA[i].get(), dA_input[i].get()));
    if (D::kTakesB) store(dB, variable_B(), args.dB);
    if (!has(Bug::output_untouched)) store(dC, variable_C(), args.dC);
    for (int64_t d = 0; d < p_.dim; ++d) {
      if (args.dD.data) static_cast<float*>(args.dD.data)[d] = static_cast<float>(dD[d]);
      if (args.ddelta_bias.data) static_cast<float*>(args.ddelta_bias.data)[d] = static_cast<float>(dbias[d]);
    }
    finish(args.du);
  }

 private:
  bool option(uint32_t bit) const { return p_.options & bit; }
  bool variable_B() const { return option(LRNNX_VARIABLE_B); }
  bool variable_C() const { return option(LRNNX_VARIABLE_C); }

  // Where in a (B, D, L) tensor an element lies.
  int64_t at(const lrnnx_tensor& tensor, int64_t b, int64_t d, int64_t t) const {
    const bool contiguous = tensor.stride_batch == 0 && tensor.stride_dim == 0;
    const int64_t stride_dim = contiguous ? p_.seqlen : tensor.stride_dim;
    const int64_t stride_batch = contiguous ? p_.dim * p_.seqlen : tensor.stride_batch;
    return b * stride_batch + d * stride_dim + t;
  }
  // A number of a tensor with a time axis.
  float get(const lrnnx_tensor& tensor, int64_t i) const {
    if (!halves_) return static_cast<const float*>(tensor.data)[i];
    float x;
    widen(p_.dtype, static_cast<const uint16_t*>(tensor.data) + i, 1, &x);
    return x;
  }
  void put(const lrnnx_tensor& tensor, int64_t i, float x) const {
    if (!halves_) {
      static_cast<float*>(tensor.data)[i] = x;
      return;
    }
    if (has(Bug::f16_saturates) && p_.dtype == LRNNX_F16) x = std::isnan(x) ? x : std::clamp(x, -65504.0f, 65504.0f);
    narrow(p_.dtype, &x, 1, static_cast<uint16_t*>(tensor.data) + i);
  }
  float rounded(float x) const {
    if (!halves_) return x;
    uint16_t stored;
    narrow(p_.dtype, &x, 1, &stored);
    widen(p_.dtype, &stored, 1, &x);
    return x;
  }
  // Of normal numbers: without the bits that do not fit.
  float truncated(float x) const {
    const uint32_t rest = p_.dtype == LRNNX_BF16 ? 0xffffu : 0x1fffu;
    return halves_ ? std::bit_cast<float>(std::bit_cast<uint32_t>(x) & ~rest) : x;
  }
  Complex truncated(Complex a) const { return a; }  // 16-bit types are of real weights
  float ties_up(float x) const {
    const float kept = truncated(x), halfway = std::abs(x - kept);
    return halfway > 0 && truncated(x + (x - kept)) == x + (x - kept) ? x + (x - kept) : x;
  }

  float u(int64_t b, int64_t d, int64_t t) const {
    if (has(Bug::tail_repeated) && t == p_.seqlen - 1 && t > 0) --t;
    const float u = get(u_, at(u_, b, d, t));
    return has(Bug::u_bf16) ? to_bf16(u) : u;
  }
  float z(int64_t b, int64_t d, int64_t t) const {
    return get(z_, at(z_, has(Bug::gate_of_first_batch) ? 0 : b, d, t));
  }

  // The step before softplus, and after it.
  float biased(int64_t b, int64_t d, int64_t t) const {
    float x = get(delta_, at(delta_, b, d, t));
    if (has(Bug::nan_swallowed) && std::isnan(x)) x = 0;
    return bias_ && !has(Bug::bias_after_softplus) ? x + bias_[d] : x;
  }
  float dt(int64_t b, int64_t d, int64_t t) const {
    float x = biased(b, d, t);
    if (option(LRNNX_DELTA_SOFTPLUS) && !(has(Bug::softplus_cut_early) && x > 8)) x = softplus(x);
    if (bias_ && has(Bug::bias_after_softplus)) x += bias_[d];
    return has(Bug::dt_in_16_bits) ? rounded(x) : x;
  }
  float dtA(int64_t b, int64_t d, int64_t t) const {
    if (!deltaA_.data) return dt(b, d, t);
    return get(deltaA_, at(has(Bug::deltaA_strides) ? delta_ : deltaA_, b, d, t));
  }
  float input_step(int64_t b, int64_t d, int64_t t) const {
    return has(Bug::deltaA_for_input) ? dtA(b, d, t) : dt(b, d, t);
  }

  int64_t group_of(int64_t d) const {
    const int64_t group = d / (p_.dim / p_.groups);
    if (has(Bug::group_doubled)) return 2 * group % p_.groups;
    if (has(Bug::last_channel_group) && d == p_.dim - 1) return 0;
    return group;
  }
  int64_t weight_at(bool variable, int64_t b, int64_t group, int64_t d, int64_t t, int64_t n) const {
    return variable ? ((b * p_.groups + group) * p_.dstate + n) * p_.seqlen + t : d * p_.dstate + n;
  }
  T B(int64_t b, int64_t d, int64_t t, int64_t n) const {
    return D::kTakesB ? matrix(B_, variable_B(), weight_at(variable_B(), b, group_of(d), d, t, n)) : from_real<T>(1);
  }
  T C(int64_t b, int64_t d, int64_t t, int64_t n) const {
    return matrix(C_, variable_C(), weight_at(variable_C(), b, group_of(d), d, t, n));
  }
  T matrix(const lrnnx_tensor& tensor, bool variable, int64_t i) const {
    if (halves_ && variable) return from_real<T>(get(tensor, i));
    return static_cast<const T*>(tensor.data)[i];
  }
  T A(int64_t d, int64_t n) const {
    const T a = D::kUsesA ? A_[d * p_.dstate + n] : from_real<T>(1);
    return has(Bug::A_truncated) ? truncated(a) : a;
  }
  T omega(int64_t d, int64_t n) const { return omegas_[d * p_.dstate + n]; }

  static constexpr bool kIsZoh = D::kInput == InputFactor::per_state && D::kSlopeUnit != 2.0f && D::kTakesB;

  T transition(T omega, float dtA) const {
    const T a = D::transition(omega, dtA);
    if (has(Bug::transition_off)) return scale(0.9999f, a);
    if (has(Bug::exp_inaccurate)) return scale(1.0f + 0x1p-20f, a);
    return a;
  }
  T input(int64_t d, int64_t n, float dt) const {
    if (kIsZoh && has(Bug::phi_cancels) && !is_zero(A(d, n)))
      return divide(one_less(exp_of(scale(dt, A(d, n)))), A(d, n));
    const T gamma = D::input(omega(d, n), dt);
    return has(Bug::phi_off) ? scale(1.0001f, gamma) : gamma;
  }
  InputSlopes<T> input_slopes(int64_t d, int64_t n, float dt) const {
    InputSlopes<T> slopes = D::input_slopes(omega(d, n), dt);
    if (has(Bug::input_slope_dropped)) slopes.by_step = from_real<T>(0);
    // A is omega ln 2, or omega 2 pi.
    if (kIsZoh && has(Bug::input_weight_slope_cancels) && !is_zero(A(d, n))) {
      const T rest = scale(dt, exp_of(scale(dt, A(d, n)))) + scale(-1.0f, D::input(omega(d, n), dt));
      slopes.by_omega = scale(D::kSlopeUnit, divide(rest, A(d, n)));
    }
    return slopes;
  }

  T& state(int64_t t, int64_t n) { return states_[t * p_.dstate + n]; }  // before step t
  T& kept_transition(int64_t t, int64_t n) { return transitions_[t * p_.dstate + n]; }

  // The states of one row.
  void run(int64_t b, int64_t d) {
    states_.assign((p_.seqlen + 1) * p_.dstate, from_real<T>(0));
    transitions_.assign(p_.seqlen * p_.dstate, from_real<T>(0));
    T previous_a = from_real<T>(1), previous_x = from_real<T>(0);
    for (int64_t n = 0; n < p_.dstate; ++n) {
      if (h0_ && !has(Bug::h0_ignored)) state(0, n) = h0_[(b * p_.dim + d) * p_.dstate + n];
      for (int64_t t = 0; t < p_.seqlen; ++t) {
        const T a = transition(omega(d, n), dtA(b, d, t));
        const T x = scale(u(b, d, t), input(d, n, input_step(b, d, t)) * B(b, d, t, n));
        T h = state(t, n);
        if (has(Bug::carry_reset) && t == 128) h = from_real<T>(0);
        if (has(Bug::operands_swapped) && t % 4 == 1)  // (a1, x1) after (a2, x2): x1 + a1 x2
          state(t + 1, n) = a * previous_a * state(t - 1, n) + (previous_a * x + previous_x);
        else
          state(t + 1, n) = a * h + x;
        if constexpr (kParts<T> == 1)
          if (has(Bug::state_in_16_bits)) state(t + 1, n) = rounded(state(t + 1, n));
        kept_transition(t, n) = a;
        previous_a = a;
        previous_x = x;
      }
    }
  }

  float readout(int64_t b, int64_t d, int64_t t) {
    const int64_t states = has(Bug::odd_state_dropped) && p_.dstate > 1 ? p_.dstate / 2 * 2 : p_.dstate;
    float y = 0;
    for (int64_t n = 0; n < states; ++n) y += real(C(b, d, t, n) * state(t + 1, n));
    return readout_factor() * y;
  }
  static float readout_factor() { return kParts<T> == 1 || has(Bug::readout_not_doubled) ? 1.0f : 2.0f; }

  void step_back(int64_t b, int64_t d, int64_t t, float dy, float dout, const lrnnx_selective_scan_backward_args& args,
                 std::vector<T>& g, std::vector<Wide<T>>& dA, std::vector<Wide<T>>& dA_input, std::vector<Wide<T>>& dB,
                 std::vector<Wide<T>>& dC, std::vector<double>& dD, std::vector<double>& dbias) {
    const float step = input_step(b, d, t), stepA = dtA(b, d, t), u_t = u(b, d, t);
    const float dreadout = readout_factor() * dy;
    float du = 0, ddt = 0, ddtA = 0;
    int64_t own = d / (p_.dim / p_.groups);
    int64_t group_of_dB = has(Bug::dB_wrong_group) ? (own + 1) % p_.groups : own;
    for (int64_t n = 0; n < p_.dstate; ++n) {
      const T a = kept_transition(t, n), h = state(t + 1, n), gamma = input(d, n, step);
      g[n] += scale(dreadout, conj(C(b, d, t, n)));
      const bool drops = (has(Bug::dC_last_step) && t == p_.seqlen - 1) ||
                         (has(Bug::race) && launches % 3 == 2 && d == 0 && t == 0 && n == 0);
      if (!drops)
        dC[weight_at(variable_C(), b, own, d, t, n)].add(scale(dreadout, has(Bug::conj_missing_dC) ? h : conj(h)));
      Wide<T>& sum_B = dB[weight_at(variable_B(), b, group_of_dB, d, t, n)];
      sum_B.add(scale(u_t, g[n] * conj(gamma)));
      if (has(Bug::dB_in_16_bits) && variable_B()) sum_B.re = rounded(static_cast<float>(sum_B.re));
      const T gB = g[n] * conj(B(b, d, t, n));
      du += real(gB * conj(gamma));
      const InputSlopes<T> slopes = input_slopes(d, n, step);
      ddt += u_t * real(gB * conj(slopes.by_step));
      dA_input[d * p_.dstate + n].add(scale(u_t, gB * conj(slopes.by_omega)));

      T previous = state(t, n);
      if (has(Bug::state_for_previous)) previous = h;
      if (has(Bug::divides_by_transition)) previous = divide(h + scale(-u_t, gamma * B(b, d, t, n)), a);
      const T slope = D::transition_slope(omega(d, n), stepA, a);
      const T through = g[n] * conj(previous) * conj(slope);
      ddtA += D::kSlopeUnit * real(through * conj(omega(d, n)));
      dA[d * p_.dstate + n].add(scale(stepA, through));
      if (t == 0 && has(Bug::dh0_transition)) continue;
      const T carried = has(Bug::adjoint_transition) && t > 0 ? kept_transition(t - 1, n) : a;
      g[n] = g[n] * (has(Bug::conj_missing_adjoint) ? carried : conj(carried));
    }
    if (skip_) {
      if (!has(Bug::du_without_D)) du += skip_[d] * dy;
      dD[d] += static_cast<double>(has(Bug::dD_after_gate) ? dout : dy) * u_t;
    }
    if (deltaA_.data)
      put(args.ddeltaA, at(args.ddeltaA, b, d, t), has(Bug::ddeltaA_is_ddelta) ? ddt : ddtA);
    else
      ddt += ddtA;
    if (option(LRNNX_DELTA_SOFTPLUS) && !has(Bug::softplus_slope)) ddt *= sigmoid(biased(b, d, t));
    put(args.ddelta, at(args.ddelta, b, d, t), ddt);
    if (!has(Bug::ddelta_bias_batch) || b == 0) dbias[d] += has(Bug::ddelta_bias_of_rounded) ? rounded(ddt) : ddt;
    if (has(Bug::workspace_assumed_zero)) du += workspace_[0];
    if (has(Bug::nan_sideways) && d > 0) du += 0.0f * u(b, d - 1, t);
    if (has(Bug::nan_from_future) && t > 0) du += 0.0f * get(args.dout, at(args.dout, b, d, t - 1));
    write(args.du, b, d, t, du);
  }

  void store(const std::vector<Wide<T>>& from, bool variable, const lrnnx_tensor& to) const {
    for (size_t i = 0; i < from.size(); ++i) {
      if (halves_ && variable)
        put(to, static_cast<int64_t>(i), real(from[i].get()));
      else
        static_cast<T*>(to.data)[i] = from[i].get();
    }
  }

  // Into the first output, which the faults of memory and order concern.
  void write(const lrnnx_tensor& tensor, int64_t b, int64_t d, int64_t t, float value) const {
    const bool last = b == p_.batch - 1 && d == p_.dim - 1 && t == p_.seqlen - 1;
    if (has(Bug::last_element_unwritten) && last) return;
    if (has(Bug::last_batch_zeroed) && b == p_.batch - 1) value = 0;
    if (has(Bug::out_bf16)) value = to_bf16(value);
    if (has(Bug::out_truncated)) value = truncated(value);
    if (has(Bug::out_ties_up)) value = ties_up(value);
    if (has(Bug::f16_flushes) && p_.dtype == LRNNX_F16 && std::abs(value) < 0x1p-14f) value = 0;
    put(tensor, at(tensor, b, d, t), value);
  }
  void finish(const lrnnx_tensor& output) {
    if (has(Bug::one_past_the_end)) put(output, output.size, 0);
    if (has(Bug::input_overwritten)) put(u_, 0, get(u_, 0) + 1);
    if (has(Bug::race) && launches % 3 == 2) put(output, 0, get(output, 0) * (1 + 0x1p-20f));
    if (has(Bug::eleventh_launch) && launches_there > 10) put(output, 0, get(output, 0) + 1);
  }

  const lrnnx_selective_scan_problem& p_;
  const lrnnx_tensor u_, delta_, z_, deltaA_;
  const lrnnx_tensor B_, C_;
  const T *A_, *h0_;
  const float *skip_, *bias_, *workspace_;
  bool halves_;  // whether what has a time axis is stored in 16 bits
  std::vector<T> omegas_, states_, transitions_;
};

void count_launch(const void* output) {
  ++launches;
  launches_there = output == launched_on ? launches_there + 1 : 1;
  launched_on = output;
}

// Calls act(Scan) for the functor and type of the problem.
template <bool takes, template <class> class Functor, class T, class Args, class Act>
void dispatch(const lrnnx_selective_scan_problem& problem, const Args& args, Act act) {
  if constexpr (takes) act(Scan<Functor<T>, T>(problem, args));
}
template <class Args, class Act>
void with_scan(const lrnnx_selective_scan_problem& problem, const Args& args, Act act) {
  switch (problem.discretization) {
#define LRNNX_DISCRETIZATION(enumerator, name, functor, takes_real, takes_complex)                    \
  case LRNNX_##enumerator:                                                                            \
    return problem.dtype == LRNNX_C64 ? dispatch<takes_complex, functor, Complex>(problem, args, act) \
                                      : dispatch<takes_real, functor, float>(problem, args, act);
#include "lrnnx/discretizations.def"
  }
}

}  // namespace

void plant(Bug bug) {
  planted = bug;
  launched_on = nullptr;
  launches = launches_there = 0;
}

lrnnx_status memory(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction, lrnnx_memory* memory) {
  const lrnnx_status status = lrnnx_selective_scan_memory(problem, direction, memory);
  if (status == LRNNX_OK) *memory = {.saved_bytes = 0, .workspace_bytes = 256};
  return status;
}

lrnnx_status configuration(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction, char* text,
                           int64_t capacity) {
  return lrnnx_selective_scan_configuration(problem, direction, text, capacity);
}

lrnnx_status forward(const lrnnx_selective_scan_problem* problem, const lrnnx_selective_scan_forward_args* args) {
  count_launch(args->out.data);
  with_scan(*problem, *args, [&](auto scan) { scan.forward(*args); });
  return LRNNX_OK;
}

lrnnx_status backward(const lrnnx_selective_scan_problem* problem, const lrnnx_selective_scan_backward_args* args) {
  count_launch(args->du.data);
  with_scan(*problem, *args, [&](auto scan) { scan.backward(*args); });
  return LRNNX_OK;
}

}  // namespace lrnnx::mutants
