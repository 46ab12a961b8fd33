// The comparer must pass what an honest kernel computes, and fail everything else.
#include "harness/compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "harness/fill.h"
#include "harness/operators.h"

namespace lrnnx::bench {
namespace {

constexpr Tolerance kTolerance = {.rel_l2 = 2e-6, .max = 8e-6};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Two batches of three channels of 200 steps.
class Compare : public testing::Test {
 protected:
  Compare() {
    const Problem problem = parse_problem("selective_scan.mamba.f32.forward.cpu batch=2 dim=3 seqlen=200 dstate=1");
    got_ = generate(problem, tensor_);
    expected_.assign(got_.begin(), got_.end());
  }

  Comparison run() const { return compare(tensor_, got_, expected_, kTolerance); }

  void expect_failed(const char* reason) const {
    const Comparison result = run();
    EXPECT_FALSE(result.passed);
    EXPECT_NE(result.reason.find(reason), std::string::npos) << result.reason;
  }

  TensorSpec tensor_{"u", Role::input, {2, 3, 200}, false};
  std::vector<float> got_;
  std::vector<double> expected_;
};

TEST_F(Compare, EqualTensorsPassWithEveryElementCompared) {
  const Comparison result = run();
  EXPECT_TRUE(result.passed) << result.reason;
  EXPECT_EQ(result.reason, "");
  EXPECT_EQ(result.expected_count, 1200);
  EXPECT_EQ(result.compared, 1200);
  EXPECT_EQ(result.rel_l2, 0);
  EXPECT_EQ(result.max_abs_error, 0);
}

TEST_F(Compare, RoundingErrorsPass) {
  for (size_t i = 0; i < got_.size(); ++i) expected_[i] = got_[i] * (1 + 5e-7 * std::sin(static_cast<double>(i)));
  EXPECT_TRUE(run().passed) << run().reason;
}

TEST_F(Compare, NormsAreThoseOfTheDifference) {
  tensor_.shape = {1, 1, 4};
  got_ = {3, 4, 0, 5};
  expected_ = {3, 4, 0, 5.5};
  const Comparison result = run();
  EXPECT_DOUBLE_EQ(result.rel_l2, 0.5 / std::sqrt(9 + 16 + 5.5 * 5.5));
  EXPECT_DOUBLE_EQ(result.max_abs_error, 0.5);
  EXPECT_DOUBLE_EQ(result.max_abs_reference, 5.5);
}

TEST_F(Compare, AllZeroOutputFails) {
  std::fill(got_.begin(), got_.end(), 0.f);
  expect_failed("relative L2");
}

TEST_F(Compare, UnchangedPoisonFails) {
  std::memset(got_.data(), 0xFF, got_.size() * sizeof(float));
  expect_failed("1200 of 1200 elements are not finite");
}

TEST_F(Compare, NanAgainstNanFails) {
  got_[7] = kNan;
  expected_[7] = kNan;
  expect_failed("1 of 1200 elements are not finite");
}

TEST_F(Compare, InfinityFailsOnEitherSideAndOnBoth) {
  got_[7] = kInfinity;
  expect_failed("not finite");
  expected_[7] = kInfinity;
  expect_failed("not finite");
  got_[7] = 1;
  expect_failed("not finite");
}

TEST_F(Compare, OneNanIsPlaced) {
  got_[200 * 4 + 17] = kNan;
  const Comparison result = run();
  EXPECT_FALSE(result.passed);
  EXPECT_EQ(result.worst_index, (std::vector<int64_t>{1, 1, 17}));
  EXPECT_EQ(result.rel_l2, std::numeric_limits<double>::infinity());
  EXPECT_EQ(result.max_abs_error, std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(result.worst_got));
  EXPECT_EQ(result.worst_expected, expected_[200 * 4 + 17]);
}

TEST_F(Compare, ScaledBy1_0001Fails) {
  for (float& value : got_) value *= 1.0001f;
  expect_failed("relative L2");
}

TEST_F(Compare, TruncatedToBf16Fails) {
  for (float& value : got_) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    bits &= 0xFFFF0000u;
    std::memcpy(&value, &bits, sizeof bits);
  }
  expect_failed("relative L2");
}

TEST_F(Compare, NegatedFails) {
  for (float& value : got_) value = -value;
  expect_failed("relative L2");
}

TEST_F(Compare, SwappedTensorsFail) {
  const TensorSpec other{"z", Role::input, tensor_.shape, false};
  got_ = generate(parse_problem("selective_scan.mamba.f32.forward.cpu batch=2 dim=3 seqlen=200 dstate=1"), other);
  expect_failed("relative L2");
}

TEST_F(Compare, PermutedBatchesFail) {
  std::rotate(got_.begin(), got_.begin() + 600, got_.end());
  expect_failed("relative L2");
}

TEST_F(Compare, PermutedChannelsFail) {
  std::swap_ranges(got_.begin(), got_.begin() + 200, got_.begin() + 200);
  expect_failed("relative L2");
}

TEST_F(Compare, ShiftedByOneStepFails) {
  std::rotate(got_.begin(), got_.begin() + 1, got_.end());
  expect_failed("relative L2");
}

TEST_F(Compare, OneWrongElementFailsAndIsPlaced) {
  const size_t position = 200 * 5 + 199;
  got_[position] += 1e-3f;
  const Comparison result = run();
  EXPECT_FALSE(result.passed);
  EXPECT_EQ(result.worst_index, (std::vector<int64_t>{1, 2, 199}));
  EXPECT_EQ(result.worst_got, got_[position]);
  EXPECT_EQ(result.worst_expected, expected_[position]);
}

TEST_F(Compare, OneWrongElementAmongMillionsFailsByTheLargestError) {
  tensor_.shape = {4, 1024, 1024};
  got_.assign(4 << 20, 1.f);
  expected_.assign(4 << 20, 1.0);
  got_[(3 << 20) + 5] = 1.001f;  // 5e-7 of the norm
  expect_failed("largest error");
  EXPECT_EQ(run().worst_index, (std::vector<int64_t>{3, 0, 5}));
}

TEST_F(Compare, MissingAndExtraElementsFail) {
  got_.pop_back();
  expect_failed("1199 elements, and 1200 in the reference, instead of 1200");
  got_.resize(1201);
  expect_failed("1201 elements");
  got_.resize(1200);
  expected_.pop_back();
  expect_failed("1199 in the reference");
  got_.clear();
  expected_.clear();
  expect_failed("0 elements");
}

TEST_F(Compare, WhereAllIsZeroTheResultMustBeZero) {
  std::fill(expected_.begin(), expected_.end(), 0.0);
  expect_failed("relative L2 error inf");
  std::fill(got_.begin(), got_.end(), 0.f);
  EXPECT_TRUE(run().passed) << run().reason;
  got_[3] = 1e-30f;
  EXPECT_FALSE(run().passed);
}

TEST_F(Compare, OfAComplexTensorTheLastIndexIsThePart) {
  tensor_ = {"A", Role::input, {2, 300}, true};
  got_[601] += 1;
  EXPECT_EQ(run().worst_index, (std::vector<int64_t>{1, 0, 1}));
}

TEST_F(Compare, ToleranceWidensOnlyForFewNumbers) {
  EXPECT_LT(run().tolerance, 1.01 * kTolerance.rel_l2);
  tensor_.shape = {1, 1, 2};
  got_ = {1, -1};
  expected_ = {1, -1};
  EXPECT_DOUBLE_EQ(run().tolerance, 9 * kTolerance.rel_l2);  // participation ratio 2: 1 + 32 / 4
  got_[0] = 1.001f;
  EXPECT_FALSE(run().passed);
  // Four numbers that one dominates count as one.
  tensor_.shape = {1, 1, 4};
  got_ = {1, 1e-4f, 1e-4f, 1e-4f};
  expected_.assign(got_.begin(), got_.end());
  EXPECT_NEAR(run().tolerance, 33 * kTolerance.rel_l2, 1e-3 * run().tolerance);
}

TEST_F(Compare, OneLargeElementDoesNotExcuseTheOthers) {
  tensor_.shape = {1, 1, 1000};
  got_.assign(1000, 1);
  got_[3] = 3e5f;
  expected_.assign(got_.begin(), got_.end());
  EXPECT_TRUE(run().passed);
  std::fill(got_.begin() + 4, got_.end(), 0.f);
  EXPECT_FALSE(run().passed);
}

TEST_F(Compare, AnEmptyTensorFails) {
  tensor_.shape = {0};
  got_.clear();
  expected_.clear();
  EXPECT_EQ(run().reason, "nothing to compare");
  EXPECT_FALSE(run().passed);
}

TEST(Tolerance, OfModelInputsIsTight) {
  const Problem problem = parse_problem("selective_scan.mamba.f32.forward.cpu batch=1 dim=1 seqlen=2048 dstate=16");
  EXPECT_LE(tolerance_of(problem).rel_l2, 4e-6);
  EXPECT_LE(tolerance_of(problem).max, 16e-6);
}

TEST(Tolerance, GrowsWithTheStepsThatAStateLasts) {
  const auto of = [](const char* rest) {
    return tolerance_of(
               parse_problem(std::string("selective_scan.mamba.f32.forward.cpu batch=1 dim=1 dstate=16 ") + rest))
        .rel_l2;
  };
  EXPECT_GT(of("seqlen=2048 fill=slow"), 4 * of("seqlen=2048 fill=init"));
  EXPECT_DOUBLE_EQ(of("seqlen=16 fill=slow"), of("seqlen=16 fill=init"));
  EXPECT_GT(of("seqlen=65536 fill=init"), 2 * of("seqlen=2048 fill=init"));
  EXPECT_LT(of("seqlen=65536 fill=slow"), 1e-3);
}

}  // namespace
}  // namespace lrnnx::bench
