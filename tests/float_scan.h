// The selective scan in 32 bits in several orders of evaluation, all of them right, and with faults planted on purpose:
// what the gauges must let pass, and what they must not. Shares no code with the reference or the kernels.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "reference/selective_scan.h"

namespace lrnnx::test {

using reference::Discretization;

enum class Sums { forwards, backwards, tree };

// One way to evaluate.
struct Order {
  const char* name;
  bool blocked = false;  // the scan over time in segments, whose transitions are combined as a Kogge-Stone network does
  bool fused = false;    // fused multiply-add in the recurrence
  bool base_two = false;  // e^(A dt) as 2^((A log2(e)) dt), with A log2(e) rounded
  Sums sums = Sums::forwards;
  int ulps = 0;          // by which every exponential and power is off
  bool noisy = false;    // off by up to 2 ulp in a way that depends on the argument, as ex2.approx is
  bool flushes = false;  // subnormal states and factors count as 0
};

inline constexpr Order kOrders[] = {
    {.name = "sequential"},
    {.name = "sequential, fused, base two", .fused = true, .base_two = true, .sums = Sums::backwards},
    {.name = "blocked, base two", .blocked = true, .base_two = true, .sums = Sums::tree, .flushes = true},
    {.name = "blocked, noisy", .blocked = true, .fused = true, .base_two = true, .sums = Sums::tree, .noisy = true},
    {.name = "blocked, +2 ulp", .blocked = true, .base_two = true, .ulps = 2, .flushes = true},
    {.name = "sequential, -2 ulp", .fused = true, .sums = Sums::backwards, .ulps = -2},
};

enum class Fault {
  none,
  input_scaled,         // gamma B u times 1.0001
  transition_shifted,   // A_t for A_(t+1) in the adjoint
  state_of_now,         // h_t for h_(t-1)
  carry_lost,           // the state starts anew halfway
  last_step_unwritten,  // du
  one_element_off,      // out, by 1e-3 of the mean
  input_slope_dropped,  // d gamma / d dt
  dA_scaled,            // times 0.999
  u_truncated,          // to bfloat16
  A_truncated,          // to TF32; delta for s7
  last_batch_zero,      // du
  group_of_the_next,    // B and C of another group
  deltaA_ignored,
  softplus_slope_dropped,
  conjugate_missing,  // of h in the gradient of the transition
  real_part_once,     // without the factor 2
  du_of_no_gate,      // dout not through silu(z)
};

// Outputs and gradients by name, complex interleaved.
struct FloatResult {
  std::vector<float> out, out_z, last_state;
  std::vector<float> du, ddelta, dA, dB, dC, dD, dz, ddelta_bias, ddeltaA, dh0;
};

template <class Weight>
class FloatScan {
 public:
  FloatScan(const reference::Problem& problem, const reference::Inputs& inputs, const std::vector<double>& dout,
            const std::vector<double>& dlast_state, Order order, Fault fault)
      : p_(problem), in_(inputs), dout_(dout), dlast_state_(dlast_state), order_(order), fault_(fault) {}

  FloatResult run() {
    const int64_t rows = p_.batch * p_.dim;
    const auto allot = [](std::vector<float>& tensor, const std::vector<double>& input) {
      tensor.resize(input.size());
    };
    r_.out.resize(in_.u.size());
    r_.last_state.resize(rows * p_.dstate * kParts);
    allot(r_.out_z, in_.z), allot(r_.du, in_.u), allot(r_.ddelta, in_.delta), allot(r_.dA, in_.A), allot(r_.dB, in_.B);
    allot(r_.dC, in_.C), allot(r_.dD, in_.D), allot(r_.dz, in_.z), allot(r_.ddelta_bias, in_.delta_bias);
    allot(r_.ddeltaA, in_.deltaA), allot(r_.dh0, in_.h0);
    sums_.assign(kTensors, {});
    for (int64_t b = 0; b < p_.batch; ++b) {
      for (int64_t d = 0; d < p_.dim; ++d) run_channel(b, d);
    }
    flush(dA_, r_.dA), flush(dB_, r_.dB), flush(dC_, r_.dC), flush(dD_, r_.dD), flush(dbias_, r_.ddelta_bias);
    plant_in_results();
    return std::move(r_);
  }

 private:
  static constexpr bool kComplex = !std::is_same_v<Weight, float>;
  static constexpr int64_t kParts = kComplex ? 2 : 1;
  enum { dA_, dB_, dC_, dD_, dbias_, kTensors };

  struct Factors {
    Weight transition, input, transition_by_step, transition_by_weight, input_by_step, input_by_weight;
  };

  // --- elementary functions ---

  float approximate(double exact) const {
    float x = static_cast<float>(exact);
    if (!(x >= std::numeric_limits<float>::min() && x < std::numeric_limits<float>::infinity())) {
      return order_.flushes && x < std::numeric_limits<float>::min() ? 0.0f : x;
    }
    int off = order_.ulps;
    if (order_.noisy) off = static_cast<int>((std::bit_cast<uint32_t>(x) * 0x9E3779B9u) >> 30) - 1;
    return std::bit_cast<float>(std::bit_cast<int32_t>(x) + off);
  }
  float exp(float x) const { return approximate(std::exp(static_cast<double>(x))); }
  float expm1(float x) const { return std::abs(x) < 0.5f ? std::expm1(x) : exp(x) - 1.0f; }
  float sigmoid(float x) const { return 1.0f / (1.0f + exp(-x)); }
  float softplus(float x) const { return x > 20.0f ? x : std::log1p(exp(x)); }

  float exp_product(float A, float dt) const {
    constexpr float kLog2E = 1.44269504f;
    return order_.base_two ? approximate(std::exp2(static_cast<double>((A * kLog2E) * dt))) : exp(A * dt);
  }
  std::complex<float> exp_product(std::complex<float> A, float dt) const {
    const float e = exp_product(A.real(), dt), y = A.imag() * dt;
    return {e * std::cos(y), e * std::sin(y)};
  }
  static float product(float x, float y) { return x * y; }
  static std::complex<float> product(std::complex<float> x, std::complex<float> y) {
    return {x.real() * y.real() - x.imag() * y.imag(), x.real() * y.imag() + x.imag() * y.real()};
  }
  static float conjugate(float x) { return x; }
  static std::complex<float> conjugate(std::complex<float> x) { return std::conj(x); }
  static float real(float x) { return x; }
  static float real(std::complex<float> x) { return x.real(); }
  static float reciprocal(float x) { return 1.0f / x; }
  static std::complex<float> reciprocal(std::complex<float> x) {
    const float r = 1.0f / (x.real() * x.real() + x.imag() * x.imag());
    return {x.real() * r, -x.imag() * r};
  }
  float exp_minus_one(float A, float dt) const { return expm1(A * dt); }
  std::complex<float> exp_minus_one(std::complex<float> A, float dt) const {
    const float x = A.real() * dt, y = A.imag() * dt, s = std::sin(0.5f * y);
    return {expm1(x) * std::cos(y) - 2.0f * s * s, exp(x) * std::sin(y)};
  }
  // (e^z - 1) / z and ((z - 1) e^z + 1) / z^2 for |z| <= 1.
  static Weight series(Weight z, bool slope) {
    Weight sum(0.0f);
    double factorial = 1.0;
    float coefficients[12];
    for (int k = 0; k < 12; ++k) {
      factorial *= k + 1;  // (k + 1)!
      coefficients[k] = static_cast<float>(slope ? (k + 1) / (factorial * (k + 2)) : 1.0 / factorial);
    }
    for (int k = 11; k >= 0; --k) sum = product(sum, z) + Weight(coefficients[k]);
    return sum;
  }

  // --- discretizations ---

  Factors factors(Weight A, float dtA, float dt) const {
    Factors f{};
    const Weight one(1.0f);
    switch (p_.discretization) {
      case Discretization::mamba:
      case Discretization::dirac:
      case Discretization::zoh:
        f.transition = exp_product(A, dtA);
        f.transition_by_step = product(f.transition, A);
        f.transition_by_weight = f.transition * dtA;
        f.input = p_.discretization == Discretization::mamba ? Weight(dt) : one;
        f.input_by_step = p_.discretization == Discretization::mamba ? one : Weight(0.0f);
        if (p_.discretization != Discretization::zoh) return f;
        {
          const Weight z = A * dt, e = exp_product(A, dt);
          const bool small = std::abs(z) < 1.0f;
          f.input = small ? series(z, false) * dt : product(exp_minus_one(A, dt), reciprocal(A));
          f.input_by_step = e;
          f.input_by_weight = small ? series(z, true) * (dt * dt) : product(e * dt - f.input, reciprocal(A));
        }
        return f;
      case Discretization::bilinear: {
        const Weight w = A * (0.5f * dtA), r = reciprocal(one - w), s = reciprocal(one - A * (0.5f * dt));
        f.transition = product(one + w, r);
        f.transition_by_step = product(A, product(r, r));
        f.transition_by_weight = product(r, r) * dtA;
        f.input = s * dt;
        f.input_by_step = product(s, s);
        f.input_by_weight = product(s, s) * (0.5f * dt * dt);
        return f;
      }
      case Discretization::s7: {
        const float r = 1.0f / (dt * dt + 0.5f);
        f.transition = Weight((dt * dt - 0.5f) * r);
        f.transition_by_step = Weight(2.0f * dt * r * r);
        f.input = one;
        return f;
      }
      case Discretization::rglru:
        if constexpr (!kComplex) {
          const float log = std::log(A), w = dt * log;
          const float s = std::sqrt(-expm1(2.0f * w));
          f.transition = exp(w);
          f.transition_by_step = f.transition * log;
          f.transition_by_weight = f.transition * dt / A;
          f.input = s;
          if (s != 0.0f) {
            f.input_by_step = -(f.transition * f.transition) * log / s;
            f.input_by_weight = -(f.transition * f.transition) * dt / (s * A);
          }
        }
        return f;
    }
    return f;
  }

  // --- the recurrence ---

  float step(float a, float h, float b) const {
    const float next = order_.fused ? std::fma(a, h, b) : a * h + b;
    return order_.flushes && std::abs(next) < std::numeric_limits<float>::min() ? 0.0f : next;
  }
  std::complex<float> step(std::complex<float> a, std::complex<float> h, std::complex<float> b) const {
    if (!order_.fused) return product(a, h) + b;
    return {std::fma(a.real(), h.real(), std::fma(-a.imag(), h.imag(), b.real())),
            std::fma(a.real(), h.imag(), std::fma(a.imag(), h.real(), b.imag()))};
  }

  std::vector<Weight> scan(const std::vector<Weight>& a, const std::vector<Weight>& b, Weight h0) const {
    const int64_t L = static_cast<int64_t>(a.size()), length = order_.blocked ? 8 : L;
    const int64_t segments = (L + length - 1) / length;
    std::vector<Weight> P(segments, Weight(1.0f)), Q(segments, Weight(0.0f)), h(L);
    if (order_.blocked) {
      for (int64_t t = 0; t < L; ++t) {
        P[t / length] = product(P[t / length], a[t]);
        Q[t / length] = step(a[t], Q[t / length], b[t]);
      }
      for (int64_t distance = 1; distance < segments; distance *= 2) {
        for (int64_t s = segments - 1; s >= distance; --s) {
          Q[s] = step(P[s], Q[s - distance], Q[s]);
          P[s] = product(P[s], P[s - distance]);
        }
      }
    }
    for (int64_t s = 0; s < segments; ++s) {
      Weight state = s == 0 ? h0 : step(P[s - 1], h0, Q[s - 1]);
      for (int64_t t = s * length; t < std::min(L, (s + 1) * length); ++t) h[t] = state = step(a[t], state, b[t]);
    }
    return h;
  }

  template <class T>
  T sum(std::vector<T> x) const {
    if (x.empty()) return T(0.0f);
    if (order_.sums == Sums::backwards) std::reverse(x.begin(), x.end());
    if (order_.sums == Sums::tree) {
      for (size_t n = x.size(); n > 1; n = (n + 1) / 2) {
        for (size_t i = 0; i < n / 2; ++i) x[i] = x[2 * i] + x[2 * i + 1];
        if (n % 2 == 1) x[n / 2] = x[n - 1];
      }
      return x[0];
    }
    T total = x[0];
    for (size_t i = 1; i < x.size(); ++i) total += x[i];
    return total;
  }

  // --- tensors ---

  Weight weight(const std::vector<double>& tensor, int64_t at) const {
    if constexpr (kComplex) {
      return {static_cast<float>(tensor[2 * at]), static_cast<float>(tensor[2 * at + 1])};
    } else {
      return static_cast<float>(tensor[at]);
    }
  }
  static void store(std::vector<float>& tensor, int64_t at, Weight x) {
    if constexpr (kComplex) {
      tensor[2 * at] = x.real();
      tensor[2 * at + 1] = x.imag();
    } else {
      tensor[at] = x;
    }
  }
  // Terms of an element that is summed up last.
  void add(int tensor, int64_t at, Weight term) {
    auto& terms = sums_[tensor];
    if (static_cast<int64_t>(terms.size()) <= at) terms.resize(at + 1);
    terms[at].push_back(term);
  }
  void flush(int tensor, std::vector<float>& result) {
    if (result.empty()) return;
    const auto& terms = sums_[tensor];
    const bool real_tensor = tensor == dD_ || tensor == dbias_;
    for (size_t i = 0; i < terms.size(); ++i) {
      const Weight total = sum(terms[i]);
      if (real_tensor) {
        result[i] = real(total);
      } else {
        store(result, static_cast<int64_t>(i), total);
      }
    }
  }

  static float truncate(float x, uint32_t mask) { return std::bit_cast<float>(std::bit_cast<uint32_t>(x) & mask); }
  static std::complex<float> truncate(std::complex<float> x, uint32_t mask) {
    return {truncate(x.real(), mask), truncate(x.imag(), mask)};
  }

  void run_channel(int64_t b, int64_t d) {
    const int64_t L = p_.seqlen, N = p_.dstate, row = (b * p_.dim + d) * L, width = p_.dim / p_.groups;
    const int64_t group = (d / width + (fault_ == Fault::group_of_the_next ? 1 : 0)) % p_.groups;
    const bool reads_A = p_.discretization != Discretization::s7, reads_B = p_.discretization != Discretization::rglru;
    const float readout = kComplex && fault_ != Fault::real_part_once ? 2.0f : 1.0f;
    const bool deltaA = !in_.deltaA.empty() && fault_ != Fault::deltaA_ignored;

    std::vector<float> u(L), dt(L), dtA(L), dy(L), step_slope(L, 1.0f), gate(L, 1.0f), gate_slope(L);
    for (int64_t t = 0; t < L; ++t) {
      u[t] = static_cast<float>(in_.u[row + t]);
      if (fault_ == Fault::u_truncated) u[t] = truncate(u[t], 0xFFFF0000u);
      float x = static_cast<float>(in_.delta[row + t]);
      if (fault_ == Fault::A_truncated && !reads_A) x = truncate(x, 0xFFFFE000u);
      if (!in_.delta_bias.empty()) x += static_cast<float>(in_.delta_bias[d]);
      dt[t] = p_.delta_softplus ? softplus(x) : x;
      if (p_.delta_softplus && fault_ != Fault::softplus_slope_dropped) step_slope[t] = sigmoid(x);
      dtA[t] = deltaA ? static_cast<float>(in_.deltaA[row + t]) : dt[t];
      dy[t] = static_cast<float>(dout_[row + t]);
      if (in_.z.empty()) continue;
      const float z = static_cast<float>(in_.z[row + t]), s = sigmoid(z), complement = sigmoid(-z);
      gate[t] = z * s;
      gate_slope[t] = s + z * s * complement;
      if (fault_ != Fault::du_of_no_gate) dy[t] *= gate[t];
    }

    std::vector<std::vector<float>> y(L), du(L), ddtA(L), ddt(L);
    for (int64_t n = 0; n < N; ++n) {
      Weight A = reads_A ? weight(in_.A, d * N + n) : Weight(0.0f);
      if (fault_ == Fault::A_truncated) A = truncate(A, 0xFFFFE000u);
      std::vector<Factors> f(L);
      std::vector<Weight> a(L), x(L), B(L), C(L), dC(L);
      const auto at = [&](int64_t t, bool variable) {
        return variable ? ((b * p_.groups + group) * N + n) * L + t : d * N + n;
      };
      for (int64_t t = 0; t < L; ++t) {
        f[t] = factors(A, dtA[t], dt[t]);
        B[t] = reads_B ? weight(in_.B, at(t, p_.variable_B)) : Weight(1.0f);
        C[t] = weight(in_.C, at(t, p_.variable_C));
        a[t] = f[t].transition;
        x[t] = order_.blocked ? product(f[t].input * u[t], B[t]) : product(f[t].input, B[t]) * u[t];
        if (fault_ == Fault::input_scaled) x[t] *= 1.0001f;
      }
      const Weight h0 = in_.h0.empty() ? Weight(0.0f) : weight(in_.h0, (b * p_.dim + d) * N + n);
      std::vector<Weight> carried = a;
      if (fault_ == Fault::carry_lost) carried[L / 2] = Weight(0.0f);
      const std::vector<Weight> h = scan(carried, x, h0);
      store(r_.last_state, (b * p_.dim + d) * N + n, h[L - 1]);

      // The adjoint, backwards in time.
      std::vector<Weight> later(L), source(L);
      for (int64_t t = 0; t < L; ++t) {
        const int64_t next = fault_ == Fault::transition_shifted ? t : t + 1;
        later[L - 1 - t] = t + 1 < L ? conjugate(a[next]) : Weight(1.0f);
        source[L - 1 - t] = conjugate(C[t]) * (readout * dy[t]);
      }
      const Weight last = dlast_state_.empty() ? Weight(0.0f) : weight(dlast_state_, (b * p_.dim + d) * N + n);
      std::vector<Weight> adjoint = scan(later, source, last);
      std::reverse(adjoint.begin(), adjoint.end());
      if (!in_.h0.empty()) store(r_.dh0, (b * p_.dim + d) * N + n, product(conjugate(a[0]), adjoint[0]));

      std::vector<Weight> dA(L), dB(L);
      for (int64_t t = 0; t < L; ++t) {
        const Weight before = fault_ == Fault::state_of_now ? h[t] : t == 0 ? h0 : h[t - 1];
        const Weight carried_to = fault_ == Fault::conjugate_missing ? before : conjugate(before);
        y[t].push_back(readout * real(product(C[t], h[t])));
        du[t].push_back(real(product(adjoint[t], conjugate(product(f[t].input, B[t])))));
        const Weight dtransition = product(adjoint[t], carried_to);
        const Weight dinput = product(adjoint[t], conjugate(B[t])) * u[t];
        ddtA[t].push_back(real(product(dtransition, conjugate(f[t].transition_by_step))));
        ddt[t].push_back(fault_ == Fault::input_slope_dropped ? 0.0f
                                                              : real(product(dinput, conjugate(f[t].input_by_step))));
        dA[t] = product(dtransition, conjugate(f[t].transition_by_weight)) +
                product(dinput, conjugate(f[t].input_by_weight));
        if (fault_ == Fault::dA_scaled) dA[t] *= 0.999f;
        dB[t] = product(adjoint[t], conjugate(f[t].input)) * u[t];
        dC[t] = conjugate(h[t]) * (readout * dy[t]);
        if (reads_A) add(dA_, d * N + n, dA[t]);
        if (reads_B) add(dB_, at(t, p_.variable_B), dB[t]);
        add(dC_, at(t, p_.variable_C), dC[t]);
      }
    }

    const float D = in_.D.empty() ? 0.0f : static_cast<float>(in_.D[d]);
    for (int64_t t = 0; t < L; ++t) {
      float out = sum(y[t]);
      if (!in_.D.empty()) out += D * u[t];
      r_.out[row + t] = out;
      float u_gradient = sum(du[t]);
      if (!in_.D.empty()) {
        u_gradient += dy[t] * D;
        add(dD_, d, Weight(dy[t] * u[t]));
      }
      r_.du[row + t] = u_gradient;
      if (!in_.z.empty()) {
        r_.out_z[row + t] = out * gate[t];
        r_.dz[row + t] = static_cast<float>(dout_[row + t]) * out * gate_slope[t];
      }
      const float by_transition = sum(ddtA[t]);
      float delta_gradient = sum(ddt[t]);
      if (in_.deltaA.empty()) {
        delta_gradient += by_transition;
      } else {
        r_.ddeltaA[row + t] = by_transition;
      }
      delta_gradient *= step_slope[t];
      r_.ddelta[row + t] = delta_gradient;
      if (!in_.delta_bias.empty()) add(dbias_, d, Weight(delta_gradient));
    }
  }

  void plant_in_results() {
    const int64_t L = p_.seqlen;
    if (fault_ == Fault::last_step_unwritten) {
      for (size_t i = L - 1; i < r_.du.size(); i += L) r_.du[i] = 0.0f;
    }
    if (fault_ == Fault::last_batch_zero) std::fill(r_.du.end() - p_.dim * L, r_.du.end(), 0.0f);
    if (fault_ == Fault::one_element_off) {
      double mean = 0.0;
      for (const float x : r_.out) mean += std::abs(x) / static_cast<double>(r_.out.size());
      r_.out[r_.out.size() / 2] += static_cast<float>(1e-3 * mean);
    }
  }

  const reference::Problem& p_;
  const reference::Inputs& in_;
  const std::vector<double>&dout_, &dlast_state_;
  const Order order_;
  const Fault fault_;
  FloatResult r_;
  std::vector<std::vector<std::vector<Weight>>> sums_;
};

inline FloatResult float_scan(const reference::Problem& problem, const reference::Inputs& inputs,
                              const std::vector<double>& dout, const std::vector<double>& dlast_state,
                              const Order& order, Fault fault = Fault::none) {
  if (problem.complex) return FloatScan<std::complex<float>>(problem, inputs, dout, dlast_state, order, fault).run();
  return FloatScan<float>(problem, inputs, dout, dlast_state, order, fault).run();
}

}  // namespace lrnnx::test
