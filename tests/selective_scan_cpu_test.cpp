// The CPU kernels of the selective scan against the fp64 oracle, on every instruction set that this machine has.
#include "selective_scan/cpu.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "selective_scan_call.h"

namespace lrnnx::test::selective_scan_cpu_test {
namespace {

constexpr uint32_t kAll = LRNNX_VARIABLE_B | LRNNX_VARIABLE_C | LRNNX_HAS_D | LRNNX_HAS_Z | LRNNX_HAS_DELTA_BIAS |
                          LRNNX_DELTA_SOFTPLUS | LRNNX_HAS_DELTA_A | LRNNX_HAS_H0 | LRNNX_HAS_LAST_STATE;
// deltaA hides the part of ddelta that goes through the transition.
constexpr uint32_t kTypical = kAll & ~LRNNX_HAS_DELTA_A;
constexpr uint32_t kVariable = LRNNX_VARIABLE_B | LRNNX_VARIABLE_C;

// Sums of up to a few thousand rounded terms that partly cancel stay below; a wrong or missing term does not.
constexpr double kTolerance = 8e-6;

std::vector<const CpuImplementation*> implementations() {
  std::vector<const CpuImplementation*> result;
  for (const auto* next = cpu_implementations(); *next; ++next) result.push_back(*next);
  return result;
}

// (B, D, L) views as the kernels get them: strides written out.
void resolve(const Shape& shape, std::initializer_list<lrnnx_tensor*> tensors) {
  for (lrnnx_tensor* tensor : tensors)
    if (tensor->data && tensor->stride_batch == 0 && tensor->stride_dim == 0) {
      tensor->stride_dim = shape.seqlen;
      tensor->stride_batch = shape.dim * shape.seqlen;
    }
}

void allocate(const CpuImplementation& implementation, SelectiveScanCall& call) {
  lrnnx_memory forward{}, backward{};
  const auto problem = call.problem();
  ASSERT_EQ(selective_scan_cpu_memory(implementation, problem, LRNNX_FORWARD, forward), LRNNX_OK);
  ASSERT_EQ(selective_scan_cpu_memory(implementation, problem, LRNNX_BACKWARD, backward), LRNNX_OK);
  call.allocate(forward, backward);
}

void forward(const CpuImplementation& implementation, SelectiveScanCall& call) {
  auto args = call.forward_args();
  resolve(call.shape(), {&args.u, &args.delta, &args.z, &args.deltaA, &args.out, &args.out_z});
  ASSERT_EQ(selective_scan_cpu_forward(implementation, call.problem(), args), LRNNX_OK);
}

void backward(const CpuImplementation& implementation, SelectiveScanCall& call) {
  auto args = call.backward_args();
  resolve(call.shape(), {&args.u, &args.delta, &args.z, &args.deltaA, &args.out, &args.dout, &args.du, &args.ddelta,
                         &args.dz, &args.ddeltaA});
  ASSERT_EQ(selective_scan_cpu_backward(implementation, call.problem(), args), LRNNX_OK);
}

void run(const CpuImplementation& implementation, SelectiveScanCall& call) {
  allocate(implementation, call);
  forward(implementation, call);
  backward(implementation, call);
}

std::string describe(const CpuImplementation& implementation, const SelectiveScanCall& call) {
  const Shape& s = call.shape();
  char text[200];
  std::snprintf(text, sizeof text, "%s, %s, B %d D %d L %d N %d G %d, options 0x%x", name_of(call.operation()).c_str(),
                implementation.instructions, static_cast<int>(s.batch), static_cast<int>(s.dim),
                static_cast<int>(s.seqlen), static_cast<int>(s.dstate), static_cast<int>(s.groups), call.options());
  return text;
}

void expect_close(const SelectiveScanCall& call, const std::map<std::string, Tensor>& tensors,
                  const std::map<std::string, const std::vector<double>*>& expected, double tolerance) {
  for (const auto& [name, tensor] : tensors) {
    ASSERT_TRUE(expected.contains(name)) << name;
    EXPECT_TRUE(tensor.written()) << name;
    EXPECT_LT(relative_error(tensor, *expected.at(name)), tolerance) << name;
  }
  EXPECT_TRUE(call.guards_intact());
}

// Forward and backward of the same inputs on every instruction set, each against the oracle, and nothing else touched.
// `set` may change the inputs before.
void expect_right(const Shape& shape, uint32_t options, const CallOptions& layout = {}, double tolerance = kTolerance,
                  const std::function<void(SelectiveScanCall&)>& set = {}) {
  reference::Outputs outputs;
  reference::Gradients gradients;
  for (const CpuImplementation* implementation : implementations()) {
    SelectiveScanCall call(shape, options | LRNNX_SAVE_FOR_BACKWARD, layout);
    SCOPED_TRACE(describe(*implementation, call));
    if (set) set(call);
    if (outputs.out.empty()) {
      outputs = reference::forward(call.reference_problem(), call.reference_inputs());
      gradients = reference::backward(call.reference_problem(), call.reference_inputs(), call.values("dout"),
                                      call.values("dlast_state"));
    }
    const auto inputs = call.inputs();
    run(*implementation, call);
    EXPECT_EQ(inputs, call.inputs()) << "an input was written";
    expect_close(call, call.outputs(),
                 {{"out", &outputs.out}, {"out_z", &outputs.out_z}, {"last_state", &outputs.last_state}}, tolerance);
    expect_close(call, call.gradients(),
                 {{"du", &gradients.du},
                  {"ddelta", &gradients.ddelta},
                  {"dA", &gradients.dA},
                  {"dB", &gradients.dB},
                  {"dC", &gradients.dC},
                  {"dD", &gradients.dD},
                  {"dz", &gradients.dz},
                  {"ddelta_bias", &gradients.ddelta_bias},
                  {"ddeltaA", &gradients.ddeltaA},
                  {"dh0", &gradients.dh0}},
                 tolerance);
  }
}

TEST(SelectiveScanCpu, TheFastestInstructionSetComesFirstAndThePortableOneLast) {
  const auto table = implementations();
  ASSERT_FALSE(table.empty());
  for (size_t i = 1; i < table.size(); ++i) EXPECT_LT(table[i]->lanes, table[i - 1]->lanes);
  EXPECT_STREQ(table.back()->instructions, "generic");
#if defined(__x86_64__)
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const auto has = [&](const std::string& name) {
    return std::ranges::any_of(table, [&](const auto* entry) { return name == entry->instructions; });
  };
  EXPECT_EQ(has("avx2"), avx2);
#endif
}

TEST(SelectiveScanCpu, TheEntryPointsRunTheFastestInstructionSet) {
  const Shape shape = {2, 21, 300, 5, 1};
  SelectiveScanCall asked(shape, kAll | LRNNX_SAVE_FOR_BACKWARD), given(shape, kAll | LRNNX_SAVE_FOR_BACKWARD);
  run(*implementations().front(), asked);
  lrnnx_memory forward{}, backward{};
  const auto problem = given.problem();
  ASSERT_EQ(lrnnx_selective_scan_memory(&problem, LRNNX_FORWARD, &forward), LRNNX_OK);
  ASSERT_EQ(lrnnx_selective_scan_memory(&problem, LRNNX_BACKWARD, &backward), LRNNX_OK);
  given.allocate(forward, backward);
  const auto forward_args = given.forward_args();
  ASSERT_EQ(lrnnx_selective_scan_forward(&problem, &forward_args), LRNNX_OK) << lrnnx_last_error();
  const auto backward_args = given.backward_args();
  ASSERT_EQ(lrnnx_selective_scan_backward(&problem, &backward_args), LRNNX_OK) << lrnnx_last_error();
  EXPECT_EQ(asked.outputs(), given.outputs());
  EXPECT_EQ(asked.gradients(), given.gradients());
}

// What suits an operation: the parameter of s7 crosses 0 and +-sqrt(1/2), where its transition vanishes.
CallOptions usual(const Operation& operation) {
  CallOptions call{.operation = operation};
  if (operation.discretization == LRNNX_S7) call.delta = {-1.5f, 1.5f};
  return call;
}

class EveryOperationOnTheCpu : public testing::TestWithParam<Operation> {};
INSTANTIATE_TEST_SUITE_P(SelectiveScanCpu, EveryOperationOnTheCpu, testing::ValuesIn(operations()),
                         [](const auto& info) { return name_of(info.param); });

TEST_P(EveryOperationOnTheCpu, IsRightUnderEveryCombinationOfOptions) {
  const uint32_t taken = variant_of(GetParam()).options & kAll;
  for (uint32_t options = 0; options <= kAll; ++options)
    if ((options & ~taken) == 0) expect_right({2, 21, 150, 3, 3}, options, usual(GetParam()));
}

TEST_P(EveryOperationOnTheCpu, IsRightForAnyLengthAndAnyNumberOfStates) {
  for (int64_t seqlen : {1, 2, 33, 129, 1000})
    for (int64_t dstate : {1, 2, 3, 16, 17}) expect_right({2, 6, seqlen, dstate, 2}, kTypical, usual(GetParam()));
  expect_right({1, 3, 300, 256, 1}, kTypical, usual(GetParam()));
}

TEST_P(EveryOperationOnTheCpu, IsRightForChannelsThatFillNoVector) {
  for (int64_t dim : {1, 7, 17}) expect_right({3, dim, 140, 4, 1}, kTypical, usual(GetParam()));
}

TEST_P(EveryOperationOnTheCpu, ReadsAndWritesStridedViewsInPlace) {
  CallOptions call = usual(GetParam());
  call.outputs = Layout::channels_outermost;
  for (Layout inputs : {Layout::padded, Layout::channels_outermost, Layout::broadcast}) {
    call.inputs = inputs;
    expect_right({3, 19, 140, 4, 1}, kAll, call);
  }
}

TEST_P(EveryOperationOnTheCpu, SumsGradientsSegmentBySegmentRight) {
  expect_right({1, 16, 1300, 256, 16}, kTypical, usual(GetParam()));
}

TEST_P(EveryOperationOnTheCpu, GivesTheSameBitsOnAnyNumberOfThreads) {
  for (const Shape& shape : {Shape{2, 70, 200, 5, 1}, Shape{1, 600, 140, 2, 1}})
    for (uint32_t options : {kAll, kTypical & ~kVariable})
      for (const CpuImplementation* implementation : implementations()) {
        CallOptions call = usual(GetParam());
        call.configuration = "threads=1";
        SelectiveScanCall one(shape, options | LRNNX_SAVE_FOR_BACKWARD, call);
        call.configuration = "threads=3";
        SelectiveScanCall many(shape, options | LRNNX_SAVE_FOR_BACKWARD, call);
        SCOPED_TRACE(describe(*implementation, many));
        run(*implementation, one);
        run(*implementation, many);
        EXPECT_EQ(one.outputs(), many.outputs());
        EXPECT_EQ(one.gradients(), many.gradients());
      }
}

// A NaN in one channel: nothing else changes, not in a single bit, and neither do the steps before.
TEST_P(EveryOperationOnTheCpu, SpreadsANanOnlyToLaterStepsOfItsChannel) {
  const Shape shape = {2, 21, 300, 5, 1};
  constexpr int64_t kRow = 1 * 21 + 18, kStep = 131;
  for (const CpuImplementation* implementation : implementations())
    for (const char* input : {"u", "delta"}) {
      SelectiveScanCall clean(shape, kTypical, usual(GetParam())), hit(shape, kTypical, usual(GetParam()));
      hit.inputs()[input].at(kRow * shape.seqlen + kStep) = std::numeric_limits<float>::quiet_NaN();
      for (SelectiveScanCall* call : {&clean, &hit}) {
        allocate(*implementation, *call);
        forward(*implementation, *call);
      }
      SCOPED_TRACE(describe(*implementation, hit) + ", " + input);
      for (int64_t i = 0; i < clean.outputs()["out"].count(); ++i) {
        const bool later = i / shape.seqlen == kRow && i % shape.seqlen >= kStep;
        const float b = hit.outputs()["out"].at(i);
        if (later)
          EXPECT_TRUE(std::isnan(b)) << i;
        else
          ASSERT_EQ(clean.outputs()["out"].at(i), b) << i;
      }
    }
}

// --- the edges of the discretizations -------------------------------------------------------------------------------

constexpr uint32_t kPlainSteps = kTypical & ~LRNNX_DELTA_SOFTPLUS & ~LRNNX_HAS_DELTA_BIAS;

TEST_P(EveryOperationOnTheCpu, IsRightWhereStepsAreZero) {
  for (uint32_t options : {kPlainSteps, kPlainSteps | LRNNX_HAS_DELTA_A})
    expect_right({2, 5, 150, 3, 1}, options, usual(GetParam()), kTolerance, [](SelectiveScanCall& call) {
      for (const char* name : {"delta", "deltaA"})
        if (call.inputs().contains(name)) {
          Tensor& steps = call.inputs()[name];
          for (int64_t i = 0; i < steps.count(); i += 3) steps.at(i) = 0.0f;
        }
    });
}

TEST_P(EveryOperationOnTheCpu, IsRightWhereAIsZeroOrTiny) {
  // rglru has A in (0, 1): its logarithm is what is tiny.
  const bool rglru = GetParam().discretization == LRNNX_RGLRU;
  expect_right({2, 5, 150, 3, 1}, kTypical, usual(GetParam()), kTolerance, [&](SelectiveScanCall& call) {
    if (!call.inputs().contains("A")) return;
    Tensor& A = call.inputs()["A"];
    constexpr float kTiny[] = {0.0f, -1e-38f, -1e-20f, -1e-7f, -1e-4f};
    for (int64_t i = 0; i < A.count(); ++i) A.at(i) = rglru ? 1.0f - 0x1p-24f * (i + 1) : kTiny[i % 5];
  });
}

TEST_P(EveryOperationOnTheCpu, IsRightWhereTheTransitionUnderflowsOrVanishes) {
  CallOptions call = usual(GetParam());
  switch (GetParam().discretization) {
    case LRNNX_RGLRU:
      call.A = {-80, -60};
      call.delta = {1, 8};
      break;
    case LRNNX_S7:
      call.delta = {std::sqrt(0.5f) - 1e-6f, std::sqrt(0.5f) + 1e-6f};
      break;
    case LRNNX_BILINEAR:  // around dt A = -2
      call.A = {-20.00001f, -19.99999f};
      call.delta = {0.099999f, 0.100001f};
      call.imaginary_A = {-1e-4f, 1e-4f};
      break;
    default:
      call.A = {-1e6f, -1e5f};
  }
  expect_right({2, 5, 150, 3, 1}, kPlainSteps, call, kTolerance, [](SelectiveScanCall&) {});
}

TEST_P(EveryOperationOnTheCpu, IsRightForDenormalInputs) {
  expect_right({2, 5, 150, 3, 1}, kPlainSteps, usual(GetParam()), kTolerance, [](SelectiveScanCall& call) {
    Tensor& delta = call.inputs()["delta"];
    for (int64_t i = 0; i < delta.count(); i += 2) delta.at(i) = 1e-41f;
    Tensor& u = call.inputs()["u"];
    for (int64_t i = 0; i < u.count(); i += 3) u.at(i) = 1e-40f;
  });
}

TEST_P(EveryOperationOnTheCpu, IsRightForLongSlowSequences) {
  if (GetParam().discretization == LRNNX_S7) return;  // decays whatever its parameter is, but for huge ones
  CallOptions call = usual(GetParam());
  call.A = {-1e-2f, -1e-3f};
  call.imaginary_A = {-0.1f, 0.1f};
  expect_right({1, 3, 8192, 1, 1}, kTypical, call, 4e-5);
}

// --- one operation, all shapes --------------------------------------------------------------------------------------

class ShapeTest : public testing::TestWithParam<std::pair<int64_t, int64_t>> {};

TEST_P(ShapeTest, AnyLengthAndAnyNumberOfStatesIsRight) {
  const auto [seqlen, dstate] = GetParam();
  for (int64_t groups : {1, 2, 6}) expect_right({2, 6, seqlen, dstate, groups}, kTypical);
}

std::vector<std::pair<int64_t, int64_t>> lengths_and_states() {
  std::vector<std::pair<int64_t, int64_t>> result;
  for (int64_t seqlen : {1, 2, 31, 32, 33, 127, 128, 129, 197, 1000})
    for (int64_t dstate : {1, 2, 3, 16, 17, 255, 256}) result.emplace_back(seqlen, dstate);
  return result;
}

INSTANTIATE_TEST_SUITE_P(SelectiveScanCpu, ShapeTest, testing::ValuesIn(lengths_and_states()), [](const auto& info) {
  std::ostringstream name;
  name << 'L' << info.param.first << 'N' << info.param.second;
  return name.str();
});

TEST(SelectiveScanCpu, ChannelsThatFillNoVectorAreRight) {
  for (int64_t dim : {1, 3, 4, 7, 8, 9, 15, 16, 17, 34}) {
    expect_right({3, dim, 140, 4, 1}, kTypical);
    expect_right({1, 2 * dim, 140, 4, 2}, kTypical);
  }
}

TEST(SelectiveScanCpu, StridedViewsAreReadAndWrittenInPlace) {
  for (Layout inputs : {Layout::padded, Layout::channels_outermost, Layout::broadcast})
    for (Layout outputs : {Layout::padded, Layout::channels_outermost})
      expect_right({3, 19, 140, 4, 1}, kAll, {.inputs = inputs, .outputs = outputs});
}

// More channels than tasks, so that one task adds the gradients of B and C of several blocks up.
TEST(SelectiveScanCpu, GradientsSummedOverManyChannelsAreRight) { expect_right({1, 4500, 140, 2, 1}, kTypical); }

// The gradients of B and C are gathered in 32 MiB at a time: here that is two fifths of the time.
TEST(SelectiveScanCpu, GradientsSummedSegmentBySegmentAreRight) { expect_right({1, 16, 2500, 256, 16}, kTypical); }

TEST(SelectiveScanCpu, GradientsSummedOverLongTimeStayAccurateToOneInAMillion) {
  for (int64_t seqlen : {4096, 65536}) expect_right({2, 3, seqlen, 2, 1}, kTypical & ~kVariable, {}, 1e-6);
}

// A state that remembers ten thousand steps collects their roundings; what it feeds is as inaccurate, and no more.
TEST(SelectiveScanCpu, StatesThatHardlyDecayAreRight) {
  expect_right({1, 3, 65536, 1, 1}, kTypical, {.A = {-1e-2f, -1e-3f}}, 2e-5);
}

// exp(dt A) is exactly 0 here, so that no previous state can be had by dividing by it.
TEST(SelectiveScanCpu, ATransitionThatUnderflowsToZeroLeavesGradientsRight) {
  expect_right({2, 5, 100, 3, 1}, kTypical & ~LRNNX_DELTA_SOFTPLUS, {.A = {-1e6f, -1e5f}});
}

TEST(SelectiveScanCpu, ThreadsDoNotChangeASingleBit) {
  for (const Shape& shape : {Shape{2, 70, 200, 5, 1}, Shape{1, 4500, 140, 2, 1}, Shape{1, 16, 1100, 256, 16}})
    for (uint32_t options : {kAll, kTypical & ~kVariable})
      for (const CpuImplementation* implementation : implementations()) {
        SelectiveScanCall one(shape, options | LRNNX_SAVE_FOR_BACKWARD, {.configuration = "threads=1"});
        run(*implementation, one);
        for (const char* threads : {"threads=2", "threads=3"}) {
          SelectiveScanCall many(shape, options | LRNNX_SAVE_FOR_BACKWARD, {.configuration = threads});
          SCOPED_TRACE(describe(*implementation, many) + ", " + threads);
          run(*implementation, many);
          EXPECT_EQ(one.outputs(), many.outputs());
          EXPECT_EQ(one.gradients(), many.gradients());
          EXPECT_TRUE(many.guards_intact());
        }
      }
}

TEST(SelectiveScanCpu, AWorkspaceHoldsNothingBetweenCalls) {
  for (const CpuImplementation* implementation : implementations()) {
    SelectiveScanCall first({2, 21, 300, 5, 1}, kAll | LRNNX_SAVE_FOR_BACKWARD),
        again = SelectiveScanCall({2, 21, 300, 5, 1}, kAll | LRNNX_SAVE_FOR_BACKWARD);
    run(*implementation, first);
    run(*implementation, again);
    for (unsigned char poison : {0x00, 0xff, 0x7f}) {
      std::memset(again.forward_workspace().data(), poison, again.forward_workspace().bytes());
      std::memset(again.backward_workspace().data(), poison, again.backward_workspace().bytes());
      forward(*implementation, again);
      backward(*implementation, again);
      EXPECT_EQ(first.outputs(), again.outputs());
      EXPECT_EQ(first.gradients(), again.gradients());
    }
  }
}

TEST(SelectiveScanCpu, ForwardIsTheSameWhetherItSavesOrNot) {
  for (const CpuImplementation* implementation : implementations()) {
    SelectiveScanCall saving({2, 21, 300, 5, 1}, kAll | LRNNX_SAVE_FOR_BACKWARD), plain({2, 21, 300, 5, 1}, kAll);
    allocate(*implementation, saving);
    allocate(*implementation, plain);
    forward(*implementation, saving);
    forward(*implementation, plain);
    EXPECT_EQ(saving.outputs(), plain.outputs());
    EXPECT_TRUE(plain.saved().untouched());
    EXPECT_FALSE(saving.saved().untouched());
  }
}

// One bad element of u or delta: later steps of that channel may change, nothing else may, not in a single bit.
TEST(SelectiveScanCpu, NanAndInfinityReachOnlyLaterStepsOfTheirChannel) {
  const Shape shape = {2, 21, 300, 5, 1};
  constexpr int64_t kBatch = 1, kChannel = 18, kStep = 131;
  const int64_t row = kBatch * shape.dim + kChannel;
  for (const CpuImplementation* implementation : implementations())
    for (const char* input : {"u", "delta", "z", "deltaA"})
      for (float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                        -std::numeric_limits<float>::infinity()}) {
        SelectiveScanCall clean(shape, kAll), hit(shape, kAll);
        hit.inputs()[input].at(row * shape.seqlen + kStep) = bad;
        for (SelectiveScanCall* call : {&clean, &hit}) {
          allocate(*implementation, *call);
          forward(*implementation, *call);
        }
        SCOPED_TRACE(describe(*implementation, hit) + ", " + input + " = " + std::to_string(bad));
        bool reached = false;
        for (const char* name : {"out", "out_z"})
          for (int64_t i = 0; i < clean.outputs()[name].count(); ++i) {
            const float a = clean.outputs()[name].at(i), b = hit.outputs()[name].at(i);
            const bool later = i / shape.seqlen == row && i % shape.seqlen >= kStep;
            if (later)
              reached = reached || !std::isfinite(b);
            else
              ASSERT_EQ(std::memcmp(&a, &b, sizeof a), 0) << name << " at " << i;
          }
        // deltaA = -inf decays the state to nothing, as it should; z = -inf closes the gate on -inf * 0.
        if (std::isnan(bad)) {
          EXPECT_TRUE(reached);
        }
        for (int64_t i = 0; i < clean.outputs()["last_state"].count(); ++i) {
          if (i / shape.dstate == row) continue;
          ASSERT_EQ(clean.outputs()["last_state"].at(i), hit.outputs()["last_state"].at(i)) << "last_state at " << i;
        }
      }
}

// In lanes without a channel an infinite B meets zeros; that must not leak into sums over channels.
TEST(SelectiveScanCpu, AnInfiniteBReachesNoGradientBeforeItsStep) {
  const Shape shape = {1, 3, 200, 2, 1};
  constexpr int64_t kStep = 140;
  for (const CpuImplementation* implementation : implementations()) {
    SCOPED_TRACE(implementation->instructions);
    SelectiveScanCall clean(shape, kTypical | LRNNX_SAVE_FOR_BACKWARD), hit(shape, kTypical | LRNNX_SAVE_FOR_BACKWARD);
    hit.inputs()["B"].at(kStep) = std::numeric_limits<float>::infinity();  // of state 0
    for (int64_t d = 0; d < shape.dim; ++d)
      for (SelectiveScanCall* call : {&clean, &hit}) call->inputs()["u"].at(d * shape.seqlen + kStep) = 1.0f;
    run(*implementation, clean);
    run(*implementation, hit);
    // dB sums g u, which B does not enter; dC sums h, which it enters from its step on.
    EXPECT_EQ(clean.gradients()["dB"].values(), hit.gradients()["dB"].values());
    for (int64_t i = 0; i < shape.dstate * shape.seqlen; ++i) {
      const bool reached = i >= kStep && i < shape.seqlen;
      EXPECT_EQ(std::isfinite(hit.gradients()["dC"].at(i)), !reached) << "dC at " << i;
    }
  }
}

TEST(SelectiveScanCpu, SavedStatesAreUnderAFifthOfTheInputsAndOutputs) {
  for (const CpuImplementation* implementation : implementations()) {
    const Shape shape = {2, 256, 2048, 16, 1};
    SelectiveScanCall call({1, 1, 1, 1, 1}, kTypical);
    auto problem = call.problem();
    problem.batch = shape.batch;
    problem.dim = shape.dim;
    problem.seqlen = shape.seqlen;
    problem.dstate = shape.dstate;
    lrnnx_memory memory{};
    ASSERT_EQ(selective_scan_cpu_memory(*implementation, problem, LRNNX_BACKWARD, memory), LRNNX_OK);
    const int64_t tensors = 5 * shape.batch * shape.dim * shape.seqlen * 4;  // u, delta, z, out, out_z
    EXPECT_GT(memory.saved_bytes, 0);
    EXPECT_LT(memory.saved_bytes, tensors / 5);
  }
}

}  // namespace
}  // namespace lrnnx::test::selective_scan_cpu_test
