// A selective scan laid out for the C ABI in host memory, every buffer between guards, and its counterpart for the
// oracle.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <map>
#include <new>
#include <string>
#include <vector>

#include "lrnnx/lrnnx.h"
#include "reference/selective_scan.h"

namespace lrnnx::test {

// What guards, gaps between rows and unwritten outputs are filled with: a NaN that no arithmetic gives.
inline constexpr uint32_t kPattern = 0x7fa5c3e1;

inline float pattern() {
  float value;
  std::memcpy(&value, &kPattern, sizeof value);
  return value;
}

inline bool is_pattern(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits == kPattern;
}

// How (B, D, L) tensors lie in memory.
enum class Layout { contiguous, padded, channels_outermost, broadcast };

struct Shape {
  int64_t batch, dim, seqlen, dstate, groups;
};

// One tensor, of floats or of complex numbers. The guards have an odd number of numbers, so that nothing is aligned to
// more than one of them.
class Tensor {
 public:
  Tensor() = default;
  Tensor(int64_t rows, int64_t row_length, int64_t parts = 1)
      : Tensor({row_length * parts, 0, rows, 1, row_length * parts}, true, parts) {}

  // (B, D, L) with strides; those of the view are zero if contiguous, as the C ABI allows.
  static Tensor bdl(const Shape& s, Layout layout) {
    const int64_t L = s.seqlen;
    switch (layout) {
      case Layout::contiguous:
        return Tensor({s.dim * L, L, s.batch, s.dim, L}, true);
      case Layout::padded:
        return Tensor({s.dim * (L + 3) + 5, L + 3, s.batch, s.dim, L}, false);
      case Layout::channels_outermost:
        return Tensor({L + 1, s.batch * (L + 1) + 2, s.batch, s.dim, L}, false);
      case Layout::broadcast:
        return Tensor({0, L + 2, s.batch, s.dim, L}, false);
    }
    return {};
  }

  bool given() const { return !memory_.empty(); }
  lrnnx_tensor view() {
    if (!given()) return {};
    return {data(), size_ / parts_, zero_strides_ ? 0 : axes_.stride_batch, zero_strides_ ? 0 : axes_.stride_dim};
  }
  float* data() { return memory_.data() + guard(); }
  const float* data() const { return memory_.data() + guard(); }

  int64_t parts() const { return parts_; }                                                // floats in a number
  int64_t count() const { return given() ? axes_.batch * axes_.dim * axes_.seqlen : 0; }  // of floats
  float& at(int64_t i) { return data()[offset(i)]; }  // i counts the floats in row-major order
  float at(int64_t i) const { return data()[offset(i)]; }

  std::vector<double> values() const {
    std::vector<double> result(count());
    for (int64_t i = 0; i < count(); ++i) result[i] = at(i);
    return result;
  }

  // Everything that is no element still has the pattern.
  bool guards_intact() const {
    std::vector<bool> element(memory_.size());
    for (int64_t i = 0; i < count(); ++i) element[guard() + offset(i)] = true;
    for (size_t i = 0; i < memory_.size(); ++i)
      if (!element[i] && !is_pattern(memory_[i])) return false;
    return true;
  }
  bool untouched() const { return std::ranges::all_of(memory_, is_pattern); }
  bool written() const {
    for (int64_t i = 0; i < count(); ++i)
      if (is_pattern(at(i))) return false;
    return true;
  }
  // Bit by bit, gaps and guards included.
  bool operator==(const Tensor& other) const {
    return memory_.size() == other.memory_.size() &&
           (memory_.empty() || std::memcmp(memory_.data(), other.memory_.data(), memory_.size() * sizeof(float)) == 0);
  }

 private:
  int64_t guard() const { return 67 * parts_; }
  struct Axes {
    int64_t stride_batch, stride_dim, batch, dim, seqlen;
  };
  Tensor(Axes axes, bool zero_strides, int64_t parts = 1) : axes_(axes), zero_strides_(zero_strides), parts_(parts) {
    size_ = (axes.batch - 1) * axes.stride_batch + (axes.dim - 1) * axes.stride_dim + axes.seqlen;
    memory_.assign(size_ + 2 * guard(), pattern());
  }
  int64_t offset(int64_t i) const {
    const int64_t t = i % axes_.seqlen, row = i / axes_.seqlen;
    return row / axes_.dim * axes_.stride_batch + row % axes_.dim * axes_.stride_dim + t;
  }

  Axes axes_{};
  bool zero_strides_ = false;
  int64_t parts_ = 1;
  int64_t size_ = 0;
  std::vector<float> memory_;
};

// `saved` or `workspace`: aligned as the ABI asks, between guards, and exactly as large as asked for.
class Bytes {
 public:
  Bytes() = default;
  explicit Bytes(int64_t bytes) : bytes_(bytes), memory_(new (std::align_val_t(kAlignment)) unsigned char[total()]) {
    std::memset(memory_, kByte, total());
  }
  Bytes(const Bytes&) = delete;
  Bytes& operator=(const Bytes&) = delete;
  Bytes(Bytes&& other) noexcept { *this = std::move(other); }
  Bytes& operator=(Bytes&& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(memory_, other.memory_);
    return *this;
  }
  ~Bytes() {
    if (memory_) operator delete[](memory_, std::align_val_t(kAlignment));
  }
  unsigned char* data() { return memory_ ? memory_ + kAlignment : nullptr; }
  int64_t bytes() const { return bytes_; }
  bool guards_intact() const {
    if (!memory_) return true;
    const auto untouched = [](unsigned char byte) { return byte == kByte; };
    return std::all_of(memory_, memory_ + kAlignment, untouched) &&
           std::all_of(memory_ + kAlignment + bytes_, memory_ + total(), untouched);
  }
  bool untouched() const {
    return !memory_ || std::all_of(memory_, memory_ + total(), [](unsigned char byte) { return byte == kByte; });
  }

 private:
  static constexpr int64_t kAlignment = 256;
  static constexpr unsigned char kByte = 0xff;  // NaN, if read as floats
  int64_t total() const { return bytes_ + 2 * kAlignment; }
  int64_t bytes_ = 0;
  unsigned char* memory_ = nullptr;
};

// A discretization with its type of weights.
struct Operation {
  int32_t discretization = LRNNX_MAMBA;
  int32_t dtype = LRNNX_F32;
};

// The row of the library's table; the cpu computes every operation in both directions.
inline lrnnx_variant variant_of(const Operation& operation) {
  static constexpr const char* kNames[] = {
#define LRNNX_DISCRETIZATION(enumerator, name, functor, takes_real, takes_complex) #name,
#include "lrnnx/discretizations.def"
  };
  lrnnx_variant variant{};
  for (int64_t i = 0; i < lrnnx_variant_count(); ++i)
    if (lrnnx_variant_at(i, &variant) == LRNNX_OK && std::string(variant.backend) == "cpu" &&
        std::string(variant.discretization) == kNames[operation.discretization] &&
        (std::string(variant.dtype) == "c64") == (operation.dtype == LRNNX_C64))
      return variant;
  return {};
}

inline std::string name_of(const Operation& operation) {
  const lrnnx_variant variant = variant_of(operation);
  return std::string(variant.discretization) + '_' + variant.dtype;
}

inline std::vector<Operation> operations() {
  std::vector<Operation> all;
#define LRNNX_DISCRETIZATION(enumerator, name, functor, takes_real, takes_complex) \
  if (takes_real) all.push_back({LRNNX_##enumerator, LRNNX_F32});                  \
  if (takes_complex) all.push_back({LRNNX_##enumerator, LRNNX_C64});
#include "lrnnx/discretizations.def"
  return all;
}

struct Range {
  float low, high;
};

struct CallOptions {
  Layout inputs = Layout::contiguous, outputs = Layout::contiguous;
  std::string configuration = {};
  uint64_t seed = 1;
  Operation operation = {};
  // Of the real part of A, or of its logarithm for rglru, and of the step, or what stands in its place.
  Range A = {-16, -0.5f}, imaginary_A = {-20, 20}, delta = {0.001f, 0.1f};
};

// Inputs, outputs and gradients of one problem, by their names in the ABI. The backend is cpu, and options that the
// discretization does not take are left out.
class SelectiveScanCall {
 public:
  SelectiveScanCall(const Shape& shape, uint32_t options, CallOptions call = {})
      : shape_(shape),
        operation_(call.operation),
        variant_(variant_of(call.operation)),
        options_(options & variant_.options),
        configuration_(call.configuration),
        random_(call.seed) {
    options = options_;
    const bool softplus = options & LRNNX_DELTA_SOFTPLUS;
    const int64_t B = shape.batch, D = shape.dim, L = shape.seqlen, N = shape.dstate, G = shape.groups;
    const int64_t parts = operation_.dtype == LRNNX_C64 ? 2 : 1;
    const auto bdl_in = [&] { return Tensor::bdl(shape, call.inputs); };
    const auto matrix = [&](bool variable) { return variable ? Tensor(B * G * N, L, parts) : Tensor(D, N, parts); };
    add("u", true, bdl_in(), {-1, 1});
    add("delta", true, bdl_in(), softplus ? Range{std::log(call.delta.low), std::log(call.delta.high)} : call.delta);
    add("A", variant_.takes_A, Tensor(D, N, parts), call.A, call.imaginary_A);
    if (operation_.discretization == LRNNX_RGLRU)
      for (int64_t i = 0; i < D * N; ++i) inputs_["A"].at(i) = std::exp(inputs_["A"].at(i));
    add("B", variant_.takes_B, matrix(options & LRNNX_VARIABLE_B), {-1, 1});
    add("C", true, matrix(options & LRNNX_VARIABLE_C), {-1, 1});
    add("D", options & LRNNX_HAS_D, Tensor(1, D), {-1, 1});
    add("z", options & LRNNX_HAS_Z, bdl_in(), {-3, 3});
    add("delta_bias", options & LRNNX_HAS_DELTA_BIAS, Tensor(1, D), {0, 0.05f});
    add("deltaA", options & LRNNX_HAS_DELTA_A, bdl_in(), call.delta);
    add("h0", options & LRNNX_HAS_H0, Tensor(B * D, N, parts), {-1, 1});
    add("dout", true, bdl_in(), {-1, 1});
    add("dlast_state", options & LRNNX_HAS_LAST_STATE, Tensor(B * D, N, parts), {-1, 1});

    const Layout written = call.outputs;
    outputs_["out"] = Tensor::bdl(shape, written);
    if (options & LRNNX_HAS_Z) outputs_["out_z"] = Tensor::bdl(shape, written);
    if (options & LRNNX_HAS_LAST_STATE) outputs_["last_state"] = Tensor(B * D, N, parts);
    for (const char* name : {"u", "delta", "A", "B", "C", "D", "z", "delta_bias", "deltaA", "h0"}) {
      const auto input = inputs_.find(name);
      if (input == inputs_.end()) continue;
      const std::string text = name;
      const bool bdl = text == "u" || text == "delta" || text == "z" || text == "deltaA";
      gradients_["d" + text] = bdl ? Tensor::bdl(shape, written) : blank(input->second);
    }
  }

  lrnnx_selective_scan_problem problem() const {
    return {.discretization = operation_.discretization,
            .dtype = operation_.dtype,
            .backend = LRNNX_CPU,
            .options = options_,
            .batch = shape_.batch,
            .dim = shape_.dim,
            .seqlen = shape_.seqlen,
            .dstate = shape_.dstate,
            .groups = shape_.groups,
            .configuration = configuration_.c_str()};
  }

  void allocate(const lrnnx_memory& forward, const lrnnx_memory& backward) {
    saved_ = Bytes(backward.saved_bytes);
    forward_workspace_ = Bytes(forward.workspace_bytes);
    backward_workspace_ = Bytes(backward.workspace_bytes);
  }

  lrnnx_selective_scan_forward_args forward_args() {
    lrnnx_selective_scan_forward_args args{};
    args.u = view("u");
    args.delta = view("delta");
    args.A = view("A");
    args.B = view("B");
    args.C = view("C");
    args.D = view("D");
    args.z = view("z");
    args.delta_bias = view("delta_bias");
    args.deltaA = view("deltaA");
    args.h0 = view("h0");
    args.out = view("out");
    args.out_z = view("out_z");
    args.last_state = view("last_state");
    if (options_ & LRNNX_SAVE_FOR_BACKWARD) {
      args.saved = saved_.data();
      args.saved_bytes = saved_.bytes();
    }
    args.workspace = forward_workspace_.data();
    args.workspace_bytes = forward_workspace_.bytes();
    return args;
  }

  lrnnx_selective_scan_backward_args backward_args() {
    lrnnx_selective_scan_backward_args args{};
    args.u = view("u");
    args.delta = view("delta");
    args.A = view("A");
    args.B = view("B");
    args.C = view("C");
    args.D = view("D");
    args.z = view("z");
    args.delta_bias = view("delta_bias");
    args.deltaA = view("deltaA");
    args.h0 = view("h0");
    if (options_ & LRNNX_HAS_Z) args.out = view("out");
    args.dout = view("dout");
    args.dlast_state = view("dlast_state");
    args.du = view("du");
    args.ddelta = view("ddelta");
    args.dA = view("dA");
    args.dB = view("dB");
    args.dC = view("dC");
    args.dD = view("dD");
    args.dz = view("dz");
    args.ddelta_bias = view("ddelta_bias");
    args.ddeltaA = view("ddeltaA");
    args.dh0 = view("dh0");
    args.saved = saved_.data();
    args.saved_bytes = saved_.bytes();
    args.workspace = backward_workspace_.data();
    args.workspace_bytes = backward_workspace_.bytes();
    return args;
  }

  const Shape& shape() const { return shape_; }
  const Operation& operation() const { return operation_; }
  uint32_t options() const { return options_; }
  std::map<std::string, Tensor>& inputs() { return inputs_; }
  std::map<std::string, Tensor>& outputs() { return outputs_; }
  std::map<std::string, Tensor>& gradients() { return gradients_; }
  Bytes& saved() { return saved_; }
  Bytes& forward_workspace() { return forward_workspace_; }
  Bytes& backward_workspace() { return backward_workspace_; }

  bool guards_intact() const {
    for (const auto* tensors : {&inputs_, &outputs_, &gradients_})
      for (const auto& [name, tensor] : *tensors)
        if (!tensor.guards_intact()) return false;
    return saved_.guards_intact() && forward_workspace_.guards_intact() && backward_workspace_.guards_intact();
  }

  reference::Problem reference_problem() const {
    static constexpr reference::Discretization kReference[] = {
#define LRNNX_DISCRETIZATION(enumerator, name, functor, takes_real, takes_complex) reference::Discretization::name,
#include "lrnnx/discretizations.def"
    };
    return {.discretization = kReference[operation_.discretization],
            .complex = operation_.dtype == LRNNX_C64,
            .batch = shape_.batch,
            .dim = shape_.dim,
            .seqlen = shape_.seqlen,
            .dstate = shape_.dstate,
            .groups = shape_.groups,
            .variable_B = (options_ & LRNNX_VARIABLE_B) != 0,
            .variable_C = (options_ & LRNNX_VARIABLE_C) != 0,
            .delta_softplus = (options_ & LRNNX_DELTA_SOFTPLUS) != 0};
  }
  reference::Inputs reference_inputs() const {
    return {values("u"), values("delta"), values("A"),          values("B"),      values("C"),
            values("D"), values("z"),     values("delta_bias"), values("deltaA"), values("h0")};
  }
  std::vector<double> values(const std::string& input) const {
    const auto found = inputs_.find(input);
    return found == inputs_.end() ? std::vector<double>{} : found->second.values();
  }

 private:
  static Tensor blank(const Tensor& like) { return Tensor(1, like.count() / like.parts(), like.parts()); }

  void add(const std::string& name, bool given, Tensor tensor, Range range) { add(name, given, tensor, range, range); }
  void add(const std::string& name, bool given, Tensor tensor, Range real, Range imaginary) {
    if (!given) return;
    for (int64_t i = 0; i < tensor.count(); ++i) {
      const Range& range = i % tensor.parts() == 0 ? real : imaginary;
      tensor.at(i) = range.low + (range.high - range.low) * uniform();
    }
    inputs_[name] = std::move(tensor);
  }
  // splitmix64: Steele, Lea and Flood 2014
  float uniform() {
    uint64_t x = random_ += 0x9e3779b97f4a7c15;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return static_cast<float>((x ^ (x >> 31)) >> 40) * 0x1p-24f;
  }
  lrnnx_tensor view(const std::string& name) {
    for (auto* tensors : {&inputs_, &outputs_, &gradients_})
      if (const auto found = tensors->find(name); found != tensors->end()) return found->second.view();
    return {};
  }

  Shape shape_;
  Operation operation_;
  lrnnx_variant variant_;
  uint32_t options_;
  std::string configuration_;
  uint64_t random_;
  std::map<std::string, Tensor> inputs_, outputs_, gradients_;
  Bytes saved_, forward_workspace_, backward_workspace_;
};

// |a - b| / |b| in the Euclidean norm, less what a number loses at the edge of underflow; infinite if the shapes differ
// or anything is not finite.
inline double relative_error(const Tensor& a, const std::vector<double>& b) {
  if (a.count() != static_cast<int64_t>(b.size())) return std::numeric_limits<double>::infinity();
  double error = 0, norm = 0;
  for (int64_t i = 0; i < a.count(); ++i) {
    const double difference = std::abs(a.at(i) - b[i]);
    if (!std::isfinite(difference)) return std::numeric_limits<double>::infinity();
    const double above_floor = std::max(0.0, difference - std::numeric_limits<float>::min());
    error += above_floor * above_floor;
    norm += b[i] * b[i];
  }
  return error == 0 ? 0 : std::sqrt(error / norm);
}

}  // namespace lrnnx::test
