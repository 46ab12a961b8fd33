// Times one launch on a CUDA stream: cold caches, and the host's launch overhead kept out of the interval.
#include "harness/timing_cuda.h"

#ifdef LRNNX_WITH_CUDA

#include <cuda_runtime_api.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>

#include "harness/activity.h"
#include "harness/cuda_check.h"
#include "harness/profiler_range.h"
#include "harness/timing.h"
#include "harness/timing_gate.h"

namespace lrnnx::bench {
namespace {

constexpr unsigned long long kBlockingLimitNs = 30'000'000'000ull;

// Long against the time to read the global timer.
constexpr unsigned long long kClockNs = 10'000;
// Of samples between two looks at the clock: short launches would take as long as these.
constexpr double kClockEveryMs = 0.25;

struct EventDeleter {
  void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
};
using Event = std::unique_ptr<CUevent_st, EventDeleter>;

Event make_event() {
  cudaEvent_t event = nullptr;
  LRNNX_CUDA_CHECK(cudaEventCreate(&event));
  return Event(event);
}

struct HostDeleter {
  void operator()(void* memory) const { cudaFreeHost(memory); }
};
struct DeviceDeleter {
  void operator()(void* memory) const { cudaFree(memory); }
};

class CudaTimer final : public Timer {
 public:
  explicit CudaTimer(cudaStream_t stream)
      : stream_(stream),
        flush_start_(make_event()),
        flush_stop_(make_event()),
        start_(make_event()),
        stop_(make_event()) {
    int device = 0;
    int clock_khz = 0;
    LRNNX_CUDA_CHECK(cudaGetDevice(&device));
    LRNNX_CUDA_CHECK(cudaDeviceGetAttribute(&l2_bytes_, cudaDevAttrL2CacheSize, device));
    LRNNX_CUDA_CHECK(cudaDeviceGetAttribute(&clock_khz, cudaDevAttrClockRate, device));
    nominal_hz_ = 1e3 * clock_khz;
    set_flush_bytes(std::max<int64_t>(2 * int64_t{l2_bytes_}, int64_t{128} << 20));

    void* memory = nullptr;
    LRNNX_CUDA_CHECK(cudaHostAlloc(&memory, sizeof(Gate), cudaHostAllocMapped));
    gate_.reset(static_cast<Gate*>(memory));
    LRNNX_CUDA_CHECK(cudaHostGetDevicePointer(&memory, gate_.get(), 0));
    device_gate_ = static_cast<Gate*>(memory);

    // A kernel loaded for the first time while another one spins can wait for it for ever: load these now.
    queue_clock(stream_, device_gate_, 0);
    LRNNX_CUDA_CHECK(cudaGetLastError());
    LRNNX_CUDA_CHECK(cudaStreamSynchronize(stream_));
    sample([] {}, CacheState::cold, "timer");
  }

  ~CudaTimer() override { cudaStreamSynchronize(stream_); }

  Sample sample(const std::function<void()>& launch, CacheState cache, const char* name) override {
    {
      const Doing kernels(Activity::kernels);  // that nobody waited for
      LRNNX_CUDA_CHECK(cudaStreamSynchronize(stream_));
    }
    Doing sampling(Activity::sampling);
    const bool looks_at_clock = unseen_ms_ >= kClockEveryMs;
    *gate_ = {};
    // While it goes on, the rest is queued.
    if (cache == CacheState::cold) flush();
    queue_hold(stream_, device_gate_, kBlockingLimitNs);
    LRNNX_CUDA_CHECK(cudaGetLastError());
    try {
      const ProfilerRange range{name};
      LRNNX_CUDA_CHECK(cudaEventRecord(start_.get(), stream_));
      launch();
      LRNNX_CUDA_CHECK(cudaEventRecord(stop_.get(), stream_));
      if (looks_at_clock) {
        queue_clock(stream_, device_gate_, kClockNs);
        LRNNX_CUDA_CHECK(cudaGetLastError());
      }
    } catch (...) {
      release();
      cudaStreamSynchronize(stream_);
      throw;
    }
    release();
    LRNNX_CUDA_CHECK(cudaStreamSynchronize(stream_));
    if (std::atomic_ref(gate_->expired).load() != 0)
      throw SystemError(std::string(name) +
                        ": the launch did not return within 30 s of being queued, so its time is not known; a launch "
                        "must not wait for the device");
    if (cache == CacheState::cold) sampling.credit(Activity::flush, 1e-3 * elapsed_ms(flush_start_, flush_stop_));
    const float ms = elapsed_ms(start_, stop_);
    unseen_ms_ += ms;
    if (looks_at_clock) {
      const double hz = 1e9 * static_cast<double>(gate_->clock_cycles) / static_cast<double>(gate_->clock_ns);
      clock_ratio_ = hz / nominal_hz_;
      unseen_ms_ = 0;
    }
    return {.ms = ms, .clock_ratio = clock_ratio_};
  }

  std::function<void()> batched(std::function<void()> launch, int count) override {
    cudaGraph_t graph = nullptr;
    LRNNX_CUDA_CHECK(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
    try {
      for (int i = 0; i < count; ++i) launch();
    } catch (...) {
      cudaStreamEndCapture(stream_, &graph);
      if (graph) cudaGraphDestroy(graph);
      throw;
    }
    LRNNX_CUDA_CHECK(cudaStreamEndCapture(stream_, &graph));
    cudaGraphExec_t executable = nullptr;
    const cudaError_t status = cudaGraphInstantiate(&executable, graph, 0);
    cudaGraphDestroy(graph);
    cuda_check(status, "cudaGraphInstantiate");
    const std::shared_ptr<CUgraphExec_st> owned(executable, [](cudaGraphExec_t dead) { cudaGraphExecDestroy(dead); });
    return [owned, stream = stream_] { LRNNX_CUDA_CHECK(cudaGraphLaunch(owned.get(), stream)); };
  }

  int64_t flush_bytes() const override { return flush_bytes_; }
  void set_flush_bytes(int64_t bytes) override {
    flush_.reset();
    void* memory = nullptr;
    LRNNX_CUDA_CHECK(cudaMalloc(&memory, static_cast<std::size_t>(bytes)));
    flush_.reset(memory);
    flush_bytes_ = bytes;
  }
  int64_t cache_bytes() const override { return l2_bytes_; }

 private:
  void release() { std::atomic_ref(gate_->released).store(1); }

  static float elapsed_ms(const Event& start, const Event& stop) {
    float ms = 0;
    LRNNX_CUDA_CHECK(cudaEventElapsedTime(&ms, start.get(), stop.get()));
    return ms;
  }

  // Leaves L2 full of modified lines of another buffer: a launch pays for writing those back as it would in a pipeline
  // of kernels, in exchange for its own last writes that are still in L2 when it ends.
  void flush() {
    LRNNX_CUDA_CHECK(cudaCtxResetPersistingL2Cache());
    LRNNX_CUDA_CHECK(cudaEventRecord(flush_start_.get(), stream_));
    LRNNX_CUDA_CHECK(cudaMemsetAsync(flush_.get(), 0, static_cast<std::size_t>(flush_bytes_), stream_));
    LRNNX_CUDA_CHECK(cudaEventRecord(flush_stop_.get(), stream_));
  }

  cudaStream_t stream_;
  Event flush_start_, flush_stop_, start_, stop_;
  int l2_bytes_ = 0;
  double nominal_hz_ = 0;
  double unseen_ms_ = kClockEveryMs;  // of samples since the clock was looked at
  double clock_ratio_ = 0;
  int64_t flush_bytes_ = 0;
  std::unique_ptr<void, DeviceDeleter> flush_;
  std::unique_ptr<Gate, HostDeleter> gate_;
  Gate* device_gate_ = nullptr;
};

}  // namespace

std::unique_ptr<Timer> make_cuda_timer(void* stream) {
  return std::make_unique<CudaTimer>(static_cast<cudaStream_t>(stream));
}

}  // namespace lrnnx::bench

#endif
