// Weights and states, float or Complex, as the CUDA kernels handle them: one text serves both.
#pragma once

#include <cstdint>

#include "common/complex.h"

namespace lrnnx::cuda {

// Floats of one weight.
template <class T>
constexpr int kParts = sizeof(T) / sizeof(float);
template <class T>
constexpr bool kIsComplex = kParts<T> == 2;

__device__ __forceinline__ bool is_zero(float value) { return value == 0.0f; }
__device__ __forceinline__ bool is_zero(Complex value) { return value.re == 0.0f && value.im == 0.0f; }

// A complex tensor is float aligned only.
template <class T>
__device__ __forceinline__ T load_weight(const float* tensor, std::int64_t index) {
  if constexpr (kIsComplex<T>) {
    return {tensor[2 * index], tensor[2 * index + 1]};
  } else {
    return tensor[index];
  }
}
__device__ __forceinline__ void store_weight(float* tensor, std::int64_t index, float value) { tensor[index] = value; }
__device__ __forceinline__ void store_weight(float* tensor, std::int64_t index, Complex value) {
  tensor[2 * index] = value.re;
  tensor[2 * index + 1] = value.im;
}

__device__ __forceinline__ float& part(float& weight, int) { return weight; }
__device__ __forceinline__ float& part(Complex& weight, int i) { return i == 0 ? weight.re : weight.im; }

// Four consecutive steps of B or C.
template <class T>
struct WeightQuad {
  T at[4];
};

template <class T>
__device__ __forceinline__ WeightQuad<T> repeated(T weight) {
  return {{weight, weight, weight, weight}};
}

}  // namespace lrnnx::cuda
