//! Scans: running sums and positions of extrema along one axis.

use pamc_passes::ir::{DType, NodeId};
use pamc_passes::ops::{Prim, normalize_axis};

use super::fuse::Fusion;
use super::nest::Param;
use super::view::View;

/// What a scan leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanKind {
    /// Running sums from +0; without the element itself, or from the end.
    Sum {
        /// Leave the element itself out.
        exclusive: bool,
        /// From the end.
        reverse: bool,
    },
    /// The position of an extremum; a NaN beats every number.
    Position {
        /// Smallest instead of largest.
        least: bool,
        /// Last of equals instead of first.
        last: bool,
    },
}

/// A scan along the last dimension of strided views.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scan {
    /// What it leaves.
    pub kind: ScanKind,
    /// Source and destination buffers.
    pub params: [Param; 2],
    /// Extents of the other dimensions.
    pub outer: Vec<usize>,
    /// Extent of the scanned axis.
    pub extent: usize,
    /// First element, strides of the others and of the axis in the source.
    pub source: (i64, Vec<i64>, i64),
    /// The same in the destination; the axis's stride is 0 for a position.
    pub target: (i64, Vec<i64>, i64),
}

/// The scan a node is.
pub fn scan(fusion: &Fusion, id: NodeId) -> Scan {
    let graph = fusion.graph;
    let node = graph.node(id);
    let x = node.inputs[0];
    let shape = graph.shape(x);
    let axis = normalize_axis(node.attrs.int("axis"), shape.len()).unwrap_or(0);
    let flag = |name| node.attrs.flag(name);
    let running = node.op.prim() == Some(Prim::CumSum);
    let kind = match running {
        true => ScanKind::Sum { exclusive: flag("exclusive"), reverse: flag("reverse") },
        false => {
            ScanKind::Position { least: node.op.prim() == Some(Prim::ArgMin), last: flag("last") }
        }
    };
    let kept = |v: &View| {
        let mut strides = v.strides.clone();
        let along = strides.remove(axis);
        (v.offset, strides, along)
    };
    let mut outer = shape.to_vec();
    outer.remove(axis);
    let source = kept(&fusion.view(x));
    let target = match running {
        true => kept(&View::dense(shape)),
        false => (0, View::dense(&outer).strides, 0),
    };
    let base = graph.ty(fusion.based[x.index()].base);
    let params = [
        Param { dtype: base.dtype, len: base.len() },
        Param { dtype: if running { base.dtype } else { DType::I64 }, len: node.ty.len() },
    ];
    Scan { kind, params, outer, extent: shape[axis], source, target }
}
