// A case lays out what a problem needs, and notices what a launch must not do.
#include "harness/case.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>

#include "harness/check.h"
#include "harness/error.h"
#include "harness/guarded_buffer.h"
#include "harness/operators.h"
#include "tests/run_program.h"

namespace lrnnx::bench::case_test {
namespace {

// The cpu backend, whose allocations a test may tamper with, and which copies in parts.
class OpenBackend final : public Backend {
 public:
  std::string_view name() const override { return "cpu"; }
  std::optional<std::string> unavailable() const override { return std::nullopt; }
  int64_t device_count() const override { return 1; }
  std::string device_name() const override { return cpu_.device_name(); }
  Buffer allocate(int64_t bytes) override {
    Buffer buffer = cpu_.allocate(bytes);
    allocations.push_back({static_cast<char*>(buffer.data()), bytes});
    return buffer;
  }
  void copy_in(void* to, int64_t bytes, const WritePart& write) override {
    for (int64_t at = 0; at < bytes; at += kPart)
      cpu_.copy_in(static_cast<char*>(to) + at, std::min(kPart, bytes - at),
                   [&](unsigned char* part, int64_t, int64_t count) { write(part, at, count); });
  }
  void copy_out(const void* from, int64_t bytes, const ReadPart& read) override {
    for (int64_t at = 0; at < bytes; at += kPart)
      cpu_.copy_out(static_cast<const char*>(from) + at, std::min(kPart, bytes - at),
                    [&](const unsigned char* part, int64_t, int64_t count) { read(part, at, count); });
  }
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
  static constexpr int64_t kPart = 4096;  // the least that is allowed
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

TEST(GuardedBuffer, TheChecksumIsOfEveryByteAtItsPlace) {
  std::vector<unsigned char> bytes(8 * 1024 + 3, 7);  // the last word is none
  GuardedBuffer buffer(backend("cpu"), static_cast<int64_t>(bytes.size()));
  const auto checksum = [&] {
    buffer.write([&](unsigned char* part, int64_t, int64_t) { std::ranges::copy(bytes, part); });
    return buffer.checksum();
  };
  const uint64_t all_equal = checksum();
  for (const size_t at : {size_t{0}, size_t{7}, size_t{4096}, bytes.size() - 4, bytes.size() - 1}) {
    bytes[at] ^= 1;
    EXPECT_NE(checksum(), all_equal) << at;
    bytes[at] ^= 1;
  }
  bytes[8] = 1;
  const uint64_t here = checksum();
  std::swap(bytes[8], bytes[16]);
  EXPECT_NE(checksum(), here);
}

TEST(Case, ItsChecksumsDoNotDependOnTheParts) {
  Problem problem = forward_problem();
  problem.shape.seqlen = 1501;
  OpenBackend in_parts;
  Case first(problem, backend("cpu")), second(problem, in_parts);
  for (Case* prepared : {&first, &second}) prepared->launch();
  EXPECT_EQ(first.output_checksums().size(), first.output_names().size());
  EXPECT_EQ(first.output_checksums(), second.output_checksums());
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

TEST(Case, WhatHasATimeAxisLiesInMemoryInSixteenBits) {
  for (const char* dtype : {"bf16", "f16"})
    for (const MemoryLayoutName& layout : memory_layout_names()) {
      Problem problem = forward_problem();
      problem.dtype = dtype;
      problem.layout = layout.value;
      problem.options.variable_C = false;
      for (const char* direction : {"forward", "backward"}) {
        problem.direction = direction;
        for (const TensorSpec& tensor : tensors(problem)) {
          const bool half = std::string_view(tensor.axes.back()) == "time";
          EXPECT_EQ(tensor.bytes(), tensor.elements() * (half ? 2 : 4)) << tensor.name;
        }
        Case prepared(problem, backend("cpu"));
        for (const auto& [name, values] : prepared.inputs()) EXPECT_EQ(prepared.download(name), values) << name;
        for (const std::string& name : prepared.output_names())
          for (const float x : prepared.download(name)) ASSERT_TRUE(std::isnan(x)) << name;
        prepared.seal();
        prepared.launch();
        EXPECT_TRUE(prepared.violations().empty());
        for (const std::string& name : prepared.output_names())
          for (const float x : prepared.download(name)) ASSERT_TRUE(std::isfinite(x)) << name;
      }
    }
}

TEST(Case, OutIsAnInputOfTheOracleWhereItWasRounded) {
  Problem problem = backward_problem();
  EXPECT_TRUE(Case(problem, backend("cpu")).rounded_intermediates().empty());
  problem.dtype = "bf16";
  const Case rounded(problem, backend("cpu"));
  HostTensors inputs = rounded.inputs();
  const Operator& op = find_operator(problem.family);
  const std::vector<double> by_itself = op.oracle(problem, inputs, OracleDepth::values).at("dz").value;
  inputs["out"] = rounded.rounded_intermediates().at("out");
  EXPECT_EQ(inputs["out"], rounded.download("out"));
  const std::vector<double> by_out = op.oracle(problem, inputs, OracleDepth::values).at("dz").value;
  double largest = 0;
  for (size_t i = 0; i < by_out.size(); ++i) largest = std::max(largest, std::abs(by_out[i] / by_itself[i] - 1));
  EXPECT_GT(largest, 0x1p-10);  // unlike a rounding to 32 bits
  EXPECT_LE(largest, 0x1.01p-8);
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

constexpr MemoryLayout kLayouts[] = {MemoryLayout::contiguous, MemoryLayout::strided, MemoryLayout::offset,
                                     MemoryLayout::transposed};

TEST(Case, EveryLayoutHoldsTheSameInputsAndGivesTheSameOutputs) {
  for (Problem problem : {forward_problem(), backward_problem()}) {
    Case contiguous(problem, backend("cpu"));
    contiguous.launch();
    for (const MemoryLayout layout : kLayouts) {
      problem.layout = layout;
      Case prepared(problem, backend("cpu"));
      prepared.seal();
      for (const auto& [name, values] : prepared.inputs()) EXPECT_EQ(prepared.download(name), values) << name;
      prepared.launch();
      EXPECT_EQ(prepared.violations(), std::vector<std::string>{}) << to_string(layout);
      for (const std::string& name : prepared.output_names())
        EXPECT_EQ(prepared.download(name), contiguous.download(name)) << to_string(layout) << ' ' << name;
    }
  }
}

TEST(Case, LayoutsAreWhatTheySay) {
  Problem problem = forward_problem();
  const auto first_row_of_second_channel = [&](MemoryLayout layout) {
    problem.layout = layout;
    OpenBackend backend;
    Case prepared(problem, backend);
    const auto& [data, bytes] = backend.allocations[0];  // u
    const auto* floats = reinterpret_cast<const float*>(data);
    const std::vector<float> u = prepared.download("u");
    const float* row = std::search(floats, floats + bytes / 4, u.begin() + 33, u.begin() + 66);
    return row - floats - 1024;  // behind the guard
  };
  EXPECT_EQ(first_row_of_second_channel(MemoryLayout::contiguous), 33);
  EXPECT_EQ(first_row_of_second_channel(MemoryLayout::offset), 34);
  EXPECT_EQ(first_row_of_second_channel(MemoryLayout::strided), 33 + 5);
  EXPECT_EQ(first_row_of_second_channel(MemoryLayout::transposed), 2 * 33);
}

TEST(Case, AByteBetweenTheRowsIsNoticedAndNamed) {
  Problem problem = forward_problem();
  problem.layout = MemoryLayout::strided;
  for (size_t i = 0; i < tensors(problem).size(); ++i) {
    const TensorSpec tensor = tensors(problem)[i];
    if (tensor.name != "u" && tensor.name != "z" && tensor.name != "out" && tensor.name != "out_z") continue;
    OpenBackend backend;
    Case prepared(problem, backend);
    prepared.seal();
    backend.allocations[i].data[4096 + 33 * 4 + 19] ^= 1;
    const auto violations = prepared.violations();
    ASSERT_FALSE(violations.empty()) << tensor.name;
    EXPECT_TRUE(violations[0].starts_with("wrote outside " + tensor.name +
                                          ": 0 of the 4096 bytes before it and 0 after it, 1 of the ") &&
                violations[0].ends_with(" between its rows"))
        << violations[0];
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

// What Checker says of a forward whose kernel is `forward`.
CheckResult check_forward(decltype(&lrnnx_selective_scan_forward) forward, const Problem& problem,
                          CheckOptions options = {}) {
  Library library = linked_library();
  library.name = "planted";
  library.selective_scan.forward = forward;
  return Checker(std::move(options)).check(problem, backend("cpu"), library);
}

Problem with_fill(Problem problem, const std::string& fill) {
  problem.fill = fill;
  return problem;
}

TEST(Checker, ChecksTheLibraryThatItIsGiven) {
  const auto scaled = [](const lrnnx_selective_scan_problem* problem, const lrnnx_selective_scan_forward_args* args) {
    const lrnnx_status status = lrnnx_selective_scan_forward(problem, args);
    for (int64_t i = 0; i < args->out.size; ++i) static_cast<float*>(args->out.data)[i] *= 1.0001f;
    return status;
  };
  const CheckResult result = check_forward(scaled, forward_problem());
  EXPECT_EQ(result.status, Status::failed);
  EXPECT_EQ(result.reason.find("out: "), 0u) << result.reason;
}

TEST(Checker, SkipsWhatTheLibraryDoesNotComputeAndWhatDoesNotFit) {
  const auto refuse = [](const lrnnx_selective_scan_problem*, const lrnnx_selective_scan_forward_args*) {
    return LRNNX_UNSUPPORTED;
  };
  CheckResult result = check_forward(refuse, forward_problem());
  EXPECT_EQ(result.status, Status::skipped);
  EXPECT_EQ(result.skip_reason, SkipReason::not_supported);
  EXPECT_EQ(result.exit_code, ExitCode::nothing_ran);
  const auto exhaust = [](const lrnnx_selective_scan_problem*, const lrnnx_selective_scan_forward_args*) {
    return LRNNX_OUT_OF_MEMORY;
  };
  EXPECT_EQ(check_forward(exhaust, forward_problem()).skip_reason, SkipReason::not_enough_memory);
  Problem huge = forward_problem();
  huge.shape = {.batch = 1 << 16, .dim = 1 << 16, .seqlen = 1 << 10, .dstate = 1, .groups = 1};
  EXPECT_EQ(Checker().check(huge, backend("cpu")).skip_reason, SkipReason::not_enough_memory);
  const auto fail = [](const lrnnx_selective_scan_problem*, const lrnnx_selective_scan_forward_args*) {
    return LRNNX_CUDA_ERROR;
  };
  result = check_forward(fail, forward_problem());
  EXPECT_EQ(result.status, Status::error);
  EXPECT_EQ(result.exit_code, ExitCode::system);
}

TEST(Checker, SkipsAFillWithoutMeaning) {
  Problem problem = with_fill(forward_problem(), "init+one_hot_dout");
  const CheckResult result = Checker().check(problem, backend("cpu"));
  EXPECT_EQ(result.status, Status::skipped);
  EXPECT_EQ(result.skip_reason, SkipReason::fill_does_not_apply);
  EXPECT_EQ(result.reason, "one_hot_dout: the forward reads no dout");
}

TEST(Checker, PassesAPlantedNumberThatSpreadsOnlyToWhatDependsOnIt) {
  for (const Problem& base : {forward_problem(), backward_problem()}) {
    for (const char* fill : {"init+nan", "slow+nan", "init+inf"}) {
      for (uint64_t seed = 0; seed < 20; ++seed) {
        Problem problem = with_fill(base, fill);
        problem.seed = seed;
        const CheckResult result = Checker().check(problem, backend("cpu"));
        EXPECT_EQ(result.status, Status::passed) << to_string(problem) << '\n' << result.reason;
      }
    }
  }
}

TEST(Checker, FailsANumberThatSpreadsAgainstTime) {
  const auto peek = [](const lrnnx_selective_scan_problem* problem, const lrnnx_selective_scan_forward_args* args) {
    const lrnnx_status status = lrnnx_selective_scan_forward(problem, args);
    auto* out = static_cast<float*>(args->out.data);
    for (int64_t i = 0; i + 1 < args->out.size; ++i) {
      if (std::isnan(out[i + 1]) && !std::isnan(out[i])) out[i] += 1e-7f;
    }
    return status;
  };
  EXPECT_EQ(check_forward(peek, forward_problem()).status, Status::passed);
  int64_t failed = 0;
  for (uint64_t seed = 0; seed < 10; ++seed) {
    Problem problem = with_fill(forward_problem(), "slow+nan");
    problem.seed = seed;
    const CheckResult result = check_forward(peek, problem);
    if (result.status != Status::failed) continue;
    ++failed;
    EXPECT_NE(result.reason.find("out of reach of number"), std::string::npos) << result.reason;
  }
  EXPECT_GT(failed, 5);
}

TEST(Checker, FailsANanThatGetsLost) {
  const auto hide = [](const lrnnx_selective_scan_problem* problem, const lrnnx_selective_scan_forward_args* args) {
    const lrnnx_status status = lrnnx_selective_scan_forward(problem, args);
    auto* out = static_cast<float*>(args->out.data);
    for (int64_t i = 0; i < args->out.size; ++i) {
      if (std::isnan(out[i])) out[i] = 0;
    }
    return status;
  };
  EXPECT_EQ(check_forward(hide, with_fill(forward_problem(), "init+nan")).status, Status::failed);
}

TEST(Checker, OfExactInputsOneUlpFails) {
  const auto nudge = [](const lrnnx_selective_scan_problem* problem, const lrnnx_selective_scan_forward_args* args) {
    const lrnnx_status status = lrnnx_selective_scan_forward(problem, args);
    auto* out = static_cast<float*>(args->out.data);
    out[args->out.size - 1] = std::nextafter(out[args->out.size - 1], 1e30f);
    return status;
  };
  Problem problem = with_fill(forward_problem(), "exact");
  EXPECT_EQ(check_forward(lrnnx_selective_scan_forward, problem).status, Status::passed);
  EXPECT_EQ(check_forward(nudge, problem).status, Status::failed);
}

TEST(Checker, DumpsWhatDoesNotPassAndOnRequestAll) {
  const TemporaryDirectory directory;
  const auto zero = [](const lrnnx_selective_scan_problem* problem, const lrnnx_selective_scan_forward_args* args) {
    const lrnnx_status status = lrnnx_selective_scan_forward(problem, args);
    static_cast<float*>(args->out.data)[0] = 0;
    return status;
  };
  EXPECT_EQ(check_forward(lrnnx_selective_scan_forward, forward_problem(), {.dump = directory / "d"}).dumped, "");
  EXPECT_FALSE(std::filesystem::exists(directory / "d"));
  const CheckResult result = check_forward(zero, forward_problem(), {.dump = directory / "d"});
  ASSERT_NE(result.dumped, "");
  EXPECT_EQ(read_text(result.dumped + "/problem.txt"), to_string(forward_problem()) + '\n');
  for (const char* file : {"input.u.npy", "input.A.npy", "got.out.npy", "expected.out.npy", "got.last_state.npy"})
    EXPECT_TRUE(std::filesystem::exists(result.dumped + '/' + file)) << file;
  EXPECT_NE(check_forward(lrnnx_selective_scan_forward, forward_problem(), {.dump = directory / "d", .dump_all = true})
                .dumped,
            "");
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
}  // namespace lrnnx::bench::case_test
