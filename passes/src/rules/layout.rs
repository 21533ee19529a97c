//! Bit-exact identities of primitives that move, reduce or convert elements.

use super::Guard::*;
use super::{Spec, bits};

/// The table.
pub(super) static RULES: &[Spec] = &[
    bits("reshape-reshape", "(reshape (reshape ?x ?a) ?b)", "(reshape ?x ?b)")
        .on(&["?x: f32[2, 3, 4]; ?a: [6, 4]; ?b: [24]", "?x: i32[24]; ?a: [6, 4]; ?b: [3, 8]"]),
    bits("reshape-same", "(reshape ?x ?a)", "?x")
        .on(&["?x: f32[2, 3, 4]; ?a: [2, 3, 4]", "?x: i64[5, 5]; ?a: [5, 5]"]),
    bits(
        "transpose-transpose",
        "(transpose (transpose ?x ?p) ?q)",
        "(transpose ?x ($compose ?p ?q))",
    )
    .on(&[
        "?x: f32[2, 3, 4]; ?p: [1, 2, 0]; ?q: [0, 2, 1]",
        "?x: f32[2, 3, 4]; ?p: [2, 0, 1]; ?q: [2, 0, 1]",
        "?x: bool[2, 3, 4, 5]; ?p: [3, 1, 0, 2]; ?q: [1, 3, 2, 0]",
    ]),
    bits("transpose-identity", "(transpose ?x ?p)", "?x")
        .when(&[Identity("?p")])
        .on(&["?x: f32[4, 3, 4]; ?p: [0, 1, 2]"]),
    bits("expand-expand", "(expand (expand ?x ?a) ?b)", "(expand ?x ?b)")
        .on(&["?x: f32[3, 1]; ?a: [3, 4]; ?b: [2, 3, 4]", "?x: f32[]; ?a: [4]; ?b: [6, 4]"]),
    bits("expand-same", "(expand ?x ?a)", "?x").on(&["?x: f32[6, 4]; ?a: [6, 4]"]),
    bits("expand-reshape", "(expand (reshape ?x ?a) ?b)", "(expand ?x ?b)")
        .when(&[Ones("?a")])
        .on(&["?x: f32[]; ?a: [1, 1]; ?b: [6, 4]", "?x: f32[1]; ?a: [1, 1]; ?b: [6, 4]"]),
    bits(
        "slice-slice",
        "(slice (slice ?x ?s ?m ?d) ?t ?n ?e)",
        "(slice ?x ($slice-starts ?s ?d ?t) ?n ($slice-steps ?d ?e))",
    )
    .on(&[
        "?x: f32[9, 8]; ?s: [1, 2]; ?m: [4, 5]; ?d: [2, 1]; ?t: [1, 0]; ?n: [2, 5]; ?e: [2, 1]",
        "?x: f32[9, 8]; ?s: [8, 0]; ?m: [9, 8]; ?d: [-1, 1]; ?t: [8, 1]; ?n: [9, 7]; ?e: [-1, 1]",
    ]),
    bits("slice-all", "(slice ?x ?s ?n ?d)", "?x")
        .when(&[Zeros("?s"), Ones("?d")])
        .on(&["?x: f32[9, 8]; ?s: [0, 0]; ?n: [9, 8]; ?d: [1, 1]"]),
    bits("concat-one", "(concat ?x ?a)", "?x").on(&["?x: f32[5, 8]; ?a: 1"]),
    bits("cast-same", "(cast ?x ?t)", "?x").on(&[
        "?x: f32[40]; ?t: f32",
        "?x: i64[40]; ?t: i64",
        "?x: bool[40]; ?t: bool",
        "?x: f32[40]; ?t: i32",
    ]),
    bits("bitcast-bitcast", "(bitcast (bitcast ?x #i32) #f32)", "?x"),
    // Sums start at +0, so one element that is −0 becomes +0.
    bits("sum-of-one", "(sum ?x ?axes #true)", "?x")
        .when(&[OneElement("?x", "?axes"), NotNegZero("?x")])
        .on(&["?x: i32[6, 1, 5]; ?axes: [1]", "?x: f32[60, 1]; ?axes: [-1]"]),
    bits("max-of-one", "(reduce_max ?x ?axes #true)", "?x")
        .when(&[OneElement("?x", "?axes")])
        .on(&["?x: f32[6, 1, 5]; ?axes: [1]"]),
    bits("min-of-one", "(reduce_min ?x ?axes #true)", "?x")
        .when(&[OneElement("?x", "?axes")])
        .on(&["?x: f32[6, 1, 5]; ?axes: [1]"]),
    // Elementwise work is done before broadcasting.
    bits("exp2-expand", "(pam.exp2 (expand ?x ?s))", "(expand (pam.exp2 ?x) ?s)")
        .on(&["?x: f32[40]; ?s: [2, 40]"]),
    bits("log2-expand", "(pam.log2 (expand ?x ?s))", "(expand (pam.log2 ?x) ?s)")
        .on(&["?x: f32[40]; ?s: [2, 40]"]),
    bits("sqrt-expand", "(pam.sqrt (expand ?x ?s))", "(expand (pam.sqrt ?x) ?s)")
        .on(&["?x: f32[40]; ?s: [2, 40]"]),
    bits("scale2-expand", "(pam.scale2 (expand ?x ?s) ?k)", "(expand (pam.scale2 ?x ?k) ?s)")
        .on(&["?x: f32[40]; ?s: [2, 40]; ?k: -3"]),
    bits("neg-expand", "(neg (expand ?x ?s))", "(expand (neg ?x) ?s)")
        .on(&["?x: f32[40]; ?s: [2, 40]"]),
    bits("mul-expand", "(pam.mul (expand ?x ?s) (expand ?y ?s))", "(expand (pam.mul ?x ?y) ?s)")
        .on(&["?x: f32[40]; ?y: f32[40]; ?s: [2, 40]"]),
    bits("div-expand", "(pam.div (expand ?x ?s) (expand ?y ?s))", "(expand (pam.div ?x ?y) ?s)")
        .on(&["?x: f32[40]; ?y: f32[40]; ?s: [2, 40]"]),
    // A contraction reads its operands through the transpose of the last two axes.
    bits(
        "matmul-transpose-a",
        "(pam.matmul (transpose ?x ?p) ?y ?ta ?tb)",
        "(pam.matmul ?x ?y ($not ?ta) ?tb)",
    )
    .when(&[SwapsLastTwo("?p")])
    .on(&["?x: f32[6, 4]; ?p: [1, 0]; ?y: f32[6, 5]; ?ta: false; ?tb: false"]),
    bits(
        "matmul-transpose-b",
        "(pam.matmul ?x (transpose ?y ?p) ?ta ?tb)",
        "(pam.matmul ?x ?y ?ta ($not ?tb))",
    )
    .when(&[SwapsLastTwo("?p")])
    .on(&["?x: f32[2, 4, 6]; ?y: f32[2, 5, 6]; ?p: [0, 2, 1]; ?ta: false; ?tb: false"]),
    // Rejected: sum of one element = the element.     x = −0: +0 against −0.
    // Rejected: bitcast to f32 and back to i32 = x.   x = 1: a subnormal float, flushed to 0.
    // Rejected: transpose = x where the types agree.  x square: it is still transposed.
];
