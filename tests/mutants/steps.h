// How the steps of the plain scan run: one after the other on the processor, or as one CUDA kernel a step, in which the
// faults are that only a parallel machine can have.
#pragma once

#include <algorithm>
#include <cstdint>

#include "common/complex.h"
#include "common/host_device.h"
#include "tests/mutants/scan.h"

// Marks what a step calls for the side that it is compiled for.
#if defined(__CUDACC__)
#define LRNNX_SIDE __device__
#else
#define LRNNX_SIDE
#endif

namespace lrnnx::mutants {

using Index = std::int64_t;

// Numbers that are summed in double.
template <int count>
struct Sums {
  double at[count];

  LRNNX_SIDE void add(int i, float x) { at[i] += x; }
  LRNNX_SIDE void add(int i, Complex x) {
    at[i] += x.re;
    at[i + 1] += x.im;
  }
};

// The sum that begins at number i, as a T.
template <class T, int count>
LRNNX_SIDE T value(const Sums<count>& sums, int i = 0) {
  if constexpr (sizeof(T) == sizeof(float))
    return static_cast<float>(sums.at[i]);
  else
    return {static_cast<float>(sums.at[i]), static_cast<float>(sums.at[i + 1])};
}

// each() calls body(i) for every i below `count`. sum() makes `count` sums of `terms` terms: add(sums, i, j) adds term
// j to sum i, store(i, sums) takes it.
#if defined(__CUDACC__)

constexpr unsigned kThreads = 128;

template <class Body>
__global__ void each_kernel(Index count, Body body) {
  const Index i = Index{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < count) body(i);
}

// A block a sum: its threads' parts are added in a tree, always in the same order.
template <int numbers, class Add, class Store>
__global__ void sum_kernel(Index terms, Bug bug, Add add, Store store) {
  __shared__ Sums<numbers> parts[kThreads];
  __shared__ float by_atomics[numbers];
  const unsigned thread = threadIdx.x;
  Sums<numbers> own{};
  for (Index j = thread; j < terms; j += kThreads) add(own, Index{blockIdx.x}, j);
  if (bug == Bug::cuda_atomics) {
    if (thread < numbers) by_atomics[thread] = 0;
    __syncthreads();
    for (int i = 0; i < numbers; ++i) atomicAdd(&by_atomics[i], static_cast<float>(own.at[i]));
    __syncthreads();
    for (int i = 0; i < numbers; ++i) own.at[i] = by_atomics[i];
    if (thread == 0) store(blockIdx.x, own);
    return;
  }
  if (bug != Bug::cuda_shared_unset || thread < terms) parts[thread] = own;
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    if (bug != Bug::cuda_no_barrier) __syncthreads();
    if (thread < half)
      for (int i = 0; i < numbers; ++i) parts[thread].at[i] += parts[thread + half].at[i];
  }
  if (thread == 0) store(blockIdx.x, parts[0]);
}

// Queues the steps on a stream. After a launch has failed it does nothing more.
class CudaSteps {
 public:
  CudaSteps(Bug bug, void* stream)
      : bug_(bug), stream_(bug == Bug::cuda_other_stream ? nullptr : static_cast<cudaStream_t>(stream)) {}

  template <class Body>
  void each(Index count, Body body) {
    if (error_ != cudaSuccess) return;
    const bool rounds_down = bug_ == Bug::cuda_last_block && count > kThreads;
    each_kernel<<<blocks((count + (rounds_down ? 0 : kThreads - 1)) / kThreads), kThreads, 0, stream_>>>(count, body);
    error_ = cudaGetLastError();
  }

  template <int numbers, class Add, class Store>
  void sum(Index count, Index terms, Add add, Store store) {
    if (error_ != cudaSuccess) return;
    sum_kernel<numbers><<<blocks(count), kThreads, 0, stream_>>>(terms, bug_, add, store);
    error_ = cudaGetLastError();
  }

  cudaError_t error() const { return error_; }

 private:
  unsigned blocks(Index wanted) const {
    return static_cast<unsigned>(bug_ == Bug::cuda_grid_ends ? std::min(wanted, Index{65535}) : wanted);
  }

  Bug bug_;
  cudaStream_t stream_;
  cudaError_t error_ = cudaSuccess;
};

#else

class CpuSteps {
 public:
  template <class Body>
  void each(Index count, Body body) {
    for (Index i = 0; i < count; ++i) body(i);
  }

  template <int numbers, class Add, class Store>
  void sum(Index count, Index terms, Add add, Store store) {
    for (Index i = 0; i < count; ++i) {
      Sums<numbers> sums{};
      for (Index j = 0; j < terms; ++j) add(sums, i, j);
      store(i, sums);
    }
  }
};

#endif

}  // namespace lrnnx::mutants
