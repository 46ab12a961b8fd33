// Ceilings of a backend: rates of the CUDA kernels, or the copy rate of all processor threads.
#include "harness/ceilings.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <nlohmann/json.hpp>

#include "harness/ceilings_cuda.h"
#include "harness/cpu_cache.h"
#include "harness/stats.h"

namespace lrnnx::bench {
namespace {

double copy_rate_of_all_threads() {
  const int64_t bytes = std::clamp<int64_t>(4 * last_level_cache_bytes(), int64_t{128} << 20, int64_t{1} << 30);
  // memcpy writes pieces this small through the caches (glibc goes around them only from a share of the last level on),
  // which may first read the lines that it overwrites. A kernel with ordinary stores pays the same; this is no bound
  // for one whose stores go around the caches.
  constexpr int64_t kPiece = 1 << 20;
  const int64_t pieces = bytes / kPiece;
  const auto source = std::make_unique_for_overwrite<unsigned char[]>(bytes);
  const auto destination = std::make_unique_for_overwrite<unsigned char[]>(bytes);
#pragma omp parallel for schedule(static)  // each thread touches first, so owns, what it will copy
  for (int64_t piece = 0; piece < pieces; ++piece) {
    std::memset(source.get() + piece * kPiece, 1, kPiece);
    std::memset(destination.get() + piece * kPiece, 2, kPiece);
  }
  double best = std::numeric_limits<double>::infinity();  // others' work only adds to a time
  for (int repetition = 0; repetition < 7; ++repetition) {
    const auto begin = std::chrono::steady_clock::now();
#pragma omp parallel for schedule(static)
    for (int64_t piece = 0; piece < pieces; ++piece)
      std::memcpy(destination.get() + piece * kPiece, source.get() + piece * kPiece, kPiece);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return 2 * static_cast<double>(bytes) / best;
}

template <class Value>
nlohmann::ordered_json value_or_null(const std::optional<Value>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json(nullptr);
}

}  // namespace

Ceilings measure_ceilings(Backend& backend, Timer& timer, bool prove_cpu_flush) {
  Ceilings ceilings;
  ceilings.backend = backend.name();
  std::function<void()> nothing = [] {
#pragma omp parallel
    { asm volatile(""); }
  };
  if (backend.name() == "cpu") {
    ceilings.copy_bytes_per_second = copy_rate_of_all_threads();
    ceilings.not_measured = {"exp2 rate", "issue rate", "clock"};
  }
#ifdef LRNNX_WITH_CUDA
  if (backend.name() == "cuda") {
    const CudaRates rates = measure_cuda_rates(backend.stream());
    ceilings.copy_bytes_per_second = rates.copy_bytes_per_second;
    ceilings.exp2_per_second = rates.exp2_per_second;
    ceilings.issue_slots_per_second = rates.fma_per_second;
    ceilings.clock_hz = rates.clock_hz;
    nothing = [&backend] { launch_empty_kernel(backend.stream()); };
  }
#endif
  const Measurement empty =
      measure(timer, nothing, {.cache = CacheState::warm, .min_samples = 100, .min_seconds = 0, .timeout_seconds = 1},
              "empty kernel");
  // On the processor the least, for whoever else runs only makes it longer; a GPU's stream is this process's alone.
  if (!empty.samples_ms.empty()) {
    const Summary summary = summarize(empty.samples_ms);
    ceilings.empty_launch_ms = backend.name() == "cpu" ? summary.min : summary.median;
  }
  if (backend.name() != "cpu" || prove_cpu_flush) ceilings.flush = prove_flush(timer, backend);
  return ceilings;
}

nlohmann::ordered_json to_json(const Ceilings& ceilings) {
  return {{"backend", ceilings.backend},
          {"copy_bytes_per_second", ceilings.copy_bytes_per_second},
          {"exp2_per_second", value_or_null(ceilings.exp2_per_second)},
          {"issue_slots_per_second", value_or_null(ceilings.issue_slots_per_second)},
          {"clock_hz", value_or_null(ceilings.clock_hz)},
          {"empty_launch_ms", value_or_null(ceilings.empty_launch_ms)},
          {"flush", ceilings.flush ? nlohmann::ordered_json{{"bytes", ceilings.flush->bytes},
                                                            {"cold_benefit", ceilings.flush->cold_benefit},
                                                            {"warm_benefit", ceilings.flush->warm_benefit}}
                                   : nlohmann::ordered_json(nullptr)},
          {"not_measured", ceilings.not_measured}};
}

Ceilings ceilings_from_json(const nlohmann::ordered_json& json) {
  const auto optional = [&](const char* key) {
    const auto& value = json.at(key);
    return value.is_null() ? std::optional<double>() : value.get<double>();
  };
  std::optional<FlushProof> flush;
  if (const auto proof = json.value("flush", nlohmann::ordered_json()); proof.is_object())
    flush = {
        .bytes = proof.at("bytes"), .cold_benefit = proof.at("cold_benefit"), .warm_benefit = proof.at("warm_benefit")};
  return {.backend = json.at("backend"),
          .copy_bytes_per_second = json.at("copy_bytes_per_second"),
          .exp2_per_second = optional("exp2_per_second"),
          .issue_slots_per_second = optional("issue_slots_per_second"),
          .clock_hz = optional("clock_hz"),
          .empty_launch_ms = optional("empty_launch_ms"),
          .flush = flush,
          .not_measured = json.at("not_measured")};
}

std::string to_string(const Ceilings& ceilings) {
  std::string text = fmt::format("copy {:.1f} GB/s", 1e-9 * ceilings.copy_bytes_per_second);
  if (ceilings.exp2_per_second) text += fmt::format(", exp2 {:.2f} T/s", 1e-12 * *ceilings.exp2_per_second);
  if (ceilings.issue_slots_per_second)
    text += fmt::format(", issue (fma) {:.2f} T/s", 1e-12 * *ceilings.issue_slots_per_second);
  if (ceilings.clock_hz) text += fmt::format(", SM clock {:.0f} MHz", 1e-6 * *ceilings.clock_hz);
  if (ceilings.empty_launch_ms)
    text += fmt::format(", {} {:.4f} ms", ceilings.backend == "cpu" ? "empty parallel region" : "empty kernel",
                        *ceilings.empty_launch_ms);
  if (ceilings.flush)
    text += fmt::format(", cold: {:.1f} % of a time is left to gain after overwriting {} MiB ({:.0f} % if warm){}",
                        100 * ceilings.flush->cold_benefit, ceilings.flush->bytes >> 20,
                        100 * ceilings.flush->warm_benefit, ceilings.flush->holds() ? "" : ": not proven");
  if (!ceilings.not_measured.empty()) text += fmt::format("; not measured: {}", fmt::join(ceilings.not_measured, ", "));
  return text;
}

}  // namespace lrnnx::bench
