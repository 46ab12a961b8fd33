// The oracle of the selective scan: its self-test, and what the self-test leaves out.
#include "reference/selective_scan.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <limits>
#include <stdexcept>
#include <string>
#include <utility>

#include "reference/selective_scan_examples.h"
#include "reference/selective_scan_forward.h"
#include "reference/selective_scan_gauge.h"
#include "reference/self_test.h"

namespace lrnnx::reference::reference_test {
namespace {

// --- The self-test ------------------------------------------------------------------------------------------------

class ReferenceSelfTest : public testing::TestWithParam<SelfTest> {};

std::string test_name(const testing::TestParamInfo<SelfTest>& info) {
  std::string name = info.param.name;
  for (char& c : name) {
    if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, ReferenceSelfTest, testing::ValuesIn(self_tests()), test_name);

TEST_P(ReferenceSelfTest, Holds) { EXPECT_EQ(GetParam().run(), ""); }

// --- Every variant ------------------------------------------------------------------------------------------------

class SelectiveScanReference : public testing::TestWithParam<Variant> {};

INSTANTIATE_TEST_SUITE_P(Variants, SelectiveScanReference, testing::ValuesIn(kVariants),
                         [](const auto& info) { return std::string(info.param.name); });

// --- No result depends on the number of threads -------------------------------------------------------------------

struct ThreadCount {
  explicit ThreadCount(int count) : before(omp_get_max_threads()) { omp_set_num_threads(count); }
  ~ThreadCount() { omp_set_num_threads(before); }
  int before;
};

bool same_bits(const Tensor& x, const Tensor& y) {
  if (x.size() != y.size()) return false;
  return x.empty() || std::memcmp(x.data(), y.data(), x.size() * sizeof(double)) == 0;
}

TEST_P(SelectiveScanReference, NoBitDependsOnTheNumberOfThreads) {
  for (const bool variable : {true, false}) {
    ExampleOptions options = kEverything;
    options.variable_B = options.variable_C = variable;
    const Example example = make_example(problem_of(GetParam(), 3, 20, 2 * kChunk + 3, 2, 2), options);
    const auto run = [&](int threads) {
      const ThreadCount scope(threads);
      return std::pair(forward(example.problem, example.inputs),
                       backward(example.problem, example.inputs, example.dout, example.dlast_state));
    };
    const auto [outputs, gradients] = run(1);
    for (const int threads : {2, 3, 7}) {
      SCOPED_TRACE(std::to_string(threads) + " threads");
      const auto [other_outputs, other_gradients] = run(threads);
      EXPECT_TRUE(same_bits(outputs.out, other_outputs.out));
      EXPECT_TRUE(same_bits(outputs.out_z, other_outputs.out_z));
      EXPECT_TRUE(same_bits(outputs.last_state, other_outputs.last_state));
      for (const auto& tensor : kTensors) {
        EXPECT_TRUE(same_bits(gradients.*tensor.gradient, other_gradients.*tensor.gradient)) << tensor.name;
      }
    }
  }
}

// --- Values that are not a number ---------------------------------------------------------------------------------

TEST_P(SelectiveScanReference, ANaNInAnInputReachesLaterStepsOfItsChannelOnly) {
  const auto problem = problem_of(GetParam(), 2, 3, kChunk + 9, 2, 1);
  for (const auto input : {&Inputs::u, &Inputs::delta}) {
    Example example = make_example(problem, {.D = true});
    const int64_t channel = 4, step = kChunk - 2;
    (example.inputs.*input)[channel * problem.seqlen + step] = std::numeric_limits<double>::quiet_NaN();
    const Outputs outputs = forward(example.problem, example.inputs);
    for (int64_t i = 0; i < static_cast<int64_t>(outputs.out.size()); ++i) {
      const bool reached = i / problem.seqlen == channel && i % problem.seqlen >= step;
      ASSERT_EQ(std::isnan(outputs.out[i]), reached)
          << "channel " << i / problem.seqlen << " step " << i % problem.seqlen;
    }
  }
}

// --- What is refused ----------------------------------------------------------------------------------------------

TEST(SelectiveScanReferenceValidation, AWrongArgumentIsRefusedByName) {
  const Problem mamba = problem_of(kVariants[0], 2, 4, 3, 2, 2);
  const Problem s7 = problem_of(kVariants[4], 2, 4, 3, 2, 2);
  const struct {
    const char* message;
    Problem problem;
    std::function<void(Example&)> spoil;
  } cases[] = {
      {"groups is 3, must divide dim 4", mamba, [](Example& e) { e.problem.groups = 3; }},
      {"seqlen is 0, must be at least 1", mamba, [](Example& e) { e.problem.seqlen = 0; }},
      {"u has 23 numbers, must have 24", mamba, [](Example& e) { e.inputs.u.pop_back(); }},
      {"A has 0 numbers, must have 8", mamba, [](Example& e) { e.inputs.A.clear(); }},
      {"B has 24 numbers, must have 48", mamba, [](Example& e) { e.problem.complex = true, e.inputs.A.resize(16); }},
      {"z has 1 numbers, must have 24, or none", mamba, [](Example& e) { e.inputs.z = {1.0}; }},
      {"dout has 0 numbers, must have 24", mamba, [](Example& e) { e.dout.clear(); }},
      {"dlast_state has 1 numbers, must have 16, or none", mamba, [](Example& e) { e.dlast_state = {1.0}; }},
      {"complex was given, but s7 does not take it", s7, [](Example& e) { e.problem.complex = true; }},
      {"delta_softplus was given, but s7 does not take it", s7, [](Example& e) { e.problem.delta_softplus = true; }},
      {"delta_bias was given, but s7 does not take it", s7, [](Example& e) { e.inputs.delta_bias.assign(4, 0.0); }},
      {"deltaA was given, but s7 does not take it", s7, [](Example& e) { e.inputs.deltaA.assign(24, 0.0); }},
  };
  for (const auto& c : cases) {
    Example example = make_example(c.problem, {});
    c.spoil(example);
    try {
      backward(example.problem, example.inputs, example.dout, example.dlast_state);
      ADD_FAILURE() << "accepted: " << c.message;
    } catch (const std::invalid_argument& error) {
      EXPECT_EQ(error.what(), std::string("selective_scan oracle: ") + c.message);
    }
  }
}

}  // namespace
}  // namespace lrnnx::reference::reference_test
