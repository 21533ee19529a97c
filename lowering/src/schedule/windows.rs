//! Matrices whose elements lie in the windows of an image: the operand of a convolution that is a
//! matrix product, without the columns in memory (implicit im2col).

use pamc_passes::ir::{Graph, Node, NodeId};
use pamc_passes::ops::Prim;

use super::fuse::Fusion;
use super::view::View;

/// A part of an index along a matrix' rows or columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Digit {
    /// Number of its values.
    pub extent: usize,
    /// Elements of memory from one value to the next.
    pub stride: i64,
    /// The image's axis along which it moves, and how far from one value to the next; `None` for an axis
    /// that no window moves along.
    pub moves: Option<(usize, i64)>,
}

/// Where the elements of a matrix lie: what the digits of row and column add up to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Windows {
    /// Digits of the row and of the column, the first one counting most.
    pub digits: [Vec<Digit>; 2],
    /// Padding before each axis of the image that has padding, and its extent: an element whose position
    /// lies outside is a zero.
    pub axes: Vec<(i64, usize)>,
}

/// A windowed operand of a contraction.
pub struct Windowed {
    /// The image's buffer.
    pub source: NodeId,
    /// Elements of the buffer before the image's first, less the padding.
    pub offset: i64,
    /// Strides of the batch dimensions; 0 repeats.
    pub batch: Vec<i64>,
    /// The matrix.
    pub windows: Windows,
    /// Rows and columns.
    pub extents: [usize; 2],
}

/// The image that windows are taken of, and the padding before its spatial axes if it has any.
fn image<'g>(graph: &'g Graph, unfold: &Node) -> Option<(NodeId, Option<&'g [i64]>)> {
    let source = unfold.inputs[0];
    let node = graph.node(source);
    if node.op.prim() != Some(Prim::Pad) {
        return Some((source, None));
    }
    let (lo, hi) = (node.attrs.ints("lo"), node.attrs.ints("hi"));
    let spatial = [lo, hi].into_iter().all(|p| p[..2] == [0, 0] && p.iter().all(|&n| n >= 0));
    let plain = node.attrs.ints("interior").iter().all(|&n| n == 0);
    let zeros = node.attrs.float("value") == 0.0;
    (spatial && plain && zeros).then(|| (node.inputs[0], Some(&lo[2..])))
}

/// The digits of an index with this stride over a dense tensor's elements, as (dimension, extent,
/// steps); `None` where it does not split.
fn digits(shape: &[usize], extent: usize, stride: i64) -> Option<Vec<(usize, usize, usize)>> {
    if extent == 1 {
        return Some(Vec::new());
    }
    let stride = usize::try_from(stride).ok().filter(|&s| s > 0)?;
    let mut inside = 1;
    let mut d = shape.len();
    let mut rest = loop {
        d = d.checked_sub(1)?;
        if stride < inside * shape[d] {
            break stride;
        }
        inside *= shape[d];
    };
    if !rest.is_multiple_of(inside) {
        return None;
    }
    rest /= inside;
    let (mut left, mut out) = (extent, Vec::new());
    loop {
        let there = shape[d] / rest;
        if left <= there {
            out.push((d, left, rest));
            break;
        }
        if !shape[d].is_multiple_of(rest) || !left.is_multiple_of(there) {
            return None;
        }
        if there > 1 {
            out.push((d, there, rest));
        }
        left /= there;
        rest = 1;
        d = d.checked_sub(1)?;
    }
    out.reverse();
    Some(out)
}

/// How an operand of a contraction lies in the windows of an image, if it is the copy of such; `swap`
/// exchanges rows and columns.
pub fn windowed(fusion: &Fusion, id: NodeId, batch: &[usize], swap: bool) -> Option<Windowed> {
    let graph = fusion.graph;
    let mut node = graph.node(fusion.based[id.index()].base);
    if node.op.prim() != Some(Prim::Reshape) {
        return None;
    }
    while node.op.prim() == Some(Prim::Reshape) {
        node = graph.node(node.inputs[0]);
    }
    if node.op.prim() != Some(Prim::Unfold) || node.ty.is_empty() {
        return None;
    }
    let (source, lo) = image(graph, node)?;
    let mut view = fusion.view(id);
    let rank = view.shape.len();
    if swap {
        view.shape.swap(rank - 2, rank - 1);
        view.strides.swap(rank - 2, rank - 1);
    }
    let extents = [view.shape[rank - 2], view.shape[rank - 1]];
    let view = view.broadcast(&[batch, &extents].concat());
    if view.offset != 0 {
        return None;
    }
    let image = fusion.view(source);
    let place = Place::new(node, &image, lo);
    let rank = view.shape.len();
    let along = |d: usize| -> Option<Vec<Digit>> {
        let parts = digits(&node.ty.shape, view.shape[d], view.strides[d])?;
        Some(parts.into_iter().map(|part| place.digit(part)).collect())
    };
    let batch = (0..rank - 2).map(|d| match (view.shape[d], view.strides[d]) {
        (1, _) | (_, 0) => Some(0),
        _ => match along(d)?[..] {
            [Digit { stride, moves: None, .. }] => Some(stride),
            _ => None,
        },
    });
    let batch = batch.collect::<Option<Vec<i64>>>()?;
    let windows = Windows { digits: [along(rank - 2)?, along(rank - 1)?], axes: place.axes() };
    let source = fusion.based[source.index()].base;
    Some(Windowed { source, offset: place.offset(), batch, windows, extents })
}

/// Where the elements of an unfolded image lie.
struct Place<'a> {
    image: &'a View,
    unfold: &'a Node,
    steps: Vec<usize>,
    dilations: Vec<usize>,
    lo: Option<&'a [i64]>,
}

impl<'a> Place<'a> {
    fn new(unfold: &'a Node, image: &'a View, lo: Option<&'a [i64]>) -> Self {
        let sizes = |name| unfold.attrs.sizes(name);
        Place { image, unfold, steps: sizes("strides"), dilations: sizes("dilations"), lo }
    }

    /// A digit over a dimension of the unfolded image: batch, channel, kernel index, window.
    fn digit(&self, (d, extent, by): (usize, usize, usize)) -> Digit {
        let axes = (self.unfold.ty.rank() - 2) / 2;
        let by = by as i64;
        let Some(axis) = d.checked_sub(2) else {
            return Digit { extent, stride: by * self.image.strides[d], moves: None };
        };
        let scale = if axis < axes { self.dilations[axis] } else { self.steps[axis - axes] };
        let (axis, far) = (axis % axes, by * scale as i64);
        let stride = far * self.image.strides[2 + axis];
        Digit { extent, stride, moves: self.lo.map(|_| (axis, far)) }
    }

    fn axes(&self) -> Vec<(i64, usize)> {
        let pairs = self.lo.into_iter().flatten().zip(&self.image.shape[2..]);
        pairs.map(|(&lo, &extent)| (lo, extent)).collect()
    }

    fn offset(&self) -> i64 {
        let pads = self.lo.into_iter().flatten().zip(&self.image.strides[2..]);
        self.image.offset - pads.map(|(lo, stride)| lo * stride).sum::<i64>()
    }
}

#[cfg(test)]
mod tests {
    use super::digits;

    #[test]
    fn an_index_splits_into_digits_of_a_shape() {
        // Batch, channels, kernel, windows.
        let shape = [2, 6, 3, 3, 4, 5];
        assert_eq!(digits(&shape, 20, 1), Some(vec![(4, 4, 1), (5, 5, 1)]));
        assert_eq!(digits(&shape, 54, 20), Some(vec![(1, 6, 1), (2, 3, 1), (3, 3, 1)]));
        assert_eq!(digits(&shape, 2, 1080), Some(vec![(0, 2, 1)]));
        assert_eq!(digits(&shape, 3, 360), Some(vec![(1, 3, 2)]), "groups of two channels");
        assert_eq!(digits(&shape, 18, 20), Some(vec![(1, 2, 1), (2, 3, 1), (3, 3, 1)]));
        assert_eq!(digits(&shape, 7, 20), None);
        assert_eq!(digits(&shape, 4, 7), None);
        assert_eq!(digits(&shape, 1, 0), Some(vec![]));
        assert_eq!(digits(&shape, 4, -1), None);
    }
}
