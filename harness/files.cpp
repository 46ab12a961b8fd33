// Reading, and writing under another name first.
#include "harness/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "harness/error.h"
#include "harness/output.h"

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

bool is_stdout(const std::string& path) {
  return path == "-" || path == "/dev/stdout" || path == "/dev/fd/1" || path == "/proc/self/fd/1";
}

bool is_device_or_pipe(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode);
}

// What a chain of symbolic links leads to: renaming onto a link would replace the link.
std::string without_links(const std::string& path) {
  std::error_code none;
  const std::filesystem::path target = std::filesystem::canonical(path, none);
  return none ? path : target.string();
}

}  // namespace

std::string read_file(const std::string& path) {
  if (std::filesystem::is_directory(path)) throw SystemError(fmt::format("cannot read {}: it is a directory", path));
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad()) throw SystemError(fmt::format("cannot read {}", path));
  return text;
}

void write_file(const std::string& path, std::string_view text) {
  if (is_stdout(path)) return write_stdout(text);
  // Cannot be renamed onto.
  if (is_device_or_pipe(path)) {
    TemporaryFile device{"", ::open(path.c_str(), O_WRONLY)};
    if (device.descriptor < 0) fail(path, errno);
    return write_all(device.descriptor, text, path);
  }
  const std::string target = without_links(path);
  TemporaryFile temporary{fmt::format("{}.{}.partial", target, ::getpid()), -1};
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
  if (::rename(temporary.path.c_str(), target.c_str()) != 0) fail(path, errno);
  temporary.path.clear();
}

bool is_place_for_file(const std::string& path) {
  return !path.empty() && !is_stdout(path) && !is_device_or_pipe(path);
}

void require_places(const std::vector<std::string>& paths, const std::vector<std::string>& inputs) {
  const auto place_of = [](const std::string& path) {
    std::error_code none;
    return std::filesystem::weakly_canonical(std::filesystem::absolute(path, none), none).string();
  };
  std::set<std::string> seen, read;
  for (const std::string& path : inputs)
    if (!path.empty()) read.insert(place_of(path));
  for (const std::string& path : paths) {
    if (std::filesystem::is_directory(path)) throw SystemError(fmt::format("cannot write {}: it is a directory", path));
    if (is_stdout(path) && !seen.insert("-").second)
      throw UsageError("two outputs would be written to the standard output");
    if (!is_place_for_file(path)) continue;
    const std::filesystem::path parent = std::filesystem::path(path).parent_path();
    if (!parent.empty() && !std::filesystem::is_directory(parent))
      throw SystemError(fmt::format("cannot write {}: {} is not a directory", path, parent.string()));
    if (::access(parent.empty() ? "." : parent.c_str(), W_OK) != 0)
      throw SystemError(fmt::format("cannot write {}: {}", path, std::strerror(errno)));
    const std::string place = place_of(path);
    if (!seen.insert(place).second) throw UsageError(fmt::format("two outputs would be written to {}", path));
    if (read.contains(place)) throw UsageError(fmt::format("{} would be written over, which is read", path));
  }
}

void write_outputs(std::vector<Output> outputs) {
  std::stable_partition(outputs.begin(), outputs.end(), [](const Output& output) { return !is_stdout(output.path); });
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

}  // namespace lrnnx::bench
