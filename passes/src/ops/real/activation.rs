//! Activation functions.

use super::curve::{self, odd, odd_polynomial, polynomial, ramps, relu};
use super::{bound, checked, everywhere, unary};
use crate::build::Cx;
use crate::ir::{Attrs, NodeId};
use crate::ops::shape::{Inferred, Types, float as float_shape};
use crate::ops::{AttrSpec, AttrType, Default, Op, Site, float};

/// tanh x: [`curve::TANH`] in PAM; else (1 − e⁻²ᵃ) / (1 + e⁻²ᵃ), near 0 its series.
fn tanh_of(cx: &mut Cx<'_>, x: NodeId) -> NodeId {
    if !cx.is_float() {
        return odd(cx, x, |cx, a| ramps(cx, a, curve::TANH));
    }
    odd(cx, x, |cx, a| {
        let minus = cx.mul_const(a, -2.0);
        let e = cx.exp(minus);
        let one = cx.scalar(1f32);
        let (over, under) = (cx.sub(one, e), cx.add(one, e));
        let far = cx.div(over, under);
        let series = [1.0, -1.0 / 3.0, 2.0 / 15.0, -17.0 / 315.0, 62.0 / 2835.0];
        near(cx, a, 0.25, far, |cx, a| odd_polynomial(cx, a, &series))
    })
}

/// `close` of a where a < limit, else `far`; it is computed of the smaller of both, so that it cannot
/// overflow and make a NaN of a gradient.
fn near(
    cx: &mut Cx<'_>,
    a: NodeId,
    limit: f32,
    far: NodeId,
    close: impl FnOnce(&mut Cx<'_>, NodeId) -> NodeId,
) -> NodeId {
    let limit = cx.scalar(limit);
    let below = cx.lt(a, limit);
    let held = cx.min(a, limit);
    let close = close(cx, held);
    cx.select(below, close, far)
}

/// erf x: [`curve::ERF`] in PAM; else Abramowitz & Stegun 7.1.26, near 0 the series.
fn erf_of(cx: &mut Cx<'_>, x: NodeId) -> NodeId {
    if !cx.is_float() {
        return odd(cx, x, |cx, a| ramps(cx, a, curve::ERF));
    }
    odd(cx, x, |cx, a| {
        let scaled = cx.mul_const(a, 0.327_591_1);
        let under = cx.add_const(scaled, 1.0);
        let one = cx.scalar(1f32);
        let t = cx.div(one, under);
        let table = [0.0, 0.254_829_6, -0.284_496_74, 1.421_413_7, -1.453_152, 1.061_405_4];
        let p = polynomial(cx, t, &table);
        let square = cx.mul(a, a);
        let minus = cx.neg(square);
        let e = cx.exp(minus);
        let tail = cx.mul(p, e);
        let far = cx.sub(one, tail);
        let c = std::f32::consts::FRAC_2_SQRT_PI;
        let series = [c, -c / 3.0, c / 10.0, -c / 42.0, c / 216.0, -c / 1320.0];
        near(cx, a, 0.5, far, |cx, a| odd_polynomial(cx, a, &series))
    })
}

/// σ(x): ½ + ½·tanh(x/2) in PAM; else 1 / (1 + e⁻ˣ).
pub(super) fn sigmoid_of(cx: &mut Cx<'_>, x: NodeId) -> NodeId {
    if !cx.is_float() {
        let half = cx.scale2(x, -1);
        let t = tanh_of(cx, half);
        let t = cx.scale2(t, -1);
        return cx.add_const(t, 0.5);
    }
    // e⁸⁷ is finite: an infinity here would make a NaN of the gradient.
    let minus = cx.neg(x);
    let limit = cx.scalar(87f32);
    let held = cx.min(minus, limit);
    let e = cx.exp(held);
    let under = cx.add_const(e, 1.0);
    let one = cx.scalar(1f32);
    cx.div(one, under)
}

/// ln(1 + e^−|x|): [`curve::LOG1P`] of paexp in PAM; else 2·artanh(e / (2 + e)) as a series.
pub(super) fn log1p_exp_minus(cx: &mut Cx<'_>, x: NodeId) -> NodeId {
    let a = curve::magnitude(cx, x);
    let minus = cx.neg(a);
    let e = cx.exp(minus);
    if !cx.is_float() {
        return ramps(cx, e, curve::LOG1P);
    }
    let under = cx.add_const(e, 2.0);
    let s = cx.div(e, under);
    let series = [2.0, 2.0 / 3.0, 2.0 / 5.0, 2.0 / 7.0, 2.0 / 9.0, 2.0 / 11.0, 2.0 / 13.0];
    odd_polynomial(cx, s, &series)
}

/// ln(1 + eˣ) = relu(x) + ln(1 + e^−|x|).
pub(super) fn softplus_of(cx: &mut Cx<'_>, x: NodeId) -> NodeId {
    let (straight, rest) = (relu(cx, x), log1p_exp_minus(cx, x));
    cx.add(straight, rest)
}

/// relu(x) less a bump that is even in x.
fn rectifier(cx: &mut Cx<'_>, x: NodeId, gap: &[curve::Ramp]) -> NodeId {
    let a = curve::magnitude(cx, x);
    let gap = ramps(cx, a, gap);
    let straight = relu(cx, x);
    cx.sub(straight, gap)
}

fn sigmoid(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    sigmoid_of(cx, site.inputs[0])
}

fn tanh(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    tanh_of(cx, site.inputs[0])
}

fn erf(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    erf_of(cx, site.inputs[0])
}

fn erfc(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let (one, y) = (cx.scalar(1f32), erf_of(cx, site.inputs[0]));
    cx.sub(one, y)
}

fn softplus(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    softplus_of(cx, site.inputs[0])
}

fn silu(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let x = site.inputs[0];
    if !cx.is_float() {
        return rectifier(cx, x, curve::SILU_GAP);
    }
    let s = sigmoid_of(cx, x);
    cx.mul(x, s)
}

fn gelu(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let x = site.inputs[0];
    if !cx.is_float() {
        return rectifier(cx, x, curve::GELU_GAP);
    }
    let bent = if site.attrs.str("approximate") == "tanh" {
        let square = cx.mul(x, x);
        let factor = polynomial(cx, square, &[0.797_884_6, 0.797_884_6 * 0.044_715]);
        let inner = cx.mul(x, factor);
        tanh_of(cx, inner)
    } else {
        let inner = cx.mul_const(x, std::f32::consts::FRAC_1_SQRT_2);
        erf_of(cx, inner)
    };
    let half = cx.scale2(x, -1);
    let product = cx.mul(half, bent);
    cx.add(half, product)
}

fn gelu_shape(types: Types, attrs: &Attrs) -> Inferred {
    match attrs.str("approximate") {
        "none" | "tanh" => float_shape(types, attrs),
        other => Err(format!("'approximate' is \"none\" or \"tanh\", not \"{other}\"")),
    }
}

fn rectified(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    relu(cx, site.inputs[0])
}

fn leaky_relu(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let x = site.inputs[0];
    let small = cx.mul_const(x, site.attrs.float("alpha"));
    let negative = curve::is_negative(cx, x);
    cx.select(negative, small, x)
}

fn prelu(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let (x, slope) = (site.inputs[0], site.inputs[1]);
    let small = cx.mul(x, slope);
    let negative = curve::is_negative(cx, x);
    cx.select(negative, small, x)
}

/// alpha ⊙ (eˣ − 1) where x < 0, else x; e is taken of 0 for positive x, lest it overflow.
fn elu_of(cx: &mut Cx<'_>, x: NodeId, alpha: f32) -> NodeId {
    let zero = cx.scalar(0f32);
    let low = cx.min(x, zero);
    let e = cx.exp(low);
    let short = cx.add_const(e, -1.0);
    let small = if alpha == 1.0 { short } else { cx.mul_const(short, alpha) };
    let negative = cx.lt(x, zero);
    cx.select(negative, small, x)
}

fn elu(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    elu_of(cx, site.inputs[0], site.attrs.float("alpha"))
}

fn celu(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let (x, alpha) = (site.inputs[0], site.attrs.float("alpha"));
    let zero = cx.scalar(0f32);
    let low = cx.min(x, zero);
    let scaled = cx.div_const(low, alpha);
    let e = cx.exp(scaled);
    let short = cx.add_const(e, -1.0);
    let small = cx.mul_const(short, alpha);
    let negative = cx.lt(x, zero);
    cx.select(negative, small, x)
}

fn selu(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let y = elu_of(cx, site.inputs[0], site.attrs.float("alpha"));
    cx.mul_const(y, site.attrs.float("gamma"))
}

fn hard_sigmoid_of(cx: &mut Cx<'_>, x: NodeId, alpha: f32, beta: f32) -> NodeId {
    let scaled = cx.times(x, alpha);
    let line = cx.add_const(scaled, beta);
    let (zero, one) = (cx.scalar(0f32), cx.scalar(1f32));
    let low = cx.max(line, zero);
    cx.min(low, one)
}

fn hard_sigmoid(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    hard_sigmoid_of(cx, site.inputs[0], site.attrs.float("alpha"), site.attrs.float("beta"))
}

fn hard_swish(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let gate = hard_sigmoid_of(cx, site.inputs[0], 1.0 / 6.0, 0.5);
    cx.mul(site.inputs[0], gate)
}

fn mish(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let s = softplus_of(cx, site.inputs[0]);
    let t = tanh_of(cx, s);
    cx.mul(site.inputs[0], t)
}

const ALPHA: &str = "alpha";

/// Rows.
pub static ROWS: &[Op] = &[
    checked(
        Op {
            onnx: &["Sigmoid"],
            ..unary(
                "sigmoid",
                sigmoid,
                "1 / (1 + e⁻ˣ). In PAM ½ + ½ · tanh(x / 2), tanh as its row has it.",
            )
        },
        |x| 1.0 / (1.0 + (-x[0]).exp()),
        everywhere(bound(0.0, 0.0045, -10.0, 10.0)),
    ),
    checked(
        Op {
            onnx: &["Tanh"],
            ..unary(
                "tanh",
                tanh,
                "Hyperbolic tangent. In PAM a sum of six ramps ±2ᵏ · min(|x|, t), with x's sign.",
            )
        },
        |x| x[0].tanh(),
        everywhere(bound(0.0, 0.009, -6.0, 6.0)),
    ),
    checked(
        Op {
            onnx: &["Erf"],
            ..unary(
                "erf",
                erf,
                "Error function. In PAM a sum of five ramps ±2ᵏ · min(|x|, t), with x's sign.",
            )
        },
        |x| erf_real(x[0]),
        everywhere(bound(0.0, 0.0092, -4.0, 4.0)),
    ),
    checked(
        unary("erfc", erfc, "1 − erf x, erf as its row has it."),
        |x| 1.0 - erf_real(x[0]),
        everywhere(bound(0.0, 0.0092, -4.0, 4.0)),
    ),
    Op {
        onnx: &["Gelu"],
        attrs: &[AttrSpec {
            name: "approximate",
            ty: AttrType::Str,
            default: Default::Str("none"),
        }],
        shape: gelu_shape,
        ..checked(
            unary(
                "gelu",
                gelu,
                "x · Φ(x), or with `approximate` \"tanh\" x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))). \
                 In PAM both are relu(x) less five ramps ±2ᵏ · min(|x|, t).",
            ),
            |x| 0.5 * x[0] * (1.0 + erf_real(x[0] * std::f64::consts::FRAC_1_SQRT_2)),
            everywhere(bound(0.0, 0.0083, -6.0, 6.0)),
        )
    },
    checked(
        Op {
            onnx: &["Swish"],
            ..unary("silu", silu, "x · σ(x). In PAM relu(x) less six ramps ±2ᵏ · min(|x|, t).")
        },
        |x| x[0] / (1.0 + (-x[0]).exp()),
        everywhere(bound(0.0, 0.0135, -12.0, 12.0)),
    ),
    checked(
        Op { onnx: &["Relu"], cost: 2, ..unary("relu", rectified, "`select(x < 0, +0, x)`.") },
        |x| x[0].max(0.0),
        everywhere(bound(0.0, 0.0, -4.0, 4.0)),
    ),
    Op {
        onnx: &["LeakyRelu"],
        attrs: &[float(ALPHA, 0.01)],
        cost: 6,
        ..checked(
            unary("leaky_relu", leaky_relu, "`select(x < 0, x ⊙ alpha, x)`."),
            |x| x[0].max(0.01 * x[0]),
            everywhere(bound(1.0 / 9.0, 0.0, -4.0, 4.0)),
        )
    },
    checked(
        Op {
            onnx: &["PRelu"],
            args: &["x", "slope"],
            cost: 6,
            ..unary("prelu", prelu, "`select(x < 0, x ⊙ slope, x)`.")
        },
        |x| if x[0] < 0.0 { x[0] * x[1] } else { x[0] },
        bound(1.0 / 9.0, 0.0, -4.0, 4.0),
    ),
    Op {
        onnx: &["Elu"],
        attrs: &[float(ALPHA, 1.0)],
        ..checked(
            unary("elu", elu, "`select(x < 0, (paexp(min(x, 0)) − 1) ⊙ alpha, x)`."),
            |x| if x[0] < 0.0 { x[0].exp_m1() } else { x[0] },
            everywhere(bound(0.0, 0.0435, -6.0, 6.0)),
        )
    },
    Op {
        onnx: &["Celu"],
        attrs: &[float(ALPHA, 1.0)],
        ..checked(
            unary("celu", celu, "`select(x < 0, (paexp(min(x, 0) ⊘ alpha) − 1) ⊙ alpha, x)`."),
            |x| if x[0] < 0.0 { x[0].exp_m1() } else { x[0] },
            everywhere(bound(0.0, 0.0435, -6.0, 6.0)),
        )
    },
    Op {
        onnx: &["Selu"],
        attrs: &[float(ALPHA, 1.673_263_2), float("gamma", 1.050_701)],
        ..checked(
            unary("selu", selu, "`gamma ⊙ elu(x)` with `alpha`."),
            |x| 1.050_701 * if x[0] < 0.0 { 1.673_263_2 * x[0].exp_m1() } else { x[0] },
            everywhere(bound(0.03, 0.13, -6.0, 6.0)),
        )
    },
    checked(
        Op {
            onnx: &["Softplus"],
            ..unary(
                "softplus",
                softplus,
                "ln(1 + eˣ) = relu(x) + ln(1 + e), e = exp(−|x|). In PAM ln(1 + e) is a sum of five \
                 ramps 2ᵏ · min(paexp(−|x|), t).",
            )
        },
        |x| x[0].max(0.0) + (-x[0].abs()).exp().ln_1p(),
        everywhere(bound(0.0, 0.03, -10.0, 10.0)),
    ),
    Op {
        onnx: &["HardSigmoid"],
        attrs: &[float(ALPHA, 0.2), float("beta", 0.5)],
        cost: 8,
        ..checked(
            unary(
                "hard_sigmoid",
                hard_sigmoid,
                "`min(max(x · alpha + beta, 0), 1)`; in PAM alpha is applied as signed powers of two.",
            ),
            |x| (0.2 * x[0] + 0.5).clamp(0.0, 1.0),
            everywhere(bound(0.0, 0.000_035, -4.0, 4.0)),
        )
    },
    checked(
        Op {
            onnx: &["HardSwish"],
            ..unary("hard_swish", hard_swish, "`x ⊙ hard_sigmoid(x)` with alpha 1/6 and beta 1/2.")
        },
        |x| x[0] * (x[0] / 6.0 + 0.5).clamp(0.0, 1.0),
        everywhere(bound(0.112, 0.0002, -5.0, 5.0)),
    ),
    checked(
        Op {
            onnx: &["Mish"],
            cost: 100,
            ..unary("mish", mish, "`x ⊙ tanh(softplus(x))`, both as their rows have them.")
        },
        |x| x[0] * (x[0].max(0.0) + (-x[0].abs()).exp().ln_1p()).tanh(),
        everywhere(bound(0.112, 0.01, -8.0, 8.0)),
    ),
];

/// erf in double precision, by its series; within 10⁻⁸.
fn erf_real(x: f64) -> f64 {
    let a = x.abs();
    if a > 4.2 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..200 {
        term *= -x * x / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    (sum * std::f64::consts::FRAC_2_SQRT_PI).clamp(-1.0, 1.0)
}
