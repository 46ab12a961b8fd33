// Whether the gauges of the selective scan let right 32-bit computations pass and wrong ones fail. Prints the
// calibration that reference/README.md quotes.
#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "reference/selective_scan.h"
#include "reference/selective_scan_gauge.h"
#include "tests/float_scan.h"

namespace lrnnx::test::gauge_test {
namespace {

using reference::GradientGauges;
using reference::Gradients;
using reference::Inputs;
using reference::OutputGauges;
using reference::Outputs;
using reference::Problem;
using reference::TensorGauge;
using Tensor = std::vector<double>;

// --- The rule -----------------------------------------------------------------------------------------------------

struct Verdict {
  double S1 = 0, S2 = 0, S1_env = 0;
  double rho() const { return std::max(S2 / 8.0, S1 / std::max(32.0, 4.0 * S1_env)); }
};

Verdict judge(const std::vector<float>& got, const Tensor& expected, const TensorGauge& gauge) {
  Verdict verdict{.S1_env = gauge.S1_env};
  const size_t parts = gauge.G1.empty() ? 1 : expected.size() / gauge.G1.size();
  for (size_t i = 0; i < gauge.G1.size(); ++i) {
    double square = 0.0;
    bool finite = true;
    for (size_t part = i * parts; part < (i + 1) * parts; ++part) {
      finite = finite && std::isfinite(expected[part]);
      square += (got[part] - expected[part]) * (got[part] - expected[part]);
    }
    if (!finite || square == 0.0) continue;
    const double error = std::sqrt(square);
    const double S1 = error / (reference::kUnitRoundoff * gauge.G1[i] + gauge.F[i]);
    const double S2 = error / (reference::kUnitRoundoff * gauge.G2[i] + gauge.F[i]);
    if (!(S1 <= verdict.S1)) verdict.S1 = S1;
    if (!(S2 <= verdict.S2)) verdict.S2 = S2;
  }
  return verdict;
}

// --- Examples -----------------------------------------------------------------------------------------------------

struct Variant {
  const char* name;
  reference::Discretization discretization;
  bool complex;
};

const Variant kVariants[] = {
    {"mamba", Discretization::mamba, false},
    {"zoh", Discretization::zoh, false},
    {"bilinear", Discretization::bilinear, false},
    {"dirac", Discretization::dirac, false},
    {"s7", Discretization::s7, false},
    {"rglru", Discretization::rglru, false},
    {"complex mamba", Discretization::mamba, true},
    {"complex zoh", Discretization::zoh, true},
    {"complex bilinear", Discretization::bilinear, true},
    {"complex dirac", Discretization::dirac, true},
};

struct Example {
  Problem problem;
  Inputs inputs;
  Tensor dout, dlast_state;
};

bool takes_steps(Discretization d) { return d != Discretization::s7 && d != Discretization::rglru; }

const char* const kFills[] = {"init",    "benign",   "slow",     "stiff",   "wide",      "positive",
                              "cancel",  "heavy",    "constant", "zero dt", "A to 0",    "dt A = -2",
                              "impulse", "singular", "softplus", "gate",    "subnormal", "large"};

// Plain: variable B and C, nothing else.
enum class Options { plain, all_but_deltaA, all };
const char* to_string(Options options) {
  return options == Options::plain ? "no option" : options == Options::all ? "all options" : "all options but deltaA";
}

struct Sizes {
  int64_t batch = 2, dim = 4, dstate = 3, groups = 2;
};

Example make_example(const Variant& variant, const std::string& fill, int64_t seqlen, Options options, uint64_t seed,
                     Sizes sizes = {}) {
  const bool plain = options == Options::plain;
  std::mt19937_64 random(seed);
  const auto normal = [&] { return std::normal_distribution<double>()(random); };
  const auto uniform = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  const auto log_uniform = [&](double low, double high) { return std::exp(uniform(std::log(low), std::log(high))); };
  const auto tensor = [](int64_t size, auto generate) {
    Tensor values(size);
    for (int64_t i = 0; i < size; ++i) values[i] = static_cast<float>(generate(i));
    return values;
  };

  Example e;
  Problem& p = e.problem;
  p.discretization = variant.discretization;
  p.complex = variant.complex;
  p.batch = sizes.batch, p.dim = sizes.dim, p.dstate = sizes.dstate, p.groups = sizes.groups, p.seqlen = seqlen;
  const bool steps = takes_steps(p.discretization);
  p.delta_softplus = steps && (!plain || fill == "softplus");
  const int64_t parts = p.complex ? 2 : 1, sequence = p.batch * p.dim * p.seqlen, fixed = p.dim * p.dstate * parts;
  const int64_t variable = p.batch * p.groups * p.dstate * p.seqlen * parts;

  const auto any = [&](int64_t i) -> double {
    if (fill == "positive") return std::abs(normal());
    if (fill == "cancel") return (i % 2 == 0 ? 1.0 : -1.0) * (1.0 + 1e-3 * normal());
    if (fill == "heavy") return normal() * std::exp(3.0 * normal());
    if (fill == "subnormal") return normal() * 1e-20;
    if (fill == "large") return normal() * 1e6;
    return normal();
  };
  Inputs& in = e.inputs;
  in.u = tensor(sequence, any);
  if (fill == "impulse") {
    for (int64_t i = 0; i < sequence; ++i) in.u[i] = i % p.seqlen == 0 ? in.u[i] : 0.0;
  }
  e.dout = tensor(sequence, any);

  // Steps as they should come out; through the inverse of softplus where it is used.
  double held = log_uniform(1e-3, 1e-1);
  const auto step = [&](int64_t i) {
    if (fill == "benign") return uniform(0.1, 1.0);
    if (fill == "slow") return log_uniform(1e-3, 1e-2);
    if (fill == "stiff") return uniform(0.2, 1.0);
    if (fill == "wide") return log_uniform(1e-6, 10.0);
    if (fill == "dt A = -2") return i % 3 == 0 ? 2.0 : uniform(1.9, 2.1);
    if (fill == "constant") {
      if (i % p.seqlen == 0) held = log_uniform(1e-3, 1e-1);
      return held;
    }
    return log_uniform(1e-3, 1e-1);
  };
  const auto delta = [&](int64_t i) -> double {
    if (p.discretization == Discretization::s7) {
      if (fill == "singular") return std::sqrt(0.5) * (1.0 + 1e-6 * normal());
      if (fill == "slow") return 30.0 + 10.0 * normal();
      if (fill == "zero dt" && i % 3 == 0) return 0.0;
      return fill == "constant" ? 0.9 : normal() * (fill == "large" ? 1e3 : 1.0);
    }
    if (p.discretization == Discretization::rglru) {
      if (fill == "singular") return log_uniform(1e-30, 1e-4);
      if (fill == "large") return uniform(10.0, 200.0);
      if (fill == "zero dt" && i % 3 == 0) return 0.0;
      return fill == "wide" ? log_uniform(1e-6, 10.0) : fill == "constant" ? 1.0 : uniform(0.0, 8.0);
    }
    if (p.delta_softplus) {
      if (fill == "softplus") {
        const double edges[] = {-110.0, -104.5, -90.0, -86.0, -60.0, -20.0, 19.999, 20.0, 20.001, 0.0};
        return edges[random() % 10] + 0.01 * normal();
      }
      if (fill == "zero dt" && i % 3 == 0) return -200.0;
      return std::log(std::expm1(step(i)));
    }
    if (fill == "zero dt" && i % 3 == 0) return 0.0;
    return step(i);
  };
  in.delta = tensor(sequence, delta);

  const auto A_real = [&](int64_t i) -> double {
    if (p.discretization == Discretization::rglru) {
      return fill == "slow"    ? 1.0 - log_uniform(1e-6, 1e-3)
             : fill == "stiff" ? log_uniform(1e-30, 0.5)
                               : uniform(0.5, 0.999);
    }
    if (fill == "benign") return -uniform(0.0, 0.5);
    if (fill == "slow") return -log_uniform(1e-3, 1e-1);
    if (fill == "stiff" || fill == "softplus") return -uniform(10.0, 200.0);
    if (fill == "wide") return -log_uniform(1e-3, 1e3);
    if (fill == "A to 0") return i % 3 == 0 ? 0.0 : -log_uniform(1e-30, 1e-3);
    if (fill == "dt A = -2") return -1.0;
    return -static_cast<double>(1 + i / parts % p.dstate);
  };
  in.A = tensor(fixed, [&](int64_t i) -> double {
    if (p.complex && i % 2 == 1) {
      if (fill == "A to 0") return i % 3 == 0 ? 0.0 : log_uniform(1e-30, 1e-3);
      if (fill == "dt A = -2") return i % 4 == 1 ? 0.0 : 1e-6 * normal();
      if (fill == "singular") return uniform(200.0, 300.0);  // e^z near 1 with z far from 0
      return 3.14159265 * static_cast<double>(i / 2 % p.dstate) * uniform(0.9, 1.1);
    }
    return A_real(i);
  });
  if (p.discretization != Discretization::rglru) in.B = tensor(variable, any);
  in.C = tensor(variable, any);
  if (fill == "constant") {
    for (auto* matrix : {&in.B, &in.C}) {
      for (size_t i = 0; i < matrix->size(); ++i) {
        const size_t in_row = i % (p.seqlen * parts);
        (*matrix)[i] = (*matrix)[i - in_row + in_row % parts];
      }
    }
  }
  if (!plain) {
    in.D = tensor(p.dim, any);
    const double gates[] = {-110.0, -100.0, -89.0, -1.278, 0.0, 17.0, 100.0};
    in.z = tensor(sequence, [&](int64_t i) {
      return fill == "gate" ? gates[random() % 7] : fill == "large" ? normal() : any(i);
    });
    in.h0 = tensor(p.batch * fixed, any);
    e.dlast_state = tensor(p.batch * fixed, any);
    if (steps)
      in.delta_bias =
          tensor(p.dim, [&](int64_t) { return fill == "softplus" || fill == "zero dt" ? 0.0 : 0.1 * normal(); });
    if (steps && options == Options::all) in.deltaA = tensor(sequence, step);
  }
  return e;
}

// --- What is printed and asserted ---------------------------------------------------------------------------------

struct NamedTensor {
  const char* name;
  std::vector<float> FloatResult::*got;
  Tensor Outputs::*output;
  TensorGauge OutputGauges::*output_gauge;
  Tensor Gradients::*gradient;
  TensorGauge GradientGauges::*gradient_gauge;
};

constexpr NamedTensor output(const char* name, std::vector<float> FloatResult::*got, Tensor Outputs::*expected,
                             TensorGauge OutputGauges::*gauge) {
  return {name, got, expected, gauge, nullptr, nullptr};
}
constexpr NamedTensor gradient(const char* name, std::vector<float> FloatResult::*got, Tensor Gradients::*expected,
                               TensorGauge GradientGauges::*gauge) {
  return {name, got, nullptr, nullptr, expected, gauge};
}

using R = FloatResult;
using G = Gradients;
using J = GradientGauges;
const NamedTensor kTensors[] = {
    output("out", &R::out, &Outputs::out, &OutputGauges::out),
    output("out_z", &R::out_z, &Outputs::out_z, &OutputGauges::out_z),
    output("last_state", &R::last_state, &Outputs::last_state, &OutputGauges::last_state),
    gradient("du", &R::du, &G::du, &J::du),
    gradient("ddelta", &R::ddelta, &G::ddelta, &J::ddelta),
    gradient("dA", &R::dA, &G::dA, &J::dA),
    gradient("dB", &R::dB, &G::dB, &J::dB),
    gradient("dC", &R::dC, &G::dC, &J::dC),
    gradient("dD", &R::dD, &G::dD, &J::dD),
    gradient("dz", &R::dz, &G::dz, &J::dz),
    gradient("ddelta_bias", &R::ddelta_bias, &G::ddelta_bias, &J::ddelta_bias),
    gradient("ddeltaA", &R::ddeltaA, &G::ddeltaA, &J::ddeltaA),
    gradient("dh0", &R::dh0, &G::dh0, &J::dh0),
};

// The reference's answer to an example.
class Oracle {
 public:
  explicit Oracle(const Example& e)
      : example_(e),
        outputs_(reference::forward(e.problem, e.inputs)),
        gradients_(reference::backward(e.problem, e.inputs, e.dout, e.dlast_state)),
        output_gauges_(reference::forward_gauges(e.problem, e.inputs)),
        gradient_gauges_(reference::backward_gauges(e.problem, e.inputs, e.dout, e.dlast_state)) {
    reference::measure_envelopes(e.problem, e.inputs, outputs_, output_gauges_);
    reference::measure_envelopes(e.problem, e.inputs, e.dout, e.dlast_state, gradients_, gradient_gauges_);
  }

  Verdict judge(const NamedTensor& tensor, const FloatResult& got) const {
    return gauge_test::judge(got.*tensor.got, expected(tensor), gauge(tensor));
  }
  const Tensor& expected(const NamedTensor& tensor) const {
    return tensor.output ? outputs_.*tensor.output : gradients_.*tensor.gradient;
  }
  const TensorGauge& gauge(const NamedTensor& tensor) const {
    return tensor.output ? output_gauges_.*tensor.output_gauge : gradient_gauges_.*tensor.gradient_gauge;
  }
  FloatResult run(const Order& order, Fault fault = Fault::none) const {
    return float_scan(example_.problem, example_.inputs, example_.dout, example_.dlast_state, order, fault);
  }

 private:
  const Example& example_;
  Outputs outputs_;
  Gradients gradients_;
  OutputGauges output_gauges_;
  GradientGauges gradient_gauges_;
};

class Gauges : public testing::TestWithParam<Variant> {};
INSTANTIATE_TEST_SUITE_P(Variants, Gauges, testing::ValuesIn(kVariants), [](const auto& info) {
  std::string name = info.param.name;
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
});

struct Worst {
  Verdict largest;  // of each number
  double rho = 0;
  std::string where;  // of rho
};

// Long sequences in the fills where roundings pile up.
std::vector<int64_t> lengths(const std::string& fill, Options options) {
  std::vector<int64_t> lengths = {1, 37, 300};
  const bool piles_up = fill == "init" || fill == "slow" || fill == "wide" || fill == "positive" || fill == "constant";
  if (piles_up && options == Options::plain) lengths.push_back(2100);
  return lengths;
}

TEST_P(Gauges, RightComputationsPassInEveryOrderOfEvaluation) {
  std::map<std::string, Worst> tensors;
  for (const std::string fill : kFills) {
    for (const Options options : {Options::plain, Options::all_but_deltaA, Options::all}) {
      for (const int64_t seqlen : lengths(fill, options)) {
        const Example example = make_example(GetParam(), fill, seqlen, options, 1000 + seqlen);
        const Oracle oracle(example);
        for (const Order& order : kOrders) {
          const FloatResult got = oracle.run(order);
          for (const NamedTensor& tensor : kTensors) {
            const Verdict verdict = oracle.judge(tensor, got);
            const std::string where =
                fill + ", seqlen " + std::to_string(seqlen) + ", " + to_string(options) + ", " + order.name;
            EXPECT_LE(verdict.rho(), 1.0) << tensor.name << ", " << where << ": S1 " << verdict.S1 << ", S2 "
                                          << verdict.S2 << ", S1_env " << verdict.S1_env;
            Worst& worst = tensors[tensor.name];
            worst.largest.S1 = std::max(worst.largest.S1, verdict.S1);
            worst.largest.S2 = std::max(worst.largest.S2, verdict.S2);
            worst.largest.S1_env = std::max(worst.largest.S1_env, verdict.S1_env);
            if (verdict.rho() > worst.rho) {
              worst.rho = verdict.rho();
              worst.where = where;
            }
          }
        }
      }
    }
  }
  for (const NamedTensor& tensor : kTensors) {
    const Worst& worst = tensors[tensor.name];
    if (worst.rho == 0) continue;  // a gradient of nothing
    std::printf("| %s | %s | %.3g | %.2g | %.3g | %.2g | %s |\n", GetParam().name, tensor.name, worst.largest.S1,
                worst.largest.S2, worst.largest.S1_env, worst.rho, worst.where.c_str());
  }
}

// Where the three runs of S1_env have a handful of roundings to learn from.
TEST_P(Gauges, RightComputationsOfTheSmallestProblemsPassForAHundredSeeds) {
  constexpr Sizes kSmallest = {.batch = 1, .dim = 1, .dstate = 1, .groups = 1};
  Worst worst;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    for (const std::string fill : kFills) {
      for (const int64_t seqlen : {1, 40}) {
        const Options options = seed % 2 == 0 ? Options::plain : Options::all_but_deltaA;
        const Example example = make_example(GetParam(), fill, seqlen, options, seed, kSmallest);
        const Oracle oracle(example);
        for (const Order& order : kOrders) {
          const FloatResult got = oracle.run(order);
          for (const NamedTensor& tensor : kTensors) {
            const Verdict verdict = oracle.judge(tensor, got);
            const std::string where = fill + ", seqlen " + std::to_string(seqlen) + ", " + to_string(options) + ", " +
                                      order.name + ", seed " + std::to_string(seed) + ", " + tensor.name;
            EXPECT_LE(verdict.rho(), 1.0)
                << where << ": S1 " << verdict.S1 << ", S2 " << verdict.S2 << ", S1_env " << verdict.S1_env;
            if (verdict.rho() > worst.rho) worst = {.largest = verdict, .rho = verdict.rho(), .where = where};
          }
        }
      }
    }
  }
  std::printf("| %s | smallest | %.3g | %.2g | %.3g | %.2g | %s |\n", GetParam().name, worst.largest.S1,
              worst.largest.S2, worst.largest.S1_env, worst.rho, worst.where.c_str());
}

struct NamedFault {
  const char* name;
  Fault fault;
  bool (*applies)(const Problem&);
};

bool always(const Problem&) { return true; }
bool of_steps(const Problem& p) { return takes_steps(p.discretization); }
bool of_complex(const Problem& p) { return p.complex; }
bool of_A(const Problem& p) { return p.discretization != Discretization::s7; }
bool of_input_slope(const Problem& p) {
  return p.discretization != Discretization::s7 && p.discretization != Discretization::dirac;
}

const NamedFault kFaults[] = {
    {"gamma B u times 1.0001", Fault::input_scaled, always},
    {"the adjoint with A_t for A_(t+1)", Fault::transition_shifted, always},
    {"h_t for h_(t-1)", Fault::state_of_now, always},
    {"the carry lost halfway", Fault::carry_lost, always},
    {"the last step of du not written", Fault::last_step_unwritten, always},
    {"one element of out off by 1e-3 of the mean", Fault::one_element_off, always},
    {"d gamma / d dt dropped", Fault::input_slope_dropped, of_input_slope},
    {"dA times 0.999", Fault::dA_scaled, of_A},
    {"u truncated to bfloat16", Fault::u_truncated, always},
    {"A (s7: delta) truncated to TF32", Fault::A_truncated, always},
    {"du of the last batch 0", Fault::last_batch_zero, always},
    {"B and C of another group", Fault::group_of_the_next, always},
    {"deltaA ignored", Fault::deltaA_ignored, of_steps},
    {"softplus' dropped", Fault::softplus_slope_dropped, of_steps},
    {"a conjugate missing", Fault::conjugate_missing, of_complex},
    {"2 Re without the 2", Fault::real_part_once, of_complex},
    {"dout past the gate", Fault::du_of_no_gate, always},
};

TEST_P(Gauges, PlantedFaultsFailInSomeFill) {
  std::map<std::string, double> largest;
  std::map<std::string, std::string> where;
  for (const std::string fill : {"init", "benign", "slow", "wide", "positive", "constant"}) {
    for (const Options options : {Options::plain, Options::all_but_deltaA, Options::all}) {
      const Example example = make_example(GetParam(), fill, 300, options, 7);
      const Oracle oracle(example);
      for (const NamedFault& fault : kFaults) {
        if (!fault.applies(example.problem)) continue;
        const FloatResult got = oracle.run(kOrders[2], fault.fault);
        for (const NamedTensor& tensor : kTensors) {
          const double rho = oracle.judge(tensor, got).rho();
          if (rho > largest[fault.name]) {
            largest[fault.name] = rho;
            where[fault.name] = tensor.name + (", " + fill);
          }
        }
      }
    }
  }
  for (const auto& [name, rho] : largest) {
    EXPECT_GT(rho, 1.0) << name;
    std::printf("| %s | %s | %.3g | %s |\n", GetParam().name, name.c_str(), rho, where[name].c_str());
  }
}

// --- The gauges themselves ----------------------------------------------------------------------------------------

TEST_P(Gauges, AreZeroWhereNothingCanGoWrong) {
  Example example = make_example(GetParam(), "benign", 40, Options::all, 3);
  Inputs& in = example.inputs;
  const int64_t L = example.problem.seqlen;
  // The first channel of the first batch gets no input, and its first gradient comes from no later step.
  std::fill(in.u.begin(), in.u.begin() + L, 0.0);
  std::fill(in.h0.begin(), in.h0.begin() + 3 * (example.problem.complex ? 2 : 1), 0.0);
  in.z[L - 1] = 0.0;
  const Oracle oracle(example);
  const auto expect_zero = [&](const char* name, int64_t begin, int64_t end) {
    for (const NamedTensor& tensor : kTensors) {
      if (tensor.name != std::string(name)) continue;
      const TensorGauge& gauge = oracle.gauge(tensor);
      for (int64_t i = begin; i < end; ++i) {
        ASSERT_EQ(oracle.expected(tensor)[i], 0.0) << name << i;
        ASSERT_EQ(gauge.G1[i] + gauge.G2[i] + gauge.F[i], 0.0) << name << i;
      }
    }
  };
  expect_zero("out", 0, L);
  expect_zero("out_z", 0, L);
  expect_zero("out_z", L - 1, L);
  expect_zero("dz", 0, L);
  if (GetParam().discretization == Discretization::dirac) expect_zero("ddelta", 0, 8 * L);
  if (GetParam().discretization == Discretization::s7) expect_zero("dA", 0, 12);
}

TEST_P(Gauges, ANumberThatIsNotFinitePoisonsNoFiniteElement) {
  for (const double bad : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity(),
                           -std::numeric_limits<double>::infinity()}) {
    for (const auto input : {&Inputs::u, &Inputs::delta, &Inputs::A, &Inputs::B, &Inputs::C, &Inputs::D, &Inputs::z,
                             &Inputs::delta_bias, &Inputs::deltaA, &Inputs::h0}) {
      for (const Options options : {Options::plain, Options::all_but_deltaA, Options::all}) {
        Example example = make_example(GetParam(), "init", 9, options, 5);
        if ((example.inputs.*input).empty()) continue;
        (example.inputs.*input)[(example.inputs.*input).size() / 2] = bad;
        const Oracle oracle(example);
        for (const NamedTensor& tensor : kTensors) {
          const TensorGauge& gauge = oracle.gauge(tensor);
          const Tensor& expected = oracle.expected(tensor);
          const size_t parts = gauge.G1.empty() ? 1 : expected.size() / gauge.G1.size();
          for (size_t i = 0; i < gauge.G1.size(); ++i) {
            if (!std::isfinite(expected[i * parts]) || !std::isfinite(expected[(i + 1) * parts - 1])) continue;
            ASSERT_FALSE(std::isnan(gauge.G1[i] + gauge.G2[i] + gauge.F[i]))
                << tensor.name << "[" << i << "] with " << bad << " in an input of " << (example.inputs.*input).size()
                << ", " << to_string(options);
          }
          ASSERT_TRUE(gauge.S1_env >= 0.0) << tensor.name;
        }
      }
    }
  }
}

TEST_P(Gauges, NoBitDependsOnTheNumberOfThreads) {
  const Example example = make_example(GetParam(), "wide", 1500, Options::all, 11);
  const int before = omp_get_max_threads();
  omp_set_num_threads(1);
  const Oracle alone(example);
  omp_set_num_threads(5);
  const Oracle together(example);
  omp_set_num_threads(before);
  for (const NamedTensor& tensor : kTensors) {
    const TensorGauge &x = alone.gauge(tensor), &y = together.gauge(tensor);
    EXPECT_EQ(x.G1, y.G1) << tensor.name;
    EXPECT_EQ(x.G2, y.G2) << tensor.name;
    EXPECT_EQ(x.F, y.F) << tensor.name;
    EXPECT_EQ(x.S1_env, y.S1_env) << tensor.name;
  }
}

}  // namespace
}  // namespace lrnnx::test::gauge_test
