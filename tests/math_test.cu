// The device side of math_test.cpp.
#include "math_test.h"

#include "map_on_device.cuh"

namespace lrnnx::test {
namespace {

struct Apply {
  Function function;
  __device__ float operator()(float x) const { return apply(function, x); }
};

}  // namespace

bool device_available() { return has_device(); }

std::vector<float> apply_on_device(Function function, const std::vector<float>& x) {
  return map_on_device<float>(Apply{function}, x);
}

}  // namespace lrnnx::test
