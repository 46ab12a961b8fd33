// Makes the backend cuda.
#pragma once

#include <memory>

#include "harness/backend.h"

namespace lrnnx::bench {

std::unique_ptr<Backend> make_cuda_backend();

}  // namespace lrnnx::bench
