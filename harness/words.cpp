// Lists taken apart and put together.
#include "harness/words.h"

#include <fmt/format.h>

namespace lrnnx::bench {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0;;) {
    const size_t end = text.find(separator, begin);
    parts.emplace_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

std::string join_or(const std::vector<std::string>& words) {
  if (words.empty()) return "nothing";
  if (words.size() == 1) return words[0];
  return fmt::format("{} or {}", fmt::join(words.begin(), words.end() - 1, ", "), words.back());
}

}  // namespace lrnnx::bench
