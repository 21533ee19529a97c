//! pamc: train and run neural networks without multiplying.

pub mod cli;
pub mod compile;
pub mod dsl;
pub mod error;
#[path = "../models/mod.rs"]
pub mod models;
pub mod onnx;
pub mod runtime;
pub mod source;

pub use error::Error;
