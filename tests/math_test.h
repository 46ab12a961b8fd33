// The functions of common/math.h by name, for math_test.cpp to evaluate on the host and on the device.
#pragma once

#include <vector>

#include "common/math.h"

namespace lrnnx::test {

enum class Function {
  reciprocal_approx,
  sqrt_approx,
  exp2_approx,
  exp,
  expm1,
  exp2m1,
  log1p_unit,
  sigmoid,
  softplus,
  softplus_value,
  softplus_slope,
  silu,
  silu_value,
  silu_slope,
  sin,
  cos
};

LRNNX_HD float apply(Function function, float x) {
  switch (function) {
    case Function::reciprocal_approx:
      return reciprocal_approx(x);
    case Function::sqrt_approx:
      return sqrt_approx(x);
    case Function::exp2_approx:
      return exp2_approx(x);
    case Function::exp:
      return exp(x);
    case Function::expm1:
      return expm1(x);
    case Function::exp2m1:
      return exp2m1(x, exp2_approx(x));
    case Function::log1p_unit:
      return log1p_unit(x);
    case Function::sigmoid:
      return sigmoid(x);
    case Function::softplus:
      return softplus(x);
    case Function::softplus_value:
      return softplus_and_sigmoid(x).value;
    case Function::softplus_slope:
      return softplus_and_sigmoid(x).slope;
    case Function::silu:
      return silu(x);
    case Function::silu_value:
      return silu_and_slope(x).value;
    case Function::silu_slope:
      return silu_and_slope(x).slope;
    case Function::sin:
      return sincos(x).sin;
    case Function::cos:
      return sincos(x).cos;
  }
  return 0.0f;
}

// On the current CUDA device; throws std::runtime_error if CUDA fails.
std::vector<float> apply_on_device(Function function, const std::vector<float>& x);
bool device_available();

}  // namespace lrnnx::test
