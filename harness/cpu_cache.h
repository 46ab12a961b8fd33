// How large the caches of the processor are.
#pragma once

#include <cstdint>

namespace lrnnx::bench {

// Of one instance of the highest level, in bytes; 0 if the system does not say.
int64_t last_level_cache_bytes();

}  // namespace lrnnx::bench
