//! Real operations and their directed lowerings: what users write, as terms of composites and
//! primitives.
//!
//! Each lowering is written once, with [`Cx`](crate::build::Cx), and serves PAM and ordinary
//! arithmetic. Where a textbook formula cancels badly under ⊙, whose error is up to 1/9, the PAM
//! branch is a continuous piecewise affine curve of its own: see [`curve`].

pub mod activation;
pub mod arithmetic;
pub mod contract;
pub mod curve;
pub mod hyperbolic;
pub mod indexing;
pub mod loss;
pub mod norm;
pub mod pool;
pub mod softmax;
pub mod trigonometry;

use crate::ops::shape::float;
use crate::ops::{Bound, LowerFn, Op};

/// A real row of one `f32` operand, elementwise.
const fn unary(name: &'static str, lower: LowerFn, doc: &'static str) -> Op {
    Op { name, args: &["x"], doc, shape: float, lower: Some(lower), cost: 40, ..Op::BLANK }
}

/// A real row of two `f32` operands, elementwise.
const fn binary(name: &'static str, lower: LowerFn, doc: &'static str) -> Op {
    Op { args: &["a", "b"], ..unary(name, lower, doc) }
}

/// Declared error against the real function, operands sampled from `lo` to `hi`.
const fn bound(rel: f64, abs: f64, lo: f64, hi: f64) -> Option<Bound> {
    Some(Bound::new(rel, abs, (lo, hi)))
}

/// A bound that holds further than operands are sampled.
const fn over(bound: Option<Bound>, lo: f64, hi: f64) -> Option<Bound> {
    match bound {
        Some(bound) => Some(Bound { holds: (lo, hi), ..bound }),
        None => None,
    }
}

/// A bound that holds of every number.
const fn everywhere(bound: Option<Bound>) -> Option<Bound> {
    over(bound, f64::NEG_INFINITY, f64::INFINITY)
}

/// An elementwise row with its function over the reals and its declared error.
const fn checked(op: Op, real: fn(&[f64]) -> f64, bound: Option<Bound>) -> Op {
    Op { real: Some(real), bound, ..op }
}
