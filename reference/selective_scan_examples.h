// Random problems of the selective scan for the tests of the reference, and its tensors and variants by name.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "reference/selective_scan.h"

namespace lrnnx::reference {

using Tensor = std::vector<double>;

// --- The inputs and their gradients by name -----------------------------------------------------------------------

struct NamedTensor {
  const char* name;
  Tensor Inputs::*input;
  Tensor Gradients::*gradient;
  bool is_weight;  // complex in a complex problem
};

inline constexpr NamedTensor kTensors[] = {
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

struct ExampleOptions {
  bool variable_B = true, variable_C = true;
  bool D = false, z = false, delta_bias = false, delta_softplus = false, deltaA = false, h0 = false;
  bool last_state = false;
};

inline bool takes_step_options(Discretization discretization) {
  return discretization != Discretization::s7 && discretization != Discretization::rglru;
}

struct Example {
  Problem problem;
  Inputs inputs;
  Tensor dout, dlast_state;
};

inline Tensor normal(std::mt19937_64& random, int64_t size) {
  std::normal_distribution<double> distribution;
  Tensor tensor(size);
  for (double& x : tensor) x = distribution(random);
  return tensor;
}

inline Tensor uniform(std::mt19937_64& random, int64_t size, double low, double high) {
  std::uniform_real_distribution<double> distribution(low, high);
  Tensor tensor(size);
  for (double& x : tensor) x = distribution(random);
  return tensor;
}

inline Example make_example(Problem problem, const ExampleOptions& options, uint64_t seed = 1) {
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

// --- Every variant ------------------------------------------------------------------------------------------------

struct Variant {
  const char* name;
  Discretization discretization;
  bool complex;
};

inline constexpr Variant kVariants[] = {
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

inline Problem problem_of(const Variant& variant) {
  return {.discretization = variant.discretization, .complex = variant.complex};
}

inline Problem problem_of(const Variant& variant, int64_t batch, int64_t dim, int64_t seqlen, int64_t dstate,
                          int64_t groups) {
  Problem problem = problem_of(variant);
  problem.batch = batch;
  problem.dim = dim;
  problem.seqlen = seqlen;
  problem.dstate = dstate;
  problem.groups = groups;
  return problem;
}

inline constexpr ExampleOptions kEverything = {
    .D = true, .z = true, .delta_bias = true, .delta_softplus = true, .deltaA = true, .h0 = true, .last_state = true};

}  // namespace lrnnx::reference
