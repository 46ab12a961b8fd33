// Tensors as files of NumPy's format, version 1.0 (numpy.org, "numpy.lib.format").
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace lrnnx::bench {

// `complex` numbers lie interleaved. Throws SystemError naming the file and the reason.
void write_npy(const std::string& path, std::span<const float> values, const std::vector<int64_t>& shape, bool complex);
void write_npy(const std::string& path, std::span<const double> values, const std::vector<int64_t>& shape,
               bool complex);

}  // namespace lrnnx::bench
