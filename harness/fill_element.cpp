// Seeds out of text.
#include "harness/fill_element.h"

namespace lrnnx::bench {

// FNV-1a, with SplitMix64's finaliser for the high bits.
uint64_t hash_text(std::string_view text) {
  uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  return mix_bits(hash);
}

}  // namespace lrnnx::bench
