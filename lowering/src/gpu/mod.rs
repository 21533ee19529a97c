//! GPU code: kernels in MLIR's gpu dialect, lowered to PTX, AMDGPU code or SPIR-V, with a launch
//! plan for whoever runs them.

pub mod plan;
mod target;

pub use plan::{GpuProgram, Plan};
pub use target::{AmdChip, GpuTarget};

use pamc_passes::program::Program;

use crate::Error;
use crate::emit::TrainPrograms;

const NOT_YET: &str = "GPU code is not built yet in this version";

/// Code of an inference program with its launch plan.
///
/// # Errors
/// Lists everything in the program that no GPU code can be made for.
pub fn for_run(_: &Program, _: GpuTarget) -> Result<GpuProgram, Error> {
    Err(Error::Program { message: NOT_YET.into() })
}

/// Code of a training step with its launch plan.
///
/// # Errors
/// If the programs are no training step; lists everything in them that no GPU code can be made for.
pub fn for_train(_: TrainPrograms, _: GpuTarget) -> Result<GpuProgram, Error> {
    Err(Error::Program { message: NOT_YET.into() })
}
