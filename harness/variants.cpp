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
                    word_of(row.backend, "backend", i)});
  }
  return rows;
}

const std::vector<Variant>& variants() {
  static const std::vector<Variant> table = variants_of(linked_library());
  return table;
}

bool has_variant(const Problem& problem, const Library& library) {
  const std::vector<Variant> table = &library == &linked_library() ? variants() : variants_of(library);
  const std::string name = variant_name(problem);
  return std::any_of(table.begin(), table.end(), [&](const Variant& v) { return v.name() == name; });
}

bool glob_matches(std::string_view pattern, std::string_view name) {
  while (!pattern.empty()) {
    const char p = pattern.front();
    if (p == '*') {
      pattern.remove_prefix(1);
      for (size_t skip = 0; skip <= name.size(); ++skip) {
        if (glob_matches(pattern, name.substr(skip))) return true;
      }
      return false;
    }
    if (name.empty()) return false;
    size_t length = 1;
    bool matches = p == '?' || p == name.front();
    if (const size_t close = pattern.find(']', 1); p == '[' && close != std::string_view::npos) {
      matches = pattern.substr(1, close - 1).find(name.front()) != std::string_view::npos;
      length = close + 1;
    }
    if (!matches) return false;
    pattern.remove_prefix(length);
    name.remove_prefix(1);
  }
  return name.empty();
}

}  // namespace lrnnx::bench
