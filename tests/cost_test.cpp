// Least costs and floors: counted by hand for the shape that kernels are compared at.
#include "harness/cost.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "harness/problem.h"
#include "harness/results.h"
#include "harness/variants.h"

namespace lrnnx::bench::cost_test {
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

TEST(Cost, WhatHasATimeAxisTakesHalfTheBytesInSixteenBits) {
  for (const char* dtype : {"bf16", "f16"}) {
    Problem problem = mamba("forward", training());
    const Cost floats = cost(problem);
    problem.dtype = dtype;
    EXPECT_EQ(cost(problem).bytes, 2 * (5 * kSteps + 2 * 8 * 16 * 2048) + 4 * (2048 * 16 + 2 * 2048));
    EXPECT_EQ(cost(problem).exp2, floats.exp2);
    EXPECT_EQ(cost(problem).issue_slots, floats.issue_slots);  // the arithmetic is the same
    problem = mamba("backward", training());
    problem.dtype = dtype;
    EXPECT_EQ(cost(problem).bytes, 2 * (8 * kSteps + 4 * 8 * 16 * 2048) + 4 * (2 * 2048 * 16 + 4 * 2048));
    // Fixed B and C, and their gradients, are floats.
    problem.options = {};
    problem.options.variable_B = problem.options.variable_C = false;
    EXPECT_EQ(cost(problem).bytes, 2 * 5 * kSteps + 4 * 6 * 2048 * 16);
  }
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
  EXPECT_EQ(*plain.issue_slots / plain.state_updates, 5);
}

Problem of_variant(const Variant& variant) {
  Problem problem = mamba(variant.direction, training());
  problem.discretization = variant.discretization;
  problem.dtype = variant.dtype;
  drop_untaken_options(problem);
  return problem;
}

TEST(Cost, EveryVariantDeclaresOneThatGrowsWithTheShape) {
  for (const Variant& variant : variants()) {
    SCOPED_TRACE(variant.name());
    Problem problem = of_variant(variant);
    const Cost once = cost(problem);
    ASSERT_TRUE(once.exp2 && once.issue_slots);
    EXPECT_GT(*once.exp2, 0);
    EXPECT_GT(*once.issue_slots, *once.exp2);
    for (int64_t Shape::*axis : {&Shape::batch, &Shape::dim, &Shape::seqlen}) {
      Problem twice = problem;
      twice.shape.*axis *= 2;
      EXPECT_EQ(cost(twice).exp2, 2 * *once.exp2);
      EXPECT_EQ(cost(twice).issue_slots, 2 * *once.issue_slots);
      EXPECT_GT(cost(twice).bytes, once.bytes);
    }
    problem.shape.dstate *= 2;
    EXPECT_GT(*cost(problem).issue_slots, *once.issue_slots);
    EXPECT_LE(*cost(problem).issue_slots, 2 * *once.issue_slots);
  }
}

TEST(Cost, ComplexWeightsTakeMoreThanRealOnes) {
  for (const char* discretization : {"mamba", "zoh", "bilinear", "dirac"}) {
    for (const char* direction : {"forward", "backward"}) {
      Problem problem = mamba(direction, training());
      problem.discretization = discretization;
      const double real = *cost(problem).issue_slots;
      problem.dtype = "c64";
      EXPECT_GT(*cost(problem).issue_slots, 1.5 * real) << discretization << ' ' << direction;
    }
  }
}

TEST(Cost, BackwardTakesMoreThanForward) {
  for (const Variant& variant : variants()) {
    if (variant.direction != "backward") continue;
    Problem problem = of_variant(variant);
    const double backward = *cost(problem).issue_slots;
    problem.direction = "forward";
    EXPECT_GT(backward, *cost(problem).issue_slots) << variant.name();
  }
}

TEST(Cost, FixedBAndCFoldIntoOneFactor) {
  Problem problem = mamba("forward", Options{});
  const Cost variable = cost(problem);
  problem.options.variable_B = false;
  EXPECT_EQ(cost(problem).issue_slots, variable.issue_slots);
  problem.options.variable_C = false;
  EXPECT_EQ(*cost(problem).issue_slots, *variable.issue_slots - variable.state_updates);
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
  const Floor exp2 = floor_of(forward, ceilings(1e15, 1e12, 1e15));
  EXPECT_EQ(exp2.binds, "exp2");
  const Floor issue = floor_of(forward, ceilings(1e15, 1e15, 28e12));
  EXPECT_EQ(issue.binds, "issue");
  EXPECT_NEAR(issue.ms, 1e3 * *forward.issue_slots / 28e12, 1e-9);
}

TEST(Floor, LetsPolynomialsTakeTheSpecialFunctionsThatWouldHoldUpTheRest) {
  const Cost forward = cost(mamba("forward", training()));
  const double exp2_rate = 4.18e12, slot_rate = 28e12;
  const Floor floor = floor_of(forward, ceilings(1e15, exp2_rate, slot_rate));
  EXPECT_EQ(floor.binds, "exp2");
  EXPECT_LT(floor.ms, 1e3 * *forward.exp2 / exp2_rate);
  // Both units are busy all the time; a polynomial takes four slots more.
  const double left = floor.ms * 1e-3 * exp2_rate;
  EXPECT_NEAR(floor.ms, 1e3 * (*forward.issue_slots + 4 * (*forward.exp2 - left)) / slot_rate, 1e-9);
}

TEST(Floor, LeavesOutUnitsWhoseRateWasNotMeasured) {
  const Floor floor = floor_of(cost(mamba("backward", training())), ceilings(20e9, {}, {}));
  EXPECT_EQ(floor.binds, "DRAM");
  EXPECT_GT(floor.ms, 50);
}

TEST(Floor, IsBelowEveryTimeOnRecord) {
  const Results results = read_results(LRNNX_SOURCE_DIR "/results/h100/anchors.json");
  int times = 0;
  for (const auto& row : results.rows) {
    if (!row.at("median_ms").is_number()) continue;
    const Problem problem = parse_problem(row.at("problem").get<std::string>());
    const Floor floor = floor_of(cost(problem), results.ceilings.at(problem.backend));
    EXPECT_LT(floor.ms, row.at("median_ms").get<double>()) << to_string(problem);
    ++times;
  }
  EXPECT_GT(times, 0);
}

}  // namespace
}  // namespace lrnnx::bench::cost_test
