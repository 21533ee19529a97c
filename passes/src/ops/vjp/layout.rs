//! Rules of primitives that move elements or address by data: each is the adjoint map.

use crate::build::Cx;
use crate::ir::{Attrs, NodeId};
use crate::ops::{VjpSite, normalize_axis};

/// The permutation that undoes another.
pub(super) fn inverse(perm: &[usize]) -> Vec<usize> {
    let mut out = vec![0; perm.len()];
    perm.iter().enumerate().for_each(|(i, &p)| out[p] = i);
    out
}

/// Back to the operand's shape.
pub fn reshape(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    let shape = cx.shape(s.inputs[0]);
    cx.reshape(s.g, &shape)
}

/// The inverse permutation.
pub fn transpose(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    cx.transpose(s.g, &inverse(&s.attrs.sizes("perm")))
}

fn strided(cx: &mut Cx<'_>, x: NodeId, starts: &[i64], sizes: &[usize], steps: &[i64]) -> NodeId {
    let attrs = Attrs::none()
        .with("starts", starts.to_vec())
        .with("sizes", sizes)
        .with("steps", steps.to_vec());
    cx.op_with("slice", &[x], attrs)
}

/// The operand's own part of g.
pub fn concat(cx: &mut Cx<'_>, s: VjpSite<'_>, wrt: usize) -> NodeId {
    let sizes = cx.shape(s.inputs[wrt]);
    let axis = normalize_axis(s.attrs.int("axis"), sizes.len()).unwrap_or(0);
    let mut starts = vec![0; sizes.len()];
    starts[axis] = s.inputs[..wrt].iter().map(|&x| cx.shape(x)[axis] as i64).sum();
    strided(cx, s.g, &starts, &sizes, &vec![1; sizes.len()])
}

/// g at the positions that were read, zeros elsewhere.
pub fn slice(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    let (shape, sizes) = (cx.shape(s.inputs[0]), s.attrs.sizes("sizes"));
    let (starts, steps) = (s.attrs.ints("starts"), s.attrs.ints("steps"));
    let rank = shape.len();
    // Runs backwards along these axes: turn g around, then place it forwards from its last element.
    let back = |i: usize| steps[i] < 0 && sizes[i] > 1;
    let mut g = s.g;
    if (0..rank).any(back) {
        let from = |i| if back(i) { sizes[i] as i64 - 1 } else { 0 };
        let starts: Vec<i64> = (0..rank).map(from).collect();
        let steps: Vec<i64> = (0..rank).map(|i| if back(i) { -1 } else { 1 }).collect();
        g = strided(cx, g, &starts, &sizes, &steps);
    }
    let (mut lo, mut hi, mut interior) = (vec![0; rank], vec![0; rank], vec![0; rank]);
    for i in 0..rank {
        let reach = (sizes[i] as i64 - 1).max(0) * steps[i].abs();
        let first = if back(i) { starts[i] - reach } else { starts[i] };
        (lo[i], hi[i]) = match sizes[i] {
            0 => (shape[i] as i64, 0),
            _ => (first, shape[i] as i64 - first - reach - 1),
        };
        interior[i] = if sizes[i] > 1 { steps[i].abs() - 1 } else { 0 };
    }
    let attrs = Attrs::none().with("lo", lo).with("hi", hi).with("interior", interior);
    cx.op_with("pad", &[g], attrs)
}

/// g at the operand's positions.
pub fn pad(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    let sizes = cx.shape(s.inputs[0]);
    let steps: Vec<i64> = s.attrs.ints("interior").iter().map(|i| i + 1).collect();
    strided(cx, s.g, s.attrs.ints("lo"), &sizes, &steps)
}

const WINDOW: [&str; 5] = ["kernel", "strides", "dilations", "pads_lo", "pads_hi"];

fn window(attrs: &Attrs) -> Attrs {
    WINDOW.iter().fold(Attrs::none(), |out, name| out.with(name, attrs.ints(name).to_vec()))
}

/// Every window element's g summed into the position it was read from.
pub fn unfold(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    let shape = cx.shape(s.inputs[0]);
    cx.op_with("fold", &[s.g], window(s.attrs).with("spatial", &shape[2..]))
}

/// The windows of g.
pub fn fold(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    cx.op_with("unfold", &[s.g], window(s.attrs))
}

/// Each slot's g summed from the places that read it.
pub fn gather(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    let shape = cx.shape(s.inputs[0]);
    let axis = normalize_axis(s.attrs.int("axis"), shape.len()).unwrap_or(0);
    let attrs = Attrs::none().with("size", shape[axis] as i64).with("axis", axis as i64);
    cx.op_with("scatter_add", &[s.inputs[1], s.g], attrs)
}

/// Each update's g from the slot it went to.
pub fn scatter_add(cx: &mut Cx<'_>, s: VjpSite<'_>, _: usize) -> NodeId {
    let rank = cx.shape(s.y).len();
    let axis = normalize_axis(s.attrs.int("axis"), rank).unwrap_or(0);
    cx.gather(s.g, s.inputs[0], axis)
}
