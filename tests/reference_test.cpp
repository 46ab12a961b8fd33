// The oracle of the selective scan against everything that can be known without it: dual numbers, central differences,
// closed forms, and values from 200-digit arithmetic.
#include "reference/selective_scan.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "reference/selective_scan_forward.h"
#include "tests/dual.h"
#include "tests/golden/reference_values.h"

namespace lrnnx::reference {
namespace {

using Tensor = std::vector<double>;

// --- The inputs and their gradients by name -----------------------------------------------------------------------

struct NamedTensor {
  const char* name;
  Tensor Inputs::*input;
  Tensor Gradients::*gradient;
  bool is_weight;  // complex in a complex problem
};

constexpr NamedTensor kTensors[] = {
    {"u", &Inputs::u, &Gradients::du, false},
    {"delta", &Inputs::delta, &Gradients::ddelta, false},
    {"A", &Inputs::A, &Gradients::dA, true},
    {"B", &Inputs::B, &Gradients::dB, true},
    {"C", &Inputs::C, &Gradients::dC, true},
    {"D", &Inputs::D, &Gradients::dD, false},
    {"z", &Inputs::z, &Gradients::dz, false},
    {"delta_bias", &Inputs::delta_bias, &Gradients::ddelta_bias, false},
    {"deltaA", &Inputs::deltaA, &Gradients::ddeltaA, false},
    {"h0", &Inputs::h0, &Gradients::dh0, true},
};

// --- Random problems ----------------------------------------------------------------------------------------------

struct Options {
  bool variable_B = true, variable_C = true;
  bool D = false, z = false, delta_bias = false, delta_softplus = false, deltaA = false, h0 = false;
  bool last_state = false;
};

bool takes_step_options(Discretization discretization) {
  return discretization != Discretization::s7 && discretization != Discretization::rglru;
}

struct Example {
  Problem problem;
  Inputs inputs;
  Tensor dout, dlast_state;
};

Tensor normal(std::mt19937_64& random, int64_t size) {
  std::normal_distribution<double> distribution;
  Tensor tensor(size);
  for (double& x : tensor) x = distribution(random);
  return tensor;
}

Tensor uniform(std::mt19937_64& random, int64_t size, double low, double high) {
  std::uniform_real_distribution<double> distribution(low, high);
  Tensor tensor(size);
  for (double& x : tensor) x = distribution(random);
  return tensor;
}

Example make_example(Problem problem, const Options& options, uint64_t seed = 1) {
  std::mt19937_64 random(seed);
  const bool steps = takes_step_options(problem.discretization);
  problem.variable_B = options.variable_B;
  problem.variable_C = options.variable_C;
  problem.delta_softplus = options.delta_softplus && steps;
  const int64_t parts = problem.complex ? 2 : 1;
  const int64_t sequence = problem.batch * problem.dim * problem.seqlen;
  const int64_t fixed = problem.dim * problem.dstate * parts;
  const int64_t variable = problem.batch * problem.groups * problem.dstate * problem.seqlen * parts;

  Example example{.problem = problem, .inputs = {}, .dout = normal(random, sequence), .dlast_state = {}};
  Inputs& inputs = example.inputs;
  inputs.u = normal(random, sequence);
  switch (problem.discretization) {
    case Discretization::s7:
      inputs.delta = normal(random, sequence);
      break;
    case Discretization::rglru:
      inputs.delta = uniform(random, sequence, 0.01, 4.0);
      inputs.A = uniform(random, fixed, 0.05, 0.999);
      break;
    default:
      inputs.delta =
          problem.delta_softplus ? uniform(random, sequence, -8.0, 2.0) : uniform(random, sequence, 0.001, 0.5);
      inputs.A = uniform(random, fixed, -5.0, 0.0);
      for (int64_t i = 1; problem.complex && i < fixed; i += 2) inputs.A[i] = 4.0 * (inputs.A[i] + 2.5);
  }
  if (reads_B(problem.discretization)) inputs.B = normal(random, options.variable_B ? variable : fixed);
  inputs.C = normal(random, options.variable_C ? variable : fixed);
  if (options.D) inputs.D = normal(random, problem.dim);
  if (options.z) inputs.z = normal(random, sequence);
  if (options.delta_bias && steps) inputs.delta_bias = uniform(random, problem.dim, 0.0, 0.2);
  if (options.deltaA && steps) inputs.deltaA = uniform(random, sequence, 0.001, 0.5);
  if (options.h0) inputs.h0 = normal(random, problem.batch * fixed);
  if (options.last_state) example.dlast_state = normal(random, problem.batch * fixed);
  return example;
}

// --- Directional derivatives by dual numbers ----------------------------------------------------------------------

template <class T>
std::vector<Dual<T>> dual(const Tensor& value, const Tensor& tangent) {
  const auto* values = reinterpret_cast<const T*>(value.data());
  const auto* tangents = reinterpret_cast<const T*>(tangent.data());
  std::vector<Dual<T>> result(value.size() * sizeof(double) / sizeof(T));
  for (size_t i = 0; i < result.size(); ++i)
    result[i] = tangent.empty() ? Dual<T>(values[i]) : Dual<T>(values[i], tangents[i]);
  return result;
}

template <class T>
Tensor tangent(const std::vector<Dual<T>>& values) {
  Tensor result(values.size() * sizeof(T) / sizeof(double));
  for (size_t i = 0; i < values.size(); ++i) reinterpret_cast<T*>(result.data())[i] = values[i].tangent;
  return result;
}

// The outputs' derivative along a direction; a tensor that is empty in it stands still.
template <class Weight>
Outputs derivative_as(const Problem& problem, const Inputs& inputs, const Inputs& direction) {
  const auto u = dual<double>(inputs.u, direction.u), delta = dual<double>(inputs.delta, direction.delta);
  const auto D = dual<double>(inputs.D, direction.D), z = dual<double>(inputs.z, direction.z);
  const auto delta_bias = dual<double>(inputs.delta_bias, direction.delta_bias);
  const auto deltaA = dual<double>(inputs.deltaA, direction.deltaA);
  const auto A = dual<Weight>(inputs.A, direction.A), B = dual<Weight>(inputs.B, direction.B);
  const auto C = dual<Weight>(inputs.C, direction.C), h0 = dual<Weight>(inputs.h0, direction.h0);
  const auto at = [](const auto& values) { return values.empty() ? nullptr : values.data(); };
  const InputView<Dual<double>, Dual<Weight>> view{.u = at(u),
                                                   .delta = at(delta),
                                                   .D = at(D),
                                                   .z = at(z),
                                                   .delta_bias = at(delta_bias),
                                                   .deltaA = at(deltaA),
                                                   .A = at(A),
                                                   .B = at(B),
                                                   .C = at(C),
                                                   .h0 = at(h0)};
  const auto result = forward<Arithmetic<Dual<double>, Dual<Weight>>>(problem, view);
  return {tangent(result.out), tangent(result.out_z), tangent(result.last_state)};
}

Outputs derivative(const Problem& problem, const Inputs& inputs, const Inputs& direction) {
  return problem.complex ? derivative_as<std::complex<double>>(problem, inputs, direction)
                         : derivative_as<double>(problem, inputs, direction);
}

struct Dot {
  double value = 0.0, size = 0.0;  // the sum, and the sum of absolute values

  void add(const Tensor& x, const Tensor& y) {
    for (size_t i = 0; i < x.size(); ++i) {
      value += x[i] * y[i];
      size += std::abs(x[i] * y[i]);
    }
  }
};

// <gradient of the outputs, outputs>: the loss whose gradient backward() gives, or its change.
Dot loss(const Example& example, const Outputs& outputs) {
  Dot dot;
  dot.add(example.dout, example.inputs.z.empty() ? outputs.out : outputs.out_z);
  dot.add(example.dlast_state, outputs.last_state);
  return dot;
}

void expect_adjoint(const Example& example, const Gradients& gradients, const Inputs& direction) {
  const Dot forward_side = loss(example, derivative(example.problem, example.inputs, direction));
  Dot backward_side;
  for (const auto& tensor : kTensors) {
    if (!(direction.*tensor.input).empty()) backward_side.add(gradients.*tensor.gradient, direction.*tensor.input);
  }
  // Not one term in a sum may be missing, so the bound is relative to what is summed, and far below a term's size.
  EXPECT_NEAR(forward_side.value, backward_side.value, 1e-12 * (forward_side.size + backward_side.size));
}

// Random directions in each tensor alone and in all of them, and single coordinates of each tensor.
void expect_gradients_of_dual_numbers(const Example& example, int probes) {
  const Gradients gradients = backward(example.problem, example.inputs, example.dout, example.dlast_state);
  std::mt19937_64 random(7);
  Inputs everything;
  for (const auto& tensor : kTensors) {
    SCOPED_TRACE(tensor.name);
    const auto size = static_cast<int64_t>((example.inputs.*tensor.input).size());
    ASSERT_EQ(static_cast<int64_t>((gradients.*tensor.gradient).size()), size);
    if (size == 0) continue;
    Inputs direction;
    direction.*tensor.input = everything.*tensor.input = normal(random, size);
    expect_adjoint(example, gradients, direction);
    for (int probe = 0; probe < probes; ++probe) {
      const int64_t at = probe == 0 ? 0 : probe == 1 ? size - 1 : static_cast<int64_t>(random() % size);
      SCOPED_TRACE("coordinate " + std::to_string(at));
      (direction.*tensor.input).assign(size, 0.0);
      (direction.*tensor.input)[at] = 1.0;
      expect_adjoint(example, gradients, direction);
    }
  }
  SCOPED_TRACE("all tensors");
  expect_adjoint(example, gradients, everything);
}

// --- Every variant ------------------------------------------------------------------------------------------------

struct Variant {
  const char* name;
  Discretization discretization;
  bool complex;
};

const Variant kVariants[] = {
    {"mamba", Discretization::mamba, false},
    {"zoh", Discretization::zoh, false},
    {"bilinear", Discretization::bilinear, false},
    {"dirac", Discretization::dirac, false},
    {"s7", Discretization::s7, false},
    {"rglru", Discretization::rglru, false},
    {"complex_mamba", Discretization::mamba, true},
    {"complex_zoh", Discretization::zoh, true},
    {"complex_bilinear", Discretization::bilinear, true},
    {"complex_dirac", Discretization::dirac, true},
};

Problem problem_of(const Variant& variant) {
  return {.discretization = variant.discretization, .complex = variant.complex};
}

Problem problem_of(const Variant& variant, int64_t batch, int64_t dim, int64_t seqlen, int64_t dstate, int64_t groups) {
  Problem problem = problem_of(variant);
  problem.batch = batch;
  problem.dim = dim;
  problem.seqlen = seqlen;
  problem.dstate = dstate;
  problem.groups = groups;
  return problem;
}

constexpr Options kEverything = {
    .D = true, .z = true, .delta_bias = true, .delta_softplus = true, .deltaA = true, .h0 = true, .last_state = true};

class SelectiveScanReference : public testing::TestWithParam<Variant> {};

INSTANTIATE_TEST_SUITE_P(Variants, SelectiveScanReference, testing::ValuesIn(kVariants),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(SelectiveScanReference, GradientsAreThoseOfDualNumbersUnderEveryOption) {
  std::vector<std::pair<std::string, Options>> cases = {
      {"no options", {}},
      {"fixed B", {.variable_B = false}},
      {"fixed C", {.variable_C = false}},
      {"fixed B and C", {.variable_B = false, .variable_C = false}},
      {"D", {.D = true}},
      {"z", {.z = true}},
      {"delta_bias", {.delta_bias = true}},
      {"delta_softplus", {.delta_softplus = true}},
      {"delta_bias and delta_softplus", {.delta_bias = true, .delta_softplus = true}},
      {"deltaA", {.deltaA = true}},
      {"h0", {.h0 = true}},
      {"last_state", {.last_state = true}},
      {"everything", kEverything},
  };
  Options fixed = kEverything;
  fixed.variable_B = fixed.variable_C = false;
  cases.push_back({"everything, fixed B and C", fixed});
  for (const auto& [name, options] : cases) {
    for (const int64_t groups : {1, 2, 4}) {
      SCOPED_TRACE(name + ", groups " + std::to_string(groups));
      expect_gradients_of_dual_numbers(make_example(problem_of(GetParam(), 2, 4, 5, 3, groups), options), 4);
    }
  }
}

TEST_P(SelectiveScanReference, GradientsAreThoseOfDualNumbersAcrossChunksAndChannelBlocks) {
  const auto problem = problem_of(GetParam(), 2, 2 * (kBlock + 1), 2 * kChunk + 3, 2, 2);
  expect_gradients_of_dual_numbers(make_example(problem, kEverything), 0);
  Options fixed = kEverything;
  fixed.variable_B = fixed.variable_C = false;
  expect_gradients_of_dual_numbers(make_example(problem, fixed), 0);
}

TEST_P(SelectiveScanReference, GradientsAreThoseOfDualNumbersForOneStepOneStateAndManyStates) {
  expect_gradients_of_dual_numbers(make_example(problem_of(GetParam(), 1, 1, 1, 1, 1), kEverything), 1);
  expect_gradients_of_dual_numbers(make_example(problem_of(GetParam(), 1, 2, kChunk + 1, 1, 1), kEverything), 2);
  expect_gradients_of_dual_numbers(make_example(problem_of(GetParam(), 1, 2, 3, 256, 1), kEverything), 2);
}

TEST_P(SelectiveScanReference, GradientsAreThoseOfDualNumbersForMoreBatchesThanAreRunAtOnce) {
  expect_gradients_of_dual_numbers(make_example(problem_of(GetParam(), 300, 1, 2, 2, 1), kEverything), 2);
}

TEST_P(SelectiveScanReference, GradientsAreThoseOfCentralDifferences) {
  const Example example = make_example(problem_of(GetParam(), 1, 2, 4, 2, 1), kEverything);
  const Gradients gradients = backward(example.problem, example.inputs, example.dout, example.dlast_state);
  for (const auto& tensor : kTensors) {
    for (size_t i = 0; i < (example.inputs.*tensor.input).size(); ++i) {
      SCOPED_TRACE(std::string(tensor.name) + "[" + std::to_string(i) + "]");
      constexpr double kStep = 1e-5;
      const auto loss_at = [&](double offset) {
        Inputs moved = example.inputs;
        (moved.*tensor.input)[i] += offset;
        return loss(example, forward(example.problem, moved)).value;
      };
      const double difference = (loss_at(kStep) - loss_at(-kStep)) / (2.0 * kStep);
      const double gradient = (gradients.*tensor.gradient)[i];
      EXPECT_NEAR(difference, gradient, 1e-5 * (1.0 + std::abs(gradient)));
    }
  }
}

// --- The forward pass against its definition ----------------------------------------------------------------------

std::pair<std::complex<double>, std::complex<double>> textbook_factors(Discretization discretization,
                                                                       std::complex<double> A, double dtA, double dt) {
  switch (discretization) {
    case Discretization::mamba:
      return {std::exp(dtA * A), dt};
    case Discretization::zoh:
      return {std::exp(dtA * A), (std::exp(dt * A) - 1.0) / A};
    case Discretization::bilinear:
      return {(1.0 + 0.5 * dtA * A) / (1.0 - 0.5 * dtA * A), dt / (1.0 - 0.5 * dt * A)};
    case Discretization::dirac:
      return {std::exp(dtA * A), 1.0};
    case Discretization::s7:
      return {1.0 - 1.0 / (dt * dt + 0.5), 1.0};
    case Discretization::rglru:
      return {std::pow(A.real(), dt), std::sqrt(1.0 - std::pow(A.real(), 2.0 * dt))};
  }
  throw std::logic_error("unknown discretization");
}

// One loop after the other, every index written out.
Outputs textbook_scan(const Problem& p, const Inputs& in) {
  const auto weight = [&](const Tensor& tensor, int64_t at) {
    return p.complex ? std::complex(tensor[2 * at], tensor[2 * at + 1]) : std::complex(tensor[at], 0.0);
  };
  Outputs outputs;
  outputs.out.resize(in.u.size());
  outputs.out_z.resize(in.z.size());
  for (int64_t b = 0; b < p.batch; ++b) {
    for (int64_t d = 0; d < p.dim; ++d) {
      const int64_t group = d / (p.dim / p.groups);
      Tensor sum(p.seqlen, 0.0);
      for (int64_t n = 0; n < p.dstate; ++n) {
        std::complex<double> h = in.h0.empty() ? 0.0 : weight(in.h0, (b * p.dim + d) * p.dstate + n);
        for (int64_t t = 0; t < p.seqlen; ++t) {
          const int64_t bdl = (b * p.dim + d) * p.seqlen + t;
          const int64_t bgnl = ((b * p.groups + group) * p.dstate + n) * p.seqlen + t;
          const int64_t dn = d * p.dstate + n;
          double dt = in.delta[bdl] + (in.delta_bias.empty() ? 0.0 : in.delta_bias[d]);
          if (p.delta_softplus) dt = std::log1p(std::exp(dt));
          const auto A = in.A.empty() ? 0.0 : weight(in.A, dn);
          const auto [transition, input] =
              textbook_factors(p.discretization, A, in.deltaA.empty() ? dt : in.deltaA[bdl], dt);
          const auto B = in.B.empty() ? 1.0 : weight(in.B, p.variable_B ? bgnl : dn);
          h = transition * h + input * B * in.u[bdl];
          sum[t] += (p.complex ? 2.0 : 1.0) * (weight(in.C, p.variable_C ? bgnl : dn) * h).real();
        }
        outputs.last_state.push_back(h.real());
        if (p.complex) outputs.last_state.push_back(h.imag());
      }
      for (int64_t t = 0; t < p.seqlen; ++t) {
        const int64_t bdl = (b * p.dim + d) * p.seqlen + t;
        outputs.out[bdl] = sum[t] + (in.D.empty() ? 0.0 : in.D[d] * in.u[bdl]);
        if (!in.z.empty()) outputs.out_z[bdl] = outputs.out[bdl] * in.z[bdl] / (1.0 + std::exp(-in.z[bdl]));
      }
    }
  }
  return outputs;
}

TEST_P(SelectiveScanReference, OutputsAreThoseOfTheDefinitionLoopByLoop) {
  Options mixed = kEverything;
  mixed.variable_B = false;
  for (const Options& options : {Options{}, kEverything, mixed}) {
    for (const int64_t groups : {1, 2, 18}) {
      const auto problem = problem_of(GetParam(), 2, 18, kChunk + 3, 3, groups);
      const Example example = make_example(problem, options);
      const Outputs given = forward(example.problem, example.inputs);
      const Outputs expected = textbook_scan(example.problem, example.inputs);
      for (const auto tensor : {&Outputs::out, &Outputs::out_z, &Outputs::last_state}) {
        ASSERT_EQ((given.*tensor).size(), (expected.*tensor).size());
        for (size_t i = 0; i < (given.*tensor).size(); ++i) {
          ASSERT_NEAR((given.*tensor)[i], (expected.*tensor)[i], 1e-11) << "groups " << groups << ", element " << i;
        }
      }
    }
  }
}

// --- No result depends on the number of threads -------------------------------------------------------------------

struct ThreadCount {
  explicit ThreadCount(int count) : before(omp_get_max_threads()) { omp_set_num_threads(count); }
  ~ThreadCount() { omp_set_num_threads(before); }
  int before;
};

bool same_bits(const Tensor& x, const Tensor& y) {
  if (x.size() != y.size()) return false;
  return x.empty() || std::memcmp(x.data(), y.data(), x.size() * sizeof(double)) == 0;
}

TEST_P(SelectiveScanReference, NoBitDependsOnTheNumberOfThreads) {
  for (const bool variable : {true, false}) {
    Options options = kEverything;
    options.variable_B = options.variable_C = variable;
    const Example example = make_example(problem_of(GetParam(), 3, 20, 2 * kChunk + 3, 2, 2), options);
    const auto run = [&](int threads) {
      const ThreadCount scope(threads);
      return std::pair(forward(example.problem, example.inputs),
                       backward(example.problem, example.inputs, example.dout, example.dlast_state));
    };
    const auto [outputs, gradients] = run(1);
    for (const int threads : {2, 3, 7}) {
      SCOPED_TRACE(std::to_string(threads) + " threads");
      const auto [other_outputs, other_gradients] = run(threads);
      EXPECT_TRUE(same_bits(outputs.out, other_outputs.out));
      EXPECT_TRUE(same_bits(outputs.out_z, other_outputs.out_z));
      EXPECT_TRUE(same_bits(outputs.last_state, other_outputs.last_state));
      for (const auto& tensor : kTensors) {
        EXPECT_TRUE(same_bits(gradients.*tensor.gradient, other_gradients.*tensor.gradient)) << tensor.name;
      }
    }
  }
}

// --- Values that are not a number ---------------------------------------------------------------------------------

TEST_P(SelectiveScanReference, ANaNInAnInputReachesLaterStepsOfItsChannelOnly) {
  const auto problem = problem_of(GetParam(), 2, 3, kChunk + 9, 2, 1);
  for (const auto input : {&Inputs::u, &Inputs::delta}) {
    Example example = make_example(problem, {.D = true});
    const int64_t channel = 4, step = kChunk - 2;
    (example.inputs.*input)[channel * problem.seqlen + step] = std::numeric_limits<double>::quiet_NaN();
    const Outputs outputs = forward(example.problem, example.inputs);
    for (int64_t i = 0; i < static_cast<int64_t>(outputs.out.size()); ++i) {
      const bool reached = i / problem.seqlen == channel && i % problem.seqlen >= step;
      ASSERT_EQ(std::isnan(outputs.out[i]), reached)
          << "channel " << i / problem.seqlen << " step " << i % problem.seqlen;
    }
  }
}

// --- Closed forms -------------------------------------------------------------------------------------------------

// One channel with one state and B = C = 1, for which scans have closed forms.
Example plain_example(Discretization discretization, int64_t seqlen, double A, double delta) {
  Example example;
  example.problem = {.discretization = discretization, .seqlen = seqlen, .variable_B = false, .variable_C = false};
  example.inputs.u.assign(seqlen, 1.0);
  example.inputs.delta.assign(seqlen, delta);
  example.inputs.A = {A};
  example.inputs.B = {1.0};
  example.inputs.C = {1.0};
  example.dout.assign(seqlen, 0.0);
  return example;
}

TEST(SelectiveScanReferenceClosedForm, ConstantStepGivesAGeometricSum) {
  constexpr int64_t kLength = 1000;
  constexpr double kA = -0.5, kStep = 0.01;
  const double bilinear = (1.0 + 0.5 * kStep * kA) / (1.0 - 0.5 * kStep * kA);
  const struct {
    Discretization discretization;
    double A, delta, transition, input;
  } cases[] = {
      {Discretization::mamba, kA, kStep, std::exp(kStep * kA), kStep},
      {Discretization::zoh, kA, kStep, std::exp(kStep * kA), std::expm1(kStep * kA) / kA},
      {Discretization::bilinear, kA, kStep, bilinear, kStep / (1.0 - 0.5 * kStep * kA)},
      {Discretization::dirac, kA, kStep, std::exp(kStep * kA), 1.0},
      {Discretization::s7, 0.0, 2.0, 7.0 / 9.0, 1.0},
      {Discretization::rglru, 0.9, 0.125, std::pow(0.9, 0.125), std::sqrt(1.0 - std::pow(0.9, 0.25))},
  };
  for (const auto& c : cases) {
    Example example = plain_example(c.discretization, kLength, c.A, c.delta);
    const Outputs outputs = forward(example.problem, example.inputs);
    for (const int64_t t : {int64_t{0}, int64_t{1}, kChunk - 1, kChunk, kLength - 1}) {
      const double expected = c.input * (1.0 - std::pow(c.transition, t + 1)) / (1.0 - c.transition);
      EXPECT_NEAR(outputs.out[t], expected, 1e-12 * expected);
    }
    example.dout.back() = 1.0;
    const Gradients gradients = backward(example.problem, example.inputs, example.dout, {});
    for (const int64_t t : {int64_t{0}, kChunk, kLength - 1}) {
      const double expected = c.input * std::pow(c.transition, kLength - 1 - t);
      EXPECT_NEAR(gradients.du[t], expected, 1e-12 * expected);
    }
  }
}

TEST(SelectiveScanReferenceClosedForm, ZeroAGivesAPrefixSumInEveryDiscretizationOfA) {
  constexpr int64_t kLength = 700;
  for (const auto& variant : kVariants) {
    if (!takes_step_options(variant.discretization)) continue;
    SCOPED_TRACE(variant.name);
    Example example =
        make_example(problem_of(variant, 1, 1, kLength, 1, 1), {.variable_B = false, .variable_C = false});
    std::fill(example.inputs.A.begin(), example.inputs.A.end(), 0.0);
    example.inputs.B = example.inputs.C = variant.complex ? Tensor{1.0, 0.0} : Tensor{1.0};
    const Outputs outputs = forward(example.problem, example.inputs);
    const Gradients gradients = backward(example.problem, example.inputs, example.dout, {});

    const double twice = variant.complex ? 2.0 : 1.0;
    const bool by_step = variant.discretization != Discretization::dirac;
    double sum = 0.0;
    for (int64_t t = 0; t < kLength; ++t) {
      sum += (by_step ? example.inputs.delta[t] : 1.0) * example.inputs.u[t];
      EXPECT_NEAR(outputs.out[t], twice * sum, 1e-12);
    }
    double later = 0.0;
    for (int64_t t = kLength - 1; t >= 0; --t) {
      later += twice * example.dout[t];
      EXPECT_NEAR(gradients.du[t], later * (by_step ? example.inputs.delta[t] : 1.0), 1e-11);
      EXPECT_NEAR(gradients.ddelta[t], by_step ? later * example.inputs.u[t] : 0.0, 1e-11);
    }
  }
}

TEST(SelectiveScanReferenceClosedForm, OneStepOfRealMambaByHand) {
  Example example = plain_example(Discretization::mamba, 1, -2.0, 0.5);
  Inputs& in = example.inputs;
  in.u = {3.0};
  in.B = {5.0};
  in.C = {7.0};
  in.D = {11.0};
  in.h0 = {13.0};
  example.dout = {2.0};
  const double e = std::exp(-1.0), h = 13.0 * e + 7.5, dh = 2.0 * 7.0 + 17.0;
  const Outputs outputs = forward(example.problem, in);
  EXPECT_NEAR(outputs.out[0], 7.0 * h + 33.0, 1e-13);
  EXPECT_NEAR(outputs.last_state[0], h, 1e-14);
  const Gradients gradients = backward(example.problem, in, example.dout, {17.0});
  EXPECT_NEAR(gradients.dC[0], 2.0 * h, 1e-13);
  EXPECT_NEAR(gradients.dB[0], dh * 0.5 * 3.0, 1e-13);
  EXPECT_NEAR(gradients.du[0], dh * 0.5 * 5.0 + 22.0, 1e-13);
  EXPECT_NEAR(gradients.dD[0], 6.0, 1e-14);
  EXPECT_NEAR(gradients.dA[0], dh * 13.0 * e * 0.5, 1e-13);
  EXPECT_NEAR(gradients.ddelta[0], dh * (13.0 * e * -2.0 + 15.0), 1e-12);
  EXPECT_NEAR(gradients.dh0[0], dh * e, 1e-13);
}

TEST(SelectiveScanReferenceClosedForm, OneStepOfComplexDiracByHand) {
  using Complex = std::complex<double>;
  Example example;
  example.problem = {
      .discretization = Discretization::dirac, .complex = true, .variable_B = false, .variable_C = false};
  const Complex A(-0.5, 2.0), B(1.0, -3.0), C(0.25, 2.0), h0(-1.0, 0.5), dlast(0.75, -0.125);
  const double u = 1.5, delta = 0.25, dout = 3.0;
  const auto tensor = [](Complex x) { return Tensor{x.real(), x.imag()}; };
  Inputs& in = example.inputs;
  in.u = {u};
  in.delta = {delta};
  in.A = tensor(A);
  in.B = tensor(B);
  in.C = tensor(C);
  in.h0 = tensor(h0);
  const Complex e = std::exp(delta * A), h = e * h0 + B * u, dh = dlast + 2.0 * dout * std::conj(C);
  const Outputs outputs = forward(example.problem, example.inputs);
  EXPECT_NEAR(outputs.out[0], 2.0 * (C * h).real(), 1e-13);
  const Gradients gradients = backward(example.problem, example.inputs, {dout}, tensor(dlast));
  const auto expect = [](const Tensor& given, Complex expected) {
    EXPECT_NEAR(given[0], expected.real(), 1e-13);
    EXPECT_NEAR(given[1], expected.imag(), 1e-13);
  };
  expect(gradients.dC, 2.0 * dout * std::conj(h));
  expect(gradients.dB, dh * u);
  expect(gradients.dA, dh * std::conj(h0 * e) * delta);
  expect(gradients.dh0, dh * std::conj(e));
  EXPECT_NEAR(gradients.du[0], (dh * std::conj(B)).real(), 1e-13);
  EXPECT_NEAR(gradients.ddelta[0], (dh * std::conj(h0 * e * A)).real(), 1e-13);
}

TEST(SelectiveScanReferenceClosedForm, SoftplusIsTheIdentityBeyond20AndItsSlopeTheLogisticFunction) {
  const Tensor deltas = {-800.0, -104.0, -20.0, 0.0, 20.0, std::nextafter(20.0, 21.0), 800.0};
  for (const double x : deltas) {
    Example example = plain_example(Discretization::mamba, 1, -1.0, x);
    example.problem.delta_softplus = true;
    example.dout = {1.0};
    const double expected = x > 20.0 ? x : std::log1p(std::exp(x));
    EXPECT_DOUBLE_EQ(forward(example.problem, example.inputs).out[0], expected) << x;
    EXPECT_DOUBLE_EQ(backward(example.problem, example.inputs, example.dout, {}).ddelta[0], 1.0 / (1.0 + std::exp(-x)));
  }
}

TEST(SelectiveScanReferenceClosedForm, TheGateIsRightFarFromZero) {
  for (const double z : {-800.0, -100.0, 0.0, 100.0, 800.0}) {
    Example example = plain_example(Discretization::dirac, 1, -1.0, 0.5);
    example.inputs.z = {z};
    const double sigmoid = 1.0 / (1.0 + std::exp(-z));
    EXPECT_DOUBLE_EQ(forward(example.problem, example.inputs).out_z[0], z * sigmoid);
    const Gradients gradients = backward(example.problem, example.inputs, {1.0}, {});
    EXPECT_DOUBLE_EQ(gradients.dz[0], sigmoid * (1.0 + z * (1.0 / (1.0 + std::exp(z)))));
    EXPECT_DOUBLE_EQ(gradients.du[0], z * sigmoid);
  }
}

TEST(SelectiveScanReferenceClosedForm, RgLruAtExponentZeroHasGradientsWithoutNaN) {
  Example example = plain_example(Discretization::rglru, 2, 0.5, 0.0);
  example.inputs.B.clear();
  example.inputs.h0 = {3.0};
  example.dout = {1.0, 0.0};
  const Gradients gradients = backward(example.problem, example.inputs, example.dout, {});
  EXPECT_DOUBLE_EQ(gradients.ddelta[0], 3.0 * std::log(0.5));  // through the transition alone
  EXPECT_EQ(gradients.dA[0], 0.0);
  EXPECT_EQ(gradients.du[0], 0.0);
  EXPECT_TRUE(gradients.dB.empty());
}

TEST(SelectiveScanReferenceClosedForm, TensorsThatADiscretizationDoesNotReadHaveGradientZero) {
  Example s7 = make_example(problem_of(kVariants[4], 1, 2, 3, 2, 1), {});
  s7.inputs.A.assign(4, std::numeric_limits<double>::quiet_NaN());
  EXPECT_EQ(backward(s7.problem, s7.inputs, s7.dout, {}).dA, Tensor(4, 0.0));
  for (const bool variable : {true, false}) {
    Example rglru = make_example(problem_of(kVariants[5], 1, 2, 3, 2, 1), {.variable_B = variable});
    rglru.inputs.B.assign(variable ? 6 : 4, std::numeric_limits<double>::quiet_NaN());
    EXPECT_EQ(backward(rglru.problem, rglru.inputs, rglru.dout, {}).dB, Tensor(variable ? 6 : 4, 0.0));
  }
}

// --- Values from 200-digit arithmetic -----------------------------------------------------------------------------

template <class Weight>
void expect_factors(const golden::Point& point) {
  Weight A, transition, input;
  if constexpr (std::is_same_v<Weight, double>) {
    A = point.A.real();
  } else {
    A = point.A;
  }
  const Steps<double> steps{point.dt, point.dt, true};
  const ConstStatesView<Weight> weights(&A, 1);
  discretize<Weight, double>(point.discretization, weights, steps, StatesView<Weight>(&transition, 1),
                             StatesView<Weight>(&input, 1));
  DiscretizationSlopes<Weight> slopes(1);
  differentiate<Weight>(point.discretization, weights, steps, ConstStatesView<Weight>(&transition, 1),
                        ConstStatesView<Weight>(&input, 1), slopes);

  // exp(A dt) magnifies the rounding of A dt, by |A dt|; an angle's rounding is absolute.
  const double tolerance = 4e-15 * (1.0 + std::abs(point.A * point.dt));
  const auto expect = [&](const char* name, Weight given, std::complex<double> expected) {
    EXPECT_LE(std::abs(std::complex<double>(given) - expected), tolerance * std::abs(expected))
        << name << " is " << given << ", must be " << expected;
  };
  expect("transition", transition, point.transition);
  expect("input", input, point.input);
  expect("transition_by_step", slopes.transition_by_step[0], point.transition_by_step);
  expect("transition_by_weight", slopes.transition_by_weight[0], point.transition_by_weight);
  expect("input_by_step", slopes.input_by_step[0], point.input_by_step);
  expect("input_by_weight", slopes.input_by_weight[0], point.input_by_weight);
}

TEST(SelectiveScanReferenceGolden, FactorsAndTheirSlopesAreRightAtSingularPoints) {
  for (const auto& point : golden::kPoints) {
    SCOPED_TRACE(testing::Message() << "discretization " << static_cast<int>(point.discretization) << ", A " << point.A
                                    << ", dt " << point.dt);
    if (point.complex) {
      expect_factors<std::complex<double>>(point);
    } else {
      expect_factors<double>(point);
    }
  }
}

double largest(const Tensor& tensor) {
  double result = 0.0;
  for (const double x : tensor) result = std::max(result, std::abs(x));
  return result;
}

// scale: how large the terms are whose sums these are.
void expect_close(const char* name, const Tensor& given, const Tensor& expected, double scale) {
  ASSERT_EQ(given.size(), expected.size()) << name;
  for (size_t i = 0; i < given.size(); ++i) {
    EXPECT_NEAR(given[i], expected[i], 1e-15 * (100.0 * std::abs(expected[i]) + scale)) << name << "[" << i << "]";
  }
}

TEST(SelectiveScanReferenceGolden, ScansAndTheirGradientsAreRightAtSingularPoints) {
  for (const auto& scan : golden::kScans) {
    SCOPED_TRACE(std::string(scan.name) + (scan.problem.complex ? ", complex" : ", real"));
    const Outputs outputs = forward(scan.problem, scan.inputs);
    expect_close("out", outputs.out, scan.outputs.out, largest(scan.outputs.out));
    expect_close("out_z", outputs.out_z, scan.outputs.out_z, largest(scan.outputs.out_z));
    expect_close("last_state", outputs.last_state, scan.outputs.last_state, largest(scan.outputs.last_state));
    const Gradients gradients = backward(scan.problem, scan.inputs, scan.dout, scan.dlast_state);
    for (const auto& tensor : kTensors) {
      // delta_bias sums what delta has at each step.
      const auto terms = tensor.input == &Inputs::delta_bias ? &Gradients::ddelta : tensor.gradient;
      expect_close(tensor.name, gradients.*tensor.gradient, scan.gradients.*tensor.gradient,
                   largest(scan.gradients.*terms));
    }
  }
}

// --- What is refused ----------------------------------------------------------------------------------------------

TEST(SelectiveScanReferenceValidation, AWrongArgumentIsRefusedByName) {
  const Problem mamba = problem_of(kVariants[0], 2, 4, 3, 2, 2);
  const Problem s7 = problem_of(kVariants[4], 2, 4, 3, 2, 2);
  const struct {
    const char* message;
    Problem problem;
    std::function<void(Example&)> spoil;
  } cases[] = {
      {"groups is 3, must divide dim 4", mamba, [](Example& e) { e.problem.groups = 3; }},
      {"seqlen is 0, must be at least 1", mamba, [](Example& e) { e.problem.seqlen = 0; }},
      {"u has 23 numbers, must have 24", mamba, [](Example& e) { e.inputs.u.pop_back(); }},
      {"A has 0 numbers, must have 8", mamba, [](Example& e) { e.inputs.A.clear(); }},
      {"B has 24 numbers, must have 48", mamba, [](Example& e) { e.problem.complex = true, e.inputs.A.resize(16); }},
      {"z has 1 numbers, must have 24, or none", mamba, [](Example& e) { e.inputs.z = {1.0}; }},
      {"dout has 0 numbers, must have 24", mamba, [](Example& e) { e.dout.clear(); }},
      {"dlast_state has 1 numbers, must have 16, or none", mamba, [](Example& e) { e.dlast_state = {1.0}; }},
      {"complex was given, but s7 does not take it", s7, [](Example& e) { e.problem.complex = true; }},
      {"delta_softplus was given, but s7 does not take it", s7, [](Example& e) { e.problem.delta_softplus = true; }},
      {"delta_bias was given, but s7 does not take it", s7, [](Example& e) { e.inputs.delta_bias.assign(4, 0.0); }},
      {"deltaA was given, but s7 does not take it", s7, [](Example& e) { e.inputs.deltaA.assign(24, 0.0); }},
  };
  for (const auto& c : cases) {
    Example example = make_example(c.problem, {});
    c.spoil(example);
    try {
      backward(example.problem, example.inputs, example.dout, example.dlast_state);
      ADD_FAILURE() << "accepted: " << c.message;
    } catch (const std::invalid_argument& error) {
      EXPECT_EQ(error.what(), std::string("selective_scan oracle: ") + c.message);
    }
  }
}

}  // namespace
}  // namespace lrnnx::reference
