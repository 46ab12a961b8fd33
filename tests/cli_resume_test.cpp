// A sweep that is killed loses at most the problem in flight, and ends as an unbroken one would have.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <regex>
#include <set>
#include <sstream>
#include <thread>

#include "tests/run_program.h"

namespace lrnnx::bench::cli_resume_test {
namespace {

using Json = nlohmann::json;

const std::string kSelection =
    "--backend cpu --warm --min-samples 2 --min-time 0 --max-noise 1e9 -a batch=1 -a dim=8 -a groups=1 -a dstate=2 "
    "-a options=B,C -a seqlen=1:30 ";

std::vector<std::string> problems_of(const Json& json) {
  std::vector<std::string> problems;
  for (const Json& row : json.at("results")) {
    EXPECT_EQ(row.at("verdict"), "passed") << row.at("reason");
    problems.push_back(row.at("problem"));
  }
  return problems;
}

// Starts a sweep into `out`, kills it with SIGKILL after `milliseconds`, and returns what it announced as done. True in
// `ended` if it was faster.
std::set<std::string> sweep_and_kill(const std::string& out, int milliseconds, const std::string& log, bool& ended) {
  const std::string program = std::string(LRNNX_BINARY_DIR) + "/bin/lrnnx-bench";
  const pid_t pid = fork();
  if (pid == 0) {
    const int file = open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0666);
    dup2(file, STDERR_FILENO);
    dup2(open("/dev/null", O_WRONLY), STDOUT_FILENO);
    const std::string command = "exec '" + program + "' sweep --resume --out '" + out + "' " + kSelection;
    execl("/bin/sh", "sh", "-c", command.c_str(), static_cast<char*>(nullptr));
    _exit(127);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
  kill(pid, SIGKILL);
  int status = 0;
  waitpid(pid, &status, 0);
  ended = WIFEXITED(status);
  std::set<std::string> announced;
  std::istringstream lines(read_text(log));
  const std::regex done(R"(\[\d+/\d+\] passed (.*): [0-9.]+ ms)");
  std::smatch match;
  for (std::string line; std::getline(lines, line);)
    if (std::regex_match(line, match, done)) announced.insert(match[1]);
  return announced;
}

std::set<std::string> journalled(const std::string& path) {
  std::set<std::string> problems;
  const std::string text = read_text(path);
  for (size_t begin = text.find('\n') + 1, end = 0; begin != 0 && (end = text.find('\n', begin)) != text.npos;
       begin = end + 1)
    problems.insert(Json::parse(text.substr(begin, end - begin)).at("problem").get<std::string>());
  return problems;
}

TEST(CliResume, KilledAtFiftyRandomMomentsASweepLosesOnlyWhatWasInFlightAndEndsLikeAnUnbrokenOne) {
  const TemporaryDirectory directory;
  const std::string unbroken = directory / "unbroken";
  ASSERT_EQ(run_program("sweep -q --out '" + unbroken + "' " + kSelection).exit_code, 0);
  const auto expected = problems_of(Json::parse(read_text(unbroken + "/sweep.json")));
  ASSERT_EQ(expected.size(), 60u);

  std::mt19937 random(1);
  std::uniform_int_distribution<int> delay(5, 100);
  int kills = 0, sweeps = 0;
  while (kills < 50) {
    const std::string out = directory / ("killed" + std::to_string(sweeps++));
    // The first problem alone, for the ceilings take longer to measure than a run here lives.
    ASSERT_EQ(run_program("sweep -q --budget 0.001s --out '" + out + "' " + kSelection).exit_code, 0);
    const std::string journal = out + "/sweep.jsonl";
    std::set<std::string> before = journalled(journal);
    ASSERT_EQ(before.size(), 1u);
    for (bool ended = false; !ended && kills < 50;) {
      const auto announced = sweep_and_kill(out, delay(random), directory / "log", ended);
      if (ended) break;
      ++kills;
      if (!std::filesystem::exists(journal)) break;  // killed after the results were written, which are looked at below
      const auto after = journalled(journal);
      EXPECT_TRUE(std::ranges::includes(after, before)) << "lost what an earlier run had done";
      EXPECT_TRUE(std::ranges::includes(after, announced)) << "lost what it said was done";
      before = after;
    }
    ASSERT_EQ(run_program("sweep -q --resume --out '" + out + "' " + kSelection).exit_code, 0);
    const Json json = Json::parse(read_text(out + "/sweep.json"));
    EXPECT_EQ(problems_of(json), expected);
    EXPECT_EQ(json.at("complete"), true);
    EXPECT_FALSE(std::filesystem::exists(journal)) << "everything is in the results";
  }
}

TEST(CliResume, ABudgetEndsTheSweepInOrderAndResumeFinishesIt) {
  const TemporaryDirectory directory;
  const std::string out = directory / "out";
  const ProgramResult first = run_program("sweep --budget 0.001s --out '" + out + "' " + kSelection);
  EXPECT_EQ(first.exit_code, 0) << first.err;
  EXPECT_NE(first.out.find("ended before the last problem"), std::string::npos) << first.out;
  const Json partial = Json::parse(read_text(out + "/sweep.json"));
  EXPECT_EQ(partial.at("complete"), false);
  EXPECT_EQ(partial.at("results").size(), 1u);
  ASSERT_EQ(run_program("sweep -q --resume --out '" + out + "' " + kSelection).exit_code, 0);
  const Json whole = Json::parse(read_text(out + "/sweep.json"));
  EXPECT_EQ(whole.at("complete"), true);
  EXPECT_EQ(whole.at("results").size(), 60u);
  EXPECT_EQ(whole.at("results")[0], partial.at("results")[0]) << "measured again";
  EXPECT_EQ(whole.at("ceilings"), partial.at("ceilings")) << "measured again";
}

TEST(CliResume, WithoutItAnInterruptedSweepIsKeptAside) {
  const TemporaryDirectory directory;
  const std::string out = directory / "out";
  const std::string arguments = "sweep --budget 0.001s --out '" + out + "' " + kSelection;
  ASSERT_EQ(run_program(arguments).exit_code, 0);
  const ProgramResult again = run_program(arguments);
  EXPECT_NE(again.err.find("sweep.jsonl.old"), std::string::npos) << again.err;
  EXPECT_TRUE(std::filesystem::exists(out + "/sweep.jsonl.old"));
}

TEST(CliResume, RefusesToMixSelectionsAndNeedsAPlaceForTheJournal) {
  const TemporaryDirectory directory;
  const std::string out = directory / "out";
  ASSERT_EQ(run_program("sweep -q --budget 0.001s --out '" + out + "' " + kSelection).exit_code, 0);
  const ProgramResult other = run_program("sweep --resume --out '" + out + "' " + kSelection + " --direction forward");
  EXPECT_EQ(other.exit_code, 2);
  EXPECT_NE(other.err.find("60 problems are not the 30"), std::string::npos) << other.err;
  EXPECT_EQ(run_program("sweep --resume " + kSelection).exit_code, 2);
}

TEST(CliSweepPlan, DryRunPrintsLinesThatParseBackAndRunsNothing) {
  const ProgramResult dry = run_program("sweep --dry-run " + kSelection + "--out /no/such/place");
  EXPECT_EQ(dry.exit_code, 0) << dry.err;
  EXPECT_FALSE(std::filesystem::exists("/no/such/place"));
  std::istringstream lines(dry.out);
  std::vector<std::string> problems;
  for (std::string line; std::getline(lines, line);) problems.push_back(line);
  ASSERT_EQ(problems.size(), 60u);
  EXPECT_EQ(run_program("sweep --dry-run -p '" + problems.back() + "'").out, problems.back() + '\n');
}

TEST(CliSweepPlan, DryRunOfAResumedSweepPrintsWhatIsLeft) {
  const TemporaryDirectory directory;
  const std::string sweep = "sweep " + kSelection + "--out '" + (directory / "out").string() + "' ";
  const std::string all = run_program(sweep + "--dry-run").out;
  EXPECT_EQ(run_program(sweep + "--dry-run --resume").out, all);
  ASSERT_EQ(run_program(sweep + "-q --budget 0.001s").exit_code, 0);
  const ProgramResult left = run_program(sweep + "--dry-run --resume");
  EXPECT_EQ(left.exit_code, 0) << left.err;
  ASSERT_LT(left.out.size(), all.size());
  EXPECT_TRUE(all.ends_with(left.out)) << left.out;
  EXPECT_EQ(run_program(sweep + "--dry-run --resume --direction forward").exit_code, 2);

  const std::string torn = directory / "torn.json";
  std::ofstream(torn + "l") << "no line";
  const ProgramResult nothing = run_program("sweep --dry-run --resume --json '" + torn + "' " + kSelection);
  EXPECT_EQ(nothing.out, all) << nothing.err;
  EXPECT_EQ(read_text(torn + "l"), "no line") << "it only looks";
}

TEST(CliSweepPlan, AContestOfWhichAPartIsLeftIsHeldAgain) {
  const TemporaryDirectory directory;
  const std::string journal = directory / "j.jsonl";
  const std::string arguments =
      "sweep -q --no-check -b cpu --warm --min-samples 2 --min-time 0 --max-noise 1e9 "
      "-p 'selective_scan.mamba.f32.forward.cpu batch=1 dim=8 seqlen=9 dstate=2' "
      "-p 'selective_scan.mamba.f32.forward.cpu batch=1 dim=8 seqlen=10 dstate=2' "
      "--implementation '*' --json " +
      (directory / "r.json").string() + " --journal " + journal;
  ASSERT_EQ(run_program(arguments).exit_code, 0);
  std::string text = read_text(journal);
  text.erase(text.rfind('\n', text.size() - 2) + 1);  // naive at length 10
  std::ofstream(journal) << text;
  const ProgramResult left = run_program(arguments + " --resume --dry-run");
  EXPECT_EQ(std::ranges::count(left.out, '\n'), 2) << left.out << left.err;
  EXPECT_EQ(left.out.find("seqlen=9 "), std::string::npos) << left.out;
  ASSERT_EQ(run_program(arguments + " --resume").exit_code, 0);
  const Json json = Json::parse(read_text(directory / "r.json"));
  EXPECT_TRUE(json.at("complete"));
  EXPECT_EQ(json.at("results").size(), 4u);
}

TEST(CliSweepPlan, EverySuiteOfTheRepositoryExpandsToProblems) {
  int suites = 0;
  for (const auto& entry : std::filesystem::directory_iterator(LRNNX_SOURCE_DIR "/suites")) {
    ++suites;
    const ProgramResult dry = run_program("sweep --dry-run -b all --suite '" + entry.path().string() + "'");
    EXPECT_EQ(dry.exit_code, 0) << entry.path() << dry.err;
    EXPECT_NE(dry.out, "") << entry.path();
  }
  EXPECT_GE(suites, 8);
}

TEST(CliSweepPlan, FlagsThatContradictEachOtherAreRefused) {
  for (const char* flags : {"--dry-run --json x.json", "--dry-run --csv x.csv", "--dry-run --markdown x.md",
                            "--profile --resume --out x", "--fail-fast --keep-going"}) {
    const ProgramResult result = run_program(std::string("sweep ") + flags + ' ' + kSelection);
    EXPECT_EQ(result.exit_code, 2) << flags;
    EXPECT_NE(result.err.find(std::string(flags).substr(0, 9)), std::string::npos) << result.err;
  }
}

TEST(CliSweepPlan, WhatRunsNothingSaysNothingOfItsTime) {
  const std::string selection = "sweep -p 'selective_scan.mamba.f32.forward.cpu batch=1 dim=1 seqlen=1 dstate=1' ";
  EXPECT_EQ(run_program(selection + "--shard 2/2").err, "");
  const ProgramResult skipped = run_program(selection + "-a options=B,C -a fill=init+gate_edges");
  EXPECT_EQ(skipped.exit_code, 4);
  EXPECT_EQ(skipped.err.find("wall time"), std::string::npos) << skipped.err;
}

TEST(CliSweepPlan, EveryShardHasAsManyForwardsAsBackwards) {
  for (const int count : {2, 3, 4, 5}) {
    for (int index = 1; index <= count; ++index) {
      std::istringstream lines(run_program("sweep --dry-run -b cpu -a seqlen=1:20 -a dim=8 -a groups=1 --shard " +
                                           std::to_string(index) + '/' + std::to_string(count))
                                   .out);
      int forward = 0, backward = 0;
      for (std::string line; std::getline(lines, line);) ++(line.find(".forward.") != line.npos ? forward : backward);
      EXPECT_GT(forward, 0);
      EXPECT_EQ(forward, backward) << index << '/' << count;
    }
  }
}

TEST(CliSweepPlan, ShardsTogetherAreTheWholeAndApartShareNothing) {
  std::multiset<std::string> together;
  for (const char* shard : {"1/3", "2/3", "3/3"}) {
    std::istringstream lines(run_program("sweep --dry-run --shard " + std::string(shard) + " " + kSelection).out);
    int count = 0;
    for (std::string line; std::getline(lines, line); ++count) together.insert(line);
    EXPECT_EQ(count, 20);
  }
  EXPECT_EQ(std::set<std::string>(together.begin(), together.end()).size(), 60u);
  EXPECT_EQ(together.size(), 60u);
  for (const char* wrong : {"0/3", "4/3", "1", "a/b", "1/0", "''"}) {
    const ProgramResult result = run_program(std::string("sweep --dry-run --shard ") + wrong);
    EXPECT_EQ(result.exit_code, 2) << wrong;
    EXPECT_NE(result.err.find("expected INDEX/COUNT"), std::string::npos) << result.err;
  }
}

}  // namespace
}  // namespace lrnnx::bench::cli_resume_test
