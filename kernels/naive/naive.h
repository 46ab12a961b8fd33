// The selective scan unfused, with the functions of the C ABI, as a baseline to compare others with: each step of the
// formula runs on its own and leaves its result, up to (B, D, L, N) numbers, in memory. So the memory that it asks for
// is large: in the forward 2, in the backward 3 such tensors beside the 2 that are saved.
#pragma once

#include "lrnnx/lrnnx.h"

namespace lrnnx::naive {

lrnnx_status selective_scan_memory(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction,
                                   lrnnx_memory* memory);
lrnnx_status selective_scan_configuration(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction,
                                          char* text, int64_t capacity);
lrnnx_status selective_scan_configuration_keys(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction,
                                               char* text, int64_t capacity);
lrnnx_status selective_scan_forward(const lrnnx_selective_scan_problem* problem,
                                    const lrnnx_selective_scan_forward_args* args);
lrnnx_status selective_scan_backward(const lrnnx_selective_scan_problem* problem,
                                     const lrnnx_selective_scan_backward_args* args);

}  // namespace lrnnx::naive
