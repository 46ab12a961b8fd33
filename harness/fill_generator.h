// What a base gives one tensor: the number at one place, or those of a stretch at once.
#pragma once

#include <cstdint>
#include <type_traits>

#include "harness/fill_element.h"

namespace lrnnx::bench {

// Numbers of one row that follow each other.
struct Stretch {
  uint64_t key;        // of the tensor
  int64_t index;       // of the first in the tensor
  int64_t row, place;  // of the first: its row, and which number of the row it is
  int64_t count;
  bool complex;  // two numbers an element
};

class Generator {
 public:
  constexpr Generator() = default;  // gives nothing, and is false

  // Of a lambda without captures.
  template <class Value>
  requires std::is_empty_v<Value> && std::is_invocable_r_v<double, Value, const Element&>
  constexpr Generator(Value) : at_(at<Value>), stretch_(dispatch<Value>) {}

  explicit operator bool() const { return at_ != nullptr; }
  double operator()(const Element& element) const { return at_(element); }
  void operator()(const Stretch& stretch, double* values) const { stretch_(stretch, values); }

 private:
  template <class Value>
  static double at(const Element& element) {
    return Value{}(element);
  }

  template <class Value>
  [[gnu::always_inline]] static inline void each(const Stretch& stretch, double* values) {
    const int64_t pair = stretch.complex ? 1 : 0;
    for (int64_t i = 0; i < stretch.count; ++i) {
      const int64_t place = stretch.place + i;
      values[i] = Value{}(Element(stretch.key, stretch.index + i, stretch.row, place >> pair, (place & pair) != 0));
    }
  }

#if defined(__x86_64__)
  template <class Value>
  [[gnu::flatten, gnu::target("avx2")]] static void each_avx2(const Stretch& stretch, double* values) {
    each<Value>(stretch, values);
  }
  template <class Value>
  [[gnu::flatten, gnu::target("avx512f,avx512dq")]] static void each_avx512(const Stretch& stretch, double* values) {
    each<Value>(stretch, values);
  }
#endif

  // With the widest vectors that this processor has.
  template <class Value>
  [[gnu::flatten]] static void dispatch(const Stretch& stretch, double* values) {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq"))
      return each_avx512<Value>(stretch, values);
    if (__builtin_cpu_supports("avx2")) return each_avx2<Value>(stretch, values);
#endif
    each<Value>(stretch, values);
  }

  double (*at_)(const Element& element) = nullptr;
  void (*stretch_)(const Stretch& stretch, double* values) = nullptr;
};

}  // namespace lrnnx::bench
