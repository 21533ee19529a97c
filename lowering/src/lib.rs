//! MLIR half of pamc: emission, kernels, code generation and audit.

pub mod audit;
pub mod codegen;
pub mod emit;
mod error;
pub mod kernels;

pub use error::Error;
