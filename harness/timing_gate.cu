// The kernels of the timer of the cuda backend.
#include "harness/timing_gate.h"

namespace lrnnx::bench {
namespace {

__device__ unsigned long long global_nanoseconds() {
  unsigned long long time;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time));
  return time;
}

__global__ void hold_stream(volatile Gate* gate, unsigned long long limit_ns) {
  const unsigned long long begin = global_nanoseconds();
  while (gate->released == 0) {
    if (global_nanoseconds() - begin > limit_ns) {
      gate->expired = 1;
      __threadfence_system();
      return;
    }
  }
}

// From step to step of the global timer, which may be as long as a microsecond.
__global__ void measure_clock(Gate* gate, unsigned long long duration_ns) {
  const unsigned long long before_ns = global_nanoseconds();
  unsigned long long begin_ns = before_ns;
  while (begin_ns == before_ns) begin_ns = global_nanoseconds();
  const long long begin = clock64();
  unsigned long long now_ns = begin_ns;
  while (now_ns - begin_ns < duration_ns) now_ns = global_nanoseconds();
  gate->clock_cycles = clock64() - begin;
  gate->clock_ns = static_cast<long long>(now_ns - begin_ns);
}

}  // namespace

void queue_hold(cudaStream_t stream, Gate* gate, unsigned long long limit_ns) {
  hold_stream<<<1, 1, 0, stream>>>(gate, limit_ns);
}

void queue_clock(cudaStream_t stream, Gate* gate, unsigned long long duration_ns) {
  measure_clock<<<1, 1, 0, stream>>>(gate, duration_ns);
}

}  // namespace lrnnx::bench
