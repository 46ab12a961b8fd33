// Launches one of the kernels that a call consists of.
#pragma once

#include <cstdint>

#include "common/cuda_async.cuh"
#include "common/cuda_status.h"
#include "common/error.h"
#include "selective_scan/tuning.h"

namespace lrnnx::cuda {

// The place of a kernel in a call's sequence. A follower is launched while the kernel before it still runs, starts as
// soon as all blocks of that have left, and must begin with wait_for_predecessor(): a microsecond or two sooner than
// otherwise. Started earlier yet, while those blocks run, its own would crowd where there is room.
enum class Sequence { first, follower };

template <class Parameters>
lrnnx_status launch(void (*kernel)(Parameters), const char* name, Sequence sequence, std::int64_t blocks,
                    std::int64_t block_rows, std::int64_t threads, std::int64_t shared_bytes, const Device& device,
                    void* stream, const Parameters& parameters) {
  if (shared_bytes > device.shared_bytes) {
    return fail(LRNNX_UNSUPPORTED, "%s needs %lld bytes of shared memory a block; this device has %lld", name,
                static_cast<long long>(shared_bytes), static_cast<long long>(device.shared_bytes));
  }
  constexpr std::int64_t kDefaultSharedBytes = 48 * 1024;
  if (shared_bytes > kDefaultSharedBytes) {
    const cudaError_t error =
        cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared_bytes));
    if (error != cudaSuccess) return fail_cuda(error, name);
  }
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attribute.val.programmaticStreamSerializationAllowed = 1;
  // Not <<<>>>, after which only cudaGetLastError() tells: that also returns, and clears, the caller's own earlier
  // errors.
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(block_rows));
  config.blockDim = dim3(static_cast<unsigned>(threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(shared_bytes);
  config.stream = static_cast<cudaStream_t>(stream);
  config.attrs = &attribute;
  config.numAttrs = sequence == Sequence::follower ? 1 : 0;
  const cudaError_t error = cudaLaunchKernelEx(&config, kernel, parameters);
  return error == cudaSuccess ? LRNNX_OK : fail_cuda(error, name);
}

}  // namespace lrnnx::cuda
