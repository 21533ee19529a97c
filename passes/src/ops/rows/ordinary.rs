//! Ordinary float arithmetic, for the baseline `--arith float` only.

use crate::ops::shape::float;
use crate::ops::{Grad, Kind, Op, Prim, VjpFn, vjp};

const fn unary(name: &'static str, prim: Prim, rule: VjpFn, doc: &'static str) -> Op {
    let grad = Grad::Rule(rule);
    Op {
        name,
        args: &["x"],
        doc,
        kind: Kind::Prim(prim),
        shape: float,
        grad,
        cost: 20,
        ..Op::BLANK
    }
}

const fn binary(name: &'static str, prim: Prim, rule: VjpFn, doc: &'static str) -> Op {
    Op { args: &["a", "b"], ..unary(name, prim, rule, doc) }
}

/// Rows.
pub static ROWS: &[Op] = &[
    binary("f.mul", Prim::FMul, vjp::mul, "IEEE-754 product, subnormals flushed."),
    binary("f.div", Prim::FDiv, vjp::div, "IEEE-754 quotient, subnormals flushed."),
    unary("f.sqrt", Prim::FSqrt, vjp::sqrt, "IEEE-754 square root."),
    unary("f.exp", Prim::FExp, vjp::exp, "eˣ, within a few units in the last place."),
    unary(
        "f.log",
        Prim::FLog,
        vjp::log,
        "Natural logarithm, within a few units in the last place.",
    ),
    unary("f.exp2", Prim::FExp2, vjp::exp2, "2ˣ, within a few units in the last place."),
    unary(
        "f.log2",
        Prim::FLog2,
        vjp::log2,
        "Binary logarithm, within a few units in the last place.",
    ),
];
