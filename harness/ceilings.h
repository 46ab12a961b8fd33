// What the machine can do at best, measured in the same run as the times that are compared with it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "harness/backend.h"
#include "harness/flush_probe.h"
#include "harness/timing.h"

namespace lrnnx::bench {

struct Ceilings {
  std::string backend;
  double copy_bytes_per_second = 0;  // bytes read plus bytes written, buffers far larger than any cache
  // Lane operations a second of the whole device; absent where not measured.
  std::optional<double> exp2_per_second;         // ex2.approx
  std::optional<double> issue_slots_per_second;  // measured as independent fused multiply-adds
  std::optional<double> clock_hz;                // of an SM, under the multiply-add load
  std::optional<double> empty_launch_ms;  // what the timer gives for a kernel, or a parallel region, that does nothing
  std::optional<FlushProof> flush;        // how cold a cold sample is
  std::vector<std::string> not_measured;  // in words
};

// With the timer that will take the samples; its flush is grown until it is proven to suffice. That takes a second on a
// processor, and is done there only if `prove_cpu_flush`.
Ceilings measure_ceilings(Backend& backend, Timer& timer, bool prove_cpu_flush);

nlohmann::ordered_json to_json(const Ceilings& ceilings);
// The inverse; throws nlohmann::json::exception if a key is missing or of another type.
Ceilings ceilings_from_json(const nlohmann::ordered_json& json);
// "copy 2.95 TB/s, exp2 4.18 T/s, ..."
std::string to_string(const Ceilings& ceilings);

}  // namespace lrnnx::bench
