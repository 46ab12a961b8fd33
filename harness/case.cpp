// Lays one problem out in memory and launches it.
#include "harness/case.h"

#include <fmt/format.h>

#include "harness/activity.h"
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

bool is_channel_time(const TensorSpec& tensor) {
  return tensor.shape.size() == 3 && std::string_view(tensor.axes.back()) == "time";
}

// Strides of a (B, D, L) tensor; both 0 for the others, which the C ABI wants contiguous. The gaps are odd, so that no
// row but the first is aligned to a vector, and each tensor has its own, so that one's strides are wrong for another.
Binding strides_of(const TensorSpec& tensor, MemoryLayout layout) {
  constexpr int64_t kBatchGap = 11;
  const int64_t row_gap = 5 + 2 * static_cast<int64_t>(hash_text(tensor.name) % 16);
  if (!is_channel_time(tensor)) return {};
  const int64_t batch = tensor.shape[0], dim = tensor.shape[1], seqlen = tensor.shape[2];
  switch (layout) {
    case MemoryLayout::contiguous:
    case MemoryLayout::offset:
      return {};
    case MemoryLayout::strided:
      return {.stride_batch = dim * (seqlen + row_gap) + kBatchGap, .stride_dim = seqlen + row_gap};
    case MemoryLayout::transposed:
      return {.stride_batch = seqlen, .stride_dim = batch * seqlen};
  }
  return {};
}

RowPattern pattern_of(const TensorSpec& tensor, MemoryLayout layout) {
  const int64_t element = tensor.bytes() / tensor.elements();
  const Binding strides = strides_of(tensor, layout);
  RowPattern pattern{.offset = layout == MemoryLayout::offset ? element : 0, .row_bytes = tensor.bytes()};
  if (strides.stride_dim == 0) return pattern;
  pattern.row_bytes = tensor.shape[2] * element;
  pattern.outer = tensor.shape[0];
  pattern.inner = tensor.shape[1];
  pattern.outer_stride = strides.stride_batch * element;
  pattern.inner_stride = strides.stride_dim * element;
  return pattern;
}

void require_support(const Problem& problem, const Backend& backend, const Library& library) {
  if (const auto reason = backend.unavailable()) throw LibraryError(LRNNX_NO_DEVICE, *reason);
  if (!has_variant(&library == &linked_library() ? variants() : variants_of(library), problem))
    throw LibraryError(LRNNX_UNSUPPORTED, fmt::format("{} has no variant {} with options {}", library.name,
                                                      variant_name(problem), to_string(problem.options)));
}

}  // namespace

Case::Case(const Problem& problem, Backend& backend, const Library& library)
    : problem_(problem), backend_(&backend), library_(&library) {
  validate(problem);
  require_support(problem, backend, library);
  const Operator& op = find_operator(problem.family);
  memory_ = op.memory(problem, library);

  Bindings bindings;
  bindings.memory = memory_;
  bindings.stream = backend.stream();
  const auto add = [&](const std::string& name, Slot::Access access, std::optional<TensorSpec> tensor,
                       RowPattern pattern) -> GuardedBuffer& {
    slots_.push_back({name, access, std::move(tensor), GuardedBuffer(backend, pattern)});
    return slots_.back().buffer;
  };
  for (const TensorSpec& tensor : op.tensors(problem)) {
    const auto access = tensor.role == Role::output ? Slot::Access::write : Slot::Access::read;
    GuardedBuffer& buffer = add(tensor.name, access, tensor, pattern_of(tensor, problem.layout));
    if (tensor.role == Role::input) {
      const Doing inputs(Activity::inputs);
      buffer.write(generation_of(problem, tensor));
    }
    Binding binding = strides_of(tensor, problem.layout);
    binding.data = buffer.data();
    bindings.tensors[tensor.name] = binding;
  }
  const bool backward = problem.direction == "backward";
  const auto saved_access = backward ? Slot::Access::read : Slot::Access::write;
  bindings.saved = add(kSaved, saved_access, std::nullopt, {.row_bytes = memory_.saved_bytes}).data();
  bindings.workspace =
      add(kWorkspace, Slot::Access::scratch, std::nullopt, {.row_bytes = memory_.workspace_bytes}).data();
  if (backward) run_forward(bindings);
  launch_ = op.bind(problem, bindings, library);
}

// Fills `saved` and the intermediates of a backward problem. What else the forward writes is dropped.
void Case::run_forward(const Bindings& backward) {
  Problem forward = problem_;
  forward.direction = "forward";
  forward.options.save = true;
  forward.configuration.clear();
  const Operator& op = find_operator(forward.family);

  Bindings bindings = backward;
  bindings.memory = op.memory(forward, *library_);
  if (bindings.memory.saved_bytes != memory_.saved_bytes) {
    throw SystemError(fmt::format("lrnnx_selective_scan_memory: saved is {} bytes for the forward, {} for the backward",
                                  bindings.memory.saved_bytes, memory_.saved_bytes));
  }
  std::vector<GuardedBuffer> dropped;
  const auto scratch = [&](int64_t bytes) { return dropped.emplace_back(*backend_, bytes).data(); };
  for (const TensorSpec& tensor : op.tensors(forward)) {
    if (!bindings.tensors.contains(tensor.name)) bindings.tensors[tensor.name] = {scratch(tensor.bytes())};
  }
  bindings.workspace = scratch(bindings.memory.workspace_bytes);
  const Doing kernels(Activity::kernels);
  op.bind(forward, bindings, *library_)();
  backend_->synchronize();
}

Case::Case(Case&&) noexcept = default;
Case::~Case() = default;

std::string Case::configuration() const { return find_operator(problem_.family).configuration(problem_, *library_); }

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
    const Storage storage = slot.tensor->storage;
    std::vector<float> values(static_cast<size_t>(slot.tensor->floats()));
    slot.buffer.read([&](const unsigned char* part, int64_t offset, int64_t bytes) {
      constexpr int64_t kBlock = 1 << 18;
#pragma omp parallel for schedule(static) if (bytes > kBlock)
      for (int64_t at = 0; at < bytes; at += kBlock)
        unpack(storage, {part + at, static_cast<size_t>(std::min(kBlock, bytes - at))},
               values.data() + (offset + at) / bytes_of(storage));
    });
    return values;
  }
  throw UsageError(fmt::format("{} has no tensor '{}'", variant_name(problem_), name));
}

HostTensors Case::download_outputs() const {
  HostTensors outputs;
  for (const std::string& name : output_names()) outputs[name] = download(name);
  return outputs;
}

std::vector<uint64_t> Case::output_checksums() const {
  std::vector<uint64_t> checksums;
  for (const Slot& slot : slots_) {
    if (slot.tensor && slot.tensor->role == Role::output) checksums.push_back(slot.buffer.checksum());
  }
  return checksums;
}

HostTensors Case::inputs() const {
  HostTensors inputs;
  for (const Slot& slot : slots_) {
    if (slot.tensor && slot.tensor->role == Role::input) inputs[slot.name] = generate(problem_, *slot.tensor);
  }
  return inputs;
}

HostTensors Case::rounded_intermediates() const {
  HostTensors intermediates;
  for (const Slot& slot : slots_) {
    if (slot.tensor && slot.tensor->role == Role::intermediate && slot.tensor->storage != Storage::f32)
      intermediates[slot.name] = download(slot.name);
  }
  return intermediates;
}

void Case::poison_outputs() {
  for (Slot& slot : slots_) {
    if (slot.access != Slot::Access::read) slot.buffer.poison();
  }
}

void Case::litter_outputs() {
  for (Slot& slot : slots_) {
    if (slot.access != Slot::Access::read) slot.buffer.litter();
  }
}

void Case::disturb_output() {
  std::vector<Slot*> outputs;
  for (Slot& slot : slots_)
    if (slot.tensor && slot.tensor->role == Role::output) outputs.push_back(&slot);
  const uint64_t random = mix_bits(++disturbed_);
  outputs[random % outputs.size()]->buffer.disturb(mix_bits(random));
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
