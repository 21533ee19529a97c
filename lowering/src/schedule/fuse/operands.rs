//! What contractions read and write in place: views with split axes, and results that a fold sums.

use pamc_passes::ir::{Node, NodeId};
use pamc_passes::ops::Prim;

use super::super::split::{SplitView, joined};
use super::super::view::{View, ViewOp};
use super::Fusion;

/// True if every axis but the last two has one stride.
fn is_matrix(view: &SplitView) -> bool {
    let rank = view.axes.len();
    rank >= 2 && view.axes[..rank - 2].iter().all(|(_, dims)| joined(dims).len() <= 1)
}

impl Fusion<'_> {
    /// What a contraction reads for an operand, and how.
    pub fn operand(&self, id: NodeId) -> (NodeId, SplitView) {
        let split = (!self.windows).then(|| self.source(id));
        let split = split.and_then(|(base, ops)| {
            let view = SplitView::through(View::dense(self.graph.shape(base)), &ops)?;
            is_matrix(&view).then_some((base, view))
        });
        split.unwrap_or_else(|| (self.based[id.index()].base, SplitView::new(&self.view(id))))
    }

    /// The value that another rearranges, be it by copying.
    fn source(&self, id: NodeId) -> (NodeId, Vec<ViewOp>) {
        let based = &self.based[id.index()];
        let (mut base, mut ops) = (based.base, based.ops.clone());
        while let Some(op) =
            ViewOp::of(self.graph.node(base)).filter(|_| !self.copies.contains(&base))
        {
            let from = &self.based[self.graph.node(base).inputs[0].index()];
            ops = [&from.ops[..], &[op], &ops].concat();
            base = from.base;
        }
        (base, ops)
    }

    /// The contraction whose results a fold can sum as they are made, and where in the fold's result
    /// they go.
    pub fn folded(&self, id: NodeId) -> Option<(NodeId, SplitView)> {
        let node = self.graph.node(id);
        if self.windows || node.op.prim() != Some(Prim::Fold) {
            return None;
        }
        let mut from = node.inputs[0];
        while self.graph.node(from).op.prim() == Some(Prim::Reshape)
            && self.uses_of[from.index()] == 1
            && !self.copies.contains(&from)
        {
            from = self.graph.node(from).inputs[0];
        }
        let contracts = self.graph.node(from).op.prim().is_some_and(Prim::is_contraction);
        if !contracts || self.uses_of[from.index()] != 1 {
            return None;
        }
        let windows = windows(node, self.graph.shape(node.inputs[0]));
        let windows = View::dense(&node.ty.shape).apply(&windows)?;
        let shape = self.graph.shape(from).to_vec();
        let view = SplitView::new(&windows).apply(&ViewOp::Reshape(shape))?;
        let rows = view.axes[view.axes.len() - 2].0;
        let taps: usize = node.attrs.sizes("kernel").iter().product();
        let places: usize = windows.shape[windows.shape.len() / 2 + 1..].iter().product();
        let fits = rows % taps == 0 && view.axes[view.axes.len() - 1].0 == places;
        (is_matrix(&view) && fits).then_some((from, view))
    }
}

/// The windows of a fold's result that its operand, of the given shape, is summed into.
pub fn windows(node: &Node, shape: &[usize]) -> ViewOp {
    let sizes = |name| node.attrs.sizes(name);
    ViewOp::Windows(sizes("strides"), sizes("dilations"), shape[2..].to_vec())
}
