// A child process that runs problems: what befalls it costs the problem in flight and nothing else.
#include "harness/worker.h"

#include <gtest/gtest.h>
#include <signal.h>

#include "harness/results.h"

namespace lrnnx::bench::worker_test {
namespace {

Problem tiny(const std::string& direction = "forward") {
  return parse_problem("selective_scan.mamba.f32." + direction + ".cpu batch=1 dim=8 seqlen=33 dstate=4");
}

Worker::Options quick() {
  Worker::Options options;
  options.program = std::string(LRNNX_BINARY_DIR) + "/bin/lrnnx-bench";
  options.run.states = {CacheState::warm};
  options.run.measure.min_samples = 3;
  options.run.measure.min_seconds = 0;
  options.run.measure.max_noise = 1e9;  // three samples are enough
  return options;
}

TEST(Worker, RunsOneProblemAfterTheOtherInOneChild) {
  Worker worker(quick());
  const auto forward = worker.run(tiny("forward"));
  const pid_t child = worker.pid();
  const auto backward = worker.run(tiny("backward"));
  for (const auto& rows : {forward, backward}) {
    ASSERT_EQ(rows.size(), 1u);
    EXPECT_EQ(rows[0].at("verdict"), "passed") << rows[0].at("reason");
    EXPECT_EQ(rows[0].at("samples_ms").size(), 3u);
  }
  EXPECT_EQ(forward[0].at("problem"), to_string(tiny("forward")));
  EXPECT_NE(child, 0);
  EXPECT_EQ(worker.pid(), child);
  EXPECT_EQ(worker.ceilings().count("cpu"), 1u);
}

TEST(Worker, ACrashIsTheRowOfItsProblemAndTheNextOneRuns) {
  Worker worker(quick());
  ASSERT_EQ(worker.run(tiny()).at(0).at("verdict"), "passed");
  const double copy = worker.ceilings().at("cpu").copy_bytes_per_second;
  bool crash = true;
  worker.on_phase = [&](const char* phase) {
    if (crash && std::string(phase) == "timing") kill(worker.pid(), SIGSEGV);
  };
  const auto rows =
      worker.run(parse_problem("selective_scan.mamba.f32.forward.cpu batch=1 dim=256 seqlen=2048 dstate=16"));
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].at("verdict"), "error");
  EXPECT_EQ(rows[0].at("exit_code"), 3);
  const std::string reason = rows[0].at("reason");
  EXPECT_NE(reason.find("signal 11"), std::string::npos) << reason;
  EXPECT_NE(reason.find("while timing"), std::string::npos) << reason;
  crash = false;
  EXPECT_EQ(worker.run(tiny()).at(0).at("verdict"), "passed");
  EXPECT_EQ(worker.ceilings().at("cpu").copy_bytes_per_second, copy) << "measured again";
}

TEST(Worker, ChecksShareAChildUntilOneBreaksItOrTheMachine) {
  Worker worker(quick());
  EXPECT_EQ(worker.check(tiny()).value().status, Status::passed);
  const pid_t first = worker.pid();
  EXPECT_EQ(worker.check(tiny("backward")).value().status, Status::passed);
  EXPECT_EQ(worker.pid(), first);
  Problem unknown = tiny();
  unknown.implementation = "none";  // an error of the system, as one of the device is
  EXPECT_EQ(worker.check(unknown).value().exit_code, ExitCode::system);
  EXPECT_EQ(worker.pid(), 0) << "what broke the device would break it for the next problem";
  worker.on_phase = [&](const char*) { kill(worker.pid(), SIGSEGV); };
  const Problem longer = parse_problem("selective_scan.mamba.f32.forward.cpu batch=1 dim=256 seqlen=2048 dstate=16");
  const CheckResult crashed = worker.check(longer).value();
  EXPECT_EQ(crashed.status, Status::error);
  EXPECT_NE(crashed.reason.find("signal 11"), std::string::npos) << crashed.reason;
  worker.on_phase = [](const char*) {};
  EXPECT_EQ(worker.check(tiny()).value().status, Status::passed);
}

TEST(Worker, AHangIsKilledAndTheNextProblemRuns) {
  Worker::Options options = quick();
  options.patience_seconds = 6;  // the one that follows may have a busy machine
  options.run.measure.timeout_seconds = 0.1;
  options.run.check = false;  // the child is stopped while it measures the machine, and not in the reference, which may
  Worker worker(options);     // take as long as it likes
  bool hang = true;
  worker.on_phase = [&](const char*) {
    if (hang) kill(worker.pid(), SIGSTOP);
  };
  const auto rows = worker.run(tiny());
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].at("verdict"), "error");
  const std::string reason = rows[0].at("reason");
  EXPECT_NE(reason.find("without a sign of life"), std::string::npos) << reason;
  EXPECT_EQ(worker.pid(), 0);
  hang = false;
  EXPECT_NE(worker.run(tiny()).at(0).at("verdict"), "error");
}

TEST(Worker, AProgramThatCannotBeStartedIsAnErrorInWords) {
  Worker::Options options = quick();
  options.program = "/no/such/program";
  const auto rows = Worker(options).run(tiny());
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].at("verdict"), "error");
  EXPECT_NE(rows[0].at("reason").get<std::string>().find("exit code 127"), std::string::npos) << rows[0].at("reason");
}

}  // namespace
}  // namespace lrnnx::bench::worker_test
