// Joining results: shards become the sweep that was split; what does not belong together is refused.
#include "harness/merge.h"

#include <gtest/gtest.h>

#include "harness/error.h"
#include "tests/run_program.h"

namespace lrnnx::bench::merge_test {
namespace {

using Json = nlohmann::ordered_json;

Results results_of(const std::vector<std::string>& problems, std::vector<std::pair<int64_t, int64_t>> shards = {}) {
  Results results;
  results.environment = {{"program", {{"commit", "abc"}}}, {"gpu", nullptr}, {"cpu", {{"name", "x"}}}};
  results.timing = {{"min_samples", 3}};
  results.shards = std::move(shards);
  for (const std::string& problem : problems)
    for (const char* cache : {"cold", "warm"})
      results.rows.push_back({{"problem", problem}, {"cache", cache}, {"verdict", "passed"}, {"samples_ms", {1}}});
  return results;
}

std::vector<std::string> keys_of(const Results& results) {
  std::vector<std::string> keys;
  for (const Json& row : results.rows) keys.push_back(key_of(row));
  return keys;
}

std::string refusal(const Results& one, const Results& other) {
  try {
    merge({{"one.json", one}, {"other.json", other}}, false);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Merge, ShardsInAnyOrderBecomeTheSweepThatWasSplit) {
  const Results merged = merge({{"2", results_of({"c", "d", "i"}, {{2, 3}})},
                                {"3", results_of({"e", "f"}, {{3, 3}})},
                                {"1", results_of({"a", "b", "g", "h"}, {{1, 3}})}},
                               false);
  EXPECT_EQ(keys_of(merged), keys_of(results_of({"a", "b", "c", "d", "e", "f", "g", "h", "i"})));
  EXPECT_TRUE(merged.complete);
  EXPECT_TRUE(missing_shards(merged).empty());
}

TEST(Merge, OfDifferentMachinesSaysSoEverAfter) {
  const Results one = results_of({"a"});
  Results other = results_of({"b"});
  other.environment["cpu"]["name"] = "y";
  const Results merged = merge({{"one", one}, {"other", other}}, true);
  EXPECT_FALSE(machine_differences(merged.environment, one.environment).empty());
  EXPECT_TRUE(machine_differences(merge({{"one", one}, {"two", results_of({"b"})}}, true).environment, one.environment)
                  .empty());
}

TEST(Merge, AMissingShardIsNamedAndLeavesTheResultsIncomplete) {
  const Results merged = merge({{"1", results_of({"a"}, {{1, 3}})}, {"3", results_of({"c"}, {{3, 3}})}}, false);
  EXPECT_FALSE(merged.complete);
  EXPECT_EQ(missing_shards(merged), std::vector<std::string>{"2/3"});
}

TEST(Merge, RefusesTwoShardsOfTheSameIndexWhichAreOfDifferentSweeps) {
  const std::string message = refusal(results_of({"a"}, {{1, 2}}), results_of({"b"}, {{1, 2}}));
  EXPECT_EQ(message, "one.json and other.json are both shard 1/2, of different sweeps");
}

TEST(Merge, OtherSweepsFollowOneAnother) {
  EXPECT_EQ(keys_of(merge({{"1", results_of({"b", "a"})}, {"2", results_of({"c"})}}, false)),
            keys_of(results_of({"b", "a", "c"})));
}

TEST(Merge, RefusesOtherMachinesCommitsAndSettingsUnlessTold) {
  const Results one = results_of({"a"});
  Results other = results_of({"b"});
  EXPECT_EQ(refusal(one, other), "accepted");
  for (const auto& [pointer, word] : std::initializer_list<std::pair<const char*, const char*>>{
           {"/program/commit", "program.commit"}, {"/cpu/name", "cpu.name"}}) {
    other = results_of({"b"});
    other.environment[Json::json_pointer(pointer)] = "another";
    EXPECT_NE(refusal(one, other).find(word), std::string::npos) << refusal(one, other);
    EXPECT_EQ(merge({{"1", one}, {"2", other}}, true).rows.size(), 4u);
  }
  other = results_of({"b"});
  other.timing["min_samples"] = 4;
  EXPECT_NE(refusal(one, other).find("settings"), std::string::npos) << refusal(one, other);
}

TEST(Merge, RefusesTheSameProblemTwice) {
  const std::string message = refusal(results_of({"a", "b"}), results_of({"b"}));
  for (const char* word : {"one.json", "other.json", "b cache=cold"})
    EXPECT_NE(message.find(word), std::string::npos) << message;
}

TEST(CliMerge, HelpSaysWhatAMissingShardMeans) {
  EXPECT_NE(run_program("merge --help").out.find("incomplete"), std::string::npos);
}

TEST(CliMerge, ShardsRunApartAndJoinedAreTheRowsOfTheWholeSweep) {
  const TemporaryDirectory directory;
  const std::string selection =
      "sweep -q --backend cpu --no-check --warm --min-samples 2 --min-time 0 --max-noise 1e9 -a batch=1 -a dim=8 "
      "-a groups=1 -a dstate=2 -a options=B,C -a seqlen=3:7 ";
  std::string files;
  for (const char* shard : {"2", "1", "3"}) {
    const std::string file = directory / (std::string("shard") + shard + ".json");
    ASSERT_EQ(run_program(selection + "--shard " + shard + "/3 --json " + file).exit_code, 0);
    files += file + " ";
  }
  const std::string whole = directory / "whole.json", joined = directory / "joined.json";
  ASSERT_EQ(run_program(selection + "--json " + whole).exit_code, 0);
  const ProgramResult merged = run_program("merge " + files + "-o " + joined);
  ASSERT_EQ(merged.exit_code, 0) << merged.err;
  EXPECT_EQ(merged.err, "");
  EXPECT_EQ(keys_of(read_results(joined)), keys_of(read_results(whole)));
  EXPECT_TRUE(read_results(joined).complete);
}

}  // namespace
}  // namespace lrnnx::bench::merge_test
