// The sets of sizes: where tiles, warps, vectors and grids of these and of other kernels begin and end.
#include "harness/shapes.h"

namespace lrnnx::bench {
namespace {

constexpr ShapeSet kSets[] = {
    {"batch", "few", "1,3", "one, and more than one"},
    {"dim", "few", "1,3", "one, and more than one"},
    {"dim", "vector", "7,8,9,15,16,17", "around the 8 and 16 lanes of the CPU's vectors"},
    {"dim", "block", "31,32,33,63,64,65", "around the 32 and 64 channels of a CUDA block"},
    {"dim", "grid", "65535,65536", "around what a CUDA grid takes in y and z"},
    {"seqlen", "tiny", "1,2,3", "no tile is full"},
    {"seqlen", "warp", "31,32,33", "around a warp and a CUDA tile"},
    {"seqlen", "tile", "127,128,129", "around a CPU tile"},
    {"seqlen", "block", "255,256,257,511,512,513", "around what a thread block takes at once"},
    {"seqlen", "chunk", "1023,1024,1025,2047,2048,2049", "around the chunks that hand a carry on"},
    {"seqlen", "long", "4095:4099,6145", "several chunks, the last one full, over or short"},
    {"dstate", "few", "1,2,3", "fewer than a kernel advances together"},
    {"dstate", "lanes", "4,5,8,15,16,17", "around the states that a lane, a pass and a special kernel take"},
    {"dstate", "most", "255,256", "the largest"},
};

}  // namespace

std::span<const ShapeSet> shape_sets() { return kSets; }

const ShapeSet* find_shape_set(std::string_view axis, std::string_view name) {
  for (const ShapeSet& set : kSets) {
    if (set.axis == axis && set.name == name) return &set;
  }
  return nullptr;
}

}  // namespace lrnnx::bench
