// Checks a CUDA runtime call: a failure becomes a SystemError that names the call and the reason.
#pragma once

#include <cuda_runtime_api.h>

#include <string>

#include "harness/error.h"

namespace lrnnx::bench {

inline void cuda_check(cudaError_t status, const char* call) {
  if (status != cudaSuccess)
    throw SystemError(std::string(call) + " failed: " + cudaGetErrorString(status) + " (" + cudaGetErrorName(status) +
                      ")");
}

}  // namespace lrnnx::bench

#define LRNNX_CUDA_CHECK(call) ::lrnnx::bench::cuda_check(call, #call)
