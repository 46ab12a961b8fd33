// Order statistics: known quantiles, exact binomial intervals, and coverage found by simulation.
#include "harness/stats.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <stdexcept>
#include <vector>

namespace lrnnx::bench::stats_test {
namespace {

TEST(Stats, QuantilesInterpolateBetweenOrderStatistics) {
  const std::vector<double> x{1, 2, 3, 4};
  EXPECT_DOUBLE_EQ(quantile(x, 0), 1);
  EXPECT_DOUBLE_EQ(quantile(x, 0.25), 1.75);
  EXPECT_DOUBLE_EQ(quantile(x, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(quantile(x, 1), 4);
  EXPECT_DOUBLE_EQ(quantile(std::vector<double>{7}, 0.3), 7);
}

TEST(Stats, QuantileRefusesWhatIsUndefined) {
  EXPECT_THROW(quantile({}, 0.5), std::invalid_argument);
  EXPECT_THROW(quantile(std::vector<double>{1}, 1.5), std::invalid_argument);
  EXPECT_THROW(quantile(std::vector<double>{1}, std::nan("")), std::invalid_argument);
}

TEST(Stats, MedianIntervalIsTheTabulatedPairOfOrderStatistics) {
  std::vector<double> x(10);
  for (int i = 0; i < 10; ++i) x[i] = i + 1;
  // n = 10: P(x_(2) <= median <= x_(9)) = 1 - 2 * 11 / 1024.
  const Interval interval = median_interval(x, 0.95);
  EXPECT_DOUBLE_EQ(interval.low, 2);
  EXPECT_DOUBLE_EQ(interval.high, 9);
  EXPECT_NEAR(interval.coverage, 1 - 22.0 / 1024, 1e-12);
}

TEST(Stats, MedianIntervalOfFewSamplesIsTheRangeAndSaysHowLittleItCovers) {
  const std::vector<double> x{1, 2, 3};
  const Interval interval = median_interval(x, 0.95);
  EXPECT_DOUBLE_EQ(interval.low, 1);
  EXPECT_DOUBLE_EQ(interval.high, 3);
  EXPECT_NEAR(interval.coverage, 0.75, 1e-12);
  EXPECT_NEAR(median_interval(std::vector<double>{5}, 0.95).coverage, 0, 1e-12);
}

TEST(Stats, MedianIntervalCoversTheMedianOfASkewedDistributionAsOftenAsItSays) {
  std::mt19937_64 random(1);
  const int trials = 4000;
  int covered = 0;
  double promised = 0;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<double> x(25);
    for (double& value : x) value = -std::log((static_cast<double>(random() >> 11) + 0.5) * 0x1p-53);
    std::ranges::sort(x);
    const Interval interval = median_interval(x, 0.95);
    promised = interval.coverage;
    covered += interval.low <= std::log(2.0) && std::log(2.0) <= interval.high;
  }
  EXPECT_GE(promised, 0.95);
  EXPECT_NEAR(static_cast<double>(covered) / trials, promised, 0.012);  // 3.5 standard errors
}

TEST(Stats, MedianIntervalStaysFiniteAndOrderedForManySamples) {
  std::vector<double> x(100001);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<double>(i);
  const Interval interval = median_interval(x, 0.95);
  EXPECT_NEAR(interval.low, 50000 - 310, 2);  // n/2 - 1.96 sqrt(n)/2
  EXPECT_NEAR(interval.high, 50000 + 310, 2);
  EXPECT_GE(interval.coverage, 0.95);
  EXPECT_LT(interval.coverage, 0.96);
}

TEST(Stats, BatchedIntervalCoversTheMedianThoughNeighboursAreAlike) {
  std::mt19937_64 random(1);
  std::normal_distribution<double> normal;
  const int trials = 2000;
  int covered = 0, covered_by_order_statistics = 0;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<double> x;
    double drift = 0;  // lasts about 20 samples, around a median of 0
    for (int i = 0; i < 3000; ++i) x.push_back(drift = 0.95 * drift + normal(random));
    const Interval interval = batched_median_interval(x, 0.95);
    covered += interval.low <= 0 && 0 <= interval.high;
    std::ranges::sort(x);
    const Interval naive = median_interval(x, 0.95);
    covered_by_order_statistics += naive.low <= 0 && 0 <= naive.high;
  }
  EXPECT_GE(covered, trials * 92 / 100);
  EXPECT_LE(covered_by_order_statistics, trials * 60 / 100) << "the case does not need batches";
}

TEST(Stats, BatchedIntervalOfFewSamplesIsThatOfTheSamples) {
  const std::vector<double> x{3, 1, 2, 5, 4, 7, 6, 9, 8, 10};
  const Interval interval = batched_median_interval(x, 0.95);
  EXPECT_DOUBLE_EQ(interval.low, 2);
  EXPECT_DOUBLE_EQ(interval.high, 9);
}

TEST(Stats, SummaryIsThatOfTheSamplesInAnyOrder) {
  const Summary a = summarize(std::vector<double>{4, 1, 3, 2, 100});
  EXPECT_EQ(a.count, 5u);
  EXPECT_DOUBLE_EQ(a.min, 1);
  EXPECT_DOUBLE_EQ(a.q1, 2);
  EXPECT_DOUBLE_EQ(a.median, 3);
  EXPECT_DOUBLE_EQ(a.q3, 4);
  EXPECT_DOUBLE_EQ(a.max, 100);
  EXPECT_DOUBLE_EQ(a.mean, 22);
  EXPECT_DOUBLE_EQ(a.relative_spread(), 2.0 / 3);
  EXPECT_NEAR(a.relative_deviation, std::sqrt((18. * 18 + 21 * 21 + 19 * 19 + 20 * 20 + 78 * 78) / 4) / 22, 1e-12);
}

TEST(Stats, SummaryRefusesNoSamplesAndSamplesThatAreNotNumbers) {
  EXPECT_THROW(summarize({}), std::invalid_argument);
  EXPECT_THROW(summarize(std::vector<double>{1, std::nan("")}), std::invalid_argument);
  EXPECT_THROW(summarize(std::vector<double>{std::numeric_limits<double>::infinity()}), std::invalid_argument);
}

}  // namespace
}  // namespace lrnnx::bench::stats_test
