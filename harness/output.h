// Where text goes: files that appear whole or not at all, tables, and colour where a terminal wants it.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace lrnnx::bench {

// Writes beside `path` and renames. Throws SystemError naming the file and the reason; then `path` is untouched.
// "-" is the standard output.
void write_file(const std::string& path, std::string_view text);

// Writes to the standard output and flushes. Throws SystemError if it cannot be written.
void write_stdout(std::string_view text);

// What goes where; the path as write_file takes it.
struct Output {
  std::string path, text;
};

// The files first: whoever reads the standard output may go away, and the signal that then comes ends the program.
// Tries all, then throws SystemError with every failure.
void write_outputs(std::vector<Output> outputs);

// Columns as wide as their widest cell, two spaces apart; numbers are right-aligned by `right`.
struct Column {
  std::string heading;
  bool right = false;
};
std::string format_table(const std::vector<Column>& columns, const std::vector<std::vector<std::string>>& rows);

// `text` in the colour if `stream` is a terminal and NO_COLOR is unset or empty.
enum class Color { red = 31, green = 32, yellow = 33 };
std::string colored(std::string_view text, Color color, std::FILE* stream = stdout);

}  // namespace lrnnx::bench
