// What the harness must know of an operator family to run and to check it. One file harness/operator_<family>.cpp and
// one row in operators.cpp a family; everything else goes through this interface.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "harness/library.h"
#include "harness/problem.h"
#include "harness/tensors.h"
#include "lrnnx/lrnnx.h"

namespace lrnnx::bench {

// Where one tensor lies on its backend. The strides count elements, and are 0 where the tensor is contiguous.
struct Binding {
  void* data = nullptr;
  int64_t stride_batch = 0, stride_dim = 0;
};

// Where one problem's tensors lie.
struct Bindings {
  std::map<std::string, Binding> tensors{};
  void* saved = nullptr;
  void* workspace = nullptr;
  lrnnx_memory memory{};
  void* stream = nullptr;
};

class Operator {
 public:
  virtual ~Operator() = default;
  virtual std::string_view family() const = 0;
  virtual std::vector<TensorSpec> tensors(const Problem& problem) const = 0;
  // All five may throw LibraryError.
  virtual lrnnx_memory memory(const Problem& problem, const Library& library) const = 0;
  virtual std::string configuration(const Problem& problem, const Library& library) const = 0;
  // "lanes=8|16,splits=1..64"; none if the library cannot say.
  virtual std::optional<std::string> configuration_keys(const Problem& problem, const Library& library) const = 0;
  // One call through the C ABI, with every argument laid out beforehand. Keeps a reference to the library.
  virtual std::function<void()> bind(const Problem& problem, const Bindings& bindings,
                                     const Library& library) const = 0;
  // What each output should be, from the fp64 reference. An intermediate among the inputs is read as it is; one that is
  // not there is computed.
  virtual OracleTensors oracle(const Problem& problem, const HostTensors& inputs, OracleDepth depth) const = 0;
};

const Operator& find_operator(const std::string& family);

}  // namespace lrnnx::bench
