// The CPU backend of the selective scan, called with validated arguments whose strides are filled in.
#pragma once

#include <string>

#include "lrnnx/lrnnx.h"
#include "selective_scan/cpu_plan.h"

namespace lrnnx {

// The builds of the kernels that this processor can run, fastest first; null-terminated and never empty.
const CpuImplementation* const* cpu_implementations();

// Without an implementation: the first of them.
lrnnx_status selective_scan_cpu_memory(const CpuImplementation& implementation,
                                       const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                                       lrnnx_memory& memory);
lrnnx_status selective_scan_cpu_forward(const CpuImplementation& implementation,
                                        const lrnnx_selective_scan_problem& problem,
                                        const lrnnx_selective_scan_forward_args& args);
lrnnx_status selective_scan_cpu_backward(const CpuImplementation& implementation,
                                         const lrnnx_selective_scan_problem& problem,
                                         const lrnnx_selective_scan_backward_args& args);

lrnnx_status selective_scan_cpu_memory(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                                       lrnnx_memory& memory);
lrnnx_status selective_scan_cpu_configuration(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction,
                                              std::string& text);
lrnnx_status selective_scan_cpu_configuration_keys(const lrnnx_selective_scan_problem& problem,
                                                   lrnnx_direction direction, std::string& text);
lrnnx_status selective_scan_cpu_forward(const lrnnx_selective_scan_problem& problem,
                                        const lrnnx_selective_scan_forward_args& args);
lrnnx_status selective_scan_cpu_backward(const lrnnx_selective_scan_problem& problem,
                                         const lrnnx_selective_scan_backward_args& args);

}  // namespace lrnnx
