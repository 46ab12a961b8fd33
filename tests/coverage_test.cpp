// Every kernel that a suite times on a GPU is one that the checks run: which kernel takes a problem depends on its
// size. No GPU needed.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "common/variants.h"
#include "harness/files.h"
#include "harness/problem.h"
#include "harness/suite.h"
#include "selective_scan/single_state.h"
#include "selective_scan/tuning.h"

namespace lrnnx::bench::coverage_test {
namespace {

constexpr cuda::Device kH100 = {.multiprocessors = 132, .shared_bytes = 227 * 1024};

lrnnx_selective_scan_problem abi_problem(const Problem& problem) {
  lrnnx_selective_scan_problem abi = {};
#define LRNNX_DISCRETIZATION(enumerator, name, functor, takes_real, takes_complex) \
  if (problem.discretization == #name) abi.discretization = LRNNX_##enumerator;
#include "lrnnx/discretizations.def"
  const std::vector<std::string> dtypes = {"f32", "c64", "bf16", "f16"};
  abi.dtype = static_cast<int32_t>(std::ranges::find(dtypes, problem.dtype) - dtypes.begin());
  abi.backend = LRNNX_CUDA;
  for (const OptionName& option : option_names())
    if (problem.options.*option.value) abi.options |= option.bit;
  abi.batch = problem.shape.batch, abi.dim = problem.shape.dim, abi.seqlen = problem.shape.seqlen;
  abi.dstate = problem.shape.dstate, abi.groups = problem.shape.groups;
  abi.configuration = problem.configuration.c_str();
  return abi;
}

// What tells a kernel from others, as a text; and that the configuration is one that there is.
std::string kernel_of(const Problem& problem) {
  const lrnnx_selective_scan_problem abi = abi_problem(problem);
  std::string kernel = variant_name(problem);
  if (cuda::has_single_state(abi)) return kernel + " single state";
  const bool contiguous = problem.layout == MemoryLayout::contiguous;
  kernel += contiguous && problem.shape.seqlen % 4 == 0           ? " whole quads"
            : contiguous && cuda::row_phase(abi).channel_step > 1 ? " shifted"
                                                                  : " any rows";
  const bool general = cuda::needs_general_kernel(abi);
  if (general) kernel += " general";
  const auto in_parts = [](std::int64_t splits) { return splits > 1 ? " in parts of time" : ""; };
  if (problem.direction == "forward") {
    cuda::ForwardConfiguration chosen{};
    EXPECT_EQ(cuda::configure(abi, kH100, chosen), LRNNX_OK) << to_string(problem) << ": " << lrnnx_last_error();
    kernel += in_parts(chosen.splits);
    return general ? kernel
                   : fmt::format("{} lanes={},channels={},warps={}", kernel, chosen.state_lanes,
                                 chosen.channels_per_lane, chosen.warps);
  }
  cuda::BackwardConfiguration chosen{};
  EXPECT_EQ(cuda::configure(abi, kH100, chosen), LRNNX_OK) << to_string(problem) << ": " << lrnnx_last_error();
  kernel += in_parts(chosen.splits);
  return general ? kernel : fmt::format("{} channels={},warps={}", kernel, chosen.channels_per_lane, chosen.warps);
}

std::set<std::string> kernels_of(const char* suite) {
  const std::string path = std::string(LRNNX_SOURCE_DIR "/suites/") + suite + ".json";
  std::set<std::string> kernels;
  for (const Problem& problem : expand_suite(read_file(path), path, {"cuda"})) kernels.insert(kernel_of(problem));
  return kernels;
}

class Kernels : public ::testing::TestWithParam<const char*> {};

TEST_P(Kernels, EveryTimedKernelIsChecked) {
  const std::set<std::string> checked = kernels_of(GetParam());
  for (const char* timed : {"scan-anchors", "scan-ragged", "quickstart", "lengths", "batches", "dims", "models"})
    for (const std::string& kernel : kernels_of(timed))
      EXPECT_TRUE(checked.contains(kernel))
          << GetParam() << " runs nothing with " << kernel << ", which " << timed << " times";
}

TEST(Coverage, TheConfigurationsOfTheExactSuiteExist) { EXPECT_FALSE(kernels_of("check-exact").empty()); }

INSTANTIATE_TEST_SUITE_P(Suites, Kernels, ::testing::Values("check-quick", "check-full"));

}  // namespace
}  // namespace lrnnx::bench::coverage_test
