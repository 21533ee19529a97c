//! Views whose axes may have more than one stride: what a contraction can read of an array without a
//! copy, the windows of an image for one.

use super::view::{View, ViewOp};
use crate::kernels::Dim;

/// A view with the dimensions of each axis, outermost first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SplitView {
    /// Elements before the first.
    pub offset: i64,
    /// Extent and dimensions of each axis.
    pub axes: Vec<(usize, Vec<Dim>)>,
}

impl SplitView {
    /// A view as one with split axes.
    pub fn new(view: &View) -> SplitView {
        let axis = |(&extent, &stride): (&usize, &i64)| (extent, vec![Dim { extent, stride }]);
        let axes = view.shape.iter().zip(&view.strides).map(axis).collect();
        SplitView { offset: view.offset, axes }
    }

    /// A view rearranged by all of them in turn; `None` where that would need a copy.
    pub fn through(mut view: View, ops: &[ViewOp]) -> Option<SplitView> {
        let mut at = 0;
        while let Some(next) = ops.get(at).and_then(|op| view.apply(op)) {
            view = next;
            at += 1;
        }
        ops[at..].iter().try_fold(SplitView::new(&view), |view, op| view.apply(op))
    }

    /// The rearranged view; `None` where that would need a copy all the same.
    pub fn apply(&self, op: &ViewOp) -> Option<SplitView> {
        let axes = match op {
            ViewOp::Reshape(shape) => self.reshape(shape)?,
            ViewOp::Permute(perm) => perm.iter().map(|&p| self.axes[p].clone()).collect(),
            ViewOp::Broadcast(shape) => return Some(self.broadcast(shape)),
            ViewOp::Slice(..) | ViewOp::Windows(..) => return None,
        };
        Some(SplitView { offset: self.offset, axes })
    }

    /// Repeated to a shape by numpy's rule.
    pub fn broadcast(&self, shape: &[usize]) -> SplitView {
        let skip = shape.len() - self.axes.len();
        let axis = |(d, &extent): (usize, &usize)| match d.checked_sub(skip) {
            Some(i) if self.axes[i].0 == extent => self.axes[i].clone(),
            _ => (extent, vec![Dim { extent, stride: 0 }]),
        };
        SplitView { offset: self.offset, axes: shape.iter().enumerate().map(axis).collect() }
    }

    fn reshape(&self, shape: &[usize]) -> Option<Vec<(usize, Vec<Dim>)>> {
        if shape.contains(&0) {
            return None;
        }
        let dims = self.axes.iter().flat_map(|(_, dims)| dims).filter(|d| d.extent != 1);
        let mut dims: Vec<Dim> = dims.copied().collect();
        let mut axes = Vec::with_capacity(shape.len());
        for &extent in shape.iter().rev() {
            let mut left = extent;
            let mut axis = Vec::new();
            while left > 1 {
                let last = dims.pop()?;
                if left.is_multiple_of(last.extent) {
                    left /= last.extent;
                    axis.push(last);
                } else if last.extent.is_multiple_of(left) {
                    let outer =
                        Dim { extent: last.extent / left, stride: last.stride * left as i64 };
                    dims.push(outer);
                    axis.push(Dim { extent: left, stride: last.stride });
                    left = 1;
                } else {
                    return None;
                }
            }
            axis.reverse();
            axes.push((extent, axis));
        }
        axes.reverse();
        dims.is_empty().then_some(axes)
    }
}

/// Neighbours joined that are one dimension in memory.
pub fn joined(dims: &[Dim]) -> Vec<Dim> {
    let mut out: Vec<Dim> = Vec::new();
    for &dim in dims.iter().filter(|d| d.extent != 1) {
        match out.last_mut() {
            Some(last) if last.stride == dim.stride * dim.extent as i64 => {
                *last = Dim { extent: last.extent * dim.extent, stride: dim.stride };
            }
            _ => out.push(dim),
        }
    }
    out
}

/// The dimensions cut so that they are of the given extents; `None` if they cannot be.
pub fn cut(dims: &[Dim], extents: &[usize]) -> Option<Vec<Dim>> {
    let extent = dims.iter().map(|d| d.extent).product();
    let view = SplitView { offset: 0, axes: vec![(extent, dims.to_vec())] };
    let axes = view.reshape(extents)?;
    let single = |(extent, dims): (usize, Vec<Dim>)| match joined(&dims)[..] {
        [] => Some(Dim { extent, stride: 0 }),
        [only] => Some(only),
        _ => None,
    };
    axes.into_iter().map(single).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_of_an_image_are_columns_without_a_copy() {
        let image = View::dense(&[2, 3, 6, 6]);
        let windows = ViewOp::Windows(vec![1, 1], vec![1, 1], vec![3, 3, 4, 4]);
        let view = SplitView::new(&image.apply(&windows).unwrap());
        let columns = view.apply(&ViewOp::Reshape(vec![2, 27, 16])).unwrap();
        let dim = |extent, stride| Dim { extent, stride };
        assert_eq!(columns.axes[1].1, [dim(3, 36), dim(3, 6), dim(3, 1)]);
        assert_eq!(columns.axes[2].1, [dim(4, 6), dim(4, 1)]);
        let turned = columns.apply(&ViewOp::Permute(vec![1, 0, 2])).unwrap();
        let wide = turned.apply(&ViewOp::Reshape(vec![27, 32])).unwrap();
        assert_eq!(wide.axes[1].1, [dim(2, 108), dim(4, 6), dim(4, 1)]);
        assert!(columns.apply(&ViewOp::Reshape(vec![2, 54, 8])).is_some());
        assert!(columns.apply(&ViewOp::Reshape(vec![2, 48, 9])).is_none());
        assert_eq!(cut(&wide.axes[1].1, &[2, 16]), None);
        assert_eq!(cut(&[dim(12, 2)], &[3, 4]), Some(vec![dim(3, 8), dim(4, 2)]));
    }
}
