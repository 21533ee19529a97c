//! The rule of contractions.

use crate::build::Cx;
use crate::ir::{Attrs, NodeId};
use crate::ops::VjpSite;

/// Matrix product. Exact: each product's own slope, summed in contraction order; approx: the matrix
/// products of g with the other operand.
///
/// A batch of rows against one matrix is a single tall matrix, so that the matrix' gradient is one
/// contraction over batch and rows instead of a sum of many. Likewise one matrix against a batch of
/// columns, as in a convolution.
pub fn matmul(cx: &mut Cx<'_>, s: VjpSite<'_>, wrt: usize) -> NodeId {
    let [a, b] = [s.inputs[0], s.inputs[1]];
    let shape = cx.shape(a);
    let (rank, right) = (shape.len(), cx.shape(b));
    let repeated = right.len().saturating_sub(rank);
    let batched = repeated > 0 && right[repeated..right.len() - 2] == shape[..rank - 2];
    if wrt == 0 && batched && !s.attrs.flag("tb") {
        let (wide_g, wide_b) = (wide(cx, s.g, repeated), wide(cx, b, repeated));
        return product(cx, VjpSite { g: wide_g, inputs: &[a, wide_b], ..s }, wrt);
    }
    if s.attrs.flag("ta") || shape.len() < 3 || cx.shape(b).len() > 2 {
        return product(cx, s, wrt);
    }
    let (tall_g, tall_a) = (tall(cx, s.g), tall(cx, a));
    let out = product(cx, VjpSite { g: tall_g, inputs: &[tall_a, b], ..s }, wrt);
    if wrt == 0 { cx.reshape(out, &shape) } else { out }
}

/// All leading axes as one.
fn tall(cx: &mut Cx<'_>, x: NodeId) -> NodeId {
    let shape = cx.shape(x);
    let (rows, columns) = shape.split_at(shape.len() - 1);
    cx.reshape(x, &[rows.iter().product(), columns[0]])
}

/// The columns of all elements of the first `count` axes side by side.
fn wide(cx: &mut Cx<'_>, x: NodeId, count: usize) -> NodeId {
    let shape = cx.shape(x);
    let last = shape.len() - 1;
    let perm: Vec<usize> = (count..last).chain(0..count).chain([last]).collect();
    let turned = cx.transpose(x, &perm);
    let columns = shape[..count].iter().product::<usize>() * shape[last];
    cx.reshape(turned, &[&shape[count..last], &[columns]].concat())
}

fn product(cx: &mut Cx<'_>, s: VjpSite<'_>, wrt: usize) -> NodeId {
    let ([a, b], [ta, tb]) = ([s.inputs[0], s.inputs[1]], ["ta", "tb"].map(|n| s.attrs.flag(n)));
    if s.exact {
        let op = ["pam.matmul_da", "pam.matmul_db"][wrt];
        return cx.op_with(op, &[s.g, a, b], Attrs::none().with("ta", ta).with("tb", tb));
    }
    match (wrt, ta, tb) {
        (0, false, _) => cx.matmul(s.g, b, false, !tb),
        (0, true, _) => cx.matmul(b, s.g, tb, true),
        (_, _, false) => cx.matmul(a, s.g, !ta, false),
        (_, _, true) => cx.matmul(s.g, a, true, ta),
    }
}
