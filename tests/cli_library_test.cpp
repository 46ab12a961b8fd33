// `--library` from the outside: libraries of another make beside the one that is linked in, and what wrong ones cost.
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "tests/run_program.h"

namespace lrnnx::bench::cli_library_test {
namespace {

using Json = nlohmann::json;

const std::string kForward = "selective_scan.mamba.f32.forward.cpu batch=2 dim=4 seqlen=33 dstate=3";
const std::string kBackward = "selective_scan.mamba.f32.backward.cpu batch=2 dim=4 seqlen=33 dstate=3";

std::string library(const std::string& name) {
  return std::string("--library '") + LRNNX_BINARY_DIR + "/lib/tests/" + name + ".so' ";
}

std::string problem(const std::string& line = kForward) { return "--problem '" + line + "' "; }

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// Three samples are enough.
std::string sweep(const std::string& arguments) {
  return "sweep --quiet --warm --min-time 0 --max-noise 1e9 --json - " +
         std::string(has(arguments, "--min-samples") ? "" : "--min-samples 3 ") + arguments;
}

struct Swept {
  int exit_code;
  std::vector<Json> rows;
  const Json& of(const std::string& implementation) const {
    const auto row =
        std::ranges::find_if(rows, [&](const Json& r) { return r.at("implementation") == implementation; });
    if (row == rows.end()) throw std::runtime_error("no row of " + implementation);
    return *row;
  }
};

Swept swept(const std::string& arguments) {
  const ProgramResult result = run_program(sweep(arguments));
  const Json json = Json::parse(result.out, nullptr, false);
  if (!json.is_object()) {
    ADD_FAILURE() << arguments << '\n' << result.out << result.err;
    return {result.exit_code, {}};
  }
  return {result.exit_code, json.at("results").get<std::vector<Json>>()};
}

// The row of a table that begins with `first`, its cells one space apart.
std::string row_of(const std::string& table, const std::string& first) {
  std::istringstream lines(table);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string row, word;
    while (words >> word) row += (row.empty() ? "" : " ") + word;
    if (row.starts_with(first + ' ')) return row;
  }
  return "no row of " + first;
}

TEST(CliLibrary, IsListedBesideTheOneThatIsLinkedIn) {
  const ProgramResult text = run_program("list " + library("sequential"));
  EXPECT_EQ(text.exit_code, 0) << text.err;
  for (const auto& [variant, implementations] :
       {std::pair("mamba.f32.backward", "lrnnx, naive, sequential"), std::pair("zoh.f32.forward", "lrnnx, naive")}) {
    const std::string name = std::string("selective_scan.") + variant + ".cpu";
    EXPECT_EQ(row_of(text.out, name), name + ' ' + implementations + " threads=1..1024 available");
  }
  const Json json = Json::parse(run_program("list --json " + library("sequential")).out);
  const auto of_sequential = std::ranges::count_if(
      json.at("variants"), [](const Json& variant) { return variant.at("implementation") == "sequential"; });
  EXPECT_EQ(of_sequential, 2);
  EXPECT_EQ(json.at("implementations").back().at("name"), "sequential");
}

TEST(CliLibrary, IsCheckedWhereItHasAVariant) {
  const ProgramResult result = run_program("check -b cpu -a seqlen=1,33 -a dim=4 -a groups=1,2 --json - " +
                                           library("sequential") + "--implementation sequential");
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const Json json = Json::parse(result.out);
  EXPECT_GT(json.at("results").size(), 20u);
  std::set<std::string> variants;
  for (const Json& row : json.at("results")) {
    EXPECT_EQ(row.at("implementation"), "sequential");
    EXPECT_EQ(row.at("status"), "passed") << row;
    EXPECT_TRUE(has(row.at("problem"), " implementation=sequential")) << row.at("problem");
    EXPECT_GT(row.at("tensors").size(), 0u);
    variants.insert(row.at("problem").get<std::string>().substr(0, kBackward.find(' ')));
  }
  for (const std::string& variant : variants) EXPECT_TRUE(has(variant, ".mamba.f32.")) << variant;
}

TEST(CliLibrary, IsTimedBesideTheOneThatIsLinkedInOnTheSameInputs) {
  const Swept alone = swept(problem() + problem(kBackward));
  const Swept both = swept(problem() + problem(kBackward) + library("sequential"));
  EXPECT_EQ(both.exit_code, 0);
  ASSERT_EQ(both.rows.size(), 4u);
  for (size_t i = 0; i < 4; ++i) {
    const Json& row = both.rows[i];
    EXPECT_EQ(row.at("implementation"), i % 2 ? "sequential" : "lrnnx");
    EXPECT_EQ(row.at("verdict"), "passed") << row.at("reason");
    EXPECT_EQ(row.at("samples_ms").size(), 3u);
  }
  for (const size_t i : {0u, 1u}) {
    const Json &lrnnx = both.rows[2 * i], &sequential = both.rows[2 * i + 1];
    EXPECT_EQ(lrnnx.at("problem"), alone.rows.at(i).at("problem"));
    EXPECT_EQ(lrnnx.at("rel_error"), alone.rows.at(i).at("rel_error")) << "other inputs";
    EXPECT_EQ(sequential.at("problem"), lrnnx.at("problem").get<std::string>() + " implementation=sequential");
    EXPECT_NE(sequential.at("rel_error"), lrnnx.at("rel_error")) << "not another implementation";
    EXPECT_DOUBLE_EQ(sequential.at("speedup_lrnnx"),
                     lrnnx.at("median_ms").get<double>() / sequential.at("median_ms").get<double>());
    EXPECT_TRUE(lrnnx.at("speedup_lrnnx").is_null());
  }
}

TEST(CliLibrary, IsHeldAgainstTheSameFloor) {
  const Swept both = swept("--cold " + problem() + library("sequential"));
  EXPECT_EQ(both.exit_code, 0);
  ASSERT_EQ(both.rows.size(), 4u);
  EXPECT_TRUE(both.rows[0].at("floor_ms").is_number());
  EXPECT_EQ(both.rows[0].at("floor_ms"), both.rows[2].at("floor_ms")) << "measured twice";
}

TEST(CliLibrary, SamplesOfSeveralAreTakenInTurns) {
  const TemporaryDirectory directory;
  const std::string trace = directory / "trace", file = std::string(LRNNX_BINARY_DIR) + "/lib/tests/none.so";
  setenv("LRNNX_TRACE", trace.c_str(), 1);
  const ProgramResult result = run_program(
      "sweep --quiet --no-check --warm --min-samples 100 --min-time 0 --max-noise 1e9 --implementation '[ab]' "
      "--library 'a=" +
      file + "' --library 'b=" + file + "' " + problem());
  unsetenv("LRNNX_TRACE");
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::istringstream lines(read_text(trace));
  std::set<std::string> processes;
  std::string before;
  int launches = 0, turns = 0;
  for (std::string process; lines >> process; before = process) {
    processes.insert(process);
    ++launches;
    turns += process != before;
  }
  EXPECT_EQ(processes.size(), 2u);
  EXPECT_GE(launches, 200);
  EXPECT_GE(turns, 10) << launches;  // a round takes 10 ms: some ten launches
}

TEST(CliLibrary, TheOneOfThisRepositoryCanBeLoadedToo) {
  const Swept both = swept(problem() + "--library again='" + LRNNX_BINARY_DIR + "/lib/liblrnnx.so'");
  EXPECT_EQ(both.exit_code, 0);
  EXPECT_EQ(both.of("again").at("verdict"), "passed");
  EXPECT_EQ(both.of("again").at("rel_error"), both.of("lrnnx").at("rel_error"));
}

TEST(CliLibrary, WrongNumbersAreItsOwnAndComeWithTheLineThatReproducesThem) {
  const ProgramResult result = run_program("check " + problem() + library("wrong_numbers"));
  EXPECT_EQ(result.exit_code, 1) << result.err;
  EXPECT_TRUE(has(result.out, "2 problems: 1 passed, 1 failed")) << result.out;
  const size_t begin = result.out.find("reproduce: lrnnx-check "), end = result.out.find('\n', begin);
  ASSERT_NE(begin, std::string::npos) << result.out;
  const std::string line = result.out.substr(begin, end - begin).substr(std::string("reproduce: lrnnx-check").size());
  const ProgramResult again = run_program(line, "lrnnx-check");
  EXPECT_EQ(again.exit_code, 1) << again.err;
  EXPECT_TRUE(has(again.out, "1 problems: 0 passed, 1 failed")) << line << '\n' << again.out;
}

struct Wrong {
  const char* library;
  const char* reason;
};
constexpr Wrong kWrong[] = {
    {"crash_on_load", "signal 6 (Aborted) while loading"},
    {"exits_on_load", "exit code 0 while loading"},
    {"wrong_version", "has version 1000 of the C ABI; this program needs version"},
    {"missing_symbol", "does not export lrnnx_selective_scan_backward"},
    {"null_strings", "lrnnx_variant_at(0): family is null"},
};

class WrongLibrary : public testing::TestWithParam<Wrong> {};

TEST_P(WrongLibrary, CostsOnlyItsOwnRowsWhichSayWhatIsWrongWithIt) {
  const auto [name, reason] = GetParam();
  const std::string arguments = problem() + library(name) + library("sequential");
  const ProgramResult listed = run_program("list " + library(name));
  EXPECT_EQ(listed.exit_code, 3);
  EXPECT_TRUE(has(listed.out, "selective_scan.mamba.f32.forward.cpu")) << listed.out;
  EXPECT_TRUE(has(listed.out, reason)) << listed.out;

  const ProgramResult checked = run_program("check " + arguments);
  EXPECT_EQ(checked.exit_code, 3) << checked.out;
  EXPECT_TRUE(has(checked.out, "3 problems: 2 passed, 0 failed, 0 mistrusted, 0 skipped, 1 error")) << checked.out;
  EXPECT_TRUE(has(checked.out, reason)) << checked.out;

  const Swept timed = swept(arguments);
  EXPECT_EQ(timed.exit_code, 3);
  EXPECT_EQ(timed.of("lrnnx").at("verdict"), "passed");
  EXPECT_EQ(timed.of("sequential").at("verdict"), "passed");
  EXPECT_EQ(timed.of(name).at("verdict"), "error");
  EXPECT_TRUE(has(timed.of(name).at("reason"), reason)) << timed.of(name).at("reason");
}

INSTANTIATE_TEST_SUITE_P(CliLibrary, WrongLibrary, testing::ValuesIn(kWrong),
                         [](const auto& info) { return std::string(info.param.library); });

TEST(CliLibrary, ACrashInACallCostsOnlyItsOwnRows) {
  const std::string arguments = problem() + library("crash_in_call") + library("sequential");
  const ProgramResult checked = run_program("check " + arguments);
  EXPECT_EQ(checked.exit_code, 3);
  EXPECT_TRUE(has(checked.out, "3 problems: 2 passed, 0 failed, 0 mistrusted, 0 skipped, 1 error")) << checked.out;
  EXPECT_TRUE(has(checked.out, "signal 6 (Aborted) while checking")) << checked.out;
  const Swept timed = swept(arguments + problem(kBackward));
  EXPECT_EQ(timed.exit_code, 3);
  ASSERT_EQ(timed.rows.size(), 5u);  // the backward is none of its variants
  for (const Json& row : timed.rows)
    EXPECT_EQ(row.at("verdict"), row.at("implementation") == "crash_in_call" ? "error" : "passed") << row;
}

TEST(CliLibrary, AgainstOneTheOthersAreJudgedInTheSameRun) {
  const TemporaryDirectory directory;
  const std::string json = directory / "results.json";
  const ProgramResult timed =
      run_program("sweep --quiet --no-check --warm --min-time 0 --max-noise 1e9 --min-samples 2000 " + problem() +
                  library("sequential") + "--against sequential --json " + json);
  EXPECT_TRUE(timed.exit_code == 0 || timed.exit_code == 5) << timed.exit_code << timed.err;
  EXPECT_TRUE(has(timed.out, "against sequential:")) << timed.out;
  EXPECT_TRUE(has(timed.out, "sequential ms")) << timed.out;
  EXPECT_TRUE(has(timed.out, "0 unmatched")) << timed.out;
  const ProgramResult compared = run_program("compare " + json + " --against sequential");
  EXPECT_EQ(compared.exit_code, timed.exit_code);
  EXPECT_TRUE(has(timed.out, compared.out)) << compared.out;
  for (const std::string& wrong :
       {"sweep --no-check " + problem() + "--against sequential", "compare " + json + " --against nobody",
        "compare " + json, "compare " + json + ' ' + json + " --against sequential"}) {
    const ProgramResult refused = run_program(wrong);
    EXPECT_EQ(refused.exit_code, 2) << wrong;
    EXPECT_TRUE(has(refused.err, "--against")) << refused.err;
  }
}

TEST(CliLibrary, ACrashAmidTheSamplesCostsTheOthersNone) {
  const Swept timed = swept("--no-check --min-samples 1000 " + problem() + library("crash_late"));
  EXPECT_EQ(timed.exit_code, 3);
  EXPECT_TRUE(has(timed.of("crash_late").at("reason"), "signal 6 (Aborted) while timing"));
  EXPECT_EQ(timed.of("lrnnx").at("verdict"), "unchecked");
  EXPECT_EQ(timed.of("lrnnx").at("samples_ms").size(), 1000u);
}

TEST(CliLibrary, SeveralProcessesOfEachTimeWhatIsSmall) {
  const Swept both = swept("--processes 2 " + problem() + library("sequential"));
  EXPECT_EQ(both.exit_code, 0);
  for (const Json& row : both.rows) {
    EXPECT_EQ(row.at("verdict"), "passed") << row.at("reason");
    EXPECT_EQ(row.at("processes"), 2);
    EXPECT_EQ(row.at("samples"), 4) << "half of three each, rounded up";
  }
  const Swept crashed = swept("--no-check --min-samples 100 --processes 2 " + problem() + library("crash_late"));
  EXPECT_EQ(crashed.exit_code, 3);
  EXPECT_EQ(crashed.of("lrnnx").at("processes"), 2);
  EXPECT_EQ(crashed.of("crash_late").at("verdict"), "error");
}

TEST(CliLibrary, AnAnswerThatIsNoneCostsOnlyItsOwnRows) {
  const std::string arguments = problem() + library("answers_itself");
  const ProgramResult checked = run_program("check " + arguments);
  EXPECT_EQ(checked.exit_code, 3);
  EXPECT_TRUE(has(checked.out, "2 problems: 1 passed, 0 failed, 0 mistrusted, 0 skipped, 1 error")) << checked.out;
  EXPECT_TRUE(has(checked.out, "answered what is no answer")) << checked.out;
  const Swept timed = swept("--no-check " + arguments);
  EXPECT_EQ(timed.exit_code, 3);
  EXPECT_EQ(timed.of("lrnnx").at("verdict"), "unchecked");
  EXPECT_TRUE(has(timed.of("answers_itself").at("reason"), "answered what is no answer"));
}

TEST(CliLibrary, WhoEndsHisOwnSamplingHasNoTime) {
  const Swept timed = swept("--no-check --min-samples 100 " + problem() + library("stops_itself"));
  EXPECT_EQ(timed.exit_code, 3);
  EXPECT_EQ(timed.of("lrnnx").at("verdict"), "unchecked");
  EXPECT_EQ(timed.of("stops_itself").at("verdict"), "error");
  EXPECT_TRUE(has(timed.of("stops_itself").at("reason"), "told to stop")) << timed.of("stops_itself").at("reason");
}

TEST(CliLibrary, AHangCostsOnlyItsOwnRows) {
  // The one beside it measures the machine first, for two seconds where that has nothing else to do.
  const std::string arguments = problem() + library("hang_in_call") + "--patience 12 ";
  const ProgramResult checked = run_program("check " + arguments);
  EXPECT_EQ(checked.exit_code, 3);
  EXPECT_TRUE(has(checked.out, "2 problems: 1 passed, 0 failed, 0 mistrusted, 0 skipped, 1 error")) << checked.out;
  const Swept timed = swept(arguments);
  EXPECT_EQ(timed.exit_code, 3);
  EXPECT_EQ(timed.of("lrnnx").at("verdict"), "passed");
  EXPECT_TRUE(has(timed.of("hang_in_call").at("reason"), "killed after 12 s without a sign of life"));
}

TEST(CliLibrary, InOneProcessTheResultsAreTheSame) {
  const Swept timed = swept("--in-process " + problem() + library("sequential"));
  EXPECT_EQ(timed.exit_code, 0);
  ASSERT_EQ(timed.rows.size(), 2u);
  for (const Json& row : timed.rows) EXPECT_EQ(row.at("verdict"), "passed") << row;
}

TEST(CliLibrary, ShardsKeepTheImplementationsOfAProblemTogether) {
  const TemporaryDirectory directory;
  const std::string arguments = "sweep --quiet --warm --min-samples 2 --min-time 0 --max-noise 1e9 " + problem() +
                                problem(kBackward) + "--problem '" + kForward + " seed=7' " + library("sequential");
  std::string shards;
  for (const char* index : {"1", "2"}) {
    const std::string file = directory / (std::string(index) + ".json");
    ASSERT_EQ(run_program(arguments + "--shard " + index + "/2 --json " + file).exit_code, 0);
    shards += file + " ";
  }
  const std::string whole = directory / "whole.json", merged = directory / "merged.json";
  ASSERT_EQ(run_program(arguments + "--json " + whole).exit_code, 0);
  ASSERT_EQ(run_program("merge " + shards + "-o " + merged).exit_code, 0);
  const auto problems_of = [](const std::string& file) {
    std::vector<std::string> problems;
    for (const Json& row : Json::parse(read_text(file)).at("results")) {
      problems.push_back(row.at("problem"));
      EXPECT_EQ(row.at("speedup_lrnnx").is_null(), row.at("implementation") == "lrnnx") << row;
    }
    return problems;
  };
  EXPECT_EQ(problems_of(merged), problems_of(whole));
  EXPECT_EQ(run_program("compare " + whole + " " + merged + " --threshold 1e9").exit_code, 0);
}

TEST(CliLibrary, BadArgumentsAreUsageErrorsThatNameWhatWasGiven) {
  const auto expect = [](const std::string& arguments, std::initializer_list<const char*> words) {
    const ProgramResult result = run_program(arguments);
    EXPECT_EQ(result.exit_code, 2) << arguments << '\n' << result.err;
    for (const char* word : words) EXPECT_TRUE(has(result.err, word)) << arguments << ": " << result.err;
  };
  expect("list --library /no/such.so", {"--library '/no/such.so': no such file"});
  expect("check " + library("sequential") + library("sequential"), {"there is an implementation 'sequential' already"});
  expect("check " + problem(kForward + " implementation=other") + library("sequential"),
         {"implementation 'other': expected lrnnx", "sequential"});
  expect("check --implementation other " + problem(), {"--implementation 'other'", "lrnnx"});
  expect("sweep --suite check-quick -f '*.zoh.*' -b cpu " + library("sequential"),
         {"computes none of the selected problems", "selective_scan.mamba.f32.forward.cpu"});
  expect("check --library 'a b=" + std::string(LRNNX_BINARY_DIR) + "/lib/tests/sequential.so'", {"name 'a b'"});
}

}  // namespace
}  // namespace lrnnx::bench::cli_library_test
