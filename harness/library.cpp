// The tables of the implementations that are linked in.
#include "harness/library.h"

#include <fmt/format.h>

#include <algorithm>

#include "harness/error.h"
#include "kernels/naive/naive.h"

namespace lrnnx::bench {

void Library::require_ok(lrnnx_status status, const char* call) const {
  if (status == LRNNX_OK) return;
  // What was loaded may return anything, and a terminal would obey some of it.
  const auto plain = [](const char* text, const char* otherwise) {
    std::string line = text ? text : otherwise;
    std::ranges::replace_if(
        line, [](unsigned char c) { return c < 32 || c == 127; }, '?');
    return line;
  };
  throw LibraryError(status, fmt::format("{}: {}: {}", call, plain(status_name(status), "no name of its status"),
                                         plain(last_error(), "lrnnx_last_error is null")));
}

const Library& linked_library() {
  static const Library library{.name = "lrnnx",
                               .abi_version = lrnnx_abi_version,
                               .status_name = lrnnx_status_name,
                               .last_error = lrnnx_last_error,
                               .variant_count = lrnnx_variant_count,
                               .variant_at = lrnnx_variant_at,
                               .selective_scan = {.memory = lrnnx_selective_scan_memory,
                                                  .configuration = lrnnx_selective_scan_configuration,
                                                  .configuration_keys = lrnnx_selective_scan_configuration_keys,
                                                  .forward = lrnnx_selective_scan_forward,
                                                  .backward = lrnnx_selective_scan_backward}};
  return library;
}

namespace {

// Of the same variants and errors.
const Library& naive_library() {
  static const Library library = [] {
    Library naive = linked_library();
    naive.name = "naive";
    naive.selective_scan = {.memory = naive::selective_scan_memory,
                            .configuration = naive::selective_scan_configuration,
                            .configuration_keys = naive::selective_scan_configuration_keys,
                            .forward = naive::selective_scan_forward,
                            .backward = naive::selective_scan_backward};
    return naive;
  }();
  return library;
}

}  // namespace

const std::vector<const Library*>& linked_libraries() {
  static const std::vector<const Library*> libraries = {&linked_library(), &naive_library()};
  return libraries;
}

}  // namespace lrnnx::bench
