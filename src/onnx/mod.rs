//! The ONNX front end: models and training sets from files.
//!
//! Protobuf is decoded by prost from hand-written derives rather than by the crate
//! `onnx-protobuf`, which is generated for another protobuf library that decodes slower and
//! copies every tensor. Files are not trusted: sizes are
//! checked before memory is taken, and damage is an error that names the file.

mod algorithm;
mod audit;
mod checkpoint;
mod error;
mod export;
mod import;
mod inline;
mod model;
mod optimizer;
mod proto;
mod save;
mod tensor;
mod training;
mod wire;

pub use algorithm::{Algorithm, Binding};
pub use audit::audit;
pub use checkpoint::{Checkpoint, NamedTensor, OptimizerGroup, ParameterState, Property};
pub use error::{NodeRef, OnnxError, TensorError, UnboundDim, Unsupported};
pub use export::{ExportError, export};
pub use import::{
    ImportOptions, Imported, OpSupport, Parameters, Regions, SeededDropout, supported_ops,
};
pub use model::Model;
pub use optimizer::{OptimizerSpec, UpdateRule};
pub use save::{Saved, with_weights};
pub use tensor::{Converted, read_tensor};
pub use training::{OnnxTrainingSet, TrainingFiles, TrainingGraphs};

#[cfg(test)]
mod tests;
