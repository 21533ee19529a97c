//! A finished model, and the loss to train it with.

use std::collections::BTreeMap;

use pamc_passes::interpret::Values;
use pamc_passes::ir::{
    Attrs, DType, Graph, GraphError, Input, InputKind, NodeId, Origin, Region, TensorType,
};
use pamc_passes::ops;

use super::{Init, Mode};

/// A finished model.
#[derive(Clone, Debug)]
pub struct Model {
    /// The network: rows of kind real and primitives that mean the same in every arithmetic.
    /// Inputs are data, parameters and states; an output named like a state is its next value.
    pub graph: Graph,
    /// Start of every parameter and state.
    pub init: BTreeMap<String, Init>,
    /// The loss to train it with unless another is asked for.
    pub loss: Option<Loss>,
    /// What it was built for.
    pub mode: Mode,
}

impl Model {
    /// Initial values of all parameters and states; the same seed gives the same bits.
    pub fn initial(&self, seed: u64) -> Values {
        let start = |i: &Input| {
            let init = self.init.get(&i.name).copied().unwrap_or_default();
            (i.name.clone(), init.tensor(&i.name, self.graph.ty(i.node), seed))
        };
        self.graph.inputs().iter().filter(|i| i.kind != InputKind::Data).map(start).collect()
    }

    /// The inputs of one kind.
    pub fn inputs(&self, kind: InputKind) -> impl Iterator<Item = &Input> {
        self.graph.inputs().iter().filter(move |i| i.kind == kind)
    }

    /// Number of trained scalars.
    pub fn parameter_count(&self) -> usize {
        self.inputs(InputKind::Param).map(|i| self.graph.ty(i.node).len()).sum()
    }

    /// Names of the outputs that are results, not next values of states.
    pub fn results(&self) -> impl Iterator<Item = &str> {
        let names = self.graph.outputs().iter().map(|(n, _)| n.as_str());
        names.filter(|n| self.graph.find_input(n).is_none())
    }
}

/// Which loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LossKind {
    /// Softmax cross entropy of logits (classes on the last axis) and class numbers.
    CrossEntropy {
        /// Part of the target spread evenly over all classes.
        label_smoothing: f32,
        /// Class number that does not count.
        ignore_index: Option<i64>,
    },
    /// Negative log likelihood of log probabilities and class numbers.
    Nll {
        /// Class number that does not count.
        ignore_index: Option<i64>,
    },
    /// Mean squared error.
    Mse,
    /// Mean absolute error.
    L1,
    /// Binary cross entropy of logits.
    BceWithLogits,
}

impl LossKind {
    /// Its row of the op table.
    pub fn row(self) -> &'static str {
        match self {
            LossKind::CrossEntropy { .. } => "cross_entropy",
            LossKind::Nll { .. } => "nll_loss",
            LossKind::Mse => "mse_loss",
            LossKind::L1 => "l1_loss",
            LossKind::BceWithLogits => "bce_with_logits",
        }
    }

    /// True if the target is a class number (`i64`, without the class axis) and not a value.
    pub fn takes_classes(self) -> bool {
        matches!(self, LossKind::CrossEntropy { .. } | LossKind::Nll { .. })
    }

    pub(super) fn attrs(self) -> Attrs {
        let classes = |ignore: Option<i64>| {
            ignore.map_or_else(Attrs::none, |i| Attrs::none().with("ignore_index", i))
        };
        match self {
            LossKind::CrossEntropy { label_smoothing, ignore_index } => {
                classes(ignore_index).with("label_smoothing", label_smoothing)
            }
            LossKind::Nll { ignore_index } => classes(ignore_index),
            LossKind::Mse | LossKind::L1 | LossKind::BceWithLogits => Attrs::none(),
        }
    }
}

/// A loss on an output of a model.
#[derive(Clone, Debug, PartialEq)]
pub struct Loss {
    /// Which.
    pub kind: LossKind,
    /// The output it is computed from.
    pub output: String,
    /// The data input it is compared with.
    pub target: String,
}

impl Loss {
    /// A loss on the output "logits", against "labels" if it takes classes, else "target".
    pub fn new(kind: LossKind) -> Loss {
        let target = if kind.takes_classes() { "labels" } else { "target" };
        Loss { kind, output: "logits".into(), target: target.into() }
    }

    /// Cross entropy without further ado.
    pub fn cross_entropy() -> Loss {
        Loss::new(LossKind::CrossEntropy { label_smoothing: 0.0, ignore_index: None })
    }

    /// Append the target as a data input and the loss, a scalar `f32`, to a model's graph.
    ///
    /// # Errors
    /// If the graph has no such output, or its shape does not suit the loss.
    pub fn attach(&self, graph: &mut Graph) -> Result<NodeId, GraphError> {
        let origin = Origin::new("loss").in_region(Region::Loss);
        let fail = |reason: String| GraphError::Op {
            op: self.kind.row().into(),
            origin: origin.to_string(),
            reason,
        };
        let Some(output) = graph.find_output(&self.output) else {
            let names: Vec<&str> = graph.outputs().iter().map(|(n, _)| n.as_str()).collect();
            let known = names.join(", ");
            return Err(fail(format!("there is no output '{}' (only {known})", self.output)));
        };
        let row = ops::lookup(self.kind.row()).ok_or_else(|| fail("no such operation".into()))?;
        let mut shape = graph.shape(output).to_vec();
        let dtype = if self.kind.takes_classes() {
            shape.pop().ok_or_else(|| fail("a scalar has no class axis".into()))?;
            DType::I64
        } else {
            DType::F32
        };
        let target =
            graph.input(self.target.as_str(), TensorType::new(dtype, shape), InputKind::Data)?;
        graph.add(row, &[output, target], self.kind.attrs(), origin)
    }
}
