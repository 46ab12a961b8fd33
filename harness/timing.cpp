// The sampling loop, and the timer of the cpu backend.
#include "harness/timing.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "harness/cpu_cache.h"
#include "harness/timing_cuda.h"

namespace lrnnx::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

class CpuTimer final : public Timer {
 public:
  CpuTimer() {
    flush_.resize(static_cast<std::size_t>(std::max<int64_t>(2 * last_level_cache_bytes(), int64_t{64} << 20)));
  }

  double sample(const std::function<void()>& launch, CacheState cache, const char*) override {
    if (cache == CacheState::cold) flush();
    const auto begin = Clock::now();
    launch();
    return 1e3 * seconds_since(begin);
  }

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

Measurement measure(Timer& timer, const std::function<void()>& launch, const MeasureOptions& options,
                    const std::string& name) {
  const auto begin = Clock::now();
  launch();  // loads code and wakes clocks and threads, outside any timer: loading may wait for the device

  Measurement measurement{.cache = options.cache, .samples_ms = {}, .timed_out = false};
  double total_ms = 0;
  while (true) {
    const double ms = timer.sample(launch, options.cache, name.c_str());
    measurement.samples_ms.push_back(std::round(ms * 1e6) / 1e6);  // no clock here resolves less than a nanosecond
    total_ms += ms;
    if (static_cast<int64_t>(measurement.samples_ms.size()) >= options.min_samples &&
        total_ms >= 1e3 * options.min_seconds)
      return measurement;
    if (options.stop && *options.stop != 0) {
      measurement.stopped = true;
      return measurement;
    }
    if (seconds_since(begin) >= options.timeout_seconds) {
      measurement.timed_out = true;
      return measurement;
    }
  }
}

}  // namespace lrnnx::bench
