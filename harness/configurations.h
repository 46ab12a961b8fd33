// Launch configurations by device, variant and shape, from a JSON file as a tuner writes it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "harness/problem.h"

namespace lrnnx::bench {

class Configurations {
 public:
  // Throws UsageError naming `origin` and what is wrong.
  static Configurations parse(const std::string& json_text, const std::string& origin);

  // Of the first entry for it on this device, as the backend calls it; none: for the library to choose.
  std::optional<std::string> of(const Problem& problem, const std::string& device) const;

  // Sets them where a problem has none of its own and its device is here.
  void apply(std::vector<Problem>& problems) const;

 private:
  struct Range {
    int64_t from, to;  // both included
  };
  struct Entry {
    std::optional<std::string> device;
    std::string variant, implementation, configuration;
    std::vector<std::pair<int64_t Shape::*, Range>> shape;
  };
  static Entry parse_entry(const std::string& json_text, const std::string& where);
  std::vector<Entry> entries_;
};

Configurations read_configurations(const std::string& path);

}  // namespace lrnnx::bench
