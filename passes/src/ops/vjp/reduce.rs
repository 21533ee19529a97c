//! Rules of reductions and scans.

use crate::build::Cx;
use crate::ir::{Attrs, DType, NodeId};
use crate::ops::{VjpSite, reduced_axes};

/// Sum over axes: g to every element.
pub fn sum(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    let mut shape = cx.shape(s.inputs[0]);
    for axis in reduced_axes(s.attrs, shape.len()).unwrap_or_default() {
        shape[axis] = 1;
    }
    cx.reshape(s.g, &shape)
}

/// Largest over axes: g to the first element that is largest, in row-major order of the axes.
pub fn reduce_max(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    extremum(cx, s, "argmax")
}

/// Smallest over axes: g to the first element that is smallest, in row-major order of the axes.
pub fn reduce_min(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    extremum(cx, s, "argmin")
}

fn extremum(cx: &mut Cx<'_>, s: VjpSite<'_>, arg: &str) -> NodeId {
    let shape = cx.shape(s.inputs[0]);
    let rank = shape.len();
    let axes = reduced_axes(s.attrs, rank).unwrap_or_default();
    let (Some(&first), Some(&last)) = (axes.first(), axes.last()) else { return s.g };
    let together = last - first + 1 == axes.len();
    let perm: Vec<usize> = if together {
        (0..rank).collect()
    } else {
        (0..rank).filter(|i| !axes.contains(i)).chain(axes.iter().copied()).collect()
    };
    let permuted: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
    let begin = if together { first } else { rank - axes.len() };
    let (before, rest) = permuted.split_at(begin);
    let (reduced, after) = rest.split_at(axes.len());
    let [outer, n, inner] = [before, reduced, after].map(|d| d.iter().product::<usize>());

    let x = cx.transpose(s.inputs[0], &perm);
    let x = cx.reshape(x, &[outer, n, inner]);
    let keep = Attrs::none().with("axis", 1i64).with("keepdims", true);
    let at = cx.op_with(arg, &[x], keep);
    let ramp = cx.iota(DType::I64, &[n, 1], 0);
    let chosen = cx.eq(at, ramp);
    let (g, zero) = (cx.reshape(s.g, &[outer, 1, inner]), cx.scalar(0f32));
    let picked = cx.select(chosen, g, zero);
    let picked = cx.reshape(picked, &permuted);
    cx.transpose(picked, &super::layout::inverse(&perm))
}

/// Running sum: the running sum of g in the other direction.
pub fn cumsum(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    let reverse = !s.attrs.flag("reverse");
    cx.op_with("cumsum", &[s.g], s.attrs.clone().with("reverse", reverse))
}
