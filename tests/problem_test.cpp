// A problem's line: what it says, that it reads back, and what is refused with which words.
#include "harness/problem.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "harness/error.h"
#include "harness/fill.h"
#include "harness/variants.h"

namespace lrnnx::bench::problem_test {
namespace {

constexpr const char* kVariant = "selective_scan.mamba.f32.forward.cpu";

std::string line(const std::string& rest) { return std::string(kVariant) + ' ' + rest; }

Problem small() { return parse_problem(line("batch=2 dim=6 seqlen=5 dstate=4")); }

// The message that refuses the line.
std::string refusal(const std::string& text) {
  try {
    parse_problem(text);
  } catch (const UsageError& error) {
    EXPECT_EQ(error.exit_code(), ExitCode::usage);
    return error.what();
  }
  ADD_FAILURE() << "accepted: " << text;
  return "";
}

void expect_refused(const std::string& text, std::initializer_list<const char*> words) {
  const std::string message = refusal(text);
  for (const char* word : words) {
    EXPECT_NE(message.find(word), std::string::npos) << "no '" << word << "' in: " << message;
  }
}

TEST(Problem, PrintsEveryFieldInOneOrder) {
  Problem problem = small();
  problem.direction = "backward";
  problem.shape.groups = 3;
  problem.options = {.variable_B = true, .variable_C = false, .D = true, .z = true, .delta_softplus = true};
  problem.fill = "slow";
  problem.seed = 18446744073709551615u;
  problem.configuration = "threads=4,chunk=64";
  EXPECT_EQ(to_string(problem),
            "selective_scan.mamba.f32.backward.cpu batch=2 dim=6 seqlen=5 dstate=4 groups=3 "
            "options=B,D,z,delta_softplus fill=slow seed=18446744073709551615 config=threads=4,chunk=64");
}

TEST(Problem, PrintsALayoutOnlyIfItIsNotContiguous) {
  Problem problem = small();
  EXPECT_EQ(to_string(problem).find("layout"), std::string::npos);
  problem.layout = MemoryLayout::transposed;
  EXPECT_TRUE(to_string(problem).ends_with(" seed=0 layout=transposed")) << to_string(problem);
  expect_refused(line("batch=1 dim=1 seqlen=1 dstate=1 layout=zigzag"), {"'zigzag'", "contiguous", "transposed"});
}

TEST(Problem, DataDependOnNothingThatIsNotAnInput) {
  const Problem problem = parse_problem(line("batch=2 dim=6 seqlen=5 dstate=4 options=B,C fill=slow"));
  const auto seed_of = [](const char* rest) { return data_seed(parse_problem(line(rest))); };
  for (const char* same : {"batch=2 dim=6 seqlen=5 dstate=4 fill=slow layout=strided",
                           "batch=2 dim=6 seqlen=5 dstate=4 fill=slow+nan config=a=1",
                           "batch=2 dim=6 seqlen=5 dstate=4 fill=slow options=B,C,last_state,save"})
    EXPECT_EQ(seed_of(same), data_seed(problem)) << same;
  for (const char* other :
       {"batch=2 dim=6 seqlen=5 dstate=4 fill=init", "batch=2 dim=6 seqlen=6 dstate=4 fill=slow",
        "batch=2 dim=6 seqlen=5 dstate=4 fill=slow options=B", "batch=2 dim=6 seqlen=5 dstate=4 fill=slow seed=1"})
    EXPECT_NE(seed_of(other), data_seed(problem)) << other;
}

TEST(Problem, WithoutAnyOptionSaysNone) {
  Problem problem = small();
  problem.options = {.variable_B = false, .variable_C = false};
  EXPECT_NE(to_string(problem).find(" options=none "), std::string::npos);
  EXPECT_EQ(parse_problem(to_string(problem)), problem);
}

TEST(Problem, EveryLineReadsBackAsTheSameProblem) {
  std::mt19937_64 random(1);
  for (int i = 0; i < 2000; ++i) {
    Problem problem = small();
    problem.direction = random() % 2 ? "forward" : "backward";
    problem.backend = random() % 2 ? "cpu" : "cuda";
    for (const ShapeAxis& axis : shape_axes()) problem.shape.*axis.value = 1 + static_cast<int64_t>(random() % 200);
    problem.shape.dim *= problem.shape.groups;
    for (const OptionName& option : option_names()) problem.options.*option.value = random() % 2;
    if (problem.direction == "backward") problem.options.save = false;
    problem.fill = fill_bases()[random() % 5].name;
    if (random() % 2) problem.fill += fmt::format("+{}", fill_modifiers()[random() % fill_modifiers().size()].name);
    problem.layout = memory_layout_names()[random() % memory_layout_names().size()].value;
    problem.seed = random();
    if (random() % 2) problem.configuration = "a=1,b=2";
    EXPECT_EQ(parse_problem(to_string(problem)), problem) << to_string(problem);
  }
}

TEST(Problem, WhatIsLeftOutHasTheDocumentedDefault) {
  const Problem problem = small();
  EXPECT_EQ(to_string(problem), line("batch=2 dim=6 seqlen=5 dstate=4 groups=1 options=B,C fill=init seed=0"));
}

TEST(Problem, TakesPowersAndAnyOrder) {
  EXPECT_EQ(parse_problem(line("seqlen=2^20 dstate=4 dim=6  batch=2")).shape.seqlen, 1 << 20);
}

TEST(Problem, UnknownVariantNamesWhatIsAllowed) {
  const std::string sizes = " batch=1 dim=1 seqlen=1 dstate=1";
  expect_refused("scan.mamba.f32.forward.cpu" + sizes, {"family 'scan'", "selective_scan"});
  expect_refused("selective_scan.mambo.f32.forward.cpu" + sizes, {"discretization 'mambo'", "mamba"});
  expect_refused("selective_scan.mamba.f64.forward.cpu" + sizes, {"dtype 'f64'", "f32"});
  expect_refused("selective_scan.mamba.f32.sideways.cpu" + sizes, {"direction 'sideways'", "forward or backward"});
  expect_refused("selective_scan.mamba.f32.forward.tpu" + sizes, {"backend 'tpu'", "cpu or cuda"});
  expect_refused("selective_scan.mamba.f32.forward" + sizes, {"family.discretization.dtype.direction.backend"});
}

TEST(Problem, UnknownOrRepeatedWordsAreRefused) {
  expect_refused(line("batch=1 dim=1 seqlen=1 dstate=1 width=3"), {"'width=3'", "batch=", "config="});
  expect_refused(line("batch=1 dim=1 seqlen=1 dstate=1 fast"), {"'fast'", "options="});
  expect_refused(line("batch=1 batch=1 dim=1 seqlen=1 dstate=1"), {"batch is given twice"});
  expect_refused(line("batch=1 dim=1 seqlen=1 dstate=1 options=B,E"), {"option 'E'", "delta_softplus", "none"});
  expect_refused(line("batch=1 dim=1 seqlen=1 dstate=1 options=B,B"), {"option 'B' is given twice"});
  expect_refused(line("batch=1 dim=1 seqlen=1 dstate=1 options="), {"option ''"});
  expect_refused(line("batch=1 dim=1 seqlen=1 dstate=1 fill=random"), {"fill 'random'", "init", "stiff"});
  expect_refused("", {"variant is missing"});
}

TEST(Problem, MissingSizesAreNamed) {
  expect_refused(line("dim=1 seqlen=1 dstate=1"), {"batch is missing"});
  expect_refused(line("batch=1 seqlen=1 dstate=1"), {"dim is missing"});
  expect_refused(line("batch=1 dim=1 dstate=1"), {"seqlen is missing"});
  expect_refused(line("batch=1 dim=1 seqlen=1"), {"dstate is missing"});
}

TEST(Problem, NumbersThatAreNoneAreRefused) {
  for (const char* number :
       {"0", "-1", "1.5", "1e3", "x", "", "2^", "^2", "2^64", "9223372036854775808", "1 2", "0^3"}) {
    const std::string text = line(std::string("batch=") + number + " dim=1 seqlen=1 dstate=1");
    EXPECT_FALSE(refusal(text).empty());
  }
  expect_refused(line("batch=0 dim=1 seqlen=1 dstate=1"), {"batch '0'", "from 1 to 2^63 - 1"});
  expect_refused(line("batch=1 dim=1 seqlen=1 dstate=1 seed=-1"), {"seed '-1'"});
  expect_refused(line("batch=1 dim=1 seqlen=1 dstate=1 seed=18446744073709551616"), {"seed"});
}

TEST(Problem, ContradictionsAreRefused) {
  expect_refused(line("batch=1 dim=7 seqlen=1 dstate=1 groups=2"), {"dim=7", "groups=2", "divisible"});
  expect_refused(line("batch=1 dim=1 seqlen=1 dstate=257"), {"dstate=257", "256"});
  expect_refused(line("batch=2^30 dim=2^30 seqlen=2^30 dstate=1"), {"2^63 bytes"});
  expect_refused("selective_scan.mamba.f32.backward.cpu batch=1 dim=1 seqlen=1 dstate=1 options=B,C,save",
                 {"'save'", "forward"});
}

TEST(Problem, DataDependOnWhatIsComputedAndNotOnWhoComputesIt) {
  const Problem problem = small();
  Problem same = problem;
  same.backend = "cuda";
  same.direction = "backward";
  same.configuration = "a=1";
  same.options.last_state = true;
  EXPECT_EQ(data_seed(same), data_seed(problem));

  std::set<uint64_t> seeds = {data_seed(problem)};
  Problem other = problem;
  other.seed = 1;
  seeds.insert(data_seed(other));
  other = problem;
  other.shape.seqlen = 6;
  seeds.insert(data_seed(other));
  other = problem;
  other.options.z = true;
  seeds.insert(data_seed(other));
  other = problem;
  other.fill = "slow";
  seeds.insert(data_seed(other));
  EXPECT_EQ(seeds.size(), 5u);
}

TEST(Glob, MatchesWholeNamesOnly) {
  EXPECT_TRUE(glob_matches("*", ""));
  EXPECT_TRUE(glob_matches("*.backward.*", "selective_scan.mamba.f32.backward.cpu"));
  EXPECT_TRUE(glob_matches("selective_scan.*.f32.*.c[pu][pu]", "selective_scan.mamba.f32.backward.cpu"));
  EXPECT_TRUE(glob_matches("s*a*b*d.cp?", "selective_scan.mamba.f32.backward.cpu"));
  EXPECT_FALSE(glob_matches("backward", "selective_scan.mamba.f32.backward.cpu"));
  EXPECT_FALSE(glob_matches("*.backward", "selective_scan.mamba.f32.backward.cpu"));
  EXPECT_FALSE(glob_matches("*.cp?", "selective_scan.mamba.f32.backward.cp"));
  EXPECT_FALSE(glob_matches("", "a"));
  EXPECT_TRUE(glob_matches("*", ""));
  EXPECT_TRUE(glob_matches("*.[ab]*c", "x.bbc"));
  EXPECT_TRUE(glob_matches("a[b", "a[b"));
  // Without going through every way in which the stars could share the name.
  EXPECT_FALSE(glob_matches("**a*a*a*a*a*a*a*a*a*a*a*a*b", std::string(200, 'a')));
}

TEST(Variants, AreThoseOfTheLibraryOnceEach) {
  std::set<std::string> names;
  for (const Variant& variant : variants()) EXPECT_TRUE(names.insert(variant.name()).second) << variant.name();
  EXPECT_TRUE(names.contains(kVariant));
  EXPECT_TRUE(has_variant(variants(), small()));
  std::vector<Variant> fewer = variants();
  for (Variant& variant : fewer) variant.options = 0;
  EXPECT_FALSE(has_variant(fewer, small())) << "it has B and C";
}

TEST(Problem, TheImplementationPrintsParsesAndChangesNoInputs) {
  const Problem own = small();
  Problem other = own;
  other.implementation = "mine";
  EXPECT_EQ(to_string(other), to_string(own) + " implementation=mine");
  EXPECT_EQ(parse_problem(to_string(other)), other);
  EXPECT_EQ(parse_problem(to_string(own) + " implementation=lrnnx"), own);
  EXPECT_EQ(data_seed(other), data_seed(own));
  EXPECT_EQ(implementation_of(own), "lrnnx");
  EXPECT_EQ(without_implementation(other), own);
}

}  // namespace
}  // namespace lrnnx::bench::problem_test
