//! GPU code: kernels in MLIR's gpu dialect, lowered to PTX, AMDGPU code or SPIR-V, with a launch
//! plan for whoever runs them.

pub mod plan;
mod target;

pub use plan::{GpuProgram, Plan};
pub use target::{AmdChip, GpuTarget};
