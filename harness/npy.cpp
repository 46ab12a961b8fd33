// The header and the bytes of a .npy file.
#include "harness/npy.h"

#include <fmt/format.h>

#include <bit>
#include <string_view>

#include "harness/files.h"

namespace lrnnx::bench {
namespace {

static_assert(std::endian::native == std::endian::little, "the headers say little-endian");

// "\x93NUMPY", the version, the length of the rest in two bytes, and a Python literal, padded so that the data are
// aligned to 64 bytes.
std::string header(const char* type, const std::vector<int64_t>& shape) {
  std::string extents;
  for (const int64_t extent : shape) extents += fmt::format("{},", extent);
  std::string literal = fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type, extents);
  constexpr size_t kPrefix = 10, kAlignment = 64;
  literal.append(kAlignment - 1 - (kPrefix + literal.size()) % kAlignment, ' ');
  literal += '\n';
  std::string text("\x93NUMPY\x01\x00", 8);
  text += static_cast<char>(literal.size() & 0xFF);
  text += static_cast<char>(literal.size() >> 8);
  return text + literal;
}

template <class Real>
void write(const std::string& path, const char* type, std::span<const Real> values, const std::vector<int64_t>& shape) {
  std::string text = header(type, shape);
  text.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
  write_file(path, text);
}

}  // namespace

void write_npy(const std::string& path, std::span<const float> values, const std::vector<int64_t>& shape, bool complex,
               Storage storage) {
  if (storage == Storage::f16) return write<unsigned char>(path, "<f2", pack(storage, values), shape);
  write(path, complex ? "<c8" : "<f4", values, shape);
}

void write_npy(const std::string& path, std::span<const double> values, const std::vector<int64_t>& shape,
               bool complex) {
  write(path, complex ? "<c16" : "<f8", values, shape);
}

}  // namespace lrnnx::bench
