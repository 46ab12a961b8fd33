// The sentence behind lrnnx_last_error(): one a thread, written where a call fails.
#pragma once

#include "lrnnx/lrnnx.h"

namespace lrnnx {

// Keeps the formatted message for lrnnx_last_error() and returns `status`, so that `return fail(...)` ends a call.
[[gnu::format(printf, 2, 3)]] lrnnx_status fail(lrnnx_status status, const char* format, ...);

}  // namespace lrnnx
