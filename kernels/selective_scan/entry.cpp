// The checks around the backends of a selective scan.
#include "selective_scan/entry.h"

#include <cstring>
#include <exception>
#include <new>

#include "common/error.h"
#include "selective_scan/validate.h"

namespace lrnnx {
namespace {

// Of a validated problem, so that cuda is asked for only where it is built in.
const SelectiveScanBackend& backend(const SelectiveScanEntry& entry, const lrnnx_selective_scan_problem& problem) {
  return problem.backend == LRNNX_CUDA ? entry.cuda : entry.cpu;
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
lrnnx_status launch(const SelectiveScanEntry& entry, const lrnnx_selective_scan_problem* problem,
                    lrnnx_direction direction, const Args* args,
                    lrnnx_status (*SelectiveScanBackend::*run)(const lrnnx_selective_scan_problem&, const Args&)) {
  return guarded([&] {
    lrnnx_status status = validate_problem(problem, direction);
    if (status != LRNNX_OK) return status;
    const SelectiveScanBackend& chosen = backend(entry, *problem);
    lrnnx_memory needed{};
    status = chosen.memory(*problem, direction, needed);
    if (status != LRNNX_OK) return status;
    Args resolved;
    status = validate_args(*problem, needed, args, resolved);
    if (status != LRNNX_OK) return status;
    return (chosen.*run)(*problem, resolved);
  });
}

lrnnx_status write_text(const SelectiveScanEntry& entry, const lrnnx_selective_scan_problem* problem, int32_t direction,
                        char* text, int64_t capacity,
                        lrnnx_status (*SelectiveScanBackend::*query)(const lrnnx_selective_scan_problem&,
                                                                     lrnnx_direction, std::string&)) {
  return guarded([&] {
    if (lrnnx_status status = validate_problem(problem, direction); status != LRNNX_OK) return status;
    if (text == nullptr) return fail(LRNNX_INVALID_ARGUMENT, "text is null");
    std::string answer;
    const auto valid = static_cast<lrnnx_direction>(direction);
    const lrnnx_status status = (backend(entry, *problem).*query)(*problem, valid, answer);
    if (status != LRNNX_OK) return status;
    const auto needed = static_cast<int64_t>(answer.size() + 1);
    if (capacity < needed)
      return fail(LRNNX_INVALID_ARGUMENT, "capacity is %lld, but the configuration needs %lld characters",
                  static_cast<long long>(capacity), static_cast<long long>(needed));
    std::memcpy(text, answer.c_str(), needed);
    return status;
  });
}

}  // namespace

lrnnx_status SelectiveScanEntry::memory(const lrnnx_selective_scan_problem* problem, const lrnnx_direction& direction,
                                        lrnnx_memory* memory) const {
  return guarded([&] {
    if (lrnnx_status status = validate_problem(problem, number(direction)); status != LRNNX_OK) return status;
    if (memory == nullptr) return fail(LRNNX_INVALID_ARGUMENT, "memory is null");
    lrnnx_memory needed{};
    const lrnnx_status status = backend(*this, *problem).memory(*problem, direction, needed);
    if (status == LRNNX_OK) *memory = needed;
    return status;
  });
}

lrnnx_status SelectiveScanEntry::configuration(const lrnnx_selective_scan_problem* problem,
                                               const lrnnx_direction& direction, char* text, int64_t capacity) const {
  return write_text(*this, problem, number(direction), text, capacity, &SelectiveScanBackend::configuration);
}

lrnnx_status SelectiveScanEntry::configuration_keys(const lrnnx_selective_scan_problem* problem,
                                                    const lrnnx_direction& direction, char* text,
                                                    int64_t capacity) const {
  return write_text(*this, problem, number(direction), text, capacity, &SelectiveScanBackend::configuration_keys);
}

lrnnx_status SelectiveScanEntry::forward(const lrnnx_selective_scan_problem* problem,
                                         const lrnnx_selective_scan_forward_args* args) const {
  return launch(*this, problem, LRNNX_FORWARD, args, &SelectiveScanBackend::forward);
}

lrnnx_status SelectiveScanEntry::backward(const lrnnx_selective_scan_problem* problem,
                                          const lrnnx_selective_scan_backward_args* args) const {
  return launch(*this, problem, LRNNX_BACKWARD, args, &SelectiveScanBackend::backward);
}

}  // namespace lrnnx
