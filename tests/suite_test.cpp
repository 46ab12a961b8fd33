// Suites and axes: what they expand to, and what is refused with which words.
#include "harness/suite.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "harness/error.h"
#include "harness/variants.h"
#include "tests/run_program.h"

namespace lrnnx::bench::suite_test {
namespace {

std::vector<Problem> expand(const std::string& text) { return expand_suite(text, "test", {"cpu"}); }

// A suite of one case.
std::string suite(const std::string& members) { return R"({"cases": [{)" + members + "}]}"; }

constexpr const char* kSizes = R"("batch": 1, "dim": 4, "seqlen": 8, "dstate": 2)";

template <class Call>
std::string refusal(Call call) {
  try {
    call();
  } catch (const UsageError& error) {
    return error.what();
  }
  return "";
}

void expect_refused(const std::string& text, std::initializer_list<const char*> words) {
  const std::string message = refusal([&] { expand(text); });
  EXPECT_NE(message, "") << "accepted: " << text;
  for (const char* word : words) {
    EXPECT_NE(message.find(word), std::string::npos) << "no '" << word << "' in: " << message;
  }
}

std::vector<int64_t> values(const char* text) { return parse_axis_values(text, "seqlen"); }

TEST(AxisValues, AreListsAndRanges) {
  using List = std::vector<int64_t>;
  EXPECT_EQ(values("1024"), List{1024});
  EXPECT_EQ(values("1024,2048"), (List{1024, 2048}));
  EXPECT_EQ(values("[2^10:2^13:x2]"), (List{1024, 2048, 4096, 8192}));
  EXPECT_EQ(values("3:20:x3"), (List{3, 9}));
  EXPECT_EQ(values("5:8"), (List{5, 6, 7, 8}));
  EXPECT_EQ(values("1:64:+16"), (List{1, 17, 33, 49}));
  EXPECT_EQ(values("[1,2:3,2^4]"), (List{1, 2, 3, 16}));
  EXPECT_EQ(values("2^61:9223372036854775807:x2"), (List{int64_t{1} << 61, int64_t{1} << 62}));
}

TEST(AxisValues, ThatMakeNoSenseAreRefusedWithTheGrammar) {
  for (const char* text :
       {"", ",", "1,", "8:4", "1:8:x1", "1:8:2", "1:2:+1:3", "1:8:x0", "1:8:+0", "a:b", "[1", "1:9999999"}) {
    const std::string message = refusal([&] { values(text); });
    EXPECT_NE(message.find("seqlen"), std::string::npos) << text;
  }
  EXPECT_NE(refusal([] { values("8:4"); }).find("FIRST:LAST:xFACTOR"), std::string::npos);
}

TEST(Suite, IsTheProductOfItsAxes) {
  const auto problems = expand(
      suite(R"("operator": "*.mamba.f32", "batch": [1, 3], "dim": 6, "seqlen": "2^3:2^5:x2", "dstate": [1, "2^4"],
      "groups": [1, "dim"], "options": ["B,C", "none"], "fill": ["init", "slow"], "direction": "forward")"));
  EXPECT_EQ(problems.size(), 2u * 3 * 2 * 2 * 2 * 2);
  std::set<std::string> lines;
  for (const Problem& problem : problems) {
    EXPECT_TRUE(lines.insert(to_string(problem)).second);
    EXPECT_TRUE(problem.shape.groups == 1 || problem.shape.groups == 6);
    EXPECT_EQ(problem.direction, "forward");
    EXPECT_EQ(problem.backend, "cpu");
  }
}

TEST(Suite, DefaultsToBothDirectionsOfEveryOperator) {
  const auto problems = expand(suite(kSizes));
  std::set<std::string> expected, got;
  for (const Variant& variant : variants()) {
    if (variant.backend == "cpu") expected.insert(variant.name());
  }
  for (const Problem& problem : problems) {
    got.insert(variant_name(problem));
    EXPECT_EQ(to_string(problem.options), problem.discretization == "rglru" ? "C" : "B,C");
  }
  EXPECT_EQ(got, expected);
}

TEST(Suite, KeepsBackendsOfOneProblemTogetherForTheOracle) {
  const auto problems = expand_suite(suite(kSizes), "test", {"cpu", "cuda"});
  ASSERT_GE(problems.size(), 4u);
  for (size_t i = 0; i < problems.size(); i += 2) {
    Problem other = problems[i];
    other.backend = "cuda";
    EXPECT_EQ(problems[i + 1], other);
  }
}

TEST(Suite, EveryMeansEveryCombinationOfOptionsOnce) {
  const auto problems = expand(suite(std::string(kSizes) + R"(, "operator": "selective_scan.mamba.f32",
      "options": "every")"));
  std::set<std::string> forward, backward;
  for (const Problem& problem : problems) {
    auto& sets = problem.direction == "forward" ? forward : backward;
    EXPECT_TRUE(sets.insert(to_string(problem.options)).second);
  }
  EXPECT_EQ(forward.size(), size_t{1} << option_names().size());
  EXPECT_EQ(backward.size(), forward.size() / 2);  // save is for the forward only
}

TEST(Suite, EqualProblemsOfTwoCasesRunOnce) {
  const std::string one = suite(kSizes);
  const std::string two = std::string(R"({"cases": [{)") + kSizes + "}, {" + kSizes + "}]}";
  EXPECT_EQ(expand(two), expand(one));
}

TEST(Suite, UnknownKeysAreRefusedWithTheAllowedOnes) {
  expect_refused(suite(std::string(kSizes) + R"(, "length": 3)"), {"case 1", "'length'", "seqlen", "operator", "fill"});
  expect_refused(R"({"cases": [], "name": "x"})", {"'name'", "description, reruns or cases"});
}

TEST(Suite, RepeatedKeysAreRefused) {
  expect_refused(suite(std::string(kSizes) + R"(, "dim": 5)"), {"\"dim\"", "twice"});
}

TEST(Suite, MissingAxesAndEmptyListsAreRefused) {
  expect_refused(suite(R"("batch": 1, "dim": 4, "dstate": 2)"), {"case 1", "seqlen is missing"});
  expect_refused(suite(R"("batch": [], "dim": 4, "seqlen": 1, "dstate": 2)"), {"batch", "empty"});
  expect_refused(R"({"cases": []})", {"at least one case"});
  expect_refused(R"({"description": "nothing"})", {"cases"});
  expect_refused("[]", {"expected an object"});
}

TEST(Suite, WrongTypesAreRefused) {
  for (const char* value : {"1.5", "true", "null", "{}", "[[1]]", "-3", "0"}) {
    const std::string text = suite(std::string(R"("batch": )") + value + R"(, "dim": 4, "seqlen": 1, "dstate": 2)");
    EXPECT_NE(refusal([&] { expand(text); }), "") << text;
  }
  expect_refused(suite(std::string(kSizes) + R"(, "seed": "x")"), {"seed"});
  expect_refused(suite(std::string(kSizes) + R"(, "fill": "noise")"), {"case 1", "'noise'", "init"});
  expect_refused(suite(std::string(kSizes) + R"(, "direction": "up")"), {"'up'", "forward or backward"});
  expect_refused(suite(std::string(kSizes) + R"(, "options": "B,X")"), {"'X'", "delta_bias"});
  expect_refused(suite(std::string(kSizes) + R"(, "groups": 3)"), {"dim=4", "groups=3"});
}

TEST(Suite, AnOperatorThatMatchesNothingIsRefused) {
  expect_refused(suite(std::string(kSizes) + R"(, "operator": "selective_scan.mambo.*")"),
                 {"'selective_scan.mambo.*'", "selective_scan.mamba.f32"});
}

TEST(Suite, BrokenJsonIsRefusedWithThePlace) {
  expect_refused("{\n\"cases\": [,]}", {"test", "line 2"});
  expect_refused("", {"test"});
}

TEST(Suite, ModelsHasTheScansOfTheModelsThatItNames) {
  const auto problems = expand(read_text(LRNNX_SOURCE_DIR "/suites/models.json"));
  const auto has = [&](const std::string& discretization, const std::string& dtype, const Shape& shape) {
    return std::ranges::count_if(problems, [&](const Problem& problem) {
             return problem.discretization == discretization && problem.dtype == dtype && problem.shape == shape;
           }) == 2;  // both directions
  };
  EXPECT_TRUE(has("mamba", "f32", {.batch = 2, .dim = 5120, .seqlen = 8192, .dstate = 16}));
  EXPECT_TRUE(has("mamba", "f32", {.batch = 3, .dim = 4 * 192, .seqlen = 4096, .dstate = 16, .groups = 4}));
  EXPECT_TRUE(has("rglru", "f32", {.batch = 1, .dim = 5632, .seqlen = 8192, .dstate = 1}));
  for (const auto& [states, seqlen] :
       {std::pair(16, 2048), {192, 4096}, {256, 4000}, {384, 1024}, {256, 1024}, {256, 16384}, {128, 16000}})
    EXPECT_TRUE(has("zoh", "c64", {.batch = 32, .dim = states, .seqlen = seqlen, .dstate = 1})) << states;
}

// --- what check and sweep select --------------------------------------------------------------------------------

Selection of_line(const std::string& rest) {
  Selection selection;
  selection.problems = {"selective_scan.mamba.f32.forward.cpu batch=1 dim=4 seqlen=8 dstate=2 " + rest};
  return selection;
}

TEST(Selection, OfALineIsThatProblem) {
  const Selection selection = of_line("groups=2 options=B fill=slow seed=3");
  const auto problems = select_problems(selection);
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(to_string(problems[0]), selection.problems[0]);
}

TEST(Selection, AxesReplaceThoseOfTheLine) {
  Selection selection = of_line("");
  selection.axes = {"seqlen=16,32", "direction=forward,backward", "options=B,C,z", "options=none"};
  const auto problems = select_problems(selection);
  EXPECT_EQ(problems.size(), 2u * 2 * 2);
  for (const Problem& problem : problems) EXPECT_NE(problem.shape.seqlen, 8);
}

TEST(Selection, AxesGivenTwiceAddUp) {
  Selection selection = of_line("");
  selection.axes = {"seqlen=16", "seqlen=2^5:2^6:x2", "seqlen=16"};
  EXPECT_EQ(select_problems(selection).size(), 3u);
}

TEST(Selection, AxesReplaceThoseOfASuite) {
  Selection selection;
  selection.suite = LRNNX_SOURCE_DIR "/suites/check-quick.json";
  selection.axes = {"batch=2",  "dim=6",     "groups=1",  "seqlen=7",
                    "dstate=3", "options=B", "fill=init", "layout=contiguous"};
  selection.backend = "cpu";
  selection.filter = "selective_scan.mamba.f32.*";
  EXPECT_EQ(select_problems(selection).size(), 2u);  // forward and backward
}

TEST(Selection, BackendReplacesTheLines) {
  Selection selection = of_line("");
  selection.backend = "all";
  const auto problems = select_problems(selection);
  ASSERT_EQ(problems.size(), 2u);
  EXPECT_EQ(problems[0].backend, "cpu");
  EXPECT_EQ(problems[1].backend, "cuda");
}

TEST(Selection, SeedAndConfigurationGoToEveryProblem) {
  Selection selection = of_line("");
  selection.axes = {"seqlen=1,2"};
  selection.seed = 9;
  selection.configuration = "a=1";
  for (const Problem& problem : select_problems(selection)) {
    EXPECT_EQ(problem.seed, 9u);
    EXPECT_EQ(problem.configuration, "a=1");
  }
  selection.configuration = "a=1 b=2";
  EXPECT_NE(refusal([&] { select_problems(selection); }).find("without spaces"), std::string::npos);
}

TEST(Selection, ACaseMayNameItsImplementation) {
  const TemporaryDirectory directory;
  const std::string suite = directory / "suite.json";
  std::ofstream(suite) << R"({"cases": [{"operator": "*.f32", "implementation": "mine", "backend": "cpu",
                              "configuration": "a=1", "batch": 1, "dim": 1, "seqlen": 1, "dstate": 1}]})";
  std::vector<Implementation> implementations = find_implementations({}, 0);
  Variant forward = variants().front();
  forward.backend = "cpu";
  Selection selection;
  selection.suite = suite;
  selection.backend = "cpu";
  EXPECT_NE(refusal([&] { select_problems(selection, implementations); }).find("'mine'"), std::string::npos);

  implementations.push_back({.name = "mine", .file = LibraryFile{}, .variants = {forward}, .error = ""});
  const auto problems = select_problems(selection, implementations);
  ASSERT_EQ(problems.size(), 1u) << "it computes nothing else";
  EXPECT_EQ(problems[0].implementation, "mine");
  EXPECT_EQ(problems[0].configuration, "a=1");
}

TEST(Selection, ThatMatchesNothingIsRefusedWithWhatThereIs) {
  Selection selection = of_line("");
  selection.filter = "*.backward.*";
  const std::string message = refusal([&] { select_problems(selection); });
  EXPECT_NE(message.find("'*.backward.*'"), std::string::npos) << message;
  EXPECT_NE(message.find("selective_scan.mamba.f32.forward.cpu"), std::string::npos) << message;
}

TEST(Selection, ASuiteThatHasNothingForTheBackendIsRefused) {
  Selection selection;
  selection.suite = "every-kernel";  // of cuda
  selection.backend = "cpu";
  for (const char* filter : {"", "*.mamba.*"}) {
    selection.filter = filter;
    const std::string message = refusal([&] { select_problems(selection); });
    EXPECT_NE(message.find("no case is for backend cpu"), std::string::npos) << message;
  }
}

TEST(Selection, UnknownNamesAreRefused) {
  Selection selection = of_line("");
  selection.axes = {"length=3"};
  EXPECT_NE(refusal([&] { select_problems(selection); }).find("seqlen"), std::string::npos);
  selection.axes = {"seqlen"};
  EXPECT_NE(refusal([&] { select_problems(selection); }).find("AXIS=VALUES"), std::string::npos);
  selection = of_line("");
  selection.backend = "gpu";
  EXPECT_NE(refusal([&] { select_problems(selection); }).find("cpu, cuda or all"), std::string::npos);
  selection = {};
  selection.suite = "no-such-suite";
  EXPECT_NE(refusal([&] { select_problems(selection); }).find("no-such-suite.json"), std::string::npos);
}

TEST(Selection, NamedSizesStandForTheirValues) {
  EXPECT_EQ(parse_axis_values("warp", "seqlen"), (std::vector<int64_t>{31, 32, 33}));
  EXPECT_EQ(parse_axis_values("[1,few,7]", "dim"), (std::vector<int64_t>{1, 1, 3, 7}));
  EXPECT_THROW(parse_axis_values("warp", "dstate"), UsageError);
}

TEST(Selection, AFillWithoutMeaningIsNotListedButOfALineItIs) {
  Selection selection = of_line("");
  selection.axes = {"fill=init,init+gate_edges"};
  EXPECT_EQ(select_problems(selection).size(), 2u);
  const std::string suite = R"({"cases": [{"operator": "*.mamba.f32", "batch": 1, "dim": 1, "seqlen": 1, "dstate": 1,
      "options": ["B,C", "B,C,z"], "fill": ["init", "init+gate_edges"], "direction": "forward"}]})";
  EXPECT_EQ(expand_suite(suite, "test", {"cpu"}).size(), 3u);
  const std::string none = R"({"cases": [{"operator": "*.mamba.f32", "batch": 1, "dim": 1, "seqlen": 1, "dstate": 1,
      "options": "B,C", "fill": "init+gate_edges"}]})";
  EXPECT_NE(refusal([&] { expand_suite(none, "test", {"cpu"}); }).find("the problem has no z"), std::string::npos);
}

TEST(Suites, ABudgetLeavesOutWhatIsLarger) {
  const std::string suite = R"({"cases": [{"operator": "*.mamba.f32", "batch": 1, "dim": [1, 2], "seqlen": [10, 20],
      "dstate": 5, "budget": 100, "direction": "forward"}]})";
  EXPECT_EQ(expand_suite(suite, "test", {"cpu"}).size(), 3u);
}

TEST(Suites, ACaseMayBeForOneBackend) {
  const std::string suite = R"({"cases": [{"operator": "*.mamba.f32", "batch": 1, "dim": 1, "seqlen": 1, "dstate": 1,
      "backend": "cuda", "direction": "forward"}]})";
  EXPECT_EQ(expand_suite(suite, "test", {"cpu", "cuda"}).size(), 1u);
  EXPECT_EQ(expand_suite(suite, "test", {"cpu"}).size(), 0u);
  EXPECT_NE(refusal([&] {
              expand_suite(R"({"cases": [{"batch": 1, "combine": "some"}]})", "test", {"cpu"});
            }).find("all or pairs"),
            std::string::npos);
  EXPECT_NE(refusal([&] {
              expand_suite(R"({"cases": [{"batch": 1, "backend": ["cpu", "cuda"]}]})", "test", {"cpu"});
            }).find("backend: expected one value"),
            std::string::npos);
}

TEST(Suites, ABudgetThatLeavesNothingIsSaid) {
  const std::string message = refusal([] {
    expand_suite(R"({"cases": [{"operator": "*.mamba.f32", "batch": 1, "dim": 1, "seqlen": 9, "dstate": 5,
        "budget": 1}]})",
                 "test", {"cpu"});
  });
  EXPECT_NE(message.find("budget"), std::string::npos) << message;
}

TEST(Suites, ValuesGivenTwiceCountOnce) {
  const char* const once = R"({"cases": [{"operator": "*.mamba.f32", "combine": "pairs", "batch": [1, 2], "dim": 2,
      "seqlen": [1, 2, 3], "dstate": 2, "options": "every"}]})";
  const char* const twice = R"({"cases": [{"operator": "*.mamba.f32", "combine": "pairs", "batch": [1, 2, 1], "dim": 2,
      "seqlen": [1, 2, 3], "dstate": 2, "options": ["B,C", "every"]}]})";
  EXPECT_LT(expand_suite(twice, "test", {"cpu"}).size(), 60u);
  EXPECT_EQ(expand_suite(twice, "test", {"cpu"}).size(), expand_suite(once, "test", {"cpu"}).size());
}

TEST(Suites, BracketsMayNotBeNestedWithoutEnd) {
  EXPECT_NE(refusal([] { expand_suite(std::string(100'000, '['), "test", {"cpu"}); }).find("levels of brackets"),
            std::string::npos);
}

TEST(Suites, ABudgetIsExceededByWhatCannotBeCounted) {
  const std::string suite = R"({"cases": [{"operator": "*.mamba.f32", "combine": "pairs", "batch": [1, 4], "dim": 1,
      "seqlen": [2, "2^62"], "dstate": 5, "budget": 100, "direction": "forward"}]})";
  for (const Problem& problem : expand_suite(suite, "test", {"cpu"})) EXPECT_EQ(problem.shape.seqlen, 2);
}

TEST(Suites, PairsHoldEveryPairOfValuesInBothDirections) {
  const std::string suite = R"({"cases": [{"operator": "*.mamba.f32", "combine": "pairs", "batch": [1, 2],
      "dim": [1, 2, 4], "seqlen": [1, 2, 3, 4, 5], "dstate": [1, 2], "groups": [1, "dim"], "options": "every"}]})";
  const auto problems = expand_suite(suite, "test", {"cpu"});
  EXPECT_LT(problems.size(), 60u);
  for (const char* direction : {"forward", "backward"}) {
    std::set<std::pair<int64_t, int64_t>> sizes;
    std::set<std::pair<bool, int64_t>> gates;
    for (const Problem& problem : problems) {
      if (problem.direction != direction) continue;
      sizes.insert({problem.shape.dim, problem.shape.seqlen});
      gates.insert({problem.options.z, problem.shape.seqlen});
    }
    EXPECT_EQ(sizes.size(), 15u);
    EXPECT_EQ(gates.size(), 10u);
  }
}

TEST(Suites, ACaseMayIncludeAnotherSuiteWithKeysOfItsOwn) {
  const std::filesystem::path directory = std::filesystem::path(::testing::TempDir()) / "include_test";
  std::filesystem::create_directories(directory);
  const auto write = [&](const char* name, const std::string& cases) {
    std::ofstream(directory / name) << R"({"cases": [)" << cases << "]}";
  };
  write("sizes.json",
        R"({"operator": "*.mamba.f32", "batch": 1, "dim": 2, "seqlen": [3, 5], "dstate": 1, "fill": "wide"},
                         {"operator": "*.zoh.f32", "batch": 1, "dim": 2, "seqlen": 7, "dstate": 1})");
  write("nested.json", R"({"include": "sizes.json"})");
  const auto including = [&](const std::string& keys) {
    return expand_suite(R"({"cases": [{"include": )" + keys + "}]}", directory / "own.json", {"cpu"});
  };
  std::vector<std::string> found;
  for (const Problem& problem : including(R"("sizes.json", "fill": "stiff", "direction": "forward", "dim": 4)")) {
    EXPECT_EQ(problem.shape.dim, 4);
    found.push_back(fmt::format("{} {} {}", problem.discretization, problem.shape.seqlen, problem.fill));
  }
  EXPECT_EQ(found, (std::vector<std::string>{"mamba 3 stiff", "mamba 5 stiff", "zoh 7 stiff"}));
  EXPECT_EQ(including(R"("sizes.json")").front().fill, "wide");
  EXPECT_NE(refusal([&] { including(R"("nested.json")"); }).find("expected a case that includes nothing"),
            std::string::npos);
  EXPECT_NE(refusal([&] { including(R"("none.json")"); }).find("case 1: include: no file"), std::string::npos);
  EXPECT_NE(refusal([&] { including("3"); }).find("expected the name of a file, not 3"), std::string::npos);
  EXPECT_EQ(including(R"("sizes.json", "fill": null)").front().fill, "init");
  EXPECT_NE(refusal([&] { including(R"("sizes.json", "dmi": 4)"); }).find("dmi"), std::string::npos);
  std::filesystem::remove_all(directory);
}

TEST(Suites, OfTheProjectAllExpand) {
  int count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(LRNNX_SOURCE_DIR "/suites")) {
    const std::string path = entry.path();
    EXPECT_FALSE(expand_suite(read_text(path), path, {"cpu", "cuda"}).empty()) << path;
    ++count;
  }
  EXPECT_GT(count, 1);
}

}  // namespace
}  // namespace lrnnx::bench::suite_test
