"""Writes discretizations.csv: every discretization and its slopes at 50 digits, at inputs that are exact floats.

Usage: pip install mpmath==1.3.0 && python3 discretizations.py > discretizations.csv

One row is one input (weight A, step) of one part (transition or input factor) of one discretization: the value and its
derivatives by the step and by the weight, each with
  scale  |f| + |z df/dz|: what one relative rounding of the result and one of z, the product of step and weight, may
         change, in units of the rounding. Where the functor does not round z (bilinear, s7) it is |f| alone.
  floor  FLT_MIN times (1 + what multiplies an exponential that may underflow in f).
"""

import random
import struct
import sys

from mpmath import mp, mpc, mpf

mp.dps = 120
FLT_MIN = mpf(2) ** -126


def to_float(x):
    return mpf(struct.unpack("f", struct.pack("f", float(x)))[0])


def z_slope(g, z):
    """z g'(z)"""
    return z * mp.diff(g, z) if z != 0 else mpf(0)


def phi(z):
    return mp.expm1(z) / z if z != 0 else mpf(1)


def psi(z):
    return (mp.exp(z) * (z - 1) + 1) / z**2 if z != 0 else mpf(1) / 2


def quantity(factor, g, z, rounds_z=True, underflows=False):
    """factor * g(z), its scale and its floor"""
    f = factor * g(z)
    scale = abs(f) + (abs(factor * z_slope(g, z)) if rounds_z else 0)
    return f, scale, FLT_MIN * (1 + (abs(factor) if underflows else 0))


def exponential(A, dt):
    z = A * dt
    return [quantity(factor, mp.exp, z, underflows=True) for factor in (mpf(1), A, dt)]


def zoh_input(A, dt):
    z = A * dt
    return [quantity(dt, phi, z), quantity(mpf(1), mp.exp, z, underflows=True), quantity(dt**2, psi, z)]


def bilinear(A, dt):
    v = A * dt / 2
    slope = lambda v: 1 / (1 - v) ** 2
    return [
        quantity(mpf(1), lambda v: (1 + v) / (1 - v), v, rounds_z=False),
        quantity(A, slope, v, rounds_z=False),
        quantity(dt, slope, v, rounds_z=False),
    ]


def bilinear_input(A, dt):
    v = A * dt / 2
    slope = lambda v: 1 / (1 - v) ** 2
    return [
        quantity(dt, lambda v: 1 / (1 - v), v, rounds_z=False),
        quantity(mpf(1), slope, v, rounds_z=False),
        quantity(dt**2 / 2, slope, v, rounds_z=False),
    ]


def s7(_, a):
    none = (mpf(0), mpf(0), FLT_MIN)
    return [
        quantity(mpf(1), lambda a: (a**2 - mpf(1) / 2) / (a**2 + mpf(1) / 2), a, rounds_z=False),
        quantity(mpf(1), lambda a: 2 * a / (a**2 + mpf(1) / 2) ** 2, a, rounds_z=False),
        none,
    ]


def rglru(A, delta):
    log = mp.log(A)
    return [quantity(factor, mp.exp, delta * log, underflows=True) for factor in (mpf(1), log, delta / A)]


def rglru_input(A, delta):
    log = mp.log(A)
    z = delta * log
    if z == 0:  # the slope is infinite there and defined as 0
        return [(mpf(0), mpf(0), FLT_MIN)] * 3
    root = lambda z: mp.sqrt(-mp.expm1(2 * z))
    slope = lambda z: -mp.exp(2 * z) / root(z)
    return [
        quantity(mpf(1), root, z),
        quantity(log, slope, z, underflows=True),
        quantity(delta / A, slope, z, underflows=True),
    ]


MAGNITUDES = [mpf(x) for x in (
    "1e-12 1e-9 6e-8 1e-6 1e-5 1e-4 1e-3 0.01 0.03 0.1 0.2 0.3 0.4 0.5 0.6 0.69 0.6931 0.6932 0.7 0.8 0.9 0.99 1 1.01 "
    "1.2 1.38 1.39 1.5 1.75 2 2.5 3 4 6 8 10 13 16 20 25 30 40 50 60 70 80 86 87 87.5 88").split()]
LARGEST = 70  # of Re(A dt), so that no product with a slope overflows
UNDERFLOW = [mpf(x) for x in "89 90 92 95 100 103 104 105 120 1000".split()]
STEPS = [to_float(x) for x in ("1e-6", "3e-4", "0.02", "0.37", "1", "7.3")]


def steps():
    while True:
        yield from STEPS


def real_points():
    """A, dt with |A dt| over the range, at A = 0, dt = 0 and where the quotients of zoh cancel"""
    step = steps()
    rng = random.Random(1)
    spread = [mpf(10) ** mpf(rng.uniform(-1.5, 0.7)) for _ in range(40)]
    for sign in (-1, 1):
        for magnitude in MAGNITUDES + spread + (UNDERFLOW if sign < 0 else []):
            if sign > 0 and magnitude > LARGEST:
                continue
            dt = next(step)
            yield to_float(sign * magnitude / dt), dt
    for dt in STEPS:
        yield mpf(0), dt
    for A in ("-1e-40", "1e-30", "-1", "16", "-1e6"):
        yield to_float(A), mpf(0)
    for A, dt in (("-1e-40", "1"), ("1e-30", "0.5"), ("-1e-20", "1e-20"), ("-3", "1e-40"), ("0", "0")):
        yield to_float(A), to_float(dt)


def complex_points():
    step = steps()
    rng = random.Random(2)
    angles = [mpf(x) for x in ("2.3", "1.5707964", "-1.5707964", "3.1415927", "0.3", "-2.1", "-1.7", "1.9", "0")]
    spread = [mpf(10) ** mpf(rng.uniform(-1.5, 0.7)) for _ in range(60)]
    for i, magnitude in enumerate(MAGNITUDES + MAGNITUDES[10:34] * 2 + spread):
        dt = next(step)
        angle = angles[(i + i // 9) % 9] if i < 98 else mpf(rng.uniform(-3.2, 3.2))
        z = magnitude * mp.expj(angle)
        if z.real > LARGEST:
            continue
        yield mpc(to_float(z.real / dt), to_float(z.imag / dt)), dt
    for i, y in enumerate(("3.1415927", "6.2831853", "-6.2831853", "12.566371", "50", "100", "-314.15927", "628.31853",
                           "1000", "-3141.5927", "1e4", "31415.927", "-62831.853", "1e5", "-99999")):
        for x in ("0", "-1e-6", "-0.01", "-0.5", "-3"):
            dt = next(step)
            yield mpc(to_float(mpf(x) / dt), to_float(mpf(y) / dt)), dt
    for x in UNDERFLOW[:-1]:
        dt = next(step)
        yield mpc(to_float(-x / dt), to_float(mpf(3) / dt)), dt
    for dt in STEPS:
        yield mpc(0), dt
        yield mpc(to_float(-1e-35), to_float(1e-36)), dt
        yield mpc(to_float(-1e-12), to_float(3e-12)), dt
    for A in (mpc(0), mpc(-1, 3), mpc(to_float(1e-30), 1000)):
        yield A, mpf(0)


def bilinear_points(points):
    """Those without the neighbourhood of the pole A dt = 2, and the zero of the transition"""
    for A, dt in points:
        if abs(1 - A * dt / 2) > mpf("1e-3"):
            yield A, dt
    kind = mpc if isinstance(A, mpc) else mpf
    for A, dt in (("-2", "1"), ("-1", "2"), ("-8", "0.25"), ("-6", "1"), ("-1.9999999", "1"), ("-2.0000005", "1"),
                  ("-2.1", "0.95"), ("1.9", "1"), ("1.999", "1"), ("2.001", "1"), ("1e5", "1"), ("-1e10", "3")):
        yield kind(to_float(A)), to_float(dt)
    if kind is mpc:
        for A, dt in ((mpc(-2, to_float("1e-6")), 1), (mpc(0, 2), 1), (mpc(0, -2), 1), (mpc(2, to_float("1e-3")), 1),
                      (mpc(-1, 1), 2), (mpc(to_float("-1.999999"), to_float("-1e-7")), 1)):
            yield A, mpf(dt)


def s7_points():
    root = to_float(mp.sqrt(mpf(1) / 2))
    ulp = mpf(2) ** -24
    for a in ("0 1e-40 1e-30 1e-12 1e-6 1e-3 0.1 0.3 0.5 0.6 0.7 0.70703125 0.708 0.72 0.8 1 1.5 2 3 5 10 100 1e3 1e4 6e4 "
              "65536 65537 1e6 1e10 1e19 1e20 1e30").split():
        yield mpf(0), to_float(a)
        yield mpf(0), -to_float(a)
    for k in (-40, -3, -2, -1, 0, 1, 2, 3, 40):
        yield mpf(0), root + k * ulp
        yield mpf(0), -(root + k * ulp)


def rglru_points():
    rng = random.Random(3)
    one = mpf(1)
    weights = [one - k * mpf(2) ** -24 for k in (1, 2, 3, 1000)] + [
        to_float(x) for x in ("0.9999", "0.99", "0.9", "0.5", "0.1", "1e-3", "1e-38")]
    deltas = [to_float(x) for x in ("0", "1e-42", "1e-38", "1e-30", "1e-20", "1e-12", "1e-6", "1e-4", "0.01", "0.3", "1",
                                    "8", "30", "100")]
    for A in weights:
        for delta in deltas:
            yield A, delta
    for _ in range(60):  # around the change of formula at |2 delta log2(A)| = 1
        A = to_float(rng.uniform(0.05, 0.999))
        yield A, to_float(mpf(10) ** mpf(rng.uniform(-0.8, 0.8)) / -mp.log(A, 2) / 2)


def text(x, digits):
    return mp.nstr(x, digits, min_fixed=-3, max_fixed=6) if x != 0 else "0"


def write(discretization, dtype, part, function, points):
    for A, step in points:
        row = [discretization, dtype, part, text(mp.re(A), 9), text(mp.im(A), 9), text(step, 9)]
        for f, scale, floor in function(A, step):
            row += [text(mp.re(f), 17), text(mp.im(f), 17), text(scale, 4), text(floor, 4)]
        print(",".join(row))


def main():
    columns = ["discretization", "dtype", "part", "A_re", "A_im", "step"]
    for f in ("value", "by_step", "by_weight"):
        columns += [f + "_re", f + "_im", f + "_scale", f + "_floor"]
    print(",".join(columns))
    reals, complexes = list(real_points()), list(complex_points())
    write("exponential", "f32", "transition", exponential, reals)
    write("exponential", "c64", "transition", exponential, complexes)
    write("zoh", "f32", "input", zoh_input, reals)
    write("zoh", "c64", "input", zoh_input, complexes)
    for dtype, points in (("f32", list(bilinear_points(reals))), ("c64", list(bilinear_points(complexes)))):
        write("bilinear", dtype, "transition", bilinear, points)
        write("bilinear", dtype, "input", bilinear_input, points)
    write("s7", "f32", "transition", s7, s7_points())
    write("rglru", "f32", "transition", rglru, rglru_points())
    write("rglru", "f32", "input", rglru_input, rglru_points())


if __name__ == "__main__":
    sys.exit(main())
