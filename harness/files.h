// Files that are read whole, and that appear whole or not at all.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lrnnx::bench {

// Throws SystemError naming the file.
std::string read_file(const std::string& path);

// Writes beside `path` and renames; symbolic links are followed. Throws SystemError naming the file and the reason;
// then `path` is untouched. "-" and /dev/stdout are the standard output.
void write_file(const std::string& path, std::string_view text);

// Whether a file that is written there stays there: neither the standard output nor a device or a pipe.
bool is_place_for_file(const std::string& path);

// Before hours of work whose results go there. Throws SystemError unless the folder of each is there ("-" and "" need
// none), or if it is one itself; UsageError if two are the same, or one is an input, which stays as it is.
void require_places(const std::vector<std::string>& paths, const std::vector<std::string>& inputs = {});

// What goes where; the path as write_file takes it.
struct Output {
  std::string path, text;
};

// The files first: whoever reads the standard output may go away, and the signal that then comes ends the program.
// Tries all, then throws SystemError with every failure.
void write_outputs(std::vector<Output> outputs);

}  // namespace lrnnx::bench
