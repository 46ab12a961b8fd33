// Reads a library's table of variants, and matches globs.
#include "harness/variants.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>

#include "harness/error.h"

namespace lrnnx::bench {

std::string Variant::operation() const { return family + '.' + discretization + '.' + dtype + '.' + direction; }

std::string Variant::name() const { return operation() + '.' + backend; }

namespace {

// A library that was loaded may hand out anything.
constexpr int64_t kMostVariants = 100'000;
constexpr size_t kLongestWord = 64;

std::string word_of(const char* text, const char* field, int64_t index) {
  const auto refuse = [&](const std::string& what) {
    throw SystemError(fmt::format("lrnnx_variant_at({}): {} is {}", index, field, what));
  };
  if (!text) refuse("null");
  const std::string word(text, strnlen(text, kLongestWord + 1));
  const auto is_plain = [](unsigned char c) { return std::isalnum(c) || c == '_'; };
  if (word.empty() || word.size() > kLongestWord || !std::ranges::all_of(word, is_plain))
    refuse(fmt::format("no word of letters, digits and _ with at most {} of them", kLongestWord));
  return word;
}

}  // namespace

std::vector<Variant> variants_of(const Library& library) {
  const int64_t count = library.variant_count();
  if (count < 0 || count > kMostVariants)
    throw SystemError(fmt::format("lrnnx_variant_count: {}; expected 0 to {}", count, kMostVariants));
  std::vector<Variant> rows;
  for (int64_t i = 0; i < count; ++i) {
    lrnnx_variant row{};
    library.require_ok(library.variant_at(i, &row), "lrnnx_variant_at");
    rows.push_back({word_of(row.family, "family", i), word_of(row.discretization, "discretization", i),
                    word_of(row.dtype, "dtype", i), word_of(row.direction, "direction", i),
                    word_of(row.backend, "backend", i), row.options});
  }
  return rows;
}

const std::vector<Variant>& variants() {
  static const std::vector<Variant> table = variants_of(linked_library());
  return table;
}

bool has_variant(const std::vector<Variant>& variants, const Problem& problem) {
  uint32_t options = 0;
  for (const OptionName& option : option_names())
    if (problem.options.*option.value) options |= option.bit;
  const std::string name = variant_name(problem);
  return std::ranges::any_of(variants,
                             [&](const Variant& v) { return (options & ~v.options) == 0 && v.name() == name; });
}

bool glob_matches(std::string_view pattern, std::string_view name) {
  // Where to go on if what follows the last * does not match: with one character more for that *.
  size_t p = 0, n = 0, star = pattern.npos, taken = 0;
  while (n < name.size()) {
    size_t length = 0;  // of what in the pattern matches name[n]; 0: nothing does
    if (p < pattern.size() && pattern[p] != '*') {
      const size_t close = pattern[p] == '[' ? pattern.find(']', p + 1) : pattern.npos;
      if (close != pattern.npos)
        length = pattern.substr(p + 1, close - p - 1).find(name[n]) != pattern.npos ? close + 1 - p : 0;
      else
        length = pattern[p] == '?' || pattern[p] == name[n];
    }
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      taken = n;
    } else if (length > 0) {
      p += length;
      ++n;
    } else if (star != pattern.npos) {
      p = star + 1;
      n = ++taken;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == pattern.npos;
}

}  // namespace lrnnx::bench
