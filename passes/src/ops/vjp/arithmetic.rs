//! Elementwise rules.

use crate::build::Cx;
use crate::ir::NodeId;
use crate::ops::VjpSite;
use crate::reference::{LN2_TERMS, LOG2E, LOG2E_TERMS};

/// The incoming gradient itself: `add`, `expand`, a cast between float types.
pub fn pass(_: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    s.g
}

/// `a − b`: g and −g.
pub fn sub(cx: &mut Cx<'_>, s: VjpSite<'_>, wrt: usize) -> NodeId {
    if wrt == 0 { s.g } else { cx.neg(s.g) }
}

/// `−x`: −g.
pub fn neg(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    cx.neg(s.g)
}

/// `|x|`: g with the sign of x; 0 where x is 0.
pub fn abs(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    let zero = cx.scalar(0f32);
    let (below, above) = (cx.lt(s.inputs[0], zero), cx.gt(s.inputs[0], zero));
    let minus = cx.neg(s.g);
    let rest = cx.select(above, s.g, zero);
    cx.select(below, minus, rest)
}

fn chosen(cx: &mut Cx<'_>, s: VjpSite<'_>, first: NodeId, wrt: usize) -> NodeId {
    let zero = cx.scalar(0f32);
    if wrt == 0 { cx.select(first, s.g, zero) } else { cx.select(first, zero, s.g) }
}

/// Smaller of two: g to the one chosen, to `a` if they are equal.
pub fn min(cx: &mut Cx<'_>, s: VjpSite<'_>, wrt: usize) -> NodeId {
    let first = cx.le(s.inputs[0], s.inputs[1]);
    chosen(cx, s, first, wrt)
}

/// Larger of two: g to the one chosen, to `a` if they are equal.
pub fn max(cx: &mut Cx<'_>, s: VjpSite<'_>, wrt: usize) -> NodeId {
    let first = cx.ge(s.inputs[0], s.inputs[1]);
    chosen(cx, s, first, wrt)
}

/// `select(condition, a, b)`: g to the one chosen.
pub fn select(cx: &mut Cx<'_>, s: VjpSite<'_>, wrt: usize) -> NodeId {
    chosen(cx, s, s.inputs[0], wrt - 1)
}

/// `a ⊙ b`. Exact: g ⊙ slope(a, b); approx: g ⊙ b.
pub fn mul(cx: &mut Cx<'_>, s: VjpSite<'_>, wrt: usize) -> NodeId {
    let (this, other) = (s.inputs[wrt], s.inputs[1 - wrt]);
    let factor = if s.exact { cx.op("pam.mul_slope", &[this, other]) } else { other };
    cx.mul(s.g, factor)
}

/// `a ⊘ b`. Exact: g ⊙ slope; approx: g ⊘ b and −((g ⊙ y) ⊘ b).
pub fn div(cx: &mut Cx<'_>, s: VjpSite<'_>, wrt: usize) -> NodeId {
    if s.exact {
        let op = ["pam.div_slope_a", "pam.div_slope_b"][wrt];
        let slope = cx.op(op, s.inputs);
        return cx.mul(s.g, slope);
    }
    if wrt == 0 {
        return cx.div(s.g, s.inputs[1]);
    }
    let gy = cx.mul(s.g, s.y);
    let quotient = cx.div(gy, s.inputs[1]);
    cx.neg(quotient)
}

fn slope(cx: &mut Cx<'_>, s: VjpSite<'_>, op: &str) -> NodeId {
    let slope = cx.op(op, s.inputs);
    cx.mul(s.g, slope)
}

/// `2ˣ`. Exact: g ⊙ 2^⌊x⌋; approx: g ⊙ (y · ln 2).
pub fn exp2(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    if s.exact {
        return slope(cx, s, "pam.exp2_slope");
    }
    let factor = cx.times_ln2(s.y);
    cx.mul(s.g, factor)
}

/// `log₂ x`. Exact: g ⊙ 2^(−E_x); approx: (g ⊘ x) ÷ ln 2.
pub fn log2(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    if s.exact {
        return slope(cx, s, "pam.log2_slope");
    }
    let quotient = cx.div(s.g, s.inputs[0]);
    cx.over_ln2(quotient)
}

/// `√x`. Exact: g ⊙ 2^(⌊E_x/2⌋ − E_x − 1); approx: g ⊘ 2y.
pub fn sqrt(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    if s.exact {
        return slope(cx, s, "pam.sqrt_slope");
    }
    let twice = cx.scale2(s.y, 1);
    cx.div(s.g, twice)
}

/// A linear function of one operand given by attributes (`pam.scale2`): the same of g.
pub fn scale2(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    cx.op_with("pam.scale2", &[s.g], s.attrs.clone())
}

/// `pam.shift_sum`: the same sum of g.
pub fn shift_sum(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    cx.op_with("pam.shift_sum", &[s.g], s.attrs.clone())
}

/// `eˣ`. Exact: the slopes of 2ᶻ and of z = x · log₂e, one after the other; approx: g ⊙ y.
pub fn exp(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    if !s.exact {
        return cx.mul(s.g, s.y);
    }
    let x = s.inputs[0];
    let log2e = cx.scalar(LOG2E);
    let z = if s.attrs.flag("shifts") { cx.shift_sum(x, LOG2E_TERMS) } else { cx.mul(x, log2e) };
    let outer = cx.op("pam.exp2_slope", &[z]);
    let g = cx.mul(s.g, outer);
    if s.attrs.flag("shifts") {
        return cx.shift_sum(g, LOG2E_TERMS);
    }
    let inner = cx.op("pam.mul_slope", &[x, log2e]);
    cx.mul(g, inner)
}

/// `ln x`. Exact: the slopes of l ÷ log₂e and of l = log₂ x, one after the other; approx: g ⊘ x.
pub fn log(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    let x = s.inputs[0];
    if !s.exact {
        return cx.div(s.g, x);
    }
    let g = if s.attrs.flag("shifts") {
        cx.shift_sum(s.g, LN2_TERMS)
    } else {
        let log2e = cx.scalar(LOG2E);
        let l = cx.log2(x);
        let outer = cx.op("pam.div_slope_a", &[l, log2e]);
        cx.mul(s.g, outer)
    };
    let inner = cx.op("pam.log2_slope", &[x]);
    cx.mul(g, inner)
}
