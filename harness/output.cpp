// Files written whole or not at all, tables, colour.
#include "harness/output.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "harness/error.h"

namespace lrnnx::bench {
namespace {

[[noreturn]] void fail(const std::string& path, int error) {
  throw SystemError(fmt::format("cannot write {}: {}", path, std::strerror(error)));
}

void write_all(int file, std::string_view text, const std::string& path) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(path, errno);
    text.remove_prefix(static_cast<size_t>(written));
  }
}

// Removes the half-written file unless it was renamed into place.
struct TemporaryFile {
  std::string path;
  int descriptor = -1;
  ~TemporaryFile() {
    if (descriptor >= 0) ::close(descriptor);
    if (!path.empty()) ::unlink(path.c_str());
  }
};

// Code points, so that a "µ" does not shift the columns after it.
size_t width(std::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

}  // namespace

void write_file(const std::string& path, std::string_view text) {
  if (path == "-") return write_stdout(text);
  struct stat status {};
  // A device or a pipe (/dev/full, /dev/stdout) cannot be renamed onto.
  if (::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode)) {
    TemporaryFile device{"", ::open(path.c_str(), O_WRONLY)};
    if (device.descriptor < 0) fail(path, errno);
    return write_all(device.descriptor, text, path);
  }
  TemporaryFile temporary{fmt::format("{}.{}.partial", path, ::getpid()), -1};
  temporary.descriptor = ::open(temporary.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (temporary.descriptor < 0) {
    const int error = errno;
    temporary.path.clear();
    fail(path, error);
  }
  write_all(temporary.descriptor, text, path);
  if (::fsync(temporary.descriptor) != 0) fail(path, errno);
  const int closed = ::close(temporary.descriptor);
  temporary.descriptor = -1;
  if (closed != 0) fail(path, errno);
  if (::rename(temporary.path.c_str(), path.c_str()) != 0) fail(path, errno);
  temporary.path.clear();
}

void write_stdout(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    fail("the standard output", errno);
  }
}

void write_outputs(std::vector<Output> outputs) {
  std::stable_partition(outputs.begin(), outputs.end(), [](const Output& output) { return output.path != "-"; });
  std::vector<std::string> failures;
  for (const Output& output : outputs) {
    try {
      write_file(output.path, output.text);
    } catch (const SystemError& error) {
      failures.emplace_back(error.what());
    }
  }
  if (!failures.empty()) throw SystemError(fmt::format("{}", fmt::join(failures, "\n")));
}

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

std::string colored(std::string_view text, Color color, std::FILE* stream) {
  const char* no_color = std::getenv("NO_COLOR");
  if ((no_color && *no_color) || !::isatty(::fileno(stream))) return std::string(text);
  return fmt::format("\x1b[{}m{}\x1b[0m", static_cast<int>(color), text);
}

}  // namespace lrnnx::bench
