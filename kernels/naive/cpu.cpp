// The unfused scan on the processor.
#include "discretization/functors.h"
#include "naive/backends.h"
#include "naive/selective_scan.h"

namespace lrnnx::naive {

lrnnx_status cpu_forward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_forward_args& args) {
  return with_functor(problem, [&](auto functor) {
    CpuSteps steps;
    forward<decltype(functor)>(steps, problem, args);
    return LRNNX_OK;
  });
}

lrnnx_status cpu_backward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_backward_args& args) {
  return with_functor(problem, [&](auto functor) {
    CpuSteps steps;
    backward<decltype(functor)>(steps, problem, args);
    return LRNNX_OK;
  });
}

}  // namespace lrnnx::naive
