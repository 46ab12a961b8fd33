// What `compare` concludes: from samples made with a known change and known noise, and from rows made by hand.
#include "harness/baseline.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "harness/error.h"

namespace lrnnx::bench {
namespace {

using Json = nlohmann::ordered_json;

// Samples around 1 ms: independent noise, a drift that lasts several samples, rare outliers, and an offset that a whole
// run shares. Relative to the time; the default is what a GPU with cold caches shows.
struct Noise {
  double deviation = 0.007, drift = 0.003, memory = 0.9, outliers = 0.01, run = 0.003;
};

class Machine {
 public:
  explicit Machine(Noise noise) : noise_(noise) {}

  std::vector<double> run(int samples, double factor) {
    const double offset = 1 + noise_.run * normal_(random_);
    std::vector<double> taken;
    double drift = 0;
    for (int i = 0; i < samples; ++i) {
      drift = noise_.memory * drift + std::sqrt(1 - noise_.memory * noise_.memory) * noise_.drift * normal_(random_);
      double ms = factor * offset * (1 + drift + noise_.deviation * normal_(random_));
      if (uniform_(random_) < noise_.outliers) ms *= 1.5;
      taken.push_back(ms);
    }
    return taken;
  }

 private:
  Noise noise_;
  std::mt19937_64 random_{20261122};
  std::normal_distribution<double> normal_;
  std::uniform_real_distribution<double> uniform_;
};

// How often each answer comes for runs of two programs of which the newer takes `factor` times as long.
std::map<Change, int> answers(const Noise& noise, int samples, double factor, int trials) {
  Machine machine(noise);
  std::map<Change, int> counts;
  for (int i = 0; i < trials; ++i)
    ++counts[judge(ratio_of(machine.run(samples, 1), machine.run(samples, factor)), kDefaultThreshold)];
  return counts;
}

TEST(Baseline, IdenticalProgramsAreFlaggedInAtMostOnePercentOfComparisons) {
  constexpr int kTrials = 2000;
  for (const int samples : {10, 60, 500}) {
    auto counts = answers({}, samples, 1, kTrials);
    EXPECT_LE(counts[Change::slow] + counts[Change::fast], kTrials / 100) << samples << " samples";
  }
}

TEST(Baseline, AMachineWithDriftAndFewSamplesIsCalledAmbiguousRatherThanChanged) {
  constexpr int kTrials = 2000;
  auto counts = answers({.deviation = 0.05, .drift = 0.05, .outliers = 0.1}, 60, 1, kTrials);
  EXPECT_LE(counts[Change::slow] + counts[Change::fast], kTrials / 100);
  EXPECT_GT(counts[Change::ambiguous], kTrials / 2);
}

TEST(Baseline, ASlowdownOfThreePercentIsFoundInAtLeast95PercentOfComparisons) {
  constexpr int kTrials = 2000;
  for (const int samples : {200, 500}) {
    EXPECT_GE(answers({}, samples, 1.03, kTrials)[Change::slow], kTrials * 95 / 100) << samples << " samples";
    EXPECT_GE(answers({}, samples, 1 / 1.03, kTrials)[Change::fast], kTrials * 90 / 100) << samples << " samples";
  }
}

TEST(Baseline, TheVerdictFollowsFromWhereTheIntervalLies) {
  const auto verdict = [](double low, double high) {
    return judge({.estimate = (low + high) / 2, .low = low, .high = high}, 0.02);
  };
  EXPECT_EQ(verdict(1.021, 1.03), Change::slow);
  EXPECT_EQ(verdict(1.019, 1.03), Change::ambiguous);
  EXPECT_EQ(verdict(0.985, 1.019), Change::same);
  EXPECT_EQ(verdict(0.97, 1.01), Change::ambiguous);
  EXPECT_EQ(verdict(0.97, 0.979), Change::fast);
  EXPECT_EQ(verdict(0.9, 1.1), Change::ambiguous);
  EXPECT_EQ(judge({.estimate = 2, .low = 2, .high = 2, .enough = false}, 0.02), Change::ambiguous);
}

TEST(Baseline, TooFewSamplesAreAmbiguousHoweverFarApart) {
  const std::vector<double> before(7, 1.0), after(7, 2.0);
  EXPECT_FALSE(ratio_of(before, after).enough);
  const std::vector<double> eight(8, 1.0), twice(8, 2.0);
  EXPECT_TRUE(ratio_of(eight, twice).enough);
  EXPECT_EQ(judge(ratio_of(eight, twice), 0.02), Change::slow);
}

Json row(const std::string& problem, std::vector<double> samples, const std::string& verdict = "passed",
         const std::string& cache = "cold", int exit_code = 0) {
  return {{"problem", problem},     {"cache", cache},
          {"verdict", verdict},     {"reason", verdict == "passed" ? Json(nullptr) : Json("because")},
          {"exit_code", exit_code}, {"median_ms", samples.empty() ? Json(nullptr) : Json(samples[0])},
          {"samples_ms", samples}};
}

std::vector<double> around(double ms) {
  std::vector<double> samples;
  for (int i = 0; i < 20; ++i) samples.push_back(ms * (1 + 1e-4 * (i % 5)));
  return samples;
}

Results results_of(std::vector<Json> rows) {
  Results results;
  results.rows = std::move(rows);
  return results;
}

TEST(Baseline, MatchesRowsByProblemAndCacheStateInAnyOrder) {
  const Results before = results_of({row("a", around(1)), row("b", around(2)), row("b", around(1), "passed", "warm")});
  const Results after = results_of({row("b", around(1), "passed", "warm"), row("b", around(4)), row("a", around(0.5))});
  const Comparisons comparisons = compare_results(before, after, 0.02);
  ASSERT_EQ(comparisons.pairs.size(), 3u);
  EXPECT_EQ(comparisons.pairs[0].change, Change::same);
  EXPECT_EQ(comparisons.pairs[1].change, Change::slow);
  EXPECT_EQ(comparisons.pairs[2].change, Change::fast);
  EXPECT_NEAR(comparisons.pairs[1].ratio->estimate, 2, 1e-9);
  EXPECT_TRUE(comparisons.only_old.empty());
  EXPECT_TRUE(comparisons.only_new.empty());
  EXPECT_EQ(exit_code_of(comparisons, false), 5);
}

TEST(Baseline, AShortKernelHasToChangeByMoreThanProcessesDiffer) {
  const Results before = results_of({row("a", around(0.01)), row("b", around(0.01)), row("c", around(0.1))});
  const Results after = results_of({row("a", around(0.01019)), row("b", around(0.01022)), row("c", around(0.102))});
  const Comparisons comparisons = compare_results(before, after, 0.015);
  EXPECT_EQ(comparisons.pairs[0].change, Change::same);
  EXPECT_EQ(comparisons.pairs[1].change, Change::slow);
  EXPECT_EQ(comparisons.pairs[2].change, Change::slow);
  EXPECT_EQ(compare_results(after, before, 0.015).pairs[1].change, Change::fast);
  EXPECT_NE(table_text(comparisons).find("threshold 1.5 %, at least 0.2 µs"), std::string::npos)
      << table_text(comparisons);
}

TEST(Baseline, SaysWhichRowsHaveNoPartner) {
  const Comparisons comparisons = compare_results(results_of({row("a", around(1)), row("gone", around(1))}),
                                                  results_of({row("a", around(1)), row("new", around(1))}), 0.02);
  EXPECT_EQ(comparisons.only_old, std::vector<std::string>{"gone cache=cold"});
  EXPECT_EQ(comparisons.only_new, std::vector<std::string>{"new cache=cold"});
  const std::string text = table_text(comparisons);
  EXPECT_NE(text.find("only in the older results: gone cache=cold"), std::string::npos) << text;
  EXPECT_NE(text.find("only in the newer results: new cache=cold"), std::string::npos) << text;
  EXPECT_NE(text.find("2 unmatched"), std::string::npos) << text;
  EXPECT_EQ(exit_code_of(comparisons, false), 0);
}

TEST(Baseline, ARowThatLostItsTimeIsNamedAndDecidesTheExitCode) {
  const Results before = results_of({row("a", around(1)), row("b", around(1))});
  const Comparisons wrong =
      compare_results(before, results_of({row("a", {}, "failed", "cold", 1), row("b", around(2))}), 0.02);
  EXPECT_EQ(exit_code_of(wrong, false), 1) << "wrong numbers outrank slow ones";
  const std::string text = table_text(wrong);
  EXPECT_NE(text.find("failed now, had a time before: a cache=cold"), std::string::npos) << text;
  const Comparisons impossible =
      compare_results(before, results_of({row("a", around(0.1), "invalid", "cold", 1), row("b", around(1))}), 0.02);
  EXPECT_FALSE(impossible.pairs[0].ratio.has_value()) << "a time that cannot be true was compared";
  EXPECT_EQ(exit_code_of(impossible, false), 1);
}

TEST(Baseline, AmbiguousCountsOnlyIfStrictAndASpeedupNeverFails) {
  const Comparisons ambiguous =
      compare_results(results_of({row("a", {1, 2, 3})}), results_of({row("a", {2, 3, 4})}), 0.02);
  EXPECT_EQ(exit_code_of(ambiguous, false), 0);
  EXPECT_EQ(exit_code_of(ambiguous, true), 6);
  const Comparisons faster =
      compare_results(results_of({row("a", around(2))}), results_of({row("a", around(1))}), 0.02);
  EXPECT_EQ(exit_code_of(faster, true), 0);
}

TEST(Baseline, NothingInCommonIsNothingRun) {
  EXPECT_EQ(
      exit_code_of(compare_results(results_of({row("a", around(1))}), results_of({row("b", around(1))}), 0.02), false),
      4);
}

TEST(Baseline, RefusesAnotherMachineAndNamesWhatDiffers) {
  const Json one{{"gpu", {{"name", "H100"}, {"driver", "580"}}}, {"cpu", {{"name", "x"}, {"threads", 2}}}};
  Json other = one;
  EXPECT_NO_THROW(require_same_machine(one, other, "old.json", "new.json"));
  other["gpu"]["name"] = "H200";
  try {
    require_same_machine(one, other, "old.json", "new.json");
    FAIL() << "compared an H100 with an H200";
  } catch (const UsageError& error) {
    const std::string message = error.what();
    for (const char* word : {"old.json", "new.json", "H100", "H200", "--allow-mixed"})
      EXPECT_NE(message.find(word), std::string::npos) << message;
  }
  other = one;
  other["gpu"] = nullptr;
  EXPECT_THROW(require_same_machine(one, other, "old.json", "new.json"), UsageError);
}

}  // namespace
}  // namespace lrnnx::bench
