// The C ABI as a table of functions: an implementation that is linked in, or any other library that offers it.
#pragma once

#include <string>
#include <vector>

#include "lrnnx/lrnnx.h"

namespace lrnnx::bench {

struct SelectiveScanFunctions {
  decltype(&lrnnx_selective_scan_memory) memory = nullptr;
  decltype(&lrnnx_selective_scan_configuration) configuration = nullptr;
  decltype(&lrnnx_selective_scan_configuration_keys) configuration_keys = nullptr;  // may be missing
  decltype(&lrnnx_selective_scan_forward) forward = nullptr;
  decltype(&lrnnx_selective_scan_backward) backward = nullptr;
};

// The functions that are no operator's own, and those of each family.
struct Library {
  std::string name;
  decltype(&lrnnx_abi_version) abi_version = nullptr;
  decltype(&lrnnx_status_name) status_name = nullptr;
  decltype(&lrnnx_last_error) last_error = nullptr;
  decltype(&lrnnx_variant_count) variant_count = nullptr;
  decltype(&lrnnx_variant_at) variant_at = nullptr;
  SelectiveScanFunctions selective_scan{};

  // Throws LibraryError naming the call and last_error(), unless status is LRNNX_OK.
  void require_ok(lrnnx_status status, const char* call) const;
};

// The library of this repository, called lrnnx.
const Library& linked_library();

// Every implementation that is linked in, that one first. Another one is one more line.
const std::vector<const Library*>& linked_libraries();

}  // namespace lrnnx::bench
