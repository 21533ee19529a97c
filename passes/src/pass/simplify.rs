//! Bit-exact simplification of a lowered graph.

use crate::egraph::{Engine, Report, RewriteError};
use crate::ir::Graph;
use crate::rules;

/// Apply the bit-exact identities, fold constants, merge equal nodes, drop dead ones. Every output
/// keeps its value to the bit on every input (any NaN is as good as another).
///
/// # Errors
/// Only if the rule table itself is faulty.
pub fn simplify(graph: &Graph) -> Result<(Graph, Report), RewriteError> {
    Engine::new(rules::bit_exact()?.rules(), false).run(graph)
}
