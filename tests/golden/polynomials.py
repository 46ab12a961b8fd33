"""Minimax polynomials of kernels/common/math.h: each coefficient is rounded to float in turn and the rest refitted."""
import struct
from mpmath import mp, mpf
mp.dps = 40
def to_float(x):
    return mpf(struct.unpack('f', struct.pack('f', float(x)))[0])
def remez(f, lo, hi, n, weight, fixed, grid, w, fv):
    k0 = len(fixed); m = n + 2 - k0
    xs = [lo + (hi-lo)*(1 - mp.cos(mp.pi*(i+mpf(1)/2)/m))/2 for i in range(m)]
    best = None
    for it in range(20):
        A = mp.matrix(m, m); b = mp.matrix(m, 1)
        for i, x in enumerate(xs):
            for k in range(k0, n+1): A[i, k-k0] = x**k
            A[i, m-1] = (-1)**i / weight(x)
            b[i] = f(x) - sum(c*x**k for k, c in enumerate(fixed))
        s = mp.lu_solve(A, b)
        c = list(fixed) + [s[i] for i in range(m-1)]
        err = [w[i]*(mp.polyval(c[::-1], x) - fv[i]) for i, x in enumerate(grid)]
        mx = max(abs(e) for e in err)
        if best is None or mx < best[1]: best = (c, mx)
        runs = []; cur = [0]
        for i in range(1, len(grid)):
            if (err[i] > 0) == (err[i-1] > 0): cur.append(i)
            else: runs.append(cur); cur = [i]
        runs.append(cur)
        ext = [max(r, key=lambda i: abs(err[i])) for r in runs]
        while len(ext) > m:
            if abs(err[ext[0]]) < abs(err[ext[-1]]): ext = ext[1:]
            else: ext = ext[:-1]
        if len(ext) < m or mx < abs(s[m-1])*mpf('1.01'): break
        xs = [grid[i] for i in ext]
    return best
def report(name, f, lo, hi, n, weight, fixed=()):
    lo, hi = mpf(lo), mpf(hi)
    grid = [lo + (hi-lo)*(1-mp.cos(mp.pi*i/400))/2 for i in range(401)]
    w = [weight(x) for x in grid]; fv = [f(x) for x in grid]
    fixed = list(fixed)
    c0, ideal = remez(f, lo, hi, n, weight, fixed, grid, w, fv)
    while len(fixed) <= n:
        c, e = remez(f, lo, hi, n, weight, fixed, grid, w, fv) if len(fixed) < n+1 else (fixed, 0)
        fixed.append(to_float(c[len(fixed)]))
    e = max(abs(w[i]*(mp.polyval(fixed[::-1], x)-fv[i])) for i, x in enumerate(grid))
    print('%s deg %d on [%s, %s]: %.3f u (unrounded %.3f u)' % (name, n, mp.nstr(lo,6), mp.nstr(hi,6), float(e*2**24), float(ideal*2**24)))
    print('   ', ', '.join('%.9gf' % float(x) for x in fixed), flush=True)
ln2 = mp.log(2); one = mpf(1)
if __name__ == '__main__':
    report('2^f', lambda x: mpf(2)**x, '-0.5', '0.5', 6, lambda x: mpf(2)**-x, [one])
    report('e^r', mp.exp, -ln2/2, ln2/2, 6, lambda x: mp.exp(-x), [one, one])
    report('e^r', mp.exp, -ln2/2, ln2/2, 6, lambda x: mp.exp(-x), [one])
    f = lambda x: mp.log1p(x)/x if x else one
    for n in (7, 8): report('log1p(x)/x', f, 0, 1, n, lambda x: 1/f(x), [one])
    report('log1p(x)/x free', f, 0, 1, 7, lambda x: 1/f(x))
    g1 = lambda x: mp.expm1(x*ln2)/(x*ln2) if x else one
    g = lambda x: g1(x)*ln2
    report('(2^v-1)/v', g, -1, 1, 7, lambda x: 1/g(x))
    report('(2^v-1)/(v ln2)', g1, -1, 1, 7, lambda x: 1/g1(x), [one])
    # of the root r = 2^(v/2), as 1 + (r - 1) (c0 + c1 r), for |v| <= 1/2; expanded, the coefficients of 1 and r^2 are
    # equal, and that of 1 is rounded so that the sum at r = 1 is 1
    g2 = lambda r: (g1(2*mp.log(r)/ln2)-1)/(r-1) if r != 1 else one
    report('((2^v-1)/(v ln2)-1)/(r-1)', g2, mpf(2)**mpf('-0.25'), mpf(2)**mpf('0.25'), 1,
           lambda r: abs(r-1)/g1(2*mp.log(r)/ln2) if r != 1 else mpf('1e-30'))
    ex = lambda x: mp.expm1(x)/x if x else one
    report('(e^x-1)/x', ex, -ln2, ln2, 7, lambda x: 1/ex(x), [one])
    def psi(v):
        z = v*ln2
        if abs(z) < mpf('1e-8'): return mpf(1)/2 + z/3
        return (mp.exp(z)*(z-1)+1)/z**2
    for n in (8, 9): report('psi', psi, '-2', '2', n, lambda x: 1/psi(x), [mpf('0.5')])
    for n in (8, 9): report('ln2 psi', lambda v: psi(v)*ln2, '-2', '2', n, lambda x: 1/psi(x)/ln2)
    S = lambda q: mp.sin(mp.pi*mp.sqrt(q))/mp.sqrt(q) if q else mp.pi
    for n in (4,5): report('sin(pi f)/f in f^2', S, 0, '0.25', n, lambda x: 1/S(x))
    S2 = lambda q: (mp.sin(mp.pi*mp.sqrt(q))/mp.sqrt(q) if q else mp.pi) - to_float(mp.pi)
    C = lambda q: mp.cos(mp.pi*mp.sqrt(q))
    for n in (4,5): report('cos(pi f) in f^2', C, 0, '0.25', n, lambda x: one, [one])
    h = mp.pi**2/4
    S = lambda q: mp.sin(mp.sqrt(q))/mp.sqrt(q) if q else one
    for n in (4,): report('sin(r)/r in r^2', S, 0, h, n, lambda x: 1/S(x), [one])
    C = lambda q: mp.cos(mp.sqrt(q))
    for n in (4,5): report('cos(r) in r^2', C, 0, h, n, lambda x: one, [one])
    def const(n, x): 
        hi = to_float(x); lo = to_float(x-hi); lo2 = to_float(x-hi-lo)
        print(n, '%.9gf %.9gf %.9gf' % (float(hi), float(lo), float(lo2)), 'rel err %.3f u' % float((hi/x-1)*2**24))
    const('log2e', 1/ln2); const('ln2', ln2); const('1/2pi', 1/(2*mp.pi)); const('1/pi', 1/mp.pi); const('pi', mp.pi); const('2pi', 2*mp.pi); const('2pi log2e', 2*mp.pi/ln2)
