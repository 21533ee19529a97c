//! Bit-exact identities of the elementwise primitives.
//!
//! In range, ⊙ and ⊘ are the group of addition on bit patterns; out of range an intermediate is
//! flushed or saturates, and zeros, infinities and NaN are apart: hence the guards.

use super::Guard::*;
use super::{Spec, bits};

/// The table.
pub(super) static RULES: &[Spec] = &[
    // (x ⊙ y) ⊘ y = x, in both operand orders.
    bits("div-mul", "(pam.div (pam.mul ?a ?b) ?b)", "?a").when(&[
        MulInRange("?a", "?b"),
        NonZero("?b"),
        Finite("?b"),
    ]),
    bits("div-mul'", "(pam.div (pam.mul ?b ?a) ?b)", "?a").when(&[
        MulInRange("?a", "?b"),
        NonZero("?b"),
        Finite("?b"),
    ]),
    // (x ⊘ y) ⊙ y = x
    bits("mul-div", "(pam.mul (pam.div ?a ?b) ?b)", "?a").when(&[
        DivInRange("?a", "?b"),
        NonZero("?b"),
        Finite("?b"),
    ]),
    bits("mul-div'", "(pam.mul ?b (pam.div ?a ?b))", "?a").when(&[
        DivInRange("?a", "?b"),
        NonZero("?b"),
        Finite("?b"),
    ]),
    // x ⊘ (x ⊘ y) = y
    bits("div-div-self", "(pam.div ?a (pam.div ?a ?b))", "?b").when(&[
        DivInRange("?a", "?b"),
        NonZero("?a"),
        Finite("?a"),
        Finite("?b"),
        NonZero("?b"),
    ]),
    // (x ⊙ c) ⊘ (y ⊙ c) = x ⊘ y
    bits("div-common", "(pam.div (pam.mul ?a ?c) (pam.mul ?b ?c))", "(pam.div ?a ?b)").when(&[
        MulInRange("?a", "?c"),
        MulInRange("?b", "?c"),
        NonZero("?c"),
        Finite("?c"),
    ]),
    // x ⊘ x = 1
    bits("div-self", "(pam.div ?a ?a)", "1.0").when(&[NonZero("?a"), Finite("?a")]),
    // Identity of the group.
    bits("mul-one", "(pam.mul ?a ?c)", "?a").when(&[Is("?c", 1.0)]),
    bits("mul-one'", "(pam.mul ?c ?a)", "?a").when(&[Is("?c", 1.0)]),
    bits("div-one", "(pam.div ?a ?c)", "?a").when(&[Is("?c", 1.0)]),
    bits("mul-minus-one", "(pam.mul ?a ?c)", "(neg ?a)").when(&[Is("?c", -1.0)]),
    bits("mul-minus-one'", "(pam.mul ?c ?a)", "(neg ?a)").when(&[Is("?c", -1.0)]),
    bits("div-minus-one", "(pam.div ?a ?c)", "(neg ?a)").when(&[Is("?c", -1.0)]),
    // Powers of two only move the exponent.
    bits("mul-power", "(pam.mul ?a ?c)", "(pam.scale2 ?a ($exponent ?c))")
        .when(&[PowerOfTwo("?c")]),
    bits("mul-power'", "(pam.mul ?c ?a)", "(pam.scale2 ?a ($exponent ?c))")
        .when(&[PowerOfTwo("?c")]),
    bits("div-power", "(pam.div ?a ?c)", "(pam.scale2 ?a ($-exponent ?c))")
        .when(&[PowerOfTwo("?c")]),
    bits("mul-minus-power", "(pam.mul ?a ?c)", "(neg (pam.scale2 ?a ($exponent ?c)))")
        .when(&[MinusPowerOfTwo("?c")]),
    bits("mul-minus-power'", "(pam.mul ?c ?a)", "(neg (pam.scale2 ?a ($exponent ?c)))")
        .when(&[MinusPowerOfTwo("?c")]),
    bits("div-minus-power", "(pam.div ?a ?c)", "(neg (pam.scale2 ?a ($-exponent ?c)))")
        .when(&[MinusPowerOfTwo("?c")]),
    bits("scale2-zero", "(pam.scale2 ?a ?k)", "?a").when(&[Equals("?k", 0)]).on(&["?k: 0"]),
    bits("scale2-scale2", "(pam.scale2 (pam.scale2 ?a ?j) ?k)", "(pam.scale2 ?a ($add ?j ?k))")
        .when(&[SameSign("?j", "?k")])
        .on(&["?j: 3; ?k: 5", "?j: -3; ?k: -100", "?j: 200; ?k: 300", "?j: 0; ?k: -7"]),
    bits("scale2-back", "(pam.scale2 (pam.scale2 ?a ?j) ?k)", "(pam.scale2 ?a ($add ?j ?k))")
        .when(&[ScaleInRange("?a", "?j")])
        .on(&["?j: 3; ?k: -5", "?j: -3; ?k: 7", "?j: 90; ?k: -90"]),
    // Constants gather: no intermediate flushes or saturates where the whole would not.
    bits("mul-mul-const", "(pam.mul (pam.mul ?a ?c) ?d)", "(pam.mul ?a (pam.mul ?c ?d))").when(&[
        Uniform("?c"),
        Uniform("?d"),
        SameSide("?c", "?d"),
        MulInRange("?c", "?d"),
    ]),
    bits("mul-mul-const-l", "(pam.mul (pam.mul ?c ?a) ?d)", "(pam.mul ?a (pam.mul ?c ?d))")
        .when(&[Uniform("?c"), Uniform("?d"), SameSide("?c", "?d"), MulInRange("?c", "?d")]),
    bits("mul-mul-const-r", "(pam.mul ?d (pam.mul ?a ?c))", "(pam.mul ?a (pam.mul ?c ?d))")
        .when(&[Uniform("?c"), Uniform("?d"), SameSide("?c", "?d"), MulInRange("?c", "?d")]),
    bits("mul-mul-const-lr", "(pam.mul ?d (pam.mul ?c ?a))", "(pam.mul ?a (pam.mul ?c ?d))")
        .when(&[Uniform("?c"), Uniform("?d"), SameSide("?c", "?d"), MulInRange("?c", "?d")]),
    bits("mul-mul-range", "(pam.mul (pam.mul ?a ?c) ?d)", "(pam.mul ?a (pam.mul ?c ?d))").when(&[
        Uniform("?c"),
        Uniform("?d"),
        MulInRange("?a", "?c"),
        MulInRange("?c", "?d"),
        NonZero("?d"),
        NonZero("?c"),
        Finite("?c"),
        Finite("?d"),
    ]),
    // x ⊘ c = x ⊙ (1 ⊘ c): exact for every x, as only one intermediate leaves the range of c.
    bits("div-const", "(pam.div ?a ?c)", "(pam.mul ?a ($reciprocal ?c))")
        .when(&[Uniform("?c"), Within("?c", f32::MIN_POSITIVE, 8.507059e37)]),
    bits("div-reciprocal", "(pam.div ?a (pam.div ?c ?b))", "(pam.mul ?a ?b)")
        .when(&[Is("?c", 1.0), DivInRange("?c", "?b")]),
    // Signs pass through ⊙ and ⊘.
    bits("neg-mul", "(pam.mul (neg ?a) ?b)", "(neg (pam.mul ?a ?b))"),
    bits("mul-neg", "(pam.mul ?a (neg ?b))", "(neg (pam.mul ?a ?b))"),
    bits("neg-div", "(pam.div (neg ?a) ?b)", "(neg (pam.div ?a ?b))"),
    bits("div-neg", "(pam.div ?a (neg ?b))", "(neg (pam.div ?a ?b))"),
    bits("neg-scale2", "(pam.scale2 (neg ?a) ?k)", "(neg (pam.scale2 ?a ?k))")
        .on(&["?k: 4", "?k: -40"]),
    bits("neg-neg", "(neg (neg ?a))", "?a"),
    bits("abs-neg", "(abs (neg ?a))", "(abs ?a)"),
    bits("abs-abs", "(abs (abs ?a))", "(abs ?a)"),
    bits("abs-nonnegative", "(abs ?a)", "?a").when(&[NonNegative("?a"), NotNegZero("?a")]),
    // Roots, exponentials and logarithms where no bit is lost.
    bits("sqrt-square", "(pam.sqrt (pam.mul ?a ?a))", "(abs ?a)").when(&[MulInRange("?a", "?a")]),
    bits("exp2-log2", "(pam.exp2 (pam.log2 ?a))", "?a")
        .when(&[Within("?a", 0.25, 3.9999998), NonNegative("?a")]),
    bits("log2-exp2", "(pam.log2 (pam.exp2 ?a))", "?a").when(&[Within("?a", 1.0, 126.0)]),
    // Sums.
    bits("add-zero", "(add ?a ?c)", "?a").when(&[Is("?c", 0.0), NotNegZero("?a")]),
    bits("add-zero'", "(add ?c ?a)", "?a").when(&[Is("?c", 0.0), NotNegZero("?a")]),
    bits("add-minus-zero", "(add ?a ?c)", "?a").when(&[Is("?c", -0.0)]),
    bits("add-minus-zero'", "(add ?c ?a)", "?a").when(&[Is("?c", -0.0)]),
    bits("sub-zero", "(sub ?a ?c)", "?a").when(&[Is("?c", 0.0)]),
    bits("sub-minus-zero", "(sub ?a ?c)", "?a").when(&[Is("?c", -0.0), NotNegZero("?a")]),
    bits("minus-zero-sub", "(sub ?c ?a)", "(neg ?a)").when(&[Is("?c", -0.0)]),
    bits("zero-sub", "(sub ?c ?a)", "(neg ?a)").when(&[Is("?c", 0.0), NonZero("?a")]),
    bits("add-neg", "(add ?a (neg ?b))", "(sub ?a ?b)"),
    bits("neg-add", "(add (neg ?a) ?b)", "(sub ?b ?a)"),
    bits("sub-neg", "(sub ?a (neg ?b))", "(add ?a ?b)"),
    bits("sub-self", "(sub ?a ?a)", "0.0").when(&[Finite("?a")]),
    bits("add-self", "(add ?a ?a)", "(pam.scale2 ?a #1)").when(&[Within(
        "?a",
        f32::MIN_POSITIVE,
        1.7014117e38,
    )]),
    // Extrema and selection.
    bits("min-self", "(min ?a ?a)", "?a"),
    bits("max-self", "(max ?a ?a)", "?a"),
    bits("max-max", "(max (max ?a ?b) ?b)", "(max ?a ?b)"),
    bits("min-min", "(min (min ?a ?b) ?b)", "(min ?a ?b)"),
    bits("select-same", "(select ?c ?a ?a)", "?a").on(&["?c: bool[]", "?c: bool[]; ?a: f32[25]"]),
    bits("select-true", "(select ?c ?a ?b)", "?a")
        .when(&[True("?c")])
        .on(&["?c: bool[]", "?c: bool[1]"]),
    bits("select-false", "(select ?c ?a ?b)", "?b")
        .when(&[False("?c")])
        .on(&["?c: bool[]", "?c: bool[1]"]),
    bits("select-not", "(select (not ?c) ?a ?b)", "(select ?c ?b ?a)")
        .on(&["?c: bool[40]; ?a: f32[40]; ?b: f32[40]"]),
    bits("select-select", "(select ?c (select ?c ?a ?b) ?d)", "(select ?c ?a ?d)")
        .on(&["?c: bool[40]; ?a: f32[40]; ?b: f32[40]; ?d: f32[40]"]),
    bits("not-not", "(not (not ?c))", "?c").on(&["?c: bool[40]", "?c: i32[40]"]),
    // Slopes: where the other operand is a power of two, the slope is that operand.
    bits("mul-slope-power", "(pam.mul_slope ?a ?c)", "?c").when(&[
        Uniform("?c"),
        PowersOfTwo("?c"),
        Finite("?c"),
        Finite("?a"),
    ]),
    // Rejected: a ⊙ (b + c) = a ⊙ b + a ⊙ c.          a = 1.5, b = 1, c = 0.5: 2.0 against 2.25.
    // Rejected: (a ⊙ b) ⊘ b = a unguarded.            a = b = 1e-30: 0 against 1e-30.
    // Rejected: sqrt(a) ⊙ sqrt(a) = a.                a = 1.0000001: the last bit is shifted out.
    // Rejected: exp2(log2 a) = a everywhere.          a = 8.000001: log₂ has 24 bits, 3 of them before the point.
    // Rejected: exp2(log2 a + log2 b) = a ⊙ b.        a = b = 3.3000002: the sum rounds.
    // Rejected: neg(a − b) = b − a.                   a = b = 1: −0 against +0.
    // Rejected: a + 0 = a.                            a = −0: +0 against −0.
    // Rejected: a ⊙ 0 = 0.                            a = −1: −0 against +0; a = ∞: NaN.
    // Rejected: not (a < b) = b ≤ a.                  a = NaN: true against false.
    // Rejected: a + a = scale2(a, 1) unguarded.       a = 3e38: ∞ against the largest finite.
    // Rejected: max(a, b) = a where a ≥ b is known.   b = NaN.
];
