// Every kernel variant that a library reports through its C ABI, and the glob that selects among their names.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "harness/library.h"
#include "harness/problem.h"

namespace lrnnx::bench {

struct Variant {
  std::string family, discretization, dtype, direction, backend;
  uint32_t options = 0;           // that it takes, as lrnnx.h counts them
  std::string name() const;       // "selective_scan.mamba.f32.forward.cuda"
  std::string operation() const;  // the same without the backend
  bool operator==(const Variant&) const = default;
};

// Of the library of this repository, in the order of its table.
const std::vector<Variant>& variants();

// Of any library. Throws LibraryError or SystemError naming what is wrong in its table.
std::vector<Variant> variants_of(const Library& library);

// Whether one of them is the problem's, with all of its options.
bool has_variant(const std::vector<Variant>& variants, const Problem& problem);

// Shell-like: * any run of characters, ? any one, [abc] any of these. The whole name must match.
bool glob_matches(std::string_view pattern, std::string_view name);

}  // namespace lrnnx::bench
