//! Strided views of dense buffers.

use pamc_passes::ir::Node;
use pamc_passes::ops::Prim;

/// Elements of a flat buffer seen as a tensor: element `i` lies at `offset + Σ i[d]·strides[d]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct View {
    /// Extents.
    pub shape: Vec<usize>,
    /// Elements before the first.
    pub offset: i64,
    /// Elements from one index to the next, per dimension; 0 repeats.
    pub strides: Vec<i64>,
}

/// One rearrangement of a view that moves no element.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ViewOp {
    /// The same elements in row-major order under another shape.
    Reshape(Vec<usize>),
    /// Dimension i of the result is dimension `perm[i]`.
    Permute(Vec<usize>),
    /// Numpy's broadcast to a shape.
    Broadcast(Vec<usize>),
    /// Starts, steps and sizes per dimension.
    Slice(Vec<i64>, Vec<i64>, Vec<usize>),
    /// Sliding windows over the dimensions from 2 on: strides, dilations, kernel ++ window extents.
    Windows(Vec<usize>, Vec<usize>, Vec<usize>),
}

impl ViewOp {
    /// The rearrangement a node stands for, if it is one.
    pub fn of(node: &Node) -> Option<ViewOp> {
        let attrs = &node.attrs;
        Some(match node.op.prim()? {
            Prim::Reshape => ViewOp::Reshape(node.ty.shape.clone()),
            Prim::Transpose => ViewOp::Permute(attrs.sizes("perm")),
            Prim::Broadcast => ViewOp::Broadcast(node.ty.shape.clone()),
            Prim::Slice => ViewOp::Slice(
                attrs.ints("starts").to_vec(),
                attrs.ints("steps").to_vec(),
                attrs.sizes("sizes"),
            ),
            Prim::Unfold if !padded(node) => ViewOp::Windows(
                attrs.sizes("strides"),
                attrs.sizes("dilations"),
                node.ty.shape[2..].to_vec(),
            ),
            _ => return None,
        })
    }
}

/// True for an unfold or fold with padding.
pub fn padded(node: &Node) -> bool {
    let pads = |name| node.attrs.ints(name).iter().any(|&p| p != 0);
    pads("pads_lo") || pads("pads_hi")
}

impl View {
    /// A dense row-major tensor.
    pub fn dense(shape: &[usize]) -> View {
        let mut strides = vec![1; shape.len()];
        for d in (0..shape.len().saturating_sub(1)).rev() {
            strides[d] = strides[d + 1] * shape[d + 1] as i64;
        }
        View { shape: shape.to_vec(), offset: 0, strides }
    }

    /// Number of elements seen.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// The rearranged view; `None` for a reshape that needs a copy.
    pub fn apply(&self, op: &ViewOp) -> Option<View> {
        let offset = self.offset;
        Some(match op {
            ViewOp::Reshape(shape) => return self.reshape(shape),
            ViewOp::Permute(perm) => View {
                shape: perm.iter().map(|&p| self.shape[p]).collect(),
                strides: perm.iter().map(|&p| self.strides[p]).collect(),
                offset,
            },
            ViewOp::Broadcast(shape) => self.broadcast(shape),
            ViewOp::Slice(starts, steps, sizes) => {
                let moved: i64 = match sizes.contains(&0) {
                    true => 0,
                    false => starts.iter().zip(&self.strides).map(|(a, s)| a * s).sum(),
                };
                let strides = steps.iter().zip(&self.strides).map(|(a, s)| a * s).collect();
                View { shape: sizes.clone(), strides, offset: offset + moved }
            }
            ViewOp::Windows(steps, dilations, extents) => {
                let spatial = &self.strides[2..];
                let scaled = |by: &[usize]| -> Vec<i64> {
                    by.iter().zip(spatial).map(|(&a, s)| a as i64 * s).collect()
                };
                View {
                    shape: [&self.shape[..2], extents].concat(),
                    strides: [&self.strides[..2], &scaled(dilations), &scaled(steps)].concat(),
                    offset,
                }
            }
        })
    }

    /// All of them in turn; of reshapes in a row, permutations that change nothing between them, only
    /// the last counts.
    pub fn apply_all<'a>(&self, ops: impl IntoIterator<Item = &'a ViewOp>) -> Option<View> {
        let idle = |op: &&ViewOp| matches!(op, ViewOp::Permute(p) if p.iter().is_sorted());
        let mut ops = ops.into_iter().filter(|op| !idle(op)).peekable();
        let mut view = self.clone();
        while let Some(op) = ops.next() {
            let skipped =
                matches!((op, ops.peek()), (ViewOp::Reshape(_), Some(ViewOp::Reshape(_))));
            if !skipped {
                view = view.apply(op)?;
            }
        }
        Some(view)
    }

    /// Repeated to a shape by numpy's rule.
    pub fn broadcast(&self, shape: &[usize]) -> View {
        let skip = shape.len().saturating_sub(self.shape.len());
        let stride = |d: usize| match d.checked_sub(skip) {
            Some(i) if self.shape[i] == shape[d] => self.strides[i],
            _ => 0,
        };
        View {
            shape: shape.to_vec(),
            strides: (0..shape.len()).map(stride).collect(),
            offset: self.offset,
        }
    }

    fn reshape(&self, shape: &[usize]) -> Option<View> {
        if self.shape == shape {
            return Some(self.clone());
        }
        if self.count() != shape.iter().product::<usize>() {
            return None;
        }
        if self.count() == 0 {
            return Some(View { offset: self.offset, ..View::dense(shape) });
        }
        // Merge what is contiguous, then split each run into extents of the new shape.
        let mut runs: Vec<(usize, i64)> = Vec::new();
        for (&n, &s) in self.shape.iter().zip(&self.strides).filter(|(n, _)| **n != 1) {
            match runs.last_mut() {
                Some((count, stride)) if *stride == s * n as i64 => {
                    (*count, *stride) = (*count * n, s)
                }
                _ => runs.push((n, s)),
            }
        }
        let mut strides = vec![0; shape.len()];
        let mut runs = runs.into_iter().rev();
        let (mut left, mut stride) = (1, 0);
        for d in (0..shape.len()).rev() {
            if shape[d] == 1 {
                continue;
            }
            if left == 1 {
                (left, stride) = runs.next()?;
            }
            if left % shape[d] != 0 {
                return None;
            }
            strides[d] = stride;
            stride *= shape[d] as i64;
            left /= shape[d];
        }
        Some(View { shape: shape.to_vec(), offset: self.offset, strides })
    }

    /// The same view with the strides of extents of 1 set to 0, by which equal views compare equal.
    pub fn canonical(mut self) -> View {
        for (s, &n) in self.strides.iter_mut().zip(&self.shape) {
            if n == 1 {
                *s = 0;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshapes_are_views_exactly_where_strides_allow() {
        let dense = View::dense(&[2, 3, 4]);
        let merged = dense.apply(&ViewOp::Reshape(vec![6, 2, 2])).unwrap();
        assert_eq!(merged.strides, [4, 2, 1]);
        let turned = dense.apply(&ViewOp::Permute(vec![1, 0, 2])).unwrap();
        assert_eq!(turned.strides, [4, 12, 1]);
        assert!(turned.apply(&ViewOp::Reshape(vec![6, 4])).is_none());
        let split = turned.apply(&ViewOp::Reshape(vec![3, 1, 2, 2, 2])).unwrap();
        assert_eq!(split.strides, [4, 0, 12, 2, 1]);
        let row = View::dense(&[3, 1]).broadcast(&[2, 3, 4]);
        assert_eq!(row.strides, [0, 1, 0]);
        assert_eq!(row.apply(&ViewOp::Reshape(vec![2, 3, 2, 2])).unwrap().strides, [0, 1, 0, 0]);
        assert!(row.apply(&ViewOp::Reshape(vec![6, 4])).is_none());
        assert!(View::dense(&[5, 1]).apply(&ViewOp::Reshape(vec![1])).is_none());
    }

    #[test]
    fn slices_run_backwards_and_windows_overlap() {
        let dense = View::dense(&[5, 6]);
        let op = ViewOp::Slice(vec![4, 1], vec![-2, 3], vec![3, 2]);
        let view = dense.apply(&op).unwrap();
        assert_eq!((view.offset, &view.strides[..]), (25, &[-12, 3][..]));
        let image = View::dense(&[1, 2, 5]);
        let windows = image.apply(&ViewOp::Windows(vec![2], vec![1], vec![3, 2])).unwrap();
        assert_eq!((windows.shape, windows.strides), (vec![1, 2, 3, 2], vec![10, 5, 1, 2]));
    }
}
