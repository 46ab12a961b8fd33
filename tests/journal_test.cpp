// The journal of a sweep: what was added is there, whatever ended the program, and no other sweep goes on with it.
#include "harness/journal.h"

#include <gtest/gtest.h>

#include <fstream>

#include "harness/error.h"
#include "tests/run_program.h"

namespace lrnnx::bench::journal_test {
namespace {

using Json = nlohmann::ordered_json;

Plan plan() {
  return {.environment = {{"program", {{"commit", "abc"}}}, {"gpu", nullptr}, {"cpu", {{"name", "x"}}}},
          .timing = {{"min_samples", 3}},
          .problems = {"a", "b", "c"}};
}

Json row(const std::string& problem, const std::string& cache = "cold") {
  return {
      {"problem", problem}, {"cache", cache}, {"verdict", "skipped"}, {"exit_code", 4}, {"samples_ms", Json::array()}};
}

std::map<std::string, Ceilings> ceilings() {
  Ceilings measured;
  measured.backend = "cpu";
  measured.copy_bytes_per_second = 1e9;
  return {{"cpu", measured}};
}

std::string refusal(const std::string& path, const Plan& other, bool allow_mixed = false) {
  try {
    Journal::open(path, other, allow_mixed);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Journal, WhatWasAddedIsThereForTheNextRun) {
  const TemporaryDirectory directory;
  const std::string path = directory / "journal";
  {
    Journal journal = Journal::create(path, plan());
    journal.add("a", {row("a"), row("a", "warm")}, ceilings());
  }
  Plan later = plan();
  later.environment["run"] = "another date";
  {
    Journal journal = Journal::open(path, later, false);
    ASSERT_EQ(journal.done().size(), 1u);
    EXPECT_EQ(journal.done().at("a").at(1).at("cache"), "warm");
    EXPECT_EQ(journal.ceilings().at("cpu").copy_bytes_per_second, 1e9);
    EXPECT_EQ(journal.environment(), plan().environment) << "not that of the run that began it";
    journal.add("b", {row("b")}, {});
    EXPECT_NE(refusal(path, plan()).find("another sweep is writing it"), std::string::npos);
    EXPECT_THROW(Journal::create(path, plan()), UsageError) << "it would take the file away";
  }
  EXPECT_EQ(Journal::open(path, plan(), false).done().size(), 2u);
}

TEST(Journal, ALineCutOffAnywhereCostsOnlyItself) {
  const TemporaryDirectory directory;
  const std::string path = directory / "journal";
  {
    Journal journal = Journal::create(path, plan());
    journal.add("a", {row("a")}, ceilings());
    journal.add("b", {row("b")}, ceilings());
  }
  const std::string whole = read_text(path);
  const size_t second = whole.find('\n') + 1, third = whole.find('\n', second) + 1;
  for (size_t length = 0; length < whole.size(); length += 5) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << whole.substr(0, length);
    {
      Journal journal = Journal::open(path, plan(), false);
      ASSERT_EQ(journal.done().size(), length < third ? 0u : 1u) << length;
      journal.add("c", {row("c")}, ceilings());
    }
    const auto done = Journal::open(path, plan(), false).done();
    ASSERT_EQ(done.size(), length < third ? 1u : 2u) << length;
    ASSERT_TRUE(done.contains("c")) << length;
  }
}

TEST(Journal, OfAnotherSweepMachineOrBuildIsRefused) {
  const TemporaryDirectory directory;
  const std::string path = directory / "journal";
  Journal::create(path, plan());
  EXPECT_EQ(refusal(path, plan()), "accepted");

  Plan other = plan();
  other.problems.pop_back();
  EXPECT_NE(refusal(path, other).find("3 problems are not the 2"), std::string::npos) << refusal(path, other);
  EXPECT_NE(refusal(path, other, true), "accepted");
  other = plan();
  other.timing["min_samples"] = 5;
  EXPECT_NE(refusal(path, other).find("min_samples: 3 and 5"), std::string::npos) << refusal(path, other);
  other = plan();
  other.environment["program"]["commit"] = "def";
  EXPECT_NE(refusal(path, other).find("\"abc\" and \"def\""), std::string::npos) << refusal(path, other);
  EXPECT_EQ(refusal(path, other, true), "accepted");
  other = plan();
  other.environment["cpu"]["name"] = "y";
  EXPECT_NE(refusal(path, other).find("cpu.name"), std::string::npos) << refusal(path, other);
  EXPECT_EQ(refusal(path, other, true), "accepted");
}

TEST(Journal, ANewOneKeepsTheOneBefore) {
  const TemporaryDirectory directory;
  const std::string path = directory / "journal";
  Journal::create(path, plan()).add("a", {row("a")}, {});
  Journal::create(path, plan());
  EXPECT_EQ(Journal::open(path, plan(), false).done().size(), 0u);
  EXPECT_EQ(Journal::open(path + ".old", plan(), false).done().size(), 1u);
}

TEST(Journal, WhatIsNoJournalIsRefused) {
  const TemporaryDirectory directory;
  const std::string path = directory / "journal";
  std::ofstream(path) << "{\"schema\": \"something else\"}\n";
  EXPECT_NE(refusal(path, plan()), "accepted");
  std::ofstream(path) << "not json\n";
  EXPECT_NE(refusal(path, plan()).find("line 1"), std::string::npos) << refusal(path, plan());
  EXPECT_THROW(Journal::create("/no/such/directory/journal", plan()), SystemError);
}

}  // namespace
}  // namespace lrnnx::bench::journal_test
