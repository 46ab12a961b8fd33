// The CPU kernels on tensors of 16 bits: bit for bit the float kernels between two conversions.
#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

#include "common/half.h"
#include "selective_scan/cpu.h"
#include "selective_scan_call.h"

namespace lrnnx::test::selective_scan_half_test {
namespace {

constexpr uint32_t kAll = LRNNX_VARIABLE_B | LRNNX_VARIABLE_C | LRNNX_HAS_D | LRNNX_HAS_Z | LRNNX_HAS_DELTA_BIAS |
                          LRNNX_DELTA_SOFTPLUS | LRNNX_HAS_DELTA_A | LRNNX_HAS_H0 | LRNNX_HAS_LAST_STATE |
                          LRNNX_SAVE_FOR_BACKWARD;

using ForwardArgs = lrnnx_selective_scan_forward_args;
using BackwardArgs = lrnnx_selective_scan_backward_args;

float through(int32_t dtype, float x) {
  uint16_t stored;
  narrow(dtype, &x, 1, &stored);
  widen(dtype, &stored, 1, &x);
  return x;
}

// What a tensor with a time axis is in 16 bits: the same view of numbers half as wide. Its outputs start as they lie in
// `from`, so that what nobody writes stays equal.
class HalfTensor {
 public:
  HalfTensor(int32_t dtype, const lrnnx_tensor& from) : dtype_(dtype), view_(from) {
    if (!from.data) return;
    memory_.resize(from.size);
    narrow(dtype, static_cast<const float*>(from.data), from.size, memory_.data());
    view_.data = memory_.data();
  }
  const lrnnx_tensor& view() const { return view_; }
  // Every number of `floats`, narrowed, is here, bit for bit; and so is what lies between its rows.
  void expect_holds(const char* name, const lrnnx_tensor& floats) const {
    if (!floats.data) return;
    std::vector<uint16_t> expected(memory_.size());
    narrow(dtype_, static_cast<const float*>(floats.data), floats.size, expected.data());
    for (size_t i = 0; i < expected.size(); ++i) ASSERT_EQ(memory_[i], expected[i]) << name << " at " << i;
  }

 private:
  int32_t dtype_;
  lrnnx_tensor view_;
  std::vector<uint16_t> memory_;
};

// The tensors of one call that have a time axis, in 16 bits.
template <class Args>
class HalfArgs {
 public:
  HalfArgs(int32_t dtype, const Args& floats, uint32_t options, std::vector<lrnnx_tensor Args::*> over_time,
           std::vector<lrnnx_tensor Args::*> of_B, std::vector<lrnnx_tensor Args::*> of_C)
      : args(floats), members_(std::move(over_time)) {
    if (options & LRNNX_VARIABLE_B) members_.insert(members_.end(), of_B.begin(), of_B.end());
    if (options & LRNNX_VARIABLE_C) members_.insert(members_.end(), of_C.begin(), of_C.end());
    for (auto member : members_) tensors_.emplace_back(dtype, floats.*member);
    for (size_t i = 0; i < members_.size(); ++i) args.*members_[i] = tensors_[i].view();
  }
  void expect_holds(const Args& floats) const {
    for (size_t i = 0; i < members_.size(); ++i)
      tensors_[i].expect_holds(("tensor " + std::to_string(i)).c_str(), floats.*members_[i]);
  }

  Args args;

 private:
  std::vector<lrnnx_tensor Args::*> members_;
  std::vector<HalfTensor> tensors_;
};

void resolve(const Shape& shape, std::initializer_list<lrnnx_tensor*> tensors) {
  for (lrnnx_tensor* tensor : tensors)
    if (tensor->data && tensor->stride_batch == 0 && tensor->stride_dim == 0) {
      tensor->stride_dim = shape.seqlen;
      tensor->stride_batch = shape.dim * shape.seqlen;
    }
}

void expect_same(std::map<std::string, Tensor>& a, std::map<std::string, Tensor>& b,
                 const std::vector<std::string>& over_time) {
  for (auto& [name, tensor] : a) {
    if (std::ranges::find(over_time, name) == over_time.end()) {
      EXPECT_TRUE(tensor == b[name]) << name;
    }
  }
}

void expect_equal_to_floats(const CpuImplementation& implementation, int32_t dtype, const Shape& shape,
                            uint32_t options, const CallOptions& layout) {
  SelectiveScanCall floats(shape, options, layout);
  options = floats.options();
  const bool variable_B = options & LRNNX_VARIABLE_B, variable_C = options & LRNNX_VARIABLE_C;
  std::vector<std::string> over_time = {"u",     "delta", "z",      "deltaA", "dout",   "out",
                                        "out_z", "du",    "ddelta", "dz",     "ddeltaA"};
  if (variable_B) over_time.insert(over_time.end(), {"B", "dB"});
  if (variable_C) over_time.insert(over_time.end(), {"C", "dC"});
  for (auto& [name, tensor] : floats.inputs())
    if (std::ranges::find(over_time, name) != over_time.end())
      for (int64_t i = 0; i < tensor.count(); ++i) tensor.at(i) = through(dtype, tensor.at(i));
  SelectiveScanCall halves = SelectiveScanCall(shape, options, layout);  // for what is no tensor over time
  halves.inputs() = floats.inputs();

  lrnnx_selective_scan_problem problem = floats.problem(), half_problem = problem;
  half_problem.dtype = dtype;
  const auto allocate = [&](const lrnnx_selective_scan_problem& of, SelectiveScanCall& call) {
    lrnnx_memory forward{}, backward{};
    ASSERT_EQ(selective_scan_cpu_memory(implementation, of, LRNNX_FORWARD, forward), LRNNX_OK);
    ASSERT_EQ(selective_scan_cpu_memory(implementation, of, LRNNX_BACKWARD, backward), LRNNX_OK);
    call.allocate(forward, backward);
  };
  allocate(problem, floats);
  allocate(half_problem, halves);

  ForwardArgs forward = floats.forward_args(), half_forward = halves.forward_args();
  for (ForwardArgs* args : {&forward, &half_forward})
    resolve(shape, {&args->u, &args->delta, &args->z, &args->deltaA, &args->out, &args->out_z});
  using F = ForwardArgs;
  HalfArgs<F> stored(dtype, half_forward, options, {&F::u, &F::delta, &F::z, &F::deltaA, &F::out, &F::out_z}, {&F::B},
                     {&F::C});
  ASSERT_EQ(selective_scan_cpu_forward(implementation, problem, forward), LRNNX_OK);
  ASSERT_EQ(selective_scan_cpu_forward(implementation, half_problem, stored.args), LRNNX_OK);
  stored.expect_holds(forward);
  expect_same(floats.outputs(), halves.outputs(), over_time);

  // The backward reads out as it was stored.
  for (SelectiveScanCall* call : {&floats, &halves}) {
    Tensor& out = call->outputs()["out"];
    for (int64_t i = 0; i < out.count(); ++i) out.at(i) = through(dtype, floats.outputs()["out"].at(i));
  }
  BackwardArgs backward = floats.backward_args(), half_backward = halves.backward_args();
  for (BackwardArgs* args : {&backward, &half_backward})
    resolve(shape, {&args->u, &args->delta, &args->z, &args->deltaA, &args->out, &args->dout, &args->du, &args->ddelta,
                    &args->dz, &args->ddeltaA});
  using B = BackwardArgs;
  HalfArgs<B> gradients(
      dtype, half_backward, options,
      {&B::u, &B::delta, &B::z, &B::deltaA, &B::out, &B::dout, &B::du, &B::ddelta, &B::dz, &B::ddeltaA},
      {&B::B, &B::dB}, {&B::C, &B::dC});
  ASSERT_EQ(selective_scan_cpu_backward(implementation, problem, backward), LRNNX_OK);
  ASSERT_EQ(selective_scan_cpu_backward(implementation, half_problem, gradients.args), LRNNX_OK);
  gradients.expect_holds(backward);
  expect_same(floats.gradients(), halves.gradients(), over_time);
  EXPECT_TRUE(halves.guards_intact());
}

struct HalfOperation {
  Operation operation;
  int32_t dtype;
};

std::vector<HalfOperation> half_operations() {
  std::vector<HalfOperation> all;
  for (const Operation& operation : operations())
    for (int32_t dtype : {LRNNX_BF16, LRNNX_F16})
      if (operation.dtype == LRNNX_F32) all.push_back({operation, dtype});
  return all;
}

class EveryHalfOperation : public testing::TestWithParam<HalfOperation> {
 protected:
  void expect_equal(const Shape& shape, uint32_t options, CallOptions layout = {}) {
    layout.operation = GetParam().operation;
    for (const auto* next = cpu_implementations(); *next; ++next) {
      SCOPED_TRACE((*next)->instructions);
      expect_equal_to_floats(**next, GetParam().dtype, shape, options, layout);
    }
  }
};
INSTANTIATE_TEST_SUITE_P(SelectiveScanHalf, EveryHalfOperation, testing::ValuesIn(half_operations()),
                         [](const auto& info) {
                           return name_of(info.param.operation) + (info.param.dtype == LRNNX_BF16 ? "_bf16" : "_f16");
                         });

TEST_P(EveryHalfOperation, IsTheFloatKernelBetweenConversions) {
  for (const uint32_t without :
       {0, LRNNX_HAS_DELTA_A | LRNNX_HAS_H0, LRNNX_VARIABLE_B | LRNNX_HAS_Z, LRNNX_VARIABLE_C | LRNNX_HAS_D,
        LRNNX_VARIABLE_B | LRNNX_VARIABLE_C | LRNNX_DELTA_SOFTPLUS})
    expect_equal({2, 21, 150, 5, 3}, kAll & ~without);
}

TEST_P(EveryHalfOperation, IsSoForAnyLengthAndAnyNumberOfStates) {
  for (int64_t seqlen : {1, 2, 33, 129, 1000})
    for (int64_t dstate : {1, 3, 17}) expect_equal({2, 6, seqlen, dstate, 2}, kAll);
  expect_equal({1, 3, 600, 256, 1}, kAll);
}

TEST_P(EveryHalfOperation, IsSoOnStridedViewsAndLeavesTheirGaps) {
  for (Layout inputs : {Layout::padded, Layout::channels_outermost, Layout::broadcast})
    expect_equal({3, 19, 140, 4, 1}, kAll, {.inputs = inputs, .outputs = Layout::padded});
}

TEST_P(EveryHalfOperation, SumsGradientsOfManySlabsInFloats) { expect_equal({1, 600, 140, 2, 1}, kAll); }

TEST(SelectiveScanHalf, SumsGradientsOfManySegmentsInFloats) {
  for (const auto* next = cpu_implementations(); *next; ++next)
    expect_equal_to_floats(**next, LRNNX_BF16, {1, 16, 1300, 256, 16}, kAll, {});
}

}  // namespace
}  // namespace lrnnx::test::selective_scan_half_test
