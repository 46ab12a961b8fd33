// The CUDA backend of the selective scan, called with validated arguments whose strides are filled in.
#pragma once

#include <string>

#include "lrnnx/lrnnx.h"

namespace lrnnx {

lrnnx_status selective_scan_cuda_memory(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                                        lrnnx_memory& memory);
lrnnx_status selective_scan_cuda_configuration(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                                               std::string& text);
lrnnx_status selective_scan_cuda_configuration_keys(const lrnnx_selective_scan_problem& problem,
                                                    lrnnx_direction direction, std::string& text);
lrnnx_status selective_scan_cuda_forward(const lrnnx_selective_scan_problem& problem,
                                         const lrnnx_selective_scan_forward_args& args);
lrnnx_status selective_scan_cuda_backward(const lrnnx_selective_scan_problem& problem,
                                          const lrnnx_selective_scan_backward_args& args);

}  // namespace lrnnx
