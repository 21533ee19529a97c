//! Translations of operators, by kind, and the table of them.

mod contract;
mod conv;
mod elementwise;
mod grad;
mod layout;
mod loss;
mod norm;
mod reduce;
mod shape;
mod table;

pub use table::{OpSupport, supported_ops};
pub(super) use table::{Row, find};
