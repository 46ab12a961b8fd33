// Instructions that CUDA C++ has no plain spelling for: Hopper's and Ampere's asynchronous copies and barriers, stores
// of a kind, a step of a scan over lanes, and how one kernel follows another. tests/emulation/ has the same for the
// host, so that no kernel has any asm of instructions itself.
#pragma once

#include <cstdint>

namespace lrnnx::cuda {

__device__ __forceinline__ std::uint32_t shared_address(const void* pointer) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(pointer));
}

// Copies the first `bytes` of 16 to shared memory and writes zeros after them. The L2 hint fetches the neighbouring
// sectors, which the next tiles need.
__device__ __forceinline__ void copy_async_16(std::uint32_t destination, const void* source, std::uint32_t bytes) {
  asm volatile("cp.async.cg.shared.global.L2::256B [%0], [%1], 16, %2;" ::"r"(destination), "l"(source), "r"(bytes)
               : "memory");
}

// The same for what other warps of the multiprocessor read too.
__device__ __forceinline__ void copy_async_16_cached(std::uint32_t destination, const void* source,
                                                     std::uint32_t bytes) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(destination), "l"(source), "r"(bytes) : "memory");
}

// Copies 16 or 8 bytes of a row, or writes zeros where `valid` is false. The L2 hint fetches what the next tiles need.
__device__ __forceinline__ void copy_async_row_16(std::uint32_t destination, const void* source, bool valid) {
  asm volatile(
      "{\n.reg .pred ignored;\n"
      "setp.eq.u32 ignored, %2, 0;\n"
      "cp.async.cg.shared.global.L2::256B [%0], [%1], 16, ignored;\n}" ::"r"(destination),
      "l"(source), "r"(static_cast<std::uint32_t>(valid))
      : "memory");
}
__device__ __forceinline__ void copy_async_row_8(std::uint32_t destination, const void* source, bool valid) {
  asm volatile("cp.async.ca.shared.global.L2::128B [%0], [%1], 8, %2;" ::"r"(destination), "l"(source),
               "r"(valid ? 8 : 0)
               : "memory");
}

// Copies 4 or 8 bytes, or writes zeros where `valid` is false (the source is then not read).
template <int kBytes>
__device__ __forceinline__ void copy_async(std::uint32_t destination, const void* source, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(destination), "l"(source), "n"(kBytes),
               "r"(valid ? kBytes : 0)
               : "memory");
}

__device__ __forceinline__ void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most kPending of this thread's latest groups are still under way.
template <int kPending>
__device__ __forceinline__ void wait_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

__device__ __forceinline__ void barrier_init(std::uint32_t barrier, std::uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}

__device__ __forceinline__ void barrier_arrive(std::uint32_t barrier) {
  asm volatile("{\n.reg .b64 state;\nmbarrier.arrive.shared::cta.b64 state, [%0];\n}" ::"r"(barrier) : "memory");
}

// Blocks until the barrier's phase of this parity is complete.
__device__ __forceinline__ void barrier_wait(std::uint32_t barrier, std::uint32_t parity) {
  asm volatile(
      "{\n.reg .pred done;\n"
      "WAIT_%=:\n"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
      "@done bra DONE_%=;\n"
      "bra WAIT_%=;\n"
      "DONE_%=:\n}" ::"r"(barrier),
      "r"(parity)
      : "memory");
}

// Waits until the kernel that was launched before this one has ended, with all that it wrote, if this was launched to
// start before that.
__device__ __forceinline__ void wait_for_predecessor() { asm volatile("griddepcontrol.wait;" ::: "memory"); }

// Says that the address is global where the compiler cannot know it: a generic store waits for shared memory too.
__device__ __forceinline__ void store_global(float* destination, float value) {
  asm volatile("st.global.f32 [%0], %1;" ::"l"(destination), "f"(value) : "memory");
}

__device__ __forceinline__ void store_shared(std::uint32_t destination, uint2 value) {
  asm volatile("st.shared.v2.u32 [%0], {%1, %2};" ::"r"(destination), "r"(value.x), "r"(value.y) : "memory");
}

// A store of data that this kernel does not read again: it should leave the cache first.
__device__ __forceinline__ void store_streaming(float* destination, float4 value) {
  asm volatile("st.global.cs.v4.f32 [%0], {%1, %2, %3, %4};" ::"l"(destination), "f"(value.x), "f"(value.y),
               "f"(value.z), "f"(value.w)
               : "memory");
}
__device__ __forceinline__ void store_streaming(std::uint16_t* destination, uint2 value) {
  asm volatile("st.global.cs.v2.u32 [%0], {%1, %2};" ::"l"(destination), "r"(value.x), "r"(value.y) : "memory");
}

// A store of data that is read once more, by the next kernel: L2 should keep it, and has room if what streams through
// goes first.
__device__ __forceinline__ void store_kept(float* destination, float4 value) {
  asm volatile(
      "{\n.reg .b64 policy;\n"
      "createpolicy.fractional.L2::evict_last.b64 policy, 1.0;\n"
      "st.global.L2::cache_hint.v4.f32 [%0], {%1, %2, %3, %4}, policy;\n}" ::"l"(destination),
      "f"(value.x), "f"(value.y), "f"(value.z), "f"(value.w)
      : "memory");
}

// x -> a x + b after the map of the lane `distance` before this one, where there is one. By hand, for the shuffle's own
// predicate: nvcc compares lane numbers and moves the results once more.
__device__ __forceinline__ void compose_up(float& a, float& b, int distance) {
  asm volatile(
      "{\n.reg .pred in;\n.reg .f32 a, b;\n"
      "shfl.sync.up.b32 a|in, %0, %2, 0, 0xffffffff;\n"
      "shfl.sync.up.b32 b, %1, %2, 0, 0xffffffff;\n"
      "@in fma.rn.f32 %1, %0, b, %1;\n"
      "@in mul.f32 %0, %0, a;\n}"
      : "+f"(a), "+f"(b)
      : "r"(distance));
}
// The same after the map of the lane `distance` behind this one.
__device__ __forceinline__ void compose_down(float& a, float& b, int distance) {
  asm volatile(
      "{\n.reg .pred in;\n.reg .f32 a, b;\n"
      "shfl.sync.down.b32 a|in, %0, %2, 31, 0xffffffff;\n"
      "shfl.sync.down.b32 b, %1, %2, 31, 0xffffffff;\n"
      "@in fma.rn.f32 %1, %0, b, %1;\n"
      "@in mul.f32 %0, %0, a;\n}"
      : "+f"(a), "+f"(b)
      : "r"(distance));
}

}  // namespace lrnnx::cuda
