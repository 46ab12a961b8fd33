// Checks of sizes and of which options a discretization takes.
#include "reference/selective_scan_validation.h"

#include <stdexcept>
#include <string>

namespace lrnnx::reference {

namespace {

[[noreturn]] void refuse(const std::string& message) {
  throw std::invalid_argument("selective_scan oracle: " + message);
}

enum class Presence { required, optional };

void expect_size(const char* name, const std::vector<double>& tensor, int64_t size, Presence presence) {
  const auto given = static_cast<int64_t>(tensor.size());
  if (given == size || (given == 0 && presence == Presence::optional)) return;
  refuse(std::string(name) + " has " + std::to_string(given) + " numbers, must have " + std::to_string(size) +
         (presence == Presence::optional ? ", or none" : ""));
}

void expect_absent(const char* name, bool given, const char* discretization) {
  if (given) refuse(std::string(name) + " was given, but " + discretization + " does not take it");
}

void expect_positive(const char* name, int64_t size) {
  if (size < 1) refuse(std::string(name) + " is " + std::to_string(size) + ", must be at least 1");
}

int64_t numbers_a_weight(const Problem& problem) { return problem.complex ? 2 : 1; }

}  // namespace

void validate(const Problem& problem, const Inputs& inputs) {
  expect_positive("batch", problem.batch);
  expect_positive("dim", problem.dim);
  expect_positive("seqlen", problem.seqlen);
  expect_positive("dstate", problem.dstate);
  expect_positive("groups", problem.groups);
  if (problem.dim % problem.groups != 0) {
    refuse("groups is " + std::to_string(problem.groups) + ", must divide dim " + std::to_string(problem.dim));
  }

  const bool s7 = problem.discretization == Discretization::s7;
  const bool rglru = problem.discretization == Discretization::rglru;
  if (s7 || rglru) {
    const char* name = s7 ? "s7" : "rglru";
    expect_absent("complex", problem.complex, name);
    expect_absent("delta_softplus", problem.delta_softplus, name);
    expect_absent("delta_bias", !inputs.delta_bias.empty(), name);
    expect_absent("deltaA", !inputs.deltaA.empty(), name);
  }

  const int64_t sequence = problem.batch * problem.dim * problem.seqlen;
  const int64_t fixed = problem.dim * problem.dstate * numbers_a_weight(problem);
  const int64_t variable = problem.batch * problem.groups * problem.dstate * problem.seqlen * numbers_a_weight(problem);
  expect_size("u", inputs.u, sequence, Presence::required);
  expect_size("delta", inputs.delta, sequence, Presence::required);
  expect_size("A", inputs.A, fixed, s7 ? Presence::optional : Presence::required);
  expect_size("B", inputs.B, problem.variable_B ? variable : fixed, rglru ? Presence::optional : Presence::required);
  expect_size("C", inputs.C, problem.variable_C ? variable : fixed, Presence::required);
  expect_size("D", inputs.D, problem.dim, Presence::optional);
  expect_size("z", inputs.z, sequence, Presence::optional);
  expect_size("delta_bias", inputs.delta_bias, problem.dim, Presence::optional);
  expect_size("deltaA", inputs.deltaA, sequence, Presence::optional);
  expect_size("h0", inputs.h0, problem.batch * fixed, Presence::optional);
  expect_size("out", inputs.out, sequence, Presence::optional);
}

void validate_output_gradients(const Problem& problem, const std::vector<double>& dout,
                               const std::vector<double>& dlast_state) {
  const int64_t channels = problem.batch * problem.dim;
  expect_size("dout", dout, channels * problem.seqlen, Presence::required);
  expect_size("dlast_state", dlast_state, channels * problem.dstate * numbers_a_weight(problem), Presence::optional);
}

}  // namespace lrnnx::reference
