//! Passes from graph to graph.

pub mod lower;
mod simplify;

pub use lower::{expand, lower};
pub use simplify::simplify;
