// The plain scan on the processor.
#include "tests/mutants/plain_scan.h"

namespace lrnnx::mutants {

lrnnx_status cpu_forward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_forward_args& args) {
  return with_functor(problem, [&](auto functor) {
    CpuSteps steps;
    Scan<decltype(functor)>(planted, problem, args).forward(steps, args);
    return LRNNX_OK;
  });
}

lrnnx_status cpu_backward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_backward_args& args) {
  return with_functor(problem, [&](auto functor) {
    CpuSteps steps;
    Scan<decltype(functor)>(planted, problem, args).backward(steps, args);
    return LRNNX_OK;
  });
}

}  // namespace lrnnx::mutants
