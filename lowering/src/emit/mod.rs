//! Building MLIR text, and the elementwise primitives of PAM in it.
//!
//! [`Builder`] writes typed operations with their origins; [`scalar`] writes each primitive, for
//! one element or a vector of them, bit for bit as the numeric contract says.

mod builder;
mod pam;
pub mod scalar;
mod types;

pub use builder::Builder;
pub use types::{Elem, Value, VecTy};
