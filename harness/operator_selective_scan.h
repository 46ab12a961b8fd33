// The selective scan as the harness sees it: its tensors, its calls, its oracle.
#pragma once

#include "harness/operators.h"

namespace lrnnx::bench {

class SelectiveScanOperator final : public Operator {
 public:
  std::string_view family() const override { return "selective_scan"; }
  std::vector<TensorSpec> tensors(const Problem& problem) const override;
  lrnnx_memory memory(const Problem& problem, const Library& library) const override;
  std::string configuration(const Problem& problem, const Library& library) const override;
  std::optional<std::string> configuration_keys(const Problem& problem, const Library& library) const override;
  std::function<void()> bind(const Problem& problem, const Bindings& bindings, const Library& library) const override;
  OracleTensors oracle(const Problem& problem, const HostTensors& inputs, OracleDepth depth) const override;
};

}  // namespace lrnnx::bench
