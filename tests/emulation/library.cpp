// The C ABI of lrnnx.h over the CUDA kernels as the scheduler runs them: what is asked of backend cpu is answered by
// the whole CUDA backend, from the checks of its arguments to its kernels.
#include "lrnnx/lrnnx.h"

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>

#include "common/error.h"
#include "left_out.h"
#include "scheduler.h"
#include "selective_scan/cuda.h"
#include "selective_scan/entry.h"

// The table of the kernels' own library, which has other names here.
extern "C" int64_t lrnnx_cuda_variant_count(void);
extern "C" lrnnx_status lrnnx_cuda_variant_at(int64_t index, lrnnx_variant* variant);

namespace {

using namespace lrnnx;

constexpr SelectiveScanEntry kEntry = {
    .cpu = {},
    .cuda = {selective_scan_cuda_memory, selective_scan_cuda_configuration, selective_scan_cuda_configuration_keys,
             selective_scan_cuda_forward, selective_scan_cuda_backward}};

// Calls ask(problem on cuda).
template <class Ask>
lrnnx_status ask_cuda(const lrnnx_selective_scan_problem* problem, Ask ask) {
  if (problem == nullptr) return ask(problem);
  if (problem->backend != LRNNX_CPU) return fail(LRNNX_UNSUPPORTED, "the emulation answers as backend cpu only");
  lrnnx_selective_scan_problem own = *problem;
  own.backend = LRNNX_CUDA;
  return ask(&own);
}

// A problem's first launch takes the schedule that LRNNX_EMULATION_SCHEDULE says, or 0, and each that runs it again the
// next one.
template <class Args>
void choose_schedule(const lrnnx_selective_scan_problem& problem, const Args& args) {
  static std::mutex mutex;
  static std::string last;
  static std::uint64_t number;
  const std::lock_guard lock(mutex);
  std::string key = problem.configuration == nullptr ? "" : problem.configuration;
  for (const int64_t value :
       {int64_t{problem.discretization}, int64_t{problem.dtype}, int64_t{problem.options}, problem.batch, problem.dim,
        problem.seqlen, problem.dstate, problem.groups, args.u.stride_batch, int64_t{sizeof args}})
    key += ' ' + std::to_string(value);
  if (key != last) {
    const char* const first = std::getenv("LRNNX_EMULATION_SCHEDULE");
    number = first == nullptr ? 0 : std::strtoull(first, nullptr, 10);
    last = key;
  }
  emulation::choose_schedule(number++);
}

}  // namespace

extern "C" int64_t lrnnx_variant_count(void) {
  int64_t count = 0;
  lrnnx_variant variant;
  while (lrnnx_variant_at(count, &variant) == LRNNX_OK) ++count;
  return count;
}

extern "C" lrnnx_status lrnnx_variant_at(int64_t index, lrnnx_variant* variant) {
  int64_t emulated = 0;
  for (int64_t i = 0; i < lrnnx_cuda_variant_count(); ++i) {
    if (const lrnnx_status status = lrnnx_cuda_variant_at(i, variant); status != LRNNX_OK) return status;
    if (std::strcmp(variant->backend, "cuda") != 0) continue;
    if (emulation::is_left_out(variant->discretization, variant->dtype) || emulated++ != index) continue;
    variant->backend = "cpu";
    return LRNNX_OK;
  }
  return fail(LRNNX_INVALID_ARGUMENT, "index is %lld, but there are %lld variants", static_cast<long long>(index),
              static_cast<long long>(emulated));
}

extern "C" lrnnx_status lrnnx_selective_scan_memory(const lrnnx_selective_scan_problem* problem,
                                                    lrnnx_direction direction, lrnnx_memory* memory) {
  return ask_cuda(problem, [&](const auto* own) { return kEntry.memory(own, direction, memory); });
}

extern "C" lrnnx_status lrnnx_selective_scan_configuration(const lrnnx_selective_scan_problem* problem,
                                                           lrnnx_direction direction, char* text, int64_t capacity) {
  return ask_cuda(problem, [&](const auto* own) { return kEntry.configuration(own, direction, text, capacity); });
}

extern "C" lrnnx_status lrnnx_selective_scan_configuration_keys(const lrnnx_selective_scan_problem* problem,
                                                                lrnnx_direction direction, char* text,
                                                                int64_t capacity) {
  return ask_cuda(problem, [&](const auto* own) { return kEntry.configuration_keys(own, direction, text, capacity); });
}

extern "C" lrnnx_status lrnnx_selective_scan_forward(const lrnnx_selective_scan_problem* problem,
                                                     const lrnnx_selective_scan_forward_args* args) {
  return ask_cuda(problem, [&](const auto* own) {
    if (own != nullptr && args != nullptr) choose_schedule(*own, *args);
    return kEntry.forward(own, args);
  });
}

extern "C" lrnnx_status lrnnx_selective_scan_backward(const lrnnx_selective_scan_problem* problem,
                                                      const lrnnx_selective_scan_backward_args* args) {
  return ask_cuda(problem, [&](const auto* own) {
    if (own != nullptr && args != nullptr) choose_schedule(*own, *args);
    return kEntry.backward(own, args);
  });
}
