// Grows the flush until a read gains nothing from what it read before.
#include "harness/flush_probe.h"

#include <algorithm>
#include <cstdint>

#include "harness/ceilings_cuda.h"
#include "harness/stats.h"

namespace lrnnx::bench {
namespace {

constexpr int64_t kMostCaches = 8;

double median_ms(Timer& timer, const std::function<void()>& read, CacheState cache) {
  const Measurement measurement =
      measure(timer, read, {.cache = cache, .min_samples = 200, .min_seconds = 0, .timeout_seconds = 1}, "flush probe");
  return measurement.samples_ms.empty() ? 0 : summarize(measurement.samples_ms).median;
}

void read_by_all_threads(const void* data, int64_t bytes) {
  const auto* words = static_cast<const uint64_t*>(data);
  const int64_t count = bytes / static_cast<int64_t>(sizeof(uint64_t));
  uint64_t sum = 0;
#pragma omp parallel for schedule(static) reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i) sum += words[i];
  asm volatile("" ::"r"(sum));  // used, for all the compiler knows
}

}  // namespace

FlushProof prove_flush(Timer& timer, const std::function<void()>& read) {
  const int64_t cache = std::max<int64_t>(timer.cache_bytes(), int64_t{1} << 20);
  int64_t bytes = timer.flush_bytes();
  const int64_t most = std::max(bytes, kMostCaches * cache);
  const double warm_ms = median_ms(timer, read, CacheState::warm);
  timer.set_flush_bytes(most);
  const double coldest_ms = median_ms(timer, read, CacheState::cold);
  FlushProof proof{.bytes = most, .cold_benefit = 0, .warm_benefit = 1 - warm_ms / coldest_ms};
  for (; bytes < most; bytes += cache) {
    timer.set_flush_bytes(bytes);
    proof.cold_benefit = 1 - median_ms(timer, read, CacheState::cold) / coldest_ms;
    if (proof.cold_benefit < kMostColdBenefit) {
      proof.bytes = bytes;
      return proof;
    }
  }
  timer.set_flush_bytes(most);  // and what was left with a cache less stays on record
  return proof;
}

FlushProof prove_flush(Timer& timer, Backend& backend) {
  const int64_t bytes = std::max<int64_t>(timer.cache_bytes() / 2, int64_t{1} << 20) / 4096 * 4096;
  const Buffer buffer = backend.allocate(bytes);
  backend.fill_bytes(buffer.data(), 1, bytes);
  backend.synchronize();
#ifdef LRNNX_WITH_CUDA
  if (backend.name() == "cuda")
    return prove_flush(timer, [&] { launch_read_kernel(backend.stream(), buffer.data(), bytes); });
#endif
  return prove_flush(timer, [&] { read_by_all_threads(buffer.data(), bytes); });
}

}  // namespace lrnnx::bench
