//! Folds on a GPU: each element of the image collects from the windows that it lies in.

use pamc_passes::ir::NodeId;

use super::fuse::Fusion;
use super::nest::Param;

/// The sum at each position of an image of the window elements that were read from it, in the order of
/// the kernel index.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fold {
    /// Windows and image.
    pub params: [Param; 2],
    /// Extents of the image: batch, channels, spatial axes.
    pub image: Vec<usize>,
    /// Extents of the kernel, and the number of windows, along each spatial axis.
    pub kernel: Vec<usize>,
    /// See [`Fold::kernel`].
    pub windows: Vec<usize>,
    /// From one window to the next, and from one element of a window to the next.
    pub strides: Vec<usize>,
    /// See [`Fold::strides`].
    pub dilations: Vec<usize>,
    /// First element of the windows in memory, and their strides: batch, channels, kernel, windows.
    pub source: (i64, Vec<i64>),
    /// Whether elements may be subnormals, which count as zeros.
    pub flush: bool,
}

/// The fold a node is, which has no padding; `flush` if its operand may hold subnormals.
pub fn fold(fusion: &Fusion, id: NodeId, flush: bool) -> Fold {
    let graph = fusion.graph;
    let node = graph.node(id);
    let x = node.inputs[0];
    let (shape, view) = (graph.shape(x), fusion.view(x));
    let rank = (shape.len() - 2) / 2;
    let base = graph.ty(fusion.based[x.index()].base);
    Fold {
        params: [
            Param { dtype: base.dtype, len: base.len() },
            Param { dtype: node.ty.dtype, len: node.ty.len() },
        ],
        image: node.ty.shape.clone(),
        kernel: shape[2..2 + rank].to_vec(),
        windows: shape[2 + rank..].to_vec(),
        strides: node.attrs.sizes("strides"),
        dilations: node.attrs.sizes("dilations"),
        source: (view.offset, view.strides),
        flush,
    }
}
