// The sampling loop, with a timer whose clock the test sets, and the timer of the cpu backend.
#include "harness/timing.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <stdexcept>
#include <thread>

#include "harness/backend.h"

namespace lrnnx::bench {
namespace {

// Every launch takes `ms`, and so much longer the k-th time.
class FakeTimer final : public Timer {
 public:
  explicit FakeTimer(double ms) : ms_(ms) {}
  double sample(const std::function<void()>& launch, CacheState cache, const char*) override {
    launch();
    states.push_back(cache);
    return ms_ + 1e-3 * static_cast<double>(states.size());
  }
  std::vector<CacheState> states;

 private:
  double ms_;
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
  EXPECT_FALSE(measurement.timed_out);
}

TEST(Timing, KeepsEverySampleInOrder) {
  FakeTimer timer(1);
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

TEST(Timing, ATimeoutStillLeavesOneSampleAndSaysSo) {
  FakeTimer timer(1);
  const Measurement measurement = measure(
      timer, [] { std::this_thread::sleep_for(std::chrono::milliseconds(2)); },
      {.min_samples = 1'000'000, .min_seconds = 0, .timeout_seconds = 1e-3}, "");
  EXPECT_EQ(measurement.samples_ms.size(), 1u);
  EXPECT_TRUE(measurement.timed_out);
}

TEST(Timing, AStopEndsTheSamplingAndKeepsWhatWasTaken) {
  FakeTimer timer(1);
  volatile std::sig_atomic_t stop = 0;
  int launches = 0;
  const Measurement measurement = measure(
      timer, [&] { stop = ++launches == 4; }, {.min_samples = 1'000'000, .min_seconds = 0, .stop = &stop}, "");
  EXPECT_EQ(measurement.samples_ms.size(), 3u);  // the first launch is not timed
  EXPECT_TRUE(measurement.stopped);
  EXPECT_FALSE(measurement.timed_out);
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
    const double ms = timer->sample([] { std::this_thread::sleep_for(std::chrono::milliseconds(5)); }, state, "");
    EXPECT_GE(ms, 5.0);  // a sleep never ends early
  }
}

}  // namespace
}  // namespace lrnnx::bench
