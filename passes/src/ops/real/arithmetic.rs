//! Arithmetic: products, quotients, powers, roots, exponentials, logarithms.

use super::{binary, bound, checked, everywhere, over, unary};
use crate::build::Cx;
use crate::ir::{Attrs, DType, NodeId, Tensor};
use crate::ops::shape::{Inferred, Types, float as float_shape, number};
use crate::ops::{Op, Site, float};

/// Widest exponent of [`pow`] that is made of products.
const MAX_PRODUCTS: u32 = 64;

fn mul(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let (a, b) = (site.inputs[0], site.inputs[1]);
    if site.ty.dtype == DType::F32 {
        return cx.mul(a, b);
    }
    match (integers(cx, a), integers(cx, b)) {
        (_, Some(c)) => shifts_and_adds(cx, a, b, &c),
        (Some(c), _) => shifts_and_adds(cx, b, a, &c),
        _ => cx.fail("a product of two integer tensors needs a constant operand"),
    }
}

/// The elements of an integer constant.
fn integers(cx: &Cx<'_>, x: NodeId) -> Option<Vec<i64>> {
    match cx.graph().constant(x)? {
        Tensor::I32(a) => Some(a.iter().map(|&v| i64::from(v)).collect()),
        Tensor::I64(a) => Some(a.iter().copied().collect()),
        _ => None,
    }
}

/// x · c (wrapping) for an integer constant: x shifted by every set bit of c.
fn shifts_and_adds(cx: &mut Cx<'_>, x: NodeId, c: NodeId, values: &[i64]) -> NodeId {
    let dtype = cx.ty(x).dtype;
    let zero = cx.scalar_of(dtype, 0);
    let base = cx.and(c, zero);
    let mut total = cx.and(x, base);
    for bit in 0..8 * dtype.size() as i32 {
        let set = values.iter().filter(|&&v| v >> bit & 1 == 1).count();
        if set == 0 {
            continue;
        }
        let k = cx.scalar_of(dtype, bit);
        let mut part = cx.shl(x, k);
        if set < values.len() {
            let one = cx.scalar_of(dtype, 1);
            let shifted = cx.shr(c, k);
            let bit_of = cx.and(shifted, one);
            let holds = cx.ne(bit_of, zero);
            part = cx.select(holds, part, zero);
        }
        total = cx.add(total, part);
    }
    total
}

fn div(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    cx.div(site.inputs[0], site.inputs[1])
}

fn square(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    cx.mul(site.inputs[0], site.inputs[0])
}

fn sqrt(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    cx.sqrt(site.inputs[0])
}

/// 1 ⊘ x.
fn inverse(cx: &mut Cx<'_>, x: NodeId) -> NodeId {
    let one = cx.scalar(1f32);
    cx.div(one, x)
}

fn reciprocal(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    inverse(cx, site.inputs[0])
}

fn rsqrt(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let root = cx.sqrt(site.inputs[0]);
    inverse(cx, root)
}

fn exp(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    cx.exp(site.inputs[0])
}

fn log(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    cx.log(site.inputs[0])
}

fn exp2(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    cx.exp2(site.inputs[0])
}

fn log2(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    cx.log2(site.inputs[0])
}

fn ceil(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let minus = cx.neg(site.inputs[0]);
    let below = cx.floor(minus);
    cx.neg(below)
}

fn sign(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let (x, dtype) = (site.inputs[0], site.ty.dtype);
    let [zero, one, minus] = [0, 1, -1].map(|v| cx.scalar_of(dtype, v));
    let nought = cx.eq(x, zero);
    let rest = cx.select(nought, zero, x);
    let negative = cx.lt(x, zero);
    let rest = cx.select(negative, minus, rest);
    let positive = cx.gt(x, zero);
    cx.select(positive, one, rest)
}

fn clip(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let (lo, hi) = (site.attrs.float("lo"), site.attrs.float("hi"));
    let limit = |cx: &mut Cx<'_>, v: f32| match site.ty.dtype {
        DType::I32 => cx.scalar(v as i32),
        DType::I64 => cx.scalar(v as i64),
        _ => cx.scalar(v),
    };
    let mut x = site.inputs[0];
    if lo > f32::NEG_INFINITY {
        let lo = limit(cx, lo);
        x = cx.max(x, lo);
    }
    if hi < f32::INFINITY {
        let hi = limit(cx, hi);
        x = cx.min(x, hi);
    }
    x
}

fn clip_shape(types: Types, attrs: &Attrs) -> Inferred {
    let (lo, hi) = (attrs.float("lo"), attrs.float("hi"));
    if lo <= hi { number(types, attrs) } else { Err(format!("clips to {lo} .. {hi}")) }
}

/// aⁿ for n ≥ 1 by repeated squaring.
fn power(cx: &mut Cx<'_>, a: NodeId, n: u32) -> NodeId {
    match n {
        1 => a,
        n if n % 2 == 1 => {
            let rest = power(cx, a, n - 1);
            cx.mul(rest, a)
        }
        n => {
            let half = power(cx, a, n / 2);
            cx.mul(half, half)
        }
    }
}

/// aᵖ for a constant p, where products and roots make it; `None` where they do not.
fn constant_power(cx: &mut Cx<'_>, a: NodeId, p: f32) -> Option<NodeId> {
    if p == 0.0 {
        let shape = cx.shape(a);
        let one = cx.scalar(1f32);
        return Some(cx.expand(one, &shape));
    }
    let n = p.abs() as u32;
    let value = if p.abs() == 0.5 {
        cx.sqrt(a)
    } else if n as f32 == p.abs() && n <= MAX_PRODUCTS {
        power(cx, a, n)
    } else {
        return None;
    };
    Some(if p < 0.0 { inverse(cx, value) } else { value })
}

fn pow(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let (a, p) = (site.inputs[0], site.inputs[1]);
    let uniform = cx.graph().constant(p).and_then(|t| {
        let v = t.to_vec::<f32>()?;
        let first = *v.first()?;
        v.iter().all(|x| *x == first).then_some(first)
    });
    if let Some(y) = uniform.and_then(|p| constant_power(cx, a, p)) {
        return cx.expand(y, &site.ty.shape);
    }
    // The logarithm of 1 stands in for that of 0, so that no gradient meets an infinity.
    let (zero, one) = (cx.scalar(0f32), cx.scalar(1f32));
    let nought = cx.eq(a, zero);
    let base = cx.select(nought, one, a);
    let l = cx.log2(base);
    let scaled = cx.mul(l, p);
    let y = cx.exp2(scaled);
    cx.select(nought, zero, y)
}

/// Quotients below 2 to this power have an exact remainder.
const QUOTIENT_BITS: i32 = 32;

/// a − trunc(a / b)·b, exactly: b·2ᵏ is taken away for every k from the highest on that leaves no less
/// than 0.
fn fmod(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let (a, b) = (site.inputs[0], site.inputs[1]);
    let [dividend, divisor] = [a, b].map(|x| super::curve::magnitude(cx, x));
    let zero = cx.scalar(0f32);
    // The dividend is compared scaled down, as the divisor could overflow scaled up.
    let reaches = |cx: &mut Cx<'_>, rest: NodeId, k: i32| {
        let scaled = if k == 0 { rest } else { cx.scale2(rest, -k) };
        cx.ge(scaled, divisor)
    };
    let beyond = reaches(cx, dividend, QUOTIENT_BITS);
    let mut rest = cx.select(beyond, zero, dividend);
    for k in (0..QUOTIENT_BITS).rev() {
        let fits = reaches(cx, rest, k);
        let step = if k == 0 { divisor } else { cx.scale2(divisor, k) };
        let step = cx.select(fits, step, zero);
        rest = cx.sub(rest, step);
    }
    let infinity = cx.scalar(f32::INFINITY);
    let (none, unbounded) = (cx.eq(divisor, zero), cx.eq(dividend, infinity));
    // A divisor that is no number is not equal to itself.
    let nothing = cx.ne(b, b);
    let undefined = cx.or(none, unbounded);
    let undefined = cx.or(undefined, nothing);
    let nan = cx.scalar(f32::NAN);
    let rest = cx.select(undefined, nan, rest);
    let negative = super::curve::is_negative(cx, a);
    let minus = cx.neg(rest);
    cx.select(negative, minus, rest)
}

/// Rows.
pub static ROWS: &[Op] = &[
    checked(
        Op {
            onnx: &["Mul"],
            shape: number,
            cost: 3,
            ..binary(
                "mul",
                mul,
                "Product: `a ⊙ b`. Of integers only by a constant, as shifts and adds.",
            )
        },
        |x| x[0] * x[1],
        bound(1.0 / 9.0, 0.0, -8.0, 8.0),
    ),
    checked(
        Op { onnx: &["Div"], cost: 4, ..binary("div", div, "Quotient: `a ⊘ b`.") },
        |x| x[0] / x[1],
        bound(0.1251, 0.0, 0.01, 100.0),
    ),
    checked(
        Op {
            cost: 160,
            ..binary(
                "fmod",
                fmod,
                "Remainder with the sign of a: a − trunc(a / b) · b, exact by subtractions of b · 2ᵏ. 0 \
                 where |a / b| ≥ 2³².",
            )
        },
        |x| match (x[0] / x[1]).abs() >= f64::from(QUOTIENT_BITS).exp2() {
            true => 0.0,
            false => x[0] % x[1],
        },
        bound(0.0, 0.0, -1000.0, 1000.0),
    ),
    checked(
        Op { cost: 3, ..unary("square", square, "Square: `x ⊙ x`.") },
        |x| x[0] * x[0],
        everywhere(bound(1.0 / 9.0, 0.0, -8.0, 8.0)),
    ),
    checked(
        Op { onnx: &["Sqrt"], cost: 3, ..unary("sqrt", sqrt, "Square root: `pasqrt(x)`.") },
        |x| x[0].sqrt(),
        over(bound(0.0608, 0.0, 0.0, 100.0), 0.0, f64::INFINITY),
    ),
    checked(
        Op {
            onnx: &["Reciprocal"],
            cost: 4,
            ..unary("reciprocal", reciprocal, "Reciprocal: `1 ⊘ x`.")
        },
        |x| 1.0 / x[0],
        everywhere(bound(0.1251, 0.0, 0.01, 100.0)),
    ),
    checked(
        Op { cost: 7, ..unary("rsqrt", rsqrt, "Reciprocal square root: `1 ⊘ pasqrt(x)`.") },
        |x| 1.0 / x[0].sqrt(),
        over(bound(0.0890, 0.0, 0.01, 100.0), f32::MIN_POSITIVE as f64, f64::INFINITY),
    ),
    checked(
        Op {
            onnx: &["Exp"],
            cost: 16,
            ..unary("exp", exp, "eˣ: `paexp2(x · log₂e)`, the constant by the recipe.")
        },
        |x| x[0].exp(),
        over(bound(0.07, 0.0, -10.0, 10.0), f64::NEG_INFINITY, 64.0),
    ),
    checked(
        Op {
            onnx: &["Log"],
            cost: 16,
            ..unary(
                "log",
                log,
                "Natural logarithm: `palog2(x) ÷ log₂e`, the constant by the recipe.",
            )
        },
        |x| x[0].ln(),
        over(bound(0.001, 0.0598, 0.001, 100.0), 0.0, f64::INFINITY),
    ),
    checked(
        Op { cost: 5, ..unary("exp2", exp2, "2ˣ: `paexp2(x)`.") },
        |x| x[0].exp2(),
        everywhere(bound(0.0616, 0.0, -20.0, 20.0)),
    ),
    checked(
        Op { cost: 5, ..unary("log2", log2, "Binary logarithm: `palog2(x)`.") },
        |x| x[0].log2(),
        over(bound(0.0, 0.0861, 0.001, 100.0), 0.0, f64::INFINITY),
    ),
    checked(
        Op { onnx: &["Ceil"], cost: 3, ..unary("ceil", ceil, "Smallest integer not below x.") },
        |x| x[0].ceil(),
        everywhere(bound(0.0, 0.0, -100.0, 100.0)),
    ),
    checked(
        Op {
            onnx: &["Sign"],
            shape: number,
            cost: 6,
            ..unary("sign", sign, "−1, 0 or 1, as x is; NaN of a NaN.")
        },
        |x| if x[0] == 0.0 { 0.0 } else { x[0].signum() },
        everywhere(bound(0.0, 0.0, -2.0, 2.0)),
    ),
    Op {
        onnx: &["Clip"],
        attrs: &[float("lo", f32::NEG_INFINITY), float("hi", f32::INFINITY)],
        shape: clip_shape,
        cost: 2,
        ..checked(
            unary("clip", clip, "The nearest number between `lo` and `hi`."),
            |x| x[0],
            everywhere(bound(0.0, 0.0, -2.0, 2.0)),
        )
    },
    Op {
        onnx: &["Pow"],
        shape: float_shape,
        ..checked(
            binary(
                "pow",
                pow,
                "`paexp2(palog2(a) ⊙ b)`, 0 at a = 0. A constant integer b, or ±1/2, is made of \
                 products, a root and a reciprocal, for negative a too.",
            ),
            |x| x[0].powf(x[1]),
            bound(1.0, 0.0, 0.1, 3.0),
        )
    },
];
