// The sampling loop, and the timer of the cpu backend.
#include "harness/timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <thread>
#include <utility>

#include "harness/activity.h"
#include "harness/cpu_cache.h"
#include "harness/profiler_range.h"
#include "harness/timing_cuda.h"

namespace lrnnx::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

constexpr int64_t kThrottledInARow = 10;
constexpr std::chrono::milliseconds kThrottlePause(100);

class CpuTimer final : public Timer {
 public:
  CpuTimer() { set_flush_bytes(std::max<int64_t>(2 * cache_bytes(), int64_t{64} << 20)); }

  Sample sample(const std::function<void()>& launch, CacheState cache, const char* name) override {
    if (cache == CacheState::cold) {
      const Doing flushing(Activity::flush);
      flush();
    }
    const ProfilerRange range(name);
    const auto begin = Clock::now();
    launch();
    return {.ms = 1e3 * seconds_since(begin)};
  }

  std::function<void()> batched(std::function<void()> launch, int count) override {
    return [launch = std::move(launch), count] {
      for (int i = 0; i < count; ++i) launch();
    };
  }

  int64_t flush_bytes() const override { return static_cast<int64_t>(flush_.size()); }
  void set_flush_bytes(int64_t bytes) override { flush_.resize(static_cast<std::size_t>(bytes)); }
  int64_t cache_bytes() const override { return last_level_cache_bytes(); }

 private:
  // Every thread writes its part, so that private caches are flushed too.
  void flush() {
    ++pattern_;
    constexpr int64_t kLine = 64;
    const auto lines = static_cast<int64_t>(flush_.size()) / kLine;
    unsigned char* const bytes = flush_.data();
#pragma omp parallel for schedule(static)
    for (int64_t line = 0; line < lines; ++line) std::fill_n(bytes + line * kLine, kLine, pattern_);
  }

  std::vector<unsigned char> flush_;
  unsigned char pattern_ = 0;
};

}  // namespace

const char* to_string(CacheState state) { return state == CacheState::cold ? "cold" : "warm"; }

std::unique_ptr<Timer> make_timer(Backend& backend) {
#ifdef LRNNX_WITH_CUDA
  if (backend.name() == "cuda") return make_cuda_timer(backend.stream());
#endif
  (void)backend;
  return std::make_unique<CpuTimer>();
}

const char* to_string(Stopped why) {
  switch (why) {
    case Stopped::quiet:
      return "quiet";
    case Stopped::settled:
      return "settled";
    case Stopped::timed_out:
      return "timed out";
    case Stopped::signalled:
      return "stopped";
  }
  return "?";
}

void Noise::add(double ms) {
  const auto count = static_cast<double>(history_.size() + 1);
  const double change = ms - mean_;
  mean_ += change / count;
  squares_ += change * (ms - mean_);
  history_.push_back(count > 1 && mean_ > 0 ? std::sqrt(squares_ / (count - 1)) / mean_ : 0);
}

bool Noise::has_settled() const {
  constexpr double kChange = 0.1;
  return std::all_of(history_.begin() + static_cast<std::ptrdiff_t>(history_.size() / 2), history_.end(),
                     [this](double then) { return std::abs(then - now()) <= kChange * now(); });
}

Sampling::Sampling(Timer& timer, std::function<void()> launch, const MeasureOptions& options, std::string name,
                   std::function<void()> prepare)
    : timer_(&timer),
      launch_(std::move(launch)),
      prepare_(std::move(prepare)),
      options_(options),
      name_(std::move(name)) {
  measurement_.cache = options.cache;
}

bool Sampling::round(bool alone) {
  Doing sampling(Activity::sampling);
  begin_ = Clock::now();
  // Loads code and wakes clocks and threads, outside any timer: loading may wait for the device. Later it brings back
  // into caches what others drove out.
  const int64_t untimed = std::exchange(began_, true) ? (alone ? 0 : 1) : options_.warmup;
  for (int64_t i = 0; i < untimed; ++i) {
    const Doing kernels(Activity::kernels);
    launch_();
  }
  std::vector<double>& samples = measurement_.samples_ms;
  int64_t& taken = measurement_.rounds.emplace_back(0);
  while (true) {
    prepare_();
    const Sample sample = timer_->sample(launch_, options_.cache, name_.c_str());
    sampling.credit(Activity::kernels, 1e-3 * sample.ms);
    if (sample.clock_ratio && *sample.clock_ratio < kLeastClockRatio) {
      // An idle clock needs a few samples to come up, a hot device a pause to cool down.
      if (++measurement_.throttled % kThrottledInARow == 0) std::this_thread::sleep_for(kThrottlePause);
    } else {
      samples.push_back(std::round(sample.ms * 1e6) / 1e6);  // no clock here resolves less than a nanosecond
      ++taken;
      total_ms_ += sample.ms;
      noise_.add(sample.ms);
    }
    if (suffices()) return false;
    if (seconds_since(begin_) >= options_.round_seconds) break;
  }
  seconds_before_ += seconds_since(begin_);
  return true;
}

bool Sampling::suffices() {
  const std::vector<double>& samples = measurement_.samples_ms;
  if (static_cast<int64_t>(samples.size()) >= options_.min_samples && total_ms_ >= 1e3 * options_.min_seconds) {
    measurement_.stopped = Stopped::quiet;
    if (noise_.now() <= options_.max_noise) return true;
    measurement_.stopped = Stopped::settled;
    if (noise_.has_settled()) return true;
  }
  if (options_.stop && *options_.stop != 0 && !samples.empty()) {
    measurement_.stopped = Stopped::signalled;
    return true;
  }
  measurement_.stopped = Stopped::timed_out;
  return seconds_before_ + seconds_since(begin_) >= options_.timeout_seconds;
}

Measurement measure(Timer& timer, const std::function<void()>& launch, const MeasureOptions& options,
                    const std::string& name) {
  Sampling sampling(timer, launch, options, name);
  while (sampling.round(true)) continue;
  return sampling.measurement();
}

}  // namespace lrnnx::bench
