// The tensors of a selective scan by their indices, whatever their strides and types, and where the intermediate ones
// lie.
#pragma once

#include <cstdint>

#include "common/complex.h"
#include "common/half.h"
#include "lrnnx/lrnnx.h"

namespace lrnnx::naive {

// A number as the dtype stores it: 16 bits wide, or float.
LRNNX_HD float load(const void* data, std::int32_t dtype, std::int64_t i) {
  if (!is_half(dtype)) return static_cast<const float*>(data)[i];
  const std::uint16_t stored = static_cast<const std::uint16_t*>(data)[i];
  return dtype == LRNNX_BF16 ? Bf16::widen(stored) : F16::widen(stored);
}
LRNNX_HD void store(void* data, std::int32_t dtype, std::int64_t i, float value) {
  if (!is_half(dtype))
    static_cast<float*>(data)[i] = value;
  else
    static_cast<std::uint16_t*>(data)[i] = dtype == LRNNX_BF16 ? Bf16::narrow(value) : F16::narrow(value);
}

// (B, D, L) with strides.
struct Sequence {
  void* data;
  std::int64_t stride_batch, stride_dim;
  std::int32_t dtype;

  Sequence(const lrnnx_selective_scan_problem& problem, const lrnnx_tensor& tensor)
      : data(tensor.data), stride_batch(tensor.stride_batch), stride_dim(tensor.stride_dim), dtype(problem.dtype) {}
  LRNNX_HD bool given() const { return data != nullptr; }
  LRNNX_HD std::int64_t at(std::int64_t b, std::int64_t d, std::int64_t l) const {
    return b * stride_batch + d * stride_dim + l;
  }
  LRNNX_HD float read(std::int64_t b, std::int64_t d, std::int64_t l) const { return load(data, dtype, at(b, d, l)); }
  LRNNX_HD void write(std::int64_t b, std::int64_t d, std::int64_t l, float value) const {
    store(data, dtype, at(b, d, l), value);
  }
};

// Numbers of type T, contiguous, in 32-bit floats.
template <class T>
T* values(const lrnnx_tensor& tensor) {
  return static_cast<T*>(tensor.data);
}

// B or C: (D, N), or (B, G, N, L) if variable.
template <class T>
struct Coefficients {
  void* data;
  bool variable;
  std::int64_t dstate, seqlen, groups;
  std::int32_t dtype;

  Coefficients(const lrnnx_selective_scan_problem& problem, const lrnnx_tensor& tensor, std::uint32_t is_variable)
      : data(tensor.data),
        variable((problem.options & is_variable) != 0),
        dstate(problem.dstate),
        seqlen(problem.seqlen),
        groups(problem.groups),
        dtype(problem.dtype) {}

  // Of a channel or, if variable, of its group.
  LRNNX_HD T read(std::int64_t b, std::int64_t d, std::int64_t g, std::int64_t l, std::int64_t n) const {
    if (data == nullptr) return from_real<T>(1.0f);  // a discretization without B
    if (!variable) return static_cast<const T*>(data)[d * dstate + n];
    return read_stored(((b * groups + g) * dstate + n) * seqlen + l);
  }
  LRNNX_HD void write(std::int64_t b, std::int64_t g, std::int64_t l, std::int64_t n, T value) const {
    write_stored(((b * groups + g) * dstate + n) * seqlen + l, value);
  }

 private:
  LRNNX_HD T read_stored(std::int64_t i) const {
    if constexpr (sizeof(T) == sizeof(Complex))
      return static_cast<const T*>(data)[i];
    else
      return load(data, dtype, i);
  }
  LRNNX_HD void write_stored(std::int64_t i, T value) const {
    if constexpr (sizeof(T) == sizeof(Complex))
      static_cast<T*>(data)[i] = value;
    else
      store(data, dtype, i, value);
  }
};

// Hands out parts of a buffer; of none, to count the bytes.
class Parts {
 public:
  explicit Parts(void* buffer = nullptr) : buffer_(static_cast<char*>(buffer)) {}
  template <class T>
  T* take(std::int64_t count) {
    char* part = buffer_ == nullptr ? nullptr : buffer_ + bytes_;
    bytes_ += (count * static_cast<std::int64_t>(sizeof(T)) + 255) / 256 * 256;
    return reinterpret_cast<T*>(part);
  }
  std::int64_t bytes() const { return bytes_; }

 private:
  char* buffer_;
  std::int64_t bytes_ = 0;
};

// A sum of many numbers: of sums of few, so that rounding errors stay small.
template <class T>
class Sum {
 public:
  LRNNX_HD void add(T x) {
    few_ = few_ + x;
    if (++count_ < 32) return;
    all_ = all_ + few_;
    few_ = from_real<T>(0.0f);
    count_ = 0;
  }
  LRNNX_HD T value() const { return all_ + few_; }

 private:
  T all_ = from_real<T>(0.0f), few_ = from_real<T>(0.0f);
  int count_ = 0;
};

}  // namespace lrnnx::naive
