// A sweep on several GPUs of one machine at once: a process for each, which takes a share of the problems as a shard
// does, and whose results are then joined.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "harness/sweep.h"

namespace lrnnx::bench {

// "all", or numbers such as "0,2". Throws UsageError naming what is wrong, or an Error of ExitCode::nothing_ran if all
// are none.
std::vector<int64_t> parse_devices(const std::string& text);

// One of the processes: which of how many, and its device.
struct DevicePart {
  int64_t index = 0, count = 1, device = 0;
};
std::string to_string(const DevicePart& part);
DevicePart parse_device_part(const std::string& text);

// What it does: its share, into a directory of its own within options.out.
SweepOptions options_of_part(const SweepOptions& options, const DevicePart& part);

// Starts this program once more for each of options.devices, with the same arguments, and waits for all. A signal goes
// to each of them. `problems` are those of all. What they did stays in their directories, for --resume to go on with,
// until remove_parts(). Throws SystemError if one left no results.
Swept sweep_on_devices(const std::vector<Problem>& problems, const SweepOptions& options);
void remove_parts(const SweepOptions& options);

}  // namespace lrnnx::bench
