// What the C entry points of the selective scan check before anything is computed, for every backend alike.
#pragma once

#include <cstdint>

#include "lrnnx/lrnnx.h"

namespace lrnnx {

// Everything that the problem alone says: enumerators, options, sizes and whether their products fit 64 bits; then
// whether this build computes it (LRNNX_UNSUPPORTED, LRNNX_NO_DEVICE).
lrnnx_status validate_problem(const lrnnx_selective_scan_problem* problem, int32_t direction);

// The tensors and buffers of a call whose problem is valid. Leaves in `resolved` a copy of `args` in which every given
// (batch, dim, seqlen) tensor has its strides written out: contiguous ones instead of zeros, and a batch stride of 0
// only where an input is broadcast. `needed` is what the backend asks for in this direction.
lrnnx_status validate_args(const lrnnx_selective_scan_problem& problem, const lrnnx_memory& needed,
                           const lrnnx_selective_scan_forward_args* args, lrnnx_selective_scan_forward_args& resolved);
lrnnx_status validate_args(const lrnnx_selective_scan_problem& problem, const lrnnx_memory& needed,
                           const lrnnx_selective_scan_backward_args* args,
                           lrnnx_selective_scan_backward_args& resolved);

}  // namespace lrnnx
