// The table of backends.
#include "harness/backend.h"

#include <fmt/format.h>

#include "harness/backend_cpu.h"
#include "harness/backend_cuda.h"
#include "harness/error.h"
#include "harness/problem.h"
#include "harness/words.h"

namespace lrnnx::bench {
namespace {

// Kept until the program ends.
std::vector<Backend*> all_backends() {
  static const std::unique_ptr<Backend> cpu = make_cpu_backend();
  static const std::unique_ptr<Backend> cuda = make_cuda_backend();
  return {cpu.get(), cuda.get()};
}

}  // namespace

std::vector<std::string> backend_names() {
  std::vector<std::string> names;
  for (const Backend* candidate : all_backends()) names.emplace_back(candidate->name());
  return names;
}

Backend& backend(std::string_view name) {
  for (Backend* candidate : all_backends()) {
    if (candidate->name() == name) return *candidate;
  }
  throw UsageError(fmt::format("backend '{}': expected {}", name, join_or(backend_names())));
}

Backend& default_backend() {
  Backend& cuda = backend("cuda");
  return cuda.unavailable() ? backend("cpu") : cuda;
}

}  // namespace lrnnx::bench
