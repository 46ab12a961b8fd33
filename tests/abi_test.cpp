// Every way in which a call of the C ABI can be wrong: the status, the argument that the message names, and that
// nothing was written.
#include <gtest/gtest.h>

#include <algorithm>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "lrnnx/lrnnx.h"
#include "selective_scan_call.h"

namespace lrnnx::test::abi_test {
namespace {

using Problem = lrnnx_selective_scan_problem;
using ForwardArgs = lrnnx_selective_scan_forward_args;
using BackwardArgs = lrnnx_selective_scan_backward_args;

constexpr uint32_t kOptions = LRNNX_VARIABLE_B | LRNNX_VARIABLE_C | LRNNX_HAS_D | LRNNX_HAS_Z | LRNNX_HAS_DELTA_BIAS |
                              LRNNX_DELTA_SOFTPLUS | LRNNX_HAS_DELTA_A | LRNNX_HAS_H0 | LRNNX_HAS_LAST_STATE |
                              LRNNX_SAVE_FOR_BACKWARD;
constexpr Shape kShape = {2, 6, 300, 3, 2};

// A call with which nothing is wrong.
SelectiveScanCall good_call(uint32_t options = kOptions, CallOptions layout = {}, const Shape& shape = kShape) {
  SelectiveScanCall call(shape, options, layout);
  lrnnx_memory forward{}, backward{};
  const Problem problem = call.problem();
  EXPECT_EQ(lrnnx_selective_scan_memory(&problem, LRNNX_FORWARD, &forward), LRNNX_OK) << lrnnx_last_error();
  EXPECT_EQ(lrnnx_selective_scan_memory(&problem, LRNNX_BACKWARD, &backward), LRNNX_OK) << lrnnx_last_error();
  call.allocate(forward, backward);
  return call;
}

void expect_untouched(SelectiveScanCall& call) {
  for (auto* tensors : {&call.outputs(), &call.gradients()})
    for (const auto& [name, tensor] : *tensors) EXPECT_TRUE(tensor.untouched()) << name << " was written";
  EXPECT_TRUE(call.saved().untouched());
  EXPECT_TRUE(call.forward_workspace().untouched());
  EXPECT_TRUE(call.backward_workspace().untouched());
}

void expect_message_has(const std::vector<std::string>& words) {
  for (const std::string& word : words)
    EXPECT_NE(std::string(lrnnx_last_error()).find(word), std::string::npos)
        << "\"" << word << "\" is not in: " << lrnnx_last_error();
}

template <class Case>
std::string name_of(const testing::TestParamInfo<Case>& info) {
  return info.param.name;
}

TEST(Abi, ValidCallsSucceed) {
  SelectiveScanCall call = good_call();
  const Problem problem = call.problem();
  const ForwardArgs forward = call.forward_args();
  EXPECT_EQ(lrnnx_selective_scan_forward(&problem, &forward), LRNNX_OK) << lrnnx_last_error();
  const BackwardArgs backward = call.backward_args();
  EXPECT_EQ(lrnnx_selective_scan_backward(&problem, &backward), LRNNX_OK) << lrnnx_last_error();
  for (auto* tensors : {&call.outputs(), &call.gradients()})
    for (const auto& [name, tensor] : *tensors) EXPECT_TRUE(tensor.written()) << name;
}

// --- the problem ----------------------------------------------------------------------------------------------------

struct ProblemCase {
  const char* name;
  std::function<void(Problem&)> spoil;
  lrnnx_status status;
  std::vector<std::string> message;
};

class BadProblem : public testing::TestWithParam<ProblemCase> {};

TEST_P(BadProblem, IsRefusedByEveryEntryPoint) {
  SelectiveScanCall call = good_call();
  Problem problem = call.problem();
  GetParam().spoil(problem);
  const auto refused = [&](lrnnx_status status) {
    EXPECT_EQ(lrnnx_status_name(status), std::string(lrnnx_status_name(GetParam().status)));
    expect_message_has(GetParam().message);
  };
  for (lrnnx_direction direction : {LRNNX_FORWARD, LRNNX_BACKWARD}) {
    lrnnx_memory memory = {-7, -7};
    refused(lrnnx_selective_scan_memory(&problem, direction, &memory));
    EXPECT_EQ(memory.saved_bytes, -7);
    EXPECT_EQ(memory.workspace_bytes, -7);
    char text[64] = "untouched";
    refused(lrnnx_selective_scan_configuration(&problem, direction, text, sizeof text));
    EXPECT_STREQ(text, "untouched");
  }
  const ForwardArgs forward = call.forward_args();
  refused(lrnnx_selective_scan_forward(&problem, &forward));
  const BackwardArgs backward = call.backward_args();
  refused(lrnnx_selective_scan_backward(&problem, &backward));
  expect_untouched(call);
}

constexpr int64_t kHuge = int64_t{1} << 40;

const ProblemCase kBadProblems[] = {
    {"DiscretizationNegative",
     [](Problem& p) { p.discretization = -1; },
     LRNNX_INVALID_ARGUMENT,
     {"discretization is -1", "0 (mamba)", "5 (rglru)"}},
    {"DiscretizationUnknown",
     [](Problem& p) { p.discretization = 6; },
     LRNNX_INVALID_ARGUMENT,
     {"discretization is 6", "allowed"}},
    {"DtypeUnknown",
     [](Problem& p) { p.dtype = 4; },
     LRNNX_INVALID_ARGUMENT,
     {"dtype is 4", "0 (f32), 1 (c64), 2 (bf16), 3 (f16)"}},
    {"BackendUnknown", [](Problem& p) { p.backend = 2; }, LRNNX_INVALID_ARGUMENT, {"backend is 2", "cpu", "cuda"}},
    {"OptionsUnknown",
     [](Problem& p) { p.options |= 1u << 10; },
     LRNNX_INVALID_ARGUMENT,
     {"options", "0x400", "0x3ff"}},
    {"BatchZero", [](Problem& p) { p.batch = 0; }, LRNNX_INVALID_ARGUMENT, {"batch is 0", "at least 1"}},
    {"BatchNegative", [](Problem& p) { p.batch = -2; }, LRNNX_INVALID_ARGUMENT, {"batch is -2", "at least 1"}},
    {"DimZero", [](Problem& p) { p.dim = 0; }, LRNNX_INVALID_ARGUMENT, {"dim is 0", "at least 1"}},
    {"DimNegative", [](Problem& p) { p.dim = -6; }, LRNNX_INVALID_ARGUMENT, {"dim is -6", "at least 1"}},
    {"SeqlenZero", [](Problem& p) { p.seqlen = 0; }, LRNNX_INVALID_ARGUMENT, {"seqlen is 0", "at least 1"}},
    {"SeqlenNegative", [](Problem& p) { p.seqlen = -1; }, LRNNX_INVALID_ARGUMENT, {"seqlen is -1", "at least 1"}},
    {"DstateZero", [](Problem& p) { p.dstate = 0; }, LRNNX_INVALID_ARGUMENT, {"dstate is 0", "at least 1"}},
    {"DstateNegative", [](Problem& p) { p.dstate = -16; }, LRNNX_INVALID_ARGUMENT, {"dstate is -16", "at least 1"}},
    {"DstateTooLarge", [](Problem& p) { p.dstate = 257; }, LRNNX_INVALID_ARGUMENT, {"dstate is 257", "256"}},
    {"GroupsZero", [](Problem& p) { p.groups = 0; }, LRNNX_INVALID_ARGUMENT, {"groups is 0", "at least 1"}},
    {"GroupsNegative", [](Problem& p) { p.groups = -2; }, LRNNX_INVALID_ARGUMENT, {"groups is -2", "at least 1"}},
    {"GroupsNotDividingDim", [](Problem& p) { p.groups = 4; }, LRNNX_INVALID_ARGUMENT, {"groups is 4", "dim = 6"}},
    {"GroupsAboveDim", [](Problem& p) { p.groups = 12; }, LRNNX_INVALID_ARGUMENT, {"groups is 12", "dim = 6"}},
    {"SizesBeyond64Bits",
     [](Problem& p) {
       p.batch = kHuge;
       p.dim = 2;
       p.seqlen = kHuge;
     },
     LRNNX_INVALID_ARGUMENT,
     {"batch = 1099511627776", "seqlen = 1099511627776", "64 bits"}},
    {"SizesInBytesBeyond64Bits",
     [](Problem& p) { p.seqlen = INT64_MAX / (2 * 6 * 3); },
     LRNNX_INVALID_ARGUMENT,
     {"seqlen = ", "64 bits"}},
    {"ComplexS7",
     [](Problem& p) {
       p.discretization = LRNNX_S7;
       p.dtype = LRNNX_C64;
     },
     LRNNX_INVALID_ARGUMENT,
     {"dtype is c64", "s7", "real"}},
    {"ComplexRglru",
     [](Problem& p) {
       p.discretization = LRNNX_RGLRU;
       p.dtype = LRNNX_C64;
     },
     LRNNX_INVALID_ARGUMENT,
     {"dtype is c64", "rglru", "real"}},
    {"S7WithDeltaBias",
     [](Problem& p) {
       p.discretization = LRNNX_S7;
       p.options = LRNNX_HAS_DELTA_BIAS;
     },
     LRNNX_INVALID_ARGUMENT,
     {"options", "LRNNX_HAS_DELTA_BIAS", "s7"}},
    {"S7WithSoftplus",
     [](Problem& p) {
       p.discretization = LRNNX_S7;
       p.options = LRNNX_DELTA_SOFTPLUS;
     },
     LRNNX_INVALID_ARGUMENT,
     {"options", "LRNNX_DELTA_SOFTPLUS", "s7"}},
    {"S7WithDeltaA",
     [](Problem& p) {
       p.discretization = LRNNX_S7;
       p.options = LRNNX_HAS_DELTA_A;
     },
     LRNNX_INVALID_ARGUMENT,
     {"options", "LRNNX_HAS_DELTA_A", "s7"}},
    {"RglruWithDeltaBias",
     [](Problem& p) {
       p.discretization = LRNNX_RGLRU;
       p.options = LRNNX_HAS_DELTA_BIAS;
     },
     LRNNX_INVALID_ARGUMENT,
     {"options", "LRNNX_HAS_DELTA_BIAS", "rglru"}},
    {"RglruWithSoftplus",
     [](Problem& p) {
       p.discretization = LRNNX_RGLRU;
       p.options = LRNNX_DELTA_SOFTPLUS;
     },
     LRNNX_INVALID_ARGUMENT,
     {"options", "LRNNX_DELTA_SOFTPLUS", "rglru"}},
    {"RglruWithDeltaA",
     [](Problem& p) {
       p.discretization = LRNNX_RGLRU;
       p.options = LRNNX_HAS_DELTA_A;
     },
     LRNNX_INVALID_ARGUMENT,
     {"options", "LRNNX_HAS_DELTA_A", "rglru"}},
    {"RglruWithVariableB",
     [](Problem& p) {
       p.discretization = LRNNX_RGLRU;
       p.options = LRNNX_VARIABLE_B;
     },
     LRNNX_INVALID_ARGUMENT,
     {"options", "LRNNX_VARIABLE_B", "rglru"}},
    {"ConfigurationUnknownKey",
     [](Problem& p) { p.configuration = "block=4"; },
     LRNNX_INVALID_ARGUMENT,
     {"configuration", "block=4", "threads=N"}},
    {"ConfigurationNoThreads",
     [](Problem& p) { p.configuration = "threads=0"; },
     LRNNX_INVALID_ARGUMENT,
     {"configuration", "threads=0", "from 1"}},
    {"ConfigurationNotANumber",
     [](Problem& p) { p.configuration = "threads=two"; },
     LRNNX_INVALID_ARGUMENT,
     {"configuration", "threads=two"}},
    {"ConfigurationTrailingText",
     [](Problem& p) { p.configuration = "threads=2,"; },
     LRNNX_INVALID_ARGUMENT,
     {"configuration", "threads=2,"}},
    {"ConfigurationTooManyThreads",
     [](Problem& p) { p.configuration = "threads=99999999999999999999"; },
     LRNNX_INVALID_ARGUMENT,
     {"configuration", "threads=99999999999999999999"}},
#ifndef LRNNX_WITH_CUDA
    {"CudaNotBuiltIn",
     [](Problem& p) { p.backend = LRNNX_CUDA; },
     LRNNX_NO_DEVICE,
     {"backend is cuda", "built without CUDA"}},
#endif
};

INSTANTIATE_TEST_SUITE_P(Abi, BadProblem, testing::ValuesIn(kBadProblems), name_of<ProblemCase>);

TEST(Abi, WhatTheTableOfVariantsHasIsComputedAndNothingElse) {
  const std::string backends[] = {"cpu", "cuda"};
  for (const Operation& operation : operations())
    for (int32_t backend : {LRNNX_CPU, LRNNX_CUDA})
      for (lrnnx_direction direction : {LRNNX_FORWARD, LRNNX_BACKWARD}) {
        bool listed = false;
        for (int64_t i = 0; i < lrnnx_variant_count(); ++i) {
          lrnnx_variant variant{};
          ASSERT_EQ(lrnnx_variant_at(i, &variant), LRNNX_OK);
          listed = listed || (variant.discretization + std::string("_") + variant.dtype == name_of(operation) &&
                              variant.backend == backends[backend] &&
                              variant.direction == std::string(direction == LRNNX_FORWARD ? "forward" : "backward"));
        }
        SCOPED_TRACE(name_of(operation) + " " + backends[backend]);
#ifdef LRNNX_WITH_CUDA
        const bool built = true;
#else
        const bool built = backend == LRNNX_CPU;
#endif
        EXPECT_EQ(listed, built);
        SelectiveScanCall call({1, 1, 1, 1, 1}, 0, {.operation = operation});
        Problem problem = call.problem();
        problem.backend = backend;
        lrnnx_memory memory{};
        const lrnnx_status status = lrnnx_selective_scan_memory(&problem, direction, &memory);
        // A build with CUDA may run on a machine without a device.
        EXPECT_TRUE(status == LRNNX_OK || (backend == LRNNX_CUDA && status == LRNNX_NO_DEVICE));
      }
}

// --- null pointers and queries --------------------------------------------------------------------------------------

TEST(Abi, ANullProblemIsRefused) {
  SelectiveScanCall call = good_call();
  lrnnx_memory memory{};
  char text[64];
  const ForwardArgs forward = call.forward_args();
  const BackwardArgs backward = call.backward_args();
  EXPECT_EQ(lrnnx_selective_scan_memory(nullptr, LRNNX_FORWARD, &memory), LRNNX_INVALID_ARGUMENT);
  expect_message_has({"problem is null"});
  EXPECT_EQ(lrnnx_selective_scan_configuration(nullptr, LRNNX_FORWARD, text, sizeof text), LRNNX_INVALID_ARGUMENT);
  EXPECT_EQ(lrnnx_selective_scan_forward(nullptr, &forward), LRNNX_INVALID_ARGUMENT);
  EXPECT_EQ(lrnnx_selective_scan_backward(nullptr, &backward), LRNNX_INVALID_ARGUMENT);
  expect_untouched(call);
}

TEST(Abi, NullArgsAreRefused) {
  SelectiveScanCall call = good_call();
  const Problem problem = call.problem();
  EXPECT_EQ(lrnnx_selective_scan_forward(&problem, nullptr), LRNNX_INVALID_ARGUMENT);
  expect_message_has({"args is null"});
  EXPECT_EQ(lrnnx_selective_scan_backward(&problem, nullptr), LRNNX_INVALID_ARGUMENT);
  expect_message_has({"args is null"});
}

TEST(Abi, AnUnknownDirectionIsRefused) {
  SelectiveScanCall call = good_call();
  const Problem problem = call.problem();
  lrnnx_memory memory{};
  char text[64];
  EXPECT_EQ(lrnnx_selective_scan_memory(&problem, static_cast<lrnnx_direction>(2), &memory), LRNNX_INVALID_ARGUMENT);
  expect_message_has({"direction is 2", "forward", "backward"});
  EXPECT_EQ(lrnnx_selective_scan_configuration(&problem, static_cast<lrnnx_direction>(3), text, sizeof text),
            LRNNX_INVALID_ARGUMENT);
  expect_message_has({"direction is 3"});
}

TEST(Abi, TheMemoryQueryRefusesANullResult) {
  SelectiveScanCall call = good_call();
  const Problem problem = call.problem();
  EXPECT_EQ(lrnnx_selective_scan_memory(&problem, LRNNX_FORWARD, nullptr), LRNNX_INVALID_ARGUMENT);
  expect_message_has({"memory is null"});
}

TEST(Abi, TheMemoryQueryAsksForSavedStatesWhereTheyAreSavedOrRead) {
  SelectiveScanCall saving(kShape, kOptions), plain(kShape, kOptions & ~LRNNX_SAVE_FOR_BACKWARD);
  const Problem with = saving.problem(), without = plain.problem();
  lrnnx_memory memory{};
  ASSERT_EQ(lrnnx_selective_scan_memory(&with, LRNNX_FORWARD, &memory), LRNNX_OK);
  const int64_t saved = memory.saved_bytes;
  EXPECT_GT(saved, 0);
  EXPECT_GT(memory.workspace_bytes, 0);
  ASSERT_EQ(lrnnx_selective_scan_memory(&without, LRNNX_FORWARD, &memory), LRNNX_OK);
  EXPECT_EQ(memory.saved_bytes, 0);
  for (const Problem& problem : {with, without}) {
    ASSERT_EQ(lrnnx_selective_scan_memory(&problem, LRNNX_BACKWARD, &memory), LRNNX_OK);
    EXPECT_EQ(memory.saved_bytes, saved);
  }
}

TEST(Abi, TheConfigurationQueryRefusesNoTextAndTooShortATextAndWritesNothing) {
  SelectiveScanCall call = good_call(kOptions, {.configuration = "threads=12"});
  const Problem problem = call.problem();
  EXPECT_EQ(lrnnx_selective_scan_configuration(&problem, LRNNX_FORWARD, nullptr, 64), LRNNX_INVALID_ARGUMENT);
  expect_message_has({"text is null"});
  char text[16] = "untouched";
  for (int64_t capacity : {int64_t{-1}, int64_t{0}, int64_t{10}}) {
    EXPECT_EQ(lrnnx_selective_scan_configuration(&problem, LRNNX_FORWARD, text, capacity), LRNNX_INVALID_ARGUMENT);
    expect_message_has({"capacity is " + std::to_string(capacity), "11"});
    EXPECT_STREQ(text, "untouched");
  }
  EXPECT_EQ(lrnnx_selective_scan_configuration(&problem, LRNNX_FORWARD, text, 11), LRNNX_OK);
  EXPECT_STREQ(text, "threads=12");
}

TEST(Abi, ThePrintedConfigurationIsTakenBackAndPrintsTheSame) {
  for (lrnnx_direction direction : {LRNNX_FORWARD, LRNNX_BACKWARD}) {
    SelectiveScanCall call({4, 64, 2000, 16, 1}, kOptions);
    Problem problem = call.problem();
    char chosen[64], again[64];
    for (const char* unset : {static_cast<const char*>(nullptr), ""}) {
      problem.configuration = unset;
      ASSERT_EQ(lrnnx_selective_scan_configuration(&problem, direction, chosen, sizeof chosen), LRNNX_OK);
    }
    problem.configuration = chosen;
    ASSERT_EQ(lrnnx_selective_scan_configuration(&problem, direction, again, sizeof again), LRNNX_OK);
    EXPECT_STREQ(chosen, again);
  }
}

// --- tensors and buffers --------------------------------------------------------------------------------------------

struct TensorName {
  const char* name;
  lrnnx_tensor ForwardArgs::*forward;
  lrnnx_tensor BackwardArgs::*backward;
  uint32_t option;  // without which the tensor must be absent; 0: always there
  bool bdl, written_forward, written_backward;
  bool written() const { return written_forward || written_backward; }
};

#define BOTH(name) #name, &ForwardArgs::name, &BackwardArgs::name
#define FORWARD(name) #name, &ForwardArgs::name, nullptr
#define BACKWARD(name) #name, nullptr, &BackwardArgs::name
const TensorName kTensors[] = {
    {BOTH(u), 0, true, false, false},
    {BOTH(delta), 0, true, false, false},
    {BOTH(A), 0, false, false, false},
    {BOTH(B), 0, false, false, false},
    {BOTH(C), 0, false, false, false},
    {BOTH(D), LRNNX_HAS_D, false, false, false},
    {BOTH(z), LRNNX_HAS_Z, true, false, false},
    {BOTH(delta_bias), LRNNX_HAS_DELTA_BIAS, false, false, false},
    {BOTH(deltaA), LRNNX_HAS_DELTA_A, true, false, false},
    {BOTH(h0), LRNNX_HAS_H0, false, false, false},
    {FORWARD(out), 0, true, true, false},
    {FORWARD(out_z), LRNNX_HAS_Z, true, true, false},
    {FORWARD(last_state), LRNNX_HAS_LAST_STATE, false, true, false},
    {BACKWARD(out), LRNNX_HAS_Z, true, false, false},
    {BACKWARD(dout), 0, true, false, false},
    {BACKWARD(dlast_state), LRNNX_HAS_LAST_STATE, false, false, false},
    {BACKWARD(du), 0, true, false, true},
    {BACKWARD(ddelta), 0, true, false, true},
    {BACKWARD(dA), 0, false, false, true},
    {BACKWARD(dB), 0, false, false, true},
    {BACKWARD(dC), 0, false, false, true},
    {BACKWARD(dD), LRNNX_HAS_D, false, false, true},
    {BACKWARD(dz), LRNNX_HAS_Z, true, false, true},
    {BACKWARD(ddelta_bias), LRNNX_HAS_DELTA_BIAS, false, false, true},
    {BACKWARD(ddeltaA), LRNNX_HAS_DELTA_A, true, false, true},
    {BACKWARD(dh0), LRNNX_HAS_H0, false, false, true},
};

class AnyTensor : public testing::TestWithParam<TensorName> {
 protected:
  // Both directions of a call, as far as they have the tensor, each spoilt in it.
  void expect_refused(const std::function<void(lrnnx_tensor&)>& spoil, const std::vector<std::string>& message,
                      uint32_t options = kOptions) {
    const TensorName& tensor = GetParam();
    SelectiveScanCall call = good_call(options);
    const Problem problem = call.problem();
    if (tensor.forward) {
      ForwardArgs args = call.forward_args();
      spoil(args.*tensor.forward);
      EXPECT_EQ(lrnnx_selective_scan_forward(&problem, &args), LRNNX_INVALID_ARGUMENT);
      expect_names(message);
    }
    if (tensor.backward) {
      BackwardArgs args = call.backward_args();
      spoil(args.*tensor.backward);
      EXPECT_EQ(lrnnx_selective_scan_backward(&problem, &args), LRNNX_INVALID_ARGUMENT);
      expect_names(message);
    }
    expect_untouched(call);
  }

 private:
  static void expect_names(const std::vector<std::string>& message) {
    EXPECT_EQ(std::string(lrnnx_last_error()).rfind(std::string(GetParam().name) + " ", 0), 0u) << lrnnx_last_error();
    expect_message_has(message);
  }
};

class OptionalTensor : public AnyTensor {};
class StridedTensor : public AnyTensor {};
class StridedOutput : public AnyTensor {};
class Output : public AnyTensor {};

TEST_P(AnyTensor, IsRefusedIfNullThoughExpected) {
  expect_refused([](lrnnx_tensor& tensor) { tensor.data = nullptr; }, {"null"});
}

TEST_P(OptionalTensor, IsRefusedIfGivenThoughTheOptionsLeaveItOut) {
  static float memory[8];
  expect_refused(
      [](lrnnx_tensor& tensor) {
        tensor = {memory, 8, 0, 0};
      },
      {"must be null", "options lacks LRNNX_"}, kOptions & ~GetParam().option);
}

TEST_P(AnyTensor, IsRefusedIfOneElementShort) {
  int64_t given = 0;
  expect_refused(
      [&](lrnnx_tensor& tensor) {
        given = tensor.size;
        --tensor.size;
      },
      {"size", "needs"});
  expect_message_has({std::to_string(given - 1), std::to_string(given) + " elements"});
}

TEST_P(AnyTensor, IsRefusedIfItsSizeIsNegative) {
  expect_refused([](lrnnx_tensor& tensor) { tensor.size = -1; }, {"size -1"});
}

TEST_P(AnyTensor, IsRefusedIfMisaligned) {
  expect_refused([](lrnnx_tensor& tensor) { tensor.data = static_cast<char*>(tensor.data) + 2; },
                 {"multiple of 4 bytes"});
}

TEST_P(StridedTensor, IsRefusedIfAStrideIsNegative) {
  expect_refused([](lrnnx_tensor& tensor) { tensor.stride_batch = -kShape.dim * kShape.seqlen; },
                 {"stride_batch = -1800", "negative"});
  expect_refused([](lrnnx_tensor& tensor) { tensor.stride_dim = -kShape.seqlen; }, {"stride_dim = -300", "negative"});
}

TEST_P(StridedTensor, IsRefusedIfBroadcastOverChannels) {
  expect_refused([](lrnnx_tensor& tensor) { tensor.stride_batch = kShape.seqlen; },
                 {"stride_dim = 0", "must be positive"});
}

TEST_P(StridedTensor, IsRefusedIfItsStridesReachBeyond64Bits) {
  expect_refused(
      [](lrnnx_tensor& tensor) {
        tensor.stride_batch = 500;
        tensor.stride_dim = INT64_MAX / 3;
      },
      {"stride_dim = 3074457345618258602", "64 bits"});
  expect_refused(  // the elements would fit, their bytes do not
      [](lrnnx_tensor& tensor) {
        tensor.stride_batch = INT64_MAX / 2;
        tensor.stride_dim = kShape.seqlen;
      },
      {"stride_batch = 4611686018427387903", "64 bits"});
}

TEST_P(StridedTensor, IsRefusedIfItsStridesReachFurtherThanItsSize) {
  expect_refused(
      [](lrnnx_tensor& tensor) {
        tensor.stride_batch = kShape.dim * (kShape.seqlen + 1);
        tensor.stride_dim = kShape.seqlen + 1;
      },
      {"has size 3600", "needs 3611 elements", "(1806, 301, 1)"});
}

TEST_P(StridedOutput, IsRefusedIfItsRowsOverlap) {
  const int64_t L = kShape.seqlen;
  const std::pair<int64_t, int64_t> overlapping[] = {
      {0, L},              // broadcast over the batch
      {6 * L, L - 1},      // channels
      {6 * L - 1, L},      // the last channel of one batch and the first of the next
      {L - 1, 2 * L},      // batches
      {2 * L + 1, 2 * L},  // interleaved: batch 1, channel 0 is one off batch 0, channel 1
      {5 * L / 2, L},      // the same, not at the first channel
  };
  for (const auto& [stride_batch, stride_dim] : overlapping)
    expect_refused(
        [&](lrnnx_tensor& tensor) {
          tensor.size = 1 << 20;
          tensor.stride_batch = stride_batch;
          tensor.stride_dim = stride_dim;
        },
        {"overlap", "stride_batch = " + std::to_string(stride_batch)});
}

TEST_P(Output, IsRefusedIfItStartsWhereAnotherTensorDoes) {
  const TensorName& tensor = GetParam();
  SelectiveScanCall call = good_call();
  const Problem problem = call.problem();
  if (tensor.written_forward) {
    ForwardArgs args = call.forward_args();
    (args.*tensor.forward).data = args.u.data;
    (args.*tensor.forward).size = args.u.size;
    EXPECT_EQ(lrnnx_selective_scan_forward(&problem, &args), LRNNX_INVALID_ARGUMENT);
    expect_message_has({std::string(tensor.name) + " and u", "memory of its own"});
  } else {
    BackwardArgs args = call.backward_args();
    (args.*tensor.backward).data = args.dout.data;
    (args.*tensor.backward).size = args.dout.size;
    EXPECT_EQ(lrnnx_selective_scan_backward(&problem, &args), LRNNX_INVALID_ARGUMENT);
    expect_message_has({std::string(tensor.name) + " and dout", "memory of its own"});
  }
  expect_untouched(call);
}

std::vector<TensorName> tensors(bool (*which)(const TensorName&)) {
  std::vector<TensorName> result;
  std::ranges::copy_if(kTensors, std::back_inserter(result), which);
  return result;
}

// u is in both directions, out_forward and out_backward in one each.
std::string tensor_name(const testing::TestParamInfo<TensorName>& info) {
  const TensorName& tensor = info.param;
  return std::string(tensor.name) + (!tensor.backward ? "_forward" : !tensor.forward ? "_backward" : "");
}

INSTANTIATE_TEST_SUITE_P(Abi, AnyTensor, testing::ValuesIn(kTensors), tensor_name);
INSTANTIATE_TEST_SUITE_P(Abi, OptionalTensor,
                         testing::ValuesIn(tensors([](const TensorName& t) { return t.option != 0; })), tensor_name);
INSTANTIATE_TEST_SUITE_P(Abi, StridedTensor, testing::ValuesIn(tensors([](const TensorName& t) { return t.bdl; })),
                         tensor_name);
INSTANTIATE_TEST_SUITE_P(Abi, StridedOutput,
                         testing::ValuesIn(tensors([](const TensorName& t) { return t.bdl && t.written(); })),
                         tensor_name);
INSTANTIATE_TEST_SUITE_P(Abi, Output, testing::ValuesIn(tensors([](const TensorName& t) { return t.written(); })),
                         tensor_name);

// --- every discretization -------------------------------------------------------------------------------------------

class EveryOperationOfTheAbi : public testing::TestWithParam<Operation> {
 protected:
  SelectiveScanCall call() const { return good_call(kOptions, {.operation = GetParam()}); }
  bool takes(const TensorName& tensor) const {
    const lrnnx_variant variant = variant_of(GetParam());
    const std::string name = tensor.name;
    if (name == "A" || name == "dA") return variant.takes_A;
    if (name == "B" || name == "dB") return variant.takes_B;
    return tensor.option == 0 || (variant.options & tensor.option);
  }
  // Calls each direction with one tensor spoilt, where it has that tensor.
  void expect_refused(const TensorName& tensor, const std::function<void(lrnnx_tensor&)>& spoil,
                      const std::vector<std::string>& message) const {
    SelectiveScanCall good = call();
    const Problem problem = good.problem();
    if (tensor.forward) {
      ForwardArgs args = good.forward_args();
      spoil(args.*tensor.forward);
      EXPECT_EQ(lrnnx_selective_scan_forward(&problem, &args), LRNNX_INVALID_ARGUMENT) << tensor.name;
      expect_message_has(message);
    }
    if (tensor.backward) {
      BackwardArgs args = good.backward_args();
      spoil(args.*tensor.backward);
      EXPECT_EQ(lrnnx_selective_scan_backward(&problem, &args), LRNNX_INVALID_ARGUMENT) << tensor.name;
      expect_message_has(message);
    }
    expect_untouched(good);
  }
};
INSTANTIATE_TEST_SUITE_P(Abi, EveryOperationOfTheAbi, testing::ValuesIn(operations()),
                         [](const auto& info) { return name_of(info.param); });

TEST_P(EveryOperationOfTheAbi, IsComputedAndWritesEveryOutput) {
  SelectiveScanCall good = call();
  const Problem problem = good.problem();
  const ForwardArgs forward = good.forward_args();
  EXPECT_EQ(lrnnx_selective_scan_forward(&problem, &forward), LRNNX_OK) << lrnnx_last_error();
  const BackwardArgs backward = good.backward_args();
  EXPECT_EQ(lrnnx_selective_scan_backward(&problem, &backward), LRNNX_OK) << lrnnx_last_error();
  for (auto* tensors : {&good.outputs(), &good.gradients()})
    for (const auto& [name, tensor] : *tensors) EXPECT_TRUE(tensor.written()) << name;
  EXPECT_TRUE(good.guards_intact());
}

TEST_P(EveryOperationOfTheAbi, RefusesEachOptionThatItDoesNotTake) {
  const lrnnx_variant variant = variant_of(GetParam());
  for (uint32_t option = 1; option & kOptions; option <<= 1) {
    SelectiveScanCall good = call();
    Problem problem = good.problem();
    problem.options = option;
    lrnnx_memory memory{};
    const lrnnx_status status = lrnnx_selective_scan_memory(&problem, LRNNX_FORWARD, &memory);
    EXPECT_EQ(status, variant.options & option ? LRNNX_OK : LRNNX_INVALID_ARGUMENT) << option;
    if (status != LRNNX_OK) expect_message_has({"options has LRNNX_", variant.discretization, "does not take"});
  }
}

TEST_P(EveryOperationOfTheAbi, RefusesATensorThatIsMissingAndOneThatItDoesNotTake) {
  alignas(8) static float memory[8];
  for (const TensorName& tensor : kTensors) {
    if (takes(tensor))
      expect_refused(tensor, [](lrnnx_tensor& view) { view.data = nullptr; }, {tensor.name, "is null"});
    else
      expect_refused(tensor, [](lrnnx_tensor& view) { view = {memory, 4, 0, 0}; }, {tensor.name, "must be null"});
  }
}

TEST_P(EveryOperationOfTheAbi, CountsSizesInItsOwnElements) {
  for (const TensorName& tensor : kTensors)
    if (takes(tensor)) expect_refused(tensor, [](lrnnx_tensor& view) { --view.size; }, {tensor.name, "size", "needs"});
}

TEST_P(EveryOperationOfTheAbi, RefusesWeightsThatStartWithinAnElement) {
  const bool complex = GetParam().dtype == LRNNX_C64;
  for (const char* name : {"A", "B", "C", "h0", "last_state", "dlast_state", "dA", "dB", "dC", "dh0"})
    for (const TensorName& tensor : kTensors)
      if (tensor.name == std::string(name) && takes(tensor))
        expect_refused(tensor,
                       [&](lrnnx_tensor& view) { view.data = static_cast<char*>(view.data) + (complex ? 4 : 2); },
                       {tensor.name, complex ? "c64 elements must start at a multiple of 8" : "f32 elements"});
}

// --- tensors of 16 bits ---------------------------------------------------------------------------------------------

class SixteenBits : public testing::TestWithParam<int32_t> {
 protected:
  // Of a problem with these options, in buffers that would hold floats.
  void expect_refused(const TensorName& tensor, uint32_t options, const std::function<void(lrnnx_tensor&)>& spoil,
                      const std::vector<std::string>& message) {
    SelectiveScanCall call(kShape, options);
    const Problem problem = prepared(call);
    if (tensor.forward) {
      ForwardArgs args = call.forward_args();
      spoil(args.*tensor.forward);
      EXPECT_EQ(lrnnx_selective_scan_forward(&problem, &args), LRNNX_INVALID_ARGUMENT) << tensor.name;
      expect_message_has(message);
    }
    if (tensor.backward) {
      BackwardArgs args = call.backward_args();
      spoil(args.*tensor.backward);
      EXPECT_EQ(lrnnx_selective_scan_backward(&problem, &args), LRNNX_INVALID_ARGUMENT) << tensor.name;
      expect_message_has(message);
    }
    expect_untouched(call);
  }
  Problem prepared(SelectiveScanCall& call) const {
    Problem problem = call.problem();
    problem.dtype = GetParam();
    lrnnx_memory forward{}, backward{};
    EXPECT_EQ(lrnnx_selective_scan_memory(&problem, LRNNX_FORWARD, &forward), LRNNX_OK) << lrnnx_last_error();
    EXPECT_EQ(lrnnx_selective_scan_memory(&problem, LRNNX_BACKWARD, &backward), LRNNX_OK) << lrnnx_last_error();
    call.allocate(forward, backward);
    return problem;
  }
  static bool is_over_time(const TensorName& tensor, uint32_t options) {
    const std::string name = tensor.name;
    if (name == "B" || name == "dB") return options & LRNNX_VARIABLE_B;
    if (name == "C" || name == "dC") return options & LRNNX_VARIABLE_C;
    return tensor.bdl;
  }
};
INSTANTIATE_TEST_SUITE_P(Abi, SixteenBits, testing::Values(LRNNX_BF16, LRNNX_F16),
                         [](const auto& info) { return info.param == LRNNX_BF16 ? "bf16" : "f16"; });

TEST_P(SixteenBits, WhatHasATimeAxisStartsAtEvenAddressesAndTheRestAtThoseOfFloats) {
  const std::string type = GetParam() == LRNNX_BF16 ? "bf16" : "f16";
  for (uint32_t options : {kOptions, kOptions & ~(LRNNX_VARIABLE_B | LRNNX_VARIABLE_C)})
    for (const TensorName& tensor : kTensors) {
      const bool half = is_over_time(tensor, options);
      expect_refused(tensor, options,
                     [&](lrnnx_tensor& view) { view.data = static_cast<char*>(view.data) + (half ? 1 : 2); },
                     {tensor.name, half ? type + " elements must start at a multiple of 2"
                                        : "f32 elements must start at a multiple"});
    }
}

TEST_P(SixteenBits, EveryEvenAddressIsTaken) {
  SelectiveScanCall call(kShape, kOptions);
  const Problem problem = prepared(call);
  ForwardArgs forward = call.forward_args();
  BackwardArgs backward = call.backward_args();
  const auto move = [](lrnnx_tensor& view) { view.data = static_cast<char*>(view.data) + 2; };
  for (const TensorName& tensor : kTensors) {
    if (!is_over_time(tensor, kOptions)) continue;
    if (tensor.forward) move(forward.*tensor.forward);
    if (tensor.backward) move(backward.*tensor.backward);
  }
  EXPECT_EQ(lrnnx_selective_scan_forward(&problem, &forward), LRNNX_OK) << lrnnx_last_error();
  EXPECT_EQ(lrnnx_selective_scan_backward(&problem, &backward), LRNNX_OK) << lrnnx_last_error();
}

TEST_P(SixteenBits, SizesCountElements) {
  for (const TensorName& tensor : kTensors)
    expect_refused(tensor, kOptions, [](lrnnx_tensor& view) { --view.size; }, {tensor.name, "size", "needs"});
}

TEST_P(SixteenBits, EveryDiscretizationWithRealWeightsTakesThemOnTheCpu) {
  for (const Operation& operation : operations()) {
    if (operation.dtype != LRNNX_F32) continue;
    SelectiveScanCall call({1, 1, 1, 1, 1}, 0, {.operation = operation});
    prepared(call);
  }
}

#ifdef LRNNX_WITH_CUDA
TEST_P(SixteenBits, CudaTakesThemWhereThereIsADevice) {
  SelectiveScanCall call(kShape, kOptions);
  Problem problem = call.problem();
  problem.dtype = GetParam();
  problem.backend = LRNNX_CUDA;
  lrnnx_memory memory{};
  const lrnnx_status status = lrnnx_selective_scan_memory(&problem, LRNNX_FORWARD, &memory);
  EXPECT_TRUE(status == LRNNX_OK || status == LRNNX_NO_DEVICE) << lrnnx_last_error();
}
#endif

TEST(Abi, InputsMayBroadcastOverTheBatchAndRowsMayInterleave) {
  SelectiveScanCall call = good_call();
  const Problem problem = call.problem();
  const int64_t L = kShape.seqlen;
  for (const auto& [stride_batch, stride_dim] : {std::pair{6 * L, L}, std::pair{L, 2 * L}, std::pair{3 * L, L},
                                                 std::pair{5 * L, 2 * L}, std::pair{L + 1, 2 * L + 5}}) {
    ForwardArgs args = call.forward_args();
    args.u.stride_batch = 0;
    args.u.stride_dim = L;
    std::vector<float> out(20 * L);
    args.out = {out.data(), static_cast<int64_t>(out.size()), stride_batch, stride_dim};
    // {3L, L} puts batch 1, channel 0 on batch 0, channel 3; the others do not collide.
    const bool collides = stride_batch == 3 * L;
    EXPECT_EQ(lrnnx_selective_scan_forward(&problem, &args), collides ? LRNNX_INVALID_ARGUMENT : LRNNX_OK)
        << stride_batch << " " << stride_dim << ": " << lrnnx_last_error();
  }
}

TEST(Abi, AnOutputMayNotEvenOverlapAnotherTensor) {
  SelectiveScanCall call = good_call();
  const Problem problem = call.problem();
  ForwardArgs args = call.forward_args();
  args.out.data = static_cast<float*>(args.u.data) + 2;
  EXPECT_EQ(lrnnx_selective_scan_forward(&problem, &args), LRNNX_INVALID_ARGUMENT);
  expect_message_has({"out and u share memory"});
  args = call.forward_args();
  args.saved = args.workspace;
  args.saved_bytes = args.workspace_bytes = int64_t{1} << 40;  // whoever says so
  EXPECT_EQ(lrnnx_selective_scan_forward(&problem, &args), LRNNX_INVALID_ARGUMENT);
  expect_message_has({"saved", "workspace", "share memory"});
}

TEST(Abi, AnAxisOfOneHasNoStride) {
  SelectiveScanCall call = good_call(kOptions, {}, {1, 1, 8, 3, 1});
  const Problem problem = call.problem();
  ForwardArgs args = call.forward_args();
  args.u.stride_batch = args.u.stride_dim = INT64_MAX;
  args.out.stride_batch = args.out.stride_dim = 1;
  EXPECT_EQ(lrnnx_selective_scan_forward(&problem, &args), LRNNX_OK) << lrnnx_last_error();
}

#ifndef _WIN32
TEST(Abi, TheSharedLibraryExportsNothingElse) {
  std::FILE* const names = popen("nm -D --defined-only '" LRNNX_BINARY_DIR "/lib/liblrnnx.so'", "r");
  ASSERT_NE(names, nullptr);
  char line[1024], name[1024];
  int count = 0;
  while (std::fgets(line, sizeof line, names)) {
    if (std::sscanf(line, "%*s %*s %1023s", name) != 1) continue;
    EXPECT_TRUE(std::string(name).starts_with("lrnnx_")) << name;
    ++count;
  }
  EXPECT_EQ(pclose(names), 0);
  EXPECT_GE(count, 9);
}
#endif

struct BufferCase {
  const char* name;
  lrnnx_direction direction;
  std::function<void(void*&, int64_t&)> spoil;  // the pointer and its number of bytes
  bool saved;                                   // else the workspace
  std::vector<std::string> message;
};

class BadBuffer : public testing::TestWithParam<BufferCase> {};

TEST_P(BadBuffer, IsRefused) {
  const BufferCase& bad = GetParam();
  SelectiveScanCall call = good_call();
  const Problem problem = call.problem();
  if (bad.direction == LRNNX_FORWARD) {
    ForwardArgs args = call.forward_args();
    bad.saved ? bad.spoil(args.saved, args.saved_bytes) : bad.spoil(args.workspace, args.workspace_bytes);
    EXPECT_EQ(lrnnx_selective_scan_forward(&problem, &args), LRNNX_INVALID_ARGUMENT);
  } else {
    BackwardArgs args = call.backward_args();
    void* saved = const_cast<void*>(args.saved);
    bad.saved ? bad.spoil(saved, args.saved_bytes) : bad.spoil(args.workspace, args.workspace_bytes);
    args.saved = saved;
    EXPECT_EQ(lrnnx_selective_scan_backward(&problem, &args), LRNNX_INVALID_ARGUMENT);
  }
  expect_message_has(bad.message);
  expect_untouched(call);
}

void make_null(void*& data, int64_t&) { data = nullptr; }
void make_short(void*&, int64_t& bytes) { --bytes; }
void make_negative(void*&, int64_t& bytes) { bytes = -1; }
void misalign(void*& data, int64_t&) { data = static_cast<char*>(data) + 64; }

const BufferCase kBadBuffers[] = {
    {"SavedNullForward", LRNNX_FORWARD, make_null, true, {"saved is null", "bytes are needed"}},
    {"SavedShortForward", LRNNX_FORWARD, make_short, true, {"saved_bytes is", "are needed"}},
    {"SavedNegativeForward", LRNNX_FORWARD, make_negative, true, {"saved_bytes is -1"}},
    {"SavedMisalignedForward", LRNNX_FORWARD, misalign, true, {"saved starts at", "256 bytes"}},
    {"WorkspaceNullForward", LRNNX_FORWARD, make_null, false, {"workspace is null", "bytes are needed"}},
    {"WorkspaceShortForward", LRNNX_FORWARD, make_short, false, {"workspace_bytes is", "are needed"}},
    {"WorkspaceMisalignedForward", LRNNX_FORWARD, misalign, false, {"workspace starts at", "256 bytes"}},
    {"SavedNullBackward", LRNNX_BACKWARD, make_null, true, {"saved is null", "bytes are needed"}},
    {"SavedShortBackward", LRNNX_BACKWARD, make_short, true, {"saved_bytes is", "are needed"}},
    {"SavedMisalignedBackward", LRNNX_BACKWARD, misalign, true, {"saved starts at", "256 bytes"}},
    {"WorkspaceNullBackward", LRNNX_BACKWARD, make_null, false, {"workspace is null", "bytes are needed"}},
    {"WorkspaceShortBackward", LRNNX_BACKWARD, make_short, false, {"workspace_bytes is", "are needed"}},
    {"WorkspaceNegativeBackward", LRNNX_BACKWARD, make_negative, false, {"workspace_bytes is -1"}},
    {"WorkspaceMisalignedBackward", LRNNX_BACKWARD, misalign, false, {"workspace starts at", "256 bytes"}},
};

INSTANTIATE_TEST_SUITE_P(Abi, BadBuffer, testing::ValuesIn(kBadBuffers), name_of<BufferCase>);

TEST(Abi, SavedIsRefusedWhereTheOptionsDoNotAskForIt) {
  SelectiveScanCall call = good_call(kOptions & ~LRNNX_SAVE_FOR_BACKWARD);
  const Problem problem = call.problem();
  ForwardArgs args = call.forward_args();
  args.saved = call.saved().data();
  args.saved_bytes = call.saved().bytes();
  EXPECT_EQ(lrnnx_selective_scan_forward(&problem, &args), LRNNX_INVALID_ARGUMENT);
  expect_message_has({"saved is given", "LRNNX_SAVE_FOR_BACKWARD"});
  expect_untouched(call);
}

// --- the library ----------------------------------------------------------------------------------------------------

TEST(Abi, TheVersionIsThatOfTheHeader) { EXPECT_EQ(lrnnx_abi_version(), LRNNX_ABI_VERSION); }

TEST(Abi, EveryStatusHasItsName) {
  EXPECT_STREQ(lrnnx_status_name(LRNNX_OK), "LRNNX_OK");
  EXPECT_STREQ(lrnnx_status_name(LRNNX_INVALID_ARGUMENT), "LRNNX_INVALID_ARGUMENT");
  EXPECT_STREQ(lrnnx_status_name(LRNNX_UNSUPPORTED), "LRNNX_UNSUPPORTED");
  EXPECT_STREQ(lrnnx_status_name(LRNNX_NO_DEVICE), "LRNNX_NO_DEVICE");
  EXPECT_STREQ(lrnnx_status_name(LRNNX_CUDA_ERROR), "LRNNX_CUDA_ERROR");
  EXPECT_STREQ(lrnnx_status_name(LRNNX_OUT_OF_MEMORY), "LRNNX_OUT_OF_MEMORY");
  EXPECT_STREQ(lrnnx_status_name(static_cast<lrnnx_status>(6)), "unknown status");
}

TEST(Abi, VariantsAreListedOnceAndOnlyWithinTheTable) {
  ASSERT_GE(lrnnx_variant_count(), 2);
  std::vector<std::string> names;
  for (int64_t i = 0; i < lrnnx_variant_count(); ++i) {
    lrnnx_variant variant{};
    ASSERT_EQ(lrnnx_variant_at(i, &variant), LRNNX_OK);
    names.push_back(std::string(variant.family) + "." + variant.discretization + "." + variant.dtype + "." +
                    variant.direction + "." + variant.backend);
  }
  EXPECT_EQ(std::ranges::count(names, "selective_scan.mamba.f32.forward.cpu"), 1);
  EXPECT_EQ(std::ranges::count(names, "selective_scan.mamba.f32.backward.cpu"), 1);
  std::ranges::sort(names);
  EXPECT_EQ(std::ranges::adjacent_find(names), names.end());

  lrnnx_variant variant{};
  for (int64_t index : {int64_t{-1}, lrnnx_variant_count(), INT64_MAX}) {
    EXPECT_EQ(lrnnx_variant_at(index, &variant), LRNNX_INVALID_ARGUMENT);
    expect_message_has({"index is " + std::to_string(index), "0 to"});
    EXPECT_EQ(variant.family, nullptr);
  }
  EXPECT_EQ(lrnnx_variant_at(0, nullptr), LRNNX_INVALID_ARGUMENT);
  expect_message_has({"variant is null"});
}

TEST(Abi, TheLastErrorBelongsToItsThread) {
  EXPECT_EQ(lrnnx_variant_at(-5, nullptr), LRNNX_INVALID_ARGUMENT);
  const std::string here = lrnnx_last_error();
  std::string before, after;
  std::thread([&] {
    before = lrnnx_last_error();
    lrnnx_variant variant;
    lrnnx_variant_at(-6, &variant);
    after = lrnnx_last_error();
  }).join();
  EXPECT_EQ(before, "");
  EXPECT_NE(after.find("-6"), std::string::npos);
  EXPECT_EQ(here, lrnnx_last_error());
}

}  // namespace
}  // namespace lrnnx::test::abi_test
