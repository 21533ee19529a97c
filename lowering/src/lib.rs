//! MLIR half of pamc: emission, kernels, code generation and audit.

pub mod codegen;
mod error;

pub use error::Error;
