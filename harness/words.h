// Lists in a text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lrnnx::bench {

// What stands between the separators: one more than there are of these.
std::vector<std::string> split(std::string_view text, char separator);

// `a, b or c`, for messages that list what is allowed.
std::string join_or(const std::vector<std::string>& words);

}  // namespace lrnnx::bench
