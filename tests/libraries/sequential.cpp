// A library to check against the one of this repository, and to start from: real Mamba on the processor, forward and
// backward, one step after the other as the formulas stand. It needs lrnnx.h and nothing else:
//
//   g++ -std=c++20 -O2 -fPIC -shared -Ikernels/include tests/libraries/sequential.cpp -o sequential.so
//   lrnnx-bench check --library ./sequential.so
#include <cmath>
#include <cstdio>
#include <cstring>
#include <vector>

#include "lrnnx/lrnnx.h"

namespace {

thread_local char message[256];

lrnnx_status fail(lrnnx_status status, const char* why) {
  std::snprintf(message, sizeof message, "%s", why);
  return status;
}

constexpr lrnnx_variant variant(const char* direction) {
  return {.family = "selective_scan",
          .discretization = "mamba",
          .dtype = "f32",
          .direction = direction,
          .backend = "cpu",
          .options = LRNNX_VARIABLE_B | LRNNX_VARIABLE_C | LRNNX_HAS_D | LRNNX_HAS_Z | LRNNX_HAS_DELTA_BIAS |
                     LRNNX_DELTA_SOFTPLUS | LRNNX_HAS_DELTA_A | LRNNX_HAS_H0 | LRNNX_HAS_LAST_STATE |
                     LRNNX_SAVE_FOR_BACKWARD,
          .takes_A = 1,
          .takes_B = 1};
}
constexpr lrnnx_variant kVariants[] = {variant("forward"), variant("backward")};

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

// The sums of the gradients; the rest is written as it comes.
struct Sums {
  std::vector<double> A, B, C, D, bias;
};

// One problem and where its tensors lie. Sums are kept in double: order then matters little.
template <class Args>
class Scan {
 public:
  Scan(const lrnnx_selective_scan_problem& problem, const Args& args)
      : problem_(problem), args_(args), states_(static_cast<size_t>((problem.seqlen + 1) * problem.dstate)) {}

  float& at(const lrnnx_tensor& tensor, int64_t b, int64_t d, int64_t t) const {
    const bool contiguous = tensor.stride_batch == 0 && tensor.stride_dim == 0;
    const int64_t row =
        contiguous ? (b * problem_.dim + d) * problem_.seqlen : b * tensor.stride_batch + d * tensor.stride_dim;
    return static_cast<float*>(tensor.data)[row + t];
  }
  float* row_of_states(const lrnnx_tensor& tensor, int64_t b, int64_t d) const {
    return static_cast<float*>(tensor.data) + (b * problem_.dim + d) * problem_.dstate;
  }

  // Of B or C.
  int64_t weight_at(uint32_t variable, int64_t b, int64_t d, int64_t n, int64_t t) const {
    if (!(problem_.options & variable)) return d * problem_.dstate + n;
    const int64_t group = d / (problem_.dim / problem_.groups);
    return ((b * problem_.groups + group) * problem_.dstate + n) * problem_.seqlen + t;
  }
  double A(int64_t d, int64_t n) const { return static_cast<float*>(args_.A.data)[d * problem_.dstate + n]; }
  double B(int64_t b, int64_t d, int64_t n, int64_t t) const {
    return static_cast<float*>(args_.B.data)[weight_at(LRNNX_VARIABLE_B, b, d, n, t)];
  }
  double C(int64_t b, int64_t d, int64_t n, int64_t t) const {
    return static_cast<float*>(args_.C.data)[weight_at(LRNNX_VARIABLE_C, b, d, n, t)];
  }

  double biased(int64_t b, int64_t d, int64_t t) const {
    const double delta = at(args_.delta, b, d, t);
    return args_.delta_bias.data ? delta + static_cast<float*>(args_.delta_bias.data)[d] : delta;
  }
  double step(int64_t b, int64_t d, int64_t t) const {
    const double delta = biased(b, d, t);
    return problem_.options & LRNNX_DELTA_SOFTPLUS ? softplus(delta) : delta;
  }
  double step_of_A(int64_t b, int64_t d, int64_t t) const {
    return args_.deltaA.data ? at(args_.deltaA, b, d, t) : step(b, d, t);
  }

  // Before step t; in float, as they are defined to be.
  float& state(int64_t t, int64_t n) { return states_[static_cast<size_t>(t * problem_.dstate + n)]; }

  void run(int64_t b, int64_t d) {
    for (int64_t n = 0; n < problem_.dstate; ++n) {
      state(0, n) = args_.h0.data ? row_of_states(args_.h0, b, d)[n] : 0.0f;
      for (int64_t t = 0; t < problem_.seqlen; ++t) {
        const double transition = std::exp(step_of_A(b, d, t) * A(d, n));
        const double input = step(b, d, t) * B(b, d, n, t) * at(args_.u, b, d, t);
        state(t + 1, n) = static_cast<float>(transition * state(t, n) + input);
      }
    }
  }

 protected:
  const lrnnx_selective_scan_problem& problem_;
  const Args& args_;
  std::vector<float> states_;
};

class Forward : Scan<lrnnx_selective_scan_forward_args> {
 public:
  using Scan::Scan;

  void operator()(int64_t b, int64_t d) {
    run(b, d);
    for (int64_t t = 0; t < problem_.seqlen; ++t) {
      double out = args_.D.data ? static_cast<double>(static_cast<float*>(args_.D.data)[d]) * at(args_.u, b, d, t) : 0;
      for (int64_t n = 0; n < problem_.dstate; ++n) out += C(b, d, n, t) * state(t + 1, n);
      at(args_.out, b, d, t) = static_cast<float>(out);
      if (!args_.z.data) continue;
      const double z = at(args_.z, b, d, t);
      at(args_.out_z, b, d, t) = static_cast<float>(out * z * sigmoid(z));
    }
    if (args_.last_state.data)
      std::memcpy(row_of_states(args_.last_state, b, d), &state(problem_.seqlen, 0),
                  static_cast<size_t>(problem_.dstate) * sizeof(float));
  }
};

class Backward : Scan<lrnnx_selective_scan_backward_args> {
 public:
  using Scan::Scan;

  void operator()(int64_t b, int64_t d, Sums& sums) {
    run(b, d);
    std::vector<double> adjoint(static_cast<size_t>(problem_.dstate));  // of the state after the step
    if (args_.dlast_state.data)
      for (size_t n = 0; n < adjoint.size(); ++n) adjoint[n] = row_of_states(args_.dlast_state, b, d)[n];
    for (int64_t t = problem_.seqlen - 1; t >= 0; --t) {
      double dout = at(args_.dout, b, d, t);
      if (args_.z.data) {
        const double z = at(args_.z, b, d, t), s = sigmoid(z);
        at(args_.dz, b, d, t) = static_cast<float>(dout * at(args_.out, b, d, t) * s * (1 + z * (1 - s)));
        dout *= z * s;
      }
      back(b, d, t, dout, adjoint, sums);
    }
    if (args_.dh0.data)
      for (size_t n = 0; n < adjoint.size(); ++n) row_of_states(args_.dh0, b, d)[n] = static_cast<float>(adjoint[n]);
  }

 private:
  void back(int64_t b, int64_t d, int64_t t, double dout, std::vector<double>& adjoint, Sums& sums) {
    const double u = at(args_.u, b, d, t), dt = step(b, d, t), dtA = step_of_A(b, d, t);
    double du = 0, ddt = 0, ddtA = 0;
    for (int64_t n = 0; n < problem_.dstate; ++n) {
      double& g = adjoint[static_cast<size_t>(n)];
      g += dout * C(b, d, n, t);
      sums.C[static_cast<size_t>(weight_at(LRNNX_VARIABLE_C, b, d, n, t))] += dout * state(t + 1, n);
      sums.B[static_cast<size_t>(weight_at(LRNNX_VARIABLE_B, b, d, n, t))] += g * dt * u;
      du += g * dt * B(b, d, n, t);
      ddt += g * B(b, d, n, t) * u;
      const double transition = std::exp(dtA * A(d, n));
      const double through = g * transition * state(t, n);
      ddtA += through * A(d, n);
      sums.A[static_cast<size_t>(d * problem_.dstate + n)] += through * dtA;
      g *= transition;
    }
    if (args_.D.data) {
      du += dout * static_cast<float*>(args_.D.data)[d];
      sums.D[static_cast<size_t>(d)] += dout * u;
    }
    if (args_.deltaA.data)
      at(args_.ddeltaA, b, d, t) = static_cast<float>(ddtA);
    else
      ddt += ddtA;
    if (problem_.options & LRNNX_DELTA_SOFTPLUS) ddt *= sigmoid(biased(b, d, t));
    sums.bias[static_cast<size_t>(d)] += ddt;
    at(args_.du, b, d, t) = static_cast<float>(du);
    at(args_.ddelta, b, d, t) = static_cast<float>(ddt);
  }
};

lrnnx_status refusal(const lrnnx_selective_scan_problem* problem) {
  if (problem->discretization != LRNNX_MAMBA || problem->dtype != LRNNX_F32 || problem->backend != LRNNX_CPU)
    return fail(LRNNX_UNSUPPORTED, "only real mamba on the cpu");
  if (problem->configuration && *problem->configuration)
    return fail(LRNNX_INVALID_ARGUMENT, "configuration: there is nothing to configure");
  return LRNNX_OK;
}

void write(const std::vector<double>& sums, const lrnnx_tensor& tensor) {
  if (!tensor.data) return;
  for (size_t i = 0; i < sums.size(); ++i) static_cast<float*>(tensor.data)[i] = static_cast<float>(sums[i]);
}

}  // namespace

extern "C" {

int32_t lrnnx_abi_version(void) { return LRNNX_ABI_VERSION; }

const char* lrnnx_status_name(lrnnx_status status) { return status == LRNNX_OK ? "LRNNX_OK" : "a failure"; }

const char* lrnnx_last_error(void) { return message; }

int64_t lrnnx_variant_count(void) { return std::size(kVariants); }

lrnnx_status lrnnx_variant_at(int64_t index, lrnnx_variant* variant) {
  if (index < 0 || index >= lrnnx_variant_count()) return fail(LRNNX_INVALID_ARGUMENT, "index");
  *variant = kVariants[index];
  return LRNNX_OK;
}

lrnnx_status lrnnx_selective_scan_memory(const lrnnx_selective_scan_problem* problem, lrnnx_direction,
                                         lrnnx_memory* memory) {
  *memory = {.saved_bytes = 0, .workspace_bytes = 0};
  return refusal(problem);
}

lrnnx_status lrnnx_selective_scan_configuration(const lrnnx_selective_scan_problem* problem, lrnnx_direction,
                                                char* text, int64_t capacity) {
  if (capacity > 0) *text = '\0';
  return refusal(problem);
}

lrnnx_status lrnnx_selective_scan_forward(const lrnnx_selective_scan_problem* problem,
                                          const lrnnx_selective_scan_forward_args* args) {
  if (const lrnnx_status status = refusal(problem); status != LRNNX_OK) return status;
  Forward forward(*problem, *args);
  for (int64_t b = 0; b < problem->batch; ++b)
    for (int64_t d = 0; d < problem->dim; ++d) forward(b, d);
  return LRNNX_OK;
}

lrnnx_status lrnnx_selective_scan_backward(const lrnnx_selective_scan_problem* problem,
                                           const lrnnx_selective_scan_backward_args* args) {
  if (const lrnnx_status status = refusal(problem); status != LRNNX_OK) return status;
  const auto zeros = [](int64_t count) { return std::vector<double>(static_cast<size_t>(count)); };
  Sums sums{.A = zeros(args->A.size),
            .B = zeros(args->B.size),
            .C = zeros(args->C.size),
            .D = zeros(problem->dim),
            .bias = zeros(problem->dim)};
  Backward backward(*problem, *args);
  for (int64_t b = 0; b < problem->batch; ++b)
    for (int64_t d = 0; d < problem->dim; ++d) backward(b, d, sums);
  write(sums.A, args->dA);
  write(sums.B, args->dB);
  write(sums.C, args->dC);
  write(sums.D, args->dD);
  write(sums.bias, args->ddelta_bias);
  return LRNNX_OK;
}

}  // extern "C"
