// Where a variant runs: memory, copies and streams of the cpu and of a CUDA device. Timing is in timing.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace lrnnx::bench {

// Owns memory of one backend, aligned to 256 bytes. Movable.
class Buffer {
 public:
  Buffer() = default;
  Buffer(void* data, int64_t bytes, void (*release)(void*)) : data_(data), bytes_(bytes), release_(release) {}
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    Buffer(std::move(other)).swap(*this);
    return *this;
  }
  ~Buffer() {
    if (data_) release_(data_);
  }
  void* data() const { return data_; }
  int64_t bytes() const { return bytes_; }

 private:
  void swap(Buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(release_, other.release_);
  }
  void* data_ = nullptr;
  int64_t bytes_ = 0;
  void (*release_)(void*) = nullptr;
};

// Part of what is copied: its bytes from `offset` on.
using WritePart = std::function<void(unsigned char* part, int64_t offset, int64_t bytes)>;
using ReadPart = std::function<void(const unsigned char* part, int64_t offset, int64_t bytes)>;

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string_view name() const = 0;
  // Why nothing can run here ("no CUDA device"); nothing if it can. Every other call needs an available backend.
  virtual std::optional<std::string> unavailable() const = 0;
  virtual int64_t device_count() const = 0;  // 0 if unavailable
  // "NVIDIA H100 80GB HBM3", or the processor's name.
  virtual std::string device_name() const = 0;

  // All throw SystemError naming the call that failed and why; allocate throws OutOfMemory if memory is what is
  // missing.
  virtual Buffer allocate(int64_t bytes) = 0;
  // Part after part, each a multiple of 4096 bytes but the last; complete on return.
  virtual void copy_in(void* destination, int64_t bytes, const WritePart& write) = 0;
  virtual void copy_out(const void* source, int64_t bytes, const ReadPart& read) = 0;
  virtual void fill_bytes(void* destination, unsigned char value, int64_t bytes) = 0;  // queued on stream()
  virtual void synchronize() = 0;  // also reports what earlier launches did wrong
  virtual void* stream() = 0;      // cudaStream_t that launches are queued on; null on the cpu
};

// "cpu", "cuda", in the order of preference of `default_backend` reversed.
std::vector<std::string> backend_names();

// The one backend of that name, kept until the program ends. Throws UsageError listing the names.
Backend& backend(std::string_view name);

// cuda if a device is there, else cpu.
Backend& default_backend();

}  // namespace lrnnx::bench
