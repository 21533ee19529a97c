//! Sine and cosine.

use super::curve::{self, odd, odd_polynomial, ramps};
use super::{bound, checked, unary};
use crate::build::Cx;
use crate::ir::NodeId;
use crate::ops::{Op, Site};

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
];
