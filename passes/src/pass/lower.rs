//! Directed lowering: real operations become PAM (or ordinary) terms, composites become primitives.

use crate::arith::Arith;
use crate::build::Cx;
use crate::ir::{Graph, GraphError, Node, NodeId, print_term};
use crate::ops::{Kind, LowerFn, Site};

/// Replace every real operation by the term its table row gives in this arithmetic. What is left are
/// composites and primitives; each new node's origin tells what it was lowered from.
///
/// # Errors
/// If an operation has no lowering for its operands, such as a product of two integer variables.
pub fn lower(graph: &Graph, arith: Arith) -> Result<Graph, GraphError> {
    replace(graph, arith, Kind::Real, "lower")
}

/// Replace every composite by the primitives it stands for: after differentiation.
///
/// # Errors
/// If a composite has no expansion; the rows of the table all have one.
pub fn expand(graph: &Graph) -> Result<Graph, GraphError> {
    replace(graph, Arith::PAM, Kind::Composite, "expand")
}

fn replace(
    graph: &Graph,
    arith: Arith,
    kind: Kind,
    what: &'static str,
) -> Result<Graph, GraphError> {
    graph.rewrite(|out, id, node, inputs| match node.op.lower {
        Some(lower) if node.op.kind == kind => {
            let before = print_term(graph, id);
            let origin = node.origin.then(what, node.op.name, before);
            term(Cx::new(out, origin, arith), lower, node, inputs)
        }
        _ => out.add(node.op, inputs, node.attrs.clone(), node.origin.clone()),
    })
}

/// The replacement of one node, checked to be of its type.
fn term(
    mut cx: Cx<'_>,
    lower: LowerFn,
    node: &Node,
    inputs: &[NodeId],
) -> Result<NodeId, GraphError> {
    let value = lower(&mut cx, Site { inputs, attrs: &node.attrs, ty: &node.ty });
    let made = cx.ty(value);
    if made != node.ty {
        cx.fail(format!("{} was lowered to {made}, not {}", node.op.name, node.ty));
    }
    cx.finish(value)
}
