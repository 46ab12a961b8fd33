// Forward-mode dual numbers, value + tangent e with e^2 = 0, over double and std::complex<double>, as an Eigen scalar.
// A complex tangent of 1 follows a change of the real part, one of i a change of the imaginary part.
#pragma once

#include <Eigen/Core>
#include <cmath>
#include <complex>

namespace lrnnx::reference {

template <class T>
struct Dual {
  Dual() = default;
  Dual(T v) : value(v) {}
  Dual(T v, T t) : value(v), tangent(t) {}
  template <class U>
  Dual(const Dual<U>& other) : value(other.value), tangent(other.tangent) {}

  T value{}, tangent{};
};

template <class T, class U>
using CommonDual = Dual<decltype(T{} * U{})>;

template <class T, class U>
CommonDual<T, U> operator+(const Dual<T>& x, const Dual<U>& y) {
  return {x.value + y.value, x.tangent + y.tangent};
}
template <class T, class U>
CommonDual<T, U> operator-(const Dual<T>& x, const Dual<U>& y) {
  return {x.value - y.value, x.tangent - y.tangent};
}
template <class T>
Dual<T> operator-(const Dual<T>& x) {
  return {-x.value, -x.tangent};
}
template <class T, class U>
CommonDual<T, U> operator*(const Dual<T>& x, const Dual<U>& y) {
  return {x.value * y.value, x.tangent * y.value + x.value * y.tangent};
}
template <class T, class U>
CommonDual<T, U> operator/(const Dual<T>& x, const Dual<U>& y) {
  const auto quotient = x.value / y.value;
  return {quotient, (x.tangent - quotient * y.tangent) / y.value};
}
template <class T>
Dual<T>& operator+=(Dual<T>& x, const Dual<T>& y) {
  return x = x + y;
}

template <class T>
Dual<T> exp(const Dual<T>& x) {
  const T value = std::exp(x.value);
  return {value, value * x.tangent};
}
inline Dual<double> log(const Dual<double>& x) { return {std::log(x.value), x.tangent / x.value}; }
inline Dual<double> log1p(const Dual<double>& x) { return {std::log1p(x.value), x.tangent / (1.0 + x.value)}; }
inline Dual<double> pow(const Dual<double>& x, const Dual<double>& y) {
  const double value = std::pow(x.value, y.value);
  return {value, value * (y.tangent * std::log(x.value) + y.value * x.tangent / x.value)};
}
inline Dual<double> sqrt(const Dual<double>& x) {
  const double value = std::sqrt(x.value);
  return {value, 0.5 * x.tangent / value};
}
inline Dual<double> tanh(const Dual<double>& x) {
  const double value = std::tanh(x.value);
  return {value, (1.0 - value * value) * x.tangent};
}

template <class T>
T value_of(const Dual<T>& x) {
  return x.value;
}
inline Dual<double> real_part(const Dual<double>& x) { return x; }
inline Dual<double> real_part(const Dual<std::complex<double>>& x) { return {x.value.real(), x.tangent.real()}; }

}  // namespace lrnnx::reference

namespace Eigen {

template <class T>
struct NumTraits<lrnnx::reference::Dual<T>> : NumTraits<double> {
  using Real = lrnnx::reference::Dual<T>;
  using NonInteger = lrnnx::reference::Dual<T>;
  using Nested = lrnnx::reference::Dual<T>;
  using Literal = lrnnx::reference::Dual<T>;
  enum { IsComplex = 0, RequireInitialization = 1, ReadCost = 2, AddCost = 2, MulCost = 6 };
};

template <class BinaryOp>
struct ScalarBinaryOpTraits<lrnnx::reference::Dual<std::complex<double>>, lrnnx::reference::Dual<double>, BinaryOp> {
  using ReturnType = lrnnx::reference::Dual<std::complex<double>>;
};

}  // namespace Eigen
