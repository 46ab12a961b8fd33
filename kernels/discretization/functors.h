// From a problem's discretization and dtype to its functor.
#pragma once

#include "discretization/all.h"
#include "lrnnx/lrnnx.h"

namespace lrnnx {

// The functor of the same discretization with real weights.
template <class F>
struct RealOf;
template <template <class> class Functor, class Weight>
struct RealOf<Functor<Weight>> {
  using type = Functor<float>;
};

namespace functors {
template <template <class> class Functor, bool takes_complex, class Visit>
lrnnx_status visit_functor([[maybe_unused]] bool complex, Visit visit) {
  if constexpr (takes_complex) {
    if (complex) return visit(Functor<Complex>());
  }
  return visit(Functor<float>());
}
}  // namespace functors

// Calls visit(functor) with an object of the functor's type and returns its status. The problem is valid.
template <class Visit>
lrnnx_status with_functor(const lrnnx_selective_scan_problem& problem, Visit visit) {
  switch (problem.discretization) {
#define LRNNX_DISCRETIZATION(enumerator, name, Functor, takes_real, takes_complex) \
  case LRNNX_##enumerator:                                                         \
    return functors::visit_functor<Functor, takes_complex>(problem.dtype == LRNNX_C64, visit);
#include "lrnnx/discretizations.def"
  }
  return LRNNX_INVALID_ARGUMENT;
}

}  // namespace lrnnx
