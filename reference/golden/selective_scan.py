#!/usr/bin/env python3
"""Writes selective_scan.h: the selective scan at its singular points, computed by mpmath to far more than 50 digits.

Run from anywhere with mpmath installed: python3 reference/golden/selective_scan.py. Nothing is differentiated by hand here: the
factors come from their definitions (zero-order hold as integrals), the scans' gradients from central differences with
a step of 1e-60 at 200 digits.
"""

import pathlib

from mpmath import mp, mpc, mpf

mp.dps = 200
STEP = mpf(10) ** -60
SQRT_HALF = 0.70710676908493042  # the float nearest to sqrt(1/2)


def to_complex(x):
    return mpc(*x) if isinstance(x, tuple) else mpc(x)


def phi(A, dt):
    """The integral of exp(A s) over [0, dt]."""
    if abs(A * dt) < mpf(10) ** -20:  # 1e-20 ** 12 is below the last digit wanted
        return sum((A * dt) ** k / mp.factorial(k + 1) for k in range(12)) * dt
    return (mp.exp(A * dt) - 1) / A


def factors(discretization, A, dtA, dt):
    if discretization == "mamba":
        return mp.exp(dtA * A), mpc(dt)
    if discretization == "dirac":
        return mp.exp(dtA * A), mpc(1)
    if discretization == "zoh":
        return mp.exp(dtA * A), phi(A, dt)
    if discretization == "bilinear":
        return (1 + dtA * A / 2) / (1 - dtA * A / 2), dt / (1 - dt * A / 2)
    if discretization == "s7":
        return 1 - 1 / (mpc(dt) ** 2 + mpf("0.5")), mpc(1)
    if discretization == "rglru":
        transition = mp.exp(dt * mp.log(A))
        return transition, mp.sqrt(1 - transition**2)
    raise ValueError(discretization)


def slope(function, x):
    h = STEP * max(abs(x), mpf(10) ** -20)
    return (function(x + h) - function(x - h)) / (2 * h)


# --- Factors and their derivatives at single points -----------------------------------------------------------------

POINTS = [
    *[("zoh", A, dt) for dt in (0.125, 1e-6) for A in (0.0, -1e-30, -1e-9, -1e-4, 1e-4, -0.3)],
    *[("zoh", A, dt) for A, dt in ((-4.0, 0.125), (-4.0001, 0.125), (-16.0, 0.5), (-16.0, 10.0), (-256.0, 10.0), (3.0, 2.0))],
    *[("zoh", A, dt) for dt in (0.125, 1e-6) for A in ((0.0, 0.0), (-1e-9, 1e-9), (0.0, 1e-5), (-0.5, 0.3))],
    *[("zoh", A, dt) for A, dt in (((-0.5, 50.0), 0.125), ((-0.5, 6.2831853), 1.0), ((-900.0, 2.0), 1.0))],
    *[("bilinear", A, dt) for A, dt in ((-2.0, 1.0), (-16.0, 0.125), (-2.0000019, 1.0), (-6.0, 1.0), (0.0, 0.5), (-1e30, 1.0), (-1.0, 0.0))],
    *[("bilinear", A, dt) for A, dt in (((-2.0, 0.0), 1.0), ((-2.0, 1e-7), 1.0), ((0.0, 2.0), 1.0), ((-0.5, 300.0), 0.5))],
    *[("s7", 0.0, a) for a in (SQRT_HALF, -SQRT_HALF, 0.0, 1e-20, 1.0, 1e10)],
    *[("rglru", A, delta) for A in (0.5, 0.99999994, 1e-30) for delta in (1e-30, 1e-12, 0.01, 8.0)],
    *[("mamba", A, dt) for A, dt in ((-1.0, 0.0), (-1e-30, 1.0), (-16.0, 10.0))],
    *[("dirac", A, dt) for A, dt in (((-0.5, 3.1415927), 1.0), ((-90.0, 1000.0), 1.0))],
]


def point_row(discretization, A, dt):
    exact_A, exact_dt = to_complex(A), mpf(dt)
    transition, by_input = factors(discretization, exact_A, exact_dt, exact_dt)
    slopes = []
    for index in (0, 1):
        slopes.append(slope(lambda x: factors(discretization, exact_A, x, x)[index], exact_dt))
        slopes.append(slope(lambda x: factors(discretization, x, exact_dt, exact_dt)[index], exact_A))
    numbers = [exact_A, exact_dt, transition, by_input, *slopes]
    return f"    {{Discretization::{discretization}, {boolean(isinstance(A, tuple))}, " + ", ".join(
        number(x) if i == 1 else f"{{{number(mp.re(x))}, {number(mp.im(x))}}}" for i, x in enumerate(numbers)) + "},"


# --- Whole scans ------------------------------------------------------------------------------------------------------

SEQLEN, DSTATE = 3, 2


def scan_inputs(complex_weights, A, delta, with_steps):
    """One channel of three steps and two states, every option that the discretization takes; B fixed, C variable."""
    def weights(*values):
        return list(values) if complex_weights else [v[0] for v in values]

    inputs = {
        "u": [0.75, -1.25, 0.5],
        "delta": delta,
        "A": A,
        "B": weights((0.5, -0.25), (-1.5, 1.0)),
        "C": weights((1.0, 0.5), (-0.5, 0.25), (2.0, -1.0), (0.25, 1.5), (-0.75, 0.5), (1.25, -0.5)),  # (N, L)
        "D": [0.375],
        "z": [1.5, -0.5, 100.0],
        "delta_bias": [0.0625] if with_steps else [],
        "deltaA": [0.25, 0.5, 1.0] if with_steps else [],
        "h0": weights((0.5, 0.25), (-0.25, 1.0)),
    }
    return {name: [to_complex(x) if name in ("A", "B", "C", "h0") else mpf(x) for x in values]
            for name, values in inputs.items()}


DOUT = [1.0, -0.5, 0.75]
DLAST_STATE = [mpc(0.5, -1.0), mpc(-1.25, 0.25)]

SCANS = [  # name, discretization, complex, A, delta, deltaA and delta_bias given
    ("zoh, A = 0 and A -> 0", "zoh", False, [0.0, -1e-12], [0.5, 1e-6, 2.0], True),
    ("zoh, A = 0 and A -> 0", "zoh", True, [(0.0, 0.0), (-1e-12, 1e-10)], [0.5, 1e-6, 2.0], True),
    ("zoh, one step for both factors", "zoh", False, [-1e-5, -16.0], [0.5, 1e-6, 10.0], False),
    ("zoh, one step for both factors", "zoh", True, [(-1e-5, 1e-5), (-0.5, 40.0)], [0.5, 1e-6, 10.0], False),
    ("bilinear, dt A = -2", "bilinear", False, [-2.0, -4.0], [1.0, 0.5, 0.0], False),
    ("bilinear, dt A = -2", "bilinear", True, [(-2.0, 0.0), (-4.0, 1e-7)], [1.0, 0.5, 0.0], False),
    ("bilinear, dtA A = -2", "bilinear", False, [-2.0, -4.0], [1.0, 0.5, 0.25], True),
    ("s7, a^2 near 1/2", "s7", False, [0.0, 0.0], [SQRT_HALF, -SQRT_HALF, 3.0], False),
    ("rglru, delta -> 0", "rglru", False, [0.5, 0.99999994], [1e-20, 1e-6, 8.0], False),
    ("mamba, stiff", "mamba", False, [-0.0, -100.0], [10.0, 1e-6, 0.5], True),
    ("mamba, fast phase", "mamba", True, [(-1e-3, 100.0), (-100.0, 1.0)], [10.0, 1e-6, 0.5], True),
    ("dirac, stiff", "dirac", False, [-0.0, -100.0], [10.0, 1e-6, 0.5], False),
    ("dirac, fast phase", "dirac", True, [(-1e-3, 100.0), (-100.0, 1.0)], [10.0, 1e-6, 0.5], False),
]


def run_scan(discretization, complex_weights, inputs):
    h = list(inputs["h0"])
    out, out_z = [], []
    for t in range(SEQLEN):
        dt = inputs["delta"][t] + (inputs["delta_bias"][0] if inputs["delta_bias"] else 0)
        dtA = inputs["deltaA"][t] if inputs["deltaA"] else dt
        y = mpc(0)
        for n in range(DSTATE):
            transition, by_input = factors(discretization, inputs["A"][n], dtA, dt)
            B = 1 if discretization == "rglru" else inputs["B"][n]
            h[n] = transition * h[n] + by_input * B * inputs["u"][t]
            y += inputs["C"][n * SEQLEN + t] * h[n]
        out.append(mp.re(y) * (2 if complex_weights else 1) + inputs["D"][0] * inputs["u"][t])
        out_z.append(out[-1] * inputs["z"][t] / (1 + mp.exp(-inputs["z"][t])))
    return out, out_z, h


def loss(discretization, complex_weights, inputs):
    _, out_z, h = run_scan(discretization, complex_weights, inputs)
    total = sum(g * y for g, y in zip(DOUT, out_z))
    for g, x in zip(DLAST_STATE, h):
        total += mp.re(g) * mp.re(x) + (mp.im(g) * mp.im(x) if complex_weights else 0)
    return total


def scan_gradients(discretization, complex_weights, inputs):
    gradients = {}
    for name, values in inputs.items():
        gradients[name] = []
        for i, value in enumerate(values):
            def partial(direction):
                def at(x):
                    moved = dict(inputs)
                    moved[name] = values[:i] + [value + direction * x] + values[i + 1:]
                    return loss(discretization, complex_weights, moved)
                h = STEP * max(abs(value), mpf(10) ** -20)
                return (at(h) - at(-h)) / (2 * h)

            is_weight = complex_weights and name in ("A", "B", "C", "h0")
            gradients[name].append(mpc(partial(1), partial(mpc(0, 1))) if is_weight else mpc(partial(1)))
    return gradients


# --- C++ --------------------------------------------------------------------------------------------------------------


def number(x):
    x = float(x)
    return "0.0" if x == 0 else repr(x)


def boolean(x):
    return "true" if x else "false"


def vector(values, complex_values):
    parts = []
    for x in values:
        parts.append(number(mp.re(x)))
        if complex_values:
            parts.append(number(mp.im(x)))
    return "{" + ", ".join(parts) + "}"


def scan_row(name, discretization, complex_weights, A, delta, with_steps):
    inputs = scan_inputs(complex_weights, A, delta, with_steps)
    out, out_z, last_state = run_scan(discretization, complex_weights, inputs)
    gradients = scan_gradients(discretization, complex_weights, inputs)
    weights = ("A", "B", "C", "h0")

    def fields(prefix, tensors):
        return ",\n         ".join(
            f".{prefix}{key} = {vector(values, complex_weights and key in weights)}" for key, values in tensors.items())

    return f"""    {{"{name}",
     {{.discretization = Discretization::{discretization},
      .complex = {boolean(complex_weights)},
      .seqlen = {SEQLEN},
      .dstate = {DSTATE},
      .variable_B = false}},
     {{{fields("", inputs)}}},
     {vector(DOUT, False)},
     {vector(DLAST_STATE, complex_weights)},
     {{{vector(out, False)}, {vector(out_z, False)}, {vector(last_state, complex_weights)}}},
     {{{fields("d", gradients)}}}}},"""


def main():
    points = "\n".join(point_row(*point) for point in POINTS)
    scans = "\n".join(scan_row(*scan) for scan in SCANS)
    text = f"""// Written by selective_scan.py: the selective scan's singular points, rounded from 200 digits.
#pragma once

#include <complex>
#include <vector>

#include "reference/selective_scan.h"

namespace lrnnx::reference::golden {{

struct Point {{
  Discretization discretization;
  bool complex;
  std::complex<double> A;
  double dt;
  std::complex<double> transition, input;
  std::complex<double> transition_by_step, transition_by_weight, input_by_step, input_by_weight;
}};

struct Scan {{
  const char* name;
  Problem problem;
  Inputs inputs;
  std::vector<double> dout, dlast_state;
  Outputs outputs;
  Gradients gradients;
}};

// clang-format off
inline const std::vector<Point> kPoints = {{
{points}
}};

inline const std::vector<Scan> kScans = {{
{scans}
}};
// clang-format on

}}  // namespace lrnnx::reference::golden
"""
    pathlib.Path(__file__).with_name("selective_scan.h").write_text(text)


if __name__ == "__main__":
    main()
