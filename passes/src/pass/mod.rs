//! Passes from graph to graph.

pub mod lower;
mod real_identities;
mod recompute;
mod simplify;

pub use lower::{expand, lower};
pub use real_identities::real_identities;
pub use recompute::recompute;
pub use simplify::simplify;
