// The sizes of a problem, and what the steps of an unfused scan keep in memory.
#pragma once

#include <cstdint>

#include "naive/parallel.h"
#include "naive/tensors.h"

namespace lrnnx::naive {

using Index = std::int64_t;

// Sizes, and where an element of a contiguous tensor lies.
struct Shape {
  Index batch, dim, seqlen, dstate, groups;

  explicit Shape(const lrnnx_selective_scan_problem& p)
      : batch(p.batch), dim(p.dim), seqlen(p.seqlen), dstate(p.dstate), groups(p.groups) {}
  LRNNX_HD Index at(Index b, Index d, Index l, Index n) const { return ((b * dim + d) * seqlen + l) * dstate + n; }
  LRNNX_HD Index at(Index b, Index d, Index l) const { return (b * dim + d) * seqlen + l; }
  LRNNX_HD Index state_at(Index b, Index d, Index n) const { return (b * dim + d) * dstate + n; }
  LRNNX_HD Index weight_at(Index d, Index n) const { return d * dstate + n; }
  LRNNX_HD Index group_of(Index d) const { return groups == 1 ? 0 : d / (dim / groups); }

  Index states() const { return batch * dim * dstate; }
  Index weights() const { return dim * dstate; }
  Index steps() const { return batch * dim * seqlen; }
  Index updates() const { return steps() * dstate; }

  // Of the elements of the steps' results.
  Extents each_update() const { return {{batch, dim, seqlen, dstate}}; }
  Extents each_step() const { return {{batch, dim, seqlen, 1}}; }
  Extents each_state() const { return {{batch, 1, dim, dstate}}; }
  Extents each_channel_of_batch() const { return {{1, batch, dim, 1}}; }
  Extents each_weight() const { return {{1, 1, dim, dstate}}; }
  Extents each_channel() const { return {{1, 1, dim, 1}}; }
  Extents each_coefficient() const { return {{batch, groups, seqlen, dstate}}; }
};

// What autograd would keep of the forward: (B, D, L, N) each.
template <class T>
struct Kept {
  T *transition, *state;
  Kept(const Shape& shape, Parts& parts)
      : transition(parts.take<T>(shape.updates())), state(parts.take<T>(shape.updates())) {}
};

template <class T>
struct ForwardParts {
  T* omega;       // (D, N)
  float *dt, *y;  // (B, D, L)
  ForwardParts(const Shape& shape, Parts& parts)
      : omega(parts.take<T>(shape.weights())),
        dt(parts.take<float>(shape.steps())),
        y(parts.take<float>(shape.steps())) {}
};

template <class T>
struct BackwardParts {
  T *omega, *dA, *dA_input;                 // (D, N); of the sums over time: (B, D, N)
  float *dt, *dt_slope, *dy, *dx, *ddelta;  // (B, D, L)
  T *adjoint, *dtransition, *dfactor;       // (B, D, L, N)
  T *dB, *dC;                               // (B, D, N), of fixed B and C
  float *dD, *dbias;                        // (B, D)
  BackwardParts(const Shape& shape, Parts& parts)
      : omega(parts.take<T>(shape.weights())),
        dA(parts.take<T>(shape.states())),
        dA_input(parts.take<T>(shape.states())),
        dt(parts.take<float>(shape.steps())),
        dt_slope(parts.take<float>(shape.steps())),
        dy(parts.take<float>(shape.steps())),
        dx(parts.take<float>(shape.steps())),
        ddelta(parts.take<float>(shape.steps())),
        adjoint(parts.take<T>(shape.updates())),
        dtransition(parts.take<T>(shape.updates())),
        dfactor(parts.take<T>(shape.updates())),
        dB(parts.take<T>(shape.states())),
        dC(parts.take<T>(shape.states())),
        dD(parts.take<float>(shape.batch * shape.dim)),
        dbias(parts.take<float>(shape.batch * shape.dim)) {}
};

}  // namespace lrnnx::naive
