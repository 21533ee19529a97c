//! Derivative rules of primitives and composites, which the rows name.
//!
//! Each builds the gradient of one operand from the incoming gradient `g`. It may have the
//! broadcast shape; the caller sums it back. Where the exact slope of the segment and the real
//! derivative differ, [`VjpSite::exact`](super::VjpSite::exact) decides. Under powers of two as
//! constants, ln 2 and log₂e in a derivative are the shift sums too.

mod arithmetic;
mod contract;
mod layout;
mod reduce;

pub use arithmetic::*;
pub use contract::matmul;
pub use layout::*;
pub use reduce::*;
