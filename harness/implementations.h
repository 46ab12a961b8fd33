// What may compute a problem: the libraries that are linked in, and those that the user names with --library, which are
// loaded in a child process only.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "harness/library.h"
#include "harness/variants.h"

namespace CLI {
class App;
}

namespace lrnnx::bench {

// Default of --patience.
inline constexpr double kPatienceSeconds = 300;

struct LibraryFile {
  std::string name, path;
};

// "PATH" or "NAME=PATH"; without a name it is that of the file, less its extension. Throws UsageError unless there is
// such a file and the name is a word.
LibraryFile parse_library_file(const std::string& text);

// Opens the file in this process, for as long as it runs. Throws SystemError saying what it lacks: whatever its code
// may do besides, it does to this process.
const Library& load_library(const LibraryFile& file);

struct Implementation {
  std::string name;
  std::optional<LibraryFile> file;  // none: linked in
  std::vector<Variant> variants;
  std::string error;  // why it cannot be used, and has no variants
};

// Those linked in, then those of --library, each of which a child process has asked for its variants; it may be silent
// for so long. Throws UsageError if a text is none of parse_library_file() or two have the same name.
std::vector<Implementation> find_implementations(const std::vector<std::string>& libraries, double patience_seconds);

// Of that name. Throws UsageError listing the names.
const Implementation& find_implementation(std::span<const Implementation> implementations, const std::string& name);

// --library
void add_library_flag(CLI::App& command, std::vector<std::string>& libraries);

}  // namespace lrnnx::bench
