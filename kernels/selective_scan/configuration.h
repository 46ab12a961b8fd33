// Launch configurations as text: "key=value,key=value", read over the fields that a kernel has, and what these may
// hold.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "lrnnx/lrnnx.h"

namespace lrnnx {

struct ConfigurationField {
  const char* key;
  std::int64_t* value;
  std::span<const std::int64_t> allowed = {};  // for this problem
  std::int64_t largest = 0;                    // where `allowed` is empty: 1 to this
  const char* why = "";                        // no others are: " for dstate > 16"
};

// Reads the problem's configuration over the values that the fields hold; what it leaves out stays. Fails on an unknown
// key or a value that is not allowed.
lrnnx_status parse_configuration(const lrnnx_selective_scan_problem& problem,
                                 std::span<const ConfigurationField> fields);

// "lanes=8|16,splits=1..64"
std::string configuration_keys(std::span<const ConfigurationField> fields);

}  // namespace lrnnx
