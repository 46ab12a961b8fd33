// The selective scan and its gradients in double precision: what every kernel is compared with.
//
//   dt_t  = delta_t + delta_bias, through softplus if asked        dtA_t = deltaA_t if given, else dt_t
//   h_t   = transition(dtA_t, A) h_{t-1} + input(dt_t, A) B_t u_t  h_0 = h0 if given, else 0
//   out_t = sum over n of C_t h_t + D u_t                          (complex: twice the real part of the sum)
//   out_z = out z sigmoid(z)                                       if z is given
//
// Tensors are contiguous and row-major: u, delta, z, deltaA, out (B, D, L); A (D, N); B and C (D, N), or (B, G, N, L)
// if variable; D, delta_bias (D); h0, last_state (B, D, N). With complex weights A, B, C, h0, last_state and their
// gradients hold (re, im) pairs, and a complex gradient is dLoss/dRe + i dLoss/dIm. s7 reads no A and rglru no B: those
// may be left out, and if given have gradient 0; neither takes delta_bias, delta_softplus or deltaA.
//
// Parallel over channels with OpenMP; no result depends on the number of threads, not in a single bit. Throws
// std::invalid_argument with the name of the argument, what was given and what is allowed.
#pragma once

#include <cstdint>
#include <vector>

#include "reference/discretization.h"

namespace lrnnx::reference {

struct Problem {
  Discretization discretization = Discretization::mamba;
  bool complex = false;
  int64_t batch = 1, dim = 1, seqlen = 1, dstate = 1, groups = 1;
  bool variable_B = true, variable_C = true, delta_softplus = false;
};

// Empty means absent.
struct Inputs {
  std::vector<double> u, delta, A, B, C, D, z, delta_bias, deltaA, h0;
  // For the backward of a gate alone: out as it was stored, which the gradient of z is then by. Empty: as computed.
  std::vector<double> out = {};
};

struct Outputs {
  std::vector<double> out, out_z, last_state;
};

// Each as large as its input, empty where that is absent. ddelta is by delta before bias and softplus.
struct Gradients {
  std::vector<double> du, ddelta, dA, dB, dC, dD, dz, ddelta_bias, ddeltaA, dh0;
};

Outputs forward(const Problem& problem, const Inputs& inputs);

// dout is the gradient of out_z if z is given, else of out; an empty dlast_state means 0.
Gradients backward(const Problem& problem, const Inputs& inputs, const std::vector<double>& dout,
                   const std::vector<double>& dlast_state);

}  // namespace lrnnx::reference
