// The C entry points of the selective scan: check, then hand over to the backend that the problem names.
#include <cstring>
#include <exception>
#include <new>
#include <string>

#include "common/error.h"
#include "lrnnx/lrnnx.h"
#include "selective_scan/cpu.h"
#include "selective_scan/validate.h"
#ifdef LRNNX_WITH_CUDA
#include "selective_scan/cuda.h"
#endif

namespace lrnnx {
namespace {

// What a backend does with valid arguments.
struct Backend {
  lrnnx_status (*memory)(const lrnnx_selective_scan_problem&, lrnnx_direction, lrnnx_memory&);
  lrnnx_status (*configuration)(const lrnnx_selective_scan_problem&, lrnnx_direction, std::string&);
  lrnnx_status (*forward)(const lrnnx_selective_scan_problem&, const lrnnx_selective_scan_forward_args&);
  lrnnx_status (*backward)(const lrnnx_selective_scan_problem&, const lrnnx_selective_scan_backward_args&);
};

constexpr Backend kCpu = {selective_scan_cpu_memory, selective_scan_cpu_configuration, selective_scan_cpu_forward,
                          selective_scan_cpu_backward};
#ifdef LRNNX_WITH_CUDA
constexpr Backend kCuda = {selective_scan_cuda_memory, selective_scan_cuda_configuration, selective_scan_cuda_forward,
                           selective_scan_cuda_backward};
#endif

// Of a validated problem, so that cuda is asked for only where it is built in.
const Backend& backend([[maybe_unused]] const lrnnx_selective_scan_problem& problem) {
#ifdef LRNNX_WITH_CUDA
  if (problem.backend == LRNNX_CUDA) return kCuda;
#endif
  return kCpu;
}

// A caller in C may pass any number, which C++ must not load as an enumerator.
int32_t number(const lrnnx_direction& direction) {
  int32_t value;
  static_assert(sizeof value == sizeof direction);
  std::memcpy(&value, &direction, sizeof value);
  return value;
}

// No exception may cross the C boundary.
template <class Body>
lrnnx_status guarded(Body body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return fail(LRNNX_OUT_OF_MEMORY, "no host memory left for the call's own bookkeeping");
  }
}

template <class Args>
lrnnx_status launch(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction, const Args* args,
                    lrnnx_status (*Backend::*run)(const lrnnx_selective_scan_problem&, const Args&)) {
  return guarded([&] {
    lrnnx_status status = validate_problem(problem, direction);
    if (status != LRNNX_OK) return status;
    const Backend& chosen = backend(*problem);
    lrnnx_memory needed{};
    status = chosen.memory(*problem, direction, needed);
    if (status != LRNNX_OK) return status;
    Args resolved;
    status = validate_args(*problem, needed, args, resolved);
    if (status != LRNNX_OK) return status;
    return (chosen.*run)(*problem, resolved);
  });
}

}  // namespace
}  // namespace lrnnx

extern "C" lrnnx_status lrnnx_selective_scan_memory(const lrnnx_selective_scan_problem* problem,
                                                    lrnnx_direction direction, lrnnx_memory* memory) {
  return lrnnx::guarded([&] {
    if (lrnnx_status status = lrnnx::validate_problem(problem, lrnnx::number(direction)); status != LRNNX_OK)
      return status;
    if (memory == nullptr) return lrnnx::fail(LRNNX_INVALID_ARGUMENT, "memory is null");
    lrnnx_memory needed{};
    const lrnnx_status status = lrnnx::backend(*problem).memory(*problem, direction, needed);
    if (status == LRNNX_OK) *memory = needed;
    return status;
  });
}

extern "C" lrnnx_status lrnnx_selective_scan_configuration(const lrnnx_selective_scan_problem* problem,
                                                           lrnnx_direction direction, char* text, int64_t capacity) {
  return lrnnx::guarded([&] {
    if (lrnnx_status status = lrnnx::validate_problem(problem, lrnnx::number(direction)); status != LRNNX_OK)
      return status;
    if (text == nullptr) return lrnnx::fail(LRNNX_INVALID_ARGUMENT, "text is null");
    std::string configuration;
    const lrnnx_status status = lrnnx::backend(*problem).configuration(*problem, direction, configuration);
    if (status != LRNNX_OK) return status;
    const auto needed = static_cast<int64_t>(configuration.size() + 1);
    if (capacity < needed)
      return lrnnx::fail(LRNNX_INVALID_ARGUMENT, "capacity is %lld, but the configuration needs %lld characters",
                         static_cast<long long>(capacity), static_cast<long long>(needed));
    std::memcpy(text, configuration.c_str(), needed);
    return status;
  });
}

extern "C" lrnnx_status lrnnx_selective_scan_forward(const lrnnx_selective_scan_problem* problem,
                                                     const lrnnx_selective_scan_forward_args* args) {
  return lrnnx::launch(problem, LRNNX_FORWARD, args, &lrnnx::Backend::forward);
}

extern "C" lrnnx_status lrnnx_selective_scan_backward(const lrnnx_selective_scan_problem* problem,
                                                      const lrnnx_selective_scan_backward_args* args) {
  return lrnnx::launch(problem, LRNNX_BACKWARD, args, &lrnnx::Backend::backward);
}
