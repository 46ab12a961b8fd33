// Times one launch on a CUDA stream: cold caches, and the host's launch overhead kept out of the interval.
#include "harness/timing_cuda.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <nvtx3/nvtx3.hpp>

#include "harness/cuda_check.h"
#include "harness/timing.h"

namespace lrnnx::bench {
namespace {

constexpr unsigned long long kBlockingLimitNs = 30'000'000'000ull;

struct NvtxDomain {
  static constexpr char const* name{"lrnnx-bench"};
};

// Host memory that the device reads and writes while a kernel runs.
struct Gate {
  int released;
  int expired;
};

__device__ unsigned long long global_nanoseconds() {
  unsigned long long time;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
  return time;
}

// Holds the stream until the host releases it, so that everything queued behind starts back to back.
__global__ void hold_stream(volatile Gate* gate, unsigned long long limit_ns) {
  const unsigned long long begin = global_nanoseconds();
  while (gate->released == 0) {
    if (global_nanoseconds() - begin > limit_ns) {
      gate->expired = 1;
      __threadfence_system();
      return;
    }
  }
}

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
  explicit CudaTimer(cudaStream_t stream) : stream_(stream), start_(make_event()), stop_(make_event()) {
    int device = 0;
    int l2_bytes = 0;
    LRNNX_CUDA_CHECK(cudaGetDevice(&device));
    LRNNX_CUDA_CHECK(cudaDeviceGetAttribute(&l2_bytes, cudaDevAttrL2CacheSize, device));
    flush_bytes_ = std::max<std::size_t>(2 * static_cast<std::size_t>(l2_bytes), std::size_t{128} << 20);
    void* memory = nullptr;
    LRNNX_CUDA_CHECK(cudaMalloc(&memory, flush_bytes_));
    flush_.reset(memory);

    LRNNX_CUDA_CHECK(cudaHostAlloc(&memory, sizeof(Gate), cudaHostAllocMapped));
    gate_.reset(static_cast<Gate*>(memory));
    LRNNX_CUDA_CHECK(cudaHostGetDevicePointer(&memory, gate_.get(), 0));
    device_gate_ = static_cast<Gate*>(memory);

    // A kernel loaded for the first time while another one spins can wait for it for ever: load this one now.
    sample([] {}, CacheState::cold, "timer");
  }

  ~CudaTimer() override { cudaStreamSynchronize(stream_); }

  double sample(const std::function<void()>& launch, CacheState cache, const char* name) override {
    if (cache == CacheState::cold) flush();
    LRNNX_CUDA_CHECK(cudaStreamSynchronize(stream_));

    *gate_ = {.released = 0, .expired = 0};
    hold_stream<<<1, 1, 0, stream_>>>(device_gate_, kBlockingLimitNs);
    LRNNX_CUDA_CHECK(cudaGetLastError());
    try {
      const nvtx3::scoped_range_in<NvtxDomain> range{name};
      LRNNX_CUDA_CHECK(cudaEventRecord(start_.get(), stream_));
      launch();
      LRNNX_CUDA_CHECK(cudaEventRecord(stop_.get(), stream_));
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
    float ms = 0;
    LRNNX_CUDA_CHECK(cudaEventElapsedTime(&ms, start_.get(), stop_.get()));
    return ms;
  }

 private:
  void release() { std::atomic_ref(gate_->released).store(1); }

  // Leaves L2 full of modified lines of another buffer: a launch pays for writing those back as it would in a pipeline
  // of kernels, in exchange for its own last writes that are still in L2 when it ends.
  void flush() {
    LRNNX_CUDA_CHECK(cudaCtxResetPersistingL2Cache());
    LRNNX_CUDA_CHECK(cudaMemsetAsync(flush_.get(), 0, flush_bytes_, stream_));
  }

  cudaStream_t stream_;
  Event start_, stop_;
  std::size_t flush_bytes_ = 0;
  std::unique_ptr<void, DeviceDeleter> flush_;
  std::unique_ptr<Gate, HostDeleter> gate_;
  Gate* device_gate_ = nullptr;
};

}  // namespace

std::unique_ptr<Timer> make_cuda_timer(void* stream) {
  return std::make_unique<CudaTimer>(static_cast<cudaStream_t>(stream));
}

}  // namespace lrnnx::bench
