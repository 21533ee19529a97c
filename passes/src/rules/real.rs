//! Identities over the reals, used before the directed lowering only: they choose which real
//! operations are lowered, so a better or cheaper lowering is met.
//!
//! `move-constant` puts constants second; patterns below rely on it.

use super::Guard::*;
use super::{Spec, real};

const HALF_SQRT: f32 = std::f32::consts::FRAC_1_SQRT_2;
const SQRT_2: f32 = std::f32::consts::SQRT_2;
/// √(2/π)
const TANH_SCALE: f32 = 0.797_884_6;
const TANH_CUBIC: f32 = 0.044_715;

/// The table.
pub(super) static RULES: &[Spec] = &[
    real("move-constant-mul", "(mul ?c ?a)", "(mul ?a ?c)").when(&[Uniform("?c")]),
    real("move-constant-add", "(add ?c ?a)", "(add ?a ?c)").when(&[Uniform("?c")]),
    // Units and constants.
    real("real-mul-one", "(mul ?a ?c)", "?a").when(&[Is("?c", 1.0)]),
    real("real-div-one", "(div ?a ?c)", "?a").when(&[Is("?c", 1.0)]),
    real("real-mul-minus-one", "(mul ?a ?c)", "(neg ?a)").when(&[Is("?c", -1.0)]),
    real("real-div-minus-one", "(div ?a ?c)", "(neg ?a)").when(&[Is("?c", -1.0)]),
    real("real-add-zero", "(add ?a ?c)", "?a").when(&[Is("?c", 0.0)]),
    real("real-zero-sub", "(sub ?c ?a)", "(neg ?a)").when(&[Is("?c", 0.0)]),
    real("real-mul-mul", "(mul (mul ?a ?c) ?d)", "(mul ?a (mul ?c ?d))")
        .when(&[Uniform("?c"), Uniform("?d")]),
    real("real-div-div", "(div (div ?a ?c) ?d)", "(div ?a (mul ?c ?d))")
        .when(&[Uniform("?c"), Uniform("?d")]),
    real("real-div-mul", "(div (mul ?a ?c) ?d)", "(mul ?a (div ?c ?d))")
        .when(&[Uniform("?c"), Uniform("?d")]),
    real("real-mul-div", "(mul (div ?a ?c) ?d)", "(mul ?a (div ?d ?c))")
        .when(&[Uniform("?c"), Uniform("?d")]),
    real("real-neg-mul", "(mul (neg ?a) ?b)", "(neg (mul ?a ?b))"),
    real("real-neg-div", "(div (neg ?a) ?b)", "(neg (div ?a ?b))"),
    real("real-div-neg", "(div ?a (neg ?b))", "(neg (div ?a ?b))"),
    real("real-div-mul-same", "(div (mul ?a ?b) ?b)", "?a"),
    // Powers and roots.
    real("mul-square", "(mul ?a ?a)", "(square ?a)"),
    real("pow-one", "(pow ?a ?c)", "?a").when(&[Is("?c", 1.0)]),
    real("pow-two", "(pow ?a ?c)", "(square ?a)").when(&[Is("?c", 2.0)]),
    real("pow-three", "(pow ?a ?c)", "(mul ?a (square ?a))").when(&[Is("?c", 3.0)]),
    real("pow-half", "(pow ?a ?c)", "(sqrt ?a)").when(&[Is("?c", 0.5)]),
    real("pow-minus-half", "(pow ?a ?c)", "(rsqrt ?a)").when(&[Is("?c", -0.5)]),
    real("pow-minus-one", "(pow ?a ?c)", "(reciprocal ?a)").when(&[Is("?c", -1.0)]),
    real("square-sqrt", "(square (sqrt ?a))", "?a"),
    real("real-sqrt-square", "(sqrt (square ?a))", "(abs ?a)"),
    real("square-neg", "(square (neg ?a))", "(square ?a)"),
    real("square-abs", "(square (abs ?a))", "(square ?a)"),
    real("reciprocal-sqrt", "(reciprocal (sqrt ?a))", "(rsqrt ?a)"),
    real("reciprocal-reciprocal", "(reciprocal (reciprocal ?a))", "?a"),
    real("one-div-sqrt", "(div ?c (sqrt ?a))", "(rsqrt ?a)").when(&[Is("?c", 1.0)]),
    // One division errs once, a product with a reciprocal twice.
    real("mul-reciprocal", "(mul ?a (reciprocal ?b))", "(div ?a ?b)"),
    real("mul-rsqrt", "(mul ?a (rsqrt ?b))", "(div ?a (sqrt ?b))"),
    real("mul-one-div", "(mul ?a (div ?c ?b))", "(div ?a ?b)").when(&[Is("?c", 1.0)]),
    // Exponentials and logarithms.
    real("exp-log", "(exp (log ?a))", "?a"),
    real("log-exp", "(log (exp ?a))", "?a"),
    real("real-exp2-log2", "(exp2 (log2 ?a))", "?a"),
    real("real-log2-exp2", "(log2 (exp2 ?a))", "?a"),
    real("exp-mul-exp", "(mul (exp ?a) (exp ?b))", "(exp (add ?a ?b))"),
    // Means.
    real("sum-over-count", "(div (sum ?x ?axes ?k) ?n)", "(mean ?x ?axes ?k)")
        .when(&[Uniform("?n"), CountOf("?n", "?x", "?axes")])
        .on(&["?x: f32[3, 8]; ?axes: [1]; ?k: true; ?n: 8.0"]),
    real("sum-by-count", "(mul (sum ?x ?axes ?k) ?n)", "(mean ?x ?axes ?k)")
        .when(&[Uniform("?n"), InverseCountOf("?n", "?x", "?axes")])
        .on(&["?x: f32[3, 8]; ?axes: [1]; ?k: true; ?n: 0.125"]),
    // Softmax and its kin.
    real("softmax", "(div (exp ?x) (sum (exp ?x) ?axes #true))", "(softmax ?x ($only ?axes))")
        .on(&["?x: f32[3, 8]; ?axes: [1]", "?x: f32[3, 8]; ?axes: [0]"]),
    real("softmax-shift", "(softmax (sub ?x (reduce_max ?x ?axes #true)) ?a)", "(softmax ?x ?a)")
        .when(&[OnlyAxis("?axes", "?a", "?x")])
        .on(&["?x: f32[3, 8]; ?axes: [1]; ?a: -1"]),
    real("log-softmax", "(log (softmax ?x ?a))", "(log_softmax ?x ?a)")
        .on(&["?x: f32[3, 8]; ?a: -1"]),
    real("exp-log-softmax", "(exp (log_softmax ?x ?a))", "(softmax ?x ?a)")
        .on(&["?x: f32[3, 8]; ?a: -1"]),
    real("logsumexp", "(log (sum (exp ?x) ?axes ?k))", "(logsumexp ?x ?axes ?k)")
        .on(&["?x: f32[3, 8]; ?axes: [1]; ?k: false"]),
    real("sub-logsumexp", "(sub ?x (logsumexp ?x ?axes #true))", "(log_softmax ?x ($only ?axes))")
        .on(&["?x: f32[3, 8]; ?axes: [1]"]),
    // Activations as exporters write them.
    real("sigmoid", "(div ?c (add (exp (neg ?x)) ?d))", "(sigmoid ?x)")
        .when(&[Is("?c", 1.0), Is("?d", 1.0)]),
    real("sigmoid-reciprocal", "(reciprocal (add (exp (neg ?x)) ?d))", "(sigmoid ?x)")
        .when(&[Is("?d", 1.0)]),
    real("silu", "(mul ?x (sigmoid ?x))", "(silu ?x)"),
    real("silu-div", "(div ?x (add (exp (neg ?x)) ?d))", "(silu ?x)").when(&[Is("?d", 1.0)]),
    real("softplus", "(log (add (exp ?x) ?c))", "(softplus ?x)").when(&[Is("?c", 1.0)]),
    // Binary cross entropy as exporters write it, whose logarithms of what rounds to 0 are no number.
    real("log-sigmoid", "(log (sigmoid ?x))", "(neg (softplus (neg ?x)))"),
    real("log-sigmoid-rest", "(log (sub ?c (sigmoid ?x)))", "(neg (softplus ?x))")
        .when(&[Is("?c", 1.0)]),
    real("mish", "(mul ?x (tanh (softplus ?x)))", "(mish ?x)"),
    // x/2 · (1 + erf(x/√2)), however the factors are grouped.
    real("gelu", "(mul (mul ?x ?h) (add (erf (mul ?x ?s)) ?o))", "(gelu ?x #none)").when(&[
        Is("?h", 0.5),
        Near("?s", HALF_SQRT),
        Is("?o", 1.0),
    ]),
    real("gelu-outer", "(mul (mul ?x (add (erf (mul ?x ?s)) ?o)) ?h)", "(gelu ?x #none)").when(&[
        Is("?h", 0.5),
        Near("?s", HALF_SQRT),
        Is("?o", 1.0),
    ]),
    real("gelu-inner", "(mul ?x (mul (add (erf (mul ?x ?s)) ?o) ?h))", "(gelu ?x #none)").when(&[
        Is("?h", 0.5),
        Near("?s", HALF_SQRT),
        Is("?o", 1.0),
    ]),
    real("gelu-div", "(mul (mul ?x ?h) (add (erf (div ?x ?s)) ?o))", "(gelu ?x #none)").when(&[
        Is("?h", 0.5),
        Near("?s", SQRT_2),
        Is("?o", 1.0),
    ]),
    real("gelu-div-outer", "(mul (mul ?x (add (erf (div ?x ?s)) ?o)) ?h)", "(gelu ?x #none)")
        .when(&[Is("?h", 0.5), Near("?s", SQRT_2), Is("?o", 1.0)]),
    real("gelu-div-inner", "(mul ?x (mul (add (erf (div ?x ?s)) ?o) ?h))", "(gelu ?x #none)")
        .when(&[Is("?h", 0.5), Near("?s", SQRT_2), Is("?o", 1.0)]),
    // x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))
    real(
        "gelu-tanh",
        "(mul (mul ?x ?h) (add (tanh (mul (add ?x (mul (mul ?x (square ?x)) ?b)) ?s)) ?o))",
        "(gelu ?x #tanh)",
    )
    .when(&[Is("?h", 0.5), Near("?s", TANH_SCALE), Near("?b", TANH_CUBIC), Is("?o", 1.0)]),
    real(
        "gelu-tanh-outer",
        "(mul (mul ?x (add (tanh (mul (add ?x (mul (mul ?x (square ?x)) ?b)) ?s)) ?o)) ?h)",
        "(gelu ?x #tanh)",
    )
    .when(&[Is("?h", 0.5), Near("?s", TANH_SCALE), Near("?b", TANH_CUBIC), Is("?o", 1.0)]),
    real(
        "gelu-tanh-inner",
        "(mul ?x (mul (add (tanh (mul (add ?x (mul (mul ?x (square ?x)) ?b)) ?s)) ?o) ?h))",
        "(gelu ?x #tanh)",
    )
    .when(&[Is("?h", 0.5), Near("?s", TANH_SCALE), Near("?b", TANH_CUBIC), Is("?o", 1.0)]),
    // Normalizations.
    real(
        "layer-norm",
        "(div (sub ?x (mean ?x ?axes #true)) \
         (sqrt (add (mean (square (sub ?x (mean ?x ?axes #true))) ?axes #true) ?e)))",
        "(layer_norm ?x ($trailing ?x ?axes) ($float ?e))",
    )
    .when(&[Uniform("?e")])
    .on(&["?x: f32[3, 8]; ?axes: [-1]; ?e: 0.001"]),
    real("layer-norm-gamma", "(mul (layer_norm ?x ?a ?e) ?g)", "(layer_norm ?x ?g ?a ?e)")
        .on(&["?x: f32[3, 8]; ?g: f32[8]; ?a: -1; ?e: 0.001"]),
    real("layer-norm-beta", "(add (layer_norm ?x ?g ?a ?e) ?b)", "(layer_norm ?x ?g ?b ?a ?e)")
        .on(&["?x: f32[3, 8]; ?g: f32[8]; ?b: f32[8]; ?a: -1; ?e: 0.001"]),
    real(
        "rms-norm",
        "(div ?x (sqrt (add (mean (square ?x) ?axes #true) ?e)))",
        "(rms_norm ?x ($trailing ?x ?axes) ($float ?e))",
    )
    .when(&[Uniform("?e")])
    .on(&["?x: f32[3, 8]; ?axes: [1]; ?e: 0.001"]),
    real("rms-norm-gamma", "(mul (rms_norm ?x ?a ?e) ?g)", "(rms_norm ?x ?g ?a ?e)")
        .on(&["?x: f32[3, 8]; ?g: f32[8]; ?a: -1; ?e: 0.001"]),
    // Transposes.
    real(
        "real-matmul-transpose-a",
        "(matmul (transpose ?x ?p) ?y ?ta ?tb)",
        "(matmul ?x ?y ($not ?ta) ?tb)",
    )
    .when(&[SwapsLastTwo("?p")])
    .on(&["?x: f32[6, 4]; ?p: [1, 0]; ?y: f32[6, 5]; ?ta: false; ?tb: false"]),
    real(
        "real-matmul-transpose-b",
        "(matmul ?x (transpose ?y ?p) ?ta ?tb)",
        "(matmul ?x ?y ?ta ($not ?tb))",
    )
    .when(&[SwapsLastTwo("?p")])
    .on(&["?x: f32[2, 4, 6]; ?y: f32[2, 5, 6]; ?p: [0, 2, 1]; ?ta: false; ?tb: false"]),
    // Rejected: a · 0 = 0.                 a = ∞: a model that overflows must show it.
    // Rejected: a / c = a · (1/c).         In PAM the quotient errs upwards, the product downwards: no gain.
    // Rejected: a · b + a · c = a(b + c).  True over the reals, but it moves where PAM's error falls.
];
