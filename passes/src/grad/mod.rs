//! Reverse-mode differentiation of lowered graphs, by the rules that the op table names.
//!
//! It runs after lowering, on primitives and composites: what is differentiated is what is
//! computed, by the slope of its segments or by the real derivative in PAM arithmetic, as
//! [`GradSpec`] says.

mod resolve;
mod spec;

use thiserror::Error;

pub use resolve::resolve;
pub use spec::{GradSpec, Slope, SpecError};

use crate::arith::Arith;
use crate::build::Cx;
use crate::ir::{DType, Graph, GraphError, NodeId, Origin, Region, Tensor, TensorType, print_term};
use crate::ops::{Grad, VjpSite};

/// Why there is no gradient.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum GradError {
    /// The loss is not one f32.
    #[error("the loss is {0}, but only a single f32 can be differentiated")]
    NotScalar(TensorType),
    /// A value to differentiate for that has no derivative.
    #[error("there is no gradient for {0}, which is not f32")]
    NotFloat(String),
    /// Operations without a derivative between parameters and loss, all of them.
    #[error("no derivative is defined for {}", .0.join("; "))]
    Missing(Vec<String>),
    /// A derivative is wanted for something other than a graph input.
    #[error("the gradient at {0} is with respect to something that is no input of the graph")]
    NotInput(String),
    /// The specification does not fit the graph.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A rule built a term that does not fit.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// What [`differentiate`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gradients {
    /// Gradient for each of `wrt`, of its shape.
    pub values: Vec<NodeId>,
    /// Those of `wrt` on which the loss does not depend; their gradients are zeros.
    pub independent: Vec<NodeId>,
}

/// Append the gradients of a scalar `loss` for the values `wrt`.
///
/// Gradients of a value with several uses are added from the last use to the first. Only nodes
/// between `wrt` and `loss` are visited; values that are not f32 are constants. New nodes have the
/// origin of the node they are the derivative of, in [`Region::Backward`].
///
/// # Errors
/// If the loss is no f32 scalar, a key of the specification addresses nothing, or operations on the
/// way have no derivative (all of them are named).
pub fn differentiate(
    graph: &mut Graph,
    arith: Arith,
    loss: NodeId,
    wrt: &[NodeId],
    spec: &GradSpec,
) -> Result<Gradients, GradError> {
    if graph.ty(loss).dtype != DType::F32 || graph.ty(loss).len() != 1 {
        return Err(GradError::NotScalar(graph.ty(loss).clone()));
    }
    if let Some(&x) = wrt.iter().find(|&&x| graph.ty(x).dtype != DType::F32) {
        return Err(GradError::NotFloat(format!("{} ({})", graph.node(x).origin, graph.ty(x))));
    }
    if arith != Arith::Float {
        spec.check(graph)?;
    }
    let depends = dependents(graph, wrt);
    let between = path(graph, loss, &depends)?;

    let mut grads: Vec<Option<NodeId>> = vec![None; loss.index() + 1];
    let seed_origin = derived(graph, loss);
    let mut cx = Cx::new(graph, seed_origin, arith);
    let ones = Tensor::full(&cx.shape(loss), 1f32);
    grads[loss.index()] = Some(cx.constant(ones));
    cx.finish(())?;
    for id in (0..=loss.0).rev().map(NodeId) {
        if let (true, Some(g)) = (between[id.index()], grads[id.index()]) {
            propagate(graph, arith, spec, (id, g), &between, &mut grads)?;
        }
    }
    let mut out = Gradients { values: Vec::new(), independent: Vec::new() };
    for &x in wrt {
        let known = grads.get(x.index()).copied().flatten();
        let value = match known {
            Some(g) => g,
            None => {
                out.independent.push(x);
                let origin = derived(graph, x);
                let mut cx = Cx::new(graph, origin, arith);
                let zeros = Tensor::zeros(&cx.ty(x));
                let value = cx.constant(zeros);
                cx.finish(value)?
            }
        };
        out.values.push(value);
    }
    Ok(out)
}

/// For every node whether its value moves with one of `wrt`.
fn dependents(graph: &Graph, wrt: &[NodeId]) -> Vec<bool> {
    let mut depends = vec![false; graph.len()];
    wrt.iter().for_each(|x| depends[x.index()] = true);
    for (id, node) in graph.nodes() {
        let flows = node.ty.dtype == DType::F32 && !matches!(node.op.grad, Grad::Zero);
        depends[id.index()] |= flows && node.inputs.iter().any(|i| depends[i.index()]);
    }
    depends
}

/// For every node whether it lies on a way from `wrt` (by `depends`) to the loss.
fn path(graph: &Graph, loss: NodeId, depends: &[bool]) -> Result<Vec<bool>, GradError> {
    let mut between = vec![false; graph.len()];
    between[loss.index()] = depends[loss.index()];
    let mut missing = Vec::new();
    for (id, node) in graph.nodes().rev().filter(|(id, _)| *id <= loss) {
        let moves = |i: &&NodeId| depends[i.index()];
        if !between[id.index()] || !node.inputs.iter().any(|i| moves(&i)) {
            continue;
        }
        match node.op.grad {
            Grad::Zero => continue,
            Grad::Missing => {
                missing.push(format!("%{} = {} at {}", id.0, node.op.name, place(&node.origin)));
            }
            Grad::Rule(_) => {}
        }
        node.inputs.iter().filter(moves).for_each(|i| between[i.index()] = true);
    }
    if missing.is_empty() {
        return Ok(between);
    }
    missing.reverse();
    Err(GradError::Missing(missing))
}

fn place(origin: &Origin) -> String {
    let written = origin.to_string();
    if written.is_empty() { format!("an unnamed {}", origin.op) } else { written }
}

fn derived(graph: &Graph, id: NodeId) -> Origin {
    let node = graph.node(id);
    node.origin.then("vjp", node.op.name, print_term(graph, id)).in_region(Region::Backward)
}

/// Send the gradient of one node on to its operands.
fn propagate(
    graph: &mut Graph,
    arith: Arith,
    spec: &GradSpec,
    (id, g): (NodeId, NodeId),
    between: &[bool],
    grads: &mut [Option<NodeId>],
) -> Result<(), GradError> {
    let node = graph.node(id).clone();
    let Grad::Rule(rule) = node.op.grad else { return Ok(()) };
    let mut cx = Cx::new(graph, derived(graph, id), arith);
    for (index, &x) in node.inputs.iter().enumerate().filter(|(_, x)| between[x.index()]) {
        let exact = arith != Arith::Float && spec.slope(&node, index) == Slope::Exact;
        let site = VjpSite { g, y: id, inputs: &node.inputs, attrs: &node.attrs, exact };
        let part = rule(&mut cx, site, index);
        let shape = cx.shape(x);
        let part = cx.unbroadcast(part, &shape);
        let sum = match grads[x.index()] {
            Some(before) => cx.add(before, part),
            None => part,
        };
        grads[x.index()] = Some(sum);
    }
    cx.finish(()).map_err(GradError::from)
}
