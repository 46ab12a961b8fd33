// The launch configurations of the CUDA kernels: the choice by problem and what a problem's own may say. No GPU needed.
#include "selective_scan/tuning.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace lrnnx::cuda::tuning_test {
namespace {

constexpr Device kH100 = {.multiprocessors = 132, .shared_bytes = 227 * 1024};
constexpr std::uint32_t kVariable = LRNNX_VARIABLE_B | LRNNX_VARIABLE_C;

std::vector<lrnnx_selective_scan_problem> problems() {
  std::vector<lrnnx_selective_scan_problem> all;
  for (const auto discretization : {LRNNX_MAMBA, LRNNX_ZOH, LRNNX_RGLRU}) {
    for (const auto dtype : {LRNNX_F32, LRNNX_C64, LRNNX_BF16}) {
      if (discretization == LRNNX_RGLRU && dtype == LRNNX_C64) continue;
      for (const std::uint32_t options : {kVariable, kVariable | LRNNX_HAS_DELTA_A, 0u}) {
        for (const std::int64_t seqlen : {1, 32, 197, 2048, 65536}) {
          for (const std::int64_t dstate : {2, 16, 17, 256}) {
            for (const std::int64_t dim : {1, 64, 2048}) {
              all.push_back({.discretization = discretization,
                             .dtype = dtype,
                             .backend = LRNNX_CUDA,
                             .options = options,
                             .batch = 8,
                             .dim = dim,
                             .seqlen = seqlen,
                             .dstate = dstate,
                             .groups = 1,
                             .configuration = nullptr});
            }
          }
        }
      }
    }
  }
  return all;
}

struct Key {
  std::string name;
  std::vector<std::int64_t> values;  // of a range its ends, and one between
};

std::vector<Key> keys_of(const lrnnx_selective_scan_problem& problem, lrnnx_direction direction) {
  std::vector<Key> keys;
  std::istringstream items(configuration_keys(problem, direction));
  for (std::string item; std::getline(items, item, ',');) {
    const std::size_t equals = item.find('=');
    Key key{item.substr(0, equals), {}};
    std::string values = item.substr(equals + 1);
    if (const std::size_t dots = values.find(".."); dots != std::string::npos) {
      const std::int64_t from = std::stoll(values), to = std::stoll(values.substr(dots + 2));
      for (const std::int64_t value : std::set{from, (from + to) / 2, to}) key.values.push_back(value);
    } else {
      std::istringstream numbers(values);
      for (std::string number; std::getline(numbers, number, '|');) key.values.push_back(std::stoll(number));
    }
    keys.push_back(key);
  }
  return keys;
}

// What is chosen for the problem if its own configuration is `text`; empty if that is refused.
std::string chosen(lrnnx_selective_scan_problem problem, lrnnx_direction direction, const std::string& text,
                   const Device& device = kH100) {
  problem.configuration = text.c_str();
  ForwardConfiguration forward{};
  BackwardConfiguration backward{};
  if (direction == LRNNX_FORWARD) return configure(problem, device, forward) == LRNNX_OK ? to_string(forward) : "";
  return configure(problem, device, backward) == LRNNX_OK ? to_string(backward) : "";
}

std::string describe(const lrnnx_selective_scan_problem& p) {
  std::ostringstream text;
  text << "discretization " << p.discretization << " dtype " << p.dtype << " options " << p.options << " dim " << p.dim
       << " seqlen " << p.seqlen << " dstate " << p.dstate;
  return text.str();
}

// Every combination of the keys' values.
std::vector<std::string> combinations(const std::vector<Key>& keys) {
  std::vector<std::string> texts = {""};
  for (const Key& key : keys) {
    std::vector<std::string> longer;
    for (const std::string& text : texts)
      for (const std::int64_t value : key.values)
        longer.push_back(text + (text.empty() ? "" : ",") + key.name + '=' + std::to_string(value));
    texts = longer;
  }
  return texts;
}

TEST(Tuning, AKeyIsTakenOnce) {
  const auto problem = problems().front();
  EXPECT_NE(chosen(problem, LRNNX_BACKWARD, "splits=1"), "");
  EXPECT_EQ(chosen(problem, LRNNX_BACKWARD, "splits=1,splits=1"), "");
}

// Kernels count the floats of a row in 32 bits.
TEST(Tuning, TheLongestRowOfComplexWeightsIsOneShorter) {
  auto problem = problems().front();
  for (const auto& [dtype, longest] :
       {std::pair(LRNNX_F32, int64_t{1} << 30), std::pair(LRNNX_C64, (int64_t{1} << 30) - 1)}) {
    problem.dtype = dtype;
    problem.seqlen = longest;
    EXPECT_NE(chosen(problem, LRNNX_FORWARD, ""), "") << dtype;
    problem.seqlen = longest + 1;
    EXPECT_EQ(chosen(problem, LRNNX_FORWARD, ""), "") << dtype;
  }
}

TEST(Tuning, EveryListedValueIsTakenAndNoOther) {
  for (const auto& problem : problems()) {
    for (const auto direction : {LRNNX_FORWARD, LRNNX_BACKWARD}) {
      const std::vector<Key> keys = keys_of(problem, direction);
      std::set<std::string> taken;
      for (const std::string& text : combinations(keys)) {
        if (chosen(problem, direction, text).empty()) continue;
        std::istringstream items(text);
        for (std::string item; std::getline(items, item, ',');) taken.insert(item);
      }
      for (const Key& key : keys) {
        for (const std::int64_t value : key.values)
          EXPECT_TRUE(taken.contains(key.name + '=' + std::to_string(value)))
              << describe(problem) << ": no kernel has " << key.name << '=' << value;
        for (const std::int64_t value : {0, 1, 2, 3, 4, 5, 8, 16, 32, 4097}) {
          if (std::ranges::find(key.values, value) != key.values.end()) continue;
          if (key.name == "splits" && value >= 1 && value <= key.values.back()) continue;
          const std::string item = key.name + '=' + std::to_string(value);
          EXPECT_EQ(chosen(problem, direction, item), "") << describe(problem) << ": " << item << " is not listed";
        }
      }
    }
  }
}

TEST(Tuning, TheChoiceTakenAsTheProblemsOwnIsTheSame) {
  for (const auto& problem : problems()) {
    for (const auto direction : {LRNNX_FORWARD, LRNNX_BACKWARD}) {
      const std::string choice = chosen(problem, direction, "");
      ASSERT_NE(choice, "") << describe(problem);
      EXPECT_EQ(chosen(problem, direction, choice), choice) << describe(problem);
    }
  }
}

TEST(Tuning, WhatIsLeftOpenFollowsFromTheRest) {
  lrnnx_selective_scan_problem problem = problems().front();
  problem.dim = problem.seqlen = 2048;
  EXPECT_EQ(chosen(problem, LRNNX_BACKWARD, ""), "channels=2,warps=8,splits=1");
  EXPECT_EQ(chosen(problem, LRNNX_BACKWARD, "warps=16"), "channels=1,warps=16,splits=1");
  EXPECT_EQ(chosen(problem, LRNNX_BACKWARD, "channels=1"), "channels=1,warps=16,splits=1");
  EXPECT_EQ(chosen(problem, LRNNX_BACKWARD, "channels=1,warps=8"), "channels=1,warps=8,splits=1");
  EXPECT_EQ(chosen(problem, LRNNX_FORWARD, "lanes=8"), "lanes=8,channels=2,warps=8,stages=2,splits=1");
  EXPECT_EQ(chosen(problem, LRNNX_FORWARD, "channels=2"), "lanes=8,channels=2,warps=8,stages=2,splits=1");
  EXPECT_EQ(chosen(problem, LRNNX_FORWARD, "lanes=16"), "lanes=16,channels=1,warps=8,stages=2,splits=1");
  EXPECT_EQ(chosen(problem, LRNNX_FORWARD, "channels=1"), "lanes=16,channels=1,warps=8,stages=2,splits=1");
}

TEST(Tuning, ALaneTakesOneChannelWhereBlocksOfTwoWouldLeaveMultiprocessorsIdle) {
  lrnnx_selective_scan_problem problem = problems().front();
  problem.dim = 256, problem.seqlen = 1024, problem.dstate = 16;  // 4 blocks of 64 channels in a batch
  const auto choice = [&](lrnnx_discretization discretization, int64_t batch) {
    problem.discretization = discretization, problem.batch = batch;
    return chosen(problem, LRNNX_BACKWARD, "");
  };
  const std::string one = "channels=1,warps=8,splits=1", one_of_16 = "channels=1,warps=16,splits=1",
                    two = "channels=2,warps=8,splits=1";
  EXPECT_EQ(choice(LRNNX_MAMBA, 16), one);
  EXPECT_EQ(choice(LRNNX_MAMBA, 33), one_of_16) << "as many channels as two a lane of eight warps";
  EXPECT_EQ(choice(LRNNX_MAMBA, 34), one) << "four multiprocessors have a second block";
  EXPECT_EQ(choice(LRNNX_MAMBA, 49), one);
  EXPECT_EQ(choice(LRNNX_MAMBA, 50), two) << "more than half of them have one";
  EXPECT_EQ(choice(LRNNX_MAMBA, 67), one) << "four have a third";
  EXPECT_EQ(choice(LRNNX_MAMBA, 100), two) << "four have a fourth, which takes a small part of the time";
  EXPECT_EQ(choice(LRNNX_ZOH, 16), one);
  EXPECT_EQ(choice(LRNNX_ZOH, 17), two) << "more than half of the multiprocessors have a block";
  EXPECT_EQ(choice(LRNNX_BILINEAR, 33), two);
  EXPECT_EQ(choice(LRNNX_BILINEAR, 34), one);
  EXPECT_EQ(choice(LRNNX_RGLRU, 34), one);
  EXPECT_EQ(choice(LRNNX_RGLRU, 50), one_of_16) << "never two";
  problem.dim = 64;
  EXPECT_EQ(choice(LRNNX_MAMBA, 136), two) << "a block for each batch writes dB and dC itself";
}

TEST(Tuning, TheForwardSplitsTimeWhereChannelsAreFew) {
  lrnnx_selective_scan_problem problem = problems().front();
  problem.batch = 1, problem.dstate = 16;
  const auto choice = [&](int64_t dim, int64_t seqlen, const char* text = "") {
    problem.dim = dim, problem.seqlen = seqlen;
    return chosen(problem, LRNNX_FORWARD, text);
  };
  EXPECT_EQ(choice(256, 65536), "lanes=8,channels=2,warps=8,stages=2,splits=64");
  EXPECT_EQ(choice(256, 4096), "lanes=8,channels=2,warps=4,stages=3,splits=32");
  EXPECT_EQ(choice(64, 4096), "lanes=16,channels=1,warps=4,stages=4,splits=64") << "of two tiles, once around";
  EXPECT_EQ(choice(64, 512), "lanes=16,channels=1,warps=4,stages=4,splits=8");
  EXPECT_EQ(choice(256, 992), "lanes=16,channels=1,warps=4,stages=4,splits=1") << "too few steps for so many channels";
  EXPECT_EQ(choice(1024, 2048), "lanes=16,channels=1,warps=4,stages=4,splits=1") << "too many channels for them";
  EXPECT_EQ(choice(1024, 8192), "lanes=8,channels=2,warps=8,stages=2,splits=16");
  EXPECT_EQ(choice(2048, 65536), "lanes=16,channels=1,warps=8,stages=4,splits=1");
  EXPECT_EQ(choice(256, 65536, "splits=1"), "lanes=16,channels=1,warps=4,stages=4,splits=1")
      << "the rest is what it would be";
  EXPECT_EQ(choice(256, 320, "splits=4"), "lanes=16,channels=1,warps=4,stages=4,splits=3") << "of four tiles each";
  EXPECT_EQ(choice(256, 320, "splits=6"), "") << "tiles go in pairs";
}

TEST(Tuning, TheBackwardSplitsTimeWhereChannelsAreFew) {
  lrnnx_selective_scan_problem problem = problems().front();
  problem.batch = 1, problem.dstate = 16;
  const auto choice = [&](int64_t dim, int64_t seqlen, const char* text = "") {
    problem.dim = dim, problem.seqlen = seqlen;
    return chosen(problem, LRNNX_BACKWARD, text);
  };
  EXPECT_EQ(choice(64, 1024), "channels=1,warps=8,splits=32") << "of one tile";
  EXPECT_EQ(choice(256, 1024), "channels=1,warps=8,splits=16") << "once around the multiprocessors";
  EXPECT_EQ(choice(256, 4096), "channels=2,warps=8,splits=32");
  EXPECT_EQ(choice(1024, 2048), "channels=2,warps=8,splits=16") << "of four tiles, twice around";
  EXPECT_EQ(choice(2048, 1024), "channels=2,warps=8,splits=8");
  EXPECT_EQ(choice(2048, 65536), "channels=2,warps=8,splits=16");
  EXPECT_EQ(choice(4096, 1024), "channels=1,warps=8,splits=1") << "many channels, few tiles";
  EXPECT_EQ(choice(256, 96), "channels=1,warps=8,splits=1") << "too few";
  EXPECT_EQ(choice(256, 4095), "channels=2,warps=8,splits=33") << "of four tiles too, the last of one";
  EXPECT_EQ(choice(3072, 5792), "channels=2,warps=8,splits=5") << "six would be a few blocks more than have room";
  EXPECT_EQ(choice(1024, 4095), "channels=2,warps=8,splits=17") << "of which the last has one tile of eight";
  EXPECT_EQ(choice(16, 4096, "splits=128"), choice(16, 4096));
  EXPECT_EQ(choice(256, 4096, "splits=1"), "channels=1,warps=8,splits=1") << "the rest is what it would be";
  EXPECT_EQ(choice(256, 4096, "splits=16"), "channels=1,warps=8,splits=16") << "too few for two channels";
  EXPECT_EQ(choice(256, 4096, "channels=1"), "channels=1,warps=8,splits=32");
  problem.dtype = LRNNX_C64;
  EXPECT_EQ(choice(1024, 2048), "channels=1,warps=8,splits=8");
  problem.dtype = LRNNX_F32, problem.dstate = 32;
  EXPECT_EQ(choice(1024, 2048), "channels=1,warps=4,splits=6") << "three blocks a multiprocessor";
}

TEST(Tuning, TheBackwardIsNotSplitWhereABlockCannotHoldAllStates) {
  lrnnx_selective_scan_problem problem = problems().front();
  problem.batch = 1, problem.dim = 256, problem.seqlen = 4096, problem.dtype = LRNNX_C64;
  const auto splits = [&](int64_t dstate, std::int64_t shared_bytes) {
    problem.dstate = dstate;
    const std::string text =
        chosen(problem, LRNNX_BACKWARD, "", {.multiprocessors = 132, .shared_bytes = shared_bytes});
    return text.substr(text.rfind('=') + 1);
  };
  EXPECT_EQ(splits(256, 227 * 1024), "22");
  EXPECT_EQ(splits(256, 163 * 1024), "1");
  EXPECT_EQ(splits(192, 163 * 1024), "22");
  EXPECT_EQ(splits(192, 99 * 1024), "1");
  EXPECT_EQ(splits(16, 99 * 1024), splits(16, 227 * 1024));
}

TEST(Tuning, TheForwardsBlocksFillTheMultiprocessors) {
  lrnnx_selective_scan_problem problem = problems().front();
  problem.batch = 1, problem.dstate = 16, problem.seqlen = 512;
  const auto choice = [&](int64_t dim) {
    problem.dim = dim;
    return chosen(problem, LRNNX_FORWARD, "");
  };
  const std::string narrow4 = "lanes=16,channels=1,warps=4,stages=4,splits=1",
                    narrow8 = "lanes=16,channels=1,warps=8,stages=4,splits=1";
  EXPECT_EQ(choice(1024), narrow4);
  EXPECT_EQ(choice(2048), narrow8) << "nearly a round of them";
  EXPECT_EQ(choice(3072), narrow4) << "nearly a round, three a multiprocessor";
  EXPECT_EQ(choice(4096), narrow8) << "nearly two rounds, and of four warps little more than one";
  EXPECT_EQ(choice(5120), narrow4);
  EXPECT_EQ(choice(8192), "lanes=8,channels=2,warps=4,stages=3,splits=1");
  EXPECT_EQ(choice(16384), "lanes=8,channels=2,warps=8,stages=2,splits=1");
  problem.discretization = LRNNX_ZOH;
  EXPECT_EQ(choice(4096), narrow4);
  problem.dtype = LRNNX_C64;
  EXPECT_EQ(choice(2048), narrow4);
  EXPECT_EQ(choice(4096), "lanes=8,channels=1,warps=4,stages=3,splits=1");
}

TEST(Tuning, BlocksTakeChannelsWhoseRowsBeginAlikeWhereTheyAreFilled) {
  lrnnx_selective_scan_problem problem = problems().front();
  const auto phase = [&](int64_t dim, int64_t seqlen, int64_t groups = 1) {
    problem.dim = dim, problem.seqlen = seqlen, problem.groups = groups;
    const RowPhase phase = row_phase(problem);
    return std::pair(phase.channel_step, phase.unit);
  };
  using Phase = std::pair<int32_t, int32_t>;
  EXPECT_EQ(phase(2048, 2047), Phase(16, 16));
  EXPECT_EQ(phase(2048, 2046), Phase(8, 16));
  EXPECT_EQ(phase(2048, 2045), Phase(16, 16));
  EXPECT_EQ(phase(2048, 2065), Phase(8, 8)) << "a longer lead would take another tile";
  EXPECT_EQ(phase(2048, 2044), Phase(1, 1)) << "quads are aligned as they are";
  EXPECT_EQ(phase(768, 197), Phase(4, 4)) << "three times 64 channels of each kind, but 96 of eight kinds";
  EXPECT_EQ(phase(192, 197), Phase(4, 4)) << "three quarters of a block";
  EXPECT_EQ(phase(128, 197), Phase(1, 1)) << "half of one";
  EXPECT_EQ(phase(2047, 2047), Phase(1, 1));
  EXPECT_EQ(phase(2048, 2047, 2), Phase(16, 16));
  EXPECT_EQ(phase(2048, 2047, 16), Phase(1, 1));
  // Rows of one kind begin at multiples of the unit, and tiles hold the longest lead and whole quads of the row.
  for (const int64_t seqlen : {1, 2, 3, 66, 197, 2047}) {
    const auto [step, unit] = phase(2048, seqlen);
    EXPECT_EQ(step * seqlen % unit, 0) << seqlen;
    int64_t whole_quads = seqlen;
    while (whole_quads % 4 != 0) ++whole_quads;
    for (int64_t channel = 0; channel < step; ++channel)
      EXPECT_GE(row_phase(problem).steps(seqlen), channel * seqlen % unit + whole_quads) << seqlen;
  }
  problem.dtype = LRNNX_C64;
  EXPECT_EQ(phase(2048, 2047), Phase(1, 1));
}

TEST(Tuning, ARefusalSaysWhatIsAllowedAndWhy) {
  lrnnx_selective_scan_problem problem = problems().front();
  problem.seqlen = 197;
  const auto refusal = [&](lrnnx_direction direction, const char* text) {
    EXPECT_EQ(chosen(problem, direction, text), "");
    return std::string(lrnnx_last_error());
  };
  EXPECT_EQ(
      refusal(LRNNX_FORWARD, "stages=3"),
      "configuration: \"stages=3\" is not allowed; stages takes 2 for a seqlen that is no multiple of 4, with complex "
      "weights or few channels a group");
  EXPECT_EQ(refusal(LRNNX_BACKWARD, "splits=8"),
            "configuration: \"splits=8\" is not allowed; splits takes 1 to 7 for this seqlen");
  EXPECT_NE(refusal(LRNNX_FORWARD, "lanes=16,channels=2").find("lanes=16,channels=1"), std::string::npos);
  problem.dstate = 17;
  EXPECT_EQ(refusal(LRNNX_FORWARD, "lanes=16"),
            "configuration: \"lanes=16\" is not allowed; lanes takes 8 for dstate > 16, fixed B or C, or deltaA");
  EXPECT_EQ(refusal(LRNNX_BACKWARD, "warps=8"),
            "configuration: \"warps=8\" is not allowed; warps takes 4 for dstate > 16, fixed B or C, or deltaA");
  problem.dstate = 16;
  problem.dtype = LRNNX_C64;
  EXPECT_EQ(refusal(LRNNX_BACKWARD, "channels=2"),
            "configuration: \"channels=2\" is not allowed; channels takes 1 for complex weights");
}

}  // namespace
}  // namespace lrnnx::cuda::tuning_test
