//! Curves of one variable that several rows share: piecewise affine ones for PAM, polynomials for
//! ordinary arithmetic.
//!
//! A curve is Σ cᵢ · min(a, tᵢ) over a ≥ 0 with every cᵢ a signed power of two: exact exponent
//! additions, float adds and minima, continuous, flat from the largest tᵢ on (so infinities pass),
//! and with a slope that is the sum of the cᵢ still growing. The thresholds minimize the largest
//! error against the real function; with multiples of 1/64 all sums of interest are exact.

use crate::build::Cx;
use crate::ir::NodeId;

/// One term ±2ᵏ · min(a, t) of a curve.
#[derive(Clone, Copy, Debug)]
pub struct Ramp {
    /// Threshold t.
    pub until: f32,
    /// Slope is −2ᵏ, not 2ᵏ.
    pub negative: bool,
    /// k.
    pub exponent: i32,
}

const fn up(exponent: i32, until: f32) -> Ramp {
    Ramp { until, negative: false, exponent }
}

const fn down(exponent: i32, until: f32) -> Ramp {
    Ramp { until, negative: true, exponent }
}

/// tanh on a ≥ 0, within 0.0089; 1 from 2.703125 on.
pub const TANH: &[Ramp] = &[
    up(-4, 0.109375),
    up(-2, 0.453125),
    up(-2, 0.78125),
    up(-2, 1.203125),
    up(-3, 1.71875),
    up(-4, 2.703125),
];

/// erf on a ≥ 0, within 0.0092; 1 from 1.84375 on.
pub const ERF: &[Ramp] =
    &[up(-2, 0.296875), up(-2, 0.6875), up(-2, 0.859375), up(-2, 1.234375), up(-3, 1.84375)];

/// a · (1 − Φ(a)) on a ≥ 0, by which gelu(a) falls short of a, within 0.0079; 0 from 2.8125 on.
pub const GELU_GAP: &[Ramp] =
    &[up(-2, 0.140625), up(-2, 0.515625), up(-3, 0.9375), down(-4, 1.6875), down(-4, 2.8125)];

/// a · σ(−a) on a ≥ 0, by which silu(a) falls short of a, within 0.0129; 0 from 6.1875 on.
pub const SILU_GAP: &[Ramp] = &[
    up(-2, 0.21875),
    up(-2, 0.84375),
    up(-4, 1.625),
    up(-5, 1.78125),
    down(-4, 3.671875),
    down(-5, 6.1875),
];

/// ln(1 + e) on 0 ≤ e ≤ 1, within 0.0033.
pub const LOG1P: &[Ramp] =
    &[up(-3, 0.06640625), up(-3, 0.234375), up(-3, 0.43359375), up(-3, 0.78515625), up(-1, 1.0)];

/// sin(2πa) on 0 ≤ a ≤ 1/4, within 0.0035; 1 at 1/4.
pub const SINE: &[Ramp] = &[
    up(-2, 0.022460938),
    up(0, 0.079_101_56),
    up(0, 0.12597656),
    up(0, 0.15234375),
    up(0, 0.18847656),
    up(0, 0.20800781),
    up(0, 0.24047852),
];

/// arctan on a ≥ 0, within 0.01302; flat from 39.90625 on.
pub const ARC_TANGENT: &[Ramp] = &[
    up(-2, 0.34375),
    up(-2, 0.75),
    up(-3, 1.320_312_5),
    up(-3, 1.339_843_8),
    up(-4, 2.101_562_5),
    up(-4, 2.347_656_2),
    up(-4, 3.082_031_2),
    up(-5, 4.574_218_8),
    up(-6, 6.644_531_2),
    up(-7, 9.203125),
    up(-8, 13.0),
    up(-9, 17.773438),
    up(-9, 39.90625),
];

/// arcsin on 0 ≤ a ≤ 1, within 0.0102.
pub const ARC_SINE: &[Ramp] = &[
    up(5, 1.0),
    down(-2, 0.385_253_9),
    down(-2, 0.686_279_3),
    down(-1, 0.815_429_7),
    down(0, 0.916_748_05),
    down(0, 0.958_251_95),
    down(2, 0.985_839_84),
    down(3, 0.996_582_03),
    down(4, 0.998_046_9),
];

/// The curve at a ≥ 0.
pub fn ramps(cx: &mut Cx<'_>, a: NodeId, curve: &[Ramp]) -> NodeId {
    let mut total: Option<NodeId> = None;
    for ramp in curve {
        let t = cx.scalar(ramp.until);
        let held = cx.min(a, t);
        let part = if ramp.exponent == 0 { held } else { cx.scale2(held, ramp.exponent) };
        total = Some(match (total, ramp.negative) {
            (None, false) => part,
            (None, true) => cx.neg(part),
            (Some(sum), false) => cx.add(sum, part),
            (Some(sum), true) => cx.sub(sum, part),
        });
    }
    total.unwrap_or(a)
}

/// c₀ + c₁x + c₂x² + … by Horner's rule, for ordinary arithmetic.
pub fn polynomial(cx: &mut Cx<'_>, x: NodeId, coefficients: &[f32]) -> NodeId {
    let mut descending = coefficients.iter().rev();
    let mut y = cx.scalar(descending.next().copied().unwrap_or(0.0));
    for &c in descending {
        let scaled = cx.mul(y, x);
        y = cx.add_const(scaled, c);
    }
    y
}

/// x · p(x²), an odd polynomial.
pub fn odd_polynomial(cx: &mut Cx<'_>, x: NodeId, coefficients: &[f32]) -> NodeId {
    let square = cx.mul(x, x);
    let p = polynomial(cx, square, coefficients);
    cx.mul(x, p)
}

/// x held to ±limit, and whether it lies between.
pub fn hold(cx: &mut Cx<'_>, x: NodeId, limit: f32) -> (NodeId, NodeId) {
    let (lo, hi) = (cx.scalar(-limit), cx.scalar(limit));
    let below = cx.min(x, hi);
    let held = cx.max(below, lo);
    let size = cx.abs(x);
    (held, cx.lt(size, hi))
}

/// For ordinary arithmetic: x · p(x²) where |x| < limit, else `far`. Elsewhere `far`, as a piecewise
/// affine function is that near 0 too.
pub fn near(cx: &mut Cx<'_>, x: NodeId, limit: f32, series: &[f32], far: NodeId) -> NodeId {
    if !cx.is_float() {
        return far;
    }
    let (held, close) = hold(cx, x, limit);
    let series = odd_polynomial(cx, held, series);
    cx.select(close, series, far)
}

/// |x|, with slope 1 at 0 (where `abs` has none).
pub fn magnitude(cx: &mut Cx<'_>, x: NodeId) -> NodeId {
    let negative = is_negative(cx, x);
    let minus = cx.neg(x);
    cx.select(negative, minus, x)
}

/// x < 0.
pub fn is_negative(cx: &mut Cx<'_>, x: NodeId) -> NodeId {
    let zero = cx.scalar(0f32);
    cx.lt(x, zero)
}

/// The odd function that is `f` of the magnitude on x ≥ 0.
pub fn odd(cx: &mut Cx<'_>, x: NodeId, f: impl FnOnce(&mut Cx<'_>, NodeId) -> NodeId) -> NodeId {
    let negative = is_negative(cx, x);
    let minus = cx.neg(x);
    let a = cx.select(negative, minus, x);
    let y = f(cx, a);
    let minus = cx.neg(y);
    cx.select(negative, minus, y)
}

/// `select(x < 0, +0, x)`.
pub fn relu(cx: &mut Cx<'_>, x: NodeId) -> NodeId {
    let negative = is_negative(cx, x);
    let zero = cx.scalar(0f32);
    cx.select(negative, zero, x)
}
