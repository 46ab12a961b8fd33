// The table of the selective scan's tensors, and what is read off it.
#include "harness/operator_selective_scan.h"

#include <fmt/format.h>

#include <array>

#include "harness/error.h"
#include "reference/selective_scan.h"
#include "reference/selective_scan_gauge.h"

namespace lrnnx::bench {
namespace {

using ForwardArgs = lrnnx_selective_scan_forward_args;
using BackwardArgs = lrnnx_selective_scan_backward_args;

enum class Layout {
  channel_time,   // (B, D, L)
  channel_state,  // (D, N)
  channel,        // (D)
  batch_state,    // (B, D, N)
  matrix_B,       // (B, G, N, L) if variable, else (D, N)
  matrix_C
};

// One tensor. A null member means that the call or the oracle does not know it.
struct TensorRow {
  const char* name;
  Layout layout;
  bool weight = false;            // complex where the dtype is
  bool Options::*when = nullptr;  // present only under this option
  lrnnx_tensor ForwardArgs::*forward = nullptr;
  lrnnx_tensor BackwardArgs::*backward = nullptr;
  lrnnx_tensor BackwardArgs::*gradient = nullptr;
  std::vector<double> reference::Inputs::*oracle_input = nullptr;
  std::vector<double> reference::Gradients::*oracle_gradient = nullptr;
  reference::TensorGauge reference::GradientGauges::*gradient_gauge = nullptr;
  std::vector<double> reference::Outputs::*oracle_output = nullptr;
  reference::TensorGauge reference::OutputGauges::*output_gauge = nullptr;
};

using F = ForwardArgs;
using B = BackwardArgs;
using I = reference::Inputs;
using G = reference::Gradients;
using O = reference::Outputs;
using P = reference::GradientGauges;
using Q = reference::OutputGauges;

// clang-format off
constexpr TensorRow kInputs[] = {
    {"u", Layout::channel_time, false, nullptr, &F::u, &B::u, &B::du, &I::u, &G::du, &P::du},
    {"delta", Layout::channel_time, false, nullptr, &F::delta, &B::delta, &B::ddelta, &I::delta, &G::ddelta, &P::ddelta},
    {"A", Layout::channel_state, true, nullptr, &F::A, &B::A, &B::dA, &I::A, &G::dA, &P::dA},
    {"B", Layout::matrix_B, true, nullptr, &F::B, &B::B, &B::dB, &I::B, &G::dB, &P::dB},
    {"C", Layout::matrix_C, true, nullptr, &F::C, &B::C, &B::dC, &I::C, &G::dC, &P::dC},
    {"D", Layout::channel, false, &Options::D, &F::D, &B::D, &B::dD, &I::D, &G::dD, &P::dD},
    {"z", Layout::channel_time, false, &Options::z, &F::z, &B::z, &B::dz, &I::z, &G::dz, &P::dz},
    {"delta_bias", Layout::channel, false, &Options::delta_bias, &F::delta_bias, &B::delta_bias, &B::ddelta_bias,
     &I::delta_bias, &G::ddelta_bias, &P::ddelta_bias},
    {"deltaA", Layout::channel_time, false, &Options::deltaA, &F::deltaA, &B::deltaA, &B::ddeltaA, &I::deltaA,
     &G::ddeltaA, &P::ddeltaA},
    {"h0", Layout::batch_state, true, &Options::h0, &F::h0, &B::h0, &B::dh0, &I::h0, &G::dh0, &P::dh0},
};
constexpr TensorRow kOutputs[] = {
    {.name = "out", .layout = Layout::channel_time, .forward = &F::out, .oracle_output = &O::out, .output_gauge = &Q::out},
    {.name = "out_z", .layout = Layout::channel_time, .when = &Options::z, .forward = &F::out_z,
     .oracle_output = &O::out_z, .output_gauge = &Q::out_z},
    {.name = "last_state", .layout = Layout::batch_state, .weight = true, .when = &Options::last_state,
     .forward = &F::last_state, .oracle_output = &O::last_state, .output_gauge = &Q::last_state},
};
// What only the backward reads.
constexpr TensorRow kSavedOut = {.name = "out", .layout = Layout::channel_time, .when = &Options::z, .backward = &B::out,
                        .oracle_input = &I::out};
constexpr TensorRow kUpstream[] = {
    {.name = "dout", .layout = Layout::channel_time, .backward = &B::dout},
    {.name = "dlast_state", .layout = Layout::batch_state, .weight = true, .when = &Options::last_state,
     .backward = &B::dlast_state},
};
// clang-format on

struct Discretization {
  const char* name;
  lrnnx_discretization kernel;
  reference::Discretization oracle;
};
constexpr Discretization kDiscretizations[] = {
#define LRNNX_DISCRETIZATION(enumerator, name, functor, takes_real, takes_complex) \
  {#name, LRNNX_##enumerator, reference::Discretization::name},
#include "lrnnx/discretizations.def"
};

const Discretization& find_discretization(const Problem& problem) {
  for (const Discretization& row : kDiscretizations) {
    if (row.name == problem.discretization) return row;
  }
  throw UsageError(fmt::format("discretization '{}' is none of the selective scan's", problem.discretization));
}

bool is_present(const TensorRow& row, const Problem& problem) {
  const reference::Discretization discretization = find_discretization(problem).oracle;
  if (row.layout == Layout::channel_state && !reference::reads_A(discretization)) return false;
  if (row.layout == Layout::matrix_B && !reference::reads_B(discretization)) return false;
  return !row.when || problem.options.*row.when;
}

std::vector<int64_t> shape_of(Layout layout, const Problem& problem) {
  const auto [batch, dim, seqlen, dstate, groups] = problem.shape;
  const auto matrix = [&](bool variable) {
    return variable ? std::vector<int64_t>{batch, groups, dstate, seqlen} : std::vector<int64_t>{dim, dstate};
  };
  switch (layout) {
    case Layout::channel_time:
      return {batch, dim, seqlen};
    case Layout::channel_state:
      return {dim, dstate};
    case Layout::channel:
      return {dim};
    case Layout::batch_state:
      return {batch, dim, dstate};
    case Layout::matrix_B:
      return matrix(problem.options.variable_B);
    case Layout::matrix_C:
      return matrix(problem.options.variable_C);
  }
  return {};
}

std::vector<const char*> axes_of(Layout layout, const Problem& problem) {
  const auto matrix = [](bool variable) {
    return variable ? std::vector<const char*>{"batch", "group", "state", "time"}
                    : std::vector<const char*>{"channel", "state"};
  };
  switch (layout) {
    case Layout::channel_time:
      return {"batch", "channel", "time"};
    case Layout::channel_state:
      return {"channel", "state"};
    case Layout::channel:
      return {"channel"};
    case Layout::batch_state:
      return {"batch", "channel", "state"};
    case Layout::matrix_B:
      return matrix(problem.options.variable_B);
    case Layout::matrix_C:
      return matrix(problem.options.variable_C);
  }
  return {};
}

TensorSpec specification(const TensorRow& row, const Problem& problem, Role role, const std::string& name) {
  const std::vector<const char*> axes = axes_of(row.layout, problem);
  const bool over_time = std::string_view(axes.back()) == "time";
  return {.name = name,
          .role = role,
          .shape = shape_of(row.layout, problem),
          .complex = row.weight && problem.dtype == "c64",
          .axes = axes,
          .storage = over_time ? storage_of(problem.dtype) : Storage::f32};
}

bool is_backward(const Problem& problem) { return problem.direction == "backward"; }

std::string gradient_name(const TensorRow& row) { return std::string("d") + row.name; }

// Calls visit(specification, member of the arguments) for each tensor that the call takes.
template <class Visit>
void for_each_forward_tensor(const Problem& problem, Visit visit) {
  for (const TensorRow& row : kInputs) {
    if (is_present(row, problem)) visit(specification(row, problem, Role::input, row.name), row.forward);
  }
  for (const TensorRow& row : kOutputs) {
    if (is_present(row, problem)) visit(specification(row, problem, Role::output, row.name), row.forward);
  }
}

template <class Visit>
void for_each_backward_tensor(const Problem& problem, Visit visit) {
  for (const TensorRow& row : kInputs) {
    if (is_present(row, problem)) visit(specification(row, problem, Role::input, row.name), row.backward);
  }
  if (is_present(kSavedOut, problem)) {
    visit(specification(kSavedOut, problem, Role::intermediate, kSavedOut.name), kSavedOut.backward);
  }
  for (const TensorRow& row : kUpstream) {
    if (is_present(row, problem)) visit(specification(row, problem, Role::input, row.name), row.backward);
  }
  for (const TensorRow& row : kInputs) {
    if (is_present(row, problem)) visit(specification(row, problem, Role::output, gradient_name(row)), row.gradient);
  }
}

lrnnx_dtype dtype_of(const Problem& problem) {
  constexpr std::pair<const char*, lrnnx_dtype> kDtypes[] = {
      {"f32", LRNNX_F32}, {"c64", LRNNX_C64}, {"bf16", LRNNX_BF16}, {"f16", LRNNX_F16}};
  for (const auto& [name, dtype] : kDtypes) {
    if (name == problem.dtype) return dtype;
  }
  throw UsageError(fmt::format("dtype '{}' is none of the selective scan's", problem.dtype));
}

// Owns the text that its `problem` points to.
struct KernelProblem {
  explicit KernelProblem(const Problem& from) : configuration(from.configuration) {
    problem.discretization = find_discretization(from).kernel;
    problem.dtype = dtype_of(from);
    problem.backend = from.backend == "cuda" ? LRNNX_CUDA : LRNNX_CPU;
    for (const OptionName& option : option_names()) {
      if (from.options.*option.value) problem.options |= option.bit;
    }
    problem.batch = from.shape.batch;
    problem.dim = from.shape.dim;
    problem.seqlen = from.shape.seqlen;
    problem.dstate = from.shape.dstate;
    problem.groups = from.shape.groups;
    problem.configuration = configuration.c_str();
  }
  KernelProblem(const KernelProblem&) = delete;

  std::string configuration;
  lrnnx_selective_scan_problem problem{};
};

lrnnx_direction direction_of(const Problem& problem) { return is_backward(problem) ? LRNNX_BACKWARD : LRNNX_FORWARD; }

template <class Args>
void bind_memory(const Bindings& bindings, Args& args) {
  args.saved = bindings.saved;
  args.saved_bytes = bindings.memory.saved_bytes;
  args.workspace = bindings.workspace;
  args.workspace_bytes = bindings.memory.workspace_bytes;
  args.stream = bindings.stream;
}

template <class Args>
auto binder(const Bindings& bindings, Args& args) {
  return [&](const TensorSpec& tensor, lrnnx_tensor Args::*member) {
    const Binding& binding = bindings.tensors.at(tensor.name);
    lrnnx_tensor& argument = args.*member;
    argument.data = binding.data;
    argument.stride_batch = binding.stride_batch;
    argument.stride_dim = binding.stride_dim;
    const bool strided = binding.stride_batch != 0 || binding.stride_dim != 0;
    argument.size = !strided ? tensor.elements()
                             : (tensor.shape[0] - 1) * binding.stride_batch +
                                   (tensor.shape[1] - 1) * binding.stride_dim + tensor.shape[2];
  };
}

}  // namespace

std::vector<TensorSpec> SelectiveScanOperator::tensors(const Problem& problem) const {
  std::vector<TensorSpec> specifications;
  const auto collect = [&](TensorSpec specification, auto) { specifications.push_back(std::move(specification)); };
  if (is_backward(problem)) {
    for_each_backward_tensor(problem, collect);
  } else {
    for_each_forward_tensor(problem, collect);
  }
  return specifications;
}

lrnnx_memory SelectiveScanOperator::memory(const Problem& problem, const Library& library) const {
  const KernelProblem kernel(problem);
  lrnnx_memory memory{};
  library.require_ok(library.selective_scan.memory(&kernel.problem, direction_of(problem), &memory),
                     "lrnnx_selective_scan_memory");
  constexpr int64_t kMost = int64_t{1} << 62;
  for (const int64_t bytes : {memory.saved_bytes, memory.workspace_bytes})
    if (bytes < 0 || bytes > kMost)
      throw SystemError(
          fmt::format("lrnnx_selective_scan_memory: saved_bytes {}, workspace_bytes {}: expected 0 to 2^62",
                      memory.saved_bytes, memory.workspace_bytes));
  return memory;
}

std::string SelectiveScanOperator::configuration(const Problem& problem, const Library& library) const {
  const KernelProblem kernel(problem);
  std::array<char, 1024> text{};
  library.require_ok(
      library.selective_scan.configuration(&kernel.problem, direction_of(problem), text.data(), text.size()),
      "lrnnx_selective_scan_configuration");
  return text.data();
}

std::optional<std::string> SelectiveScanOperator::configuration_keys(const Problem& problem,
                                                                     const Library& library) const {
  if (!library.selective_scan.configuration_keys) return {};
  const KernelProblem kernel(problem);
  std::array<char, 1024> text{};
  library.require_ok(
      library.selective_scan.configuration_keys(&kernel.problem, direction_of(problem), text.data(), text.size()),
      "lrnnx_selective_scan_configuration_keys");
  return text.data();
}

std::function<void()> SelectiveScanOperator::bind(const Problem& problem, const Bindings& bindings,
                                                  const Library& library) const {
  const auto kernel = std::make_shared<KernelProblem>(problem);
  if (is_backward(problem)) {
    BackwardArgs args{};
    bind_memory(bindings, args);
    for_each_backward_tensor(problem, binder(bindings, args));
    return [kernel, args, &library] {
      library.require_ok(library.selective_scan.backward(&kernel->problem, &args), "lrnnx_selective_scan_backward");
    };
  }
  ForwardArgs args{};
  bind_memory(bindings, args);
  for_each_forward_tensor(problem, binder(bindings, args));
  return [kernel, args, &library] {
    library.require_ok(library.selective_scan.forward(&kernel->problem, &args), "lrnnx_selective_scan_forward");
  };
}

OracleTensors SelectiveScanOperator::oracle(const Problem& problem, const HostTensors& inputs,
                                            OracleDepth depth) const {
  const auto widen = [&](const char* name) {
    const auto values = inputs.find(name);
    return values == inputs.end() ? std::vector<double>()
                                  : std::vector<double>(values->second.begin(), values->second.end());
  };
  const reference::Problem definition{.discretization = find_discretization(problem).oracle,
                                      .complex = problem.dtype == "c64",
                                      .batch = problem.shape.batch,
                                      .dim = problem.shape.dim,
                                      .seqlen = problem.shape.seqlen,
                                      .dstate = problem.shape.dstate,
                                      .groups = problem.shape.groups,
                                      .variable_B = problem.options.variable_B,
                                      .variable_C = problem.options.variable_C,
                                      .delta_softplus = problem.options.delta_softplus};
  reference::Inputs values;
  for (const TensorRow& row : kInputs) values.*row.oracle_input = widen(row.name);
  values.*kSavedOut.oracle_input = widen(kSavedOut.name);

  OracleTensors expected;
  const auto expect = [&](const std::string& name, std::vector<double>& value, reference::TensorGauge& gauge) {
    expected[name] = {.value = std::move(value),
                      .G1 = std::move(gauge.G1),
                      .G2 = std::move(gauge.G2),
                      .F = std::move(gauge.F),
                      .S1_env = gauge.S1_env};
  };
  if (is_backward(problem)) {
    const std::vector<double> dout = widen("dout"), dlast_state = widen("dlast_state");
    reference::Gradients gradients = reference::backward(definition, values, dout, dlast_state);
    reference::GradientGauges gauges;
    if (depth >= OracleDepth::gauges) gauges = reference::backward_gauges(definition, values, dout, dlast_state);
    if (depth >= OracleDepth::envelopes)
      reference::measure_envelopes(definition, values, dout, dlast_state, gradients, gauges);
    for (const TensorRow& row : kInputs) {
      if (is_present(row, problem)) {
        expect(gradient_name(row), gradients.*row.oracle_gradient, gauges.*row.gradient_gauge);
      }
    }
  } else {
    reference::Outputs outputs = reference::forward(definition, values);
    reference::OutputGauges gauges;
    if (depth >= OracleDepth::gauges) gauges = reference::forward_gauges(definition, values);
    if (depth >= OracleDepth::envelopes) reference::measure_envelopes(definition, values, outputs, gauges);
    for (const TensorRow& row : kOutputs) {
      if (is_present(row, problem)) expect(row.name, outputs.*row.oracle_output, gauges.*row.output_gauge);
    }
  }
  return expected;
}

}  // namespace lrnnx::bench
