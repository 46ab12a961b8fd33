// The ranges that a profiler sees: a library injected into NVTX notes them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <sstream>
#include <vector>

#include "tests/run_program.h"

namespace lrnnx::bench::profiler_test {
namespace {

const std::string kLine =
    "selective_scan.mamba.f32.forward.cpu batch=2 dim=4 seqlen=33 dstate=3 groups=1 options=B,C fill=init seed=0";

struct Range {
  std::string name;
  int depth;
};

// Those of the domain lrnnx-bench, in the order in which they are opened; without the ceilings, which the first problem
// waits for.
std::vector<Range> ranges_of(const std::string& arguments) {
  const TemporaryDirectory directory;
  const std::string trace = directory / "trace";
  setenv("NVTX_INJECTION64_PATH", LRNNX_BINARY_DIR "/lib/tests/nvtx_recorder.so", 1);
  setenv("LRNNX_NVTX_TRACE", trace.c_str(), 1);
  const ProgramResult result = run_program("sweep --quiet --problem '" + kLine + "' " + arguments);
  unsetenv("NVTX_INJECTION64_PATH");
  unsetenv("LRNNX_NVTX_TRACE");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  std::vector<Range> ranges;
  std::istringstream lines(read_text(trace));
  int depth = 0;
  for (std::string line; std::getline(lines, line);) {
    const std::string push = "push lrnnx-bench ";
    if (line == "pop") {
      --depth;
    } else {
      EXPECT_TRUE(line.starts_with(push)) << line;
      ranges.push_back({line.substr(push.size()), depth++});
    }
    EXPECT_GE(depth, 0);
  }
  EXPECT_EQ(depth, 0) << "a range was left open";
  const auto is_of_ceilings = [&](size_t i) { return i > 0 && ranges[i].depth == 2 && ranges[i].name != kLine; };
  for (size_t i = ranges.size(); i-- > 0;)
    if (is_of_ceilings(i)) ranges.erase(ranges.begin() + static_cast<std::ptrdiff_t>(i));
  return ranges;
}

std::string text_of(const std::vector<Range>& ranges) {
  std::string text;
  for (const Range& range : ranges) text += std::string(static_cast<size_t>(range.depth), '>') + range.name + '\n';
  return text;
}

class Profiler : public testing::Test {
  void SetUp() override {
#ifndef LRNNX_WITH_CUDA
    GTEST_SKIP() << "a build without CUDA has no NVTX";
#endif
  }
};

TEST_F(Profiler, SeesARangeForTheProblemForEachPhaseAndForEachSample) {
  const std::string sample = ">>" + kLine + '\n';
  EXPECT_EQ(text_of(ranges_of("--warm --min-samples 3 --min-time 0 --max-noise 1e9 --warmup 1")),
            kLine + "\n>checking\n>preparing\n>timing\n" + sample + sample + sample);
}

TEST_F(Profiler, SeesOneLaunchAProblemIfTheSweepIsForIt) {
  EXPECT_EQ(text_of(ranges_of("--profile")), kLine + "\n>launch\n");
}

}  // namespace
}  // namespace lrnnx::bench::profiler_test
