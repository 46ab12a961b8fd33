// The standard streams, tables, colour.
#include "harness/output.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "harness/error.h"

namespace lrnnx::bench {
namespace {

// Code points, so that a "µ" does not shift the columns after it.
size_t width(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

void write_stdout(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    throw SystemError(fmt::format("cannot write the standard output: {}", std::strerror(errno)));
  }
}

void write_stderr(std::string_view text) { std::fwrite(text.data(), 1, text.size(), stderr); }

std::string live_line(const std::string& text) { return "\r\x1b[K\x1b[?7l" + text + "\x1b[?7h"; }

std::string format_table(const std::vector<Column>& columns, const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (size_t c = 0; c < columns.size(); ++c) {
    size_t widest = width(columns[c].heading);
    for (const auto& row : rows) widest = std::max(widest, width(row.at(c)));
    widths.push_back(widest);
  }
  std::string text;
  const auto add_line = [&](const auto& cell) {
    std::string line;
    for (size_t c = 0; c < columns.size(); ++c) {
      const std::string& value = cell(c);
      const std::string padding(widths[c] - width(value), ' ');
      if (c) line += "  ";
      line += columns[c].right ? padding + value : value + padding;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    text += line + '\n';
  };
  add_line([&](size_t c) -> const std::string& { return columns[c].heading; });
  for (const auto& row : rows) {
    add_line([&](size_t c) -> const std::string& { return row.at(c); });
  }
  return text;
}

std::string format_markdown(const std::vector<Column>& columns, const std::vector<std::vector<std::string>>& rows) {
  std::string text, rule;
  const auto add_cell = [&text](const std::string& value) {
    text += "| ";
    for (const char c : value) text += c == '|' ? std::string("\\|") : std::string(1, c);
    text += ' ';
  };
  for (const Column& column : columns) {
    add_cell(column.heading);
    rule += column.right ? "|---:" : "|---";
  }
  text += "|\n" + rule + "|\n";
  for (const auto& row : rows) {
    for (const std::string& value : row) add_cell(value);
    text += "|\n";
  }
  return text;
}

std::string colored(std::string_view text, Color color, std::FILE* stream) {
  const char* no_color = std::getenv("NO_COLOR");
  if ((no_color && *no_color) || !::isatty(::fileno(stream))) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", static_cast<int>(color), text);
}

}  // namespace lrnnx::bench
