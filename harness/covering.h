// Few rows that still try every pair: where two settings are wrong only together, some row has both.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace lrnnx::bench {

// One chosen value an axis; kAnyValue where none is chosen yet.
using Choice = std::vector<int>;
inline constexpr int kAnyValue = -1;

// Rows such that of any two axes every two values that can go together do so in at least one row. `sizes` counts the
// values of each axis; `possible` says whether what is chosen so far may be part of a row. Greedy (after Cohen, Dalal,
// Fredman and Patton 1997, "The AETG system"), and the same for the same arguments.
std::vector<Choice> cover_pairs(const std::vector<int>& sizes, const std::function<bool(const Choice&)>& possible);

}  // namespace lrnnx::bench
