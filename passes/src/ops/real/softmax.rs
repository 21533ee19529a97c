//! The softmax family, from one set of shifted exponentials.

use crate::build::Cx;
use crate::ir::{Attrs, DType, NodeId, TensorType};
use crate::ops::shape::{Inferred, Types, axes_of, normalize_axis, reduced};
use crate::ops::{AttrSpec, Bound, Op, Site, expect_dtype, flag, int, ints};

/// e = 2^(z − k) and its sum along axes, with z = x · log₂e and k = ⌊max z⌋ of the row, or 0 if the
/// row has no finite maximum. In ordinary arithmetic e = exp(x − k) and k = ⌊max x⌋. No gradient
/// flows through k, and an integer k shifts exactly.
pub(super) struct Shifted {
    k: NodeId,
    /// The exponentials.
    pub e: NodeId,
    /// Their sum, the axes kept as 1.
    pub sum: NodeId,
}

/// Shifted exponentials of x along axes.
pub(super) fn shifted(cx: &mut Cx<'_>, x: NodeId, axes: &[usize]) -> Shifted {
    let z = if cx.is_float() { x } else { cx.times_log2e(x) };
    let top = cx.reduce_max(z, axes, true);
    let (size, infinity) = (cx.abs(top), cx.scalar(f32::INFINITY));
    let finite = cx.lt(size, infinity);
    let (below, zero) = (cx.floor(top), cx.scalar(0f32));
    let k = cx.select(finite, below, zero);
    let rest = cx.sub(z, k);
    let e = if cx.is_float() { cx.exp(rest) } else { cx.exp2(rest) };
    let sum = cx.sum(e, axes, true);
    Shifted { k, e, sum }
}

/// ln Σ eˣ along axes, kept as 1: (k + palog2(Σe)) ÷ log₂e.
pub(super) fn log_sum_exp(cx: &mut Cx<'_>, x: NodeId, axes: &[usize]) -> NodeId {
    let s = shifted(cx, x, axes);
    if cx.is_float() {
        let l = cx.log(s.sum);
        return cx.add(s.k, l);
    }
    let l = cx.log2(s.sum);
    let total = cx.add(s.k, l);
    cx.over_log2e(total)
}

fn axis_of(cx: &mut Cx<'_>, site: Site<'_>) -> usize {
    normalize_axis(site.attrs.int("axis"), cx.shape(site.inputs[0]).len()).unwrap_or(0)
}

fn softmax(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let axis = axis_of(cx, site);
    let s = shifted(cx, site.inputs[0], &[axis]);
    cx.div(s.e, s.sum)
}

fn log_softmax(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let axis = axis_of(cx, site);
    let l = log_sum_exp(cx, site.inputs[0], &[axis]);
    cx.sub(site.inputs[0], l)
}

fn logsumexp(cx: &mut Cx<'_>, site: Site<'_>) -> NodeId {
    let rank = cx.shape(site.inputs[0]).len();
    let axes = axes_of(site.attrs, rank).unwrap_or_default();
    if axes.is_empty() {
        return site.inputs[0];
    }
    let l = log_sum_exp(cx, site.inputs[0], &axes);
    cx.reshape(l, &site.ty.shape)
}

/// Same type as the one operand, whose axis there is and is not empty.
fn along_axis(types: Types, attrs: &Attrs) -> Inferred {
    let x = types[0];
    expect_dtype("the operand", x, &[DType::F32])?;
    let axis = normalize_axis(attrs.int("axis"), x.rank())?;
    if x.shape[axis] == 0 { Err(format!("axis {axis} of {x} is empty")) } else { Ok(x.clone()) }
}

fn over_axes(types: Types, attrs: &Attrs) -> Inferred {
    let x = types[0];
    expect_dtype("the operand", x, &[DType::F32])?;
    let axes = axes_of(attrs, x.rank())?;
    if axes.iter().any(|&a| x.shape[a] == 0) {
        return Err(format!("a reduced axis of {x} is empty"));
    }
    Ok(TensorType::f32(reduced(&x.shape, &axes, attrs.flag("keepdims"))))
}

const AXIS: &[AttrSpec] = &[int("axis", -1)];

const fn row(name: &'static str, doc: &'static str) -> Op {
    Op { name, args: &["x"], doc, attrs: AXIS, shape: along_axis, ..Op::BLANK }
}

const fn bound(rel: f64, abs: f64) -> Option<Bound> {
    Some(Bound::new(rel, abs, (-6.0, 6.0)))
}

/// Rows.
pub static ROWS: &[Op] = &[
    Op {
        onnx: &["Softmax"],
        lower: Some(softmax),
        bound: bound(0.2, 0.0),
        cost: 60,
        ..row(
            "softmax",
            "Along `axis`: z = x · log₂e; k = ⌊max z⌋ of the row, 0 if that is not finite; \
             e = paexp2(z − k); e ⊘ Σe. No gradient flows through k.",
        )
    },
    Op {
        onnx: &["LogSoftmax"],
        lower: Some(log_softmax),
        bound: bound(0.002, 0.061),
        cost: 60,
        ..row("log_softmax", "Along `axis`: x − logsumexp(x).")
    },
    Op {
        onnx: &["ReduceLogSumExp"],
        attrs: &[ints("axes", &[]), flag("keepdims", false)],
        shape: over_axes,
        lower: Some(logsumexp),
        bound: bound(0.002, 0.061),
        cost: 60,
        ..row(
            "logsumexp",
            "Over `axes` (all, if none are given): (k + palog2(Σe)) ÷ log₂e, with k and e of softmax.",
        )
    },
];
