#!/usr/bin/env python3
"""Makes the vectors beside it: PAM arithmetic on float32, bit for bit, in numpy integers.

Every function takes and returns float32 arrays. It is an oracle: clear, slow, and free of any
float multiply in the arithmetic it defines. `python3 pam_reference.py OUT_DIR` writes the vectors.
"""
import sys
import numpy as np

BIAS = np.int64(0x3F800000)
MIN_NORMAL = np.int64(0x00800000)
INF = np.int64(0x7F800000)
MAX_FINITE = np.int64(0x7F7FFFFF)
SIGN = np.int64(0x80000000)
NAN = np.int64(0x7FC00000)  # any NaN will do: compare NaNs as equal
LOG2E = np.array(0x3FB8AA3B, np.uint32).view(np.float32)
LN2 = np.array(0x3F317218, np.uint32).view(np.float32)
LANES, CHUNK = 16, 256


def bits(x):
    return np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.int64)


def f32(b):
    return np.asarray(b, np.int64).astype(np.uint32).view(np.float32)


def flush(x):
    """Subnormals become zeros of the same sign: they do not exist in this arithmetic."""
    b = bits(x)
    return f32(np.where((b & 0x7FFFFFFF) < MIN_NORMAL, b & SIGN, b))


def add(a, b):
    return flush(flush(a) + flush(b))


def sub(a, b):
    return flush(flush(a) - flush(b))


def _operands(a, b):
    a, b = np.broadcast_arrays(np.asarray(a, np.float32), np.asarray(b, np.float32))
    ab, bb = bits(a), bits(b)
    sign = (ab ^ bb) & SIGN
    ma, mb = ab & ~SIGN & 0x7FFFFFFF, bb & ~SIGN & 0x7FFFFFFF
    nan = (ma > INF) | (mb > INF)
    ma = np.where(ma < MIN_NORMAL, 0, ma)
    mb = np.where(mb < MIN_NORMAL, 0, mb)
    return sign, ma, mb, nan


def _range(m):
    """Flush an underflowing magnitude to zero, saturate an overflowing one to the largest finite."""
    m = np.where(m < MIN_NORMAL, 0, m)
    return np.where(m >= INF, MAX_FINITE, m)


def mul(a, b):
    sign, ma, mb, nan = _operands(a, b)
    m = _range(ma + mb - BIAS)
    zero = (ma == 0) | (mb == 0)
    inf = (ma == INF) | (mb == INF)
    m = np.where(zero, 0, m)
    m = np.where(inf, INF, m)
    return f32(np.where(nan | (zero & inf), NAN, sign | m))


def div(a, b):
    sign, ma, mb, nan = _operands(a, b)
    m = _range(ma - mb + BIAS)
    m = np.where((ma == 0) | (mb == INF), 0, m)
    m = np.where((mb == 0) | (ma == INF), INF, m)
    bad = nan | ((ma == 0) & (mb == 0)) | ((ma == INF) & (mb == INF))
    return f32(np.where(bad, NAN, sign | m))


def scale2(x, k):
    """x * 2**k by adding k to the exponent field; flushes and saturates like mul. x finite or special."""
    b = bits(x)
    sign, m = b & SIGN, b & 0x7FFFFFFF
    out = _range(m + (np.asarray(k, np.int64) << 23))
    out = np.where(m < MIN_NORMAL, 0, out)
    out = np.where(m == INF, INF, out)
    return f32(np.where(m > INF, NAN, sign | out))


def log2(a):
    b = bits(a)
    m = b & 0x7FFFFFFF
    neg = (b & SIGN) != 0
    y = scale2((m - BIAS).astype(np.float32), -23)      # int -> float32 rounds to nearest even
    y = np.where(m < MIN_NORMAL, np.float32(-np.inf), y)
    y = np.where(m == INF, np.float32(np.inf), y)
    y = np.where((m > INF) | (neg & (m >= MIN_NORMAL)), f32(NAN), y)
    return y.astype(np.float32)


def exp2(x):
    x = np.asarray(x, np.float32)
    inside = (x >= -126) & (x < 128)
    n = np.rint(np.where(inside, x, 0).astype(np.float64) * 2.0**23).astype(np.int64)  # exact, ties to even
    y = f32(np.where(inside, n + BIAS, 0))
    y = np.where(x >= 128, f32(MAX_FINITE), y)
    y = np.where(x == np.inf, np.float32(np.inf), y)
    return np.where(np.isnan(x), f32(NAN), y).astype(np.float32)


def shift_sum(x, terms):
    """x * c for a constant c given as signed powers of two [(sign, k), ...], summed left to right; Inf, NaN pass."""
    x = np.asarray(x, np.float32)
    total = None
    for sign, k in terms:
        t = scale2(x, k) if sign > 0 else -scale2(x, k)
        total = t if total is None else add(total, t)
    return np.where(np.isfinite(x), total, flush(x)).astype(np.float32)


LOG2E_TERMS = [(1, 0), (1, -1), (-1, -4), (1, -7), (-1, -9), (-1, -11)]
LN2_TERMS = [(1, -1), (1, -3), (1, -4), (1, -8), (1, -9)]


def times_log2e(x, recipe="paper"):
    return mul(x, LOG2E) if recipe == "paper" else shift_sum(x, LOG2E_TERMS)


def over_log2e(y, recipe="paper"):
    return div(y, LOG2E) if recipe == "paper" else shift_sum(y, LN2_TERMS)


def exp(x, recipe="paper"):
    return exp2(times_log2e(x, recipe))


def log(a, recipe="paper"):
    return over_log2e(log2(a), recipe)


def sqrt(a):
    b = bits(a)
    m = b & 0x7FFFFFFF
    out = (m + BIAS) >> 1
    out = np.where(m < MIN_NORMAL, 0, out)
    out = np.where(m == INF, INF, out)
    return f32(np.where((m > INF) | (((b & SIGN) != 0) & (m >= MIN_NORMAL)), NAN, out))


# ---- sums: the order is part of the meaning ------------------------------------------------------
def reduce_sum(x):
    """Sum over the last axis: 16 interleaved lanes, then a halving tree over the lanes."""
    x = np.asarray(x, np.float32)
    n = x.shape[-1]
    pad = (-n) % LANES
    lanes = np.zeros(x.shape[:-1] + (LANES,), np.float32)
    for i in range(0, n, LANES):
        w = min(LANES, n - i)
        lanes[..., :w] = add(lanes[..., :w], x[..., i:i + w])
    w = LANES
    while w > 1:
        w //= 2
        lanes = add(lanes[..., :w], lanes[..., w:2 * w])
    return lanes[..., 0]


def matmul(a, b):
    """[..., m, k] x [..., k, n]: ascending k within chunks of 256 from +0, chunk sums added in order."""
    k = a.shape[-1]
    total = np.zeros(np.broadcast_shapes(a.shape[:-2], b.shape[:-2]) + (a.shape[-2], b.shape[-1]), np.float32)
    for c in range(0, k, CHUNK):
        part = np.zeros_like(total)
        for i in range(c, min(c + CHUNK, k)):
            part = add(part, mul(a[..., :, i:i + 1], b[..., i:i + 1, :]))
        total = add(total, part)
    return total


# ---- composites ---------------------------------------------------------------------------------
def _shifted(x, recipe="paper"):
    z = times_log2e(x, recipe)
    top = np.max(np.where(np.isnan(z), -np.inf, z), axis=-1, keepdims=True)
    k = np.where(np.isfinite(top), np.floor(top), 0).astype(np.float32)
    e = exp2(sub(z, k))
    return k, e, reduce_sum(e)[..., None]


def softmax(x, recipe="paper"):
    _, e, s = _shifted(x, recipe)
    return div(e, s)


def log_softmax(x, recipe="paper"):
    k, _, s = _shifted(x, recipe)
    return sub(x, over_log2e(add(k, log2(s)), recipe))


def mean(x):
    return div(reduce_sum(x), np.float32(np.asarray(x).shape[-1]))


def layer_norm(x, gamma, beta, eps=np.float32(1e-5)):
    c = sub(x, mean(x)[..., None])
    var = mean(mul(c, c))[..., None]
    return add(mul(div(c, sqrt(add(var, eps))), gamma), beta)


def rms_norm(x, gamma, eps=np.float32(1e-5)):
    return mul(div(x, sqrt(add(mean(mul(x, x))[..., None], eps))), gamma)


# ---- derivatives ---------------------------------------------------------------------------------
def _parts(x):
    b = bits(x)
    m = b & 0x7FFFFFFF
    return b & SIGN, (m >> 23) - 127, m & 0x7FFFFF, m < MIN_NORMAL


def _pow2(sign, e):
    return f32(sign | _range((e + 127) << 23))


def mul_slope(a, b):
    """Exact d(a*b)/da, a signed power of two; 0 where b is 0. Finite operands."""
    _, _, fa, za = _parts(a)
    sb, eb, fb, zb = _parts(b)
    fa = np.where(za, 0, fa)
    return f32(np.where(zb, sb, bits(_pow2(sb, eb + ((fa + fb) >> 23)))))


def div_slope_a(a, b):
    _, _, fa, za = _parts(a)
    sb, eb, fb, _ = _parts(b)
    fa = np.where(za, 0, fa)
    return _pow2(sb, -eb - (fa < fb))


def div_slope_b(a, b):
    """Exact d(a/b)/db = -sign(a) 2**(Ea - 2 Eb - [Ma < Mb]); 0 where a is 0."""
    sa, ea, fa, za = _parts(a)
    _, eb, fb, _ = _parts(b)
    return f32(np.where(za, 0, bits(_pow2(sa ^ SIGN, ea - 2 * eb - (fa < fb)))))


def exp2_slope(x):
    return _pow2(np.int64(0), np.floor(np.clip(x, -200, 200)).astype(np.int64))


def log2_slope(a):
    _, ea, _, _ = _parts(a)
    return _pow2(np.int64(0), -ea)


def sqrt_slope(a):
    """Exact slope of sqrt: 2**(floor((Ea + Ma) / 2) - Ea - 1)."""
    _, ea, _, _ = _parts(a)
    return _pow2(np.int64(0), (ea >> 1) - ea - 1)


GRAD = {  # name: (exact, approx), each (g, *inputs) -> gradients
    "mul": (lambda g, a, b: (mul(g, mul_slope(a, b)), mul(g, mul_slope(b, a))),
            lambda g, a, b: (mul(g, b), mul(g, a))),
    "div": (lambda g, a, b: (mul(g, div_slope_a(a, b)), mul(g, div_slope_b(a, b))),
            lambda g, a, b: (div(g, b), -div(mul(g, div(a, b)), b))),
    "exp2": (lambda g, x: (mul(g, exp2_slope(x)),), lambda g, x: (mul(g, mul(exp2(x), LN2)),)),
    "log2": (lambda g, a: (mul(g, log2_slope(a)),), lambda g, a: (div(div(g, a), LN2),)),
    "sqrt": (lambda g, a: (mul(g, sqrt_slope(a)),), lambda g, a: (div(g, scale2(sqrt(a), 1)),)),
    "exp": (lambda g, x: (mul(mul(g, exp2_slope(mul(x, LOG2E))), mul_slope(x, LOG2E)),),
            lambda g, x: (mul(g, exp(x)),)),
    "log": (lambda g, a: (mul(mul(g, div_slope_a(log2(a), LOG2E)), log2_slope(a)),),
            lambda g, a: (div(g, a),)),
}


def main(out):
    rng = np.random.default_rng(2305_17190)
    edge = np.array([0, 0x80000000, 1, 0x007FFFFF, 0x00800000, 0x80800000, 0x3F800000, 0xBF800000, 0x3FC00000,
                     0x3F000000, 0x40490FDB, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000,
                     0x1F800000, 0x5F800000, 0x20000000, 0x60000000, 0x3F7FFFFF, 0x3F800001], np.uint32).view(np.float32)
    uni = rng.integers(0, 2**32, 1500, dtype=np.uint64).astype(np.uint32).view(np.float32)
    near = np.concatenate([rng.standard_normal(1500), rng.standard_normal(500) * 1e-3]).astype(np.float32)
    pairs_a = np.concatenate([np.repeat(edge, len(edge)), uni, near])
    pairs_b = np.concatenate([np.tile(edge, len(edge)), rng.permutation(uni), rng.permutation(near)])
    ones = np.concatenate([edge, uni, near, np.linspace(-130, 130, 1041).astype(np.float32)])
    hexs = lambda x: [f"{int(v):08x}" for v in bits(x).ravel()]

    def table(name, header, cols):
        with open(f"{out}/{name}.txt", "w") as f:
            f.write(header + "\n")
            for row in zip(*map(hexs, cols)):
                f.write(" ".join(row) + "\n")

    with np.errstate(all="ignore"):
        for name, fn in (("mul", mul), ("div", div), ("add", add)):
            table(name, "# a b y", (pairs_a, pairs_b, fn(pairs_a, pairs_b)))
        best = lambda fn: lambda x: fn(x, "best")
        for name, fn in (("exp2", exp2), ("log2", log2), ("exp", exp), ("log", log), ("sqrt", sqrt),
                         ("exp_best", best(exp)), ("log_best", best(log))):
            table(name, "# x y", (ones, fn(ones)))
        fin = np.abs(near) > 1e-6
        a, b = near[fin], rng.permutation(near)[fin]
        b = np.where(np.abs(b) > 1e-6, b, np.float32(1.25)).astype(np.float32)
        g = rng.standard_normal(len(a)).astype(np.float32)
        for i, mode in enumerate(("exact", "approx")):
            for name in ("mul", "div"):
                ga, gb = GRAD[name][i](g, a, b)
                table(f"grad_{name}_{mode}", "# g a b ga gb", (g, a, b, ga, gb))
            for name in ("exp2", "exp", "log2", "log", "sqrt"):
                x = np.abs(a) if name in ("log2", "log", "sqrt") else a
                table(f"grad_{name}_{mode}", "# g x gx", (g, x, GRAD[name][i](g, x)[0]))
        for name, fn, shape, s in (("softmax", softmax, (7, 37), 3), ("log_softmax", log_softmax, (7, 37), 3),
                                   ("softmax_best", best(softmax), (7, 37), 3),
                                   ("log_softmax_best", best(log_softmax), (7, 37), 3),
                                   ("mean", mean, (5, 67), 1), ("reduce_sum", reduce_sum, (5, 531), 1)):
            x = (rng.standard_normal(shape) * s).astype(np.float32)
            y = fn(x)
            with open(f"{out}/{name}.txt", "w") as f:
                f.write(f"# x {shape} then y {y.shape}, row-major\n{' '.join(hexs(x))}\n{' '.join(hexs(y))}\n")
        x = rng.standard_normal((6, 45)).astype(np.float32)
        ga, be = rng.standard_normal(45).astype(np.float32), rng.standard_normal(45).astype(np.float32)
        for name, y, args in (("layer_norm", layer_norm(x, ga, be), (x, ga, be)), ("rms_norm", rms_norm(x, ga), (x, ga))):
            with open(f"{out}/{name}.txt", "w") as f:
                f.write("# inputs (x (6, 45), gamma[, beta]), eps 1e-5, then y, row-major\n")
                f.writelines(" ".join(hexs(v)) + "\n" for v in (*args, y))
        a, b = rng.standard_normal((5, 600)).astype(np.float32), rng.standard_normal((600, 19)).astype(np.float32)
        a[np.abs(a) < 0.2] = 0
        with open(f"{out}/matmul.txt", "w") as f:
            f.write("# a (5, 600), b (600, 19), y (5, 19), row-major\n")
            f.writelines(" ".join(hexs(v)) + "\n" for v in (a, b, matmul(a, b)))


if __name__ == "__main__":
    main(sys.argv[1])
