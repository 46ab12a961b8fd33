// The table of operator families.
#include "harness/operators.h"

#include <fmt/format.h>

#include "harness/error.h"
#include "harness/operator_selective_scan.h"
#include "harness/words.h"

namespace lrnnx::bench {

const Operator& find_operator(const std::string& family) {
  static const SelectiveScanOperator selective_scan;
  static const Operator* const kOperators[] = {&selective_scan};
  std::vector<std::string> families;
  for (const Operator* candidate : kOperators) {
    if (candidate->family() == family) return *candidate;
    families.emplace_back(candidate->family());
  }
  throw UsageError(fmt::format("family '{}': expected {}", family, join_or(families)));
}

std::vector<TensorSpec> tensors(const Problem& problem) { return find_operator(problem.family).tensors(problem); }

int64_t TensorSpec::elements() const {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

}  // namespace lrnnx::bench
