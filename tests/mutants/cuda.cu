// The plain scan on CUDA.
#include "common/cuda_status.h"
#include "tests/mutants/plain_scan.h"

namespace lrnnx::mutants {
namespace {

lrnnx_status status_of(const CudaSteps& steps) {
  return steps.error() == cudaSuccess ? LRNNX_OK : cuda::fail_cuda(steps.error(), "launching a step of the plain scan");
}

}  // namespace

lrnnx_status cuda_forward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_forward_args& args) {
  return with_functor(problem, [&](auto functor) {
    CudaSteps steps(planted.bug, args.stream);
    Scan<decltype(functor)>(planted, problem, args).forward(steps, args);
    return status_of(steps);
  });
}

lrnnx_status cuda_backward(const lrnnx_selective_scan_problem& problem,
                           const lrnnx_selective_scan_backward_args& args) {
  return with_functor(problem, [&](auto functor) {
    CudaSteps steps(planted.bug, args.stream);
    Scan<decltype(functor)>(planted, problem, args).backward(steps, args);
    return status_of(steps);
  });
}

}  // namespace lrnnx::mutants
