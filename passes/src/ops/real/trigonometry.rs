//! Trigonometric functions and their inverses.

use super::curve::{self, odd, odd_polynomial, ramps};
use super::{binary, bound, checked, everywhere, unary};
use crate::build::Cx;
use crate::ir::NodeId;
use crate::ops::{Op, Site};
use std::f32::consts::{FRAC_PI_2, PI};

/// 1/(2π) ≈ Σ ±2ᵏ, within 2⁻²⁶.
const TURNS: crate::reference::Terms = &[
    (false, -3),
    (false, -5),
    (false, -9),
    (false, -10),
    (true, -15),
    (false, -17),
    (true, -19),
    (false, -24),
];

/// x in turns, less the nearest integer: from −1/2 to 1/2, by shifts and adds.
fn turn(cx: &mut Cx<'_>, x: NodeId, shift: f32) -> NodeId {
    let turns = cx.shift_sum(x, TURNS);
    let turns = cx.add_const(turns, shift);
    let nearest = cx.op("round", &[turns]);
    cx.sub(turns, nearest)
}

/// sin of 2π(x/2π + quarters/4).
fn wave(cx: &mut Cx<'_>, x: NodeId, quarters: bool) -> NodeId {
    if cx.is_float() {
        return wave_polynomial(cx, x, quarters);
    }
    let f = turn(cx, x, if quarters { 0.25 } else { 0.0 });
    odd(cx, f, |cx, a| {
        let half = cx.scalar(0.5f32);
        let mirrored = cx.sub(half, a);
        let a = cx.min(a, mirrored);
        ramps(cx, a, curve::SINE)
    })
}

/// Cody & Waite reduction to r in ±π/2 by the nearest multiple n of π, then (−1)ⁿ sin r; the cosine
/// is reduced by odd multiples of π/2.
fn wave_polynomial(cx: &mut Cx<'_>, x: NodeId, cosine: bool) -> NodeId {
    let shift = if cosine { 0.5 } else { 0.0 };
    let turns = cx.mul_const(x, std::f32::consts::FRAC_1_PI);
    let turns = cx.add_const(turns, shift);
    let n = cx.op("round", &[turns]);
    let multiple = cx.add_const(n, -shift);
    // π in three parts; the first two have few enough bits for exact products with small n.
    let parts = [3.140_625f32, 9.675_026e-4, 1.509_957_9e-7];
    let mut r = x;
    for part in parts {
        let step = cx.mul_const(multiple, part);
        r = cx.sub(r, step);
    }
    let series =
        [1.0, -1.0 / 6.0, 1.0 / 120.0, -1.0 / 5040.0, 1.0 / 362_880.0, -1.0 / 39_916_800.0];
    let y = odd_polynomial(cx, r, &series);
    // n is odd where halving it leaves a fraction.
    let half = cx.scale2(n, -1);
    let whole = cx.floor(half);
    let odd = cx.ne(half, whole);
    let minus = cx.neg(y);
    cx.select(odd, minus, y)
}

fn sin(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    wave(cx, site.inputs[0], false)
}

fn cos(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    wave(cx, site.inputs[0], true)
}

/// sin x ÷ cos x.
fn tan(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let (s, c) = (wave(cx, site.inputs[0], false), wave(cx, site.inputs[0], true));
    cx.div(s, c)
}

/// Arc tangent of a ≥ 0: [`curve::ARC_TANGENT`] in PAM; else of 1/a where a > 1, and a polynomial below
/// (of the form of Abramowitz & Stegun 4.4.49).
fn arc_tangent(cx: &mut Cx<'_>, a: NodeId) -> NodeId {
    if !cx.is_float() {
        return ramps(cx, a, curve::ARC_TANGENT);
    }
    let one = cx.scalar(1f32);
    let large = cx.gt(a, one);
    let under = cx.max(a, one);
    let inverse = cx.div(one, under);
    let z = cx.select(large, inverse, a);
    let series = [
        0.999_999_34,
        -0.333_298_56,
        0.199_465_36,
        -0.139_085_34,
        0.096_420_04,
        -0.055_909_86,
        0.021_861_22,
        -0.004_054_058,
    ];
    let p = odd_polynomial(cx, z, &series);
    let quarter = cx.scalar(FRAC_PI_2);
    let rest = cx.sub(quarter, p);
    cx.select(large, rest, p)
}

fn atan(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    odd(cx, site.inputs[0], arc_tangent)
}

/// The angle of the point (b, a): the arc tangent of |a| ÷ |b|, in its quarter.
fn atan2(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let (y, x) = (site.inputs[0], site.inputs[1]);
    let (height, width) = (curve::magnitude(cx, y), curve::magnitude(cx, x));
    // Of two zeros and of two infinities there is no quotient.
    let same = cx.eq(height, width);
    let (zero, one) = (cx.scalar(0f32), cx.scalar(1f32));
    let under = cx.select(same, one, width);
    let none = cx.eq(height, zero);
    let diagonal = cx.select(none, zero, one);
    let over = cx.select(same, diagonal, height);
    let ratio = cx.div(over, under);
    let angle = arc_tangent(cx, ratio);
    let half = cx.scalar(PI);
    let mirrored = cx.sub(half, angle);
    let behind = cx.lt(x, zero);
    let angle = cx.select(behind, mirrored, angle);
    let minus = cx.neg(angle);
    let below = cx.lt(y, zero);
    cx.select(below, minus, angle)
}

/// [`curve::ARC_SINE`] in PAM; else atan(x ÷ √((1 − x)(1 + x))). NaN where |x| > 1.
fn arc_sine(cx: &mut Cx<'_>, x: NodeId) -> NodeId {
    odd(cx, x, |cx, a| {
        let one = cx.scalar(1f32);
        let y = match cx.is_float() {
            true => {
                let (under, over) = (cx.add(one, a), cx.sub(one, a));
                let ratio = cx.div(a, under);
                let rest = cx.div(over, under);
                // 2·atan(a ÷ (1 + √(1 − a²))), divided by 1 + a on both sides.
                let root = cx.sqrt(rest);
                let inverse = cx.div(one, under);
                let below = cx.add(inverse, root);
                let half = cx.div(ratio, below);
                let half = arc_tangent(cx, half);
                cx.add(half, half)
            }
            false => ramps(cx, a, curve::ARC_SINE),
        };
        let outside = cx.gt(a, one);
        let nan = cx.scalar(f32::NAN);
        cx.select(outside, nan, y)
    })
}

fn asin(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    arc_sine(cx, site.inputs[0])
}

/// π/2 − asin x; in ordinary arithmetic 2·atan(√((1 − x) ÷ (1 + x))).
fn acos(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let x = site.inputs[0];
    if !cx.is_float() {
        let (quarter, angle) = (cx.scalar(FRAC_PI_2), arc_sine(cx, x));
        return cx.sub(quarter, angle);
    }
    let one = cx.scalar(1f32);
    let (over, under) = (cx.sub(one, x), cx.add(one, x));
    let ratio = cx.div(over, under);
    let root = cx.sqrt(ratio);
    let half = arc_tangent(cx, root);
    cx.add(half, half)
}

/// Rows.
pub static ROWS: &[Op] = &[
    checked(
        Op {
            onnx: &["Sin"],
            ..unary(
                "sin",
                sin,
                "Sine. In PAM x is taken in turns by shifts and adds, less the nearest integer, folded to \
                 a quarter, then a sum of seven ramps.",
            )
        },
        |x| x[0].sin(),
        bound(0.0, 0.0036, -20.0, 20.0),
    ),
    checked(
        Op { onnx: &["Cos"], ..unary("cos", cos, "Cosine: the sine a quarter turn further.") },
        |x| x[0].cos(),
        bound(0.0, 0.0036, -20.0, 20.0),
    ),
    checked(
        Op { onnx: &["Tan"], cost: 90, ..unary("tan", tan, "Tangent: sin x ⊘ cos x.") },
        |x| x[0].tan(),
        // The turns of the smallest angles are too small to be numbers.
        bound(0.14, 1e-37, -1.4, 1.4),
    ),
    checked(
        Op {
            onnx: &["Asin"],
            ..unary(
                "asin",
                asin,
                "Arc sine. In PAM a sum of nine ramps ±2ᵏ · min(|x|, t), with x's sign.",
            )
        },
        |x| x[0].asin(),
        bound(0.0, 0.0103, -1.0, 1.0),
    ),
    checked(
        Op { onnx: &["Acos"], ..unary("acos", acos, "Arc cosine: π/2 less the arc sine.") },
        |x| x[0].acos(),
        bound(0.0, 0.0103, -1.0, 1.0),
    ),
    checked(
        Op {
            onnx: &["Atan"],
            ..unary(
                "atan",
                atan,
                "Arc tangent. In PAM a sum of 13 ramps 2ᵏ · min(|x|, t), with x's sign.",
            )
        },
        |x| x[0].atan(),
        everywhere(bound(0.0, 0.013_05, -50.0, 50.0)),
    ),
    checked(
        Op {
            cost: 50,
            ..binary(
                "atan2",
                atan2,
                "Angle of the point (b, a): the arc tangent of |a| ⊘ |b|, in its quarter. Signs of \
                 zeros are not told apart.",
            )
        },
        |x| x[0].atan2(x[1]),
        bound(0.0, 0.075, -8.0, 8.0),
    ),
];
