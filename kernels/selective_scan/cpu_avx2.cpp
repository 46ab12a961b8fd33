// The CPU kernels for AVX2 with FMA; the build compiles this file, and no other, for those instructions.
#if defined(__AVX2__) && defined(__FMA__)
#define LRNNX_CPU_LANES 8
#include "selective_scan/cpu_kernels.h"

namespace lrnnx {

const CpuImplementation* cpu_implementation_avx2() {
  static constexpr CpuImplementation kImplementation = {
      .instructions = "avx2",
      .lanes = kLanes,
      .runs_here = [] { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); },
      .kernels = kernels_of};
  return &kImplementation;
}

}  // namespace lrnnx
#else
#include "selective_scan/cpu_plan.h"

const lrnnx::CpuImplementation* lrnnx::cpu_implementation_avx2() { return nullptr; }
#endif
