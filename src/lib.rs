//! pamc: train and run neural networks without multiplying.

pub mod dsl;
#[path = "../models/mod.rs"]
pub mod models;
pub mod onnx;
