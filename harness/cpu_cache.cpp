// Reads the cache sizes that the kernel reports.
#include "harness/cpu_cache.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

namespace lrnnx::bench {

int64_t last_level_cache_bytes() {
  // sysconf counts the caches of all sockets of the host in some virtual machines, so sysfs is asked first.
  int64_t bytes = 0;
  for (int index = 0;; ++index) {
    std::ifstream file(fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/size", index));
    int64_t size = 0;
    char unit = 0;
    if (!(file >> size)) break;
    file >> unit;
    bytes = std::max(bytes, unit == 'K' ? size << 10 : unit == 'M' ? size << 20 : size);
  }
  return bytes > 0 ? bytes : std::max<int64_t>(0, sysconf(_SC_LEVEL3_CACHE_SIZE));
}

}  // namespace lrnnx::bench
