//! From an ONNX graph to a pamc graph of real operations.
//!
//! Symbolic dimensions get their sizes before anything else happens, so shapes are known while
//! nodes are made and everything computed from shapes and constants folds on the way. Each ONNX
//! node becomes ops by the handler its row in the [table](ops::TABLE) names; all nodes without one
//! are reported together.

mod build;
mod context;
mod control;
mod integer;
mod interface;
mod ops;
mod site;
mod value;

use std::collections::HashMap;

use pamc_passes::ir::{Graph, Tensor};

pub(super) use context::import;
pub(super) use interface::{
    data_extents, dims_of, needed_names, operators, symbolic_dims, updated_statistics,
};
pub use ops::{OpSupport, supported_ops};

use super::checkpoint::NamedTensor;
use super::tensor::Converted;

/// What an import needs to know beyond the file.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Sizes of symbolic dimensions, by name (`input:axis` for one without a name).
    pub dims: HashMap<String, usize>,
    /// Inputs that are fixed to a value.
    pub bind: HashMap<String, Tensor>,
    /// Which initializers and inputs are parameters.
    pub parameters: Parameters,
    /// Which initializers and inputs are running statistics, besides those that a batch
    /// normalization in training mode updates.
    pub state: Vec<String>,
    /// Take only these outputs (empty: all).
    pub outputs: Vec<String>,
    /// Values that mark parts of a training program.
    pub regions: Regions,
    /// What a dropout's attribute `seed` means.
    pub seeded_dropout: SeededDropout,
}

/// What the attribute `seed` of a dropout in training mode means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeededDropout {
    /// Nothing: elements are dropped anew in every step, by the program's state `rng`.
    #[default]
    Ignored,
    /// The mask that ONNX's reference implementation draws (numpy's Mersenne Twister), a constant.
    Reference,
}

/// Which tensors of a file become parameters.
#[derive(Clone, Debug, Default)]
pub enum Parameters {
    /// Every f32 initializer with an axis and more than one element, except what a batch
    /// normalization takes as statistics; the rest are constants.
    #[default]
    Initializers,
    /// These names, initializers or inputs; other initializers are constants.
    Named(Vec<String>),
}

/// How to tell the parts of a training program in a file apart.
///
/// A node belongs to the forward part if one of `forward` needs it, else to the loss if one of
/// `loss` does, else to the gradients. With both empty everything is forward.
#[derive(Clone, Debug, Default)]
pub struct Regions {
    /// The model's outputs.
    pub forward: Vec<String>,
    /// The loss.
    pub loss: Vec<String>,
}

/// An imported graph.
#[derive(Clone, Debug)]
pub struct Imported {
    /// The graph, of real operations; data inputs first, then parameters and state, in the file's
    /// order. An output named as a state input is its new value; dropout in training mode draws
    /// from the state `rng`.
    pub graph: Graph,
    /// Initial values of the running statistics that the file holds.
    pub states: Vec<NamedTensor>,
    /// Initial values of the parameters that the file holds.
    pub parameters: Vec<NamedTensor>,
    /// Constants whose element type was rounded on the way in.
    pub converted: Vec<Converted>,
}
