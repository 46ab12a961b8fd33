// Names a stretch of time for a profiler, in the NVTX domain "lrnnx-bench"; nothing in a build without CUDA.
#pragma once

#ifdef LRNNX_WITH_CUDA

#include <nvtx3/nvtx3.hpp>

namespace lrnnx::bench {

struct ProfilerDomain {
  static constexpr char const* name{"lrnnx-bench"};
};
using ProfilerRange = nvtx3::scoped_range_in<ProfilerDomain>;

}  // namespace lrnnx::bench

#else

namespace lrnnx::bench {

struct ProfilerRange {
  explicit ProfilerRange(const char*) {}
  ~ProfilerRange() {}  // not trivial: an object of it is not an unused variable
};

}  // namespace lrnnx::bench

#endif
