//! Small rewrites that leave fewer cases to the scheduler.

use std::collections::{HashMap, HashSet};

use pamc_passes::ir::{Attrs, DType, Graph, GraphError, InputKind, Node, NodeId, Tensor};
use pamc_passes::ops::{self, Prim, reduced_axes};

use super::view::{ViewOp, padded};

/// A graph in which windows have no padding and each output is a value of its own.
pub struct Canonical {
    /// The graph.
    pub graph: Graph,
    /// Reshapes that stand for copies.
    pub copies: HashSet<NodeId>,
}

/// Rewrite; with `outside`, data inputs may hold subnormals, so that scans, which read memory as it
/// is, get flushed copies, and contractions too, unless they `flush` themselves.
pub fn canonicalize(graph: &Graph, outside: bool, flush: bool) -> Result<Canonical, GraphError> {
    let mut copies = HashSet::new();
    let mut raw: HashSet<NodeId> = HashSet::new();
    let mut clean: HashMap<NodeId, NodeId> = HashMap::new();
    let mut out = graph.rewrite::<GraphError>(|g, _, node, inputs| {
        for input in g.inputs() {
            if outside && input.kind == InputKind::Data && g.ty(input.node).dtype == DType::F32 {
                raw.insert(input.node);
            }
        }
        let reads_memory = node.op.prim().is_some_and(|p| {
            (p.is_contraction() && !flush)
                || matches!(p, Prim::CumSum | Prim::ArgMax | Prim::ArgMin)
        });
        let mut inputs = inputs.to_vec();
        if reads_memory {
            for input in &mut inputs {
                if is_view_of(g, *input, &raw) {
                    if !clean.contains_key(input) {
                        let copied = copy(g, *input)?;
                        copies.insert(copied);
                        clean.insert(*input, copied);
                    }
                    *input = clean[input];
                }
            }
        }
        match node.op.prim() {
            Some(Prim::Unfold) if padded(node) => unfold(g, node, inputs[0]),
            Some(Prim::Fold) if padded(node) => fold(g, node, inputs[0]),
            Some(Prim::ReduceSum | Prim::ReduceMax | Prim::ReduceMin)
                if reduces_nothing(g.shape(inputs[0]), node) =>
            {
                single(g, node, inputs[0])
            }
            _ => g.add(node.op, &inputs, node.attrs.clone(), node.origin.clone()),
        }
    })?;
    let outputs = out.outputs().to_vec();
    out.clear_outputs();
    let mut taken = HashSet::new();
    for (name, value) in outputs {
        let node = out.node(value);
        let leaf = matches!(node.op.prim(), Some(Prim::Input | Prim::Const | Prim::Iota));
        let view = ViewOp::of(node).is_some() && !copies.contains(&value);
        let own = !leaf && !view && taken.insert(value);
        let value = if own { value } else { copy(&mut out, value)? };
        if !own {
            copies.insert(value);
        }
        out.output(name, value)?;
    }
    Ok(Canonical { graph: out, copies })
}

/// True for a reduction over axes of extent 1.
fn reduces_nothing(shape: &[usize], node: &Node) -> bool {
    let axes = reduced_axes(&node.attrs, shape.len()).unwrap_or_default();
    axes.iter().all(|&a| shape[a] == 1)
}

/// A reduction of single elements: a sum turns −0 to +0.
fn single(g: &mut Graph, node: &Node, x: NodeId) -> Result<NodeId, GraphError> {
    let origin = || node.origin.clone();
    let attrs = Attrs::none().with("shape", node.ty.shape.as_slice());
    let x = g.add(row("reshape"), &[x], attrs, origin())?;
    if node.op.prim() != Some(Prim::ReduceSum) || node.ty.dtype != DType::F32 {
        return Ok(x);
    }
    let zero = Attrs::none().with("value", Tensor::full(&[], 0f32));
    let zero = g.add(row("const"), &[], zero, origin())?;
    g.add(row("add"), &[x, zero], Attrs::none(), origin())
}

fn is_view_of(g: &Graph, id: NodeId, raw: &HashSet<NodeId>) -> bool {
    let mut id = id;
    while ViewOp::of(g.node(id)).is_some() {
        id = g.node(id).inputs[0];
    }
    raw.contains(&id)
}

fn row(name: &str) -> &'static ops::Op {
    ops::lookup(name).unwrap_or_else(ops::input)
}

fn copy(g: &mut Graph, value: NodeId) -> Result<NodeId, GraphError> {
    let origin = g.node(value).origin.clone();
    let attrs = Attrs::none().with("shape", g.shape(value));
    g.add(row("reshape"), &[value], attrs, origin)
}

/// The axes before the spatial ones, not padded.
fn around(spatial: &[i64]) -> Vec<i64> {
    [&[0, 0], spatial].concat()
}

fn without_pads(attrs: &Attrs) -> Attrs {
    let none = vec![0i64; attrs.ints("pads_lo").len()];
    attrs.clone().with("pads_lo", none.clone()).with("pads_hi", none)
}

fn unfold(g: &mut Graph, node: &Node, x: NodeId) -> Result<NodeId, GraphError> {
    let (lo, hi) = (node.attrs.ints("pads_lo"), node.attrs.ints("pads_hi"));
    let pads = Attrs::none()
        .with("lo", around(lo))
        .with("hi", around(hi))
        .with("interior", vec![0i64; lo.len() + 2])
        .with("value", node.attrs.float("value"));
    let padded = g.add(row("pad"), &[x], pads, node.origin.clone())?;
    g.add(node.op, &[padded], without_pads(&node.attrs), node.origin.clone())
}

fn fold(g: &mut Graph, node: &Node, x: NodeId) -> Result<NodeId, GraphError> {
    let (lo, hi) = (node.attrs.ints("pads_lo"), node.attrs.ints("pads_hi"));
    let spatial = node.attrs.ints("spatial");
    let wide: Vec<i64> = spatial.iter().zip(lo).zip(hi).map(|((s, l), h)| s + l + h).collect();
    let attrs = without_pads(&node.attrs).with("spatial", wide);
    let folded = g.add(node.op, &[x], attrs, node.origin.clone())?;
    let sizes: Vec<i64> = node.ty.shape.iter().map(|&d| d as i64).collect();
    let attrs = Attrs::none()
        .with("starts", around(lo))
        .with("sizes", sizes)
        .with("steps", vec![1i64; node.ty.rank()]);
    g.add(row("slice"), &[folded], attrs, node.origin.clone())
}
