// The conversions from and to f16 that kernels use, as common/half.h has them.
#pragma once

#include <cuda_runtime_api.h>

#include "common/half.h"

struct __half2 {
  std::uint16_t low, high;
};

inline float2 __half22float2(__half2 pair) { return {lrnnx::F16::widen(pair.low), lrnnx::F16::widen(pair.high)}; }
inline __half2 __floats2half2_rn(float low, float high) { return {lrnnx::F16::narrow(low), lrnnx::F16::narrow(high)}; }
