#!/usr/bin/env python3
"""Fills in and checks the numbers of filetests from the reference arithmetic (../vectors/make.py).

    python3 tests/filetests/reference.py [FILE ...]        (needs numpy)

A comment `; reference: EXPRESSION` states what the graph computes in terms of the functions below
over the graph's inputs; it holds for the `run:` and `grad:` expectations after it. An expectation
`== ?` is filled in, any other is compared, bit for bit unless the file has a `; tolerance:`.
Gradients come from the small tape here, whose rules are those of the numeric contract.
"""
import importlib.util
import pathlib
import re
import sys
import textwrap
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("pam", HERE.parent / "vectors" / "make.py")
pam = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pam)

FLOAT, RECIPE, EXACT, TAPE = False, "best", False, []


class Var:
    """A value and, of each operand, how its gradient follows from that of this."""

    def __init__(self, v, parents=()):
        self.v, self.parents, self.g = np.asarray(v), parents, None
        if parents:
            TAPE.append(self)


def var(x):
    if isinstance(x, Var):
        return x
    return Var(np.asarray(x, np.float64 if FLOAT else np.float32))


def raw(pam_op, float_op):
    return lambda *a: float_op(*a) if FLOAT else pam_op(*a)


padd = raw(pam.add, np.add)
pmul = raw(pam.mul, np.multiply)
pdiv = raw(pam.div, np.divide)


def psum(x, axes, keep=False):
    """Sum over axes as over one axis of their product in row-major order."""
    axes = sorted(a % x.ndim for a in axes)
    if not axes:
        return x
    rest = [a for a in range(x.ndim) if a not in axes]
    t = np.transpose(x, rest + axes).reshape([x.shape[a] for a in rest] + [-1])
    out = t.sum(-1) if FLOAT else pam.reduce_sum(t)
    return out.reshape([1 if a in axes else d for a, d in enumerate(x.shape)]) if keep else out


def unbroadcast(g, shape):
    g = np.broadcast_to(g, np.broadcast_shapes(g.shape, shape))
    skip = g.ndim - len(shape)
    axes = [a for a in range(g.ndim) if a < skip or (shape[a - skip] == 1 and g.shape[a] != 1)]
    return psum(g, axes, True).reshape(shape)


def ln2(x):
    return pam.shift_sum(x, pam.LN2_TERMS) if RECIPE == "best" else pam.mul(x, pam.LN2)


def over_ln2(x):
    return pam.shift_sum(x, pam.LOG2E_TERMS) if RECIPE == "best" else pam.div(x, pam.LN2)


def kind(exact, approx, real):
    return real if FLOAT else exact if EXACT else approx


def add(a, b):
    a, b = var(a), var(b)
    return Var(padd(a.v, b.v), [(a, lambda g: g), (b, lambda g: g)])


def neg(x):
    x = var(x)
    return Var(-x.v, [(x, lambda g: -g)])


def sub(a, b):
    a, b = var(a), var(b)
    minus = np.subtract if FLOAT else pam.sub
    return Var(minus(a.v, b.v), [(a, lambda g: g), (b, lambda g: -g)])


def mul(a, b):
    a, b = var(a), var(b)
    rule = lambda x, y: lambda g: pmul(g, kind(lambda: pam.mul_slope(x.v, y.v), lambda: y.v, lambda: y.v)())
    return Var(pmul(a.v, b.v), [(a, rule(a, b)), (b, rule(b, a))])


def div(a, b):
    a, b = var(a), var(b)
    y = pdiv(a.v, b.v)
    da = kind(lambda g: pam.mul(g, pam.div_slope_a(a.v, b.v)), lambda g: pdiv(g, b.v), lambda g: g / b.v)
    db = kind(lambda g: pam.mul(g, pam.div_slope_b(a.v, b.v)), lambda g: -pdiv(pmul(g, y), b.v), lambda g: -g * y / b.v)
    return Var(y, [(a, da), (b, db)])


def unary(value, exact, approx, real, real_grad):
    def op(x):
        x = var(x)
        y = (real if FLOAT else value)(x.v)
        rule = kind(lambda g: exact(g, x.v), lambda g: approx(g, x.v, y), lambda g: real_grad(g, x.v, y))
        return Var(y, [(x, rule)])

    return op


def exp_exact(g, x):
    if RECIPE == "paper":
        return pam.GRAD["exp"][0](g, x)[0]
    z = pam.shift_sum(x, pam.LOG2E_TERMS)
    return pam.shift_sum(pam.mul(g, pam.exp2_slope(z)), pam.LOG2E_TERMS)


def log_exact(g, x):
    if RECIPE == "paper":
        return pam.GRAD["log"][0](g, x)[0]
    return pam.mul(pam.shift_sum(g, pam.LN2_TERMS), pam.log2_slope(x))


exp2 = unary(pam.exp2, lambda g, x: pam.mul(g, pam.exp2_slope(x)), lambda g, x, y: pam.mul(g, ln2(y)),
             np.exp2, lambda g, x, y: g * y * np.log(2))
log2 = unary(pam.log2, lambda g, x: pam.mul(g, pam.log2_slope(x)), lambda g, x, y: over_ln2(pam.div(g, x)),
             np.log2, lambda g, x, y: g / x / np.log(2))
sqrt = unary(pam.sqrt, lambda g, x: pam.mul(g, pam.sqrt_slope(x)),
             lambda g, x, y: pam.div(g, pam.scale2(y, 1)), np.sqrt, lambda g, x, y: g / (2 * y))
exp = unary(lambda x: pam.exp(x, RECIPE), exp_exact, lambda g, x, y: pam.mul(g, y), np.exp, lambda g, x, y: g * y)
log = unary(lambda x: pam.log(x, RECIPE), log_exact, lambda g, x, y: pam.div(g, x), np.log, lambda g, x, y: g / x)


def scale2(x, k):
    x = var(x)
    scaled = raw(lambda v: pam.scale2(v, k), lambda v: v * 2.0**k)
    return Var(scaled(x.v), [(x, scaled)])


def shift_sum(x, terms):
    x = var(x)
    return Var(pam.shift_sum(x.v, terms), [(x, lambda g: pam.shift_sum(g, terms))])


def times_log2e(x):
    return shift_sum(x, pam.LOG2E_TERMS) if RECIPE == "best" else mul(x, pam.LOG2E)


def over_log2e(x):
    return shift_sum(x, pam.LN2_TERMS) if RECIPE == "best" else div(x, pam.LOG2E)


def total(x, axes=None, keep=False):
    x = var(x)
    axes = range(x.v.ndim) if axes is None else axes
    full = psum(x.v, axes, True).shape
    return Var(psum(x.v, axes, keep), [(x, lambda g: np.broadcast_to(g.reshape(full), x.v.shape))])


def mean(x, axes=None, keep=False):
    x = var(x)
    axes = list(range(x.v.ndim)) if axes is None else axes
    n = np.prod([x.v.shape[a] for a in axes])
    return div(total(x, axes, keep), np.float32(n))


def greatest(x, axis, keep=False):
    """Largest along an axis; the gradient goes to the first that is largest."""
    x = var(x)
    at = np.expand_dims(np.argmax(x.v, axis), axis)

    def back(g):
        out = np.zeros_like(x.v)
        np.put_along_axis(out, at, g.reshape(at.shape), axis)
        return out

    y = np.take_along_axis(x.v, at, axis)
    return Var(y if keep else np.squeeze(y, axis), [(x, back)])


def where(c, a, b):
    a, b = var(a), var(b)
    c = c.v if isinstance(c, Var) else c
    zero = np.zeros_like(a.v)
    return Var(np.where(c, a.v, b.v), [(a, lambda g: np.where(c, g, zero)), (b, lambda g: np.where(c, zero, g))])


def minimum(a, b):
    a, b = var(a), var(b)
    first = a.v <= b.v
    return Var(np.minimum(a.v, b.v), [(a, lambda g: np.where(first, g, 0)), (b, lambda g: np.where(first, 0, g))])


def moved(x, forth, back):
    """A map that only moves elements (forth), with its adjoint (back)."""
    x = var(x)
    return Var(forth(x.v), [(x, back)])


def reshape(x, *shape):
    return moved(x, lambda v: v.reshape(shape), lambda g: g.reshape(var(x).v.shape))


def transpose(x, *perm):
    return moved(x, lambda v: v.transpose(perm), lambda g: g.transpose(np.argsort(perm)))


def taken(x, picked):
    """x[picked] with distinct positions: slices, permutations, windows without overlap."""
    def back(g):
        out = np.zeros_like(var(x).v)
        out[picked] = g
        return out

    return moved(x, lambda v: v[picked], back)


def contract(a, b, product):
    """Σₖ product(a[..., m, k, n], b) in contraction order, operands broadcast."""
    a, b = np.broadcast_arrays(a, b)
    out = np.zeros(a.shape[:-2] + a.shape[-1:], a.dtype)
    for c in range(0, a.shape[-2], pam.CHUNK):
        part = np.zeros_like(out)
        for k in range(c, min(c + pam.CHUNK, a.shape[-2])):
            part = padd(part, product(a[..., k, :], b[..., k, :]))
        out = padd(out, part)
    return out


def matmul(a, b):
    """[..., m, k] × [..., k, n]; exact gradients sum each product's own slope."""
    a, b = var(a), var(b)
    product = np.matmul if FLOAT else pam.matmul
    swap = lambda x: np.swapaxes(x, -1, -2)

    def da(g):
        if not EXACT:
            return product(g, swap(b.v))
        # over n: g[m, n] ⊙ slope(a[m, k], b[k, n])
        slope = pam.mul_slope(a.v[..., :, None, :], swap(b.v)[..., None, :, :])
        return contract(g[..., :, :, None], slope, pam.mul)

    def db(g):
        if not EXACT:
            return product(swap(a.v), g)
        # over m: g[m, n] ⊙ slope(b[k, n], a[m, k])
        slope = pam.mul_slope(b.v[..., :, None, :], swap(a.v)[..., :, :, None])
        return contract(g[..., None, :, :], slope, pam.mul)

    return Var(product(a.v, b.v), [(a, da), (b, db)])


def shifted(x, axis):
    z = times_log2e(x) if not FLOAT else var(x)
    top = np.max(z.v, axis, keepdims=True)
    k = np.where(np.isfinite(top), np.floor(top), 0).astype(top.dtype)
    e = exp(sub(z, k)) if FLOAT else exp2(sub(z, k))
    return k, e, total(e, [axis], True)


def softmax(x, axis=-1):
    _, e, s = shifted(x, axis)
    return div(e, s)


def logsumexp(x, axis=-1):
    k, _, s = shifted(x, axis)
    return add(k, log(s)) if FLOAT else over_log2e(add(k, log2(s)))


def log_softmax(x, axis=-1):
    return sub(x, logsumexp(x, axis))


def normalized(c, axes, eps=np.float32(1e-5)):
    v = mean(mul(c, c), axes, True)
    return div(c, sqrt(add(v, eps)))


def layer_norm(x, gamma, beta):
    return add(mul(normalized(sub(x, mean(x, [-1], True)), [-1]), gamma), beta)


def rms_norm(x, gamma):
    return mul(normalized(x, [-1]), gamma)


def cross_entropy(logits, labels):
    """Losses of the rows of [rows, classes]."""
    rows, classes = logits.v.shape
    hit = np.arange(classes) == labels.v[:, None]
    lse = reshape(logsumexp(logits), rows)
    return sub(lse, total(where(hit, logits, np.float32(0)), [-1]))


def below(x, limit=0):
    return var(x).v < limit


def relu(x):
    return where(below(x), np.zeros_like(x.v), x)


def odd(x, f):
    """The odd function that is f of the magnitude."""
    y = f(magnitude(x))
    return where(below(x), neg(y), y)


def magnitude(x):
    return where(below(x), neg(x), x)


def ramps(a, terms):
    """Σ ±2ᵏ · min(a, t) over (sign, k, t), left to right."""
    out = None
    for sign, k, t in terms:
        part = scale2(minimum(a, np.float32(t)), k)
        out = part if out is None else add(out, part) if sign > 0 else sub(out, part)
    return out


def unfold(x, kernel, stride=1, pad=0):
    """[1, c, h, w] to [1, c, k, k, h', w']."""
    lo, hi = pad if isinstance(pad, tuple) else (pad, pad)
    v = np.pad(x.v, [(0, 0), (0, 0), (lo, hi), (lo, hi)])
    out = [(v.shape[i] - kernel) // stride + 1 for i in (2, 3)]
    at = lambda i, n: slice(i, i + (n - 1) * stride + 1, stride)
    y = np.stack([np.stack([v[:, :, at(i, out[0]), at(j, out[1])] for j in range(kernel)], 2)
                  for i in range(kernel)], 2)

    def back(g):
        d = np.zeros_like(v)
        for i in range(kernel):
            for j in range(kernel):
                place = (slice(None), slice(None), at(i, out[0]), at(j, out[1]))
                d[place] = padd(d[place], g[:, :, i, j])
        return d[:, :, lo:d.shape[2] - hi, lo:d.shape[3] - hi]

    return Var(y, [(x, back)])


def threefry(k0, k1, c0, c1):
    """First word of Threefry-2x32-20 (Salmon et al. 2011), as a signed number."""
    m = 0xFFFFFFFF
    k = [int(k0) & m, int(k1) & m]
    k.append(k[0] ^ k[1] ^ 0x1BD11BDA)
    x, y = (c0 + k[0]) & m, (c1 + k[1]) & m
    for i in range(20):
        r = (13, 15, 26, 6, 17, 29, 16, 24)[i % 8]
        x = (x + y) & m
        y = ((y << r | y >> (32 - r)) & m) ^ x
        if i % 4 == 3:
            j = i // 4 + 1
            x, y = (x + k[j % 3]) & m, (y + k[(j + 1) % 3] + j) & m
    return x - (x >> 31 << 32)


def conv(x, w, stride=1, pad=0):
    """One group: windows as columns, then a matrix product of each sample."""
    f, c, k, _ = w.v.shape
    cols = unfold(x, k, stride, pad)
    h, width = cols.v.shape[-2:]
    y = matmul(reshape(w, f, c * k * k), reshape(cols, x.v.shape[0], c * k * k, h * width))
    return reshape(y, x.v.shape[0], f, h, width)


def gradients(outputs, wrt):
    for y in outputs:
        if y.v.dtype.kind == "f":
            y.g = np.ones_like(y.v) if y.g is None else padd(y.g, np.ones_like(y.v))
    for node in reversed(TAPE):
        for x, back in node.parents if node.g is not None else ():
            part = unbroadcast(back(node.g), x.v.shape)
            x.g = part if x.g is None else padd(x.g, part)
    return [np.zeros_like(x.v) if x.g is None else x.g for x in wrt]


# ---- files -----------------------------------------------------------------------------------
DTYPES = {"f32": np.float32, "i32": np.int32, "i64": np.int64, "bool": np.bool_}
WORDS = {"nan": np.nan, "inf": np.inf, "true": True, "false": False}


def split(text):
    parts, depth, out = [], 0, ""
    for c in text:
        depth += (c == "[") - (c == "]")
        if c == "," and depth == 0:
            parts.append(out)
            out = ""
        else:
            out += c
    return [p.strip() for p in parts + [out] if p.strip()]


def parse(text, ty, dims):
    dtype, shape = re.match(r"(\w+)\[(.*)\]", ty).groups()
    shape = [int(dims.get(d.strip(), d)) for d in shape.split(",") if d.strip()]
    text = re.sub(r"0x([0-9a-f]{8})", lambda m: repr(float(pam.f32(int(m[1], 16)))), text)
    with np.errstate(over="ignore"):
        return np.array(eval(text, dict(WORDS)), np.float64 if dtype == "f32" else None).astype(DTYPES[dtype]).reshape(shape)


def number(x):
    if isinstance(x, (bool, np.bool_)):
        return "true" if x else "false"
    return str(x) if not isinstance(x, np.floating) else str(np.float32(x))


def written(a):
    return number(a[()]) if a.ndim == 0 else "[" + ", ".join(written(r) for r in a) + "]"


def same(a, b, tolerance):
    if tolerance is not None and a.dtype.kind == "f":
        return np.allclose(a, b, tolerance, tolerance, equal_nan=True)
    if a.dtype.kind != "f":
        return np.array_equal(a, b)
    a, b = a.astype(np.float32), b.astype(np.float32)
    return bool(np.all((pam.bits(a) == pam.bits(b)) | (np.isnan(a) & np.isnan(b))))


def folded(text, first):
    return textwrap.wrap(text, 100, initial_indent=first, subsequent_indent=";     ",
                         break_on_hyphens=False, break_long_words=False)


def wrap(head, values):
    """The lines of an expectation: one if they fit, else one a value."""
    line = f"; {head} == {', '.join(values)}"
    if len(line) <= 100:
        return [line]
    ends = [v + "," for v in values[:-1]] + values[-1:]
    together = folded(" ".join(ends), ";     ")
    parts = [together] if len(together) == 1 else [folded(v, ";     ") for v in ends]
    return folded(f"{head} ==", "; ") + sum(parts, [])


def evaluate(expression, names):
    functions = {k: v for k, v in globals().items() if not k.startswith("_")}
    made = eval(expression, functions | {"f32": np.float32} | names)
    return [y if isinstance(y, Var) else Var(y) for y in (made if isinstance(made, tuple) else (made,))]


def outputs_of(head, rest, expression, types, dims):
    global EXACT
    at = re.search(r"\((.*)\)", rest)[1] if head == "run" else rest.split(" at ", 1)[1]
    wide = lambda a: a.astype(np.float64) if FLOAT and a.dtype == np.float32 else a
    flushed = lambda a: pam.flush(a) if a.dtype == np.float32 else a
    names = {n: Var(wide(flushed(parse(t, ty, dims)))) for (n, ty), t in zip(types, split(at))}
    EXACT = head == "grad exact"
    TAPE.clear()
    with np.errstate(all="ignore"):
        made = evaluate(expression, names)
        if head == "run":
            return [y.v for y in made]
        wrt = [n.strip()[1:] for n in rest.split(" at ", 1)[0].split(",")]
        return gradients(made, [names[n] for n in wrt])


def check(path):
    global FLOAT, RECIPE
    lines = path.read_text().split("\n")
    text = "\n".join(lines)
    setting = lambda name: (re.search(rf"^; {name}: (.*)$", text, re.M) or [None, None])[1]
    arith, tolerance = setting("arith") or "pam", setting("tolerance")
    FLOAT, RECIPE = arith == "float", "paper" if arith == "paper" else "best"
    dims = dict(re.findall(r"^; dim: (\w+)=(\d+)$", text, re.M))
    header = re.search(r"^graph @[\w.]+\((.*?)\) ->", text, re.M | re.S)
    types = re.findall(r"%([\w.]+): (\w+\[[^\]]*\])", header[1]) if header else []
    out, expression, wrong, i = [], None, 0, 0
    while i < len(lines):
        start = i
        i += 1
        while i < len(lines) and lines[i].startswith(";     "):
            i += 1
        joined = " ".join([lines[start]] + [l[1:].strip() for l in lines[start + 1:i]])
        head = re.match(r"; (reference|run|grad exact|grad approx): (.*)", joined)
        if head and head[1] == "reference":
            expression = head[2]
        if not head or head[1] == "reference" or not expression or "==" not in joined:
            out += lines[start:i]
            continue
        call, expected = head[2].split("==")
        found = outputs_of(head[1], call.strip(), expression, types, dims)
        if expected.strip() == "?":
            out += wrap(f"{head[1]}: {call.strip()}", [written(f) for f in found])
            continue
        out += lines[start:i]
        kinds = {"f": "f32", "b": "bool", "i": "i64"}
        given = [parse(t, kinds[f.dtype.kind] + str(list(f.shape)), {}) for t, f in zip(split(expected), found)]
        if len(given) != len(found) or not all(same(f, g, tolerance and float(tolerance)) for f, g in zip(found, given)):
            wrong += 1
            print(f"{path}:{start + 1}: the reference gives {', '.join(map(written, found))}")
    if out != lines:
        path.write_text("\n".join(out))
    return wrong


def main(files):
    files = [pathlib.Path(f) for f in files] or sorted(HERE.rglob("*.pam"))
    wrong = sum(check(f) for f in files)
    print(f"{len(files)} files, {wrong} wrong")
    sys.exit(wrong > 0)


if __name__ == "__main__":
    main(sys.argv[1:])
