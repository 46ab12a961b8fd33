// Stands in for kernels/common/cuda_async.cuh, whose instructions the scheduler carries out.
#pragma once

#include <cuda_runtime_api.h>

namespace lrnnx::cuda {

inline std::uint32_t shared_address(const void* pointer) { return emulation::shared_address(pointer); }

inline void copy_async_16(std::uint32_t destination, const void* source, std::uint32_t bytes) {
  emulation::copy(destination, source, bytes, 16);
}
inline void copy_async_16_cached(std::uint32_t destination, const void* source, std::uint32_t bytes) {
  emulation::copy(destination, source, bytes, 16);
}
inline void copy_async_row_16(std::uint32_t destination, const void* source, bool valid) {
  emulation::copy(destination, source, valid ? 16 : 0, 16);
}
inline void copy_async_row_8(std::uint32_t destination, const void* source, bool valid) {
  emulation::copy(destination, source, valid ? 8 : 0, 8);
}
template <int kBytes>
void copy_async(std::uint32_t destination, const void* source, bool valid) {
  emulation::copy(destination, source, valid ? kBytes : 0, kBytes);
}
inline void commit_copies() { emulation::commit_copies(); }
template <int kPending>
void wait_copies() {
  emulation::wait_copies(kPending);
}

inline void barrier_init(std::uint32_t barrier, std::uint32_t arrivals) { emulation::barrier_init(barrier, arrivals); }
inline void barrier_arrive(std::uint32_t barrier) { emulation::barrier_arrive(barrier); }
inline void barrier_wait(std::uint32_t barrier, std::uint32_t parity) { emulation::barrier_wait(barrier, parity); }

inline void wait_for_predecessor() { emulation::wait_for_predecessor(); }

inline void store_shared(std::uint32_t destination, uint2 value) {
  emulation::store_shared(destination, &value, sizeof value);
}
inline void store_global(float* destination, float value) { *destination = value; }
template <class Number, class Numbers>
void store_streaming(Number* destination, Numbers value) {
  if (reinterpret_cast<std::uintptr_t>(destination) % sizeof value != 0) emulation::fail("a store is not aligned");
  std::memcpy(destination, &value, sizeof value);
}
inline void store_kept(float* destination, float4 value) { store_streaming(destination, value); }

// As the instructions: both shuffles take what their lanes had before.
inline void compose_up(float& a, float& b, int distance) {
  const float first_a = __shfl_up_sync(~0u, a, distance), first_b = __shfl_up_sync(~0u, b, distance);
  if (emulated_lane() < distance) return;
  b = std::fma(a, first_b, b);
  a *= first_a;
}
inline void compose_down(float& a, float& b, int distance) {
  const float first_a = __shfl_down_sync(~0u, a, distance), first_b = __shfl_down_sync(~0u, b, distance);
  if (emulated_lane() + distance >= emulation::kWarpThreads) return;
  b = std::fma(a, first_b, b);
  a *= first_a;
}

}  // namespace lrnnx::cuda
