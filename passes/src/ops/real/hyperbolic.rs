//! Hyperbolic functions and their inverses.

use super::curve::{self, near, odd};
use super::{bound, checked, everywhere, over, unary};
use crate::build::Cx;
use crate::ir::NodeId;
use crate::ops::{Op, Site};

/// Operands from which on `x ± √(x² ± 1)` is 2x to the last bit; their squares could overflow.
const LARGE: f32 = 16_777_216.0;

/// (eˣ / 2, e⁻ˣ / 2). In PAM one less in the exponent, so that they saturate where halves of
/// exponentials would not.
fn half_exponentials(cx: &mut Cx<'_>, x: NodeId) -> (NodeId, NodeId) {
    if cx.is_float() {
        let minus = cx.neg(x);
        let (up, down) = (cx.exp(x), cx.exp(minus));
        return (cx.scale2(up, -1), cx.scale2(down, -1));
    }
    let t = cx.times_log2e(x);
    let minus = cx.neg(t);
    let (above, below) = (cx.add_const(t, -1.0), cx.add_const(minus, -1.0));
    (cx.exp2(above), cx.exp2(below))
}

/// (eˣ − e⁻ˣ) / 2; in ordinary arithmetic near 0 the series.
fn sinh(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let x = site.inputs[0];
    let (up, down) = half_exponentials(cx, x);
    let far = cx.sub(up, down);
    near(cx, x, 0.5, &[1.0, 1.0 / 6.0, 1.0 / 120.0, 1.0 / 5040.0], far)
}

/// (eˣ + e⁻ˣ) / 2.
fn cosh(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let (up, down) = half_exponentials(cx, site.inputs[0]);
    cx.add(up, down)
}

/// ln(a + root), and ln a + ln 2 for large a.
fn log_of_sum(cx: &mut Cx<'_>, a: NodeId, root: impl Fn(&mut Cx<'_>, NodeId) -> NodeId) -> NodeId {
    let limit = cx.scalar(LARGE);
    let large = cx.gt(a, limit);
    let held = cx.min(a, limit);
    let root = root(cx, held);
    let sum = cx.add(held, root);
    let under = cx.select(large, a, sum);
    let l = cx.log(under);
    let (rest, none) = (cx.scalar(std::f32::consts::LN_2), cx.scalar(0f32));
    let rest = cx.select(large, rest, none);
    cx.add(l, rest)
}

/// ln(|x| + √(x² + 1)) with x's sign; in ordinary arithmetic near 0 the series.
fn asinh(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let far = odd(cx, site.inputs[0], |cx, a| {
        log_of_sum(cx, a, |cx, a| {
            let square = cx.mul(a, a);
            let more = cx.add_const(square, 1.0);
            cx.sqrt(more)
        })
    });
    let series = [1.0, -1.0 / 6.0, 3.0 / 40.0, -15.0 / 336.0, 105.0 / 3456.0, -945.0 / 42240.0];
    near(cx, site.inputs[0], 0.25, &series, far)
}

/// ln(x + √((x − 1)(x + 1))).
fn acosh(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    log_of_sum(cx, site.inputs[0], |cx, x| {
        let (below, above) = (cx.add_const(x, -1.0), cx.add_const(x, 1.0));
        let product = cx.mul(below, above);
        cx.sqrt(product)
    })
}

/// ln((1 + x) / (1 − x)) / 2; in ordinary arithmetic near 0 the series.
fn atanh(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let x = site.inputs[0];
    let one = cx.scalar(1f32);
    let (over, under) = (cx.add(one, x), cx.sub(one, x));
    let ratio = cx.div(over, under);
    let l = cx.log(ratio);
    let far = cx.scale2(l, -1);
    let series = [1.0, 1.0 / 3.0, 1.0 / 5.0, 1.0 / 7.0, 1.0 / 9.0, 1.0 / 11.0];
    near(cx, x, 0.25, &series, far)
}

/// eˣ − 1; in ordinary arithmetic near 0 the series.
fn expm1(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let x = site.inputs[0];
    let e = cx.exp(x);
    let far = cx.add_const(e, -1.0);
    if !cx.is_float() {
        return far;
    }
    let (held, close) = curve::hold(cx, x, 0.5);
    let terms = [0.0, 1.0, 0.5, 1.0 / 6.0, 1.0 / 24.0, 1.0 / 120.0, 1.0 / 720.0, 1.0 / 5040.0];
    let series = curve::polynomial(cx, held, &terms);
    cx.select(close, series, far)
}

/// ln(1 + x); in ordinary arithmetic near 0 as 2·artanh(x / (2 + x)).
fn log1p(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let x = site.inputs[0];
    let more = cx.add_const(x, 1.0);
    let far = cx.log(more);
    if !cx.is_float() {
        return far;
    }
    let (held, close) = curve::hold(cx, x, 0.25);
    let under = cx.add_const(held, 2.0);
    let s = cx.div(held, under);
    let terms = [2.0, 2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0, 2.0 / 9.0];
    let series = curve::odd_polynomial(cx, s, &terms);
    cx.select(close, series, far)
}

/// log₁₀2 ≈ 1/4 + 1/16 − 1/128 − 1/256 + 1/4096.
const LOG10_2: crate::reference::Terms =
    &[(false, -2), (false, -4), (true, -7), (true, -8), (false, -12)];

/// log₂x · log₁₀2, in PAM the constant as signed powers of two.
fn log10(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let l = cx.log2(site.inputs[0]);
    match cx.is_float() {
        true => cx.mul_const(l, std::f32::consts::LOG10_2),
        false => cx.shift_sum(l, LOG10_2),
    }
}

/// 1/3 ≈ 1/4 + 1/16 + … + 4⁻⁹.
const THIRD: crate::reference::Terms = &[
    (false, -2),
    (false, -4),
    (false, -6),
    (false, -8),
    (false, -10),
    (false, -12),
    (false, -14),
    (false, -16),
    (false, -18),
];

/// 2 to the power (log₂|x| / 3), with x's sign; in PAM 1/3 is a sum of powers of two.
fn cbrt(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    odd(cx, site.inputs[0], |cx, a| {
        let (zero, one) = (cx.scalar(0f32), cx.scalar(1f32));
        let none = cx.eq(a, zero);
        // The logarithm of 1 stands in for that of 0, so that no gradient meets an infinity.
        let base = cx.select(none, one, a);
        let l = cx.log2(base);
        let third = match cx.is_float() {
            true => cx.mul_const(l, 1.0 / 3.0),
            false => cx.shift_sum(l, THIRD),
        };
        let root = cx.exp2(third);
        cx.select(none, zero, root)
    })
}

/// Rows.
pub static ROWS: &[Op] = &[
    checked(
        Op {
            onnx: &["Sinh"],
            ..unary(
                "sinh",
                sinh,
                "Hyperbolic sine: `paexp2(t − 1) − paexp2(−t − 1)`, t = x · log₂e.",
            )
        },
        |x| x[0].sinh(),
        over(bound(0.07, 0.06, -6.0, 6.0), -64.0, 64.0),
    ),
    checked(
        Op {
            onnx: &["Cosh"],
            ..unary(
                "cosh",
                cosh,
                "Hyperbolic cosine: `paexp2(t − 1) + paexp2(−t − 1)`, t = x · log₂e.",
            )
        },
        |x| x[0].cosh(),
        over(bound(0.07, 0.06, -6.0, 6.0), -64.0, 64.0),
    ),
    checked(
        Op {
            onnx: &["Asinh"],
            ..unary("asinh", asinh, "ln(|x| + √(x² + 1)) with x's sign; ln|x| + ln 2 for large x.")
        },
        |x| x[0].asinh(),
        everywhere(bound(0.001, 0.068, -20.0, 20.0)),
    ),
    checked(
        Op {
            onnx: &["Acosh"],
            ..unary("acosh", acosh, "ln(x + √((x − 1)(x + 1))); ln x + ln 2 for large x.")
        },
        |x| x[0].acosh(),
        over(bound(0.001, 0.0627, 1.0, 100.0), 1.0, f64::INFINITY),
    ),
    checked(
        Op { onnx: &["Atanh"], ..unary("atanh", atanh, "ln((1 + x) ⊘ (1 − x)) / 2.") },
        |x| x[0].atanh(),
        over(bound(0.001, 0.03, -0.99, 0.99), -1.0, 1.0),
    ),
    checked(
        unary("expm1", expm1, "eˣ − 1: `paexp(x) − 1`."),
        |x| x[0].exp_m1(),
        over(bound(0.07, 0.06, -6.0, 6.0), f64::NEG_INFINITY, 64.0),
    ),
    checked(
        unary("log1p", log1p, "ln(1 + x): `palog(1 + x)`."),
        |x| x[0].ln_1p(),
        over(bound(0.001, 0.0598, -0.9, 20.0), -1.0, f64::INFINITY),
    ),
    checked(
        unary("log10", log10, "Decimal logarithm: `palog2(x)` by log₁₀2 as signed powers of two."),
        |x| x[0].log10(),
        over(bound(0.001, 0.026, 0.001, 100.0), 0.0, f64::INFINITY),
    ),
    checked(
        unary(
            "cbrt",
            cbrt,
            "Cube root: `paexp2(palog2(|x|) / 3)` with x's sign, 1/3 as a sum of powers of two.",
        ),
        |x| x[0].cbrt(),
        everywhere(bound(0.062, 0.0, -20.0, 20.0)),
    ),
];
