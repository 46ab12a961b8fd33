// A plain selective scan behind the functions of the C ABI, with one fault planted, for the test of what tests the
// kernels. It shares the discretizations, the conversions of 16-bit numbers and the checks of arguments with the
// kernels, nothing else.
#pragma once

#include <cstdint>

#include "lrnnx/lrnnx.h"

namespace lrnnx::mutants {

enum class Bug {
#define LRNNX_BUG(name, where, text) name,
#include "tests/mutants/bugs.def"
};

// Holds for every call until planted anew.
void plant(Bug bug);

// What is planted, and the launches since, the present one among them.
struct Planted {
  Bug bug;
  int64_t launches, launches_there;  // all, and those in a row on the same buffers
};
extern Planted planted;

// The functions of the C ABI.
lrnnx_status memory(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction, lrnnx_memory* memory);
lrnnx_status configuration(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction, char* text,
                           int64_t capacity);
lrnnx_status configuration_keys(const lrnnx_selective_scan_problem* problem, lrnnx_direction direction, char* text,
                                int64_t capacity);
lrnnx_status forward(const lrnnx_selective_scan_problem* problem, const lrnnx_selective_scan_forward_args* args);
lrnnx_status backward(const lrnnx_selective_scan_problem* problem, const lrnnx_selective_scan_backward_args* args);

// On each backend, with checked arguments whose strides are filled in.
lrnnx_status cpu_forward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_forward_args& args);
lrnnx_status cpu_backward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_backward_args& args);
lrnnx_status cuda_forward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_forward_args& args);
lrnnx_status cuda_backward(const lrnnx_selective_scan_problem& problem, const lrnnx_selective_scan_backward_args& args);

}  // namespace lrnnx::mutants
