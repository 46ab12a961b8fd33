// What `compare` concludes: from samples made with a known change and known noise, and from rows made by hand.
#include "harness/baseline.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "harness/error.h"

namespace lrnnx::bench::baseline_test {
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

// Two programs that take rounds of samples in turns on a machine whose speed wanders by some percent, which a round is
// too short to see.
class Contest {
 public:
  Contest(int rounds, int samples_a_round, double factor, int seed) {
    std::mt19937_64 random(static_cast<uint64_t>(seed));
    std::normal_distribution<double> normal;
    double speed = 0;
    for (int round = 0; round < rounds; ++round) {
      for (auto* samples : {&before, &after}) {
        speed = 0.99 * speed + std::sqrt(1 - 0.99 * 0.99) * 0.05 * normal(random);
        for (int i = 0; i < samples_a_round; ++i)
          samples->push_back((samples == &after ? factor : 1) * (1 + speed) * (1 + 0.01 * normal(random)));
      }
      counts.push_back(samples_a_round);
    }
  }
  Change judged() const { return judge(ratio_of(Turns{before, counts}, Turns{after, counts}), kDefaultThreshold); }

  std::vector<double> before, after;
  std::vector<int64_t> counts;
};

TEST(Baseline, InTurnsAChangeOfThreePercentIsFoundWhereTheMachineWandersByFive) {
  constexpr int kTrials = 1000;
  int flagged = 0, found = 0, apart = 0;
  for (int trial = 0; trial < kTrials; ++trial) {
    const Change same = Contest(100, 4, 1, trial).judged();
    flagged += same == Change::slow || same == Change::fast;
    const Contest slower(100, 4, 1.03, trial);
    found += slower.judged() == Change::slow;
    apart += judge(ratio_of(slower.before, slower.after), kDefaultThreshold) == Change::slow;
  }
  EXPECT_LE(flagged, kTrials / 100);
  EXPECT_GE(found, kTrials * 95 / 100);
  EXPECT_LT(apart, kTrials / 2) << "then turns are good for nothing";
}

TEST(Baseline, OnlyRoundsInWhichBothHaveSamplesAreCompared) {
  const std::vector<double> before{1, 1, 1, 2, 2}, after{3, 3, 8, 8, 8};
  const std::vector<int64_t> before_rounds{2, 0, 1, 2}, after_rounds{1, 1, 0, 1, 2};
  const Ratio ratio = ratio_of(Turns{before, before_rounds}, Turns{after, after_rounds});
  EXPECT_DOUBLE_EQ(ratio.estimate, 3.5) << "of 3 / 1 and 8 / 2";
  EXPECT_FALSE(ratio.enough);
  EXPECT_FALSE(ratio_of(Turns{{}, {}}, Turns{after, after_rounds}).enough);
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

Json row_of(const std::string& implementation, const std::string& configuration, double ms) {
  Json taken = row("p implementation=" + implementation + " config=" + configuration, around(ms));
  taken["implementation"] = implementation;
  taken["configuration"] = configuration;
  taken["rounds"] = std::vector<int>(20, 1);
  return taken;
}

TEST(Baseline, WithinOneRunImplementationsAreComparedOnTheSameProblem) {
  const Comparisons comparisons = compare_implementations(
      results_of({row_of("old", "a", 1), row_of("lrnnx", "b", 2), row_of("other", "a", 0.5)}), "old", 0.02);
  ASSERT_EQ(comparisons.pairs.size(), 2u);
  EXPECT_EQ(comparisons.pairs[0].change, Change::slow);
  EXPECT_EQ(comparisons.pairs[1].change, Change::fast);
  EXPECT_EQ(exit_code_of(comparisons, false), 5);
  EXPECT_NE(table_text(comparisons).find("old ms"), std::string::npos) << table_text(comparisons);
  EXPECT_EQ(to_json(comparisons).at("against"), "old");
}

TEST(Baseline, WithinOneRunLaunchConfigurationsDecideWhatIsComparedIfThereAreSeveral) {
  const Comparisons comparisons = compare_implementations(
      results_of({row_of("old", "a", 1), row_of("old", "b", 2), row_of("lrnnx", "b", 2), row_of("lrnnx", "c", 2)}),
      "old", 0.02);
  ASSERT_EQ(comparisons.pairs.size(), 1u);
  EXPECT_EQ(comparisons.pairs[0].change, Change::same);
  EXPECT_EQ(comparisons.only_old.size(), 1u);
  EXPECT_EQ(comparisons.only_new.size(), 1u);
}

TEST(Baseline, WithinOneRunTheImplementationAndTheRoundsHaveToBeThere) {
  const Results results = results_of({row_of("old", "a", 1), row_of("lrnnx", "a", 2)});
  EXPECT_THROW(compare_implementations(results, "older", 0.02), UsageError);
  Results aged = results;
  aged.rows[1].erase("rounds");
  EXPECT_THROW(compare_implementations(aged, "old", 0.02), UsageError);
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

TEST(Baseline, WhatIsSkippedNowIsNotPassedOver) {
  const Results before = results_of({row("a", around(1)), row("b", around(1))});
  const Comparisons skipped =
      compare_results(before, results_of({row("a", {}, "skipped", "cold", 4), row("b", around(1))}), 0.02);
  EXPECT_EQ(exit_code_of(skipped, false), 4);
  EXPECT_EQ(exit_code_of(skipped, true), 6);
  const Comparisons gone = compare_results(before, results_of({row("b", around(1))}), 0.02);
  EXPECT_EQ(exit_code_of(gone, false), 0);
  EXPECT_EQ(exit_code_of(gone, true), 6);
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
}  // namespace lrnnx::bench::baseline_test
