//! The definition of each scalar float primitive by its name in the op table.

use super::{Format, Int};
use crate::ops::Prim;

/// A primitive of one float; `None` for another.
#[inline(always)]
pub(super) fn unary<I: Int>(f: Format, prim: Prim, x: I) -> Option<I> {
    Some(match prim {
        Prim::Neg => f.neg(x),
        Prim::Abs => f.abs(x),
        Prim::PamExp2 => f.exp2(x),
        Prim::PamLog2 => f.log2(x),
        Prim::PamSqrt => f.sqrt(x),
        Prim::Exp2Slope => f.exp2_slope(x),
        Prim::Log2Slope => f.log2_slope(x),
        Prim::SqrtSlope => f.sqrt_slope(x),
        _ => return None,
    })
}

/// A primitive of two floats; `None` for another.
#[inline(always)]
pub(super) fn binary<I: Int>(f: Format, prim: Prim, a: I, b: I) -> Option<I> {
    Some(match prim {
        Prim::Add => f.add(a, b),
        Prim::Sub => f.sub(a, b),
        Prim::Min => f.min(a, b),
        Prim::Max => f.max(a, b),
        Prim::PamMul => f.mul(a, b),
        Prim::PamDiv => f.div(a, b),
        Prim::MulSlope => f.mul_slope(a, b),
        Prim::DivSlopeA => f.div_slope_a(a, b),
        Prim::DivSlopeB => f.div_slope_b(a, b),
        _ => return None,
    })
}
