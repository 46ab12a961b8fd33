// From a problem's discretization and dtype to its functor.
#pragma once

#include "discretization/all.h"
#include "lrnnx/lrnnx.h"

namespace lrnnx::cuda {

// The functor of the same discretization with real weights.
template <class F>
struct RealOf;
template <template <class> class Functor, class Weight>
struct RealOf<Functor<Weight>> {
  using type = Functor<float>;
};

// Calls visit(functor) with an object of the functor's type and returns its status. The problem is valid.
template <class Visit>
lrnnx_status with_functor(const lrnnx_selective_scan_problem& problem, Visit visit) {
  const bool complex = problem.dtype == LRNNX_C64;
  switch (problem.discretization) {
#define LRNNX_DISCRETIZATION(enumerator, name, Functor, takes_real, takes_complex) \
  case LRNNX_##enumerator:                                                         \
    if constexpr (takes_complex) {                                                 \
      if (complex) return visit(Functor<Complex>());                               \
    }                                                                              \
    return visit(Functor<float>());
#include "lrnnx/discretizations.def"
  }
  return LRNNX_INVALID_ARGUMENT;
}

}  // namespace lrnnx::cuda
