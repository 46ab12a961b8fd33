// Tensors as files of NumPy's format, version 1.0 (numpy.org, "numpy.lib.format").
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "harness/storage.h"

namespace lrnnx::bench {

// `complex` numbers lie interleaved. NumPy has no bfloat16: such numbers are written as the 32-bit floats that they
// are. Throws SystemError naming the file and the reason.
void write_npy(const std::string& path, std::span<const float> values, const std::vector<int64_t>& shape, bool complex,
               Storage storage = Storage::f32);
void write_npy(const std::string& path, std::span<const double> values, const std::vector<int64_t>& shape,
               bool complex);

}  // namespace lrnnx::bench
