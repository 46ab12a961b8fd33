// The C entry points of the selective scan.
#include "lrnnx/lrnnx.h"
#include "selective_scan/cpu.h"
#include "selective_scan/entry.h"
#ifdef LRNNX_WITH_CUDA
#include "selective_scan/cuda.h"
#endif

namespace lrnnx {
namespace {

constexpr SelectiveScanEntry kEntry = {
    .cpu = {selective_scan_cpu_memory, selective_scan_cpu_configuration, selective_scan_cpu_configuration_keys,
            selective_scan_cpu_forward, selective_scan_cpu_backward},
#ifdef LRNNX_WITH_CUDA
    .cuda = {selective_scan_cuda_memory, selective_scan_cuda_configuration, selective_scan_cuda_configuration_keys,
             selective_scan_cuda_forward, selective_scan_cuda_backward},
#else
    .cuda = {},
#endif
};

}  // namespace
}  // namespace lrnnx

extern "C" lrnnx_status lrnnx_selective_scan_memory(const lrnnx_selective_scan_problem* problem,
                                                    lrnnx_direction direction, lrnnx_memory* memory) {
  return lrnnx::kEntry.memory(problem, direction, memory);
}

extern "C" lrnnx_status lrnnx_selective_scan_configuration(const lrnnx_selective_scan_problem* problem,
                                                           lrnnx_direction direction, char* text, int64_t capacity) {
  return lrnnx::kEntry.configuration(problem, direction, text, capacity);
}

extern "C" lrnnx_status lrnnx_selective_scan_configuration_keys(const lrnnx_selective_scan_problem* problem,
                                                                lrnnx_direction direction, char* text,
                                                                int64_t capacity) {
  return lrnnx::kEntry.configuration_keys(problem, direction, text, capacity);
}

extern "C" lrnnx_status lrnnx_selective_scan_forward(const lrnnx_selective_scan_problem* problem,
                                                     const lrnnx_selective_scan_forward_args* args) {
  return lrnnx::kEntry.forward(problem, args);
}

extern "C" lrnnx_status lrnnx_selective_scan_backward(const lrnnx_selective_scan_problem* problem,
                                                      const lrnnx_selective_scan_backward_args* args) {
  return lrnnx::kEntry.backward(problem, args);
}
