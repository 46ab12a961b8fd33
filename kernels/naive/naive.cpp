// The entry points of the unfused scan: the checks of every selective scan, the memory that it takes, its backends.
#include "naive/naive.h"

#include "common/error.h"
#include "naive/backends.h"
#include "naive/memory.h"
#include "selective_scan/entry.h"

namespace lrnnx::naive {
namespace {

// Nothing can be chosen.
lrnnx_status configuration(const lrnnx_selective_scan_problem& problem, lrnnx_direction, std::string& text) {
  text.clear();
  if (problem.configuration == nullptr || *problem.configuration == '\0') return LRNNX_OK;
  return fail(LRNNX_INVALID_ARGUMENT, "configuration is \"%.100s\"; the naive scan has no configuration",
              problem.configuration);
}

lrnnx_status configuration_keys(const lrnnx_selective_scan_problem&, lrnnx_direction, std::string& text) {
  text.clear();
  return LRNNX_OK;
}

template <class T>
lrnnx_memory count(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction) {
  const Shape shape(problem);
  Parts workspace, kept;
  Kept<T>(shape, kept);
  if (direction == LRNNX_BACKWARD)
    BackwardParts<T>(shape, workspace);
  else
    ForwardParts<T>(shape, workspace);
  const bool saves = direction == LRNNX_BACKWARD || (problem.options & LRNNX_SAVE_FOR_BACKWARD) != 0;
  return {.saved_bytes = saves ? kept.bytes() : 0, .workspace_bytes = workspace.bytes() + (saves ? 0 : kept.bytes())};
}

lrnnx_status memory(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction, lrnnx_memory& memory) {
  std::string text;
  if (const lrnnx_status status = configuration(problem, direction, text); status != LRNNX_OK) return status;
  memory = problem.dtype == LRNNX_C64 ? count<Complex>(problem, direction) : count<float>(problem, direction);
  return LRNNX_OK;
}

constexpr SelectiveScanEntry kEntry = {
    .cpu = {memory, configuration, configuration_keys, cpu_forward, cpu_backward},
#ifdef LRNNX_WITH_CUDA
    .cuda = {memory, configuration, configuration_keys, cuda_forward, cuda_backward},
#else
    .cuda = {},
#endif
};

}  // namespace

lrnnx_status selective_scan_memory(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction,
                                   lrnnx_memory* memory) {
  return kEntry.memory(problem, direction, memory);
}

lrnnx_status selective_scan_configuration(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction,
                                          char* text, int64_t capacity) {
  return kEntry.configuration(problem, direction, text, capacity);
}

lrnnx_status selective_scan_configuration_keys(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction,
                                               char* text, int64_t capacity) {
  return kEntry.configuration_keys(problem, direction, text, capacity);
}

lrnnx_status selective_scan_forward(const lrnnx_selective_scan_problem* problem,
                                    const lrnnx_selective_scan_forward_args* args) {
  return kEntry.forward(problem, args);
}

lrnnx_status selective_scan_backward(const lrnnx_selective_scan_problem* problem,
                                     const lrnnx_selective_scan_backward_args* args) {
  return kEntry.backward(problem, args);
}

}  // namespace lrnnx::naive
