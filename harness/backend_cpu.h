// Makes the backend cpu.
#pragma once

#include <memory>

#include "harness/backend.h"

namespace lrnnx::bench {

std::unique_ptr<Backend> make_cpu_backend();

}  // namespace lrnnx::bench
