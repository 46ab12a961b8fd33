// Named sets of sizes, for the axes of suites and of the command line: seqlen=warp stands for 31,32,33.
#pragma once

#include <span>
#include <string_view>

namespace lrnnx::bench {

struct ShapeSet {
  const char* axis;
  const char* name;
  const char* values;
  const char* description;
};

std::span<const ShapeSet> shape_sets();

// Null if the axis has no set of that name.
const ShapeSet* find_shape_set(std::string_view axis, std::string_view name);

}  // namespace lrnnx::bench
