//! The ONNX front end: models and training sets from files.
//!
//! Protobuf is decoded by prost from hand-written derives rather than by the crate
//! `onnx-protobuf`, which is generated for another protobuf library that decodes slower and
//! copies every tensor. Files are not trusted: sizes are
//! checked before memory is taken, and damage is an error that names the file.

mod checkpoint;
mod error;
mod model;
mod proto;
mod tensor;

pub use checkpoint::{Checkpoint, NamedTensor, OptimizerGroup, ParameterState, Property};
pub use error::{NodeRef, OnnxError, TensorError, UnboundDim, Unsupported};
pub use model::Model;
pub use tensor::{Converted, HostTensor, TensorData};

#[cfg(test)]
mod tests;
