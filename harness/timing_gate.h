// What the timer of the cuda backend runs on the device; apart from the rest, which nvcc would parse three times.
#pragma once

#include <cuda_runtime_api.h>

namespace lrnnx::bench {

// Host memory that the device reads and writes while a kernel runs.
struct Gate {
  int released;
  int expired;
  long long clock_cycles, clock_ns;
};

// Each queues one kernel; whether that failed is left for cudaGetLastError() to say.

// Holds the stream until the host releases it, so that everything queued behind starts back to back.
void queue_hold(cudaStream_t stream, Gate* gate, unsigned long long limit_ns);

// The clock of a multiprocessor while the device is as warm as the launch before left it.
void queue_clock(cudaStream_t stream, Gate* gate, unsigned long long duration_ns);

}  // namespace lrnnx::bench
