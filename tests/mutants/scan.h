// A plain sequential selective scan behind the functions of the C ABI, with one fault planted, for the test of what
// tests the kernels. It shares the discretizations and the conversions of 16-bit numbers with the kernels, nothing
// else.
#pragma once

#include "lrnnx/lrnnx.h"

namespace lrnnx::mutants {

enum class Bug {
#define LRNNX_BUG(name, where, text) name,
#include "tests/mutants/bugs.def"
};

// Holds for every call until planted anew.
void plant(Bug bug);

lrnnx_status memory(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction, lrnnx_memory* memory);
lrnnx_status configuration(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction, char* text,
                           int64_t capacity);
lrnnx_status forward(const lrnnx_selective_scan_problem* problem, const lrnnx_selective_scan_forward_args* args);
lrnnx_status backward(const lrnnx_selective_scan_problem* problem, const lrnnx_selective_scan_backward_args* args);

}  // namespace lrnnx::mutants
