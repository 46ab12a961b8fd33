// What kernels and the code that launches them use of CUDA C++ and its runtime, on the host. Kernels do not include it:
// the compiler is told to, as nvcc does by itself.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "../scheduler.h"

// --- the language ---------------------------------------------------------------------------------------------------

#define __device__
#define __host__
#define __global__
#define __forceinline__ inline
#define __grid_constant__
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
// The fibers of a block have their thread in common. In a block this is static too, and `extern` may stand before it.
#define __shared__ thread_local

struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct dim3 : lrnnx::emulation::Size {
  dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : Size{x, y, z} {}
};

inline const auto &threadIdx = lrnnx::emulation::thread_index, &blockIdx = lrnnx::emulation::block_index,
                  &blockDim = lrnnx::emulation::block_size;

using std::max;
using std::min;
inline unsigned min(int a, unsigned b) { return std::min(static_cast<unsigned>(a), b); }
inline unsigned min(unsigned a, int b) { return std::min(a, static_cast<unsigned>(b)); }

inline float __uint_as_float(unsigned bits) { return std::bit_cast<float>(bits); }
inline float4 __ldcs(const float4* source) { return *source; }
inline void __stcg(float4* target, float4 value) { *target = value; }

inline void __syncthreads() { lrnnx::emulation::wait_for_block(); }
inline void __syncwarp() { lrnnx::emulation::wait_for_warp(); }

inline int emulated_lane() { return static_cast<int>(threadIdx.x % lrnnx::emulation::kWarpThreads); }
inline float emulated_shuffle(unsigned mask, float value, int source) {
  if (mask != ~0u) lrnnx::emulation::fail("a shuffle of a part of a warp");
  return std::bit_cast<float>(lrnnx::emulation::gather(std::bit_cast<std::uint32_t>(value))[source]);
}
inline float __shfl_sync(unsigned mask, float value, int source) { return emulated_shuffle(mask, value, source); }
inline float __shfl_xor_sync(unsigned mask, float value, int bits) {
  return emulated_shuffle(mask, value, emulated_lane() ^ bits);
}
inline float __shfl_up_sync(unsigned mask, float value, int distance) {
  const int lane = emulated_lane();
  return emulated_shuffle(mask, value, lane < distance ? lane : lane - distance);
}
inline float __shfl_down_sync(unsigned mask, float value, int distance) {
  const int lane = emulated_lane();
  return emulated_shuffle(mask, value, lane + distance >= lrnnx::emulation::kWarpThreads ? lane : lane + distance);
}
inline bool __all_sync(unsigned mask, bool condition) {
  if (mask != ~0u) lrnnx::emulation::fail("a vote of a part of a warp");
  return std::ranges::all_of(lrnnx::emulation::gather(condition), [](std::uint32_t vote) { return vote != 0; });
}

// --- the runtime ----------------------------------------------------------------------------------------------------

enum cudaError_t {
  cudaSuccess,
  cudaErrorInvalidConfiguration,
  cudaErrorInsufficientDriver,
  cudaErrorNoDevice,
  cudaErrorLaunchFailure
};
enum cudaDeviceAttr { cudaDevAttrMultiProcessorCount, cudaDevAttrMaxSharedMemoryPerBlockOptin };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize };
using cudaStream_t = void*;
enum cudaLaunchAttributeID { cudaLaunchAttributeProgrammaticStreamSerialization };
struct cudaLaunchAttribute {
  cudaLaunchAttributeID id;
  struct {
    int programmaticStreamSerializationAllowed;
  } val;
};
struct cudaLaunchConfig_t {
  dim3 gridDim, blockDim;
  std::size_t dynamicSmemBytes;
  cudaStream_t stream;
  cudaLaunchAttribute* attrs;
  unsigned numAttrs;
};

const char* cudaGetErrorName(cudaError_t error);
const char* cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetDevice(int* device);
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device);

namespace lrnnx::emulation {
using Function = void (*)();
cudaError_t set_shared_limit(Function kernel, int bytes);
cudaError_t launch(const cudaLaunchConfig_t& config, Function kernel, const std::function<void()>& call);
}  // namespace lrnnx::emulation

template <class Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters), cudaFuncAttribute, int bytes) {
  return lrnnx::emulation::set_shared_limit(reinterpret_cast<lrnnx::emulation::Function>(kernel), bytes);
}
template <class Parameters>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Parameters),
                               const std::type_identity_t<Parameters>& parameters) {
  return lrnnx::emulation::launch(*config, reinterpret_cast<lrnnx::emulation::Function>(kernel),
                                  [&] { kernel(parameters); });
}
