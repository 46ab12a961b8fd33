// The CPU kernels for AVX-512 (F, DQ, BW, VL); the build compiles this file, and no other, for those instructions.
#if defined(__AVX512F__) && defined(__AVX512DQ__) && defined(__AVX512BW__) && defined(__AVX512VL__)
#define LRNNX_CPU_LANES 16
#include "selective_scan/cpu_kernels.h"

namespace lrnnx {

const CpuImplementation* cpu_implementation_avx512() {
  static constexpr CpuImplementation kImplementation = {.instructions = "avx512",
                                                        .lanes = kLanes,
                                                        .runs_here =
                                                            [] {
                                                              return __builtin_cpu_supports("avx512f") &&
                                                                     __builtin_cpu_supports("avx512dq") &&
                                                                     __builtin_cpu_supports("avx512bw") &&
                                                                     __builtin_cpu_supports("avx512vl");
                                                            },
                                                        .kernels = kernels_of};
  return &kImplementation;
}

}  // namespace lrnnx
#else
#include "selective_scan/cpu_plan.h"

const lrnnx::CpuImplementation* lrnnx::cpu_implementation_avx512() { return nullptr; }
#endif
