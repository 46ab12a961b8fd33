// The oracle of the selective scan against everything that can be known without it: dual numbers, central differences,
// closed forms, and values from 200-digit arithmetic.
#include "reference/self_test.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "reference/dual.h"
#include "reference/golden/selective_scan.h"
#include "reference/selective_scan_examples.h"
#include "reference/selective_scan_forward.h"

namespace lrnnx::reference {
namespace {

// What one test finds wrong, and where.
class Findings {
 public:
  // Names what is looked at until it is left.
  class Scope {
   public:
    Scope(Findings& findings, std::string name) : findings_(findings) { findings.scopes_.push_back(std::move(name)); }
    ~Scope() { findings_.scopes_.pop_back(); }

   private:
    Findings& findings_;
  };

  // Written so that NaN is wrong.
  void near(double given, double expected, double tolerance) {
    if (std::abs(given - expected) <= tolerance) return;
    std::ostringstream text;
    text.precision(17);
    text << given << ", must be " << expected << " within " << tolerance;
    add(text.str());
  }
  void equal(double given, double expected) { near(given, expected, 1e-15 * std::abs(expected)); }
  bool same_size(const Tensor& given, const Tensor& expected) {
    if (given.size() == expected.size()) return true;
    add(std::to_string(given.size()) + " numbers, must be " + std::to_string(expected.size()));
    return false;
  }
  void zeros(const Tensor& given, size_t size) {
    if (!same_size(given, Tensor(size))) return;
    for (const double x : given) near(x, 0.0, 0.0);
  }

  // The first few; empty if nothing is wrong.
  std::string text() const {
    return count_ > kShown ? text_ + "; " + std::to_string(count_ - kShown) + " more" : text_;
  }

 private:
  static constexpr int kShown = 3;
  void add(const std::string& what) {
    if (++count_ > kShown) return;
    if (!text_.empty()) text_ += "; ";
    for (const std::string& scope : scopes_) text_ += scope + ": ";
    text_ += what;
  }

  std::vector<std::string> scopes_;
  std::string text_;
  int count_ = 0;
};

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

void expect_adjoint(const Example& example, const Gradients& gradients, const Inputs& direction, Findings& findings) {
  const Dot forward_side = loss(example, derivative(example.problem, example.inputs, direction));
  Dot backward_side;
  for (const auto& tensor : kTensors) {
    if (!(direction.*tensor.input).empty()) backward_side.add(gradients.*tensor.gradient, direction.*tensor.input);
  }
  // Not one term in a sum may be missing, so the bound is relative to what is summed, and far below a term's size.
  findings.near(forward_side.value, backward_side.value, 1e-12 * (forward_side.size + backward_side.size));
}

// Random directions in each tensor alone and in all of them, and single coordinates of each tensor.
void expect_gradients_of_dual_numbers(const Example& example, int probes, Findings& findings) {
  const Gradients gradients = backward(example.problem, example.inputs, example.dout, example.dlast_state);
  std::mt19937_64 random(7);
  Inputs everything;
  for (const auto& tensor : kTensors) {
    const Findings::Scope scope(findings, tensor.name);
    const auto size = static_cast<int64_t>((example.inputs.*tensor.input).size());
    if (!findings.same_size(gradients.*tensor.gradient, example.inputs.*tensor.input)) return;
    if (size == 0) continue;
    Inputs direction;
    direction.*tensor.input = everything.*tensor.input = normal(random, size);
    expect_adjoint(example, gradients, direction, findings);
    for (int probe = 0; probe < probes; ++probe) {
      const int64_t at = probe == 0 ? 0 : probe == 1 ? size - 1 : static_cast<int64_t>(random() % size);
      const Findings::Scope scope(findings, "coordinate " + std::to_string(at));
      (direction.*tensor.input).assign(size, 0.0);
      (direction.*tensor.input)[at] = 1.0;
      expect_adjoint(example, gradients, direction, findings);
    }
  }
  const Findings::Scope scope(findings, "all tensors");
  expect_adjoint(example, gradients, everything, findings);
}

void gradients_are_those_of_dual_numbers_under_every_option(const Variant& variant, Findings& findings) {
  std::vector<std::pair<std::string, ExampleOptions>> cases = {
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
  ExampleOptions fixed = kEverything;
  fixed.variable_B = fixed.variable_C = false;
  cases.push_back({"everything, fixed B and C", fixed});
  for (const auto& [name, options] : cases) {
    for (const int64_t groups : {1, 2, 4}) {
      const Findings::Scope scope(findings, name + ", groups " + std::to_string(groups));
      expect_gradients_of_dual_numbers(make_example(problem_of(variant, 2, 4, 5, 3, groups), options), 4, findings);
    }
  }
}

void gradients_are_those_of_dual_numbers_across_chunks_and_channel_blocks(const Variant& variant, Findings& findings) {
  const auto problem = problem_of(variant, 2, 2 * (kBlock + 1), 2 * kChunk + 3, 2, 2);
  expect_gradients_of_dual_numbers(make_example(problem, kEverything), 0, findings);
  ExampleOptions fixed = kEverything;
  fixed.variable_B = fixed.variable_C = false;
  expect_gradients_of_dual_numbers(make_example(problem, fixed), 0, findings);
}

void gradients_are_those_of_dual_numbers_for_one_step_one_state_and_many_states(const Variant& variant,
                                                                                Findings& findings) {
  expect_gradients_of_dual_numbers(make_example(problem_of(variant, 1, 1, 1, 1, 1), kEverything), 1, findings);
  expect_gradients_of_dual_numbers(make_example(problem_of(variant, 1, 2, kChunk + 1, 1, 1), kEverything), 2, findings);
  expect_gradients_of_dual_numbers(make_example(problem_of(variant, 1, 2, 3, 256, 1), kEverything), 2, findings);
}

void gradients_are_those_of_dual_numbers_for_more_batches_than_are_run_at_once(const Variant& variant,
                                                                               Findings& findings) {
  expect_gradients_of_dual_numbers(make_example(problem_of(variant, 300, 1, 2, 2, 1), kEverything), 2, findings);
}

void gradients_are_those_of_central_differences(const Variant& variant, Findings& findings) {
  const Example example = make_example(problem_of(variant, 1, 2, 4, 2, 1), kEverything);
  const Gradients gradients = backward(example.problem, example.inputs, example.dout, example.dlast_state);
  for (const auto& tensor : kTensors) {
    for (size_t i = 0; i < (example.inputs.*tensor.input).size(); ++i) {
      const Findings::Scope scope(findings, std::string(tensor.name) + "[" + std::to_string(i) + "]");
      constexpr double kStep = 1e-5;
      const auto loss_at = [&](double offset) {
        Inputs moved = example.inputs;
        (moved.*tensor.input)[i] += offset;
        return loss(example, forward(example.problem, moved)).value;
      };
      const double difference = (loss_at(kStep) - loss_at(-kStep)) / (2.0 * kStep);
      const double gradient = (gradients.*tensor.gradient)[i];
      findings.near(difference, gradient, 1e-5 * (1.0 + std::abs(gradient)));
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

void outputs_are_those_of_the_definition_loop_by_loop(const Variant& variant, Findings& findings) {
  ExampleOptions mixed = kEverything;
  mixed.variable_B = false;
  for (const ExampleOptions& options : {ExampleOptions{}, kEverything, mixed}) {
    for (const int64_t groups : {1, 2, 18}) {
      const auto problem = problem_of(variant, 2, 18, kChunk + 3, 3, groups);
      const Example example = make_example(problem, options);
      const Outputs given = forward(example.problem, example.inputs);
      const Outputs expected = textbook_scan(example.problem, example.inputs);
      for (const auto tensor : {&Outputs::out, &Outputs::out_z, &Outputs::last_state}) {
        if (!findings.same_size(given.*tensor, expected.*tensor)) return;
        for (size_t i = 0; i < (given.*tensor).size(); ++i) {
          findings.near((given.*tensor)[i], (expected.*tensor)[i], 1e-11);
        }
      }
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

void constant_step_gives_a_geometric_sum(Findings& findings) {
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
      findings.near(outputs.out[t], expected, 1e-12 * expected);
    }
    example.dout.back() = 1.0;
    const Gradients gradients = backward(example.problem, example.inputs, example.dout, {});
    for (const int64_t t : {int64_t{0}, kChunk, kLength - 1}) {
      const double expected = c.input * std::pow(c.transition, kLength - 1 - t);
      findings.near(gradients.du[t], expected, 1e-12 * expected);
    }
  }
}

void zero_A_gives_a_prefix_sum_in_every_discretization_of_A(Findings& findings) {
  constexpr int64_t kLength = 700;
  for (const auto& variant : kVariants) {
    if (!takes_step_options(variant.discretization)) continue;
    const Findings::Scope scope(findings, variant.name);
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
      findings.near(outputs.out[t], twice * sum, 1e-12);
    }
    double later = 0.0;
    for (int64_t t = kLength - 1; t >= 0; --t) {
      later += twice * example.dout[t];
      findings.near(gradients.du[t], later * (by_step ? example.inputs.delta[t] : 1.0), 1e-11);
      findings.near(gradients.ddelta[t], by_step ? later * example.inputs.u[t] : 0.0, 1e-11);
    }
  }
}

void one_step_of_real_mamba_by_hand(Findings& findings) {
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
  findings.near(outputs.out[0], 7.0 * h + 33.0, 1e-13);
  findings.near(outputs.last_state[0], h, 1e-14);
  const Gradients gradients = backward(example.problem, in, example.dout, {17.0});
  findings.near(gradients.dC[0], 2.0 * h, 1e-13);
  findings.near(gradients.dB[0], dh * 0.5 * 3.0, 1e-13);
  findings.near(gradients.du[0], dh * 0.5 * 5.0 + 22.0, 1e-13);
  findings.near(gradients.dD[0], 6.0, 1e-14);
  findings.near(gradients.dA[0], dh * 13.0 * e * 0.5, 1e-13);
  findings.near(gradients.ddelta[0], dh * (13.0 * e * -2.0 + 15.0), 1e-12);
  findings.near(gradients.dh0[0], dh * e, 1e-13);
}

void one_step_of_complex_dirac_by_hand(Findings& findings) {
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
  findings.near(outputs.out[0], 2.0 * (C * h).real(), 1e-13);
  const Gradients gradients = backward(example.problem, example.inputs, {dout}, tensor(dlast));
  const auto expect = [&](const Tensor& given, Complex expected) {
    findings.near(given[0], expected.real(), 1e-13);
    findings.near(given[1], expected.imag(), 1e-13);
  };
  expect(gradients.dC, 2.0 * dout * std::conj(h));
  expect(gradients.dB, dh * u);
  expect(gradients.dA, dh * std::conj(h0 * e) * delta);
  expect(gradients.dh0, dh * std::conj(e));
  findings.near(gradients.du[0], (dh * std::conj(B)).real(), 1e-13);
  findings.near(gradients.ddelta[0], (dh * std::conj(h0 * e * A)).real(), 1e-13);
}

void softplus_is_the_identity_beyond_20_and_its_slope_the_logistic_function(Findings& findings) {
  const Tensor deltas = {-800.0, -104.0, -20.0, 0.0, 20.0, std::nextafter(20.0, 21.0), 800.0};
  for (const double x : deltas) {
    Example example = plain_example(Discretization::mamba, 1, -1.0, x);
    example.problem.delta_softplus = true;
    example.dout = {1.0};
    const double expected = x > 20.0 ? x : std::log1p(std::exp(x));
    findings.equal(forward(example.problem, example.inputs).out[0], expected);
    findings.equal(backward(example.problem, example.inputs, example.dout, {}).ddelta[0], 1.0 / (1.0 + std::exp(-x)));
  }
}

void the_gate_is_right_far_from_zero(Findings& findings) {
  for (const double z : {-800.0, -100.0, 0.0, 100.0, 800.0}) {
    Example example = plain_example(Discretization::dirac, 1, -1.0, 0.5);
    example.inputs.z = {z};
    const double sigmoid = 1.0 / (1.0 + std::exp(-z));
    findings.equal(forward(example.problem, example.inputs).out_z[0], z * sigmoid);
    const Gradients gradients = backward(example.problem, example.inputs, {1.0}, {});
    findings.equal(gradients.dz[0], sigmoid * (1.0 + z * (1.0 / (1.0 + std::exp(z)))));
    findings.equal(gradients.du[0], z * sigmoid);
  }
}

void rglru_at_exponent_zero_has_gradients_without_nan(Findings& findings) {
  Example example = plain_example(Discretization::rglru, 2, 0.5, 0.0);
  example.inputs.B.clear();
  example.inputs.h0 = {3.0};
  example.dout = {1.0, 0.0};
  const Gradients gradients = backward(example.problem, example.inputs, example.dout, {});
  findings.equal(gradients.ddelta[0], 3.0 * std::log(0.5));  // through the transition alone
  findings.near(gradients.dA[0], 0.0, 0.0);
  findings.near(gradients.du[0], 0.0, 0.0);
  findings.same_size(gradients.dB, {});
}

void tensors_that_a_discretization_does_not_read_have_gradient_zero(Findings& findings) {
  Example s7 = make_example(problem_of(kVariants[4], 1, 2, 3, 2, 1), {});
  s7.inputs.A.assign(4, std::numeric_limits<double>::quiet_NaN());
  findings.zeros(backward(s7.problem, s7.inputs, s7.dout, {}).dA, 4);
  for (const bool variable : {true, false}) {
    Example rglru = make_example(problem_of(kVariants[5], 1, 2, 3, 2, 1), {.variable_B = variable});
    rglru.inputs.B.assign(variable ? 6 : 4, std::numeric_limits<double>::quiet_NaN());
    findings.zeros(backward(rglru.problem, rglru.inputs, rglru.dout, {}).dB, variable ? 6 : 4);
  }
}

// --- Values from 200-digit arithmetic -----------------------------------------------------------------------------

template <class Weight>
void expect_factors(const golden::Point& point, Findings& findings) {
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
    const Findings::Scope scope(findings, name);
    findings.near(std::real(given), expected.real(), tolerance * std::abs(expected));
    findings.near(std::imag(given), expected.imag(), tolerance * std::abs(expected));
  };
  expect("transition", transition, point.transition);
  expect("input", input, point.input);
  expect("transition_by_step", slopes.transition_by_step[0], point.transition_by_step);
  expect("transition_by_weight", slopes.transition_by_weight[0], point.transition_by_weight);
  expect("input_by_step", slopes.input_by_step[0], point.input_by_step);
  expect("input_by_weight", slopes.input_by_weight[0], point.input_by_weight);
}

std::string describe(const golden::Point& point) {
  std::ostringstream text;
  text << "discretization " << static_cast<int>(point.discretization) << ", A " << point.A << ", dt " << point.dt;
  return text.str();
}

void factors_and_their_slopes_are_right_at_singular_points(Findings& findings) {
  for (const auto& point : golden::kPoints) {
    const Findings::Scope scope(findings, describe(point));
    if (point.complex) {
      expect_factors<std::complex<double>>(point, findings);
    } else {
      expect_factors<double>(point, findings);
    }
  }
}

double largest(const Tensor& tensor) {
  double result = 0.0;
  for (const double x : tensor) result = std::max(result, std::abs(x));
  return result;
}

// scale: how large the terms are whose sums these are.
void expect_close(const char* name, const Tensor& given, const Tensor& expected, double scale, Findings& findings) {
  const Findings::Scope scope(findings, name);
  if (!findings.same_size(given, expected)) return;
  for (size_t i = 0; i < given.size(); ++i) {
    findings.near(given[i], expected[i], 1e-15 * (100.0 * std::abs(expected[i]) + scale));
  }
}

void scans_and_their_gradients_are_right_at_singular_points(Findings& findings) {
  for (const auto& scan : golden::kScans) {
    const Findings::Scope scope(findings, std::string(scan.name) + (scan.problem.complex ? ", complex" : ", real"));
    const Outputs outputs = forward(scan.problem, scan.inputs);
    expect_close("out", outputs.out, scan.outputs.out, largest(scan.outputs.out), findings);
    expect_close("out_z", outputs.out_z, scan.outputs.out_z, largest(scan.outputs.out_z), findings);
    expect_close("last_state", outputs.last_state, scan.outputs.last_state, largest(scan.outputs.last_state), findings);
    const Gradients gradients = backward(scan.problem, scan.inputs, scan.dout, scan.dlast_state);
    for (const auto& tensor : kTensors) {
      // delta_bias sums what delta has at each step.
      const auto terms = tensor.input == &Inputs::delta_bias ? &Gradients::ddelta : tensor.gradient;
      expect_close(tensor.name, gradients.*tensor.gradient, scan.gradients.*tensor.gradient,
                   largest(scan.gradients.*terms), findings);
    }
  }
}

struct VariantTest {
  const char* name;
  void (*run)(const Variant&, Findings&);
};
const VariantTest kVariantTests[] = {
    {"gradients are those of dual numbers under every option", gradients_are_those_of_dual_numbers_under_every_option},
    {"gradients are those of dual numbers across chunks and channel blocks",
     gradients_are_those_of_dual_numbers_across_chunks_and_channel_blocks},
    {"gradients are those of dual numbers for one step, one state and many states",
     gradients_are_those_of_dual_numbers_for_one_step_one_state_and_many_states},
    {"gradients are those of dual numbers for more batches than are run at once",
     gradients_are_those_of_dual_numbers_for_more_batches_than_are_run_at_once},
    {"gradients are those of central differences", gradients_are_those_of_central_differences},
    {"outputs are those of the definition, loop by loop", outputs_are_those_of_the_definition_loop_by_loop},
};

struct PlainTest {
  const char* name;
  void (*run)(Findings&);
};
const PlainTest kTests[] = {
    {"constant step gives a geometric sum", constant_step_gives_a_geometric_sum},
    {"A = 0 gives a prefix sum in every discretization of A", zero_A_gives_a_prefix_sum_in_every_discretization_of_A},
    {"one step of real mamba is right by hand", one_step_of_real_mamba_by_hand},
    {"one step of complex dirac is right by hand", one_step_of_complex_dirac_by_hand},
    {"softplus is the identity beyond 20 and its slope the logistic function",
     softplus_is_the_identity_beyond_20_and_its_slope_the_logistic_function},
    {"the gate is right far from zero", the_gate_is_right_far_from_zero},
    {"rglru at exponent 0 has gradients without NaN", rglru_at_exponent_zero_has_gradients_without_nan},
    {"tensors that a discretization does not read have gradient 0",
     tensors_that_a_discretization_does_not_read_have_gradient_zero},
    {"factors and their slopes are right at singular points", factors_and_their_slopes_are_right_at_singular_points},
    {"scans and their gradients are right at singular points", scans_and_their_gradients_are_right_at_singular_points},
};

}  // namespace

std::vector<SelfTest> self_tests() {
  std::vector<SelfTest> tests;
  for (const Variant& variant : kVariants) {
    for (const VariantTest& test : kVariantTests) {
      tests.push_back({std::string("selective_scan ") + variant.name + ": " + test.name, [&variant, &test] {
                         Findings findings;
                         test.run(variant, findings);
                         return findings.text();
                       }});
    }
  }
  for (const PlainTest& test : kTests) {
    tests.push_back({std::string("selective_scan: ") + test.name, [&test] {
                       Findings findings;
                       test.run(findings);
                       return findings.text();
                     }});
  }
  return tests;
}

std::vector<SelfTestResult> run_self_tests() {
  std::vector<SelfTestResult> results;
  for (const SelfTest& test : self_tests()) {
    std::string detail;
    try {
      detail = test.run();
    } catch (const std::exception& error) {
      detail = error.what();
    }
    results.push_back({test.name, detail.empty(), detail});
  }
  return results;
}

}  // namespace lrnnx::reference
