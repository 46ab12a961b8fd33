// Launch configurations: their keys, files of them, and which one a problem gets.
#include "harness/configurations.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "harness/backend.h"
#include "harness/error.h"
#include "harness/suite.h"
#include "lrnnx/lrnnx.h"
#include "tests/run_program.h"

namespace lrnnx::bench::configurations_test {
namespace {

using Json = nlohmann::json;

std::string file_of(const std::string& entries) {
  return R"({"schema": "lrnnx-bench.configurations", "schema_version": 1, "configurations": [)" + entries + "]}";
}

Problem problem(const std::string& direction = "forward", int64_t seqlen = 64) {
  return parse_problem("selective_scan.mamba.f32." + direction + ".cpu batch=2 dim=4 seqlen=" + std::to_string(seqlen) +
                       " dstate=4");
}

std::optional<std::string> of(const std::string& entries, const Problem& wanted, const std::string& device = "a") {
  return Configurations::parse(file_of(entries), "test").of(wanted, device);
}

constexpr char kForward[] = R"({"variant": "*.forward.cpu", "seqlen": [32, 64], "configuration": "threads=1"})";

TEST(Configurations, TheFirstEntryThatFitsVariantAndShapeIsTaken) {
  const std::string entries = std::string(kForward) + R"(, {"variant": "*", "configuration": "threads=2"})";
  EXPECT_EQ(of(entries, problem("forward", 32)), "threads=1");
  EXPECT_EQ(of(entries, problem("forward", 64)), "threads=1");
  EXPECT_EQ(of(entries, problem("forward", 65)), "threads=2");
  EXPECT_EQ(of(entries, problem("backward")), "threads=2");
  EXPECT_EQ(of(kForward, problem("backward")), std::nullopt);
  EXPECT_EQ(of(R"({"variant": "*", "dstate": 4, "batch": 3, "configuration": "threads=2"})", problem()), std::nullopt);
}

TEST(Configurations, AnEntryOfADeviceIsForThatAlone) {
  const std::string entry = R"({"device": "NVIDIA H100", "variant": "*", "configuration": "threads=2"})";
  EXPECT_EQ(of(entry, problem(), "NVIDIA H100"), "threads=2");
  EXPECT_EQ(of(entry, problem(), "NVIDIA H200"), std::nullopt);
}

TEST(Configurations, AnEntryIsForTheLibraryOfThisRepositoryUnlessItNamesAnother) {
  Problem other = problem();
  other.implementation = "other";
  EXPECT_EQ(of(kForward, other), std::nullopt);
  const std::string entry = R"({"variant": "*", "implementation": "other", "configuration": "x=1"})";
  EXPECT_EQ(of(entry, other), "x=1");
  EXPECT_EQ(of(entry, problem()), std::nullopt);
}

TEST(Configurations, OfADeviceThatIsNotHereAreNotUsed) {
  std::vector<Problem> problems = {problem()};
  const std::string here = backend("cpu").device_name();
  const auto set = [&](const std::string& device) {
    const std::string entry = Json({{"device", device}, {"variant", "*"}, {"configuration", "threads=2"}}).dump();
    Configurations::parse(file_of(entry), "test").apply(problems);
    return problems[0].configuration;
  };
  EXPECT_EQ(set(here + " of another kind"), "");
  EXPECT_EQ(set(here), "threads=2");
}

struct Mistake {
  const char* entries;
  const char* message;
};

TEST(Configurations, MistakesAreUsageErrorsThatSayWhatIsAllowed) {
  const Mistake mistakes[] = {
      {R"({"configuration": "threads=1"})", "configurations[0]: key 'variant' is missing"},
      {R"({"variant": "*"})", "key 'configuration' is missing"},
      {R"({"variant": "*", "configuration": "threads=1", "sequence": 4})", "unknown key 'sequence': expected device"},
      {R"({"variant": "nothing.*", "configuration": "threads=1"})", "'nothing.*' matches none of selective_scan."},
      {R"({"variant": "*", "configuration": "a=1, b=2"})", "without spaces"},
      {R"({"variant": "*", "configuration": ""})", "expected a text"},
      {R"({"variant": "*", "configuration": "a=1", "seqlen": [8, 4]})", "1 <= from <= to"},
      {R"({"variant": "*", "configuration": "a=1", "seqlen": "8"})", "expected a whole number, or [from, to]"},
      {R"({"variant": "*", "variant": "*", "configuration": "a=1"})", "\"variant\" is given twice"},
      {R"("threads=1")", "expected an object"},
  };
  for (const Mistake& mistake : mistakes) {
    try {
      Configurations::parse(file_of(mistake.entries), "test");
      ADD_FAILURE() << "accepted " << mistake.entries;
    } catch (const UsageError& error) {
      EXPECT_NE(std::string(error.what()).find(mistake.message), std::string::npos) << error.what();
    }
  }
  EXPECT_THROW(Configurations::parse("{}", "test"), UsageError);
  EXPECT_THROW(Configurations::parse("[]", "test"), UsageError);
  EXPECT_THROW(Configurations::parse(R"({"schema": "lrnnx-bench.configurations", "schema_version": 2})", "test"),
               UsageError);
}

TEST(Configurations, OfACudaVariantAreReadWhereThereIsNone) {
  EXPECT_NO_THROW(Configurations::parse(
      file_of(R"({"variant": "selective_scan.mamba.f32.forward.cuda", "configuration": "lanes=8"})"), "test"));
}

TEST(Configurations, AnImplementationWithOneIsTimedAgainstThoseWithout) {
  Problem naive = problem(), configured = problem();
  naive.implementation = "naive";
  configured.configuration = "threads=1";
  EXPECT_EQ(contests_of({configured, naive}).size(), 1u);
  Problem other = configured;
  other.configuration = "threads=2";
  EXPECT_EQ(contests_of({configured, other}).size(), 2u) << "two of one implementation are no contest";
}

TEST(ConfigurationKeys, AreWrittenWhereThereIsRoom) {
  const lrnnx_selective_scan_problem problem = {.discretization = LRNNX_MAMBA,
                                                .dtype = LRNNX_F32,
                                                .backend = LRNNX_CPU,
                                                .options = 0,
                                                .batch = 1,
                                                .dim = 1,
                                                .seqlen = 1,
                                                .dstate = 1,
                                                .groups = 1,
                                                .configuration = nullptr};
  char text[64] = "";
  ASSERT_EQ(lrnnx_selective_scan_configuration_keys(&problem, LRNNX_FORWARD, text, sizeof text), LRNNX_OK);
  EXPECT_STREQ(text, "threads=1..1024");
  EXPECT_EQ(lrnnx_selective_scan_configuration_keys(&problem, LRNNX_FORWARD, text, 15), LRNNX_INVALID_ARGUMENT);
  EXPECT_NE(std::string(lrnnx_last_error()).find("16 characters"), std::string::npos) << lrnnx_last_error();
  EXPECT_EQ(lrnnx_selective_scan_configuration_keys(&problem, LRNNX_FORWARD, nullptr, 64), LRNNX_INVALID_ARGUMENT);
  EXPECT_EQ(lrnnx_selective_scan_configuration_keys(nullptr, LRNNX_FORWARD, text, 64), LRNNX_INVALID_ARGUMENT);
}

const std::string kLine = "--problem 'selective_scan.mamba.f32.forward.cpu batch=2 dim=4 seqlen=64 dstate=4";

// A file with these entries, as a flag.
class Written {
 public:
  explicit Written(const std::string& entries) { std::ofstream(path_) << file_of(entries); }
  std::string flag() const { return " --configurations " + path_ + " "; }

 private:
  TemporaryDirectory directory_;
  std::string path_ = directory_ / "configurations.json";
};

// The configuration that ran, and that of each of its problem lines.
std::string configuration_that_ran(const std::string& arguments) {
  const ProgramResult result = run_program("check --json - " + arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const Json rows = Json::parse(result.out).at("results");
  return rows.size() == 1 ? rows[0].at("configuration").get<std::string>() : result.out;
}

TEST(CliConfigurations, TheProblemsOwnComesBeforeTheFilesAndThatBeforeTheLibrarys) {
  const Written written(R"({"variant": "*.cpu", "configuration": "threads=3"})");
  const std::string file = written.flag();
  EXPECT_EQ(configuration_that_ran(kLine + "'"), "threads=1");
  EXPECT_EQ(configuration_that_ran(kLine + "'" + file), "threads=3");
  EXPECT_EQ(configuration_that_ran(kLine + " config=threads=5'" + file), "threads=5");
  EXPECT_EQ(configuration_that_ran(kLine + "'" + file + "--configuration threads=7"), "threads=7");
  EXPECT_EQ(configuration_that_ran(kLine + "'" + Written(kForward).flag()), "threads=1");
}

TEST(CliConfigurations, SweepsRunThemAndSayWhich) {
  const Written written(R"({"variant": "*.cpu", "configuration": "threads=3"})");
  const std::string file = written.flag();
  const ProgramResult result =
      run_program("sweep -q --min-samples 1 --min-time 0 --max-noise 100 --json - " + kLine + "'" + file);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const Json row = Json::parse(result.out).at("results").at(0);
  EXPECT_EQ(row.at("configuration"), "threads=3");
  EXPECT_NE(row.at("problem").get<std::string>().find("config=threads=3"), std::string::npos)
      << "the line would not reproduce the row";
}

TEST(CliConfigurations, WhatNoKernelHasIsAnErrorThatSaysWhatIsAllowed) {
  for (const char* refused : {"threads=0", "lanes=8"}) {
    const std::string entry = Json({{"variant", "*"}, {"configuration", refused}}).dump();
    const ProgramResult result = run_program("check " + kLine + "'" + Written(entry).flag());
    EXPECT_EQ(result.exit_code, 2);
    EXPECT_NE(result.out.find(refused), std::string::npos) << result.out;
    EXPECT_NE(result.out.find("threads=N"), std::string::npos) << result.out;
  }
}

TEST(CliConfigurations, AFileThatIsWrongOrMissingIsAnErrorOfUsage) {
  EXPECT_EQ(run_program("check --configurations /no/such.json").exit_code, 2);
  EXPECT_EQ(run_program("check" + Written(R"({"variant": "none"})").flag()).exit_code, 2);
}

TEST(CliConfigurations, ListHasTheKeysOfEveryVariantAndTheirValues) {
  const ProgramResult result = run_program("list --json");
  ASSERT_EQ(result.exit_code, 0);
  for (const Json& variant : Json::parse(result.out).at("variants")) {
    const Json& keys = variant.at("configuration_keys");
    ASSERT_EQ(keys.size(), 2u) << variant;
    EXPECT_EQ(keys[0].at("dstate"), 16);
    EXPECT_EQ(keys[1].at("dstate"), 1);
    if (variant.at("implementation") == "naive") {
      EXPECT_TRUE(keys[0].at("keys").empty()) << variant;
    } else if (variant.at("backend") == "cpu") {
      EXPECT_EQ(keys[0].at("keys"), Json({{"threads", {{"from", 1}, {"to", 1024}}}}));
    } else {
      EXPECT_GE(keys[0].at("keys").size(), 3u) << variant;
      EXPECT_GE(keys[1].at("keys").size(), 3u) << variant;
    }
  }
  EXPECT_NE(run_program("list").out.find("threads=1..1024"), std::string::npos);
}

}  // namespace
}  // namespace lrnnx::bench::configurations_test
