// Guard bytes, poison and checksums.
#include "harness/guarded_buffer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace lrnnx::bench {
namespace {

constexpr int64_t kGuardBytes = 4096;
// As a float -1.7e38: a kernel that reads past a tensor's end shows it in what it computes.
constexpr unsigned char kGuard = 0xFE;
constexpr unsigned char kPoison = 0xFF;  // as a float, NaN

}  // namespace

GuardedBuffer::GuardedBuffer(Backend& backend, int64_t bytes) : backend_(&backend), bytes_(bytes) {
  if (bytes == 0) return;
  memory_ = backend.allocate(bytes + 2 * kGuardBytes);
  auto* begin = static_cast<char*>(memory_.data());
  backend.fill_bytes(begin, kGuard, kGuardBytes);
  backend.fill_bytes(begin + kGuardBytes + bytes, kGuard, kGuardBytes);
  poison();
}

void* GuardedBuffer::data() const {
  return memory_.data() ? static_cast<char*>(memory_.data()) + kGuardBytes : nullptr;
}

void GuardedBuffer::poison() {
  if (bytes_ > 0) backend_->fill_bytes(data(), kPoison, bytes_);
}

uint64_t GuardedBuffer::checksum() const {
  if (bytes_ == 0) return 0;
  std::vector<uint64_t> words(static_cast<size_t>((bytes_ + 7) / 8));
  backend_->copy_out(words.data(), data(), bytes_);
  uint64_t sum = 0;
  for (const uint64_t word : words) sum = (sum ^ word) * 0x9E3779B97F4A7C15u + (sum >> 29);
  return sum;
}

std::optional<std::string> GuardedBuffer::overwritten() const {
  if (bytes_ == 0) return std::nullopt;
  const auto changed = [&](int64_t offset) {
    std::array<unsigned char, kGuardBytes> guard;
    backend_->copy_out(guard.data(), static_cast<char*>(memory_.data()) + offset, kGuardBytes);
    return kGuardBytes - std::count(guard.begin(), guard.end(), kGuard);
  };
  const int64_t before = changed(0), after = changed(kGuardBytes + bytes_);
  if (before == 0 && after == 0) return std::nullopt;
  return fmt::format("{} of the {} bytes before it and {} after it", before, kGuardBytes, after);
}

}  // namespace lrnnx::bench
