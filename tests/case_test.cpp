// A case lays out what a problem needs, and notices what a launch must not do.
#include "harness/case.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>

#include "harness/check.h"
#include "harness/error.h"
#include "harness/guarded_buffer.h"
#include "harness/operators.h"

namespace lrnnx::bench {
namespace {

// The cpu backend, whose allocations a test may tamper with.
class OpenBackend final : public Backend {
 public:
  std::string_view name() const override { return "cpu"; }
  std::optional<std::string> unavailable() const override { return std::nullopt; }
  std::string device_name() const override { return cpu_.device_name(); }
  Buffer allocate(int64_t bytes) override {
    Buffer buffer = cpu_.allocate(bytes);
    allocations.push_back({static_cast<char*>(buffer.data()), bytes});
    return buffer;
  }
  void copy_in(void* to, const void* from, int64_t bytes) override { cpu_.copy_in(to, from, bytes); }
  void copy_out(void* to, const void* from, int64_t bytes) override { cpu_.copy_out(to, from, bytes); }
  void fill_bytes(void* to, unsigned char value, int64_t bytes) override { cpu_.fill_bytes(to, value, bytes); }
  void synchronize() override {
    if (on_synchronize) on_synchronize();
  }
  void* stream() override { return nullptr; }

  struct Allocation {
    char* data;
    int64_t bytes;
  };
  std::vector<Allocation> allocations;
  std::function<void()> on_synchronize;  // after every launch

 private:
  Backend& cpu_ = backend("cpu");
};

Problem forward_problem() {
  return parse_problem(
      "selective_scan.mamba.f32.forward.cpu batch=2 dim=4 seqlen=33 dstate=3 groups=2 "
      "options=B,C,D,z,delta_bias,delta_softplus,h0,last_state");
}

Problem backward_problem() {
  Problem problem = forward_problem();
  problem.direction = "backward";
  return problem;
}

// Where the k-th tensor of the problem lies: a case allocates in the order of the table.
char* tensor_data(const OpenBackend& backend, const Problem& problem, const std::string& name) {
  const std::vector<TensorSpec> table = tensors(problem);
  for (size_t i = 0; i < table.size(); ++i) {
    const auto& [data, bytes] = backend.allocations[i];
    if (table[i].name == name) return data + (bytes - table[i].bytes()) / 2;
  }
  ADD_FAILURE() << "no tensor " << name;
  return nullptr;
}

TEST(Tensors, AreThoseOfTheOptions) {
  const auto names = [](const Problem& problem) {
    std::string text;
    for (const TensorSpec& tensor : tensors(problem)) text += tensor.name + ' ';
    return text;
  };
  Problem problem = forward_problem();
  EXPECT_EQ(names(problem), "u delta A B C D z delta_bias h0 out out_z last_state ");
  problem.options = {};
  EXPECT_EQ(names(problem), "u delta A B C out ");
  problem.direction = "backward";
  EXPECT_EQ(names(problem), "u delta A B C dout du ddelta dA dB dC ");
  EXPECT_EQ(names(backward_problem()),
            "u delta A B C D z delta_bias h0 out dout dlast_state "
            "du ddelta dA dB dC dD dz ddelta_bias dh0 ");
}

TEST(Tensors, HaveTheShapesOfTheOperator) {
  Problem problem = forward_problem();
  problem.options.variable_C = false;
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const TensorSpec& tensor : tensors(problem)) shapes[tensor.name] = tensor.shape;
  EXPECT_EQ(shapes["B"], (std::vector<int64_t>{2, 2, 3, 33}));
  EXPECT_EQ(shapes["C"], (std::vector<int64_t>{4, 3}));
  EXPECT_EQ(shapes["z"], (std::vector<int64_t>{2, 4, 33}));
  EXPECT_EQ(shapes["last_state"], (std::vector<int64_t>{2, 4, 3}));
  EXPECT_EQ(shapes["delta_bias"], (std::vector<int64_t>{4}));
}

TEST(Case, OutputsAreNanUntilTheLaunchWritesThem) {
  Case prepared(forward_problem(), backend("cpu"));
  for (const std::string& name : prepared.output_names()) {
    for (const float x : prepared.download(name)) ASSERT_TRUE(std::isnan(x)) << name;
  }
  prepared.launch();
  for (const std::string& name : prepared.output_names()) {
    for (const float x : prepared.download(name)) ASSERT_TRUE(std::isfinite(x)) << name;
  }
  prepared.poison_outputs();
  for (const float x : prepared.download("out")) ASSERT_TRUE(std::isnan(x));
}

TEST(Case, InputsOnTheBackendAreThoseForTheOracle) {
  const Case prepared(backward_problem(), backend("cpu"));
  for (const auto& [name, values] : prepared.inputs()) EXPECT_EQ(prepared.download(name), values) << name;
}

TEST(Case, BackwardReadsTheOutOfItsForward) {
  const Case backward(backward_problem(), backend("cpu"));
  Case forward(forward_problem(), backend("cpu"));
  forward.launch();
  EXPECT_EQ(backward.download("out"), forward.download("out"));
}

TEST(Case, AllocatesGuardsAroundEveryTensor) {
  const Case prepared(forward_problem(), backend("cpu"));
  int64_t bytes = prepared.memory().workspace_bytes + prepared.memory().saved_bytes;
  for (const TensorSpec& tensor : tensors(forward_problem())) bytes += tensor.bytes();
  EXPECT_GT(prepared.allocated_bytes(), bytes);
}

TEST(Case, AHarmlessLaunchViolatesNothing) {
  for (const Problem& problem : {forward_problem(), backward_problem()}) {
    Case prepared(problem, backend("cpu"));
    prepared.seal();
    prepared.launch();
    EXPECT_EQ(prepared.violations(), std::vector<std::string>{});
  }
}

TEST(Case, AByteOutsideAnyTensorIsNoticedAndNamed) {
  for (const TensorSpec& tensor : tensors(backward_problem())) {
    for (const int64_t offset : {int64_t{-1}, tensor.bytes(), tensor.bytes() + 4095}) {
      OpenBackend backend;
      Case prepared(backward_problem(), backend);
      prepared.seal();
      tensor_data(backend, backward_problem(), tensor.name)[offset] ^= 1;
      const auto violations = prepared.violations();
      ASSERT_EQ(violations.size(), 1u) << tensor.name << ' ' << offset;
      EXPECT_NE(violations[0].find("wrote outside " + tensor.name + ":"), std::string::npos) << violations[0];
    }
  }
}

TEST(Case, ABitOfAnyInputThatChangesIsNoticedAndNamed) {
  for (const TensorSpec& tensor : tensors(backward_problem())) {
    OpenBackend backend;
    Case prepared(backward_problem(), backend);
    prepared.seal();
    tensor_data(backend, backward_problem(), tensor.name)[tensor.bytes() - 1] ^= 1;
    std::vector<std::string> expected;
    if (tensor.role != Role::output) expected.push_back("changed its input " + tensor.name);
    EXPECT_EQ(prepared.violations(), expected);
  }
}

TEST(Case, SaysWhyItCannotBe) {
  Problem problem = forward_problem();
  problem.configuration = "no_such_key=1";
  EXPECT_THROW(Case(problem, backend("cpu")), LibraryError);
  problem = forward_problem();
  problem.shape.groups = 3;
  EXPECT_THROW(Case(problem, backend("cpu")), UsageError);
}

// --- the checker, with a launch that goes wrong afterwards --------------------------------------------------------

// What Checker says if `tamper` runs after every launch.
CheckResult check_tampered(const Problem& problem, const std::function<void(OpenBackend&)>& tamper, int reruns = 1) {
  OpenBackend backend;
  backend.on_synchronize = [&] { tamper(backend); };
  return Checker({.reruns = reruns}).check(problem, backend);
}

TEST(Checker, PassesWhatTheLibraryComputes) {
  for (const Problem& problem : {forward_problem(), backward_problem()}) {
    const CheckResult result = Checker().check(problem, backend("cpu"));
    EXPECT_EQ(result.status, Status::passed) << result.reason;
    EXPECT_EQ(result.exit_code, ExitCode::ok);
    EXPECT_EQ(result.reruns, 1);
    EXPECT_TRUE(result.deterministic);
    EXPECT_FALSE(result.configuration.empty());
    size_t outputs = 0;
    for (const TensorSpec& tensor : tensors(problem)) outputs += tensor.role == Role::output;
    EXPECT_EQ(result.tensors.size(), outputs);
  }
}

TEST(Checker, FailsOneWrongElementOfAnyOutputAndNamesIt) {
  for (const Problem& problem : {forward_problem(), backward_problem()}) {
    for (const TensorSpec& tensor : tensors(problem)) {
      if (tensor.role != Role::output) continue;
      const CheckResult result = check_tampered(problem, [&](OpenBackend& backend) {
        // The forward inside a backward case is synchronised before the outputs are written.
        auto* values = reinterpret_cast<float*>(tensor_data(backend, problem, tensor.name));
        values[tensor.floats() - 1] = 1.01f * values[tensor.floats() - 1] + 0.01f;
      });
      EXPECT_EQ(result.status, Status::failed) << tensor.name;
      EXPECT_EQ(result.exit_code, ExitCode::wrong_numbers);
      EXPECT_EQ(result.reason.find(tensor.name + ": "), 0u) << result.reason;
      EXPECT_EQ(result.reason.find('\n'), std::string::npos) << result.reason;
    }
  }
}

TEST(Checker, FailsALaunchThatChangesItsInput) {
  const CheckResult result = check_tampered(
      forward_problem(), [](OpenBackend& backend) { tensor_data(backend, forward_problem(), "z")[0] ^= 1; }, 0);
  EXPECT_EQ(result.status, Status::failed);
  EXPECT_EQ(result.reason, "changed its input z");
}

TEST(Checker, FailsResultsThatDifferFromRunToRunByOneBit) {
  int launches = 0;
  const CheckResult result = check_tampered(
      forward_problem(),
      [&](OpenBackend& backend) {
        if (++launches == 4) tensor_data(backend, forward_problem(), "out")[0] ^= 1;
      },
      5);
  EXPECT_EQ(result.status, Status::failed);
  EXPECT_FALSE(result.deterministic);
  EXPECT_EQ(result.reason, "out: rerun 3 of the same launch gave other bits");
}

TEST(Checker, WithoutRerunsDoesNotClaimToHaveRerun) {
  const CheckResult result = Checker({.reruns = 0}).check(forward_problem(), backend("cpu"));
  EXPECT_EQ(result.status, Status::passed);
  EXPECT_EQ(result.reruns, 0);
}

TEST(Checker, SkipsAnAbsentBackendInWords) {
  Backend& cuda = backend("cuda");
  if (!cuda.unavailable()) GTEST_SKIP() << "there is a CUDA device";
  Problem problem = forward_problem();
  problem.backend = "cuda";
  const CheckResult result = Checker().check(problem, cuda);
  EXPECT_EQ(result.status, Status::skipped);
  EXPECT_EQ(result.exit_code, ExitCode::nothing_ran);
  EXPECT_EQ(result.reason.find("no CUDA device"), 0u) << result.reason;
}

TEST(Checker, ReportsARefusedArgumentAsAnErrorOfUsage) {
  Problem problem = forward_problem();
  problem.configuration = "no_such_key=1";
  const CheckResult result = Checker().check(problem, backend("cpu"));
  EXPECT_EQ(result.status, Status::error);
  EXPECT_EQ(result.exit_code, ExitCode::usage);
  EXPECT_NE(result.reason.find("no_such_key"), std::string::npos) << result.reason;
}

}  // namespace
}  // namespace lrnnx::bench
