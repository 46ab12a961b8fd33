// What the machine can do at best, measured in the same run as the times that are compared with it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "harness/backend.h"

namespace lrnnx::bench {

struct Ceilings {
  std::string backend;
  double copy_bytes_per_second = 0;  // bytes read plus bytes written, buffers far larger than any cache
  // Lane operations a second of the whole device; absent where not measured.
  std::optional<double> exp2_per_second;         // ex2.approx
  std::optional<double> issue_slots_per_second;  // measured as independent fused multiply-adds
  std::optional<double> clock_hz;                // of an SM, under the multiply-add load
  std::optional<double> empty_launch_ms;         // what the timer gives for a kernel that does nothing
  std::vector<std::string> not_measured;         // in words
};

Ceilings measure_ceilings(Backend& backend);

nlohmann::ordered_json to_json(const Ceilings& ceilings);
// The inverse; throws nlohmann::json::exception if a key is missing or of another type.
Ceilings ceilings_from_json(const nlohmann::ordered_json& json);
// "copy 2.95 TB/s, exp2 4.18 T/s, ..."
std::string to_string(const Ceilings& ceilings);

}  // namespace lrnnx::bench
