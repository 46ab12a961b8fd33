// The sampling loop, with a timer whose clock the test sets, and the timer of the cpu backend.
#include "harness/timing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <stdexcept>
#include <thread>

#include "harness/backend.h"
#include "harness/flush_probe.h"

namespace lrnnx::bench::timing_test {
namespace {

// Launches take what the test says, one after the other, and the last of it for ever.
class FakeTimer : public Timer {
 public:
  explicit FakeTimer(std::vector<double> ms) : ms_(std::move(ms)) {}
  explicit FakeTimer(double ms) : FakeTimer(std::vector<double>{ms}) {}
  Sample sample(const std::function<void()>& launch, CacheState cache, const char*) override {
    launch();
    const size_t i = states.size();
    states.push_back(cache);
    return {.ms = ms_[std::min(i, ms_.size() - 1)],
            .clock_ratio = clocks.empty() ? std::optional<double>() : clocks[std::min(i, clocks.size() - 1)]};
  }
  std::function<void()> batched(std::function<void()> launch, int) override { return launch; }
  int64_t flush_bytes() const override { return flush_bytes_; }
  void set_flush_bytes(int64_t bytes) override { flush_bytes_ = bytes; }
  int64_t cache_bytes() const override { return int64_t{1} << 20; }

  std::vector<CacheState> states;
  std::vector<double> clocks;

 protected:
  std::vector<double> ms_;
  int64_t flush_bytes_ = 1;
};

TEST(Timing, SamplesUntilBothMinimaAreReached) {
  FakeTimer quick(1);
  EXPECT_EQ(measure(
                quick, [] {}, {.min_samples = 10, .min_seconds = 0}, "")
                .samples_ms.size(),
            10u);
  FakeTimer timed(100);
  const Measurement measurement = measure(
      timed, [] {}, {.min_samples = 2, .min_seconds = 0.5}, "");
  EXPECT_EQ(measurement.samples_ms.size(), 5u);  // 5 * 100 ms
  EXPECT_EQ(measurement.stopped, Stopped::quiet);
}

TEST(Timing, KeepsEverySampleInOrder) {
  FakeTimer timer({1.001, 1.002, 1.003});
  const Measurement measurement = measure(
      timer, [] {}, {.min_samples = 3, .min_seconds = 0}, "");
  EXPECT_EQ(measurement.samples_ms, (std::vector<double>{1.001, 1.002, 1.003}));
}

TEST(Timing, LaunchesOnceUntimedBeforeTheFirstSample) {
  FakeTimer timer(1);
  int launches = 0;
  measure(
      timer, [&] { ++launches; }, {.min_samples = 4, .min_seconds = 0}, "");
  EXPECT_EQ(timer.states.size(), 4u);
  EXPECT_EQ(launches, 5);
}

TEST(Timing, ARoundLaunchesOnceUntimedIfOthersRanSinceTheRoundBefore) {
  FakeTimer timer(1);
  int launches = 0;
  const auto launch = [&] {
    ++launches;
    std::this_thread::sleep_for(std::chrono::milliseconds(12));  // more than a round
  };
  Sampling sampling(timer, launch, {.warmup = 3, .min_samples = 4, .min_seconds = 0}, "");
  EXPECT_TRUE(sampling.round(true));
  EXPECT_EQ(launches, 3 + 1);
  EXPECT_TRUE(sampling.round(true));
  EXPECT_EQ(launches, 3 + 2);
  EXPECT_TRUE(sampling.round(false));
  EXPECT_EQ(launches, 3 + 2 + 2);
  EXPECT_FALSE(sampling.round(false));
  EXPECT_EQ(sampling.measurement().samples_ms.size(), 4u);
  EXPECT_EQ(sampling.measurement().rounds, (std::vector<int64_t>{1, 1, 1, 1}));
  EXPECT_EQ(sampling.measurement().stopped, Stopped::quiet);
}

TEST(Timing, WhatOthersTakeBetweenRoundsDoesNotCountAsTime) {
  FakeTimer timer(1);
  Sampling sampling(
      timer, [] { std::this_thread::sleep_for(std::chrono::milliseconds(12)); },
      {.min_samples = 3, .min_seconds = 0, .timeout_seconds = 0.2}, "");
  while (sampling.round(true)) std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_EQ(sampling.measurement().samples_ms.size(), 3u);
  EXPECT_EQ(sampling.measurement().stopped, Stopped::quiet);
}

TEST(Timing, LaunchesAsOftenUntimedAsToldBeforeTheFirstSample) {
  FakeTimer timer(1);
  int launches = 0;
  measure(
      timer, [&] { ++launches; }, {.warmup = 7, .min_samples = 4, .min_seconds = 0}, "");
  EXPECT_EQ(launches, 11);
}

TEST(Timing, SamplesOnWhileTheNoiseIsHighAndStillChanges) {
  // Two times 1, then 2 and 1 in turn: the deviation rises, and settles near 1/3 / 1.5.
  std::vector<double> ms{1, 1};
  for (int i = 0; i < 1000; ++i) ms.push_back(i % 2 ? 1 : 2);
  FakeTimer restless(ms);
  const Measurement settled = measure(
      restless, [] {}, {.min_samples = 3, .min_seconds = 0, .max_noise = 0.01}, "");
  EXPECT_EQ(settled.stopped, Stopped::settled);
  EXPECT_GT(settled.samples_ms.size(), 3u);
  EXPECT_LT(settled.samples_ms.size(), 100u);
  FakeTimer tolerated(ms);
  const Measurement quiet = measure(
      tolerated, [] {}, {.min_samples = 3, .min_seconds = 0, .max_noise = 0.9}, "");
  EXPECT_EQ(quiet.stopped, Stopped::quiet);
  EXPECT_EQ(quiet.samples_ms.size(), 3u);
}

TEST(Timing, LeavesOutSamplesOfAThrottledMachineAndCountsThem) {
  FakeTimer timer({9, 9, 1});
  timer.clocks = {0.7, 0.1, 0.76};
  const Measurement measurement = measure(
      timer, [] {}, {.min_samples = 3, .min_seconds = 0}, "");
  EXPECT_EQ(measurement.samples_ms, (std::vector<double>{1, 1, 1}));
  EXPECT_EQ(measurement.throttled, 2);
}

TEST(Timing, AMachineThatAlwaysThrottlesYieldsNoSampleAndEnds) {
  FakeTimer timer(1);
  timer.clocks = {0.5};
  const Measurement measurement = measure(
      timer, [] {}, {.min_samples = 3, .min_seconds = 0, .timeout_seconds = 0.05}, "");
  EXPECT_TRUE(measurement.samples_ms.empty());
  EXPECT_GT(measurement.throttled, 0);
  EXPECT_EQ(measurement.stopped, Stopped::timed_out);
}

TEST(Timing, ABatchIsAsManyLaunchesAsAsked) {
  int launches = 0;
  make_timer(backend("cpu"))->batched([&] { ++launches; }, 12)();
  EXPECT_EQ(launches, 12);
}

// A cache that keeps what the flush leaves of it: a read takes 1 ms from it and 4 ms from memory.
class CacheTimer final : public FakeTimer {
 public:
  explicit CacheTimer(double needed) : FakeTimer(0), needed_(needed) {}
  Sample sample(const std::function<void()>&, CacheState cache, const char*) override {
    const double flushed = static_cast<double>(flush_bytes_) / static_cast<double>(cache_bytes()) / needed_;
    return {.ms = cache == CacheState::warm ? 1 : 1 + 3 * std::min(1.0, flushed)};
  }

 private:
  double needed_;  // caches that the flush has to overwrite
};

TEST(FlushProbe, GrowsTheFlushUntilNothingIsLeftToGain) {
  for (const double needed : {0.5, 1.0, 2.5, 5.0}) {
    CacheTimer timer(needed);
    timer.set_flush_bytes(timer.cache_bytes());
    const FlushProof proof = prove_flush(timer, [] {});
    EXPECT_EQ(proof.bytes, static_cast<int64_t>(std::ceil(needed)) * timer.cache_bytes());
    EXPECT_EQ(timer.flush_bytes(), proof.bytes);
    EXPECT_LT(proof.cold_benefit, kMostColdBenefit);
    EXPECT_NEAR(proof.warm_benefit, 0.75, 1e-9);
    EXPECT_TRUE(proof.holds());
  }
}

TEST(FlushProbe, AFlushThatNeverSufficesIsTheLargestAndSaysWhatIsLeft) {
  CacheTimer timer(20);
  timer.set_flush_bytes(timer.cache_bytes());
  const FlushProof proof = prove_flush(timer, [] {});
  EXPECT_EQ(proof.bytes, 8 * timer.cache_bytes());
  EXPECT_GT(proof.cold_benefit, kMostColdBenefit);
  EXPECT_FALSE(proof.holds());
}

TEST(FlushProbe, AReadThatGainsNothingFromTheCacheProvesNothing) {
  FakeTimer timer(1);
  EXPECT_FALSE(prove_flush(timer, [] {}).holds());
}

TEST(Timing, ATimeoutStillLeavesOneSampleAndSaysSo) {
  FakeTimer timer(1);
  const Measurement measurement = measure(
      timer, [] { std::this_thread::sleep_for(std::chrono::milliseconds(2)); },
      {.min_samples = 1'000'000, .min_seconds = 0, .timeout_seconds = 1e-3}, "");
  EXPECT_EQ(measurement.samples_ms.size(), 1u);
  EXPECT_EQ(measurement.stopped, Stopped::timed_out);
}

TEST(Timing, AStopEndsTheSamplingAndKeepsWhatWasTaken) {
  FakeTimer timer(1);
  volatile std::sig_atomic_t stop = 0;
  int launches = 0;
  const Measurement measurement = measure(
      timer, [&] { stop = ++launches == 4; }, {.min_samples = 1'000'000, .min_seconds = 0, .stop = &stop}, "");
  EXPECT_EQ(measurement.samples_ms.size(), 3u);  // the first launch is not timed
  EXPECT_EQ(measurement.stopped, Stopped::signalled);
}

TEST(Timing, TakesSamplesInTheCacheStateThatWasAskedFor) {
  for (const CacheState state : {CacheState::cold, CacheState::warm}) {
    FakeTimer timer(1);
    EXPECT_EQ(measure(
                  timer, [] {}, {.cache = state, .min_samples = 2, .min_seconds = 0}, "")
                  .cache,
              state);
    EXPECT_EQ(timer.states, (std::vector<CacheState>{state, state}));
  }
}

TEST(Timing, WhatALaunchThrowsReachesTheCaller) {
  FakeTimer timer(1);
  EXPECT_THROW(measure(
                   timer, [] { throw std::runtime_error("broken"); }, {}, ""),
               std::runtime_error);
}

TEST(Timing, TheCpuTimerMeasuresTheLaunchAndNotTheFlush) {
  const auto timer = make_timer(backend("cpu"));
  for (const CacheState state : {CacheState::cold, CacheState::warm}) {
    const double ms = timer->sample([] { std::this_thread::sleep_for(std::chrono::milliseconds(5)); }, state, "").ms;
    EXPECT_GE(ms, 5.0);  // a sleep never ends early
  }
}

}  // namespace
}  // namespace lrnnx::bench::timing_test
