// The unfused scan on each backend, called with validated arguments whose strides are filled in.
#pragma once

#include "lrnnx/lrnnx.h"

namespace lrnnx::naive {

lrnnx_status cpu_forward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_forward_args& args);
lrnnx_status cpu_backward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_backward_args& args);
lrnnx_status cuda_forward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_forward_args& args);
lrnnx_status cuda_backward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_backward_args& args);

}  // namespace lrnnx::naive
