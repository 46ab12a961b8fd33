// Keeps the compiler from computing a value anew wherever it is used.
#pragma once

#include <cstdint>

namespace lrnnx::cuda {

__device__ __forceinline__ void hold(std::int64_t& value) { asm volatile("" : "+l"(value)); }
__device__ __forceinline__ void hold(std::uint32_t& value) { asm volatile("" : "+r"(value)); }

}  // namespace lrnnx::cuda
