// How the steps of an unfused scan run: a body called for every element of an index space, on the processor's threads
// or as one CUDA kernel a step.
#pragma once

#include <cstdint>

#include "lrnnx/lrnnx.h"

// Marks the body of a step, a lambda, for the side that it is compiled for.
#if defined(__CUDACC__)
#define LRNNX_BODY __device__
#else
#define LRNNX_BODY
#endif

namespace lrnnx::naive {

// The last axis is that along which neighbouring threads should go; where it is 1, the one before.
struct Extents {
  std::int64_t axis[4];
};

#if defined(__CUDACC__)

template <class Body>
__global__ void each_kernel(Extents extents, Body body) {
  const auto& e = extents.axis;
  for (std::int64_t i = blockIdx.z; i < e[0]; i += gridDim.z)
    for (std::int64_t j = blockIdx.y; j < e[1]; j += gridDim.y)
      for (std::int64_t k = std::int64_t{blockIdx.x} * blockDim.y + threadIdx.y; k < e[2];
           k += std::int64_t{gridDim.x} * blockDim.y)
        for (std::int64_t l = threadIdx.x; l < e[3]; l += blockDim.x) body(i, j, k, l);
}

// Queues the steps on a stream. After a launch has failed it does nothing more.
class CudaSteps {
 public:
  explicit CudaSteps(void* stream) : stream_(static_cast<cudaStream_t>(stream)) {}

  template <class Body>
  void each(const Extents& extents, Body body) {
    if (error_ != cudaSuccess) return;
    constexpr unsigned kThreads = 256;
    constexpr std::int64_t kMostBlocks = 65535;  // along y and z
    const auto& e = extents.axis;
    unsigned x = 1;
    while (x < kThreads && x < e[3]) x *= 2;
    const dim3 block(x, kThreads / x);
    const auto at_most = [](std::int64_t value, std::int64_t most) {
      return static_cast<unsigned>(value < most ? value : most);
    };
    const dim3 grid(at_most((e[2] + block.y - 1) / block.y, std::int64_t{1} << 30), at_most(e[1], kMostBlocks),
                    at_most(e[0], kMostBlocks));
    each_kernel<<<grid, block, 0, stream_>>>(extents, body);
    error_ = cudaGetLastError();
  }

  cudaError_t error() const { return error_; }

 private:
  cudaStream_t stream_;
  cudaError_t error_ = cudaSuccess;
};

#else

class CpuSteps {
 public:
  template <class Body>
  void each(const Extents& extents, Body body) {
    const auto& e = extents.axis;
    // The first three axes as one: any of them may be 1.
    const std::int64_t rows = e[0] * e[1] * e[2];
#pragma omp parallel for schedule(static) if (rows * e[3] > 4096)
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t l = 0; l < e[3]; ++l) body(row / e[2] / e[1], row / e[2] % e[1], row % e[2], l);
  }
};

#endif

}  // namespace lrnnx::naive
