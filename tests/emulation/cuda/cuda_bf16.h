// The conversion to bf16 that kernels use, as common/half.h has it.
#pragma once

#include <cuda_runtime_api.h>

#include "common/half.h"

struct __nv_bfloat162 {
  std::uint16_t low, high;
};

inline __nv_bfloat162 __floats2bfloat162_rn(float low, float high) {
  return {lrnnx::Bf16::narrow(low), lrnnx::Bf16::narrow(high)};
}
