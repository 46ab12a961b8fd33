// `lrnnx-bench sweep` and `info` from the outside: exit codes, files and messages of the real executable.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "harness/backend.h"
#include "harness/metrics.h"
#include "lrnnx/lrnnx.h"
#include "tests/run_program.h"

namespace lrnnx::bench::cli_sweep_test {
namespace {

using Json = nlohmann::json;

// Small enough for a debug build; both directions.
constexpr const char* kTiny =
    "--suite quickstart -a batch=1 -a dim=8 -a groups=1 -a dstate=4 -a seqlen=5,33 "
    "-a options=B,C,D,z,delta_bias,delta_softplus,save --backend cpu --min-time 0 --max-noise 1e9 ";

std::string sweep(const std::string& arguments, int samples = 3) {
  return std::string("sweep ") + kTiny + "--min-samples " + std::to_string(samples) + ' ' + arguments;
}

TEST(CliSweep, PrintsATableOnStdoutAndProgressOnStderr) {
  const ProgramResult result = run_program(sweep(""));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  for (const char* heading :
       {"direction", "median ms", "floor ms", "of floor", "binds", "GB/s", "G updates/s", "verdict"})
    EXPECT_NE(result.out.find(heading), std::string::npos) << heading << '\n' << result.out;
  EXPECT_NE(result.out.find("forward"), std::string::npos);
  EXPECT_NE(result.out.find("backward"), std::string::npos);
  EXPECT_NE(result.err.find("[4/4]"), std::string::npos) << result.err;
  EXPECT_EQ(result.err.find('\x1b'), std::string::npos) << "escape codes into a file";
}

TEST(CliSweep, QuietKeepsStderrEmpty) { EXPECT_EQ(run_program(sweep("--quiet")).err, ""); }

TEST(CliSweep, JsonHasEverySampleOfEveryProblemAndTheEnvironment) {
  const TemporaryDirectory directory;
  const std::string file = directory / "sweep.json";
  ASSERT_EQ(run_program(sweep("--quiet --json " + file, 7)).exit_code, 0);
  const Json json = Json::parse(read_text(file));
  EXPECT_EQ(json.at("schema"), "lrnnx-bench.sweep");
  ASSERT_EQ(json.at("results").size(), 4u);
  for (const Json& result : json.at("results")) {
    EXPECT_EQ(result.at("verdict"), "passed") << result.at("reason");
    EXPECT_EQ(result.at("samples"), 7);
    EXPECT_EQ(result.at("samples_ms").size(), 7u);
    EXPECT_GT(result.at("check").at("tensors").size(), 0u);
  }
  EXPECT_EQ(json.at("timing").at("min_samples"), 7);
  EXPECT_GT(json.at("ceilings").at("cpu").at("copy_bytes_per_second"), 0.0);
  EXPECT_FALSE(json.at("environment").at("cpu").at("name").is_null());
  EXPECT_NE(json.at("environment").at("run").at("command").get<std::string>().find("--min-samples 7"),
            std::string::npos);
}

TEST(CliSweep, AccountsForItsWallTime) {
  const TemporaryDirectory directory;
  const std::string file = directory / "sweep.json";
  const ProgramResult result = run_program(sweep("--cold --json " + file));
  ASSERT_EQ(result.exit_code, 0);
  const Json seconds = Json::parse(read_text(file)).at("wall_time_seconds");
  double sum = 0;
  for (const auto& [activity, took] : seconds.items()) {
    EXPECT_GE(took.get<double>(), -1e-3) << activity;
    if (activity != "total") sum += took.get<double>();
  }
  EXPECT_NEAR(sum, seconds.at("total").get<double>(), 1e-6);
  for (const char* activity : {"kernels", "flush", "oracle", "ceilings", "inputs", "comparison"})
    EXPECT_GT(seconds.at(activity).get<double>(), 0) << activity;
  EXPECT_NE(result.err.find("wall time "), std::string::npos) << result.err;
  EXPECT_NE(result.err.find("overhead "), std::string::npos) << result.err;
}

TEST(CliSweep, CsvHasOneColumnAMetricAndOneLineAProblem) {
  const TemporaryDirectory directory;
  const std::string file = directory / "sweep.csv";
  ASSERT_EQ(run_program(sweep("--quiet --csv " + file)).exit_code, 0);
  std::stringstream text(read_text(file));
  std::string header = "problem";
  for (const Metric& metric : metrics()) header += std::string(",") + metric.tag;
  std::string line;
  std::getline(text, line);
  EXPECT_EQ(line, header);
  int lines = 0;
  while (std::getline(text, line)) ++lines;
  EXPECT_EQ(lines, 4);
}

TEST(CliSweep, MarkdownIsTheTableWithPipes) {
  const ProgramResult result = run_program(sweep("--quiet --markdown -"));
  std::istringstream lines(result.out);
  size_t columns = 0;
  int rows = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with('|')) continue;
    const auto pipes = static_cast<size_t>(std::ranges::count(line, '|'));
    columns = columns == 0 ? pipes : columns;
    EXPECT_EQ(pipes, columns) << line;
    ++rows;
  }
  EXPECT_GT(columns, 5u);
  EXPECT_EQ(rows - 2, std::ranges::count(run_program(sweep("--quiet --csv -")).out, '\n') - 1) << result.out;
  EXPECT_NE(result.out.find("\n|---"), std::string::npos) << result.out;
}

TEST(CliSweep, OutWritesBothFilesIntoANewDirectoryAndLeavesNoPartOfOne) {
  const TemporaryDirectory directory;
  const std::filesystem::path out = directory / "new/results";
  ASSERT_EQ(run_program(sweep("--quiet --direction forward --out '" + out.string() + "'")).exit_code, 0);
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(out)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"sweep.csv", "sweep.json"}));
}

TEST(CliSweep, JsonOnStdoutIsNothingButJson) {
  const ProgramResult result = run_program(sweep("--quiet --json -"));
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(Json::accept(result.out)) << result.out;
}

TEST(CliSweep, DirectionAndFilterNarrowTheSelection) {
  const Json forward = Json::parse(run_program(sweep("--quiet --direction forward --json -")).out);
  ASSERT_EQ(forward.at("results").size(), 2u);
  for (const Json& result : forward.at("results")) EXPECT_EQ(result.at("direction"), "forward");
  const Json backward = Json::parse(run_program(sweep("--quiet --filter '*.backward.*' --json -")).out);
  ASSERT_EQ(backward.at("results").size(), 2u);
  for (const Json& result : backward.at("results")) EXPECT_EQ(result.at("direction"), "backward");
}

TEST(CliSweep, ColdAndWarmTogetherAreTwoRowsAProblem) {
  const Json json = Json::parse(run_program(sweep("--quiet --cold --warm --direction forward --json -")).out);
  ASSERT_EQ(json.at("results").size(), 4u);
  EXPECT_EQ(json.at("results")[0].at("cache"), "cold");
  EXPECT_EQ(json.at("results")[1].at("cache"), "warm");
}

TEST(CliSweep, NoCheckSaysThatNothingWasChecked) {
  const Json json = Json::parse(run_program(sweep("--quiet --no-check --json -")).out);
  for (const Json& result : json.at("results")) {
    EXPECT_EQ(result.at("verdict"), "unchecked");
    EXPECT_TRUE(result.at("check").is_null());
    EXPECT_FALSE(result.at("median_ms").is_null());
  }
}

TEST(CliSweep, WithoutAGpuTheCudaBackendIsSkippedInWordsWithExitCode4) {
  if (!backend("cuda").unavailable()) GTEST_SKIP() << "a CUDA device is there";
  const ProgramResult result = run_program("sweep --backend cuda -a batch=1 -a dim=8 -a groups=1 -a seqlen=5");
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_NE(result.out.find("skipped: no CUDA device"), std::string::npos) << result.out;
}

TEST(CliSweep, BadArgumentsAreUsageErrorsThatNameWhatWasGiven) {
  const std::pair<const char*, const char*> cases[] = {
      {"-a seqlne=5", "seqlne"},          {"-a seqlen=0", "seqlen"},          {"-a seqlen=many", "many"},
      {"--suite no-such", "no-such"},     {"--filter nothing", "nothing"},    {"--direction sideways", "sideways"},
      {"--backend quantum", "quantum"},   {"--min-samples 0", "min-samples"}, {"--timeout -1", "timeout"},
      {"--no-such-flag", "no-such-flag"}, {"--timeout 0", "above 0"},         {"--timeout nan", "finite"},
      {"--timeout inf", "finite"},        {"--warmup 0", "warmup"},           {"--max-noise -1", "-1"},
      {"--budget soon", "soon"},          {"--min-time nan", "0 or more"},    {"--min-time inf", "finite"},
      {"--min-time 1s", "'1s'"}};
  for (const auto& [arguments, named] : cases) {
    const ProgramResult result = run_program(std::string("sweep ") + arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments;
    EXPECT_NE(result.err.find(named), std::string::npos) << arguments << ": " << result.err;
    EXPECT_EQ(result.out, "") << arguments;
  }
}

TEST(CliSweep, AFileThatCannotBeWrittenIsASystemErrorBeforeAnythingIsTimed) {
  const ProgramResult result = run_program(sweep("--json /no/such/directory/sweep.json"));
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_NE(result.err.find("/no/such/directory"), std::string::npos) << result.err;
  EXPECT_EQ(result.err.find("[1/"), std::string::npos) << result.err;
}

TEST(CliSweep, NoOutputTakesThePlaceOfAnother) {
  const TemporaryDirectory directory;
  const std::string odd = directory / "sweep.jsonl", out = directory / "out", json = directory / "x.json";
  ASSERT_EQ(run_program(sweep("--quiet --json " + odd)).exit_code, 0);
  EXPECT_TRUE(Json::parse(read_text(odd)).at("complete").get<bool>()) << "it has the usual name of a journal";
  for (const std::string& two : {"--json " + json + " --csv " + json, "--out " + out + " --csv " + out + "/sweep.jsonl",
                                 "--json " + json + " --csv " + std::string(directory / "./x.json")}) {
    const ProgramResult result = run_program(sweep("--quiet " + two));
    EXPECT_EQ(result.exit_code, 2) << two;
    EXPECT_NE(result.err.find("two outputs would be written to"), std::string::npos) << result.err;
  }
}

TEST(CliSweep, LinksAreWrittenThrough) {
  const TemporaryDirectory directory;
  const std::string file = directory / "there.json", link = directory / "link.json";
  std::ofstream(file) << "before";
  std::filesystem::create_symlink(file, link);
  ASSERT_EQ(run_program(sweep("--quiet --json " + link)).exit_code, 0);
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_TRUE(Json::accept(read_text(file)));
  // /dev/stdout is a link, too, and here to a file.
  const ProgramResult result = run_program(sweep("--quiet --json /dev/stdout --csv " + std::string(directory / "csv")));
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(std::filesystem::is_symlink("/dev/stdout"));
  EXPECT_NE(result.out.find("\"lrnnx-bench.sweep\""), std::string::npos);
}

TEST(CliSweep, WhatItSaysOnTheWayMayBeLost) {
  const TemporaryDirectory directory;
  const std::string program = std::string("'") + LRNNX_BINARY_DIR + "/bin/lrnnx-bench' ";
  const std::string json = directory / "sweep.json";
  EXPECT_EQ(WEXITSTATUS(std::system((program + sweep("--json " + json) + " >/dev/null 2>/dev/full").c_str())), 0);
  EXPECT_TRUE(Json::accept(read_text(json)));
  EXPECT_EQ(WEXITSTATUS(std::system((program + "sweep --no-such-flag 2>/dev/full").c_str())), 2);
}

TEST(CliSweep, WhereEverythingIsMistrustedNothingWasShown) {
  const ProgramResult result = run_program(
      "sweep --quiet --warm --min-samples 2 --min-time 0 --max-noise 1e9 --json - --problem "
      "'selective_scan.mamba.f32.backward.cpu batch=3 dim=8 seqlen=6145 dstate=2 groups=2 "
      "options=C,D,delta_bias,delta_softplus fill=slow'");
  EXPECT_EQ(result.exit_code, 4) << result.err;
  EXPECT_EQ(Json::parse(result.out).at("results").at(0).at("verdict"), "mistrusted");
}

TEST(CliSweep, AReaderWhoGoesAwayCostsNoFile) {
  const TemporaryDirectory directory;
  const std::string json = directory / "sweep.json", csv = directory / "sweep.csv";
  run_program(sweep("--quiet --json " + json + " --csv " + csv + " | true"));
  EXPECT_TRUE(Json::accept(read_text(json)));
  EXPECT_TRUE(std::filesystem::exists(csv));
}

TEST(CliSweep, AFileThatFailsCostsNeitherTheOthersNorTheTable) {
  const TemporaryDirectory directory;
  const std::string csv = directory / "sweep.csv";
  const ProgramResult result = run_program(sweep("--quiet --json /dev/full --csv " + csv));
  EXPECT_EQ(result.exit_code, 3);
  EXPECT_NE(result.err.find("cannot write /dev/full"), std::string::npos) << result.err;
  EXPECT_TRUE(std::filesystem::exists(csv));
  EXPECT_NE(result.out.find("verdict"), std::string::npos) << result.out;
}

TEST(CliSweep, ASignalEndsALongMeasurementAndKeepsWhatWasTaken) {
  const TemporaryDirectory directory;
  const std::string json = directory / "sweep.json";
  // Without the stop the first problem alone would take its 1000 s; the kill would leave neither code nor file.
  const std::string command = std::string("timeout --preserve-status --kill-after=60 2 '") + LRNNX_BINARY_DIR +
                              "/bin/lrnnx-bench' " + sweep("--quiet --timeout 1000 --json " + json, 1'000'000'000) +
                              " >/dev/null";
  const int status = std::system(command.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 143);
  EXPECT_EQ(Json::parse(read_text(json)).at("complete"), false);
}

TEST(CliInfo, DescribesMachineAndBuildAndMeasuresTheCpu) {
  const ProgramResult text = run_program("info");
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_NE(text.out.find("cpu.name"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("ceilings.cpu"), std::string::npos) << text.out;
  if (backend("cuda").unavailable()) {
    EXPECT_NE(text.out.find("no CUDA device"), std::string::npos) << text.out;
  }

  const ProgramResult json_run = run_program("info --json");
  const Json json = Json::parse(json_run.out);
  EXPECT_GT(json.at("ceilings").at("cpu").at("copy_bytes_per_second"), 0.0);
  EXPECT_TRUE(json.at("program").contains("commit"));
  EXPECT_EQ(json.at("program").at("abi"), LRNNX_ABI_VERSION);
}

TEST(CliSweep, OutputsThatWouldBeLostAreRefusedBeforeAnythingRuns) {
  const TemporaryDirectory directory;
  const std::string sweep = "cd '" + (directory / "").string() + "' && '" + LRNNX_BINARY_DIR +
                            "/bin/lrnnx-bench' sweep -q --no-check -b cpu --warm --min-samples 2 --min-time 0 "
                            "-p 'selective_scan.mamba.f32.forward.cpu batch=1 dim=1 seqlen=3 dstate=1' ";
  const auto code_of = [](const std::string& command) {
    return WEXITSTATUS(std::system((command + " 2>/dev/null").c_str()));
  };
  EXPECT_EQ(code_of(sweep + "--json a.json --csv ./a.json"), 2) << "one file twice";
  EXPECT_EQ(code_of(sweep + "--json ."), 3) << "a directory";
  EXPECT_FALSE(std::filesystem::exists(directory / "a.json"));
  ASSERT_EQ(code_of(sweep + "--json r.json --csv 'bad\xff.csv' >/dev/null"), 0) << "a name that is not UTF-8";
  const std::string results = directory / "r.json";
  EXPECT_EQ(run_program("compare " + results + ' ' + results + " --json " + results).exit_code, 2);
  EXPECT_EQ(run_program("merge " + results + " -o " + results).exit_code, 2);
  EXPECT_TRUE(Json::parse(read_text(results)).at("complete"));
}

TEST(CliSweep, AClosedErrorStreamDisturbsNothing) {
  const std::string command =
      std::string("'") + LRNNX_BINARY_DIR +
      "/bin/lrnnx-bench' sweep -b cpu --warm --min-samples 2 --min-time 0 "
      "-p 'selective_scan.mamba.f32.forward.cpu batch=1 dim=1 seqlen=3 dstate=1' >/dev/null 2>&-";
  EXPECT_EQ(WEXITSTATUS(std::system(command.c_str())), 0);
}

}  // namespace
}  // namespace lrnnx::bench::cli_sweep_test
