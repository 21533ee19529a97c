//! Identities over the reals, before the directed lowering.

use crate::egraph::{Engine, Report, RewriteError};
use crate::ir::Graph;
use crate::rules::{self, Rule};

/// Apply the identities that hold over the reals: recognize softmax, GELU, normalizations and the like
/// where they are written out, drop what cancels, fold constants. Every output keeps its value as a
/// real number; the bits after lowering are others, and usually nearer to it.
///
/// # Errors
/// Only if a rule table is faulty.
pub fn real_identities(graph: &Graph) -> Result<(Graph, Report), RewriteError> {
    let real = rules::over_the_reals()?.rules().iter();
    let both: Vec<Rule> = real.chain(rules::bit_exact()?.rules()).cloned().collect();
    Engine::new(&both, true).run(graph)
}
