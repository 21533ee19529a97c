//! Ordinary float arithmetic, for the baseline `--arith float` only.

use crate::ops::shape::float;
use crate::ops::{Kind, Op, Prim};

const fn unary(name: &'static str, prim: Prim, doc: &'static str) -> Op {
    Op { name, args: &["x"], doc, kind: Kind::Prim(prim), shape: float, cost: 20, ..Op::BLANK }
}

const fn binary(name: &'static str, prim: Prim, doc: &'static str) -> Op {
    Op { args: &["a", "b"], ..unary(name, prim, doc) }
}

/// Rows.
pub static ROWS: &[Op] = &[
    binary("f.mul", Prim::FMul, "IEEE-754 product, subnormals flushed."),
    binary("f.div", Prim::FDiv, "IEEE-754 quotient, subnormals flushed."),
    unary("f.sqrt", Prim::FSqrt, "IEEE-754 square root."),
    unary("f.exp", Prim::FExp, "eˣ, within a few units in the last place."),
    unary("f.log", Prim::FLog, "Natural logarithm, within a few units in the last place."),
    unary("f.exp2", Prim::FExp2, "2ˣ, within a few units in the last place."),
    unary("f.log2", Prim::FLog2, "Binary logarithm, within a few units in the last place."),
];
