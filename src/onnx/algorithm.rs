//! The training that a model itself describes, by `TrainingInfoProto`s.
//!
//! One iteration runs the algorithms one after the other. Each is the inference graph followed by
//! the algorithm's own graph, computed from the variables as the algorithms before have left them;
//! at its end each variable takes the value that the update binding names. Before the first
//! iteration the initialization graphs run, and variables take values by the initialization
//! binding.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use pamc_passes::ir::{DType, Extent, Tensor};

use super::checkpoint::NamedTensor;
use super::error::OnnxError;
use super::import::{ImportOptions, Imported, Parameters, Regions};
use super::inline::rename_values;
use super::model::Model;
use super::proto::{
    GraphProto, NodeProto, SparseTensorProto, StringStringEntryProto, TensorProto,
    TrainingInfoProto, ValueInfoProto,
};
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

/// The graphs of all iterations so far, in one.
struct Combination<'a> {
    model: &'a Model,
    graph: GraphProto,
    initializers: Vec<NamedTensor>,
    /// What each variable is called after the algorithms so far.
    current: HashMap<String, String>,
    updates: Vec<(String, String)>,
    loss: Option<String>,
    reported: Vec<String>,
    differentiated: Vec<String>,
    detached: HashSet<String>,
    regions: Regions,
    problems: Vec<String>,
}

impl<'a> Combination<'a> {
    fn new(model: &'a Model) -> Self {
        Combination {
            model,
            graph: model.graph().clone(),
            initializers: model.initializers().to_vec(),
            current: HashMap::new(),
            updates: Vec::new(),
            loss: None,
            reported: Vec::new(),
            differentiated: Vec::new(),
            detached: HashSet::new(),
            regions: Regions::default(),
            problems: Vec::new(),
        }
    }

    /// Appends algorithm `i`, and but for the first the inference graph before it, whose values are
    /// then called after the algorithm.
    fn append(&mut self, i: usize, info: &TrainingInfoProto) -> Result<(), OnnxError> {
        let none = GraphProto::default();
        let algorithm = info.algorithm.as_ref().unwrap_or(&none);
        let inference = self.model.graph();
        let mut kept: HashSet<&str> = HashSet::new();
        kept.extend(inference.input.iter().chain(&algorithm.input).map(|v| v.name.as_str()));
        kept.extend(stored_names(inference));
        kept.extend(info.update_binding.iter().map(|b| b.key.as_str()));
        let current = self.current.clone();
        let rename = |name: &String| match current.get(name) {
            Some(value) => value.clone(),
            None if i == 0 || name.is_empty() || kept.contains(name.as_str()) => name.clone(),
            None => format!("training_info[{i}]/{name}"),
        };
        if i > 0 {
            self.nodes(&inference.node, &rename);
        }
        self.nodes(&algorithm.node, &rename);
        let ends = inference.output.iter().map(|o| rename(&o.name));
        self.regions.forward.extend(ends);
        for input in &algorithm.input {
            if self.graph.input.iter().all(|known| known.name != input.name) {
                self.graph.input.push(input.clone());
            }
        }
        self.constants(algorithm, &rename)?;
        self.bind(i, info, algorithm, &rename);
        Ok(())
    }

    fn nodes(&mut self, nodes: &[NodeProto], rename: &dyn Fn(&String) -> String) {
        for node in nodes {
            let mut node = node.clone();
            rename_values(&mut node, rename);
            if node.op_type == "Gradient" && node.domain == "ai.onnx.preview.training" {
                self.gradient(&mut node, rename);
            }
            self.graph.node.push(node);
        }
    }

    /// A gradient names values in its attributes too.
    fn gradient(&mut self, node: &mut NodeProto, rename: &dyn Fn(&String) -> String) {
        let new = |bytes: &Bytes| match std::str::from_utf8(bytes) {
            Ok(name) => Bytes::from(rename(&name.to_owned())),
            Err(_) => bytes.clone(),
        };
        for attr in &mut node.attribute {
            match attr.name.as_str() {
                "y" => {
                    attr.s = new(&attr.s);
                    let y = String::from_utf8_lossy(&attr.s).into_owned();
                    self.loss.get_or_insert(y.clone());
                    self.regions.loss.push(y);
                }
                "xs" | "zs" => attr.strings = attr.strings.iter().map(new).collect(),
                _ => {}
            }
            if attr.name == "xs" {
                let names = attr.strings.iter().map(|s| String::from_utf8_lossy(s).into_owned());
                self.differentiated.extend(names);
            }
        }
    }

    fn constants(
        &mut self,
        algorithm: &GraphProto,
        rename: &dyn Fn(&String) -> String,
    ) -> Result<(), OnnxError> {
        for dense in &algorithm.initializer {
            let name = rename(&dense.name);
            let tensor = decode(self.model, &name, dense)?;
            self.initializers.push(NamedTensor { name: name.clone(), tensor });
            self.graph.initializer.push(TensorProto { name, ..dense.clone().without_data() });
        }
        for sparse in &algorithm.sparse_initializer {
            let Some(values) = &sparse.values else { continue };
            let name = rename(&values.name);
            let tensor = densify(self.model, &name, sparse)?;
            self.initializers.push(NamedTensor { name: name.clone(), tensor });
            let values = TensorProto { name, ..values.clone().without_data() };
            let shell = SparseTensorProto {
                values: Some(values),
                indices: None,
                dims: sparse.dims.clone(),
            };
            self.graph.sparse_initializer.push(shell);
        }
        Ok(())
    }

    fn bind(
        &mut self,
        i: usize,
        info: &TrainingInfoProto,
        algorithm: &GraphProto,
        rename: &dyn Fn(&String) -> String,
    ) {
        let stored: HashSet<&str> =
            stored_names(self.model.graph()).chain(stored_names(algorithm)).collect();
        for StringStringEntryProto { key, value } in &info.update_binding {
            if !stored.contains(key.as_str()) {
                self.problems.push(format!("`{key}` is updated, but is no initializer"));
            }
            if self.updates.iter().any(|(known, _)| known == key) {
                self.problems.push(format!("`{key}` is updated twice"));
            }
            self.updates.push((key.clone(), rename(value)));
        }
        let bound: HashSet<&str> = info.update_binding.iter().map(|b| b.value.as_str()).collect();
        let free = algorithm.output.iter().filter(|o| !bound.contains(o.name.as_str()));
        self.reported.extend(free.map(|o| rename(&o.name)));
        // Only now: an algorithm sees what it updates as it was. What the next ones see is the
        // variable, not what it was computed from: no gradient goes back through an update.
        let taken: Vec<_> =
            info.update_binding.iter().map(|b| (b.key.clone(), rename(&b.value))).collect();
        for (key, value) in taken {
            let updated = format!("training_info[{i}]/{key}");
            self.graph.node.push(NodeProto {
                input: vec![value],
                output: vec![updated.clone()],
                name: updated.clone(),
                op_type: "Identity".to_owned(),
                ..NodeProto::default()
            });
            self.detached.insert(updated.clone());
            self.current.insert(key, updated);
        }
    }

    fn check_bindings(&self) -> Result<(), OnnxError> {
        let mut problems = self.problems.clone();
        if self.updates.is_empty() {
            problems.push("its training algorithm updates nothing".to_owned());
        }
        let infos = self.model.training_info();
        for (i, info) in infos.iter().enumerate() {
            let made = info.initialization.iter().flat_map(outputs);
            let made: HashSet<&str> = made.collect();
            for StringStringEntryProto { key, value } in &info.initialization_binding {
                if !made.contains(value.as_str()) {
                    problems.push(format!("no output `{value}` of initialization {i} is there"));
                }
                let own = info.algorithm.iter().flat_map(stored_names);
                if !stored_names(self.model.graph()).chain(own).any(|name| name == key) {
                    problems.push(format!("`{key}` is initialized, but is no initializer"));
                }
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        let reason = format!("its training_info: {}", problems.join("; "));
        Err(OnnxError::Graph { file: self.model.file().to_owned(), reason })
    }

    fn finish(mut self, starts: Vec<Start>) -> Algorithm {
        if self.loss.is_none() {
            self.regions.loss = self.reported.clone();
        }
        let mut known = HashSet::new();
        let loss = self.loss.clone();
        self.reported.retain(|n| Some(n) != loss.as_ref() && known.insert(n.clone()));
        let named = |name: &String| ValueInfoProto { name: name.clone(), r#type: None };
        self.graph.output = self.loss.iter().chain(&self.reported).map(named).collect();
        Algorithm {
            model: self.model.clone(),
            combined: self.model.with_graph(self.graph, self.initializers),
            updates: self.updates,
            loss: self.loss,
            reported: self.reported,
            differentiated: self.differentiated,
            detached: self.detached,
            regions: self.regions,
            starts,
        }
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
