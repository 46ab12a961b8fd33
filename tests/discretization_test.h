// What the discretization tests evaluate on the host and on the device: one part of a functor and its slopes by the
// step and by the weight, put together as the kernels do.
#pragma once

#include <vector>

#include "discretization/bilinear.h"
#include "discretization/dirac.h"
#include "discretization/mamba.h"
#include "discretization/rglru.h"
#include "discretization/s7.h"
#include "discretization/zoh.h"

namespace lrnnx::test {

struct Point {
  Complex A;
  float step;
};

struct Evaluation {
  Complex value, by_step, by_weight;
};

enum class Part { transition, input };

LRNNX_HD void assign(float& to, Complex from) { to = from.re; }
LRNNX_HD void assign(Complex& to, Complex from) { to = from; }
LRNNX_HD Complex widen(float x) { return {x, 0.0f}; }
LRNNX_HD Complex widen(Complex x) { return x; }

template <class D, class T>
LRNNX_HD Evaluation evaluate(Part part, Point point) {
  T A, zero;
  assign(A, point.A);
  assign(zero, Complex{0.0f, 0.0f});
  const T omega = D::prepare(A);
  if (part == Part::transition) {
    const T transition = D::transition(omega, point.step);
    const T slope = D::transition_slope(omega, point.step, transition);
    return {widen(transition), widen(D::kSlopeUnit * (slope * omega)),
            widen(D::weight_gradient(A, point.step * slope, zero))};
  }
  const InputSlopes<T> slopes = D::input_slopes(omega, point.step);
  return {widen(D::input(omega, point.step)), widen(slopes.by_step),
          widen(D::weight_gradient(A, zero, slopes.by_omega))};
}

// Every point on the current CUDA device; throws std::runtime_error if CUDA fails.
template <class D, class T>
std::vector<Evaluation> evaluate_on_device(Part part, const std::vector<Point>& points);
bool device_available();

}  // namespace lrnnx::test
