// Times one launch at a time, cold or warm, and keeps every sample.
#pragma once

#include <chrono>
#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "harness/backend.h"

namespace lrnnx::bench {

// cold: nothing that the launch reads lies in a cache. warm: whatever the launch before left there.
enum class CacheState { cold, warm };
const char* to_string(CacheState state);

struct Sample {
  double ms = 0;
  // Clock of the device right after the launch over the clock that it is built for; absent where nothing tells.
  std::optional<double> clock_ratio{};
};

// Takes single samples on one backend; owns the events, flags and flush buffer that this needs.
class Timer {
 public:
  virtual ~Timer() = default;

  // From the start to the end of what `launch` queues or does; on a GPU without the host's part. Returns when the work
  // is done. Whatever `launch` throws passes through. `name` labels the sample for a profiler.
  virtual Sample sample(const std::function<void()>& launch, CacheState cache, const char* name) = 0;

  // Something that does `count` launches at the cost of one: on a GPU a graph of them, so that what lies between two
  // small kernels is what lies there in a model. To be sampled warm.
  virtual std::function<void()> batched(std::function<void()> launch, int count) = 0;

  // How much a cold sample overwrites before the launch.
  virtual int64_t flush_bytes() const = 0;
  virtual void set_flush_bytes(int64_t bytes) = 0;
  virtual int64_t cache_bytes() const = 0;  // of the last level
};

std::unique_ptr<Timer> make_timer(Backend& backend);

struct MeasureOptions {
  CacheState cache = CacheState::cold;
  int64_t warmup = 1;  // launches that are not timed
  int64_t min_samples = 10;
  double min_seconds = 0.5;                          // of the samples' own time
  double max_noise = 0.005;                          // relative standard deviation that is low enough
  double timeout_seconds = 15;                       // of everything, untimed parts included
  double round_seconds = 0.01;                       // of a Sampling's rounds
  const volatile std::sig_atomic_t* stop = nullptr;  // ends the sampling once it is not 0, as a timeout does
};

// Below this share of the nominal clock a sample tells of a machine that throttles, not of the kernel.
inline constexpr double kLeastClockRatio = 0.75;

enum class Stopped {
  quiet,      // the noise is low enough
  settled,    // more samples would not change the noise: no value since half as many samples is more than 10 % off
  timed_out,  // before any of these
  signalled
};
inline constexpr Stopped kStopped[] = {Stopped::quiet, Stopped::settled, Stopped::timed_out, Stopped::signalled};
const char* to_string(Stopped why);

struct Measurement {
  CacheState cache = CacheState::cold;
  std::vector<double> samples_ms;  // in the order taken; empty only if every sample was throttled
  std::vector<int64_t> rounds;     // how many of these each round took
  int64_t throttled = 0;           // samples left out because the clock was below kLeastClockRatio
  Stopped stopped = Stopped::quiet;
};

// Relative standard deviation of the samples so far, and of every number of them before (Welford's recurrence).
class Noise {
 public:
  void add(double ms);
  double now() const { return history_.back(); }
  bool has_settled() const;

 private:
  std::vector<double> history_;
  double mean_ = 0, squares_ = 0;
};

// A measurement in rounds, between which others may take their samples, so that what drifts on the machine drifts for
// all of them alike.
class Sampling {
 public:
  // All but the options must outlive it. `prepare` comes before each sample and is not timed.
  Sampling(
      Timer& timer, std::function<void()> launch, const MeasureOptions& options, std::string name,
      std::function<void()> prepare = [] {});

  // Takes samples for the options' round_seconds, or until they suffice; then false. `alone`: nothing was launched
  // since the round before; else a launch that is not timed comes first, as before the first round.
  bool round(bool alone);
  const Measurement& measurement() const { return measurement_; }

 private:
  bool suffices();

  Timer* timer_;
  std::function<void()> launch_, prepare_;
  MeasureOptions options_;
  std::string name_;
  Measurement measurement_;
  Noise noise_;
  double total_ms_ = 0;                          // of the samples
  double seconds_before_ = 0;                    // of the rounds before this one
  std::chrono::steady_clock::time_point begin_;  // of this round
  bool began_ = false;
};

// Untimed launches, then samples until there are enough of them, for long enough, and their noise is low or has
// settled. A timeout or a stop still leaves one sample.
Measurement measure(Timer& timer, const std::function<void()>& launch, const MeasureOptions& options,
                    const std::string& name);

}  // namespace lrnnx::bench
