// Where the wall time of a sweep goes: into what it is for (kernels, and what makes their times and results mean
// something), or into the harness.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace lrnnx::bench {

// Seconds by activity since the last call, of this process and of those whose seconds were added.
nlohmann::ordered_json take_wall_time();
void add_wall_time(const nlohmann::ordered_json& seconds);

// With "total" and "rest", what no activity took.
nlohmann::ordered_json with_total(nlohmann::ordered_json seconds, double total);

// "12.3 s: kernels 40.1 %, ...; overhead 8.2 %": all but kernels, flush and oracle.
std::string wall_time_text(const nlohmann::ordered_json& wall_time);

}  // namespace lrnnx::bench
