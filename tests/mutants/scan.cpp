// The entry points of the plain scan: what is planted, the checks of every selective scan, its backends.
#include "tests/mutants/scan.h"

#include "selective_scan/entry.h"
#include "tests/mutants/plain_scan.h"

namespace lrnnx::mutants {

Planted planted{};

namespace {

const void* launched_on = nullptr;

void count_launch(const void* output) {
  ++planted.launches;
  planted.launches_there = output == launched_on ? planted.launches_there + 1 : 1;
  launched_on = output;
}

lrnnx_status memory(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction, lrnnx_memory& memory) {
  memory = {.saved_bytes = 0,
            .workspace_bytes = problem.dtype == LRNNX_C64 ? Workspace<Complex>(problem, direction, nullptr).bytes
                                                          : Workspace<float>(problem, direction, nullptr).bytes};
  return LRNNX_OK;
}

// Nothing can be chosen.
lrnnx_status no_text(const lrnnx_selective_scan_problem&, lrnnx_direction, std::string& text) {
  text.clear();
  return LRNNX_OK;
}

constexpr SelectiveScanEntry kEntry = {
    .cpu = {memory, no_text, no_text, cpu_forward, cpu_backward},
#ifdef LRNNX_WITH_CUDA
    .cuda = {memory, no_text, no_text, cuda_forward, cuda_backward},
#else
    .cuda = {},
#endif
};

}  // namespace

void plant(Bug bug) {
  planted = {.bug = bug, .launches = 0, .launches_there = 0};
  launched_on = nullptr;
}

lrnnx_status memory(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction, lrnnx_memory* memory) {
  return kEntry.memory(problem, direction, memory);
}

lrnnx_status configuration(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction, char* text,
                           int64_t capacity) {
  return kEntry.configuration(problem, direction, text, capacity);
}

lrnnx_status configuration_keys(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction, char* text,
                                int64_t capacity) {
  return kEntry.configuration_keys(problem, direction, text, capacity);
}

lrnnx_status forward(const lrnnx_selective_scan_problem* problem, const lrnnx_selective_scan_forward_args* args) {
  count_launch(args->out.data);
  return kEntry.forward(problem, args);
}

lrnnx_status backward(const lrnnx_selective_scan_problem* problem, const lrnnx_selective_scan_backward_args* args) {
  count_launch(args->du.data);
  return kEntry.backward(problem, args);
}

}  // namespace lrnnx::mutants
