// The unfused scan on CUDA.
#include "common/cuda_status.h"
#include "naive/backends.h"
#include "naive/selective_scan.h"
#include "discretization/functors.h"

namespace lrnnx::naive {
namespace {

lrnnx_status status_of(const CudaSteps& steps) {
  return steps.error() == cudaSuccess ? LRNNX_OK : cuda::fail_cuda(steps.error(), "launching a step of the naive scan");
}

}  // namespace

lrnnx_status cuda_forward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_forward_args& args) {
  return with_functor(problem, [&](auto functor) {
    CudaSteps steps(args.stream);
    forward<decltype(functor)>(steps, problem, args);
    return status_of(steps);
  });
}

lrnnx_status cuda_backward(const lrnnx_selective_scan_problem& problem,
                           const lrnnx_selective_scan_backward_args& args) {
  return with_functor(problem, [&](auto functor) {
    CudaSteps steps(args.stream);
    backward<decltype(functor)>(steps, problem, args);
    return status_of(steps);
  });
}

}  // namespace lrnnx::naive
