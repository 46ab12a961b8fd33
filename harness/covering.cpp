// The greedy construction of pairwise coverings.
#include "harness/covering.h"

#include <algorithm>
#include <numeric>
#include <optional>

#include "harness/fill_element.h"

namespace lrnnx::bench {
namespace {

struct ValuePair {
  int axis, value, other_axis, other_value;  // axis < other_axis
};

class Covering {
 public:
  Covering(const std::vector<int>& sizes, const std::function<bool(const Choice&)>& possible)
      : sizes_(sizes), possible_(possible), first_value_(sizes.size() + 1) {
    std::partial_sum(sizes.begin(), sizes.end(), first_value_.begin() + 1);
    covered_.resize(values() * values());
  }

  std::vector<Choice> run() {
    std::vector<Choice> rows;
    for (const ValuePair& pair : pairs()) {
      if (is_covered(pair.axis, pair.value, pair.other_axis, pair.other_value)) continue;
      if (const std::optional<Choice> row = best_row(pair)) {
        mark(*row);
        rows.push_back(*row);
      }
    }
    return rows;
  }

 private:
  size_t values() const { return static_cast<size_t>(first_value_.back()); }
  int axes() const { return static_cast<int>(sizes_.size()); }

  // Those of the largest axes first: their rows are needed anyway, and have room for the others.
  std::vector<ValuePair> pairs() const {
    std::vector<ValuePair> list;
    for (int a = 0; a < axes(); ++a) {
      for (int b = a + 1; b < axes(); ++b) {
        for (int i = 0; i < sizes_[a]; ++i) {
          for (int j = 0; j < sizes_[b]; ++j) list.push_back({a, i, b, j});
        }
      }
    }
    std::stable_sort(list.begin(), list.end(), [this](const ValuePair& x, const ValuePair& y) {
      return sizes_[x.axis] * sizes_[x.other_axis] > sizes_[y.axis] * sizes_[y.other_axis];
    });
    return list;
  }

  size_t slot(int axis, int value, int other_axis, int other_value) const {
    return static_cast<size_t>(first_value_[axis] + value) * values() +
           static_cast<size_t>(first_value_[other_axis] + other_value);
  }
  bool is_covered(int axis, int value, int other_axis, int other_value) const {
    return covered_[slot(axis, value, other_axis, other_value)];
  }

  void mark(const Choice& row) {
    for (int a = 0; a < axes(); ++a) {
      for (int b = 0; b < axes(); ++b) covered_[slot(a, row[a], b, row[b])] = true;
    }
  }

  // Pairs of this value with what is chosen that no row has yet.
  int gain(const Choice& choice, int axis, int value) const {
    int count = 0;
    for (int other = 0; other < axes(); ++other)
      count += other != axis && choice[other] != kAnyValue && !is_covered(axis, value, other, choice[other]);
    return count;
  }

  std::optional<Choice> best_row(const ValuePair& pair) {
    constexpr int kAttempts = 6;
    std::optional<Choice> best;
    int most = -1;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      Choice choice(sizes_.size(), kAnyValue);
      choice[pair.axis] = pair.value;
      choice[pair.other_axis] = pair.other_value;
      if (!possible_(choice)) return std::nullopt;
      const int gained = complete(choice);
      if (gained > most) most = gained, best = choice;
    }
    return best;
  }

  // Chooses the other axes in random order. Returns how many pairs that covers; -1 if it ran into a dead end.
  int complete(Choice& choice) {
    std::vector<int> order;
    for (int axis = 0; axis < axes(); ++axis) {
      if (choice[axis] == kAnyValue) order.push_back(axis);
    }
    for (size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random(i)]);
    int gained = 1;
    for (const int axis : order) {
      const int start = static_cast<int>(random(static_cast<uint64_t>(sizes_[axis])));
      int most = -1, chosen = kAnyValue;
      for (int k = 0; k < sizes_[axis]; ++k) {
        const int value = (start + k) % sizes_[axis];
        const int more = gain(choice, axis, value);
        if (more <= most) continue;
        choice[axis] = value;
        if (possible_(choice)) most = more, chosen = value;
      }
      choice[axis] = chosen;
      if (chosen == kAnyValue) return -1;
      gained += most;
    }
    return gained;
  }

  uint64_t random(uint64_t below) { return mix_bits(++state_) % below; }

  const std::vector<int>& sizes_;
  const std::function<bool(const Choice&)>& possible_;
  std::vector<int> first_value_;  // of each axis, when all values are numbered through
  std::vector<bool> covered_;
  uint64_t state_ = 0;
};

}  // namespace

std::vector<Choice> cover_pairs(const std::vector<int>& sizes, const std::function<bool(const Choice&)>& possible) {
  return Covering(sizes, possible).run();
}

}  // namespace lrnnx::bench
