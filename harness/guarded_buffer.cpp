// Guard bytes, poison, rows and checksums.
#include "harness/guarded_buffer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "harness/fill_element.h"

namespace lrnnx::bench {
namespace {

constexpr int64_t kGuardBytes = 4096;
// E0 7F E0 7F ...: as a number of any type NaN, and not that of kPoison. A kernel that reads past a tensor's end shows
// it in what it computes, even if it multiplies what it read by 0.
constexpr unsigned char kGuard[] = {0xE0, 0x7F};
unsigned char guard_at(int64_t offset) { return kGuard[offset % 2]; }  // from the start of the memory, which is even

int64_t count_guards(const unsigned char* part, int64_t offset, int64_t bytes) {
  int64_t intact = 0;
  for (int64_t i = 0; i < bytes; ++i) intact += part[i] == guard_at(offset + i);
  return intact;
}
constexpr unsigned char kPoison = 0xFF;  // as a number of any type, NaN
constexpr unsigned char kLitter = 0x3B;  // 0.0029 as a float or a bfloat16, 0.9 as a binary16

// A sum over words of 8 bytes, in which each counts by its value and its place: in any order the same.
uint64_t checksum_of(const unsigned char* part, int64_t offset, int64_t bytes) {
  constexpr int64_t kWord = sizeof(uint64_t), kBlock = 1 << 15;
  const auto word_at = [&](int64_t at) {
    uint64_t word = 0;
    std::memcpy(&word, part + at, static_cast<size_t>(std::min(kWord, bytes - at)));
    return mix_bits(word + static_cast<uint64_t>((offset + at) / kWord + 1) * 0x9E3779B97F4A7C15u);
  };
  const int64_t whole = bytes / kWord * kWord;
  uint64_t sum = whole < bytes ? word_at(whole) : 0;
#pragma omp parallel for schedule(static) reduction(+ : sum) if (whole > kBlock)
  for (int64_t at = 0; at < whole; at += kWord) sum += word_at(at);
  return sum;
}

}  // namespace

int64_t RowPattern::span() const {
  return offset + (outer - 1) * outer_stride + (inner - 1) * inner_stride + row_bytes;
}

bool RowPattern::contiguous() const {
  return offset == 0 && (inner == 1 || inner_stride == row_bytes) && (outer == 1 || outer_stride == inner * row_bytes);
}

template <class Visit>
void GuardedBuffer::for_each_row(Visit visit) const {
  for (int64_t i = 0; i < pattern_.outer; ++i) {
    for (int64_t j = 0; j < pattern_.inner; ++j)
      visit(pattern_.offset + i * pattern_.outer_stride + j * pattern_.inner_stride,
            (i * pattern_.inner + j) * pattern_.row_bytes);
  }
}

GuardedBuffer::GuardedBuffer(Backend& backend, RowPattern pattern) : backend_(&backend), pattern_(pattern) {
  if (pattern.value_bytes() == 0) return;
  memory_ = backend.allocate(pattern.span() + 2 * kGuardBytes);
  for (const int64_t offset : {int64_t{0}, kGuardBytes + pattern.span()})
    backend.copy_in(static_cast<char*>(memory_.data()) + offset, kGuardBytes,
                    [offset](unsigned char* part, int64_t from, int64_t bytes) {
                      for (int64_t i = 0; i < bytes; ++i) part[i] = guard_at(offset + from + i);
                    });
  poison();
}

void* GuardedBuffer::begin() const { return static_cast<char*>(memory_.data()) + kGuardBytes; }

void* GuardedBuffer::data() const { return memory_.data() ? static_cast<char*>(begin()) + pattern_.offset : nullptr; }

void GuardedBuffer::poison() { fill(kPoison); }

void GuardedBuffer::litter() { fill(kLitter); }

void GuardedBuffer::disturb(uint64_t random) {
  // Of four bytes, aligned: a whole float or two halves. Of the last row's end maybe two.
  constexpr uint64_t kNumber = 4;
  if (bytes() == 0) return;
  const auto row = static_cast<int64_t>(random % static_cast<uint64_t>(pattern_.outer * pattern_.inner));
  const uint64_t numbers = (static_cast<uint64_t>(pattern_.row_bytes) + kNumber - 1) / kNumber;
  const auto at = static_cast<int64_t>(mix_bits(random) % numbers * kNumber);
  const int64_t offset = pattern_.offset + row / pattern_.inner * pattern_.outer_stride +
                         row % pattern_.inner * pattern_.inner_stride + at;
  backend_->fill_bytes(static_cast<char*>(begin()) + offset, kPoison,
                       std::min<int64_t>(kNumber, pattern_.row_bytes - at));
}

void GuardedBuffer::fill(unsigned char value) {
  if (bytes() == 0) return;
  if (pattern_.contiguous()) return backend_->fill_bytes(data(), value, bytes());
  const std::vector<unsigned char> row(static_cast<size_t>(pattern_.row_bytes), value);
  upload(row.data(), false);
}

void GuardedBuffer::write(const WritePart& write) {
  if (bytes() == 0) return;
  if (pattern_.contiguous()) return backend_->copy_in(data(), bytes(), write);
  std::vector<unsigned char> rows(static_cast<size_t>(bytes()));
  write(rows.data(), 0, bytes());
  upload(rows.data(), true);
}

// What is between the rows becomes guards again.
void GuardedBuffer::upload(const unsigned char* rows, bool advance) {
  std::vector<unsigned char> image(static_cast<size_t>(pattern_.span()));
  for (size_t i = 0; i < image.size(); ++i) image[i] = guard_at(kGuardBytes + static_cast<int64_t>(i));
  for_each_row([&](int64_t to, int64_t from) {
    std::memcpy(image.data() + to, rows + (advance ? from : 0), static_cast<size_t>(pattern_.row_bytes));
  });
  backend_->copy_in(begin(), pattern_.span(), [&](unsigned char* part, int64_t offset, int64_t bytes) {
    std::memcpy(part, image.data() + offset, static_cast<size_t>(bytes));
  });
}

std::vector<unsigned char> GuardedBuffer::download() const {
  std::vector<unsigned char> image(static_cast<size_t>(pattern_.span()));
  backend_->copy_out(begin(), pattern_.span(), [&](const unsigned char* part, int64_t offset, int64_t bytes) {
    std::memcpy(image.data() + offset, part, static_cast<size_t>(bytes));
  });
  return image;
}

void GuardedBuffer::read(const ReadPart& read) const {
  if (bytes() == 0) return;
  if (pattern_.contiguous()) return backend_->copy_out(data(), bytes(), read);
  const std::vector<unsigned char> image = download();
  std::vector<unsigned char> rows(static_cast<size_t>(bytes()));
  for_each_row([&](int64_t from, int64_t to) {
    std::memcpy(rows.data() + to, image.data() + from, static_cast<size_t>(pattern_.row_bytes));
  });
  read(rows.data(), 0, bytes());
}

uint64_t GuardedBuffer::checksum() const {
  uint64_t sum = 0;
  if (bytes() == 0) return sum;
  backend_->copy_out(begin(), pattern_.span(), [&](const unsigned char* part, int64_t offset, int64_t bytes) {
    sum += checksum_of(part, offset, bytes);
  });
  return sum;
}

std::optional<std::string> GuardedBuffer::overwritten() const {
  if (bytes() == 0) return std::nullopt;
  const auto changed = [&](int64_t offset) {
    int64_t intact = 0;
    backend_->copy_out(static_cast<char*>(memory_.data()) + offset, kGuardBytes,
                       [&](const unsigned char* part, int64_t from, int64_t bytes) {
                         intact += count_guards(part, offset + from, bytes);
                       });
    return kGuardBytes - intact;
  };
  const int64_t before = changed(0), after = changed(kGuardBytes + pattern_.span());
  int64_t between = 0, gaps = 0;
  if (!pattern_.contiguous()) {
    std::vector<unsigned char> image = download();
    for_each_row([&](int64_t row, int64_t) {
      for (int64_t i = row; i < row + pattern_.row_bytes; ++i)
        image[static_cast<size_t>(i)] = guard_at(kGuardBytes + i);
    });
    between = pattern_.span() - count_guards(image.data(), kGuardBytes, pattern_.span());
    gaps = pattern_.span() - bytes();
  }
  if (before == 0 && after == 0 && between == 0) return std::nullopt;
  std::string text = fmt::format("{} of the {} bytes before it and {} after it", before, kGuardBytes, after);
  if (gaps > 0) text += fmt::format(", {} of the {} between its rows", between, gaps);
  return text;
}

}  // namespace lrnnx::bench
