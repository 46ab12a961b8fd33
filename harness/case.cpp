// Lays one problem out in memory and launches it.
#include "harness/case.h"

#include <fmt/format.h>

#include "harness/error.h"
#include "harness/fill.h"
#include "harness/guarded_buffer.h"
#include "harness/operators.h"
#include "harness/variants.h"

namespace lrnnx::bench {

struct Case::Slot {
  enum class Access { read, write, scratch };
  std::string name;
  Access access;
  std::optional<TensorSpec> tensor;  // none for `saved` and `workspace`
  GuardedBuffer buffer;
  uint64_t seal = 0;
};

namespace {

constexpr const char* kSaved = "saved";
constexpr const char* kWorkspace = "workspace";

void require_support(const Problem& problem, const Backend& backend) {
  if (const auto reason = backend.unavailable()) throw LibraryError(LRNNX_NO_DEVICE, *reason);
  if (!has_variant(problem, backend.library())) {
    throw LibraryError(LRNNX_UNSUPPORTED,
                       fmt::format("{} has no variant {}", backend.library().name, variant_name(problem)));
  }
}

}  // namespace

Case::Case(const Problem& problem, Backend& backend) : problem_(problem), backend_(&backend) {
  validate(problem);
  require_support(problem, backend);
  const Operator& op = find_operator(problem.family);
  memory_ = op.memory(problem, backend.library());

  Bindings bindings;
  bindings.memory = memory_;
  bindings.stream = backend.stream();
  const auto add = [&](const std::string& name, Slot::Access access, std::optional<TensorSpec> tensor, int64_t bytes) {
    slots_.push_back({name, access, std::move(tensor), GuardedBuffer(backend, bytes)});
    return slots_.back().buffer.data();
  };
  for (const TensorSpec& tensor : op.tensors(problem)) {
    const auto access = tensor.role == Role::output ? Slot::Access::write : Slot::Access::read;
    void* data = add(tensor.name, access, tensor, tensor.bytes());
    if (tensor.role == Role::input) backend.copy_in(data, generate(problem, tensor).data(), tensor.bytes());
    bindings.tensors[tensor.name] = data;
  }
  const bool backward = problem.direction == "backward";
  bindings.saved = add(kSaved, backward ? Slot::Access::read : Slot::Access::write, std::nullopt, memory_.saved_bytes);
  bindings.workspace = add(kWorkspace, Slot::Access::scratch, std::nullopt, memory_.workspace_bytes);
  if (backward) run_forward(bindings);
  launch_ = op.bind(problem, bindings, backend.library());
}

// Fills `saved` and the intermediates of a backward problem. What else the forward writes is dropped.
void Case::run_forward(const Bindings& backward) {
  Problem forward = problem_;
  forward.direction = "forward";
  forward.options.save = true;
  forward.configuration.clear();
  const Operator& op = find_operator(forward.family);

  Bindings bindings = backward;
  bindings.memory = op.memory(forward, backend_->library());
  if (bindings.memory.saved_bytes != memory_.saved_bytes) {
    throw SystemError(fmt::format("lrnnx_selective_scan_memory: saved is {} bytes for the forward, {} for the backward",
                                  bindings.memory.saved_bytes, memory_.saved_bytes));
  }
  std::vector<GuardedBuffer> dropped;
  const auto scratch = [&](int64_t bytes) { return dropped.emplace_back(*backend_, bytes).data(); };
  for (const TensorSpec& tensor : op.tensors(forward)) {
    if (!bindings.tensors.contains(tensor.name)) bindings.tensors[tensor.name] = scratch(tensor.bytes());
  }
  bindings.workspace = scratch(bindings.memory.workspace_bytes);
  op.bind(forward, bindings, backend_->library())();
  backend_->synchronize();
}

Case::Case(Case&&) noexcept = default;
Case::~Case() = default;

std::string Case::configuration() const {
  return find_operator(problem_.family).configuration(problem_, backend_->library());
}

int64_t Case::allocated_bytes() const {
  int64_t bytes = 0;
  for (const Slot& slot : slots_) bytes += slot.buffer.allocated_bytes();
  return bytes;
}

std::vector<TensorSpec> Case::outputs() const {
  std::vector<TensorSpec> specifications;
  for (const Slot& slot : slots_) {
    if (slot.tensor && slot.tensor->role == Role::output) specifications.push_back(*slot.tensor);
  }
  return specifications;
}

std::vector<std::string> Case::output_names() const {
  std::vector<std::string> names;
  for (const TensorSpec& tensor : outputs()) names.push_back(tensor.name);
  return names;
}

std::vector<float> Case::download(const std::string& name) const {
  for (const Slot& slot : slots_) {
    if (!slot.tensor || slot.name != name) continue;
    std::vector<float> values(static_cast<size_t>(slot.tensor->floats()));
    backend_->copy_out(values.data(), slot.buffer.data(), slot.tensor->bytes());
    return values;
  }
  throw UsageError(fmt::format("{} has no tensor '{}'", variant_name(problem_), name));
}

HostTensors Case::inputs() const {
  HostTensors inputs;
  for (const Slot& slot : slots_) {
    if (slot.tensor && slot.tensor->role == Role::input) inputs[slot.name] = generate(problem_, *slot.tensor);
  }
  return inputs;
}

void Case::poison_outputs() {
  for (Slot& slot : slots_) {
    if (slot.access != Slot::Access::read) slot.buffer.poison();
  }
}

void Case::seal() {
  for (Slot& slot : slots_) {
    if (slot.access == Slot::Access::read) slot.seal = slot.buffer.checksum();
  }
}

std::vector<std::string> Case::violations() const {
  std::vector<std::string> sentences;
  for (const Slot& slot : slots_) {
    if (const auto bytes = slot.buffer.overwritten()) {
      sentences.push_back(fmt::format("wrote outside {}: {}", slot.name, *bytes));
    }
    if (slot.access == Slot::Access::read && slot.buffer.checksum() != slot.seal) {
      sentences.push_back(fmt::format("changed its input {}", slot.name));
    }
  }
  return sentences;
}

}  // namespace lrnnx::bench
