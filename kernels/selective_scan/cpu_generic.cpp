// The CPU kernels for what every target of the compiler has (x86-64: SSE2).
#define LRNNX_CPU_LANES 4
#include "selective_scan/cpu_kernels.h"

namespace lrnnx {

const CpuImplementation* cpu_implementation_generic() {
  static constexpr CpuImplementation kImplementation = {
      .instructions = "generic", .lanes = kLanes, .runs_here = [] { return true; }, .kernels = kernels_of};
  return &kImplementation;
}

}  // namespace lrnnx
