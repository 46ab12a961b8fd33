// Memory of a backend between guard bytes, which tell whether a launch wrote outside of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "harness/backend.h"

namespace lrnnx::bench {

class GuardedBuffer {
 public:
  GuardedBuffer() = default;
  // Poisoned, aligned to 256 bytes. Null and unguarded if bytes is 0.
  GuardedBuffer(Backend& backend, int64_t bytes);

  void* data() const;
  int64_t bytes() const { return bytes_; }
  int64_t allocated_bytes() const { return memory_.bytes(); }

  void poison();              // every float becomes NaN
  uint64_t checksum() const;  // of the contents, after synchronising
  // "12 of the 4096 bytes before it", or nothing if all guards are as they were.
  std::optional<std::string> overwritten() const;

 private:
  Backend* backend_ = nullptr;
  int64_t bytes_ = 0;
  Buffer memory_;
};

}  // namespace lrnnx::bench
