// `lrnnx-bench compare` and `sweep --baseline` from the outside, on results whose samples the test wrote.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/run_program.h"

namespace lrnnx::bench::cli_compare_test {
namespace {

using Json = nlohmann::json;

constexpr const char* kSweep =
    "sweep -q --no-check --backend cpu --direction forward --min-samples 8 --min-time 0 --max-noise 1e9 "
    "-p 'selective_scan.mamba.f32.forward.cpu batch=1 dim=8 seqlen=33 dstate=4' ";

class CliCompare : public testing::Test {
 protected:
  CliCompare() { EXPECT_EQ(run_program(kSweep + ("--json " + base())).exit_code, 0); }

  std::string base() const { return directory_ / "base.json"; }

  // The base with samples close to `ms`.
  std::string results_of(const std::string& name, double ms) const {
    Json json = Json::parse(read_text(base()));
    Json& row = json["results"][0];
    row["samples_ms"] = Json::array();
    for (int i = 0; i < 40; ++i) row["samples_ms"].push_back(ms * (1 + 1e-4 * (i % 5)));
    row["median_ms"] = ms * (1 + 1e-4 * 2);
    row["rounds"] = {40};
    return write(name, json);
  }

  std::string write(const std::string& name, const Json& json) const {
    const std::string path = directory_ / name;
    std::ofstream(path) << json.dump();
    return path;
  }

  TemporaryDirectory directory_;
};

TEST_F(CliCompare, ExitsWith5IfSomethingIsSlowerThanTheThresholdAndWith0IfFasterOrSame) {
  const std::string old = results_of("old", 1);
  const ProgramResult slower = run_program("compare " + old + " " + results_of("slower", 1.03));
  EXPECT_EQ(slower.exit_code, 5) << slower.err;
  EXPECT_NE(slower.out.find("SLOW"), std::string::npos) << slower.out;
  EXPECT_NE(slower.out.find("+3.00 %"), std::string::npos) << slower.out;
  EXPECT_EQ(run_program("compare --threshold 5 " + old + " " + results_of("slower", 1.03)).exit_code, 0);
  const ProgramResult faster = run_program("compare --strict " + old + " " + results_of("faster", 0.5));
  EXPECT_EQ(faster.exit_code, 0);
  EXPECT_NE(faster.out.find("1 FAST"), std::string::npos) << faster.out;
  const ProgramResult same = run_program("compare --strict " + old + " " + results_of("same", 1.001));
  EXPECT_EQ(same.exit_code, 0);
  EXPECT_NE(same.out.find("1 SAME"), std::string::npos) << same.out;
}

TEST_F(CliCompare, AmbiguousRowsFailOnlyAStrictComparison) {
  const std::string old = results_of("old", 1), between = results_of("between", 1.0151);
  EXPECT_EQ(run_program("compare " + old + " " + between).exit_code, 0);
  EXPECT_EQ(run_program("compare --strict " + old + " " + between).exit_code, 6);
}

TEST_F(CliCompare, RefusesAnotherMachineUnlessTold) {
  Json json = Json::parse(read_text(results_of("old", 1)));
  json["environment"]["cpu"]["name"] = "abacus";
  const std::string other = write("other", json), here = results_of("here", 1);
  const ProgramResult refused = run_program("compare " + other + " " + here);
  EXPECT_EQ(refused.exit_code, 2);
  EXPECT_NE(refused.err.find("abacus"), std::string::npos) << refused.err;
  EXPECT_EQ(run_program("compare --allow-mixed " + other + " " + here).exit_code, 0);
  EXPECT_EQ(run_program(kSweep + ("--baseline " + other)).exit_code, 2);
}

TEST_F(CliCompare, JsonSaysTheSameAsTheTable) {
  const ProgramResult result =
      run_program("compare --json - " + results_of("old", 1) + " " + results_of("slower", 1.03));
  EXPECT_EQ(result.exit_code, 5);
  const Json json = Json::parse(result.out);
  ASSERT_EQ(json.at("pairs").size(), 1u);
  EXPECT_EQ(json["pairs"][0].at("verdict"), "SLOW");
  EXPECT_NEAR(json["pairs"][0].at("ratio").get<double>(), 1.03, 1e-3);
}

TEST_F(CliCompare, WhatCannotBeReadIsNamed) {
  const ProgramResult missing = run_program("compare /no/such.json " + base());
  EXPECT_EQ(missing.exit_code, 3);
  EXPECT_NE(missing.err.find("/no/such.json"), std::string::npos) << missing.err;
  const ProgramResult threshold = run_program("compare --threshold nan " + base() + " " + base());
  EXPECT_EQ(threshold.exit_code, 2);
  EXPECT_NE(threshold.err.find("nan"), std::string::npos) << threshold.err;
}

TEST_F(CliCompare, ASweepAgainstABaselineSaysWhatChangedAfterItsTable) {
  // No kernel takes an hour or nothing.
  const ProgramResult faster = run_program(kSweep + ("--baseline " + results_of("hour", 3.6e6)));
  EXPECT_EQ(faster.exit_code, 0) << faster.err;
  EXPECT_NE(faster.out.find("1 FAST"), std::string::npos) << faster.out;
  const ProgramResult slower = run_program(kSweep + ("--baseline " + results_of("nothing", 1e-9)));
  EXPECT_EQ(slower.exit_code, 5) << slower.out;
}

}  // namespace
}  // namespace lrnnx::bench::cli_compare_test
