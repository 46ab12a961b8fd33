// Results files: what is written reads back, and what is not results is refused in words.
#include "harness/results.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

#include "harness/error.h"
#include "harness/sinks.h"
#include "tests/run_program.h"

namespace lrnnx::bench::results_test {
namespace {

using Json = nlohmann::ordered_json;

Row timed_row() {
  Row row;
  row.problem = parse_problem("selective_scan.mamba.f32.forward.cpu batch=2 dim=8 seqlen=33 dstate=4");
  row.verdict = Verdict::passed;
  row.exit_code = ExitCode::ok;
  row.measurement = Measurement{.samples_ms = {2, 1, 4}, .rounds = {2, 1}};
  row.summary = summarize(row.measurement->samples_ms);
  row.cost = cost(row.problem);
  return row;
}

Results one_row() {
  Results results;
  results.environment = {{"gpu", nullptr}, {"cpu", {{"name", "x"}}}};
  results.timing = {{"min_samples", 3}};
  results.ceilings["cpu"] = {.backend = "cpu",
                             .copy_bytes_per_second = 1e10,
                             .exp2_per_second = {},
                             .issue_slots_per_second = 2e12,
                             .clock_hz = {},
                             .empty_launch_ms = 0.25,
                             .flush = FlushProof{.bytes = 100, .cold_benefit = 0.01, .warm_benefit = 0.5},
                             .not_measured = {"exp2 rate"}};
  results.rows = {to_json(timed_row())};
  return results;
}

TEST(Results, WhatIsWrittenReadsBackEqual) {
  const Results written = one_row();
  const Results read = parse_results(json_text(written), "memory");
  EXPECT_EQ(read.environment, written.environment);
  EXPECT_EQ(read.timing, written.timing);
  EXPECT_EQ(read.complete, written.complete);
  ASSERT_EQ(read.rows.size(), 1u);
  EXPECT_EQ(read.rows[0], written.rows[0]);
  EXPECT_EQ(to_json(read.ceilings.at("cpu")), to_json(written.ceilings.at("cpu")));
  EXPECT_EQ(json_text(read), json_text(written));
}

TEST(Results, ANumberThatIsNotFiniteIsATextThatSurvives) {
  Row row = timed_row();
  row.cost.bytes = std::nan("");
  EXPECT_EQ(to_json(row).at("bytes"), "nan");
  row.cost.bytes = -INFINITY;
  EXPECT_EQ(to_json(row).at("bytes"), "-inf");
}

TEST(Results, WhatIsNoResultsFileIsRefusedWithItsName) {
  const auto refusal = [](Json json) -> std::string {
    try {
      parse_results(json.dump(), "some.json");
    } catch (const UsageError& error) {
      return error.what();
    }
    return "accepted";
  };
  const Json good = Json::parse(json_text(one_row()));
  EXPECT_EQ(refusal(good), "accepted");
  const auto changed = [&](const char* pointer, const Json& value) {
    Json json = good;
    json[Json::json_pointer(pointer)] = value;
    return refusal(json);
  };
  for (const auto& [pointer, value] :
       std::initializer_list<std::pair<const char*, Json>>{{"/schema", "lrnnx-bench.check"},
                                                           {"/schema_version", 99},
                                                           {"/environment", nullptr},
                                                           {"/complete", "yes"},
                                                           {"/ceilings/cpu", Json::object()},
                                                           {"/results", 3},
                                                           {"/results/0/problem", 3},
                                                           {"/results/0/cache", nullptr},
                                                           {"/results/0/verdict", "great"},
                                                           {"/results/0/samples_ms", {1, "2"}},
                                                           {"/results/0/rounds", {1, 1}},
                                                           {"/results/0/rounds", {4, -1}},
                                                           {"/results/0/rounds", 3}}) {
    const std::string message = changed(pointer, value);
    EXPECT_NE(message, "accepted") << pointer;
    EXPECT_NE(message.find(std::string(pointer).starts_with("/results/0/verdict") ? "great" : "some.json"),
              std::string::npos)
        << pointer << ": " << message;
  }
  EXPECT_THROW(parse_results("{", "some.json"), UsageError);
  EXPECT_THROW(read_results("/no/such/file.json"), SystemError);
}

TEST(Results, EveryKeyOfTheFileIsDocumented) {
  const std::string documentation = read_text(LRNNX_SOURCE_DIR "/harness/README.md");
  const Json json = Json::parse(json_text(one_row()));
  for (const auto& [key, value] : json.items())
    EXPECT_NE(documentation.find('`' + key + '`'), std::string::npos) << key;
  std::set<std::string> described;
  for (const Json& metric : json.at("metrics")) {
    EXPECT_FALSE(metric.at("description").get<std::string>().empty()) << metric;
    described.insert(metric.at("tag"));
  }
  for (const auto& [key, value] : json.at("results")[0].items())
    EXPECT_TRUE(described.contains(key) || documentation.find('`' + key + '`') != std::string::npos) << key;
  EXPECT_NE(documentation.find(std::string("\"schema\": \"") + kResultsSchema + '"'), std::string::npos);
  EXPECT_NE(documentation.find("\"schema_version\": " + std::to_string(kResultsSchemaVersion)), std::string::npos);
}

TEST(Results, ResultsThatWerePublishedStillRead) {
  EXPECT_FALSE(read_results(LRNNX_SOURCE_DIR "/results/h100/anchors.json").rows.empty());
}

TEST(Results, OnlyASoundTimeCountsAsOne) {
  Row row = timed_row();
  EXPECT_TRUE(is_timed(to_json(row)));
  row.verdict = Verdict::unchecked;
  EXPECT_TRUE(is_timed(to_json(row)));
  row.verdict = Verdict::invalid;
  EXPECT_FALSE(is_timed(to_json(row)));
  row.verdict = Verdict::failed;
  EXPECT_FALSE(is_timed(to_json(row)));
  row.verdict = Verdict::passed;
  row.measurement.reset();
  EXPECT_FALSE(is_timed(to_json(row)));
}

}  // namespace
}  // namespace lrnnx::bench::results_test
