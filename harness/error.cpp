// Turns a status of the C ABI into an exception.
#include "harness/error.h"

#include <fmt/format.h>

namespace lrnnx::bench {

void require_ok(lrnnx_status status, const char* call) {
  if (status == LRNNX_OK) return;
  throw LibraryError(status, fmt::format("{}: {}: {}", call, lrnnx_status_name(status), lrnnx_last_error()));
}

}  // namespace lrnnx::bench
