// The C ABI as a table of functions, so that what is checked may be the library linked in or any other that offers it.
#pragma once

#include <string>

#include "lrnnx/lrnnx.h"

namespace lrnnx::bench {

struct Library {
  std::string name;
  decltype(&lrnnx_status_name) status_name;
  decltype(&lrnnx_last_error) last_error;
  decltype(&lrnnx_variant_count) variant_count;
  decltype(&lrnnx_variant_at) variant_at;
  decltype(&lrnnx_selective_scan_memory) selective_scan_memory;
  decltype(&lrnnx_selective_scan_configuration) selective_scan_configuration;
  decltype(&lrnnx_selective_scan_forward) selective_scan_forward;
  decltype(&lrnnx_selective_scan_backward) selective_scan_backward;

  // Throws LibraryError naming the call and last_error(), unless status is LRNNX_OK.
  void require_ok(lrnnx_status status, const char* call) const;
};

const Library& linked_library();

}  // namespace lrnnx::bench
