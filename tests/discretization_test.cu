// The device side of discretization_test.cpp: every registered functor compiled for the device and evaluated there.
#include "discretization_test.h"

#include "map_on_device.cuh"

namespace lrnnx::test {
namespace {

template <class D, class T>
struct Evaluate {
  Part part;
  __device__ Evaluation operator()(Point point) const { return evaluate<D, T>(part, point); }
};

}  // namespace

bool device_available() { return has_device(); }

template <class D, class T>
std::vector<Evaluation> evaluate_on_device(Part part, const std::vector<Point>& points) {
  return map_on_device<Evaluation>(Evaluate<D, T>{part}, points);
}

#define LRNNX_INSTANTIATE_true(functor, type) \
  template std::vector<Evaluation> evaluate_on_device<functor<type>, type>(Part, const std::vector<Point>&);
#define LRNNX_INSTANTIATE_false(functor, type)
#define LRNNX_DISCRETIZATION(enumerator, name, functor, takes_real, takes_complex) \
  LRNNX_INSTANTIATE_##takes_real(functor, float) LRNNX_INSTANTIATE_##takes_complex(functor, Complex)
#include "lrnnx/discretizations.def"

}  // namespace lrnnx::test
