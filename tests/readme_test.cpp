// What README.md tells its readers to type, where they write code of their own.
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <sstream>

#include "tests/run_program.h"

namespace lrnnx::bench {
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

// Every subcommand and flag in a line of shell is one that the program has.
TEST(Readme, ItsCommandsHaveFlagsThatExist) {
  const std::regex command(R"(\n\$B (\w+)([^\n]*(\\\n[^\n]*)?))"), flag(R"( (--?[a-z][a-z-]*))");
  int seen = 0;
  for (std::sregex_iterator line(kReadme.begin(), kReadme.end(), command), end; line != end; ++line) {
    const std::string subcommand = (*line)[1], words = std::string((*line)[2]);
    const std::string arguments = words.substr(0, words.find(" #"));
    const ProgramResult help = run_program(subcommand + " --help");
    EXPECT_EQ(help.exit_code, 0) << subcommand;
    for (std::sregex_iterator word(arguments.begin(), arguments.end(), flag); word != end; ++word) {
      // As help writes them: -b,--backend
      const std::string name = (*word)[1];
      EXPECT_NE(help.out.find(name.size() == 2 ? " " + name + "," : name), std::string::npos)
          << subcommand << ' ' << name;
      ++seen;
    }
  }
  EXPECT_GT(seen, 15);
}

}  // namespace
}  // namespace lrnnx::bench
