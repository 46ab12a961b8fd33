// Several processes that time the same problem: whose samples make its row, and what becomes of one that goes wrong.
#include "harness/executor.h"

#include <gtest/gtest.h>

#include "harness/error.h"
#include "harness/results.h"

namespace lrnnx::bench::executor_test {
namespace {

using Json = nlohmann::ordered_json;
using Rows = Executor::Rows;

Problem tiny(const std::string& backend = "cpu") {
  return parse_problem("selective_scan.mamba.f32.forward." + backend + " batch=1 dim=8 seqlen=33 dstate=4");
}

const std::map<std::string, Ceilings> kCeilings = [] {
  Ceilings cpu;
  cpu.backend = "cpu";
  cpu.copy_bytes_per_second = 1e10;
  return std::map<std::string, Ceilings>{{"cpu", cpu}};
}();

Row timed(std::vector<double> samples, std::vector<int64_t> rounds, Stopped stopped = Stopped::quiet) {
  Row row = row_of(tiny(), CacheState::cold);
  row.verdict = Verdict::mistrusted;
  row.exit_code = ExitCode::ok;
  row.check.emplace().status = Status::mistrusted;
  row.configuration = "threads=2";
  row.measurement = Measurement{.samples_ms = std::move(samples), .rounds = std::move(rounds), .stopped = stopped};
  row.summary = summarize(row.measurement->samples_ms);
  return row;
}

Json gone_wrong(Verdict verdict, ExitCode exit_code) {
  Row row = row_of(tiny(), CacheState::cold);
  row.verdict = verdict;
  row.exit_code = exit_code;
  row.reason = "in this process";
  return to_json(row);
}

TEST(Pooled, TakesTheSamplesOfAllRoundByRoundInTurns) {
  const Rows first = {to_json(timed({1, 2, 3}, {2, 1}))}, second = {to_json(timed({10}, {1}, Stopped::timed_out))};
  const Rows pool = pooled({first, second}, kCeilings);
  ASSERT_EQ(pool.size(), 1u);
  const Json& row = pool[0];
  EXPECT_EQ(row.at("samples_ms"), Json({1.0, 2.0, 10.0, 3.0}));
  EXPECT_EQ(row.at("rounds"), Json({2, 1, 1, 0}));
  EXPECT_EQ(row.at("processes"), 2);
  EXPECT_EQ(row.at("median_ms"), 2.5);
  EXPECT_EQ(row.at("max_ms"), 10.0);
  EXPECT_EQ(row.at("sampling"), "timed out");
  EXPECT_EQ(row.at("verdict"), "mistrusted");
  EXPECT_EQ(row.at("configuration"), "threads=2");
  EXPECT_EQ(row.at("check").at("status"), "mistrusted");
  EXPECT_NEAR(row.at("floor_ms").get<double>(), 1e-7 * row.at("bytes").get<double>(), 1e-12);
  require_row(row, "pooled");
}

TEST(Pooled, AProcessThatWentWrongDecidesAndOneThatCouldNotRunAddsNothing) {
  const Rows good = {to_json(timed({1, 2, 3}, {3}))};
  const Json failed = gone_wrong(Verdict::failed, ExitCode::wrong_numbers);
  const Json row = pooled({good, good, {failed}}, kCeilings).at(0);
  EXPECT_EQ(row.at("verdict"), "failed");
  EXPECT_EQ(row.at("reason"), "in this process");
  EXPECT_TRUE(row.at("samples_ms").empty());
  EXPECT_EQ(row.at("check").at("status"), "mistrusted");

  const Json skipped = gone_wrong(Verdict::skipped, ExitCode::nothing_ran);
  const Json alone = pooled({good, {skipped}, {}}, kCeilings).at(0);
  EXPECT_EQ(alone.at("samples_ms"), good.at(0).at("samples_ms"));
  EXPECT_EQ(alone.at("rounds"), Json({3, 0, 0})) << "in step with rows of three processes";
  EXPECT_EQ(alone.at("processes"), 1);
  EXPECT_NE(alone.at("note").get<std::string>().find("1 of 3 processes"), std::string::npos);
  EXPECT_EQ(pooled({{skipped}, {}}, kCeilings).at(0), skipped);
}

TEST(Pooled, WhatWentWrongColdIsNotTimedWarm) {
  Row warm = timed({1, 2, 3}, {3});
  warm.cache = CacheState::warm;
  const Rows good = {to_json(timed({1, 2, 3}, {3})), to_json(warm)};
  const Rows pool = pooled({good, {gone_wrong(Verdict::error, ExitCode::system)}}, kCeilings);
  ASSERT_EQ(pool.size(), 1u);
  EXPECT_EQ(pool[0].at("verdict"), "error");
}

TEST(Pooled, OneInvalidProcessDecidesNothing) {
  Json throttled = to_json(timed({1e-9}, {1}));
  throttled["verdict"] = "invalid";
  throttled["exit_code"] = 1;
  throttled["reason"] = "too fast";
  const Rows good = {to_json(timed({1, 2, 3}, {3}))};
  for (const auto& both : {std::vector<Rows>{{throttled}, good}, std::vector<Rows>{good, {throttled}}}) {
    const Json row = pooled(both, kCeilings).at(0);
    EXPECT_EQ(row.at("verdict"), "mistrusted");
    EXPECT_NE(row.at("exit_code"), 1);
    EXPECT_EQ(row.at("samples_ms").size(), 4u);
    EXPECT_TRUE(row.at("reason").is_null());
  }
}

TEST(Executor, AProcessThatIsToldWhatIsRightMakesASoundRow) {
  Worker::Options options;
  options.program = std::string(LRNNX_BINARY_DIR) + "/bin/lrnnx-bench";
  options.run.measure.min_samples = 3;
  options.run.measure.min_seconds = 0;
  options.run.measure.max_noise = 1e9;
  Problem naive = tiny();
  naive.implementation = "naive";
  Worker first(options), second(options);
  first.begin({tiny(), naive}, {.processes = 2, .checked = {}});
  ASSERT_TRUE(first.turn());
  const Checksums right = first.checked();
  ASSERT_EQ(right.size(), 2u);
  second.begin({tiny(), naive}, {.processes = 2, .checked = right});
  ASSERT_TRUE(second.turn());
  const pid_t child = second.pid();
  while (second.turn()) continue;
  EXPECT_EQ(second.pid(), child) << "or the next contest pays for another start, and this one ran out of turn";
  for (const Json& row : second.take()) EXPECT_EQ(row.at("exit_code"), 0) << row.at("reason");
}

TEST(Executor, WhatIsSmallIsTimedByAsManyProcessesAsAskedFor) {
  Executor::Options options;
  options.program = std::string(LRNNX_BINARY_DIR) + "/bin/lrnnx-bench";
  options.run.states = {CacheState::cold, CacheState::warm};
  options.run.measure.min_samples = 7;
  options.run.measure.min_seconds = 0;
  options.run.measure.max_noise = 1e9;
  options.run.processes = 3;
  Executor executor(options, {}, "cpu");
  const Rows rows = executor.run({tiny()});
  ASSERT_EQ(rows.size(), 2u);
  for (const Json& row : rows) {
    EXPECT_EQ(row.at("verdict"), "passed") << row.at("reason");
    EXPECT_EQ(row.at("processes"), 3);
    EXPECT_EQ(row.at("samples_ms").size(), 9u) << "a third of seven each, rounded up";
  }
}

TEST(Executor, OneProcessIsEnoughForWhatIsLargeAndOnTheProcessor) {
  const Problem large = parse_problem("selective_scan.mamba.f32.forward.cuda batch=8 dim=2048 seqlen=2048 dstate=16");
  EXPECT_EQ(processes_for(large, 0), 1);
  EXPECT_EQ(processes_for(large, 8), 1);
  EXPECT_EQ(processes_for(tiny("cuda"), 0), kProcesses);
  EXPECT_EQ(processes_for(tiny("cuda"), 2), 2);
  EXPECT_EQ(processes_for(tiny("cpu"), 0), 1);
  EXPECT_EQ(processes_for(tiny("cpu"), 2), 2);
}

}  // namespace
}  // namespace lrnnx::bench::executor_test
