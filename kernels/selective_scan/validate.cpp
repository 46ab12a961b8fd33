// The argument checks of the selective scan, in the order in which a caller would want to hear of them.
#include "selective_scan/validate.h"

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <string>

#include "common/error.h"
#include "common/half.h"
#include "common/variants.h"

namespace lrnnx {
namespace {

constexpr int64_t kMaxDstate = 256;
constexpr int64_t kBufferAlignment = 256;

struct Option {
  uint32_t bit;
  const char* name;
};
constexpr Option kOptions[] = {{LRNNX_VARIABLE_B, "LRNNX_VARIABLE_B"},
                               {LRNNX_VARIABLE_C, "LRNNX_VARIABLE_C"},
                               {LRNNX_HAS_D, "LRNNX_HAS_D"},
                               {LRNNX_HAS_Z, "LRNNX_HAS_Z"},
                               {LRNNX_HAS_DELTA_BIAS, "LRNNX_HAS_DELTA_BIAS"},
                               {LRNNX_DELTA_SOFTPLUS, "LRNNX_DELTA_SOFTPLUS"},
                               {LRNNX_HAS_DELTA_A, "LRNNX_HAS_DELTA_A"},
                               {LRNNX_HAS_H0, "LRNNX_HAS_H0"},
                               {LRNNX_HAS_LAST_STATE, "LRNNX_HAS_LAST_STATE"},
                               {LRNNX_SAVE_FOR_BACKWARD, "LRNNX_SAVE_FOR_BACKWARD"}};

// a * b or a + b of non-negative numbers; -1 once anything has left 64 bits.
int64_t product(std::initializer_list<int64_t> factors) {
  int64_t result = 1;
  for (int64_t factor : factors)
    if (factor < 0 || __builtin_mul_overflow(result, factor, &result)) return -1;
  return result;
}
int64_t sum(std::initializer_list<int64_t> terms) {
  int64_t result = 0;
  for (int64_t term : terms)
    if (term < 0 || __builtin_add_overflow(result, term, &result)) return -1;
  return result;
}

lrnnx_status validate_enums(const lrnnx_selective_scan_problem& problem, int32_t direction) {
  if (discretization_name(problem.discretization) == nullptr)
    return fail(LRNNX_INVALID_ARGUMENT, "discretization is %d; allowed are %s", problem.discretization,
                discretization_list().c_str());
  if (dtype_name(problem.dtype) == nullptr)
    return fail(LRNNX_INVALID_ARGUMENT, "dtype is %d; allowed are %s", problem.dtype, dtype_list().c_str());
  if (backend_name(problem.backend) == nullptr)
    return fail(LRNNX_INVALID_ARGUMENT, "backend is %d; allowed are 0 (cpu) and 1 (cuda)", problem.backend);
  if (direction_name(direction) == nullptr)
    return fail(LRNNX_INVALID_ARGUMENT, "direction is %d; allowed are 0 (forward) and 1 (backward)", direction);
  return LRNNX_OK;
}

lrnnx_status validate_options(const lrnnx_selective_scan_problem& problem) {
  uint32_t known = 0;
  for (const Option& option : kOptions) known |= option.bit;
  if (problem.options & ~known)
    return fail(LRNNX_INVALID_ARGUMENT, "options has the unknown bits 0x%x; the known ones are 0x%x",
                problem.options & ~known, known);

  const char* name = discretization_name(problem.discretization);
  const Traits takes = traits(problem.discretization);
  if (problem.dtype == LRNNX_C64 && !takes.complex_weights)
    return fail(LRNNX_INVALID_ARGUMENT, "dtype is c64, but discretization %s takes real weights only (f32, bf16, f16)",
                name);
  if (problem.dtype != LRNNX_C64 && !takes.real_weights)
    return fail(LRNNX_INVALID_ARGUMENT, "dtype is %s, but discretization %s takes complex weights only (c64)",
                dtype_name(problem.dtype), name);
  for (const Option& option : kOptions)
    if (problem.options & ~takes.options & option.bit)
      return fail(LRNNX_INVALID_ARGUMENT, "options has %s, which discretization %s does not take", option.name, name);
  return LRNNX_OK;
}

lrnnx_status validate_sizes(const lrnnx_selective_scan_problem& problem) {
  struct Size {
    const char* name;
    int64_t value;
  };
  for (const Size& size : {Size{"batch", problem.batch}, Size{"dim", problem.dim}, Size{"seqlen", problem.seqlen},
                           Size{"dstate", problem.dstate}, Size{"groups", problem.groups}})
    if (size.value < 1)
      return fail(LRNNX_INVALID_ARGUMENT, "%s is %lld; it must be at least 1", size.name,
                  static_cast<long long>(size.value));
  if (problem.dstate > kMaxDstate)
    return fail(LRNNX_INVALID_ARGUMENT, "dstate is %lld; at most %lld is allowed",
                static_cast<long long>(problem.dstate), static_cast<long long>(kMaxDstate));
  if (problem.groups > problem.dim || problem.dim % problem.groups != 0)
    return fail(LRNNX_INVALID_ARGUMENT, "groups is %lld, which does not divide dim = %lld",
                static_cast<long long>(problem.groups), static_cast<long long>(problem.dim));
  // Every tensor, buffer and index is smaller, in bytes: the widest is what the CUDA backward sums over channels in, 4
  // KiB for a tile of one channel, one step and one state.
  if (product({problem.batch, problem.dim, problem.seqlen, problem.dstate, 8192}) < 0)
    return fail(LRNNX_INVALID_ARGUMENT,
                "batch = %lld, dim = %lld, seqlen = %lld, dstate = %lld: their product does not fit 64 bits",
                static_cast<long long>(problem.batch), static_cast<long long>(problem.dim),
                static_cast<long long>(problem.seqlen), static_cast<long long>(problem.dstate));
  return LRNNX_OK;
}

lrnnx_status validate_computed(const lrnnx_selective_scan_problem& problem, int32_t direction) {
#ifndef LRNNX_WITH_CUDA
  if (problem.backend == LRNNX_CUDA)
    return fail(LRNNX_NO_DEVICE, "backend is cuda, but this library was built without CUDA; allowed is cpu");
#endif
  if (is_computed(problem.discretization, problem.dtype, problem.backend)) return LRNNX_OK;
  const char* backend = backend_name(problem.backend);
  return fail(
      LRNNX_UNSUPPORTED,
      "selective_scan.%s.%s.%s.%s is well defined, but not supported on this backend; of selective_scan backend "
      "%s computes %s",
      discretization_name(problem.discretization), dtype_name(problem.dtype), direction_name(direction), backend,
      backend, computed_list(problem.backend).c_str());
}

// --- tensors --------------------------------------------------------------------------------------------------------

enum class Access { read, write };

// The axes that a tensor may have, by the letters of lrnnx.h.
enum class Axes { bdl, dn, bgnl, d, bdn };

// Whether a tensor belongs to the problem, and what decides that: words that are joined only if it is to be told.
struct Presence {
  bool expected;
  const char* reason[3];
  std::string text() const { return std::string(reason[0]) + reason[1] + reason[2]; }
};

constexpr bool has_time(Axes axes) { return axes == Axes::bdl || axes == Axes::bgnl; }

struct TensorRule {
  const char* name;
  Presence presence;
  Axes axes;
  bool weight;  // complex if the dtype is
  Access access;
  lrnnx_tensor& tensor;
};

std::string tuple(std::initializer_list<int64_t> values) {
  std::string text;
  for (int64_t value : values) text += (text.empty() ? "" : ", ") + std::to_string(value);
  return "(" + text + ")";
}

// Memory that a call reads or writes.
struct Range {
  const char* name;
  const void* data;
  int64_t bytes;
  bool dense;  // all of it, not only rows with gaps between them
  bool written;
};

class Ranges {
 public:
  void add(const Range& range) { ranges_[count_++] = range; }

  lrnnx_status validate_apart() const {
    for (size_t i = 0; i < count_; ++i)
      for (size_t j = 0; j < count_; ++j)
        if (i != j && ranges_[i].written && meet(ranges_[i], ranges_[j]))
          return fail(LRNNX_INVALID_ARGUMENT,
                      "%s and %s share memory: %lld bytes from %p and %lld from %p; an output needs memory of its own",
                      ranges_[i].name, ranges_[j].name, static_cast<long long>(ranges_[i].bytes), ranges_[i].data,
                      static_cast<long long>(ranges_[j].bytes), ranges_[j].data);
    return LRNNX_OK;
  }

 private:
  // Rows of two tensors may lie in each other's gaps; these only have to start apart.
  static bool meet(const Range& one, const Range& other) {
    if (one.bytes == 0 || other.bytes == 0) return false;
    if (!one.dense || !other.dense) return one.data == other.data;
    const auto begin = [](const Range& range) { return reinterpret_cast<uintptr_t>(range.data); };
    return begin(one) < begin(other) + static_cast<uintptr_t>(other.bytes) &&
           begin(other) < begin(one) + static_cast<uintptr_t>(one.bytes);
  }

  Range ranges_[32];  // more than any call has
  size_t count_ = 0;
};

class TensorChecker {
 public:
  explicit TensorChecker(const lrnnx_selective_scan_problem& problem) : problem_(problem) {}

  // Resolves the strides in place.
  lrnnx_status check(const TensorRule& rule) const {
    lrnnx_tensor& tensor = rule.tensor;
    if (!rule.presence.expected) {
      if (tensor.data == nullptr) return LRNNX_OK;
      return fail(LRNNX_INVALID_ARGUMENT, "%s is given, but must be null: %s", rule.name, rule.presence.text().c_str());
    }
    if (tensor.data == nullptr)
      return fail(LRNNX_INVALID_ARGUMENT, "%s is null, but must be given: %s", rule.name, rule.presence.text().c_str());
    const int32_t type = element_type(rule);
    const int64_t bytes = type == LRNNX_C64 ? 8 : is_half(type) ? 2 : 4;
    if (reinterpret_cast<uintptr_t>(tensor.data) % bytes != 0)
      return fail(LRNNX_INVALID_ARGUMENT, "%s starts at %p; %s elements must start at a multiple of %d bytes",
                  rule.name, tensor.data, dtype_name(type), static_cast<int>(bytes));

    if (rule.axes == Axes::bdl) {
      if (lrnnx_status status = resolve_strides(rule); status != LRNNX_OK) return status;
    }
    const int64_t needed = reach(rule);
    if (product({needed, bytes}) < 0) return fail_strides(rule, "its last element lies beyond what 64 bits count");
    if (tensor.size < needed)
      return fail(LRNNX_INVALID_ARGUMENT, "%s has size %lld, but %s needs %lld elements", rule.name,
                  static_cast<long long>(tensor.size), describe(rule).c_str(), static_cast<long long>(needed));
    if (rule.axes == Axes::bdl && rule.access == Access::write && rows_overlap(tensor))
      return fail_strides(rule, "its rows overlap, but each element of an output is written once");
    return LRNNX_OK;
  }

  // Where a tensor that check() has passed lies; of a strided one with what is between its rows.
  Range range(const TensorRule& rule) const {
    const int32_t type = element_type(rule);
    const int64_t bytes = type == LRNNX_C64 ? 8 : is_half(type) ? 2 : 4;
    const bool dense = rule.axes != Axes::bdl || (rule.tensor.stride_dim == problem_.seqlen &&
                                                  rule.tensor.stride_batch == problem_.dim * problem_.seqlen);
    return {rule.name, rule.tensor.data, reach(rule) * bytes, dense, rule.access == Access::write};
  }

 private:
  // By the name of the dtype whose every tensor has it.
  int32_t element_type(const TensorRule& rule) const {
    const bool differs = is_half(problem_.dtype) ? has_time(rule.axes) : rule.weight;
    return differs ? problem_.dtype : int32_t{LRNNX_F32};
  }

  static lrnnx_status fail_strides(const TensorRule& rule, const char* why) {
    return fail(LRNNX_INVALID_ARGUMENT, "%s has stride_batch = %lld, stride_dim = %lld: %s", rule.name,
                static_cast<long long>(rule.tensor.stride_batch), static_cast<long long>(rule.tensor.stride_dim), why);
  }

  lrnnx_status resolve_strides(const TensorRule& rule) const {
    lrnnx_tensor& tensor = rule.tensor;
    if (tensor.stride_batch < 0 || tensor.stride_dim < 0) return fail_strides(rule, "a stride must not be negative");
    if (tensor.stride_batch == 0 && tensor.stride_dim == 0) {
      tensor.stride_dim = problem_.seqlen;
      tensor.stride_batch = problem_.dim * problem_.seqlen;
      return LRNNX_OK;
    }
    if (tensor.stride_dim == 0 && problem_.dim > 1)
      return fail_strides(rule, "stride_dim must be positive, or both 0 for a contiguous tensor");
    // Of an axis of one nobody takes a stride.
    if (problem_.dim == 1) tensor.stride_dim = problem_.seqlen;
    if (problem_.batch == 1) tensor.stride_batch = problem_.dim * problem_.seqlen;
    return LRNNX_OK;
  }

  // The elements from the first to behind the last; -1 beyond 64 bits.
  int64_t reach(const TensorRule& rule) const {
    const auto& p = problem_;
    switch (rule.axes) {
      case Axes::bdl:
        return sum(
            {product({p.batch - 1, rule.tensor.stride_batch}), product({p.dim - 1, rule.tensor.stride_dim}), p.seqlen});
      case Axes::dn:
        return p.dim * p.dstate;
      case Axes::bgnl:
        return p.batch * p.groups * p.dstate * p.seqlen;
      case Axes::d:
        return p.dim;
      case Axes::bdn:
        return p.batch * p.dim * p.dstate;
    }
    return -1;
  }

  // Whether two of the rows at i * stride_batch + j * stride_dim share an element. Asked once the reach fits 64 bits.
  bool rows_overlap(const lrnnx_tensor& tensor) const {
    const int64_t seqlen = problem_.seqlen, batch = problem_.batch, dim = problem_.dim;
    const int64_t stride_batch = tensor.stride_batch, stride_dim = tensor.stride_dim;
    if (dim > 1 && stride_dim < seqlen) return true;
    if (batch > 1 && stride_batch < seqlen) return true;
    if (batch == 1 || dim == 1) return false;
    if (stride_batch >= (dim - 1) * stride_dim + seqlen || stride_dim >= (batch - 1) * stride_batch + seqlen)
      return false;
    // Neither axis lies within a step of the other: see how close each row of the shorter axis, i, comes to its
    // neighbours of the other, j and j + 1.
    const bool by_batch = batch <= dim;
    const int64_t stride_i = by_batch ? stride_batch : stride_dim, stride_j = by_batch ? stride_dim : stride_batch;
    const int64_t count_i = by_batch ? batch : dim, count_j = by_batch ? dim : batch;
    for (int64_t i = 1; i < count_i; ++i) {
      const int64_t offset = i * stride_i;
      const int64_t j = std::min(offset / stride_j, count_j - 1);
      if (offset - j * stride_j < seqlen) return true;
      if (j + 1 < count_j && (j + 1) * stride_j - offset < seqlen) return true;
    }
    return false;
  }

  std::string describe(const TensorRule& rule) const {
    const auto& p = problem_;
    switch (rule.axes) {
      case Axes::bdl:
        return "shape (batch, dim, seqlen) = " + tuple({p.batch, p.dim, p.seqlen}) + " with strides " +
               tuple({rule.tensor.stride_batch, rule.tensor.stride_dim, 1});
      case Axes::dn:
        return "shape (dim, dstate) = " + tuple({p.dim, p.dstate});
      case Axes::bgnl:
        return "shape (batch, groups, dstate, seqlen) = " + tuple({p.batch, p.groups, p.dstate, p.seqlen});
      case Axes::d:
        return "shape (dim) = " + tuple({p.dim});
      case Axes::bdn:
        return "shape (batch, dim, dstate) = " + tuple({p.batch, p.dim, p.dstate});
    }
    return "";
  }

  const lrnnx_selective_scan_problem& problem_;
};

// When each tensor is expected; the same for an input and its gradient.
class Presences {
 public:
  explicit Presences(const lrnnx_selective_scan_problem& problem) : problem_(problem) {}

  Presence always() const { return {true, {"every selective scan has it", "", ""}}; }
  Presence option(uint32_t bit) const {
    const char* name = "";
    for (const Option& option : kOptions)
      if (option.bit == bit) name = option.name;
    const bool set = problem_.options & bit;
    return {set, {set ? "options has " : "options lacks ", name, ""}};
  }
  Presence A() const { return taken(traits(problem_.discretization).A); }
  Presence B() const { return taken(traits(problem_.discretization).B); }

  Axes axes(uint32_t variable) const { return problem_.options & variable ? Axes::bgnl : Axes::dn; }

 private:
  Presence taken(bool yes) const {
    return {yes,
            {"discretization ", discretization_name(problem_.discretization), yes ? " takes it" : " does not take it"}};
  }
  const lrnnx_selective_scan_problem& problem_;
};

// Checks each, and notes where it lies.
lrnnx_status validate_tensors(const lrnnx_selective_scan_problem& problem, std::initializer_list<TensorRule> rules,
                              Ranges& ranges) {
  const TensorChecker checker(problem);
  for (const TensorRule& rule : rules) {
    if (lrnnx_status status = checker.check(rule); status != LRNNX_OK) return status;
    if (rule.tensor.data != nullptr) ranges.add(checker.range(rule));
  }
  return LRNNX_OK;
}

lrnnx_status validate_buffer(const char* name, const void* data, int64_t bytes, int64_t needed) {
  if (needed == 0) return LRNNX_OK;
  if (data == nullptr)
    return fail(LRNNX_INVALID_ARGUMENT, "%s is null, but %lld bytes are needed", name, static_cast<long long>(needed));
  if (bytes < needed)
    return fail(LRNNX_INVALID_ARGUMENT, "%s_bytes is %lld, but %lld are needed", name, static_cast<long long>(bytes),
                static_cast<long long>(needed));
  if (reinterpret_cast<uintptr_t>(data) % kBufferAlignment != 0)
    return fail(LRNNX_INVALID_ARGUMENT, "%s starts at %p; it must start at a multiple of %d bytes", name, data,
                static_cast<int>(kBufferAlignment));
  return LRNNX_OK;
}

}  // namespace

lrnnx_status validate_problem(const lrnnx_selective_scan_problem* problem, int32_t direction) {
  if (problem == nullptr) return fail(LRNNX_INVALID_ARGUMENT, "problem is null");
  if (lrnnx_status status = validate_enums(*problem, direction); status != LRNNX_OK) return status;
  if (lrnnx_status status = validate_options(*problem); status != LRNNX_OK) return status;
  if (lrnnx_status status = validate_sizes(*problem); status != LRNNX_OK) return status;
  return validate_computed(*problem, direction);
}

lrnnx_status validate_args(const lrnnx_selective_scan_problem& problem, const lrnnx_memory& needed,
                           const lrnnx_selective_scan_forward_args* args, lrnnx_selective_scan_forward_args& resolved) {
  if (args == nullptr) return fail(LRNNX_INVALID_ARGUMENT, "args is null");
  resolved = *args;
  lrnnx_selective_scan_forward_args& a = resolved;
  const Presences is(problem);
  Ranges ranges;
  const lrnnx_status status =
      validate_tensors(problem,
                       {{"u", is.always(), Axes::bdl, false, Access::read, a.u},
                        {"delta", is.always(), Axes::bdl, false, Access::read, a.delta},
                        {"A", is.A(), Axes::dn, true, Access::read, a.A},
                        {"B", is.B(), is.axes(LRNNX_VARIABLE_B), true, Access::read, a.B},
                        {"C", is.always(), is.axes(LRNNX_VARIABLE_C), true, Access::read, a.C},
                        {"D", is.option(LRNNX_HAS_D), Axes::d, false, Access::read, a.D},
                        {"z", is.option(LRNNX_HAS_Z), Axes::bdl, false, Access::read, a.z},
                        {"delta_bias", is.option(LRNNX_HAS_DELTA_BIAS), Axes::d, false, Access::read, a.delta_bias},
                        {"deltaA", is.option(LRNNX_HAS_DELTA_A), Axes::bdl, false, Access::read, a.deltaA},
                        {"h0", is.option(LRNNX_HAS_H0), Axes::bdn, true, Access::read, a.h0},
                        {"out", is.always(), Axes::bdl, false, Access::write, a.out},
                        {"out_z", is.option(LRNNX_HAS_Z), Axes::bdl, false, Access::write, a.out_z},
                        {"last_state", is.option(LRNNX_HAS_LAST_STATE), Axes::bdn, true, Access::write, a.last_state}},
                       ranges);
  if (status != LRNNX_OK) return status;
  const Presence saved = is.option(LRNNX_SAVE_FOR_BACKWARD);
  if (!saved.expected && a.saved != nullptr)
    return fail(LRNNX_INVALID_ARGUMENT, "saved is given, but must be null: %s", saved.text().c_str());
  if (lrnnx_status bad = validate_buffer("saved", a.saved, a.saved_bytes, needed.saved_bytes); bad != LRNNX_OK)
    return bad;
  if (lrnnx_status bad = validate_buffer("workspace", a.workspace, a.workspace_bytes, needed.workspace_bytes);
      bad != LRNNX_OK)
    return bad;
  ranges.add({"saved", a.saved, needed.saved_bytes, true, true});
  ranges.add({"workspace", a.workspace, needed.workspace_bytes, true, true});
  return ranges.validate_apart();
}

lrnnx_status validate_args(const lrnnx_selective_scan_problem& problem, const lrnnx_memory& needed,
                           const lrnnx_selective_scan_backward_args* args,
                           lrnnx_selective_scan_backward_args& resolved) {
  if (args == nullptr) return fail(LRNNX_INVALID_ARGUMENT, "args is null");
  resolved = *args;
  lrnnx_selective_scan_backward_args& a = resolved;
  const Presences is(problem);
  const Axes axes_B = is.axes(LRNNX_VARIABLE_B), axes_C = is.axes(LRNNX_VARIABLE_C);
  const Presence D = is.option(LRNNX_HAS_D), z = is.option(LRNNX_HAS_Z), bias = is.option(LRNNX_HAS_DELTA_BIAS),
                 deltaA = is.option(LRNNX_HAS_DELTA_A), h0 = is.option(LRNNX_HAS_H0);
  Ranges ranges;
  const lrnnx_status status =
      validate_tensors(problem,
                       {{"u", is.always(), Axes::bdl, false, Access::read, a.u},
                        {"delta", is.always(), Axes::bdl, false, Access::read, a.delta},
                        {"A", is.A(), Axes::dn, true, Access::read, a.A},
                        {"B", is.B(), axes_B, true, Access::read, a.B},
                        {"C", is.always(), axes_C, true, Access::read, a.C},
                        {"D", D, Axes::d, false, Access::read, a.D},
                        {"z", z, Axes::bdl, false, Access::read, a.z},
                        {"delta_bias", bias, Axes::d, false, Access::read, a.delta_bias},
                        {"deltaA", deltaA, Axes::bdl, false, Access::read, a.deltaA},
                        {"h0", h0, Axes::bdn, true, Access::read, a.h0},
                        {"out", z, Axes::bdl, false, Access::read, a.out},
                        {"dout", is.always(), Axes::bdl, false, Access::read, a.dout},
                        {"dlast_state", is.option(LRNNX_HAS_LAST_STATE), Axes::bdn, true, Access::read, a.dlast_state},
                        {"du", is.always(), Axes::bdl, false, Access::write, a.du},
                        {"ddelta", is.always(), Axes::bdl, false, Access::write, a.ddelta},
                        {"dA", is.A(), Axes::dn, true, Access::write, a.dA},
                        {"dB", is.B(), axes_B, true, Access::write, a.dB},
                        {"dC", is.always(), axes_C, true, Access::write, a.dC},
                        {"dD", D, Axes::d, false, Access::write, a.dD},
                        {"dz", z, Axes::bdl, false, Access::write, a.dz},
                        {"ddelta_bias", bias, Axes::d, false, Access::write, a.ddelta_bias},
                        {"ddeltaA", deltaA, Axes::bdl, false, Access::write, a.ddeltaA},
                        {"dh0", h0, Axes::bdn, true, Access::write, a.dh0}},
                       ranges);
  if (status != LRNNX_OK) return status;
  if (lrnnx_status bad = validate_buffer("saved", a.saved, a.saved_bytes, needed.saved_bytes); bad != LRNNX_OK)
    return bad;
  if (lrnnx_status bad = validate_buffer("workspace", a.workspace, a.workspace_bytes, needed.workspace_bytes);
      bad != LRNNX_OK)
    return bad;
  ranges.add({"saved", a.saved, needed.saved_bytes, true, false});
  ranges.add({"workspace", a.workspace, needed.workspace_bytes, true, true});
  return ranges.validate_apart();
}

}  // namespace lrnnx
