//! The training that a model itself describes, by `TrainingInfoProto`s.
//!
//! One iteration runs the algorithms one after the other. Each is the inference graph followed by
//! the algorithm's own graph, computed from the variables as the algorithms before have left them;
//! at its end each variable takes the value that the update binding names. Before the first
//! iteration the initialization graphs run, and variables take values by the initialization
//! binding.

mod combine;

use std::collections::HashSet;

use pamc_passes::ir::{DType, Extent, Tensor};

use self::combine::Combination;
use super::checkpoint::NamedTensor;
use super::error::OnnxError;
use super::import::{ImportOptions, Imported, Parameters, Regions};
use super::model::Model;
use super::proto::{GraphProto, SparseTensorProto, TensorProto, TrainingInfoProto};
use super::tensor;

/// Variables, each with the name of the value that it takes.
pub type Binding = Vec<(String, String)>;

/// What a model says about its training.
#[derive(Clone, Debug)]
pub struct Algorithm {
    model: Model,
    /// The inference graph and the algorithms, one after the other.
    combined: Model,
    /// At the end of an iteration.
    updates: Binding,
    /// What the gradients are of.
    loss: Option<String>,
    /// Outputs of the algorithms that no variable takes.
    reported: Vec<String>,
    /// What the gradients are with respect to.
    differentiated: Vec<String>,
    /// Variables as the later algorithms find them.
    detached: HashSet<String>,
    regions: Regions,
    starts: Vec<Start>,
}

/// An initialization graph with the variables that take its outputs.
#[derive(Clone, Debug)]
struct Start {
    model: Model,
    binding: Binding,
}

impl Algorithm {
    /// Reads it; `None` if the model has none.
    ///
    /// # Errors
    /// [`OnnxError::Graph`] if bindings name what there is not, or two of them one variable;
    /// [`OnnxError::Tensor`] for a constant that cannot be decoded.
    pub fn of(model: &Model) -> Result<Option<Self>, OnnxError> {
        if model.training_info().is_empty() {
            return Ok(None);
        }
        let mut made = Combination::new(model);
        for (i, info) in model.training_info().iter().enumerate() {
            made.append(i, info)?;
        }
        made.check_bindings()?;
        let starts = model.training_info().iter().filter_map(|i| start(model, i).transpose());
        let starts = starts.collect::<Result<Vec<_>, _>>()?;
        Ok(Some(made.finish(starts)))
    }

    /// The names of the variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.updates.iter().map(|(name, _)| name.as_str())
    }

    /// The extents of the data inputs of inference graph and algorithms.
    ///
    /// # Errors
    /// [`OnnxError::Graph`] if an input is no tensor.
    pub fn data_extents(&self) -> Result<Vec<(String, Vec<Extent>)>, OnnxError> {
        self.combined.data_extents()
    }

    /// The model at inference: what training changes are inputs.
    ///
    /// # Errors
    /// As [`Model::import`].
    pub fn forward(&self, options: &ImportOptions) -> Result<Imported, OnnxError> {
        self.model.import(&ImportOptions { outputs: Vec::new(), ..self.options(options) })
    }

    /// One iteration: outputs `loss`, then what else the algorithms report, then the new values of
    /// the variables, named as they are.
    ///
    /// # Errors
    /// As [`Model::import`]; [`OnnxError::Graph`] if there is no scalar that can be the loss.
    pub fn iteration(&self, options: &ImportOptions) -> Result<Imported, OnnxError> {
        let mut options = self.options(options);
        options.updates = self.updates.clone();
        self.with_loss(&options)
    }

    /// The loss alone, to be differentiated.
    ///
    /// # Errors
    /// As [`Algorithm::iteration`].
    pub fn loss(&self, options: &ImportOptions) -> Result<Imported, OnnxError> {
        self.with_loss(&self.options(options))
    }

    /// What the initialization graphs compute, in order, with the variables that take the outputs.
    ///
    /// # Errors
    /// As [`Model::import`].
    pub fn initializations(&self) -> Result<Vec<(Imported, Binding)>, OnnxError> {
        let import = |start: &Start| {
            let mut outputs: Vec<String> =
                start.binding.iter().map(|(_, value)| value.clone()).collect();
            outputs.sort();
            outputs.dedup();
            let parameters = Parameters::Named(Vec::new());
            let options = ImportOptions { outputs, parameters, ..ImportOptions::default() };
            Ok((start.model.import(&options)?, start.binding.clone()))
        };
        self.starts.iter().map(import).collect()
    }

    /// A new value for a variable must be of its type.
    ///
    /// # Errors
    /// [`OnnxError::Graph`] if it is not.
    pub fn check_start(&self, variable: &str, value: &Tensor) -> Result<(), OnnxError> {
        let old = self.combined.initializers().iter().find(|t| t.name == variable);
        match old.filter(|old| old.tensor.ty() != value.ty()) {
            None => Ok(()),
            Some(old) => Err(OnnxError::Graph {
                file: self.model.file().to_owned(),
                reason: format!(
                    "the initialization of `{variable}` gives {}, but it is {}",
                    value.ty(),
                    old.tensor.ty()
                ),
            }),
        }
    }

    /// Variables of floats that the model has, and what else is differentiated, are parameters;
    /// other variables are state.
    fn options(&self, given: &ImportOptions) -> ImportOptions {
        let own = self.model.initializers();
        let is_float = |list: &[NamedTensor], name: &str| {
            list.iter().any(|t| t.name == name && t.tensor.dtype() == DType::F32)
        };
        let mut parameters: Vec<String> =
            self.variables().filter(|n| is_float(own, n)).map(str::to_owned).collect();
        let stored = self.combined.initializers();
        let more = self.differentiated.iter().filter(|n| is_float(stored, n)).cloned();
        parameters.extend(more);
        let state = self.variables().filter(|n| !parameters.iter().any(|p| p == n));
        ImportOptions {
            detached: self.detached.clone(),
            state: state.map(str::to_owned).collect(),
            parameters: Parameters::Named(parameters),
            ..given.clone()
        }
    }

    fn with_loss(&self, options: &ImportOptions) -> Result<Imported, OnnxError> {
        let mut options = options.clone();
        options.outputs = self.loss.iter().chain(&self.reported).cloned().collect();
        options.regions = self.regions.clone();
        let mut imported = self.combined.import(&options)?;
        let graph = &imported.graph;
        let scalar = |name: &&String| {
            let ty = graph.find_output(name).map(|node| graph.ty(node));
            ty.is_some_and(|ty| ty.dtype == DType::F32 && ty.len() == 1)
        };
        match options.outputs.iter().find(scalar).cloned() {
            Some(loss) => imported.name_loss(&loss),
            None => {
                return Err(OnnxError::Graph {
                    file: self.model.file().to_owned(),
                    reason: "its training algorithm has no f32 scalar among its outputs and no \
                             Gradient; name its loss among the outputs of the algorithm"
                        .to_owned(),
                });
            }
        }
        Ok(imported)
    }
}

fn outputs(graph: &GraphProto) -> impl Iterator<Item = &str> {
    graph.output.iter().map(|o| o.name.as_str())
}

fn stored_names(graph: &GraphProto) -> impl Iterator<Item = &str> {
    let sparse = graph.sparse_initializer.iter().filter_map(|t| t.values.as_ref());
    graph.initializer.iter().chain(sparse).map(|t| t.name.as_str())
}

fn decode(model: &Model, name: &str, proto: &TensorProto) -> Result<Tensor, OnnxError> {
    let decoded = tensor::decode(proto, model.dir());
    decoded.map(|d| d.tensor).map_err(|reason| OnnxError::Tensor {
        file: model.file().to_owned(),
        tensor: name.to_owned(),
        reason,
    })
}

fn densify(model: &Model, name: &str, proto: &SparseTensorProto) -> Result<Tensor, OnnxError> {
    let decoded = tensor::densify(proto, model.dir());
    decoded.map(|d| d.tensor).map_err(|reason| OnnxError::Tensor {
        file: model.file().to_owned(),
        tensor: name.to_owned(),
        reason,
    })
}

/// The initialization graph of an info, if any variable takes its outputs.
fn start(model: &Model, info: &TrainingInfoProto) -> Result<Option<Start>, OnnxError> {
    let Some(graph) =
        info.initialization.as_ref().filter(|_| !info.initialization_binding.is_empty())
    else {
        return Ok(None);
    };
    let mut initializers = Vec::new();
    for dense in &graph.initializer {
        let tensor = decode(model, &dense.name, dense)?;
        initializers.push(NamedTensor { name: dense.name.clone(), tensor });
    }
    for sparse in &graph.sparse_initializer {
        let Some(values) = &sparse.values else { continue };
        let tensor = densify(model, &values.name, sparse)?;
        initializers.push(NamedTensor { name: values.name.clone(), tensor });
    }
    let binding = info.initialization_binding.iter().map(|b| (b.key.clone(), b.value.clone()));
    Ok(Some(Start {
        model: model.with_graph(graph.clone(), initializers),
        binding: binding.collect(),
    }))
}
