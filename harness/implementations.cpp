// Loads libraries, and asks each in a child process what it computes.
#include "harness/implementations.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <memory>

#include "harness/error.h"
#include "harness/words.h"
#include "harness/worker.h"

namespace lrnnx::bench {
namespace {

std::string describe_file(const LibraryFile& file) { return fmt::format("{} ({})", file.name, file.path); }

template <class Function>
void resolve(void* handle, const LibraryFile& file, const char* symbol, Function*& function) {
  function = reinterpret_cast<Function*>(::dlsym(handle, symbol));
  if (!function) throw SystemError(fmt::format("{} does not export {}", describe_file(file), symbol));
}

// What the child says, or what befell it.
void ask_for_variants(Implementation& implementation, double patience_seconds) {
  Worker::Options options;
  options.patience_seconds = patience_seconds;
  options.library = implementation.file;
  Worker worker(options);
  try {
    implementation.variants = worker.list();
  } catch (const SystemError& error) {
    implementation.error = error.what();
  }
}

}  // namespace

LibraryFile parse_library_file(const std::string& text) {
  namespace fs = std::filesystem;
  LibraryFile file{.name = "", .path = text};
  if (const size_t equals = text.find('='); equals < text.find('/')) {
    file.name = text.substr(0, equals);
    file.path = text.substr(equals + 1);
  }
  if (!fs::is_regular_file(file.path))
    throw UsageError(fmt::format("--library '{}': no such file: {}", text, file.path));
  if (file.name.empty()) file.name = fs::path(file.path).stem();
  const auto is_plain = [](unsigned char c) { return std::isalnum(c) || c == '_' || c == '-' || c == '.'; };
  if (!std::ranges::all_of(file.name, is_plain))
    throw UsageError(
        fmt::format("--library '{}': name '{}': expected letters, digits, '_', '-' and '.'; NAME=PATH gives another",
                    text, file.name));
  file.path = fs::absolute(file.path).lexically_normal();  // a bare name would be looked for elsewhere
  return file;
}

const Library& load_library(const LibraryFile& file) {
  void* const handle = ::dlopen(file.path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) throw SystemError(fmt::format("{} cannot be loaded: {}", file.name, ::dlerror()));
  Library library{.name = file.name};
  resolve(handle, file, "lrnnx_abi_version", library.abi_version);
  // Before anything else: what another version calls by the same name may be another function.
  if (const int32_t version = library.abi_version(); version != LRNNX_ABI_VERSION)
    throw SystemError(fmt::format("{} has version {} of the C ABI; this program needs version {}", describe_file(file),
                                  version, LRNNX_ABI_VERSION));
  resolve(handle, file, "lrnnx_status_name", library.status_name);
  resolve(handle, file, "lrnnx_last_error", library.last_error);
  resolve(handle, file, "lrnnx_variant_count", library.variant_count);
  resolve(handle, file, "lrnnx_variant_at", library.variant_at);
  resolve(handle, file, "lrnnx_selective_scan_memory", library.selective_scan.memory);
  resolve(handle, file, "lrnnx_selective_scan_configuration", library.selective_scan.configuration);
  library.selective_scan.configuration_keys = reinterpret_cast<decltype(library.selective_scan.configuration_keys)>(
      ::dlsym(handle, "lrnnx_selective_scan_configuration_keys"));
  resolve(handle, file, "lrnnx_selective_scan_forward", library.selective_scan.forward);
  resolve(handle, file, "lrnnx_selective_scan_backward", library.selective_scan.backward);
  static std::vector<std::unique_ptr<Library>> loaded;  // as long as the program
  return *loaded.emplace_back(std::make_unique<Library>(std::move(library)));
}

std::vector<Implementation> find_implementations(const std::vector<std::string>& libraries, double patience_seconds) {
  std::vector<Implementation> implementations;
  for (const Library* library : linked_libraries())
    implementations.push_back({.name = library->name, .file = {}, .variants = variants_of(*library), .error = ""});
  for (const std::string& text : libraries) {
    const LibraryFile file = parse_library_file(text);
    for (const Implementation& other : implementations)
      if (other.name == file.name)
        throw UsageError(
            fmt::format("--library '{}': there is an implementation '{}' already; NAME=PATH gives another "
                        "name",
                        text, file.name));
    implementations.push_back({.name = file.name, .file = file, .variants = {}, .error = ""});
  }
  for (Implementation& implementation : implementations)
    if (implementation.file) ask_for_variants(implementation, patience_seconds);
  return implementations;
}

const Implementation& find_implementation(std::span<const Implementation> implementations, const std::string& name) {
  std::vector<std::string> names;
  for (const Implementation& candidate : implementations) {
    if (candidate.name == name) return candidate;
    names.push_back(candidate.name);
  }
  throw UsageError(fmt::format("implementation '{}': expected {}, or another --library", name, join_or(names)));
}

void add_library_flag(CLI::App& command, std::vector<std::string>& libraries) {
  command
      .add_option(
          "--library", libraries,
          "A shared library with the C ABI of lrnnx.h, as a further implementation, called NAME or as the file. "
          "May be repeated")
      ->type_name("[NAME=]PATH")
      ->allow_extra_args(false)
      ->group("Selection");
}

}  // namespace lrnnx::bench
