//! What can be wrong with a model description, collected while it is written.

use std::fmt;

/// One mistake, at the place in the source where it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `file:line` of the call.
    pub at: String,
    /// Dotted path of the enclosing layers; empty at the top.
    pub scope: String,
    /// The operation that did not fit.
    pub op: String,
    /// Types of its operands, in the text form.
    pub operands: Vec<String>,
    /// Why it did not fit.
    pub reason: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.at)?;
        if !self.scope.is_empty() {
            write!(f, "in {}: ", self.scope)?;
        }
        f.write_str(&self.op)?;
        if !self.operands.is_empty() {
            write!(f, "({})", self.operands.join(", "))?;
        }
        write!(f, ": {}", self.reason)
    }
}

/// Everything wrong with a model description, in the order it was written.
///
/// A value made by a failing operation poisons whatever is computed from it without further
/// complaint, so each entry is a mistake of its own.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct DslError {
    /// Name of the model.
    pub model: String,
    /// The mistakes; at least one.
    pub problems: Vec<Problem>,
}

impl fmt::Display for DslError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "model '{}' does not fit together", self.model)?;
        self.problems.iter().try_for_each(|p| write!(f, "\n  {p}"))
    }
}
