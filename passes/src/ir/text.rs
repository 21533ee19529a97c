//! The text form of graphs, `.pam`: printing and parsing. It round-trips everything but the trail of
//! an origin.
//!
//! ```text
//! ; a comment
//! graph @square(%x: f32[batch, 4], param %w: f32[4]) -> f32[batch, 4] {
//!     %y = pam.mul %x, %w {} loc("fc/Mul", scope = "fc", op = "mul", region = forward)
//!     return y = %y
//! }
//! ```

mod lexer;
mod number;
mod parser;
mod printer;

use std::collections::BTreeMap;

use thiserror::Error;

pub use parser::{Declared, Extent, parse, parse_inputs, parse_value};
pub use printer::{print_tensor, print_term};

/// Sizes of symbolic dimensions by name.
pub type Dims = BTreeMap<String, usize>;

/// Why a text is not a graph.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TextError {
    /// Not of the grammar, or an op that does not fit.
    #[error("line {line}, column {column}: {message}")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What is wrong and what was expected.
        message: String,
    },
    /// Symbolic dimensions without a size, all of them.
    #[error("no size given for the dimension(s) {}: bind each with --dim NAME=SIZE", .0.join(", "))]
    Unbound(Vec<String>),
}
