// The one table that lists a problem's tensors. It drives allocation, filling, the arguments of the C ABI, the oracle
// and the comparison.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "harness/problem.h"
#include "harness/storage.h"

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
  bool complex = false;                // two interleaved floats an element
  std::vector<const char*> axes = {};  // what the extents of the shape count: "batch", "channel", "time"
  Storage storage = Storage::f32;      // of each number

  int64_t elements() const;
  int64_t floats() const { return elements() * (complex ? 2 : 1); }
  int64_t bytes() const { return floats() * bytes_of(storage); }
};

// Only those that the problem's options and direction call for.
std::vector<TensorSpec> tensors(const Problem& problem);

// Values on the host, by tensor name; complex interleaved. Floats that hold numbers of the tensor's storage.
using HostTensors = std::map<std::string, std::vector<float>>;

// What a tensor should be, and how far an honest 32-bit computation may stray from it. G1, G2 and F have one number an
// element, that of a complex element for the modulus of its error; what they mean stands in reference/gauge.h.
struct OracleTensor {
  std::vector<double> value;  // complex interleaved
  std::vector<double> G1;     // absolute gauge
  std::vector<double> G2;     // running error
  std::vector<double> F;      // underflow floor
  double S1_env = 0;          // how far three plain 32-bit computations stray, in units of G1
};
using OracleTensors = std::map<std::string, OracleTensor>;

// How much of it is asked for; what each costs stands in reference/README.md.
enum class OracleDepth {
  values,
  gauges,    // with G1, G2 and F
  envelopes  // with S1_env, too
};

}  // namespace lrnnx::bench
