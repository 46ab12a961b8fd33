// Memory of a backend between guard bytes, which tell whether a launch wrote outside of what is its own.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "harness/backend.h"

namespace lrnnx::bench {

// Rows of bytes in a buffer; what lies between them is guarded too.
struct RowPattern {
  int64_t offset = 0;                          // of the first row
  int64_t row_bytes = 0;                       // of one row
  int64_t outer = 1, inner = 1;                // rows: outer * inner, in the order of the values
  int64_t outer_stride = 0, inner_stride = 0;  // bytes from row to row

  int64_t value_bytes() const { return outer * inner * row_bytes; }
  int64_t span() const;     // from the start of the buffer to the end of the last row
  bool contiguous() const;  // the values in their order, from the start on, with nothing between them
};

class GuardedBuffer {
 public:
  GuardedBuffer() = default;
  // Poisoned; its start is aligned to 256 bytes. Null and unguarded if there are no bytes.
  GuardedBuffer(Backend& backend, RowPattern pattern);
  GuardedBuffer(Backend& backend, int64_t bytes) : GuardedBuffer(backend, RowPattern{.row_bytes = bytes}) {}

  void* data() const;  // the first row
  int64_t bytes() const { return pattern_.value_bytes(); }
  int64_t allocated_bytes() const { return memory_.bytes(); }
  const RowPattern& pattern() const { return pattern_; }

  void poison();                  // every number becomes NaN
  void litter();                  // every number becomes some other one, as if something had left it there
  void disturb(uint64_t random);  // one of its numbers becomes NaN, queued on the backend's stream
  void write(const WritePart& write);
  void read(const ReadPart& read) const;
  uint64_t checksum() const;  // of the contents, after synchronising
  // "12 of the 4096 bytes before it", or nothing if all guards are as they were.
  std::optional<std::string> overwritten() const;

 private:
  template <class Visit>
  void for_each_row(Visit visit) const;
  std::vector<unsigned char> download() const;  // rows and what is between them
  void upload(const unsigned char* rows, bool advance);
  void fill(unsigned char value);
  void* begin() const;

  Backend* backend_ = nullptr;
  RowPattern pattern_;
  Buffer memory_;
};

}  // namespace lrnnx::bench
