//! Operations that move and address elements.

use pamc_passes::ir::Attrs;
use pamc_passes::ops::normalize_axis;

use crate::dsl::Var;

/// Moving and addressing elements.
impl<'n> Var<'n> {
    /// The same elements in row-major order under another shape.
    #[track_caller]
    pub fn reshape(self, shape: &[usize]) -> Var<'n> {
        self.op("reshape", &[], Attrs::none().with("shape", shape))
    }

    /// Axis i of the result is axis `perm[i]`.
    #[track_caller]
    pub fn transpose(self, perm: &[usize]) -> Var<'n> {
        self.op("transpose", &[], Attrs::none().with("perm", perm))
    }

    /// Broadcast to a shape.
    #[track_caller]
    pub fn expand(self, shape: &[usize]) -> Var<'n> {
        self.op("expand", &[], Attrs::none().with("shape", shape))
    }

    /// Repeated `repeats[i]` times along axis i.
    #[track_caller]
    pub fn tile(self, repeats: &[usize]) -> Var<'n> {
        self.op("tile", &[], Attrs::none().with("repeats", repeats))
    }

    /// This and others, one after the other along an axis.
    #[track_caller]
    pub fn concat(self, others: &[Var<'n>], axis: i64) -> Var<'n> {
        self.op("concat", others, Attrs::none().with("axis", axis))
    }

    /// `size` elements from `start` on along an axis.
    #[track_caller]
    pub fn slice(self, axis: i64, start: usize, size: usize) -> Var<'n> {
        if self.is_poisoned() {
            return self;
        }
        let shape = self.shape();
        let axis = match normalize_axis(axis, shape.len()) {
            Ok(axis) => axis,
            Err(reason) => return self.net.fail("slice", reason),
        };
        let mut starts = vec![0; shape.len()];
        let mut sizes: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
        starts[axis] = start as i64;
        sizes[axis] = size as i64;
        let steps = vec![1; shape.len()];
        let attrs = Attrs::none().with("starts", starts).with("sizes", sizes);
        self.op("slice", &[], attrs.with("steps", steps))
    }

    /// `lo` elements of `value` before and `hi` after each axis.
    #[track_caller]
    pub fn pad(self, lo: &[usize], hi: &[usize], value: f32) -> Var<'n> {
        let interior = vec![0i64; lo.len()];
        let attrs = Attrs::none().with("lo", lo).with("hi", hi).with("interior", interior);
        self.op("pad", &[], attrs.with("value", value))
    }

    /// Elements along an axis at the given indices, whose axes take its place.
    #[track_caller]
    pub fn gather(self, index: Var<'n>, axis: i64) -> Var<'n> {
        self.op("gather", &[index], Attrs::none().with("axis", axis))
    }

    /// Of an index: `size` slots along an axis, each the sum of the updates whose index names it.
    #[track_caller]
    pub fn scatter_add(self, updates: Var<'n>, size: usize, axis: i64) -> Var<'n> {
        let attrs = Attrs::none().with("size", size as i64).with("axis", axis);
        self.op("scatter_add", &[updates], attrs)
    }

    /// Of an index: 1 at that place of a new last axis of `depth`, 0 elsewhere.
    #[track_caller]
    pub fn one_hot(self, depth: usize) -> Var<'n> {
        self.op("one_hot", &[], Attrs::none().with("depth", depth as i64))
    }
}
