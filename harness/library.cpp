// The table of the library that is linked in.
#include "harness/library.h"

#include <fmt/format.h>

#include "harness/error.h"

namespace lrnnx::bench {

void Library::require_ok(lrnnx_status status, const char* call) const {
  if (status == LRNNX_OK) return;
  throw LibraryError(status, fmt::format("{}: {}: {}", call, status_name(status), last_error()));
}

const Library& linked_library() {
  static const Library library{.name = "lrnnx",
                               .status_name = lrnnx_status_name,
                               .last_error = lrnnx_last_error,
                               .variant_count = lrnnx_variant_count,
                               .variant_at = lrnnx_variant_at,
                               .selective_scan_memory = lrnnx_selective_scan_memory,
                               .selective_scan_configuration = lrnnx_selective_scan_configuration,
                               .selective_scan_forward = lrnnx_selective_scan_forward,
                               .selective_scan_backward = lrnnx_selective_scan_backward};
  return library;
}

}  // namespace lrnnx::bench
