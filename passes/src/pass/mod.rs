//! Passes from graph to graph.

pub mod lower;

pub use lower::{expand, lower};
