//! MLIR half of pamc: emission, kernels, code generation and audit.

pub mod audit;
pub mod codegen;
pub mod emit;
mod error;
pub mod exec;
pub mod gpu;
pub mod kernels;
pub mod opt;
pub mod prove;
pub mod schedule;

pub use error::Error;
