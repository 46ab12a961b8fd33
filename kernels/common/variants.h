// The names of the C ABI's enumerators, and the table of what this build computes.
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

bool is_computed(const lrnnx_variant& variant);
std::string computed_list(const char* family);  // "mamba.f32.forward.cpu, mamba.f32.backward.cpu, ..."

}  // namespace lrnnx
