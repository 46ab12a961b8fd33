// Least costs and floors: counted by hand for the shape that kernels are compared at.
#include "harness/cost.h"

#include <gtest/gtest.h>

#include "harness/problem.h"

namespace lrnnx::bench {
namespace {

constexpr double kSteps = 8.0 * 2048 * 2048;  // batch * dim * seqlen
constexpr double kStates = 16;

Problem mamba(const std::string& direction, Options options) {
  return {.family = "selective_scan",
          .discretization = "mamba",
          .dtype = "f32",
          .direction = direction,
          .backend = "cpu",
          .shape = {.batch = 8, .dim = 2048, .seqlen = 2048, .dstate = 16, .groups = 1},
          .options = options,
          .fill = "init",
          .seed = 0,
          .configuration = ""};
}

Options training() {
  Options options;
  options.D = options.z = options.delta_bias = options.delta_softplus = true;
  return options;
}

Ceilings ceilings(double copy, std::optional<double> exp2, std::optional<double> slots) {
  Ceilings result;
  result.copy_bytes_per_second = copy;
  result.exp2_per_second = exp2;
  result.issue_slots_per_second = slots;
  return result;
}

TEST(Cost, ForwardReadsEachInputOnceAndWritesEachOutputOnce) {
  // u, delta, z, out, out_z; B and C (8, 1, 16, 2048); A (2048, 16); D and delta_bias (2048).
  EXPECT_EQ(cost(mamba("forward", training())).bytes, 4 * (5 * kSteps + 2 * 8 * 16 * 2048 + 2048 * 16 + 2 * 2048));
  // Without the gate: u, delta, out. Fixed B and C have the shape of A.
  Options plain;
  plain.variable_B = plain.variable_C = false;
  EXPECT_EQ(cost(mamba("forward", plain)).bytes, 4 * (3 * kSteps + 3 * 2048 * 16));
}

TEST(Cost, BackwardReadsWhatTheForwardReadAndTheGradientAndWritesAGradientForEachInput) {
  // u, delta, z, out, dout, du, ddelta, dz; B, C, dB, dC; A, dA; D, delta_bias and their gradients.
  EXPECT_EQ(cost(mamba("backward", training())).bytes, 4 * (8 * kSteps + 4 * 8 * 16 * 2048 + 2 * 2048 * 16 + 4 * 2048));
  // u, delta, dout, du, ddelta.
  Options plain;
  plain.variable_B = plain.variable_C = false;
  EXPECT_EQ(cost(mamba("backward", plain)).bytes, 4 * (5 * kSteps + 6 * 2048 * 16));
}

TEST(Cost, OptionalStatesAndStepsCount) {
  Options options;
  const double without = cost(mamba("forward", options)).bytes;
  options.h0 = options.last_state = options.deltaA = true;
  EXPECT_EQ(cost(mamba("forward", options)).bytes - without, 4 * (2 * 8 * 2048 * kStates + kSteps));
}

TEST(Cost, SavingForTheBackwardIsNotPartOfTheLeastCost) {
  Options options = training();
  const double without = cost(mamba("forward", options)).bytes;
  options.save = true;
  EXPECT_EQ(cost(mamba("forward", options)).bytes, without);
}

TEST(Cost, ForwardMambaTakesAnExpAStateUpdateAndThreeAStepForSoftplusAndGate) {
  const Cost plain = cost(mamba("forward", Options{}));
  EXPECT_EQ(plain.state_updates, kSteps * kStates);
  EXPECT_EQ(plain.exp2, kSteps * kStates);
  EXPECT_EQ(cost(mamba("forward", training())).exp2, kSteps * (kStates + 3));
  EXPECT_NEAR(*plain.issue_slots / plain.state_updates, 5.9, 1e-12);
}

TEST(Cost, VariantsWithoutADeclaredCostHaveBytesOnly) {
  Problem problem = mamba("forward", Options{});
  problem.discretization = "zoh";
  const Cost result = cost(problem);
  EXPECT_EQ(result.bytes, cost(mamba("forward", Options{})).bytes);
  EXPECT_FALSE(result.exp2.has_value());
  EXPECT_FALSE(result.issue_slots.has_value());
}

TEST(Cost, CountsBeyond32BitsStayExact) {
  Problem problem = mamba("forward", Options{});
  problem.shape = {.batch = 64, .dim = 8192, .seqlen = 1 << 20, .dstate = 256, .groups = 1};
  EXPECT_EQ(cost(problem).state_updates, 64.0 * 8192 * (1 << 20) * 256);
  EXPECT_GE(cost(problem).bytes, 12.0 * 64 * 8192 * (1 << 20));
}

TEST(Floor, IsTheTimeOfTheSlowestUnit) {
  const Cost forward = cost(mamba("forward", training()));
  const Floor memory = floor_of(forward, ceilings(2.95e12, 4.18e12, 28e12));
  EXPECT_EQ(memory.binds, "DRAM");
  EXPECT_NEAR(memory.ms, 1e3 * forward.bytes / 2.95e12, 1e-9);
  const Floor exp2 = floor_of(forward, ceilings(1e15, 4.18e12, 28e12));
  EXPECT_EQ(exp2.binds, "exp2");
  EXPECT_NEAR(exp2.ms, 1e3 * *forward.exp2 / 4.18e12, 1e-9);
  const Floor issue = floor_of(forward, ceilings(1e15, 1e15, 28e12));
  EXPECT_EQ(issue.binds, "issue");
  EXPECT_NEAR(issue.ms, 1e3 * *forward.issue_slots / 28e12, 1e-9);
}

TEST(Floor, LeavesOutUnitsWhoseRateWasNotMeasured) {
  const Floor floor = floor_of(cost(mamba("backward", training())), ceilings(20e9, {}, {}));
  EXPECT_EQ(floor.binds, "DRAM");
  EXPECT_GT(floor.ms, 50);
}

}  // namespace
}  // namespace lrnnx::bench
