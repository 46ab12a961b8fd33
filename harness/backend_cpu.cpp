// The processor and main memory.
#include "harness/backend_cpu.h"

#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <fstream>

#include "harness/error.h"

namespace lrnnx::bench {
namespace {

constexpr int64_t kAlignment = 256;

// Null: unknown. What is allocated beyond it may end the process when it is touched.
std::optional<int64_t> available_bytes() {
  std::ifstream meminfo("/proc/meminfo");
  std::string key;
  for (int64_t kib = 0; meminfo >> key >> kib; meminfo.ignore(64, '\n')) {
    if (key == "MemAvailable:") return kib * 1024;
  }
  return {};
}

class CpuBackend final : public Backend {
 public:
  std::string_view name() const override { return "cpu"; }
  std::optional<std::string> unavailable() const override { return std::nullopt; }

  int64_t device_count() const override { return 1; }

  std::string device_name() const override {
    std::ifstream cpuinfo("/proc/cpuinfo");
    for (std::string line; std::getline(cpuinfo, line);) {
      if (const size_t colon = line.find(": "); line.starts_with("model name") && colon != std::string::npos) {
        return line.substr(colon + 2);
      }
    }
    return "unknown processor";
  }

  Buffer allocate(int64_t bytes) override {
    constexpr int64_t kLarge = int64_t{1} << 28;  // smaller ones are not worth asking for
    if (bytes >= kLarge) {
      if (const auto available = available_bytes(); available && bytes > *available)
        throw OutOfMemory(fmt::format("{} bytes of memory are needed, {} are available", bytes, *available));
    }
    const int64_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
    void* data = std::aligned_alloc(kAlignment, static_cast<size_t>(rounded));
    if (!data) throw OutOfMemory(fmt::format("aligned_alloc of {} bytes: {}", bytes, std::strerror(errno)));
    return Buffer(data, bytes, std::free);
  }

  void copy_in(void* destination, int64_t bytes, const WritePart& write) override {
    write(static_cast<unsigned char*>(destination), 0, bytes);
  }
  void copy_out(const void* source, int64_t bytes, const ReadPart& read) override {
    read(static_cast<const unsigned char*>(source), 0, bytes);
  }
  void fill_bytes(void* destination, unsigned char value, int64_t bytes) override {
    std::memset(destination, value, static_cast<size_t>(bytes));
  }
  void synchronize() override {}
  void* stream() override { return nullptr; }
};

}  // namespace

std::unique_ptr<Backend> make_cpu_backend() { return std::make_unique<CpuBackend>(); }

}  // namespace lrnnx::bench
