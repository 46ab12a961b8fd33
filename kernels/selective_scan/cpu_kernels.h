// The CPU kernels of the selective scan, in GCC's vector extension. Included by one file for each discretization and
// instruction set, which defines LRNNX_CPU_LANES; everything here has internal linkage, so that no copy is shared
// between instruction sets.
#pragma once

#include <cstdint>
#include <utility>

#include "common/half.h"
#include "discretization/discretization.h"
#include "selective_scan/cpu_plan.h"

#define LRNNX_INLINE inline __attribute__((always_inline))

namespace lrnnx {
namespace {

constexpr int64_t kLanes = LRNNX_CPU_LANES;
static_assert(kCpuTileUnit % kLanes == 0);

typedef float Vec __attribute__((vector_size(kLanes * sizeof(float))));
typedef int32_t Mask __attribute__((vector_size(kLanes * sizeof(float))));

// --- vectors --------------------------------------------------------------------------------------------------------

LRNNX_INLINE Vec load(const float* from) {
  Vec v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}

LRNNX_INLINE void store(float* to, Vec v) { __builtin_memcpy(to, &v, sizeof v); }

LRNNX_INLINE Vec broadcast(float x) {
  Vec v;
#pragma omp simd
  for (int64_t i = 0; i < kLanes; ++i) v[i] = x;
  return v;
}

// --- numbers: of the weights and states in the lanes, with T = float or Complex ------------------------------------

struct ComplexVec {
  Vec re, im;
};

template <class T>
struct NumberOf {
  using type = Vec;
};
template <>
struct NumberOf<Complex> {
  using type = ComplexVec;
};
template <class T>
using Number = typename NumberOf<T>::type;

// Vectors a number: complex ones lie in memory as the real parts of all lanes, then the imaginary parts.
template <class T>
constexpr int64_t kParts = sizeof(T) / sizeof(float);

LRNNX_INLINE ComplexVec operator+(ComplexVec a, ComplexVec b) { return {a.re + b.re, a.im + b.im}; }
LRNNX_INLINE ComplexVec operator*(ComplexVec a, Vec b) { return {a.re * b, a.im * b}; }
LRNNX_INLINE ComplexVec operator*(Vec a, ComplexVec b) { return {a * b.re, a * b.im}; }
LRNNX_INLINE ComplexVec operator*(ComplexVec a, ComplexVec b) {
  return {a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}
LRNNX_INLINE ComplexVec& operator+=(ComplexVec& a, ComplexVec b) { return a = a + b; }
LRNNX_INLINE float conj(float a) { return a; }
LRNNX_INLINE Vec conj(Vec a) { return a; }
LRNNX_INLINE ComplexVec conj(ComplexVec a) { return {a.re, -a.im}; }

// The real part of a b.
template <class A>
LRNNX_INLINE Vec real_product(A a, Vec b) {
  return a * b;
}
LRNNX_INLINE Vec real_product(ComplexVec a, ComplexVec b) { return a.re * b.re - a.im * b.im; }

// out is this many times the real part of the sum over states.
template <class T>
constexpr float kReadout = kParts<T>;

template <class T>
LRNNX_INLINE Number<T> load_number(const float* from) {
  if constexpr (kParts<T> == 1)
    return load(from);
  else
    return {load(from), load(from + kLanes)};
}
LRNNX_INLINE void store_number(float* to, Vec v) { store(to, v); }
LRNNX_INLINE void store_number(float* to, ComplexVec v) {
  store(to, v.re);
  store(to + kLanes, v.im);
}

LRNNX_INLINE Vec& part(Vec& v, int64_t) { return v; }
LRNNX_INLINE Vec& part(ComplexVec& v, int64_t index) { return index == 0 ? v.re : v.im; }

LRNNX_INLINE float lane(const Vec& v, int64_t i) { return v[i]; }
LRNNX_INLINE Complex lane(const ComplexVec& v, int64_t i) { return {v.re[i], v.im[i]}; }
LRNNX_INLINE void set_lane(Vec& v, int64_t i, float x) { v[i] = x; }
LRNNX_INLINE void set_lane(ComplexVec& v, int64_t i, Complex x) {
  v.re[i] = x.re;
  v.im[i] = x.im;
}
template <class V, class T>
LRNNX_INLINE void set_lane(InputSlopes<V>& v, int64_t i, InputSlopes<T> x) {
  set_lane(v.by_step, i, x.by_step);
  set_lane(v.by_omega, i, x.by_omega);
}

// f of each lane: the way from the scalar text of the discretizations to vectors. A template argument, because what is
// not inlined does not become a vector.
template <class Result, auto f, class... Vecs>
LRNNX_INLINE Result per_lane(Vecs... v) {
  Result result;
#pragma omp simd
  for (int64_t i = 0; i < kLanes; ++i) set_lane(result, i, f(lane(v, i)...));
  return result;
}

// --- transposes and sums over lanes ---------------------------------------------------------------------------------

// a0 b0 a1 b1 ... of the lower (upper) halves of a and b.
template <int... i>
LRNNX_INLINE Vec interleave_lower(Vec a, Vec b, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(a, b, (i / 2 + i % 2 * kLanes)...);
}
template <int... i>
LRNNX_INLINE Vec interleave_upper(Vec a, Vec b, std::integer_sequence<int, i...>) {
  return __builtin_shufflevector(a, b, (kLanes / 2 + i / 2 + i % 2 * kLanes)...);
}
constexpr auto kLaneNumbers = std::make_integer_sequence<int, kLanes>();

// Transposes kLanes vectors by perfect shuffles, each of which moves one bit of the row number into the lane number.
LRNNX_INLINE void transpose(Vec (&v)[kLanes]) {
#pragma GCC unroll 4
  for (int64_t step = 1; step < kLanes; step *= 2) {
    Vec w[kLanes];
#pragma GCC unroll 16
    for (int64_t i = 0; i < kLanes / 2; ++i) {
      w[2 * i] = interleave_lower(v[i], v[i + kLanes / 2], kLaneNumbers);
      w[2 * i + 1] = interleave_upper(v[i], v[i + kLanes / 2], kLaneNumbers);
    }
#pragma GCC unroll 16
    for (int64_t i = 0; i < kLanes; ++i) v[i] = w[i];
  }
}

// Lane i of the result is the sum over the lanes of v[i], added up as a tree.
LRNNX_INLINE Vec lane_sums(Vec (&v)[kLanes]) {
#pragma GCC unroll 4
  for (int64_t half = kLanes / 2; half > 0; half /= 2)
#pragma GCC unroll 16
    for (int64_t i = 0; i < half; ++i)
      v[i] = interleave_lower(v[i], v[i + half], kLaneNumbers) + interleave_upper(v[i], v[i + half], kLaneNumbers);
  return v[0];
}

// --- tiles and rows: a tile has a vector of channels for each step, rows have `stride` steps for each channel -------

void tile_from_rows(const float* __restrict rows, int64_t stride, float* __restrict tile) {
  for (int64_t t = 0; t < stride; t += kLanes) {
    Vec v[kLanes];
#pragma GCC unroll 16
    for (int64_t i = 0; i < kLanes; ++i) v[i] = load(rows + i * stride + t);
    transpose(v);
#pragma GCC unroll 16
    for (int64_t i = 0; i < kLanes; ++i) store(tile + (t + i) * kLanes, v[i]);
  }
}

void rows_from_tile(const float* __restrict tile, int64_t stride, float* __restrict rows) {
  for (int64_t t = 0; t < stride; t += kLanes) {
    Vec v[kLanes];
#pragma GCC unroll 16
    for (int64_t i = 0; i < kLanes; ++i) v[i] = load(tile + (t + i) * kLanes);
    transpose(v);
#pragma GCC unroll 16
    for (int64_t i = 0; i < kLanes; ++i) store(rows + i * stride + t, v[i]);
  }
}

void fill(float* data, int64_t count, float value) {
  for (int64_t i = 0; i < count; ++i) data[i] = value;
}

void copy(const float* __restrict from, int64_t count, float* __restrict to) {
  for (int64_t i = 0; i < count; ++i) to[i] = from[i];
}

// --- where the data of a block lies ---------------------------------------------------------------------------------

struct Block {
  int64_t batch, index, group;
  int64_t dim;    // the first channel
  int64_t width;  // channels, at most kLanes; the lanes beyond compute on zeros, and nobody reads what
};

Block block_at(const CpuPlan& plan, int64_t batch, int64_t index) {
  const int64_t group = index / plan.blocks_per_group;
  const int64_t first = index % plan.blocks_per_group * kLanes;
  const int64_t rest = plan.group_dim - first;
  return {batch, index, group, group * plan.group_dim + first, rest < kLanes ? rest : kLanes};
}

// Hands out a thread's scratch in pieces of whole vectors.
struct Scratch {
  float* next;
  float* take(int64_t vectors) {
    float* piece = next;
    next += vectors * kLanes;
    return piece;
  }
};

float* data(const lrnnx_tensor& tensor) { return static_cast<float*>(tensor.data); }

uint16_t* halves(const lrnnx_tensor& tensor) { return static_cast<uint16_t*>(tensor.data); }

// Some steps of the channels of a block, in (batch, dim, seqlen) tensors, as floats: in place, or by way of a buffer
// where they are stored in 16 bits.
struct RowAccess {
  int64_t dtype;
  const Block& block;
  int64_t t0, steps;

  const float* read(const lrnnx_tensor& tensor, int64_t lane, float* buffer) const {
    if (!is_half(dtype)) return data(tensor) + offset(tensor, lane);
    widen(dtype, halves(tensor) + offset(tensor, lane), steps, buffer);
    return buffer;
  }
  // Where to write; commit() follows.
  float* target(const lrnnx_tensor& tensor, int64_t lane, float* buffer) const {
    return is_half(dtype) ? buffer : data(tensor) + offset(tensor, lane);
  }
  void commit(const lrnnx_tensor& tensor, int64_t lane, const float* buffer) const {
    if (is_half(dtype)) narrow(dtype, buffer, steps, halves(tensor) + offset(tensor, lane));
  }

 private:
  int64_t offset(const lrnnx_tensor& tensor, int64_t lane) const {
    return block.batch * tensor.stride_batch + (block.dim + lane) * tensor.stride_dim + t0;
  }
};

// From a block's first channel on, in a (dim, dstate) tensor and, of its batch, in a (batch, dim, dstate) tensor.
template <class T>
float* weights(const lrnnx_tensor& tensor, const lrnnx_selective_scan_problem& p, const Block& block) {
  return data(tensor) + block.dim * p.dstate * kParts<T>;
}
template <class T>
float* states(const lrnnx_tensor& tensor, const lrnnx_selective_scan_problem& p, const Block& block) {
  return data(tensor) + (block.batch * p.dim + block.dim) * p.dstate * kParts<T>;
}

float of_channel(const lrnnx_tensor& tensor, const Block& block, int64_t lane) {
  return tensor.data ? data(tensor)[block.dim + lane] : 0.0f;
}

// (channel, state) in memory to the numbers of all channels for each state, and back.
template <class T>
void gather(const float* from, int64_t width, int64_t dstate, float* to) {
  for (int64_t n = 0; n < dstate * kParts<T>; ++n)
    for (int64_t i = 0; i < kLanes; ++i) to[n * kLanes + i] = i < width ? from[i * dstate * kParts<T> + n] : 0.0f;
}
template <class T>
void scatter(const float* from, int64_t width, int64_t dstate, float* to) {
  for (int64_t i = 0; i < width; ++i)
    for (int64_t n = 0; n < dstate * kParts<T>; ++n) to[i * dstate * kParts<T> + n] = from[n * kLanes + i];
}

// Where `saved` has the state before chunk 1, 2, ... of a block, counted in floats.
template <class T>
int64_t saved_offset(const CpuPlan& plan, const lrnnx_selective_scan_problem& p, const Block& block, int64_t chunk) {
  return ((block.batch * plan.blocks + block.index) * (plan.chunks - 1) + chunk - 1) * p.dstate * kParts<T> * kLanes;
}

// Buffers for the steps of a tile or chunk, null unless tensors are stored in 16 bits.
struct Buffers {
  float* rows[kCpuRowBuffers];
  float *B, *C;
};

Buffers take_buffers(const lrnnx_selective_scan_problem& p, int64_t steps, Scratch& scratch) {
  if (!is_half(p.dtype)) return {};
  float* next = scratch.take(cpu_buffer_floats(steps) / kLanes);
  const auto take = [&](int64_t count) { return std::exchange(next, next + count * steps); };
  Buffers buffers{};
  for (float*& row : buffers.rows) row = take(1);
  buffers.B = take(kCpuStates);
  buffers.C = take(kCpuStates);
  return buffers;
}

// B or C of all states: vectors of the lanes' own if fixed, else rows of the block's group, in 16 bits if there is a
// buffer.
struct Matrix {
  const void* values;
  float* buffer;
};

// What every pass over a block reads: A prepared, and B and C.
struct Weights {
  const float* omega;
  Matrix B, C;
};

template <class D, class T, bool variable_B, bool variable_C, class Args>
Weights prepare_weights(const lrnnx_selective_scan_problem& p, const Args& args, const Block& block,
                        const Buffers& buffers, Scratch& scratch) {
  const int64_t group = (block.batch * p.groups + block.group) * p.dstate * p.seqlen * kParts<T>;
  const auto variable = [&](const lrnnx_tensor& tensor, float* buffer) -> Matrix {
    if (is_half(p.dtype)) return {halves(tensor) + group, buffer};
    return {data(tensor) + group, nullptr};
  };
  const auto fixed = [&](const lrnnx_tensor& tensor, bool given) {
    float* values = scratch.take(p.dstate * kParts<T>);
    if (given)
      gather<T>(weights<T>(tensor, p, block), block.width, p.dstate, values);
    else
      fill(values, p.dstate * kParts<T> * kLanes, 1.0f);  // of real weights only
    return values;
  };
  static_assert((D::kUsesA && D::kTakesB) || kParts<T> == 1);
  float* omega = fixed(args.A, D::kUsesA);
  for (int64_t n = 0; n < p.dstate; ++n) {
    float* at = omega + n * kParts<T> * kLanes;
    store_number(at, per_lane<Number<T>, D::prepare>(load_number<T>(at)));
  }
  return {.omega = omega,
          .B = variable_B ? variable(args.B, buffers.B) : Matrix{fixed(args.B, D::kTakesB), nullptr},
          .C = variable_C ? variable(args.C, buffers.C) : Matrix{fixed(args.C, true), nullptr}};
}

// Widens `count` rows of `steps` numbers into the buffer of a matrix.
void widen_rows(const lrnnx_selective_scan_problem& p, const Matrix& matrix, int64_t n, int64_t count, int64_t t0,
                int64_t steps) {
  for (int64_t k = 0; k < count; ++k)
    widen(p.dtype, static_cast<const uint16_t*>(matrix.values) + (n + k) * p.seqlen + t0, steps,
          matrix.buffer + k * steps);
}

// B or C for `count` states from n on: a number a step that the lanes share, or one a lane that the steps share.
template <class T, bool variable, int64_t count>
struct Coefficients {
  const float* rows;
  int64_t stride;
  LRNNX_INLINE Coefficients(const lrnnx_selective_scan_problem& p, const Matrix& matrix, int64_t n, int64_t t0,
                            int64_t steps) {
    if (matrix.buffer) {
      widen_rows(p, matrix, n, count, t0, steps);
      rows = matrix.buffer;
      stride = steps;
    } else {
      rows = static_cast<const float*>(matrix.values) + (n * p.seqlen + t0) * kParts<T>;
      stride = p.seqlen * kParts<T>;
    }
  }
  LRNNX_INLINE auto at(int64_t k, int64_t t) const {
    const float* number = rows + k * stride + t * kParts<T>;
    if constexpr (kParts<T> == 1)
      return *number;
    else
      return ComplexVec{broadcast(number[0]), broadcast(number[1])};
  }
};

template <class T, int64_t count>
struct Coefficients<T, false, count> {
  Number<T> values[count];
  LRNNX_INLINE Coefficients(const lrnnx_selective_scan_problem&, const Matrix& matrix, int64_t n, int64_t, int64_t) {
    const float* all = static_cast<const float*>(matrix.values);
    for (int64_t k = 0; k < count; ++k) values[k] = load_number<T>(all + (n + k) * kParts<T> * kLanes);
  }
  LRNNX_INLINE Number<T> at(int64_t k, int64_t) const { return values[k]; }
};

// --- elementwise, over all rows of a tile at once: a row alone is too short to hide the latencies -------------------

// x becomes softplus(x).
void apply_softplus(float* x, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) x[i] = softplus(x[i]);
}
void apply_softplus(float* __restrict x, float* __restrict slope, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const ValueAndSlope s = softplus_and_sigmoid(x[i]);
    x[i] = s.value;
    slope[i] = s.slope;
  }
}

// x becomes silu(x).
void apply_silu(float* x, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) x[i] = silu(x[i]);
}
void apply_silu(float* __restrict x, float* __restrict slope, int64_t count) {
#pragma omp simd
  for (int64_t i = 0; i < count; ++i) {
    const ValueAndSlope s = silu_and_slope(x[i]);
    x[i] = s.value;
    slope[i] = s.slope;
  }
}

// The part of gamma u that all states share.
template <class D>
void multiply_input(const float* __restrict dt, const float* __restrict u, int64_t steps, float* __restrict x) {
  for (int64_t t = 0; t < steps; ++t) x[t] = D::kInput == InputFactor::step ? dt[t] * u[t] : u[t];
}

void add_bias(const float* __restrict delta, float bias, int64_t steps, float* __restrict sum) {
  for (int64_t t = 0; t < steps; ++t) sum[t] = delta[t] + bias;
}

template <class D, class T>
LRNNX_INLINE Number<T> transition(Number<T> omega, Vec dtA) {
  return per_lane<Number<T>, D::transition>(omega, dtA);
}

// The input factor of one state, where each has its own.
template <class D, class T>
LRNNX_INLINE Number<T> input_factor(Number<T> omega, Vec dt) {
  return per_lane<Number<T>, D::input>(omega, dt);
}

// gamma u of one state, from the part x that all share: a vector, or a number where each state has its own.
template <class D, class T>
LRNNX_INLINE auto input(Number<T> omega, Vec x, const float* dt, int64_t t) {
  if constexpr (D::kInput == InputFactor::per_state)
    return x * input_factor<D, T>(omega, load(dt + t * kLanes));
  else
    return x;
}

// --- forward --------------------------------------------------------------------------------------------------------

// Tiles of the steps t0, ... , t0 + steps - 1; dt is there only for input factors of their own for each state.
struct ForwardTile {
  int64_t t0, steps;
  const float *dtA, *dt, *x;
  float* y;
};

template <class D, class T, bool variable_B, bool variable_C, int64_t count>
void advance(const lrnnx_selective_scan_problem& p, const Weights& w, const ForwardTile& tile, int64_t n,
             float* states) {
  const Coefficients<T, variable_B, count> B(p, w.B, n, tile.t0, tile.steps);
  const Coefficients<T, variable_C, count> C(p, w.C, n, tile.t0, tile.steps);
  constexpr int64_t kStride = kParts<T> * kLanes;
  Number<T> h[count], omega[count];
  for (int64_t k = 0; k < count; ++k) {
    h[k] = load_number<T>(states + (n + k) * kStride);
    omega[k] = load_number<T>(w.omega + (n + k) * kStride);
  }
  for (int64_t t = 0; t < tile.steps; ++t) {
    const Vec dtA = load(tile.dtA + t * kLanes);
    const Vec x = load(tile.x + t * kLanes);
    Vec y = load(tile.y + t * kLanes);
#pragma GCC unroll 4
    for (int64_t k = 0; k < count; ++k) {
      h[k] = transition<D, T>(omega[k], dtA) * h[k] + input<D, T>(omega[k], x, tile.dt, t) * B.at(k, t);
      y += real_product(C.at(k, t), h[k]);
    }
    store(tile.y + t * kLanes, y);
  }
  for (int64_t k = 0; k < count; ++k) store_number(states + (n + k) * kStride, h[k]);
}

template <class D, class T, bool variable_B, bool variable_C>
void forward_block(const CpuForward& call, int64_t batch, int64_t index, float* memory) {
  const auto& [p, args, plan] = call;
  const Block block = block_at(plan, batch, index);
  Scratch scratch{memory};
  const Buffers buffers = take_buffers(p, plan.tile, scratch);
  const Weights w = prepare_weights<D, T, variable_B, variable_C>(p, args, block, buffers, scratch);
  const int64_t state_floats = p.dstate * kParts<T> * kLanes;
  float* h = scratch.take(p.dstate * kParts<T>);
  float *dtA = scratch.take(plan.tile), *dt = scratch.take(plan.tile), *x = scratch.take(plan.tile),
        *y = scratch.take(plan.tile);
  float *dt_rows = scratch.take(plan.tile), *dtA_rows = scratch.take(plan.tile), *x_rows = scratch.take(plan.tile),
        *y_rows = scratch.take(plan.tile), *z_rows = scratch.take(plan.tile);

  if (args.h0.data)
    gather<T>(states<T>(args.h0, p, block), block.width, p.dstate, h);
  else
    fill(h, state_floats, 0.0f);
  for (float* rows : {dt_rows, dtA_rows, x_rows, z_rows}) fill(rows, plan.tile * kLanes, 0.0f);

  for (int64_t t0 = 0; t0 < p.seqlen; t0 += plan.tile) {
    const int64_t steps = p.seqlen - t0 < plan.tile ? p.seqlen - t0 : plan.tile;
    if (t0 > 0 && t0 % plan.chunk == 0 && (p.options & LRNNX_SAVE_FOR_BACKWARD))
      copy(h, state_floats, static_cast<float*>(args.saved) + saved_offset<T>(plan, p, block, t0 / plan.chunk));

    const RowAccess row{p.dtype, block, t0, steps};
    for (int64_t i = 0; i < block.width; ++i) {
      const int64_t at = i * plan.tile;
      float* buffer = buffers.rows[0];
      add_bias(row.read(args.delta, i, buffer), of_channel(args.delta_bias, block, i), steps, dt_rows + at);
      if (args.deltaA.data) copy(row.read(args.deltaA, i, buffer), steps, dtA_rows + at);
      if (args.z.data) copy(row.read(args.z, i, buffer), steps, z_rows + at);
    }
    if (p.options & LRNNX_DELTA_SOFTPLUS) apply_softplus(dt_rows, plan.tile * kLanes);
    if (args.z.data) apply_silu(z_rows, plan.tile * kLanes);
    for (int64_t i = 0; i < block.width; ++i)
      multiply_input<D>(dt_rows + i * plan.tile, row.read(args.u, i, buffers.rows[0]), steps, x_rows + i * plan.tile);
    tile_from_rows(args.deltaA.data ? dtA_rows : dt_rows, plan.tile, dtA);
    tile_from_rows(x_rows, plan.tile, x);
    if constexpr (D::kInput == InputFactor::per_state) tile_from_rows(dt_rows, plan.tile, dt);

    fill(y, plan.tile * kLanes, 0.0f);
    const ForwardTile tile = {.t0 = t0, .steps = steps, .dtA = dtA, .dt = dt, .x = x, .y = y};
    int64_t n = 0;
    for (; n + kCpuStates <= p.dstate; n += kCpuStates)
      advance<D, T, variable_B, variable_C, kCpuStates>(p, w, tile, n, h);
    for (; n < p.dstate; ++n) advance<D, T, variable_B, variable_C, 1>(p, w, tile, n, h);

    rows_from_tile(y, plan.tile, y_rows);
    for (int64_t i = 0; i < block.width; ++i) {
      const float* __restrict u = row.read(args.u, i, buffers.rows[0]);
      const float* __restrict sum = y_rows + i * plan.tile;
      float* __restrict out = row.target(args.out, i, buffers.rows[1]);
      const float skip = of_channel(args.D, block, i);
      if (args.D.data)
        for (int64_t t = 0; t < steps; ++t) out[t] = kReadout<T> * sum[t] + skip * u[t];
      else
        for (int64_t t = 0; t < steps; ++t) out[t] = kReadout<T> * sum[t];
      if (args.z.data) {
        const float* __restrict gate = z_rows + i * plan.tile;
        float* __restrict out_z = row.target(args.out_z, i, buffers.rows[2]);
        for (int64_t t = 0; t < steps; ++t) out_z[t] = out[t] * gate[t];
        row.commit(args.out_z, i, out_z);
      }
      row.commit(args.out, i, out);
    }
  }
  if (args.last_state.data) scatter<T>(h, block.width, p.dstate, states<T>(args.last_state, p, block));
}

// --- backward -------------------------------------------------------------------------------------------------------

// What the backward carries of one (batch, block) from segment to segment.
struct Sums {
  float* carry;                // the gradient of the state before the steps done so far
  double *transition, *input;  // the gradient of omega through either, the first without kSlopeUnit
  double *B, *C;               // if fixed
  double *skip, *bias;         // of D and delta_bias
};

template <class T>
Sums sums_of(const CpuBackward& call, const Block& block) {
  const int64_t count = call.problem.dstate * kParts<T> * kLanes;
  char* base =
      static_cast<char*>(call.args.workspace) + (block.batch * call.plan.blocks + block.index) * call.plan.sums;
  double* next = reinterpret_cast<double*>(base);
  const auto take = [&](int64_t n) { return std::exchange(next, next + n); };
  Sums sums{};
  sums.transition = take(count);
  sums.input = take(count);
  sums.B = take(count);
  sums.C = take(count);
  sums.skip = take(kLanes);
  sums.bias = take(kLanes);
  sums.carry = reinterpret_cast<float*>(next);
  return sums;
}

// Adds v to the doubles and begins anew.
template <class V>
LRNNX_INLINE void move_sum(V& v, double* to) {
  for (int64_t index = 0; index < static_cast<int64_t>(sizeof(V) / sizeof(Vec)); ++index)
    for (int64_t i = 0; i < kLanes; ++i) to[index * kLanes + i] += static_cast<double>(part(v, index)[i]);
  v = V{};
}

// Tiles of one chunk. dy is the gradient of out before D and the gate.
struct BackwardTile {
  int64_t t0, steps;
  const float *dtA, *dt, *x, *dy;
  float* dx;                       // gradient of x: the sum over states of g B (times gamma, if each state has its own)
  float* ddt;                      // gradient of dt through input factors of their own for each state
  float* ddtA;                     // gradient of dtA, without kSlopeUnit
  float *states, *transitions;     // of kCpuStates states
  float *products_B, *products_C;  // terms of the gradients of B and C for kLanes steps
  float *dB, *dC;                  // the slab's rows, one for each part of each state, from t0 on
  int64_t stride;                  // from one of these rows to the next
  bool first_of_slab;
  Mask used;  // all ones in the lanes that are channels
};

// One vector of gradients of a variable B or C: the sums over the lanes of kLanes steps.
LRNNX_INLINE void add_products(const float* products, const BackwardTile& tile, float* row) {
  Vec v[kLanes];
#pragma GCC unroll 16
  for (int64_t i = 0; i < kLanes; ++i) v[i] = (Vec)((Mask)load(products + i * kLanes) & tile.used);
  const Vec sums = lane_sums(v);
  store(row, tile.first_of_slab ? sums : load(row) + sums);
}

template <class D, class T, bool variable_B, bool variable_C, int64_t count>
void retreat(const lrnnx_selective_scan_problem& p, const Weights& w, const BackwardTile& tile, int64_t n,
             const float* before, const Sums& sums) {
  const Coefficients<T, variable_B, count> B(p, w.B, n, tile.t0, tile.steps);
  const Coefficients<T, variable_C, count> C(p, w.C, n, tile.t0, tile.steps);
  constexpr int64_t kStride = kParts<T> * kLanes;
  float* __restrict states = tile.states, * __restrict transitions = tile.transitions;

  Number<T> omega[count];
  {
    Number<T> h[count];
    for (int64_t k = 0; k < count; ++k) {
      omega[k] = load_number<T>(w.omega + (n + k) * kStride);
      h[k] = load_number<T>(before + (n + k) * kStride);
      store_number(states + k * kStride, h[k]);
    }
    for (int64_t t = 0; t < tile.steps; ++t) {
      const Vec dtA = load(tile.dtA + t * kLanes);
      const Vec x = load(tile.x + t * kLanes);
#pragma GCC unroll 4
      for (int64_t k = 0; k < count; ++k) {
        const Number<T> a = transition<D, T>(omega[k], dtA);
        h[k] = a * h[k] + input<D, T>(omega[k], x, tile.dt, t) * B.at(k, t);
        store_number(transitions + (t * count + k) * kStride, a);
        store_number(states + ((t + 1) * count + k) * kStride, h[k]);
      }
    }
  }

  Number<T> carry[count], d_omega[count] = {}, d_omega_input[count] = {}, dB[count] = {}, dC[count] = {};
  for (int64_t k = 0; k < count; ++k) carry[k] = load_number<T>(sums.carry + (n + k) * kStride);
  for (int64_t first = (tile.steps - 1) / kLanes * kLanes; first >= 0; first -= kLanes) {
    const int64_t end = first + kLanes < tile.steps ? first + kLanes : tile.steps;
    const auto keep_product = [&](float* products, int64_t k, int64_t t, Number<T> product) {
      for (int64_t index = 0; index < kParts<T>; ++index)
        store(products + ((k * kParts<T> + index) * kLanes + t - first) * kLanes, part(product, index));
    };
    for (int64_t t = end - 1; t >= first; --t) {
      const Vec dtA = load(tile.dtA + t * kLanes);
      const Vec x = load(tile.x + t * kLanes);
      const Vec dy = kReadout<T> * load(tile.dy + t * kLanes);
      Vec dx = load(tile.dx + t * kLanes);
      Vec ddtA = load(tile.ddtA + t * kLanes);
#pragma GCC unroll 4
      for (int64_t k = 0; k < count; ++k) {
        const Number<T> a = load_number<T>(transitions + (t * count + k) * kStride);
        const Number<T> previous = load_number<T>(states + (t * count + k) * kStride);
        const Number<T> g = carry[k] + conj(C.at(k, t)) * dy;
        const Number<T> for_C = conj(load_number<T>(states + ((t + 1) * count + k) * kStride)) * dy;
        const Number<T> for_B = g * conj(input<D, T>(omega[k], x, tile.dt, t));
        if constexpr (variable_C)
          keep_product(tile.products_C, k, t, for_C);
        else
          dC[k] += for_C;
        if constexpr (variable_B)
          keep_product(tile.products_B, k, t, for_B);
        else
          dB[k] += for_B;

        if constexpr (D::kInput == InputFactor::per_state) {
          const Number<T> gB = g * conj(B.at(k, t));
          const Vec dt = load(tile.dt + t * kLanes);
          dx += real_product(gB, conj(input_factor<D, T>(omega[k], dt)));
          const auto slopes = per_lane<InputSlopes<Number<T>>, D::input_slopes>(omega[k], dt);
          const Number<T> by_input = gB * x;
          store(tile.ddt + t * kLanes, load(tile.ddt + t * kLanes) + real_product(by_input, conj(slopes.by_step)));
          d_omega_input[k] += by_input * conj(slopes.by_omega);
        } else {
          dx += real_product(conj(B.at(k, t)), g);
        }

        const Number<T> slope = per_lane<Number<T>, D::transition_slope>(omega[k], dtA, a);
        const Number<T> through = g * conj(slope) * conj(previous);
        ddtA += real_product(through, conj(omega[k]));
        d_omega[k] += through * dtA;
        carry[k] = g * conj(a);
      }
      store(tile.dx + t * kLanes, dx);
      store(tile.ddtA + t * kLanes, ddtA);
    }
    const int64_t done = end - first;
    const auto add_all_products = [&](float* products, float* rows) {
      for (int64_t row = 0; row < count * kParts<T>; ++row) {
        float* of_row = products + row * kLanes * kLanes;
        fill(of_row + done * kLanes, (kLanes - done) * kLanes, 0.0f);
        add_products(of_row, tile, rows + (n * kParts<T> + row) * tile.stride + first);
      }
    };
    if constexpr (variable_B) add_all_products(tile.products_B, tile.dB);
    if constexpr (variable_C) add_all_products(tile.products_C, tile.dC);
    if (first % kCpuTileUnit == 0)  // few enough steps for sums in float
      for (int64_t k = 0; k < count; ++k) {
        const int64_t at = (n + k) * kStride;
        if constexpr (D::kUsesA) move_sum(d_omega[k], sums.transition + at);
        if constexpr (D::kInput == InputFactor::per_state) move_sum(d_omega_input[k], sums.input + at);
        if constexpr (!variable_B && D::kTakesB) move_sum(dB[k], sums.B + at);
        if constexpr (!variable_C) move_sum(dC[k], sums.C + at);
      }
  }
  for (int64_t k = 0; k < count; ++k) store_number(sums.carry + (n + k) * kStride, carry[k]);
}

// The rows of a block during one chunk, plan.chunk steps apart.
struct BackwardRows {
  float *dt, *dt_slope, *dtA, *x, *dy;
  float *gate, *gate_slope;
  float *dx, *ddt, *ddtA;  // dx takes the place of x, ddtA that of dtA
};

// dt, dtA, x and dy; writes dz.
template <class D>
void prepare_rows(const CpuBackward& call, const RowAccess& row, const Buffers& buffers, const BackwardRows& rows) {
  const auto& [p, args, plan] = call;
  const Block& block = row.block;
  const int64_t steps = row.steps;
  const bool through_softplus = p.options & LRNNX_DELTA_SOFTPLUS, gated = args.z.data != nullptr;
  for (int64_t i = 0; i < block.width; ++i) {
    const int64_t at = i * plan.chunk;
    float* buffer = buffers.rows[0];
    add_bias(row.read(args.delta, i, buffer), of_channel(args.delta_bias, block, i), steps, rows.dt + at);
    if (args.deltaA.data) copy(row.read(args.deltaA, i, buffer), steps, rows.dtA + at);
    if (gated) copy(row.read(args.z, i, buffer), steps, rows.gate + at);
  }
  if (through_softplus) apply_softplus(rows.dt, rows.dt_slope, plan.chunk * kLanes);
  if (gated) apply_silu(rows.gate, rows.gate_slope, plan.chunk * kLanes);
  for (int64_t i = 0; i < block.width; ++i) {
    const int64_t at = i * plan.chunk;
    multiply_input<D>(rows.dt + at, row.read(args.u, i, buffers.rows[0]), steps, rows.x + at);
    const float* __restrict dout = row.read(args.dout, i, buffers.rows[0]);
    float* __restrict dy = rows.dy + at;
    if (gated) {
      const float* __restrict gate = rows.gate + at, * __restrict slope = rows.gate_slope + at;
      const float* __restrict out = row.read(args.out, i, buffers.rows[1]);
      float* __restrict dz = row.target(args.dz, i, buffers.rows[2]);
      for (int64_t t = 0; t < steps; ++t) {
        dy[t] = dout[t] * gate[t];
        dz[t] = dout[t] * out[t] * slope[t];
      }
      row.commit(args.dz, i, dz);
    } else {
      copy(dout, steps, dy);
    }
  }
}

// du, ddelta, ddeltaA, and the sums for D and delta_bias.
template <class D>
void finish_rows(const CpuBackward& call, const RowAccess& row, const Buffers& buffers, const BackwardRows& rows,
                 const Sums& sums) {
  const auto& [p, args, plan] = call;
  const Block& block = row.block;
  const int64_t steps = row.steps;
  for (int64_t i = 0; i < block.width; ++i) {
    const int64_t at = i * plan.chunk;
    const float* __restrict u = row.read(args.u, i, buffers.rows[0]);
    const float* __restrict dt = rows.dt + at, * __restrict slope = rows.dt_slope + at, * __restrict dy = rows.dy + at;
    const float* __restrict dx = rows.dx + at, * __restrict ddt = rows.ddt + at, * __restrict ddtA = rows.ddtA + at;
    float* __restrict du = row.target(args.du, i, buffers.rows[1]), * __restrict ddelta =
                                                                        row.target(args.ddelta, i, buffers.rows[2]);
    const float skip = of_channel(args.D, block, i);
    const bool is_one_step = args.deltaA.data == nullptr;

    if (args.deltaA.data) {
      float* __restrict ddeltaA = row.target(args.ddeltaA, i, buffers.rows[3]);
      for (int64_t t = 0; t < steps; ++t) ddeltaA[t] = D::kSlopeUnit * ddtA[t];
      row.commit(args.ddeltaA, i, ddeltaA);
    }
    float sum_D = 0.0f, sum_bias = 0.0f;
#pragma omp simd reduction(+ : sum_D, sum_bias)
    for (int64_t t = 0; t < steps; ++t) {
      const float by_u = D::kInput == InputFactor::step ? dt[t] * dx[t] : dx[t];
      float by_dt = 0.0f;
      if constexpr (D::kInput == InputFactor::step) by_dt = u[t] * dx[t];
      if constexpr (D::kInput == InputFactor::per_state) by_dt = ddt[t];
      du[t] = by_u + skip * dy[t];
      // Not times 0 where the transition has a step of its own, whose gradient may be infinite.
      if (is_one_step) by_dt += D::kSlopeUnit * ddtA[t];
      const float by_delta = by_dt * slope[t];
      ddelta[t] = by_delta;
      sum_D += u[t] * dy[t];
      sum_bias += by_delta;
    }
    row.commit(args.du, i, du);
    row.commit(args.ddelta, i, ddelta);
    sums.skip[i] += static_cast<double>(sum_D);
    sums.bias[i] += static_cast<double>(sum_bias);
  }
}

template <class D, class T, bool variable_B, bool variable_C>
void backward_block(const CpuBackward& call, int64_t batch, int64_t index, int64_t segment, float* memory) {
  const auto& [p, args, plan] = call;
  const Block block = block_at(plan, batch, index);
  const Sums sums = sums_of<T>(call, block);
  Scratch scratch{memory};
  const Buffers buffers = take_buffers(p, plan.chunk, scratch);
  const Weights w = prepare_weights<D, T, variable_B, variable_C>(p, args, block, buffers, scratch);
  const int64_t state_floats = p.dstate * kParts<T> * kLanes;
  float* before = scratch.take(p.dstate * kParts<T>);
  float *dtA = scratch.take(plan.chunk), *dt = scratch.take(plan.chunk), *x = scratch.take(plan.chunk),
        *dy = scratch.take(plan.chunk);
  BackwardTile tile{};
  tile.dtA = dtA;
  tile.dt = dt;
  tile.x = x;
  tile.dy = dy;
  tile.dx = scratch.take(plan.chunk);
  tile.ddt = scratch.take(plan.chunk);
  tile.ddtA = scratch.take(plan.chunk);
  tile.states = scratch.take((plan.chunk + 1) * kCpuStates * kParts<T>);
  tile.transitions = scratch.take(plan.chunk * kCpuStates * kParts<T>);
  tile.products_B = scratch.take(kLanes * kCpuStates * kParts<T>);
  tile.products_C = scratch.take(kLanes * kCpuStates * kParts<T>);
  BackwardRows rows{};
  for (float** piece : {&rows.dt, &rows.dtA, &rows.x, &rows.dy, &rows.gate, &rows.gate_slope, &rows.ddt}) {
    *piece = scratch.take(plan.chunk);
    fill(*piece, plan.chunk * kLanes, 0.0f);  // also where there is no channel or no step
  }
  rows.dt_slope = scratch.take(plan.chunk);
  fill(rows.dt_slope, plan.chunk * kLanes, 1.0f);  // without softplus
  rows.dx = rows.x;
  rows.ddtA = rows.dtA;
  for (int64_t i = 0; i < kLanes; ++i) tile.used[i] = i < block.width ? -1 : 0;

  const int64_t slab = index % plan.blocks_per_group / plan.blocks_per_slab;
  const int64_t partial =
      ((block.batch * p.groups + block.group) * plan.slabs_per_group + slab) * p.dstate * kParts<T> * plan.segment;
  const auto partial_at = [&call, partial](int64_t offset, int64_t t) {
    return reinterpret_cast<float*>(static_cast<char*>(call.args.workspace) + offset) + partial + t;
  };
  tile.stride = plan.segment;
  tile.first_of_slab = index % plan.blocks_per_group % plan.blocks_per_slab == 0;

  if (segment == plan.segments - 1) {
    for (double* sum : {sums.transition, sums.input, sums.B, sums.C})
      for (int64_t i = 0; i < state_floats; ++i) sum[i] = 0.0;
    for (int64_t i = 0; i < kLanes; ++i) sums.skip[i] = sums.bias[i] = 0.0;
    if (args.dlast_state.data)
      gather<T>(states<T>(args.dlast_state, p, block), block.width, p.dstate, sums.carry);
    else
      fill(sums.carry, state_floats, 0.0f);
  }

  const int64_t first_chunk = segment * (plan.segment / plan.chunk);
  const int64_t behind = first_chunk + plan.segment / plan.chunk;
  for (int64_t chunk = (behind < plan.chunks ? behind : plan.chunks) - 1; chunk >= first_chunk; --chunk) {
    tile.t0 = chunk * plan.chunk;
    tile.steps = p.seqlen - tile.t0 < plan.chunk ? p.seqlen - tile.t0 : plan.chunk;
    if constexpr (variable_B) tile.dB = partial_at(plan.partial_B_offset, tile.t0 - segment * plan.segment);
    if constexpr (variable_C) tile.dC = partial_at(plan.partial_C_offset, tile.t0 - segment * plan.segment);
    const RowAccess row{p.dtype, block, tile.t0, tile.steps};
    prepare_rows<D>(call, row, buffers, rows);
    tile_from_rows(args.deltaA.data ? rows.dtA : rows.dt, plan.chunk, dtA);
    tile_from_rows(rows.x, plan.chunk, x);
    tile_from_rows(rows.dy, plan.chunk, dy);
    if constexpr (D::kInput == InputFactor::per_state) tile_from_rows(rows.dt, plan.chunk, dt);
    for (float* sum : {tile.dx, tile.ddt, tile.ddtA}) fill(sum, plan.chunk * kLanes, 0.0f);

    const float* state = before;
    if (chunk > 0)
      state = static_cast<const float*>(args.saved) + saved_offset<T>(plan, p, block, chunk);
    else if (args.h0.data)
      gather<T>(states<T>(args.h0, p, block), block.width, p.dstate, before);
    else
      fill(before, state_floats, 0.0f);

    int64_t n = 0;
    for (; n + kCpuStates <= p.dstate; n += kCpuStates)
      retreat<D, T, variable_B, variable_C, kCpuStates>(p, w, tile, n, state, sums);
    for (; n < p.dstate; ++n) retreat<D, T, variable_B, variable_C, 1>(p, w, tile, n, state, sums);

    rows_from_tile(tile.dx, plan.chunk, rows.dx);
    rows_from_tile(tile.ddtA, plan.chunk, rows.ddtA);
    if constexpr (D::kInput == InputFactor::per_state) rows_from_tile(tile.ddt, plan.chunk, rows.ddt);
    finish_rows<D>(call, row, buffers, rows, sums);
  }
  if (segment == 0 && args.dh0.data) scatter<T>(sums.carry, block.width, p.dstate, states<T>(args.dh0, p, block));
}

// dA, fixed dB and dC, dD, ddelta_bias of a block: what the batches have summed up, in order.
template <class D, class T, bool variable_B, bool variable_C>
void finish_block(const CpuBackward& call, int64_t index) {
  const lrnnx_selective_scan_problem& p = call.problem;
  const lrnnx_selective_scan_backward_args& args = call.args;
  const CpuPlan& plan = call.plan;
  const auto over_batches = [&](double* Sums::*member, int64_t at) {
    double total = 0.0;
    for (int64_t b = 0; b < p.batch; ++b) total += (sums_of<T>(call, block_at(plan, b, index)).*member)[at];
    return static_cast<float>(total);
  };
  const auto number_over_batches = [&](double* Sums::*member, int64_t n, int64_t lane) -> T {
    const int64_t at = n * kParts<T> * kLanes + lane;
    if constexpr (kParts<T> == 1)
      return over_batches(member, at);
    else
      return {over_batches(member, at), over_batches(member, at + kLanes)};
  };
  const Block block = block_at(plan, 0, index);
  const auto numbers = [&](const lrnnx_tensor& tensor) { return static_cast<T*>(tensor.data) + block.dim * p.dstate; };
  for (int64_t i = 0; i < block.width; ++i) {
    for (int64_t n = 0; n < p.dstate; ++n) {
      const int64_t to = i * p.dstate + n;
      if constexpr (D::kUsesA)
        numbers(args.dA)[to] = D::weight_gradient(numbers(args.A)[to], number_over_batches(&Sums::transition, n, i),
                                                  number_over_batches(&Sums::input, n, i));
      if constexpr (!variable_B && D::kTakesB) numbers(args.dB)[to] = number_over_batches(&Sums::B, n, i);
      if constexpr (!variable_C) numbers(args.dC)[to] = number_over_batches(&Sums::C, n, i);
    }
    if (args.dD.data) data(args.dD)[block.dim + i] = over_batches(&Sums::skip, i);
    if (args.ddelta_bias.data) data(args.ddelta_bias)[block.dim + i] = over_batches(&Sums::bias, i);
  }
}

// --- the table ------------------------------------------------------------------------------------------------------

template <class D, class T, bool variable_B, bool variable_C>
constexpr CpuKernels kKernels = {forward_block<D, T, variable_B, variable_C>,
                                 backward_block<D, T, variable_B, variable_C>,
                                 finish_block<D, T, variable_B, variable_C>};

template <class D, class T>
CpuKernels kernels_for(uint32_t options) {
  if constexpr (D::kTakesB)
    if (options & LRNNX_VARIABLE_B)
      return options & LRNNX_VARIABLE_C ? kKernels<D, T, true, true> : kKernels<D, T, true, false>;
  return options & LRNNX_VARIABLE_C ? kKernels<D, T, false, true> : kKernels<D, T, false, false>;
}

template <template <class> class D, bool takes_real, bool takes_complex>
CpuKernels kernels_of(const lrnnx_selective_scan_problem& problem) {
  if constexpr (takes_complex)
    if (!takes_real || problem.dtype == LRNNX_C64) return kernels_for<D<Complex>, Complex>(problem.options);
  if constexpr (takes_real) return kernels_for<D<float>, float>(problem.options);
}

}  // namespace
}  // namespace lrnnx
