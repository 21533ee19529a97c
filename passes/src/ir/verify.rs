//! Checks the invariants of a graph that its constructor cannot, or that a pass may have broken.

use thiserror::Error;

use super::graph::Graph;

/// A broken invariant.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[error("graph '{graph}' is broken: {}", .problems.join("; "))]
pub struct VerifyError {
    /// Name of the graph.
    pub graph: String,
    /// Everything found.
    pub problems: Vec<String>,
}

/// Re-infer every type and check order, arity, attributes, names.
///
/// # Errors
/// Lists everything that is wrong at once.
pub fn verify(graph: &Graph) -> Result<(), VerifyError> {
    let mut problems = Vec::new();
    for (id, node) in graph.nodes() {
        let mut bad = |what: String| {
            problems.push(format!("%{} = {} ({}): {what}", id.0, node.op.name, node.origin));
        };
        if let Some(late) = node.inputs.iter().find(|i| **i >= id) {
            bad(format!("uses %{} before it is defined", late.0));
            continue;
        }
        let types: Vec<_> = node.inputs.iter().map(|i| graph.ty(*i)).collect();
        let inferred = node
            .op
            .check_arity(types.len())
            .and_then(|()| node.op.complete(node.attrs.clone()))
            .and_then(|attrs| (node.op.shape)(&types, &attrs));
        match inferred {
            Ok(ty) if ty == node.ty => {}
            Ok(ty) => bad(format!("is marked {} but is {ty}", node.ty)),
            Err(e) => bad(e),
        }
        if node.origin.op.is_empty() {
            bad("has no origin".into());
        }
    }
    if graph.outputs().is_empty() {
        problems.push("has no output".into());
    }
    if problems.is_empty() {
        Ok(())
    } else {
        Err(VerifyError { graph: graph.name.clone(), problems })
    }
}
