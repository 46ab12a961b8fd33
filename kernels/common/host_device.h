// LRNNX_HD marks functions that compile for the host and, under nvcc, for the device.
#pragma once

// Always inlined: a translation unit built for AVX-512 must not leave a copy behind that another one links to.
#if defined(__CUDACC__)
#define LRNNX_HD __host__ __device__ __forceinline__
#else
#define LRNNX_HD inline __attribute__((always_inline))
#endif
