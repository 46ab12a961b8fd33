// The results of a check as JUnit XML, for what shows test results: one suite a variant (of an implementation, if it is
// not the usual one), one test a problem.
#pragma once

#include <string>
#include <vector>

#include "harness/check.h"

namespace lrnnx::bench {

// failed is a failure, error an error; skipped and mistrusted are skipped, each with its reason.
std::string junit_text(const std::vector<CheckResult>& results);

}  // namespace lrnnx::bench
