// What the program says: on its two streams, in tables, and in colour where a terminal wants it.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace lrnnx::bench {

// Writes to the standard output and flushes. Throws SystemError if it cannot be written.
void write_stdout(std::string_view text);

// Writes to the standard error. Where nobody reads that any more, or the disk behind it is full, the work goes on.
void write_stderr(std::string_view text);

// A line on a terminal in the place of the one before; cut where the terminal ends, for what has wrapped around cannot
// be taken back.
std::string live_line(const std::string& text);

// Columns as wide as their widest cell, two spaces apart; numbers are right-aligned by `right`.
struct Column {
  std::string heading;
  bool right = false;
};
std::string format_table(const std::vector<Column>& columns, const std::vector<std::vector<std::string>>& rows);

// The same as a table of GitHub's Markdown.
std::string format_markdown(const std::vector<Column>& columns, const std::vector<std::vector<std::string>>& rows);

// `text` in the colour if `stream` is a terminal and NO_COLOR is unset or empty.
enum class Color { red = 31, green = 32, yellow = 33 };
std::string colored(std::string_view text, Color color, std::FILE* stream = stdout);

}  // namespace lrnnx::bench
