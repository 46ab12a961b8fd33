// The names of the C ABI's enumerators, what each discretization takes, and the table of what this build computes.
#pragma once

#include <cstdint>
#include <string>

#include "lrnnx/lrnnx.h"

namespace lrnnx {

// Null for a value that is no enumerator.
const char* discretization_name(int64_t discretization);
const char* dtype_name(int64_t dtype);
const char* direction_name(int64_t direction);
const char* backend_name(int64_t backend);

std::string discretization_list();  // "0 (mamba), 1 (zoh), ..."
std::string dtype_list();           // "0 (f32), 1 (c64), ..."

// What a discretization takes beside u, delta and C.
struct Traits {
  bool real_weights, complex_weights, A, B;
  uint32_t options;
};
Traits traits(int64_t discretization);

bool is_computed(int64_t discretization, int64_t dtype, int64_t backend);
std::string computed_list(int64_t backend);  // "mamba.f32, mamba.c64, ..."

}  // namespace lrnnx
