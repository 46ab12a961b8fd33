// CUDA runtime errors as statuses of the C ABI.
#pragma once

#include <cuda_runtime_api.h>

#include "common/error.h"

namespace lrnnx::cuda {

inline lrnnx_status fail_cuda(cudaError_t error, const char* call) {
  const bool no_device = error == cudaErrorNoDevice || error == cudaErrorInsufficientDriver;
  return fail(no_device ? LRNNX_NO_DEVICE : LRNNX_CUDA_ERROR, "%s: %s (%s)", call, cudaGetErrorString(error),
              cudaGetErrorName(error));
}

}  // namespace lrnnx::cuda
