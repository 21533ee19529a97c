//! GPU code: kernels in MLIR's gpu dialect, lowered to PTX, AMDGPU code or SPIR-V, with a launch
//! plan for whoever runs them.
//!
//! The schedule is the one of compiled CPU code, with its fused nests, contractions and scans; only
//! memory is laid out for a device. Each kernel is written once by [`crate::emit`], from the same
//! primitives, with its work shared out over threads so that every sum has the order that the
//! numeric contract gives it.

mod barriers;
mod compile;
mod header;
mod kernels;
pub mod plan;
mod target;
mod tools;

pub use compile::{compile_run, compile_train};
pub use plan::{GpuProgram, Plan};
pub use target::{AmdChip, GpuTarget};
