// Rates of a CUDA device, found by kernels that each keep one unit busy.
#pragma once

#include <cstdint>

namespace lrnnx::bench {

struct CudaRates {
  double copy_bytes_per_second;
  double exp2_per_second;
  double fma_per_second;
  double clock_hz;
};

// Uses a quarter of the free memory, at most 2 GiB. Throws SystemError.
CudaRates measure_cuda_rates(void* stream);

void launch_empty_kernel(void* stream);

// Reads `bytes` of device memory, a multiple of 16.
void launch_read_kernel(void* stream, const void* data, int64_t bytes);

}  // namespace lrnnx::bench
