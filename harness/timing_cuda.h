// The timer of the cuda backend.
#pragma once

#include <memory>

namespace lrnnx::bench {

class Timer;

// `stream` is the cudaStream_t that launches are queued on. Needs a device; throws SystemError.
std::unique_ptr<Timer> make_cuda_timer(void* stream);

}  // namespace lrnnx::bench
