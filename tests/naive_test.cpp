// The unfused scan that kernels are compared with: right in every variant, with the memory that it says it takes.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "harness/backend.h"
#include "harness/case.h"
#include "harness/check.h"
#include "harness/library.h"
#include "harness/runner.h"
#include "harness/variants.h"

namespace lrnnx::bench::naive_test {
namespace {

const Library& naive() {
  return **std::ranges::find_if(linked_libraries(), [](const Library* library) { return library->name == "naive"; });
}

Problem problem_of(const Variant& variant, const std::string& rest) {
  Problem problem = parse_problem("selective_scan.mamba.f32." + variant.direction + ".cpu " + rest);
  problem.discretization = variant.discretization;
  problem.dtype = variant.dtype;
  problem.options.save = variant.direction == "forward";
  drop_untaken_options(problem);
  return problem;
}

void expect_passes(const std::string& rest) {
  Checker checker;
  for (const Variant& variant : variants()) {
    if (variant.backend != "cpu") continue;
    const Problem problem = problem_of(variant, rest);
    const CheckResult result = checker.check(problem, backend("cpu"), naive());
    EXPECT_EQ(result.status, Status::passed) << to_string(problem) << '\n' << result.reason;
    EXPECT_TRUE(result.deterministic) << to_string(problem);
  }
}

TEST(Naive, HasEveryVariantOfTheLibrary) { EXPECT_EQ(variants_of(naive()), variants()); }

TEST(Naive, IsRightWithEveryOption) {
  expect_passes(
      "batch=2 dim=12 seqlen=70 dstate=5 groups=3 "
      "options=B,C,D,z,delta_bias,delta_softplus,deltaA,h0,last_state");
}

TEST(Naive, IsRightWithoutAny) { expect_passes("batch=2 dim=6 seqlen=70 dstate=3 options=none"); }

TEST(Naive, IsRightWhereOnlyBOrOnlyCIsVariable) {
  expect_passes("batch=2 dim=6 seqlen=40 dstate=4 groups=2 options=B,z");
  expect_passes("batch=2 dim=6 seqlen=40 dstate=4 groups=2 options=C,D");
}

TEST(Naive, IsRightOfOneStepAndOneState) { expect_passes("batch=1 dim=1 seqlen=1 dstate=1 options=B,C,last_state"); }

TEST(Naive, ReadsAndWritesRowsWhereverTheyLie) {
  expect_passes("batch=2 dim=6 seqlen=33 dstate=4 options=B,C,D,z,deltaA layout=strided");
  expect_passes("batch=2 dim=6 seqlen=33 dstate=4 options=B,C,D,z,deltaA layout=offset");
  expect_passes("batch=2 dim=6 seqlen=33 dstate=4 options=B,C,D,z,deltaA layout=transposed");
}

TEST(Naive, KeepsTheTransitionAndTheStateOfEveryStep) {
  constexpr int64_t kUpdates = 2 * 8 * 64 * 16;
  for (const auto& [dtype, bytes] : {std::pair("f32", 4), std::pair("c64", 8)}) {
    Problem problem = parse_problem(std::string("selective_scan.mamba.") + dtype +
                                    ".forward.cpu batch=2 dim=8 seqlen=64 dstate=16 options=B,C,save");
    const lrnnx_memory saving = Case(problem, backend("cpu"), naive()).memory();
    EXPECT_EQ(saving.saved_bytes, 2 * kUpdates * bytes);
    problem.options.save = false;
    const lrnnx_memory dropping = Case(problem, backend("cpu"), naive()).memory();
    EXPECT_EQ(dropping.saved_bytes, 0);
    EXPECT_EQ(dropping.workspace_bytes, saving.workspace_bytes + saving.saved_bytes);
    problem.direction = "backward";
    const lrnnx_memory backward = Case(problem, backend("cpu"), naive()).memory();
    EXPECT_EQ(backward.saved_bytes, saving.saved_bytes);
    EXPECT_GT(backward.workspace_bytes, 3 * kUpdates * bytes);
  }
}

lrnnx_selective_scan_problem huge() {
  return {.discretization = LRNNX_MAMBA,
          .dtype = LRNNX_C64,
          .backend = LRNNX_CPU,
          .options = 0,
          .batch = int64_t{1} << 11,
          .dim = int64_t{1} << 14,
          .seqlen = int64_t{1} << 16,
          .dstate = 256,
          .groups = 1,
          .configuration = nullptr};
}

TEST(Naive, SaysWhatItNeedsHoweverMuchThatIs) {
  const lrnnx_selective_scan_problem problem = huge();
  lrnnx_memory memory{};
  ASSERT_EQ(naive().selective_scan.memory(&problem, LRNNX_FORWARD, &memory), LRNNX_OK);
  EXPECT_GT(memory.workspace_bytes, 16 * (problem.batch * problem.dim * problem.seqlen * problem.dstate));
}

TEST(Naive, IsSkippedWhereThereIsTooLittleMemory) {
  Problem problem = parse_problem("selective_scan.mamba.c64.forward.cpu batch=1 dim=1 seqlen=64 dstate=1 options=none");
  Library demanding = naive();
  demanding.selective_scan.memory = [](const lrnnx_selective_scan_problem*, lrnnx_direction, lrnnx_memory* memory) {
    *memory = {.saved_bytes = 0, .workspace_bytes = int64_t{1} << 52};
    return LRNNX_OK;
  };
  const CheckResult checked = Checker().check(problem, backend("cpu"), demanding);
  EXPECT_EQ(checked.skip_reason, SkipReason::not_enough_memory);
  problem.implementation = demanding.name;
  for (const bool check : {true, false}) {
    RunOptions options;
    options.check = check;
    const std::vector<Row> rows = Runner(options, {}, {&demanding}).run(problem);
    ASSERT_EQ(rows.size(), 1u);
    EXPECT_EQ(rows[0].verdict, Verdict::skipped);
    EXPECT_NE(rows[0].reason.find("bytes of memory are needed"), std::string::npos) << rows[0].reason;
  }
}

TEST(Naive, HasNoConfiguration) {
  lrnnx_selective_scan_problem problem = huge();
  char text[16] = "not empty";
  EXPECT_EQ(naive().selective_scan.configuration(&problem, LRNNX_FORWARD, text, sizeof text), LRNNX_OK);
  EXPECT_STREQ(text, "");
  problem.configuration = "threads=1";
  EXPECT_EQ(naive().selective_scan.configuration(&problem, LRNNX_FORWARD, text, sizeof text), LRNNX_INVALID_ARGUMENT);
  EXPECT_NE(std::string(naive().last_error()).find("threads=1"), std::string::npos);
}

TEST(Naive, RefusesWhatTheOperatorDoesNotDefine) {
  lrnnx_selective_scan_problem problem = huge();
  problem.groups = 3;
  lrnnx_memory memory{};
  EXPECT_EQ(naive().selective_scan.memory(&problem, LRNNX_FORWARD, &memory), LRNNX_INVALID_ARGUMENT);
}

}  // namespace
}  // namespace lrnnx::bench::naive_test
