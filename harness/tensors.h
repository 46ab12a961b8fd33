// The one table that lists a problem's tensors. It drives allocation, filling, the arguments of the C ABI, the oracle
// and the comparison.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "harness/problem.h"

namespace lrnnx::bench {

enum class Role {
  input,         // generated on the host
  intermediate,  // read by the backward, written by the forward before it (out, for the gate)
  output         // written by the call, and compared
};

struct TensorSpec {
  std::string name;
  Role role = Role::input;
  std::vector<int64_t> shape;
  bool complex = false;  // two interleaved floats an element

  int64_t elements() const;
  int64_t floats() const { return elements() * (complex ? 2 : 1); }
  int64_t bytes() const { return floats() * static_cast<int64_t>(sizeof(float)); }
};

// Only those that the problem's options and direction call for.
std::vector<TensorSpec> tensors(const Problem& problem);

// Values on the host, by tensor name; complex interleaved.
using HostTensors = std::map<std::string, std::vector<float>>;
using OracleTensors = std::map<std::string, std::vector<double>>;

}  // namespace lrnnx::bench
