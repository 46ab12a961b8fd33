// Pairwise coverings: every possible pair is in a row, no row is impossible, and there are few.
#include "harness/covering.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <tuple>

namespace lrnnx::bench::covering_test {
namespace {

bool anything(const Choice&) { return true; }

std::set<std::tuple<size_t, int, size_t, int>> pairs_of(const std::vector<Choice>& rows) {
  std::set<std::tuple<size_t, int, size_t, int>> pairs;
  for (const Choice& row : rows) {
    for (size_t a = 0; a < row.size(); ++a) {
      for (size_t b = a + 1; b < row.size(); ++b) pairs.insert({a, row[a], b, row[b]});
    }
  }
  return pairs;
}

TEST(CoverPairs, EveryPairIsInSomeRow) {
  const std::vector<int> sizes = {10, 7, 4, 3, 2, 2, 2, 2, 2, 2};
  const auto rows = cover_pairs(sizes, anything);
  size_t expected = 0;
  for (size_t a = 0; a < sizes.size(); ++a) {
    for (size_t b = a + 1; b < sizes.size(); ++b) expected += static_cast<size_t>(sizes[a] * sizes[b]);
  }
  EXPECT_EQ(pairs_of(rows).size(), expected);
}

TEST(CoverPairs, NeedsHardlyMoreRowsThanItsTwoLargestAxes) {
  EXPECT_LE(cover_pairs({10, 7, 4, 3, 2, 2, 2, 2, 2, 2}, anything).size(), 80u);
  EXPECT_LE(cover_pairs(std::vector<int>(20, 2), anything).size(), 14u);
}

TEST(CoverPairs, NoRowIsImpossibleAndEveryPossiblePairIsThere) {
  // Value 0 of axis 0 does not go with value 1 of axis 1.
  const auto possible = [](const Choice& choice) { return !(choice[0] == 0 && choice[1] == 1); };
  const auto rows = cover_pairs({3, 3, 3}, possible);
  for (const Choice& row : rows) {
    EXPECT_TRUE(possible(row));
    EXPECT_TRUE(std::none_of(row.begin(), row.end(), [](int value) { return value == kAnyValue; }));
  }
  EXPECT_EQ(pairs_of(rows).size(), 26u);
}

TEST(CoverPairs, IsTheSameEveryTime) {
  EXPECT_EQ(cover_pairs({5, 4, 3, 2}, anything), cover_pairs({5, 4, 3, 2}, anything));
}

TEST(CoverPairs, OneAxisHasNoPairs) { EXPECT_TRUE(cover_pairs({5}, anything).empty()); }

}  // namespace
}  // namespace lrnnx::bench::covering_test
