// The comparer must pass what an honest kernel computes, fail everything else, and say where the fault lies.
#include "harness/compare.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "harness/fill.h"

namespace lrnnx::bench::compare_test {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr double kUnit = 0x1p-24;

// Two batches of three channels of 200 steps of normal numbers. An error of one unit roundoff of the value is one unit
// of both gauges.
class Compare : public testing::Test {
 protected:
  Compare() {
    const Problem problem = parse_problem("selective_scan.mamba.f32.forward.cpu batch=2 dim=3 seqlen=200 dstate=1");
    expect(generate(problem, tensor_));
  }

  // The reference is what `values` are, with gauges as large as themselves.
  void expect(std::vector<float> values) {
    got_ = std::move(values);
    expected_ = {};
    expected_.value.assign(got_.begin(), got_.end());
    const size_t step = tensor_.complex ? 2 : 1;
    for (size_t i = 0; i < got_.size(); i += step)
      expected_.G1.push_back(tensor_.complex ? std::hypot(got_[i], got_[i + 1]) : std::abs(got_[i]));
    expected_.G2 = expected_.G1;
    expected_.F.assign(expected_.G1.size(), 0);
  }

  Comparison run(Judgement judgement = Judgement::gauged) const { return compare(tensor_, got_, expected_, judgement); }

  void expect_failed(const std::string& reason, Judgement judgement = Judgement::gauged) const {
    const Comparison result = run(judgement);
    EXPECT_EQ(result.status, Status::failed);
    EXPECT_NE(result.reason.find(reason), std::string::npos) << result.reason;
  }
  void expect_mistrusted(const std::string& reason) const {
    const Comparison result = run();
    EXPECT_EQ(result.status, Status::mistrusted) << result.rho;
    EXPECT_NE(result.reason.find(reason), std::string::npos) << result.reason;
  }
  void expect_passed(Judgement judgement = Judgement::gauged) const {
    EXPECT_EQ(run(judgement).status, Status::passed) << describe(run(judgement));
  }

  TensorSpec tensor_{"u", Role::input, {2, 3, 200}, false, {"batch", "channel", "time"}};
  std::vector<float> got_;
  OracleTensor expected_;
};

TEST_F(Compare, EqualTensorsPassWithEveryElementCompared) {
  const Comparison result = run();
  EXPECT_EQ(result.status, Status::passed) << result.reason;
  EXPECT_EQ(result.reason, "");
  EXPECT_EQ(result.expected_count, 1200);
  EXPECT_EQ(result.compared, 1200);
  EXPECT_EQ(result.rho, 0);
  EXPECT_EQ(result.rel_l2, 0);
  EXPECT_EQ(result.max_abs_error, 0);
  EXPECT_EQ(result.wrong, 0);
}

TEST_F(Compare, RatiosAreThoseOfTheRule) {
  expected_.value[17] = got_[17] - 0.001;
  expected_.G1[17] = 7;
  expected_.G2[17] = 3;
  expected_.F[17] = 0.25;
  expected_.S1_env = 10;
  const double error = std::abs(got_[17] - expected_.value[17]);
  const Comparison result = run();
  EXPECT_DOUBLE_EQ(result.S1, error / (kUnit * 7 + 0.25));
  EXPECT_DOUBLE_EQ(result.S2, error / (kUnit * 3 + 0.25));
  EXPECT_EQ(result.T1, 40);
  EXPECT_DOUBLE_EQ(result.rho, std::max(result.S2 / 8, result.S1 / 40));
  EXPECT_DOUBLE_EQ(result.worst_allowed, std::min(8 * (kUnit * 3 + 0.25), 40 * (kUnit * 7 + 0.25)));
  expected_.S1_env = 2;
  EXPECT_EQ(run().T1, 32);
  expected_.S1_env = kNan;
  EXPECT_EQ(run().T1, 32);
}

TEST_F(Compare, EightUnitsOfTheRunningErrorPassAndMoreFail) {
  expected_.G1.assign(1200, 1e3);
  expected_.value[5] = 1, got_[5] = 1 + 8 * 0x1p-23f, expected_.G2[5] = 2;
  EXPECT_EQ(run().rho, 1);
  expected_.G2[5] = 1.999;
  expect_failed("1 of 1200 elements are wrong");
}

TEST_F(Compare, ThirtyTwoUnitsOfTheAbsoluteGaugePassAndMoreFail) {
  expected_.G2.assign(1200, 1e3);
  expected_.value[5] = 1, got_[5] = 1 + 32 * 0x1p-23f, expected_.G1[5] = 2;
  EXPECT_EQ(run().rho, 1);
  expected_.G1[5] = 1.999;
  expect_failed("1 of 1200");
  expected_.S1_env = 8.1;
  expect_passed();
}

TEST_F(Compare, RoundingErrorsPass) {
  for (size_t i = 0; i < got_.size(); ++i)
    expected_.value[i] = got_[i] * (1 + 4 * kUnit * std::sin(static_cast<double>(i)));
  expect_passed();
  EXPECT_GT(run().S2, 3.9);
}

TEST_F(Compare, NormsAreThoseOfTheDifferenceAndDecideNothing) {
  tensor_.shape = {1, 1, 4};
  expect({3, 4, 0, 5});
  expected_.value[3] = 5.5;
  Comparison result = run();
  EXPECT_DOUBLE_EQ(result.rel_l2, 0.5 / std::sqrt(9 + 16 + 5.5 * 5.5));
  EXPECT_DOUBLE_EQ(result.max_abs_error, 0.5);
  EXPECT_DOUBLE_EQ(result.max_abs_reference, 5.5);
  EXPECT_EQ(result.status, Status::failed);
}

TEST_F(Compare, AllZeroOutputFails) {
  std::fill(got_.begin(), got_.end(), 0.f);
  expect_failed("1200 of 1200 elements are wrong");
}

TEST_F(Compare, UnchangedPoisonFails) {
  std::memset(got_.data(), 0xFF, got_.size() * sizeof(float));
  expect_failed("1200 of 1200 elements are wrong");
  EXPECT_EQ(run().rho, kInfinity);
}

TEST_F(Compare, NanIsEqualToNanButProvesNothing) {
  got_[7] = kNan;
  expect_failed("1 of 1200");
  EXPECT_EQ(run().rho, kInfinity);
  expected_.value[7] = kNan;
  expect_mistrusted("1 of 1200 elements of the reference are not finite");
  got_[7] = 1;
  expect_failed("1 of 1200");
}

TEST_F(Compare, InfinitiesMustMatchInSign) {
  got_[7] = kInfinity;
  expect_failed("1 of 1200");
  expected_.value[7] = kInfinity;
  expect_mistrusted("not finite");
  got_[7] = -kInfinity;
  expect_failed("1 of 1200");
  got_[7] = kNan;
  expect_failed("1 of 1200");
  got_[7] = std::numeric_limits<float>::max();
  expect_failed("1 of 1200");
}

TEST_F(Compare, WhatLiesBeyondTheFloatsIsInfinite) {
  expected_.value[7] = -1e300;
  expect_failed("1 of 1200");
  for (const float got : {-kInfinity, kInfinity, kNan}) {  // an infinity on the way may have met another one
    got_[7] = got;
    expect_mistrusted("not finite");
  }
}

TEST_F(Compare, AGaugeThatIsNoNumberExcusesNothing) {
  expected_.G1[7] = kNan;
  expect_failed("1 of 1200");
  expected_.G1[7] = expected_.G2[7] = kInfinity;
  got_[7] += 100;
  expect_mistrusted("errors of norm inf");
}

TEST_F(Compare, OneNanIsPlaced) {
  got_[200 * 4 + 17] = kNan;
  const Comparison result = run();
  EXPECT_EQ(result.status, Status::failed);
  EXPECT_EQ(result.worst_index, (std::vector<int64_t>{1, 1, 17}));
  EXPECT_EQ(result.rel_l2, kInfinity);
  EXPECT_EQ(result.max_abs_error, kInfinity);
  EXPECT_TRUE(std::isnan(result.worst_got.real()));
  EXPECT_EQ(result.worst_expected.real(), expected_.value[200 * 4 + 17]);
}

TEST_F(Compare, ScaledBy1_0001Fails) {
  for (float& value : got_) value *= 1.0001f;
  expect_failed("1200 of 1200");
}

TEST_F(Compare, TruncatedToBf16Fails) {
  for (float& value : got_) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    bits &= 0xFFFF0000u;
    std::memcpy(&value, &bits, sizeof bits);
  }
  expect_failed("of 1200 elements are wrong");
}

TEST_F(Compare, NegatedFails) {
  for (float& value : got_) value = -value;
  expect_failed("1200 of 1200");
}

TEST_F(Compare, SwappedTensorsFail) {
  const TensorSpec other{"z", Role::input, tensor_.shape, false};
  got_ = generate(parse_problem("selective_scan.mamba.f32.forward.cpu batch=2 dim=3 seqlen=200 dstate=1"), other);
  expect_failed("1200 of 1200");
}

TEST_F(Compare, PermutedBatchesFail) {
  std::rotate(got_.begin(), got_.begin() + 600, got_.end());
  expect_failed("1200 of 1200");
}

TEST_F(Compare, PermutedChannelsFail) {
  std::swap_ranges(got_.begin(), got_.begin() + 200, got_.begin() + 200);
  expect_failed("400 of 1200");
}

TEST_F(Compare, ShiftedByOneStepFails) {
  std::rotate(got_.begin(), got_.begin() + 1, got_.end());
  expect_failed("1200 of 1200");
}

TEST_F(Compare, OneWrongElementFailsAndIsPlaced) {
  const size_t position = 200 * 5 + 199;
  got_[position] *= 1.00001f;
  const Comparison result = run();
  EXPECT_EQ(result.status, Status::failed);
  EXPECT_EQ(result.wrong, 1);
  EXPECT_EQ(result.worst_index, (std::vector<int64_t>{1, 2, 199}));
  EXPECT_EQ(result.worst_got.real(), got_[position]);
  EXPECT_EQ(result.worst_expected.real(), expected_.value[position]);
}

TEST_F(Compare, OneWrongElementAmongMillionsFails) {
  tensor_.shape = {4, 1024, 1024};
  expect(std::vector<float>(4 << 20, 1.f));
  got_[(3 << 20) + 5] = 1.000001f;  // 5e-10 of the norm
  expect_failed("1 of 4194304");
  EXPECT_EQ(run().worst_index, (std::vector<int64_t>{3, 0, 5}));
}

TEST_F(Compare, ASmallElementIsNotExcusedByALargeOne) {
  tensor_.shape = {1, 1, 1000};
  std::vector<float> values(1000, 1e-6f);
  values[3] = 3e5f;
  expect(values);
  expect_passed();
  got_[4] = 0;
  expect_failed("1 of 1000");
}

TEST_F(Compare, MissingAndExtraElementsFail) {
  got_.pop_back();
  expect_failed("1199 numbers, and 1200 in the reference, instead of 1200");
  got_.resize(1201);
  expect_failed("1201 numbers");
  got_.resize(1200);
  expected_.value.pop_back();
  expect_failed("1199 in the reference");
  got_.clear();
  expected_.value.clear();
  expect_failed("0 numbers");
}

TEST_F(Compare, AMissingGaugeFails) {
  for (std::vector<double> OracleTensor::*gauge : {&OracleTensor::G1, &OracleTensor::G2, &OracleTensor::F}) {
    OracleTensor whole = expected_;
    (expected_.*gauge).pop_back();
    expect_failed("a gauge of the reference has 1199 elements instead of 1200");
    expected_ = whole;
  }
}

TEST_F(Compare, AnEmptyTensorFails) {
  tensor_.shape = {0};
  expect({});
  expect_failed("nothing to compare");
}

TEST_F(Compare, WhereTheGaugeIsZeroOnlyZeroIsRight) {
  expect(std::vector<float>(1200, 0.f));
  expect_passed();
  got_[3] = std::numeric_limits<float>::denorm_min();
  expect_failed("1 of 1200");
  expected_.F[3] = 1e-38;
  expect_passed();
  expected_.F[3] = 0;
  got_[3] = 0;
  expected_.value[3] = 1e-320;  // whose gauge underflowed before it did
  expect_passed();
}

TEST_F(Compare, ManyZerosThatCancellationLeftAreMistrusted) {
  for (size_t i = 0; i < 400; ++i) got_[3 * i] = 0, expected_.value[3 * i] = 0, expected_.G1[3 * i] = 1;
  expect_mistrusted("400 of 1200 elements of the reference are 0 by cancellation");
  for (size_t i = 0; i < 100; ++i) expected_.G1[3 * i] = 0;  // nothing but 0 was possible there
  expect_passed();
}

TEST_F(Compare, RoundingsAsLargeAsTheReferenceAreMistrusted) {
  for (double& gauge : expected_.G1) gauge *= 5e3;
  for (double& gauge : expected_.G2) gauge *= 1e6;
  expect_passed();
  for (double& gauge : expected_.G1) gauge *= 1.1;
  expect_mistrusted("errors of norm");
  for (double& gauge : expected_.G2) gauge *= 2e-2;  // the other bound is tight
  expect_passed();
  got_[5] += 1;
  expect_failed("1 of 1200");
}

TEST_F(Compare, AnUnderflowFloorAsLargeAsTheReferenceIsMistrusted) {
  expected_.F.assign(1200, 2e-4);
  expect_passed();
  expected_.F.assign(1200, 2e-3);
  expect_mistrusted("errors of norm");
}

TEST_F(Compare, InExactModeOnlyTheRoundedReferenceIsRight) {
  expect_passed(Judgement::exact);
  got_[5] = std::nextafter(got_[5], 10.f);
  expect_passed(Judgement::gauged);
  expect_failed("1 of 1200", Judgement::exact);
  got_[5] = std::nextafter(got_[5], -10.f);
  expected_.value[5] = got_[5] * (1 + 0x1p-30);
  EXPECT_EQ(run(Judgement::exact).status, Status::mistrusted);
  EXPECT_NE(run(Judgement::exact).reason.find("not exact"), std::string::npos);
}

// The reference is no number of 16 bits, and what came out is the reference rounded to them.
class CompareStored : public Compare, public testing::WithParamInterface<Storage> {
 protected:
  CompareStored() {
    tensor_.storage = GetParam();
    for (size_t i = 0; i < got_.size(); ++i) store(i, expected_.value[i]);
  }
  void store(size_t i, double value) { got_[i] = static_cast<float>(rounded_to(GetParam(), value)); }
  double half_ulp() const { return GetParam() == Storage::bf16 ? 0x1p-8 : 0x1p-11; }  // of 1
  double largest() const { return GetParam() == Storage::bf16 ? 0x1.fep127 : 65504; }
};
INSTANTIATE_TEST_SUITE_P(Compare, CompareStored, testing::Values(Storage::bf16, Storage::f16),
                         [](const auto& info) { return info.param == Storage::bf16 ? "bf16" : "f16"; });

TEST_P(CompareStored, TheRoundingItselfIsNoError) {
  expect_passed();
  EXPECT_EQ(run().rho, 0);
  EXPECT_GT(run().rel_l2, half_ulp() / 4);
}

TEST_P(CompareStored, ATieMayGoEitherWayUnlessTheResultIsExact) {
  expected_.value[5] = 1 + half_ulp();
  got_[5] = 1;
  expect_passed();
  got_[5] = static_cast<float>(1 + 2 * half_ulp());
  expect_passed();
  EXPECT_EQ(run().rho, 0);
  expect(std::vector<float>(1200, static_cast<float>(1 + half_ulp())));
  std::fill(got_.begin(), got_.end(), 1.0f);  // to even
  expect_passed(Judgement::exact);
  got_[5] = static_cast<float>(1 + 2 * half_ulp());
  expect_failed("1 of 1200", Judgement::exact);
}

TEST_P(CompareStored, TheErrorIsWhatTheNumberMustHaveBeenWrongByBeforeItWasRounded) {
  expected_.value[5] = 1 + half_ulp() + 8 * 0x1p-24;
  expected_.G1[5] = expected_.G2[5] = 1;
  got_[5] = 1;  // so it was at most 1 + half_ulp()
  EXPECT_DOUBLE_EQ(run().S2, 8);
  expect_passed();
  expected_.value[5] += 0x1p-24;
  expect_failed("1 of 1200");
  expected_.value[5] = 1 - half_ulp() / 2 - 9 * 0x1p-24;  // the spacing below 1 is half as wide
  expect_failed("1 of 1200");
}

TEST_P(CompareStored, TruncationFails) {
  for (size_t i = 0; i < got_.size(); ++i) {
    const double value = std::abs(expected_.value[i]);
    if (std::abs(got_[i]) > value)
      got_[i] = static_cast<float>(std::copysign(preimage_of(GetParam(), std::abs(got_[i])).low, got_[i]));
    store(i, got_[i] * (1 - half_ulp() / 2));
  }
  expect_failed("of 1200 elements are wrong");
}

// The error is far below half an ulp, but where it moves a number over a tie, all of it shows.
TEST_P(CompareStored, AnErrorBelowTheRoundingShowsInAFewOfManyElements) {
  for (size_t i = 0; i < got_.size(); ++i) store(i, expected_.value[i] * (1 + half_ulp() / 16));
  const Comparison result = run();
  EXPECT_EQ(result.status, Status::failed);
  EXPECT_LT(result.wrong, 200);
  EXPECT_GT(result.S2, 0.5 * half_ulp() / 16 / kUnit);
}

TEST_P(CompareStored, WhatIsTooLargeMustBeInfiniteAndWhatIsBesideTheEdgeMayBe) {
  const double edge = largest() * (1 + half_ulp() / (2 - 2 * half_ulp()));
  expected_.value[5] = -edge * (1 + 64 * kUnit);
  expected_.G1[5] = expected_.G2[5] = edge;
  got_[5] = -kInfinity;
  expect_passed();
  got_[5] = static_cast<float>(-largest());
  expect_failed("1 of 1200");
  got_[5] = kInfinity;
  expect_failed("1 of 1200");
  got_[5] = kNan;
  expect_failed("1 of 1200");
  for (const double beside : {1 - 4 * kUnit, 1 + 4 * kUnit}) {
    expected_.value[5] = edge * beside;
    for (const float either : {static_cast<float>(largest()), kInfinity}) {
      got_[5] = either;
      expect_passed();
    }
  }
  expected_.value[5] = edge * (1 - 64 * kUnit);
  got_[5] = kInfinity;
  expect_failed("1 of 1200");
}

TEST_P(CompareStored, AResultThatIsMostlyTooLargeIsMistrusted) {
  for (size_t i = 0; i < 400; ++i) {
    expected_.value[3 * i] = 1.003 * largest();
    expected_.G1[3 * i] = expected_.G2[3 * i] = largest();
    store(3 * i, 1.003 * largest());
  }
  expect_mistrusted("400 of 1200 elements of the reference are too large for how they are stored");
}

TEST_P(CompareStored, WhatUnderflowsEntirelyIsMistrusted) {
  const double tiny = GetParam() == Storage::bf16 ? 0x1p-136 : 0x1p-27;
  for (size_t i = 0; i < got_.size(); ++i) {
    expected_.value[i] *= tiny, expected_.G1[i] *= tiny, expected_.G2[i] *= tiny;
    store(i, expected_.value[i]);
  }
  expect_mistrusted("errors of norm");
}

TEST_P(CompareStored, WhereTheGaugeIsZeroOnlyZeroIsRight) {
  expect(std::vector<float>(1200, 0.f));
  expect_passed();
  store(3, GetParam() == Storage::bf16 ? 0x1p-133 : 0x1p-24);
  expect_failed("1 of 1200");
}

TEST_F(Compare, AComplexErrorIsTheModulusOfTheDifference) {
  tensor_ = {"A", Role::input, {2, 300}, true, {"channel", "state"}};
  expect(got_);
  expect_passed();
  expected_.value[600] = got_[600] - 3e-3;
  expected_.value[601] = got_[601] + 4e-3;
  expected_.G1[300] = expected_.G2[300] = 1;
  const Comparison result = run();
  EXPECT_EQ(result.status, Status::failed);
  EXPECT_EQ(result.compared, 600);
  EXPECT_EQ(result.wrong, 1);
  EXPECT_EQ(result.worst_index, (std::vector<int64_t>{1, 0}));
  EXPECT_NEAR(result.S1, 5e-3 / kUnit, 1e-9 / kUnit);
  EXPECT_NE(describe(result).find("i, expected "), std::string::npos) << describe(result);
}

TEST_F(Compare, AComplexNumberIsNotFiniteAsAWhole) {
  tensor_ = {"A", Role::input, {2, 300}, true, {"channel", "state"}};
  expect(got_);
  expected_.value[600] = kInfinity;
  expect_failed("1 of 600");
  got_[601] = kNan;
  expect_mistrusted("1 of 600 elements of the reference are not finite");
}

TEST_F(Compare, SaysWhereTheWrongElementsLie) {
  for (size_t t = 64; t < 70; ++t) got_[200 * 4 + t] += 1;
  const Comparison result = run();
  ASSERT_EQ(result.extents.size(), 3u);
  EXPECT_EQ(result.wrong, 6);
  EXPECT_EQ(result.extents[2].axis, "time");
  EXPECT_EQ(result.extents[2].first, 64);
  EXPECT_EQ(result.extents[2].last, 69);
  EXPECT_EQ(result.extents[2].distinct, 6);
  EXPECT_NE(
      describe(result).find("in batch 1 of 2, channel 1 of 3, time 64..69 (6 of 200); from the start of chunk 1 of "
                            "64 steps"),
      std::string::npos)
      << describe(result);
  for (size_t i = 0; i < got_.size(); ++i) got_[i] += 1;
  EXPECT_NE(describe(run()).find("in batch all 2, channel all 3, time all 200"), std::string::npos) << describe(run());
}

TEST_F(Compare, DescribesTheWorstElementWithWhatWasAllowed) {
  expected_.value[0] = 1, expected_.G1[0] = expected_.G2[0] = 1, got_[0] = 1.5f;
  EXPECT_EQ(
      describe(run()).find("u: 1 of 1200 elements are wrong; worst (rho 1.05e+06) at [0, 0, 0]: got 1.5, expected "
                           "1 +- 4.8e-07; in batch 0 of 2, channel 0 of 3, time 0 of 200"),
      0u)
      << describe(run());
}

}  // namespace
}  // namespace lrnnx::bench::compare_test
