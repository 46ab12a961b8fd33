// Rates of a CUDA device: DRAM copy, ex2.approx, fused multiply-add, and the clock under that load.
#include <cuda_runtime.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <vector>

#include "harness/ceilings_cuda.h"
#include "harness/cuda_check.h"

namespace lrnnx::bench {
namespace {

constexpr int kThreads = 1024;
constexpr int kChains = 8;  // independent operations a thread, to cover their latency
constexpr int kRepetitions = 9;

struct DeviceDeleter {
  void operator()(void* memory) const { cudaFree(memory); }
};
struct EventDeleter {
  void operator()(cudaEvent_t event) const { cudaEventDestroy(event); }
};
using DeviceMemory = std::unique_ptr<void, DeviceDeleter>;
using Event = std::unique_ptr<CUevent_st, EventDeleter>;

DeviceMemory allocate(std::size_t bytes) {
  void* memory = nullptr;
  LRNNX_CUDA_CHECK(cudaMalloc(&memory, bytes));
  return DeviceMemory(memory);
}

Event make_event() {
  cudaEvent_t event = nullptr;
  LRNNX_CUDA_CHECK(cudaEventCreate(&event));
  return Event(event);
}

// The median of several runs, after one that does not count.
double median_seconds(cudaStream_t stream, const std::function<void()>& launch) {
  const Event start = make_event();
  const Event stop = make_event();
  launch();
  std::vector<float> samples(kRepetitions);
  for (float& ms : samples) {
    LRNNX_CUDA_CHECK(cudaEventRecord(start.get(), stream));
    launch();
    LRNNX_CUDA_CHECK(cudaGetLastError());
    LRNNX_CUDA_CHECK(cudaEventRecord(stop.get(), stream));
    LRNNX_CUDA_CHECK(cudaStreamSynchronize(stream));
    LRNNX_CUDA_CHECK(cudaEventElapsedTime(&ms, start.get(), stop.get()));
  }
  std::ranges::nth_element(samples, samples.begin() + kRepetitions / 2);
  return 1e-3 * samples[kRepetitions / 2];
}

__global__ void __launch_bounds__(kThreads)
    copy_kernel(const float4* __restrict__ source, float4* __restrict__ destination, long long count) {
  const long long stride = static_cast<long long>(gridDim.x) * kThreads;
  for (long long i = static_cast<long long>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += stride)
    destination[i] = source[i];
}

// x -> 2^-x settles near 0.64, so that no value leaves the normal range; the sign is an operand modifier.
__global__ void __launch_bounds__(kThreads) exp2_kernel(float* sink, int rounds) {
  float x[kChains];
  for (int i = 0; i < kChains; ++i) x[i] = 0.1f * static_cast<float>(i) + 1e-4f * static_cast<float>(threadIdx.x);
#pragma unroll 8
  for (int round = 0; round < rounds; ++round)
    for (int i = 0; i < kChains; ++i) asm volatile("ex2.approx.ftz.f32 %0, %1;" : "=f"(x[i]) : "f"(-x[i]));
  float sum = 0;
  for (int i = 0; i < kChains; ++i) sum += x[i];
  if (sum == -1.0f) *sink = sum;  // never, but the compiler cannot know
}

__global__ void __launch_bounds__(kThreads)
    fma_kernel(float* sink, long long* clocks, float factor, float addend, int rounds) {
  float x[kChains];
  for (int i = 0; i < kChains; ++i) x[i] = 0.1f * static_cast<float>(i) + 1e-4f * static_cast<float>(threadIdx.x);
  long long begin_ns = 0;
  long long end_ns = 0;
  const long long begin = clock64();
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(begin_ns)::"memory");
#pragma unroll 16
  for (int round = 0; round < rounds; ++round)
    for (int i = 0; i < kChains; ++i) x[i] = fmaf(x[i], factor, addend);
  float sum = 0;
  for (int i = 0; i < kChains; ++i) sum += x[i];
  if (sum == -1.0f) *sink = sum;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(end_ns)::"memory");
  const long long end = clock64();
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    clocks[0] = end - begin;
    clocks[1] = end_ns - begin_ns;
  }
}

__global__ void empty_kernel() {}

// Where a thread reads next depends on what it has read, so that no load is left out and each one waits for the one
// before.
__global__ void __launch_bounds__(kThreads) read_kernel(const uint4* __restrict__ data, long long count) {
  const long long stride = static_cast<long long>(gridDim.x) * kThreads;
  for (long long i = static_cast<long long>(blockIdx.x) * kThreads + threadIdx.x; i < count; i += stride) {
    const uint4 read = __ldcg(data + i);
    if ((read.x ^ read.y ^ read.z ^ read.w) == 0xFFFFFFFF) return;  // never: all its words are the same
  }
}

double measure_copy(cudaStream_t stream, int sm_count) {
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
  LRNNX_CUDA_CHECK(cudaMemGetInfo(&free_bytes, &total_bytes));
  const std::size_t bytes = std::min<std::size_t>(std::size_t{1} << 30, free_bytes / 8) / 4096 * 4096;
  const DeviceMemory source = allocate(bytes);
  const DeviceMemory destination = allocate(bytes);
  LRNNX_CUDA_CHECK(cudaMemsetAsync(source.get(), 1, bytes, stream));

  const auto count = static_cast<long long>(bytes / sizeof(float4));
  const auto copy = [&](int blocks) {
    return median_seconds(stream, [&, blocks] {
      copy_kernel<<<blocks, kThreads, 0, stream>>>(static_cast<const float4*>(source.get()),
                                                   static_cast<float4*>(destination.get()), count);
    });
  };
  // The best of the driver's copy, a resident grid, and one block a tile: which one wins depends on the card.
  const double seconds =
      std::min({median_seconds(stream,
                               [&] {
                                 LRNNX_CUDA_CHECK(cudaMemcpyAsync(destination.get(), source.get(), bytes,
                                                                  cudaMemcpyDeviceToDevice, stream));
                               }),
                copy(2 * sm_count), copy(static_cast<int>((count + kThreads - 1) / kThreads))});
  return 2 * static_cast<double>(bytes) / seconds;
}

}  // namespace

CudaRates measure_cuda_rates(void* stream_pointer) {
  const auto stream = static_cast<cudaStream_t>(stream_pointer);
  int device = 0;
  int sm_count = 0;
  int threads_per_sm = 0;
  LRNNX_CUDA_CHECK(cudaGetDevice(&device));
  LRNNX_CUDA_CHECK(cudaDeviceGetAttribute(&sm_count, cudaDevAttrMultiProcessorCount, device));
  LRNNX_CUDA_CHECK(cudaDeviceGetAttribute(&threads_per_sm, cudaDevAttrMaxThreadsPerMultiProcessor, device));
  CudaRates rates{};
  rates.copy_bytes_per_second = measure_copy(stream, sm_count);

  // One wave that fills every SM for several milliseconds.
  const int blocks = sm_count * std::max(1, threads_per_sm / kThreads);
  const double lanes = static_cast<double>(blocks) * kThreads * kChains;
  const DeviceMemory sink = allocate(sizeof(float));
  const DeviceMemory clocks = allocate(2 * sizeof(long long));

  constexpr int kExp2Rounds = 1 << 13;
  rates.exp2_per_second = lanes * kExp2Rounds / median_seconds(stream, [&] {
                            exp2_kernel<<<blocks, kThreads, 0, stream>>>(static_cast<float*>(sink.get()), kExp2Rounds);
                          });
  constexpr int kFmaRounds = 1 << 16;
  rates.fma_per_second =
      lanes * kFmaRounds / median_seconds(stream, [&] {
        fma_kernel<<<blocks, kThreads, 0, stream>>>(static_cast<float*>(sink.get()),
                                                    static_cast<long long*>(clocks.get()), 0.999f, 0.001f, kFmaRounds);
      });
  long long elapsed[2] = {};  // clocks, nanoseconds
  LRNNX_CUDA_CHECK(cudaMemcpyAsync(elapsed, clocks.get(), sizeof elapsed, cudaMemcpyDeviceToHost, stream));
  LRNNX_CUDA_CHECK(cudaStreamSynchronize(stream));
  rates.clock_hz = elapsed[1] > 0 ? 1e9 * static_cast<double>(elapsed[0]) / static_cast<double>(elapsed[1]) : 0;
  return rates;
}

void launch_empty_kernel(void* stream) {
  empty_kernel<<<1, 1, 0, static_cast<cudaStream_t>(stream)>>>();
  LRNNX_CUDA_CHECK(cudaGetLastError());
}

void launch_read_kernel(void* stream, const void* data, int64_t bytes) {
  int device = 0;
  int sm_count = 0;
  LRNNX_CUDA_CHECK(cudaGetDevice(&device));
  LRNNX_CUDA_CHECK(cudaDeviceGetAttribute(&sm_count, cudaDevAttrMultiProcessorCount, device));
  read_kernel<<<2 * sm_count, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      static_cast<const uint4*>(data), bytes / static_cast<int64_t>(sizeof(uint4)));
  LRNNX_CUDA_CHECK(cudaGetLastError());
}

}  // namespace lrnnx::bench
