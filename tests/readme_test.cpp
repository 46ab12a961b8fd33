// What README.md tells its readers to type, where they write code of their own.
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <sstream>

#include "harness/backend.h"
#include "harness/report_assets.h"
#include "tests/run_program.h"

namespace lrnnx::bench::readme_test {
namespace {

const std::string kReadme = read_text(LRNNX_SOURCE_DIR "/README.md");

// What stands between the two, of the first place where it does.
std::string between(const std::string& begin, const std::string& end) {
  const size_t first = kReadme.find(begin);
  if (first == std::string::npos) return "";
  const size_t from = first + begin.size();
  return kReadme.substr(from, kReadme.find(end, from) - from);
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what << " in " << text;
  return at == std::string::npos ? text : text.replace(at, what.size(), by);
}

int run_in_source_directory(const std::string& command) {
  return std::system(("cd '" LRNNX_SOURCE_DIR "' && " + command).c_str());
}

TEST(Readme, TheExampleOfTheCInterfaceBuildsAsSaidAndPrintsWhatItSays) {
  const TemporaryDirectory directory;
  std::ofstream(directory / "example.c") << between("```c\n", "```");
  std::string command = "gcc -Wall -Werror " + between("\ngcc ", "\n");
#ifdef LRNNX_WITH_CUDA
  command += ' ' + between("if built with CUDA, also: ", "\n");
#endif
  command = replaced(command, "example.c", directory / "example.c");
  command = replaced(command, "build/", LRNNX_BINARY_DIR "/");
  command = replaced(command, "-o example", "-o " + std::string(directory / "example"));
  ASSERT_EQ(run_in_source_directory(command), 0) << command;
  const std::string out = directory / "out";
  ASSERT_EQ(std::system((std::string(directory / "example") + " >" + out).c_str()), 0);
  std::istringstream printed(read_text(out));
  std::string numbers;
  for (std::string line; std::getline(printed, line);) numbers += (numbers.empty() ? "" : ", ") + line;
  EXPECT_EQ(numbers, between("printf(\"%g\\n\", out[t]); /* ", " */"));
}

TEST(Readme, TheExampleOfALibraryBuildsAsSaidAndIsListed) {
  const TemporaryDirectory directory;
  const std::string library = directory / "sequential.so";
  const std::string command = replaced("g++ " + between("\ng++ ", "\n"), "-o sequential.so", "-o " + library);
  ASSERT_EQ(run_in_source_directory(command), 0) << command;
  const ProgramResult listed = run_program("list --library " + library);
  EXPECT_EQ(listed.exit_code, 0) << listed.err;
  EXPECT_NE(listed.out.find("sequential"), std::string::npos);
}

// With something in the place of the sanitizers, which need a GPU.
TEST(Readme, ScriptsGpuRunsEverySanitizerAndEnds) {
  const TemporaryDirectory directory;
  const std::filesystem::path tool = directory / "compute-sanitizer";
  std::ofstream(tool) << "#!/bin/sh\nwhile [ \"${1#--}\" != \"$1\" ]; do shift 2; done\nexec \"$@\"\n";
  std::filesystem::permissions(tool, std::filesystem::perms::owner_all);
  const std::string out = directory / "out";
  const int status = run_in_source_directory("PATH='" + tool.parent_path().string() +
                                             "':$PATH timeout 120 scripts/gpu " LRNNX_BINARY_DIR " '" + out +
                                             "' sanitize >/dev/null 2>&1");
  const std::string report = read_text(out + "/sanitize.txt");
  EXPECT_EQ(WEXITSTATUS(status), backend("cuda").unavailable() ? 4 : 0) << report;
  for (const char* name : {"memcheck", "initcheck", "synccheck", "racecheck"})
    for (const char* direction : {"forward", "backward"})
      EXPECT_NE(report.find(std::string("check-quick under ") + name + '.' + direction), std::string::npos) << report;
}

TEST(Readme, WhatIsInstalledFindsItsSuitesAndLinks) {
  const TemporaryDirectory directory;
  const std::string prefix = directory / "prefix", log = directory / "log";
  ASSERT_EQ(std::system(("cmake --install '" LRNNX_BINARY_DIR "' --prefix '" + prefix + "' >'" + log + "'").c_str()), 0)
      << read_text(log);
  for (const char* file : {"/lib/liblrnnx.a", "/lib/liblrnnx.so", "/include/lrnnx/lrnnx.h"})
    EXPECT_NE(read_text(log).find(prefix + file), std::string::npos) << file;
  std::ofstream(prefix + "/share/lrnnx-bench/suites/mine.json")
      << R"({"cases": [{"operator": "*.mamba.f32", "batch": 1, "dim": 1, "seqlen": 5, "dstate": 1}]})";
  const std::string check = "cd / && '" + prefix + "/bin/lrnnx-check' --suite mine --backend cpu >'" + log + "' 2>&1";
  EXPECT_EQ(std::system(check.c_str()), 0) << read_text(log);
}

struct Command {
  std::string subcommand, arguments;
};

// The lines of shell that begin with $B, less what they remark.
std::vector<Command> commands() {
  const std::regex pattern(R"(\n\$B (\w+)((?:[^\n\\]|\\\n)*))");
  std::vector<Command> found;
  for (std::sregex_iterator line(kReadme.begin(), kReadme.end(), pattern), end; line != end; ++line) {
    const std::string words = (*line)[2];
    found.push_back({(*line)[1], words.substr(0, words.find(" #"))});
  }
  return found;
}

// Every subcommand and flag in a line of shell is one that the program has.
TEST(Readme, ItsCommandsHaveFlagsThatExist) {
  const std::regex flag(R"( (--?[a-z][a-z-]*))");
  int seen = 0;
  for (const auto& [subcommand, arguments] : commands()) {
    const ProgramResult help = run_program(subcommand + " --help");
    EXPECT_EQ(help.exit_code, 0) << subcommand;
    for (std::sregex_iterator word(arguments.begin(), arguments.end(), flag), end; word != end; ++word) {
      // As help writes them: -b,--backend
      const std::string name = (*word)[1];
      EXPECT_NE(help.out.find(name.size() == 2 ? " " + name + "," : name), std::string::npos)
          << subcommand << ' ' << name;
      ++seen;
    }
  }
  EXPECT_GT(seen, 15);
}

// What makes a command take seconds: few samples on the processor, warm ones, which no floor bounds on a busy machine;
// and of all suites but quickstart small problems.
std::string reduced(const Command& command) {
  const auto has = [&](const char* word) { return command.arguments.find(word) != std::string::npos; };
  const std::string small = " -a batch=1 -a dim=8 -a groups=1 -a dstate=1,4";
  if (command.subcommand == "check") {
    const std::string variants = has("-f ") ? "" : " -f 'selective_scan.mamba.*'";
    return variants + (has("-b ") ? "" : " -b cpu") + small + (has("seqlen=") ? "" : " -a seqlen=67") +
           " -a options=B,C,z -a fill=benign -a layout=contiguous";
  }
  if (command.subcommand != "sweep") return "";
  const bool is_quickstart = !has("--suite") || has("--suite quickstart");
  return std::string(" -q --warm --min-samples 3 --min-time 0 --max-noise 1e9") + (has("--problem") ? "" : " -b cpu") +
         (is_quickstart ? "" : small + " -a seqlen=67");
}

// In the order in which they stand: some read what others have written.
TEST(Readme, ItsCommandsEndWithoutAFault) {
  const TemporaryDirectory directory;
  const std::string at = "cd '" + std::string(directory / "") + "' && ", log = directory / "log";
  std::filesystem::copy(LRNNX_BINARY_DIR "/lib/tests/sequential.so", directory / "sequential.so");
  std::filesystem::copy(LRNNX_BINARY_DIR "/lib/liblrnnx.so", directory / "old.so");
  std::ofstream(directory / "tuned.json") << R"({"schema": "lrnnx-bench.configurations", "schema_version": 1,
             "configurations": [{"variant": "*.cpu", "configuration": "threads=1"}]})";
  for (const Command& command : commands()) {
    if (command.subcommand == "report" && kChartLibrary[0] == '\0') continue;
    if (command.subcommand == "compare")
      for (const char* name : {"old.json", "new.json"})
        std::filesystem::copy(directory / "anchors.json", directory / name);
    const std::string line = command.subcommand + command.arguments + reduced(command);
    const bool needs_gpu = line.find("--devices") != std::string::npos && backend("cuda").unavailable();
    const int status = std::system(
        (at + "OMP_NUM_THREADS=1 " + LRNNX_BINARY_DIR + "/bin/lrnnx-bench " + line + " >'" + log + "' 2>&1").c_str());
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), needs_gpu ? 4 : 0) << line << '\n' << read_text(log);
  }
}

}  // namespace
}  // namespace lrnnx::bench::readme_test
