//! Building MLIR text, and the elementwise primitives of PAM in it.
//!
//! [`Builder`] writes typed operations with their origins; [`scalar`] writes each primitive, for
//! one element or a vector of them, bit for bit as the numeric contract says.

mod abi;
mod builder;
pub(crate) mod contract;
mod float;
pub(crate) mod fold;
pub(crate) mod kernel;
mod module;
pub(crate) mod nest;
mod pam;
mod profile;
mod real;
pub mod scalar;
pub(crate) mod scan;
mod step;
mod train;
mod types;

pub use abi::{Layout, Slot};
pub use builder::{Builder, Code};
pub use module::{EmitOptions, Emitted, Stats, module_for_run, module_for_runs};
pub(crate) use pam::Factor;
pub use profile::{Profile, ProfiledCall};
pub use train::{TrainPrograms, module_for_train};
pub(crate) use train::{batch_size, metrics};
pub use types::{Elem, Value, VecTy};
