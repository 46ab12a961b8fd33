// Times one launch at a time, cold or warm, and keeps every sample.
#pragma once

#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "harness/backend.h"

namespace lrnnx::bench {

// cold: nothing that the launch reads lies in a cache. warm: whatever the launch before left there.
enum class CacheState { cold, warm };
const char* to_string(CacheState state);

// Takes single samples on one backend; owns the events, flags and flush buffer that this needs.
class Timer {
 public:
  virtual ~Timer() = default;

  // Milliseconds from the start to the end of what `launch` queues or does; on a GPU without the host's part. Returns
  // when the work is done. Whatever `launch` throws passes through. `name` labels the sample for a profiler.
  virtual double sample(const std::function<void()>& launch, CacheState cache, const char* name) = 0;
};

std::unique_ptr<Timer> make_timer(Backend& backend);

struct MeasureOptions {
  CacheState cache = CacheState::cold;
  int64_t min_samples = 10;
  double min_seconds = 0.5;                          // of the samples' own time
  double timeout_seconds = 15;                       // of everything, untimed parts included
  const volatile std::sig_atomic_t* stop = nullptr;  // ends the sampling once it is not 0, as a timeout does
};

struct Measurement {
  CacheState cache = CacheState::cold;
  std::vector<double> samples_ms;  // at least one, in the order taken
  bool timed_out = false;          // before the minima of the options were reached
  bool stopped = false;            // likewise, by `stop` of the options
};

// One untimed launch, then samples until there are enough. A timeout or a stop still leaves one sample.
Measurement measure(Timer& timer, const std::function<void()>& launch, const MeasureOptions& options,
                    const std::string& name);

}  // namespace lrnnx::bench
