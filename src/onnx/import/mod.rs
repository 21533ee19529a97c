//! From an ONNX graph to a pamc graph of real operations.
//!
//! Symbolic dimensions get their sizes before anything else happens, so shapes are known while
//! nodes are made and everything computed from shapes and constants folds on the way. Each ONNX
//! node becomes ops by the handler its row in the [table](ops::TABLE) names; all nodes without one
//! are reported together.

mod build;
mod context;
mod control;
mod declared;
mod integer;
mod interface;
mod loops;
mod ops;
mod site;
mod trainable;
mod value;

use std::collections::{HashMap, HashSet};

use pamc_passes::ir::{Graph, Tensor};

pub(super) use context::import;
pub(super) use interface::{
    data_extents, dims_of, needed_names, operators, symbolic_dims, updated_statistics,
};
pub use ops::{OpSupport, supported_ops};

use super::checkpoint::NamedTensor;
use super::tensor::Converted;
use crate::select::Selection;

/// What an import needs to know beyond the file.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Sizes of symbolic dimensions, by name (`input:axis` for one without a name).
    pub dims: HashMap<String, usize>,
    /// Inputs that are fixed to a value, of their type or one that converts without loss.
    pub bind: HashMap<String, Tensor>,
    /// Which initializers and inputs are parameters.
    pub parameters: Parameters,
    /// Which initializers and inputs are running statistics, besides those that a batch
    /// normalization in training mode updates.
    pub state: Vec<String>,
    /// Take only these outputs (empty: all).
    pub outputs: Vec<String>,
    /// Parameters and states, each with the value that it takes at the end of a step: outputs named
    /// as they are. If there are any, batch normalizations update nothing by themselves.
    pub updates: Vec<(String, String)>,
    /// Values that are constants to derivatives of what is computed from them.
    pub detached: HashSet<String>,
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
#[derive(Clone, Debug)]
pub enum Parameters {
    /// The float initializers that a selection says; where it says nothing, those that are weights
    /// by what they are an operand of, by their name and by their values (`trainable.rs`). The rest
    /// are constants.
    Selected(Selection),
    /// These names, initializers or inputs; other initializers are constants.
    Named(Vec<String>),
}

impl Default for Parameters {
    fn default() -> Self {
        Parameters::Selected(Selection::default())
    }
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
    /// Float initializers of several elements that are no parameters, each with the reason.
    pub fixed: Vec<(String, &'static str)>,
    /// Constants whose element type was rounded on the way in.
    pub converted: Vec<Converted>,
}

impl Imported {
    /// Calls the output `loss` so, and puts it first.
    pub(super) fn name_loss(&mut self, loss: &str) {
        self.rename_outputs(loss, |_| None);
    }

    /// The same with other outputs called as `rename` says.
    pub(super) fn rename_outputs(&mut self, loss: &str, rename: impl Fn(&str) -> Option<String>) {
        let mut named: Vec<_> = self.graph.outputs().to_vec();
        named.sort_by_key(|(name, _)| name != loss);
        self.graph.clear_outputs();
        for (name, node) in named {
            let new = match rename(&name) {
                Some(new) => new,
                None if name == loss => "loss".to_owned(),
                None => name,
            };
            // Should two of the new names collide, the first one, such as the loss, stays.
            let _ = self.graph.output(new, node);
        }
    }
}
