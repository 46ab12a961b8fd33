// `lrnnx-bench list` and `check` from the outside: output, exit codes and messages of the real executable.
#include <gtest/gtest.h>
#include <pty.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <thread>

#include "harness/backend.h"
#include "harness/problem.h"
#include "harness/progress.h"
#include "harness/variants.h"
#include "tests/run_program.h"

namespace lrnnx::bench::cli_check_test {
namespace {

using Json = nlohmann::json;

constexpr const char* kLine = "selective_scan.mamba.f32.forward.cpu batch=1 dim=2 seqlen=33 dstate=3";

std::string problem(const std::string& more = "") { return std::string("--problem '") + kLine + more + "' "; }

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

bool has_device() { return !backend("cuda").unavailable(); }

// Exit code 2, nothing on stdout, and these words on stderr.
void expect_usage_error(const std::string& arguments, std::initializer_list<const char*> words) {
  const ProgramResult result = run_program(arguments);
  EXPECT_EQ(result.exit_code, 2) << arguments << '\n' << result.err;
  EXPECT_EQ(result.out, "") << arguments;
  for (const char* word : words) EXPECT_TRUE(has(result.err, word)) << "no '" << word << "' in: " << result.err;
}

TEST(CliList, NamesEveryVariantWithTheStateOfItsBackend) {
  const ProgramResult result = run_program("list");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(result.err, "");
  for (const Variant& variant : variants()) EXPECT_TRUE(has(result.out, variant.name())) << result.out;
  EXPECT_TRUE(has(result.out, "available"));
  EXPECT_EQ(has(result.out, "skipped: no CUDA device"), !has_device()) << result.out;
  EXPECT_FALSE(has(result.out, "\x1b")) << "escape codes into a file";
}

TEST(CliList, JsonHasTheSame) {
  const ProgramResult result = run_program("list --json");
  ASSERT_EQ(result.exit_code, 0);
  const Json json = Json::parse(result.out);
  ASSERT_EQ(json.at("variants").size(), variants().size() * linked_libraries().size());
  size_t i = 0;
  for (const Library* library : linked_libraries()) {
    for (const Variant& variant : variants()) {
      EXPECT_EQ(json["variants"][i].at("name"), variant.name());
      EXPECT_EQ(json["variants"][i].at("implementation"), library->name);
      EXPECT_EQ(json["variants"][i++].at("backend"), variant.backend);
    }
  }
  ASSERT_EQ(json.at("backends").size(), 2u);
  EXPECT_EQ(json["backends"][0].at("available"), true);
  EXPECT_EQ(json["backends"][1].at("available"), has_device());
}

TEST(CliList, FilterKeepsWhatMatchesAndRefusesNothing) {
  const ProgramResult result = run_program("list --filter '*.backward.cpu'");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(has(result.out, "selective_scan.mamba.f32.backward.cpu"));
  EXPECT_FALSE(has(result.out, ".forward."));
  expect_usage_error("list --filter 'nothing*'", {"'nothing*'", "selective_scan.mamba.f32.forward.cpu"});
}

TEST(CliList, ListsTheFills) {
  EXPECT_TRUE(has(run_program("list --list-fills").out, "init"));
  EXPECT_EQ(Json::parse(run_program("list --list-fills --json").out).at("fills").at(0).at("name"), "init");
}

TEST(CliCheck, TheSuiteOfTheProjectPassesOnTheCpu) {
  const ProgramResult result = run_program("check --backend cpu");
  EXPECT_EQ(result.exit_code, 0) << result.out;
  EXPECT_FALSE(has(result.out, "reproduce:")) << result.out;
  EXPECT_TRUE(has(result.out, "selective_scan.mamba.f32.forward.cpu"));
  EXPECT_TRUE(has(result.out, "selective_scan.mamba.f32.backward.cpu"));
  EXPECT_TRUE(has(result.out, "deterministic"));
  EXPECT_TRUE(has(result.out, " 0 failed, ")) << result.out;
  EXPECT_TRUE(has(result.out, " 0 skipped, 0 error")) << result.out;
}

TEST(CliCheck, ExactInputsComeOutExactly) {
  const ProgramResult result =
      run_program("check --backend cpu -s check-exact -a seqlen=33,513 -a dim=3,17 -a batch=3 -a dstate=1,5,16");
  EXPECT_EQ(result.exit_code, 0) << result.out;
  EXPECT_TRUE(has(result.out, "0 failed, 0 mistrusted")) << result.out;
}

TEST(CliCheck, ListsFillsSizesAndLayouts) {
  const ProgramResult fills = run_program("check --list-fills");
  EXPECT_EQ(fills.exit_code, 0);
  for (const char* word : {"init", "exact", "+zero_dt", "+nan", "slow+zero_dt"}) EXPECT_TRUE(has(fills.out, word));
  const ProgramResult shapes = run_program("--list-shapes", "lrnnx-check");
  EXPECT_EQ(shapes.exit_code, 0);
  for (const char* word : {"seqlen=warp", "31,32,33", "dim=grid", "layout=strided"})
    EXPECT_TRUE(has(shapes.out, word)) << word;
}

TEST(CliCheck, AProblemDoesNotDependOnTheSuiteThatListsIt) {
  const std::string one = "selective_scan.mamba.f32.forward.cpu batch=1 dim=2 seqlen=33 dstate=3";
  const auto tensors_of = [](const std::string& arguments) {
    return Json::parse(run_program("check --json - " + arguments).out).at("results").back().at("tensors");
  };
  EXPECT_EQ(tensors_of("-p '" + one + "'"), tensors_of("-p '" + one + " options=B' -p '" + one + "'"));
}

TEST(CliCheck, MistrustIsCountedAndIsNoPass) {
  const std::string doubtful =
      "--problem 'selective_scan.mamba.f32.backward.cpu batch=3 dim=8 seqlen=6145 dstate=2 groups=2 "
      "options=C,D,delta_bias,delta_softplus fill=slow' ";
  const ProgramResult alone = run_program("check " + doubtful);
  EXPECT_EQ(alone.exit_code, 4) << "nothing was shown";
  EXPECT_TRUE(has(alone.out, "dA: errors of norm")) << alone.out;
  EXPECT_TRUE(has(alone.out, "0 passed, 0 failed, 1 mistrusted"));
  EXPECT_EQ(run_program("check " + doubtful + problem()).exit_code, 0);
}

TEST(CliCheck, AFillWithoutMeaningIsSkippedInWords) {
  const ProgramResult result = run_program("check " + problem(" fill=init+gate_edges"));
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_TRUE(has(result.out, "skipped: fill does not apply: gate_edges: the problem has no z")) << result.out;
}

TEST(CliCheck, LayoutsAreOfALineAndOfAnAxis) {
  EXPECT_EQ(run_program("check " + problem(" layout=strided")).exit_code, 0);
  const ProgramResult result = run_program("check -v " + problem() + "-a layout=strided,offset,transposed");
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_TRUE(has(result.out, "seed=0 layout=transposed"));
  EXPECT_TRUE(has(result.out, "3 passed"));
}

TEST(CliCheck, JunitHasEveryProblemWithItsVerdict) {
  const TemporaryDirectory directory;
  const std::string file = directory / "check.xml";
  run_program("check " + problem() + "-a fill=init,init+gate_edges -a options=B,C --junit " + file);
  const std::string xml = read_text(file);
  EXPECT_EQ(xml.find("<?xml version=\"1.0\""), 0u);
  EXPECT_TRUE(has(xml, "<testsuites name=\"lrnnx-check\" tests=\"2\" failures=\"0\" errors=\"0\" skipped=\"1\""))
      << xml;
  EXPECT_TRUE(has(xml, "<testcase classname=\"selective_scan.mamba.f32.forward.cpu\""));
  EXPECT_TRUE(has(xml, "<skipped message=\"fill does not apply: gate_edges: the problem has no z\"/>"));
  run_program("check " + problem() + "--config '<&>=1' --junit " + file);
  EXPECT_TRUE(has(read_text(file), "errors=\"1\""));
  EXPECT_TRUE(has(read_text(file), "config=&lt;&amp;&gt;=1"));
}

TEST(CliCheck, DumpsTheTensorsOfAProblem) {
  const TemporaryDirectory directory;
  const ProgramResult result = run_program("check " + problem() + "--dump " + std::string(directory / "tensors"));
  EXPECT_EQ(result.exit_code, 0);
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory / "tensors"))
    files += entry.path().extension() == ".npy";
  EXPECT_EQ(files, 7);  // u, delta, A, B, C; out as it is and as it should be
  EXPECT_EQ(run_program("check " + problem() + "--dump /dev/null/tensors").exit_code, 3);
}

TEST(CliCheck, DumpsWhatWasComparedAndWhatAPlantDid) {
  const TemporaryDirectory directory;
  ASSERT_EQ(
      run_program("check " + problem(" fill=benign+nan") + "--dump " + std::string(directory / "tensors")).exit_code,
      0);
  std::string got, expected, planted;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory / "tensors")) {
    if (entry.path().filename() == "got.out.npy") got = read_text(entry.path());
    if (entry.path().filename() == "expected.out.npy") expected = read_text(entry.path());
    if (entry.path().filename() == "planted.out.npy") planted = read_text(entry.path());
    if (!entry.path().filename().string().starts_with("input.")) continue;
    const std::string bytes = read_text(entry.path());
    for (size_t i = 128; i + 4 <= bytes.size(); i += 4) {
      float value;
      std::memcpy(&value, bytes.data() + i, 4);
      EXPECT_FALSE(std::isnan(value)) << "what was compared had no plant";
    }
  }
  ASSERT_FALSE(expected.empty());
  EXPECT_EQ(got.size(), planted.size());
  EXPECT_NE(got, planted);
}

TEST(CliCheck, AFileThatCannotBeWrittenIsSaidBeforeAnythingIsChecked) {
  for (const char* flag : {"--json", "--junit"}) {
    const ProgramResult result = run_program("check " + problem() + flag + " /no/such/directory/check.out");
    EXPECT_EQ(result.exit_code, 3);
    EXPECT_EQ(result.out, "");
    EXPECT_TRUE(has(result.err, "/no/such/directory")) << result.err;
  }
}

TEST(CliCheck, WhatCannotBeDumpedHidesNoFault) {
  const TemporaryDirectory directory;
  // Where the folder of the problem would be is a file.
  const std::string arguments = "check " + problem() + "--library '" + LRNNX_BINARY_DIR +
                                "/lib/tests/wrong_numbers.so' --implementation wrong_numbers --dump " +
                                std::string(directory / "tensors");
  ASSERT_EQ(run_program(arguments).exit_code, 1);
  for (const auto& entry : std::filesystem::directory_iterator(directory / "tensors")) {
    std::filesystem::remove_all(entry.path());
    std::ofstream(entry.path()) << "";
    break;
  }
  const ProgramResult result = run_program(arguments);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(has(result.out, "elements are wrong")) << result.out;
  EXPECT_TRUE(has(result.out, "--dump: cannot make the folder")) << result.out;
}

TEST(CliCheck, ASuiteMaySayHowOftenToRerun) {
  const TemporaryDirectory directory;
  const std::string suite = directory / "suite.json";
  std::ofstream(suite) << R"({"reruns": 4, "cases": [{"operator": "*.mamba.f32", "batch": 1, "dim": 1, "seqlen": 5,
      "dstate": 1, "direction": "forward"}]})";
  const auto reruns_of = [&](const std::string& more) {
    const ProgramResult result = run_program("check --backend cpu --json - -s " + suite + more);
    return Json::parse(result.out).at("results").at(0).at("reruns").get<int>();
  };
  EXPECT_EQ(reruns_of(""), 4);
  EXPECT_EQ(reruns_of(" --reruns 2"), 2);
  for (const char* reruns : {"2147483648", "4294967297", "-1", "\"x\""}) {
    std::ofstream(suite) << R"({"reruns": )" << reruns << R"(, "cases": [{"operator": "*.mamba.f32", "batch": 1,
        "dim": 1, "seqlen": 5, "dstate": 1}]})";
    const ProgramResult result = run_program("check --backend cpu -s " + suite);
    EXPECT_EQ(result.exit_code, 2) << reruns;
    EXPECT_TRUE(has(result.err, "reruns")) << result.err;
  }
}

TEST(CliCheck, ASignalEndsItAfterTheProblemInFlightAndEverythingUntilThenIsWritten) {
  const TemporaryDirectory directory;
  const std::string json = directory / "check.json", xml = directory / "check.xml", out = directory / "out";
  for (const auto& [signal, code] : {std::pair("INT", 130), {"TERM", 143}}) {
    const std::string command = std::string("timeout --preserve-status --kill-after=60 --signal=") + signal + " 2 '" +
                                LRNNX_BINARY_DIR + "/bin/lrnnx-bench' check " + problem() + "-a seqlen=1:9000 --json " +
                                json + " --junit " + xml + " >" + out + " 2>&1";
    const int status = std::system(command.c_str());
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), code);
    const Json results = Json::parse(read_text(json));
    const int checked = results.at("summary").at("problems");
    EXPECT_GT(checked, 0);
    EXPECT_EQ(results["summary"].at("passed"), checked) << "what was cut off counts for nothing";
    EXPECT_EQ(results.at("complete"), false);
    EXPECT_TRUE(has(read_text(xml), "tests=\"" + std::to_string(checked) + '"'));
    EXPECT_TRUE(has(read_text(out), "stopped by a signal: " + std::to_string(9000 - checked) + " of 9000"));
    EXPECT_TRUE(has(read_text(out), std::to_string(checked) + " problems: "));
  }
}

// The first child of a process, once it has one.
pid_t child_of(pid_t parent) {
  const std::string task = std::to_string(parent);
  for (int i = 0; i < 1000; ++i) {
    std::istringstream children(read_text("/proc/" + task + "/task/" + task + "/children"));
    if (pid_t child = 0; children >> child) return child;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return 0;
}

TEST(CliCheck, ACrashCostsItsOwnProblemAndTheRestGoesOn) {
  const TemporaryDirectory directory;
  const std::string json = directory / "check.json";
  const pid_t pid = fork();
  if (pid == 0) {
    (void)!std::freopen("/dev/null", "w", stdout);
    execl(LRNNX_BINARY_DIR "/bin/lrnnx-bench", "lrnnx-bench", "check", "--problem", kLine, "--axis", "seqlen=1:2000",
          "--json", json.c_str(), "--quiet", static_cast<char*>(nullptr));
    _exit(127);
  }
  const pid_t child = child_of(pid);
  ASSERT_NE(child, 0) << "kernels are checked in the process that keeps the results";
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  kill(child, SIGSEGV);
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_EQ(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 3);
  const Json results = Json::parse(read_text(json));
  EXPECT_EQ(results.at("complete"), true);
  EXPECT_EQ(results.at("summary").at("error"), 1);
  EXPECT_EQ(results["summary"].at("passed"), 1999);
  for (const Json& result : results.at("results")) {
    if (result.at("status") == "passed") continue;
    EXPECT_TRUE(has(result.at("reason"), "signal 11")) << result;
  }
}

TEST(CliCheck, InProcessStartsNoChildEvenForALibrary) {
  const std::string library = " --library '" LRNNX_BINARY_DIR "/lib/tests/wrong_numbers.so'";
  const ProgramResult result = run_program("check --in-process " + problem() + library);
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_TRUE(has(result.out, "2 problems: 1 passed, 1 failed")) << result.out;
}

// What the program says to a terminal.
std::string said_to_terminal(std::vector<std::string> words) {
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  winsize size{.ws_row = 24, .ws_col = 200, .ws_xpixel = 0, .ws_ypixel = 0};
  int terminal = -1;
  const pid_t pid = forkpty(&terminal, nullptr, nullptr, &size);
  if (pid == 0) {
    execv(LRNNX_BINARY_DIR "/bin/lrnnx-bench", arguments.data());
    _exit(127);
  }
  std::string said;
  char bytes[4096];
  for (ssize_t count; (count = read(terminal, bytes, sizeof bytes)) > 0;)
    said.append(bytes, static_cast<size_t>(count));
  waitpid(pid, nullptr, 0);
  close(terminal);
  return said;
}

TEST(CliCheck, ATerminalHasALineOfProgressAndAPipeNoEscapes) {
  const std::vector<std::string> words = {"lrnnx-bench", "check", "--problem", kLine, "--axis", "seqlen=1:30"};
  const std::string live = said_to_terminal(words);
  EXPECT_TRUE(has(live, "\r\x1b[K\x1b[?7l[1/30] checking selective_scan")) << live;
  EXPECT_TRUE(has(live, "\r\x1b[K\x1b[?7l[30/30, ")) << live;
  EXPECT_TRUE(has(live, " a minute, ")) << live;
  EXPECT_TRUE(has(live, " left] checking")) << live;
  EXPECT_TRUE(has(live, "30 problems: 30 passed")) << live;
  std::vector<std::string> quiet = words;
  quiet.push_back("--quiet");
  EXPECT_FALSE(has(said_to_terminal(quiet), "30/30"));
  const ProgramResult piped = run_program("check " + problem() + "-a seqlen=1:30");
  EXPECT_EQ(piped.err, "") << "a short run has no progress to speak of";
  EXPECT_FALSE(has(piped.out, "\x1b"));
}

TEST(Progress, APipeGetsALineNowAndThen) {
  const auto said = [](bool quiet, std::chrono::seconds interval) {
    Progress progress(3, quiet);
    progress.interval = interval;
    testing::internal::CaptureStderr();
    for (int i = 0; i < 3; ++i) progress.count();
    return testing::internal::GetCapturedStderr();
  };
  for (int i = 0; i < 100; ++i) {  // whatever time it took, none is left
    const std::string lines = said(false, std::chrono::seconds(0));
    EXPECT_TRUE(lines.starts_with("[1/3, ")) << lines;
    EXPECT_TRUE(has(lines, "\n[3/3, ")) << lines;
    EXPECT_TRUE(has(lines, " a minute, 0 s left]\n")) << lines;
    EXPECT_FALSE(has(lines, "\x1b")) << lines;
  }
  EXPECT_EQ(said(false, std::chrono::hours(1)), "");
  EXPECT_EQ(said(true, std::chrono::seconds(0)), "");
}

TEST(CliCheck, LrnnxCheckIsCheck) {
  EXPECT_EQ(run_program(problem(), "lrnnx-check").exit_code, 0);
  EXPECT_EQ(run_program("--version", "lrnnx-check").out, run_program("--version").out);
  EXPECT_TRUE(has(run_program("--help", "lrnnx-check").out, "--fail-fast"));
}

TEST(CliCheck, VerbosePrintsOneLineAProblemThatReadsBack) {
  const ProgramResult result = run_program("check -v " + problem() + "-a seqlen=1,2,33");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::istringstream lines(result.out);
  int count = 0;
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with("passed ")) continue;
    const size_t begin = line.find(' ') + 1;
    const std::string text = line.substr(begin, line.find("  ") - begin);
    EXPECT_EQ(to_string(parse_problem(text)), text);
    ++count;
  }
  EXPECT_EQ(count, 3);
  EXPECT_TRUE(has(result.out, "0 error; ") && result.out.ends_with(" s\n")) << "how long it took";
}

TEST(CliCheck, JsonHasEveryTensorOfEveryProblem) {
  const TemporaryDirectory directory;
  const std::string file = directory / "check.json";
  const ProgramResult result =
      run_program("check " + problem() + "-a direction=forward,backward --reruns 3 --json " + file);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(has(result.out, "passed"));
  const Json json = Json::parse(read_text(file));
  EXPECT_EQ(json.at("schema"), "lrnnx-bench.check");
  EXPECT_EQ(json.at("summary").at("problems"), 2);
  EXPECT_EQ(json.at("summary").at("passed"), 2);
  ASSERT_EQ(json.at("results").size(), 2u);
  EXPECT_EQ(json["results"][0].at("tensors").size(), 1u);  // out
  EXPECT_EQ(json["results"][1].at("tensors").size(), 5u);  // du, ddelta, dA, dB, dC
  for (const Json& row : json["results"]) {
    EXPECT_EQ(row.at("status"), "passed");
    EXPECT_EQ(row.at("reruns"), 3);
    EXPECT_EQ(row.at("deterministic"), true);
    EXPECT_NO_THROW(parse_problem(row.at("problem").get<std::string>()));
    for (const Json& tensor : row["tensors"]) {
      EXPECT_EQ(tensor.at("compared"), tensor.at("expected_count"));
      EXPECT_EQ(tensor.at("status"), "passed");
      EXPECT_LE(tensor.at("rho"), 1);
    }
  }
}

TEST(CliCheck, EveryKeyOfTheFileIsDocumented) {
  const std::string documentation = read_text(LRNNX_SOURCE_DIR "/harness/checking.md");
  const std::string library = "--library '" LRNNX_BINARY_DIR "/lib/tests/wrong_numbers.so'";
  const Json json = Json::parse(run_program("check --json - " + problem() + library).out);
  const std::function<void(const Json&)> expect_documented = [&](const Json& value) {
    if (!value.is_structured()) return;
    for (const auto& [key, member] : value.items()) {
      EXPECT_TRUE(value.is_array() || has(documentation, '`' + key + '`')) << key;
      if (key != "environment" && key != "summary") expect_documented(member);
    }
  };
  expect_documented(json);
  EXPECT_FALSE(json.at("results").at(1).at("tensors").at(0).at("extents").empty());
  EXPECT_TRUE(has(documentation, "\"schema\": " + json.at("schema").dump()));
  EXPECT_TRUE(has(documentation, "\"schema_version\": " + json.at("schema_version").dump()));
}

TEST(CliCheck, JsonToStdoutIsNothingButJson) {
  const ProgramResult result = run_program("check --json - " + problem());
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_EQ(Json::parse(result.out).at("summary").at("passed"), 1);
}

TEST(CliCheck, WithoutADeviceCudaIsSkippedInWords) {
  if (has_device()) GTEST_SKIP() << "there is a CUDA device";
  const ProgramResult result = run_program("check --backend cuda");
  EXPECT_EQ(result.exit_code, 4);
  EXPECT_TRUE(has(result.out, "skipped: no device: no CUDA device")) << result.out;
  const ProgramResult both = run_program("check --backend all " + problem());
  EXPECT_EQ(both.exit_code, 0) << "the cpu ran";
  EXPECT_TRUE(has(both.out, "skipped: no device: no CUDA device"));
}

TEST(CliCheck, AFileThatCannotBeWrittenIsASystemErrorAndLeavesNothing) {
  const TemporaryDirectory directory;
  for (const std::string& file :
       {std::string(directory / "missing/check.json"), std::string("/dev/full"), std::string(directory / ".")}) {
    const ProgramResult result = run_program("check " + problem() + "--json " + file);
    EXPECT_EQ(result.exit_code, 3) << file;
    EXPECT_TRUE(has(result.err, "cannot write " + file)) << result.err;
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory / "."));
}

TEST(CliCheck, AReaderWhoGoesAwayCostsNoFile) {
  const TemporaryDirectory directory;
  const std::string file = directory / "check.json";
  run_program("check --verbose " + problem() + "-a seqlen=1:20 --json " + file + " 2>&1 | true");
  ASSERT_TRUE(std::filesystem::exists(file));
  EXPECT_EQ(Json::parse(read_text(file)).at("summary").at("problems"), 20);
}

TEST(CliCheck, ASeedIsRefusedAsInAProblemLine) {
  for (const std::string seed : {"-1", "99999999999999999999999", "1.5", "''"})
    expect_usage_error("check " + problem() + "--seed " + seed, {"seed", "from 0 to 2^64 - 1"});
}

TEST(CliCheck, AnEmptySuiteFileIsAUsageError) {
  const TemporaryDirectory directory;
  const std::string file = directory / "empty.json";
  std::ofstream(file).flush();
  expect_usage_error("check --suite " + file, {file.c_str(), "empty"});
}

TEST(CliCheck, AFullStandardOutputIsASystemError) {
  const std::string command = std::string("'") + LRNNX_BINARY_DIR + "/bin/lrnnx-bench' list >/dev/full 2>/dev/null";
  const int status = std::system(command.c_str());
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 3);
}

TEST(CliCheck, AnOldFileIsReplacedAsAWhole) {
  const TemporaryDirectory directory;
  const std::string file = directory / "check.json";
  std::ofstream(file) << std::string(1 << 20, 'x');
  ASSERT_EQ(run_program("check " + problem() + "--json " + file).exit_code, 0);
  EXPECT_NO_THROW(Json::parse(read_text(file)));
  const std::filesystem::directory_iterator files(directory / ".");
  EXPECT_EQ(std::distance(begin(files), end(files)), 1);
}

TEST(CliCheck, ARefusedConfigurationIsAnErrorOfUsageThatNamesIt) {
  const ProgramResult result = run_program("check " + problem() + "--config no_such_key=1");
  EXPECT_EQ(result.exit_code, 2);
  EXPECT_TRUE(has(result.out, "no_such_key")) << result.out;
}

TEST(CliCheck, AFaultPrintsTheLineThatReproducesIt) {
  const ProgramResult result = run_program("check --reruns 2 " + problem() + "--seed 7 --config no_such_key=1");
  const std::string prefix = "reproduce: lrnnx-check ";
  const size_t begin = result.out.find(prefix);
  ASSERT_NE(begin, std::string::npos) << result.out;
  const size_t end = result.out.find('\n', begin);
  const std::string arguments = result.out.substr(begin + prefix.size(), end - begin - prefix.size());
  EXPECT_TRUE(has(arguments, "--reruns 2"));
  const size_t quote = arguments.find('\'');
  const Problem again = parse_problem(arguments.substr(quote + 1, arguments.rfind('\'') - quote - 1));
  EXPECT_EQ(again.seed, 7u);
  EXPECT_EQ(again.configuration, "no_such_key=1");
  EXPECT_EQ(run_program(arguments, "lrnnx-check").out.substr(0, begin), result.out.substr(0, begin));
}

TEST(CliCheck, FailFastStopsAtTheFirstFault) {
  const TemporaryDirectory directory;
  const std::string file = directory / "check.json";
  const std::string arguments = "check " + problem() + "-a seqlen=1,2,3 --config no_such_key=1 --json " + file;
  const ProgramResult all = run_program(arguments);
  EXPECT_EQ(Json::parse(read_text(file)).at("summary").at("error"), 3);
  const ProgramResult first = run_program(arguments + " --fail-fast");
  EXPECT_EQ(Json::parse(read_text(file)).at("summary").at("error"), 1);
  EXPECT_TRUE(has(first.err, "2 of 3 problems not run")) << first.err;
}

TEST(Cli, UnknownFlagsAndCommandsAreUsageErrors) {
  expect_usage_error("", {"subcommand", "list, check, sweep"});
  expect_usage_error("chekc", {"unknown subcommand 'chekc'", "list, check, sweep"});
  expect_usage_error("chekc --json x", {"unknown subcommand 'chekc'"});
  expect_usage_error("check --fast", {"--fast"});
  expect_usage_error("list extra", {"extra"});
  expect_usage_error("check --reruns -1", {"--reruns"});
  expect_usage_error("check --reruns many", {"--reruns", "many"});
  expect_usage_error("check --seed x", {"--seed"});
  expect_usage_error("check --suite check " + problem(), {"--suite", "--problem"});
}

TEST(Cli, UnknownSelectionsAreUsageErrorsThatNameWhatIsAllowed) {
  expect_usage_error("check --backend gpu", {"'gpu'", "cpu, cuda or all"});
  expect_usage_error("check --suite no-such-suite", {"no-such-suite"});
  expect_usage_error("check --filter '*.sideways.*'", {"'*.sideways.*'", "none of the ", "list"});
  expect_usage_error("check -a length=3", {"length=3", "seqlen"});
  expect_usage_error("check -a seqlen=9:3", {"9:3", "FIRST:LAST"});
  expect_usage_error("check " + problem(" groups=3"), {"groups=3", "divisible"});
  expect_usage_error("check " + problem(" fill=noise"), {"'noise'", "init"});
  expect_usage_error("check " + problem(" option=z"), {"option=z", "options="});
  expect_usage_error("check --problem 'selective_scan.mamba.f64.forward.cpu'", {"'f64'", "f32"});
}

TEST(Cli, HelpAndVersionGoToStdout) {
  const ProgramResult help = run_program("--help");
  EXPECT_EQ(help.exit_code, 0);
  EXPECT_EQ(help.err, "");
  for (const char* word : {"list", "check", "sweep", "info", "Exit code", "Examples"})
    EXPECT_TRUE(has(help.out, word)) << word;
  const ProgramResult check = run_program("check --help");
  EXPECT_EQ(check.exit_code, 0);
  for (const char* word : {"--suite", "--problem", "--axis", "--filter", "--backend", "--seed", "--reruns", "--json"}) {
    EXPECT_TRUE(has(check.out, word)) << word;
  }
  const ProgramResult version = run_program("--version");
  EXPECT_EQ(version.exit_code, 0);
  EXPECT_TRUE(version.out.starts_with("lrnnx-bench ")) << version.out;
}

TEST(Cli, SuitesAreFoundFromAnyDirectory) {
  const std::string command = std::string("cd / && '") + LRNNX_BINARY_DIR +
                              "/bin/lrnnx-bench' check -a batch=1 -a dim=2 -a groups=1 -a seqlen=3 -a dstate=2 "
                              "-a options=B,C -a fill=init --backend cpu >/dev/null 2>&1";
  EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST(CliCheck, SelfTestTestsTheReferenceAndChecksNothing) {
  const ProgramResult result = run_program("check --self-test --verbose");
  EXPECT_EQ(result.exit_code, 0) << result.out;
  EXPECT_EQ(result.err, "");
  EXPECT_TRUE(has(result.out, "passed selective_scan complex_zoh: gradients are those of dual numbers")) << result.out;
  EXPECT_TRUE(has(result.out, "70 of 70 self-tests of the reference passed\n")) << result.out;
  EXPECT_FALSE(has(result.out, "cpu")) << result.out;
}

std::vector<Json> results_of(const std::string& arguments) {
  const ProgramResult result = run_program("check --json - --backend cpu " + arguments);
  std::vector<Json> results = Json::parse(result.out).at("results");
  for (Json& checked : results) checked.erase("seconds");
  return results;
}

TEST(CliCheck, SeveralJobsFindTheSameInTheSameOrder) {
  const std::string arguments = "-a batch=1 -a dim=3 -a groups=1 -a seqlen=1,33 -a dstate=2 --filter '*.f32.*' ";
  const std::vector<Json> one = results_of(arguments + "--configuration threads=1"),
                          three = results_of(arguments + "--configuration threads=1 --jobs 3");
  EXPECT_GT(one.size(), 20u);
  EXPECT_EQ(one, three);
  const std::vector<Json> own = results_of(arguments + "--configuration threads=1 --in-process");
  EXPECT_EQ(one, own);
}

TEST(CliCheck, AFaultEndsSeveralJobsWhereItEndsOne) {
  const std::string arguments =
      std::string("check --quiet --fail-fast --backend cpu --implementation '*' --library '") + LRNNX_BINARY_DIR +
      "/lib/tests/crash_in_call.so' -a seqlen=1,33,2 ";
  const auto without_time = [](ProgramResult result) {
    result.out.resize(result.out.rfind(';'));
    return result;
  };
  const ProgramResult one = without_time(run_program(arguments)),
                      two = without_time(run_program(arguments + "--jobs 2"));
  EXPECT_EQ(one.exit_code, 3);
  EXPECT_EQ(two.exit_code, 3);
  EXPECT_TRUE(has(two.out, "signal 6")) << two.out;
  EXPECT_EQ(one.out.substr(0, one.out.find("variant ")), two.out.substr(0, two.out.find("variant ")));
  expect_usage_error("check --jobs 0", {"--jobs"});
  expect_usage_error("check --jobs 2 --in-process", {"--jobs", "--in-process"});
}

}  // namespace
}  // namespace lrnnx::bench::cli_check_test
