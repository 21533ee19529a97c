//! Where models come from: ONNX files, ONNX Runtime training folders, text graphs, built-in models.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use pamc_passes::arith::Arith;
use pamc_passes::build::Cx;
use pamc_passes::ir::{self, Dims, Extent, Graph, InputKind, NodeId, Tensor, TensorType};
use pamc_passes::train::{Adam, AdamWForm, Optimizer};

use crate::dsl::{Init, Loss, LossKind, Mode, RNG};
use crate::error::Error;
use crate::models;
use crate::onnx::{self, ImportOptions};
use crate::runtime::data::Dataset;
use crate::runtime::metrics::Objective;

/// A model, found and read but not yet built for particular sizes.
pub enum Source {
    /// A built-in model by its name and options.
    BuiltIn(String),
    /// A text graph.
    Text {
        /// Its file.
        path: PathBuf,
        /// Its text.
        text: String,
    },
    /// An ONNX model.
    Onnx(Box<onnx::Model>),
    /// What ONNX Runtime training wrote into a folder.
    TrainingSet(Box<onnx::OnnxTrainingSet>),
}

/// A model, ready for the pipeline.
pub struct Model {
    /// The graph of real operations.
    pub graph: Graph,
    /// First values of parameters and states.
    pub initial: BTreeMap<String, Tensor>,
    /// The loss it is trained with unless another is asked for.
    pub loss: Option<Loss>,
    /// What the user should know about the import.
    pub notes: Vec<String>,
}

/// Where the gradients of a training set come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Gradients {
    /// From the loss, by pamc's own rules, so that exact derivatives can be chosen
    #[default]
    Derive,
    /// From the gradient nodes in the file, rewritten like all others
    File,
}

/// A model with its loss.
pub struct TrainingModel {
    /// Outputs `loss`, next values of states, and with gradients from the file `grad.<parameter>`.
    pub graph: Graph,
    /// The same model at inference, for evaluation.
    pub forward: Graph,
    /// First values of parameters and states.
    pub initial: BTreeMap<String, Tensor>,
    /// Output of `forward` that is evaluated.
    pub output: String,
    /// Data input that it is compared with.
    pub target: String,
    /// How it is compared.
    pub objective: Objective,
    /// Optimizer that the file names, with its weight decay and the norm it clips to.
    pub optimizer: Option<(Optimizer, f64, Option<f64>)>,
    /// What the user should know about the import.
    pub notes: Vec<String>,
}

/// A data input with the extents it is left open in.
pub struct OpenInput {
    /// Name.
    pub name: String,
    /// Extents, symbols unbound.
    pub extents: Vec<Extent>,
}

impl Source {
    /// Find a model by what the user wrote: `@name`, a file or a folder.
    ///
    /// # Errors
    /// If there is none, or its file cannot be read.
    pub fn open(model: &str) -> Result<Source, Error> {
        if model.starts_with('@') {
            // Built once to say at once what is wrong with its name or options.
            models::build(model, Some(1), Mode::Infer)?;
            return Ok(Source::BuiltIn(model.to_string()));
        }
        let path = Path::new(model);
        if path.is_dir() {
            return Ok(Source::TrainingSet(Box::new(onnx::OnnxTrainingSet::load(path)?)));
        }
        match path.extension().and_then(|e| e.to_str()) {
            Some("onnx") => Ok(Source::Onnx(Box::new(onnx::Model::load(path)?))),
            Some("pam") => {
                let text =
                    std::fs::read_to_string(path).map_err(|e| Error::file("read", path, e))?;
                Ok(Source::Text { path: path.to_owned(), text })
            }
            _ => Err(Error::usage(format!(
                "'{model}' is no model: give a .onnx or .pam file, a folder written by ONNX Runtime \
                 training, or one of {}",
                models::MODELS
                    .iter()
                    .map(|m| format!("@{}", m.name))
                    .collect::<Vec<_>>()
                    .join(", ")
            ))),
        }
    }

    /// The ONNX file of the model at inference, which trained weights can be written into.
    ///
    /// # Errors
    /// If the model does not come from one.
    pub fn inference_file(&self) -> Result<PathBuf, Error> {
        match self {
            Source::Onnx(model) => Ok(model.file().to_owned()),
            Source::TrainingSet(set) => set.forward_file().ok_or_else(|| {
                Error::usage(
                    "the folder holds no forward.onnx to write the weights into; put it there, or \
                     save them as .safetensors",
                )
            }),
            _ => Err(Error::usage(
                "only a model that comes from an ONNX file can be saved as one; save the weights \
                 as .safetensors",
            )),
        }
    }

    /// The data inputs with their open extents; none for built-in models, which know their sizes.
    fn open_inputs(&self) -> Result<Vec<OpenInput>, Error> {
        match self {
            Source::BuiltIn(_) => Ok(Vec::new()),
            Source::Text { path, text } => {
                let declared = ir::parse_inputs(text)
                    .map_err(|source| Error::Text { path: path.clone(), source })?;
                let data = declared.into_iter().filter(|d| d.kind == InputKind::Data);
                Ok(data.map(|d| OpenInput { name: d.name, extents: d.extents }).collect())
            }
            Source::Onnx(model) => Ok(opened(model.data_extents()?)),
            Source::TrainingSet(set) => Ok(opened(set.data_extents()?)),
        }
    }

    /// Characters in one window of a model that reads text, as `ids` of fixed length.
    ///
    /// # Errors
    /// As [`Source::build`].
    pub fn text_context(&self) -> Result<Option<usize>, Error> {
        let window = |extents: &[Extent]| match extents {
            [_, Extent::Size(n)] => Some(*n),
            _ => None,
        };
        if let Source::BuiltIn(name) = self {
            let model = models::build(name, Some(1), Mode::Infer)?;
            let ids = model.graph.find_input("ids").map(|i| model.graph.shape(i.node));
            return Ok(ids.filter(|s| s.len() == 2).map(|s| s[1]));
        }
        let inputs = self.open_inputs()?;
        Ok(inputs.iter().find(|i| i.name == "ids").and_then(|i| window(&i.extents)))
    }

    /// Complete the sizes given by the user with those that the data shows: the first symbol of an
    /// input is the batch (times the positions of a sample, where the input takes them in a row), the
    /// others are read off the arrays of the same name.
    ///
    /// # Errors
    /// If the text of the model cannot be read.
    pub fn bind(&self, dims: &Dims, batch: usize, data: &Dataset) -> Result<Dims, Error> {
        let mut out = dims.clone();
        out.entry("batch".into()).or_insert(batch);
        for input in self.open_inputs()? {
            let shape = data.ty(&input.name).map(|t| t.shape).unwrap_or_default();
            let same_rank = shape.len() == input.extents.len();
            let mut rest = 1;
            for (axis, extent) in input.extents.iter().enumerate().skip(1) {
                rest *= match extent {
                    Extent::Size(n) => *n,
                    Extent::Symbol(s) if same_rank => *out.entry(s.clone()).or_insert(shape[axis]),
                    Extent::Symbol(s) => out.get(s).copied().unwrap_or(1),
                };
            }
            if let Some(Extent::Symbol(first)) = input.extents.first() {
                let sample: usize = shape.iter().skip(1).product();
                out.entry(first.clone()).or_insert(batch * (sample / rest.max(1)).max(1));
            }
        }
        Ok(out)
    }

    /// Build the model with all sizes known.
    ///
    /// # Errors
    /// All unbound dimensions, or everything unsupported, at once.
    pub fn build(&self, dims: &Dims, mode: Mode, seed: u64) -> Result<Model, Error> {
        match self {
            Source::BuiltIn(name) => {
                let model = models::build(name, dims.get("batch").copied(), mode)?;
                let initial = model.initial(seed).into_iter().collect();
                Ok(Model { graph: model.graph, initial, loss: model.loss, notes: Vec::new() })
            }
            Source::Text { path, text } => {
                let graph = ir::parse(text, dims)
                    .map_err(|source| Error::Text { path: path.clone(), source })?;
                let initial = graph
                    .inputs()
                    .iter()
                    .filter(|i| i.kind != InputKind::Data)
                    .map(|i| {
                        (i.name.clone(), start(&graph, i).tensor(&i.name, graph.ty(i.node), seed))
                    })
                    .collect();
                Ok(Model { graph, initial, loss: None, notes: Vec::new() })
            }
            Source::Onnx(model) => {
                let options = ImportOptions { dims: sizes(dims), ..ImportOptions::default() };
                Ok(imported(model.import(&options)?, seed))
            }
            Source::TrainingSet(set) => {
                let mut model = imported(set.graphs(&sizes(dims))?.forward, seed);
                model.initial = set_state(set);
                Ok(model)
            }
        }
    }

    /// Build the model with its loss, for training.
    ///
    /// # Errors
    /// As [`Source::build`]; if there is no loss to train with, or it does not fit the model.
    pub fn build_training(
        &self,
        dims: &Dims,
        loss: Option<Loss>,
        gradients: Gradients,
        seed: u64,
    ) -> Result<TrainingModel, Error> {
        if let Source::TrainingSet(set) = self {
            return training_set(set, dims, loss.is_some(), gradients);
        }
        if gradients == Gradients::File {
            return Err(Error::usage(
                "only a folder written by ONNX Runtime training holds gradients; leave out --gradients file",
            ));
        }
        let forward = self.build(dims, Mode::Infer, seed)?;
        let mut model = self.build(dims, Mode::Train, seed)?;
        let mut loss = loss.or(model.loss).ok_or_else(|| {
            Error::usage("this model does not say what it is trained for: give --loss, such as --loss cross_entropy")
        })?;
        if model.graph.find_output(&loss.output).is_none()
            && let [(only, _)] = &results(&model.graph)[..]
        {
            loss.output = only.clone();
        }
        let value = loss.attach(&mut model.graph)?;
        let objective = objective(&loss, &forward.graph)?;
        let states: Vec<_> = model.graph.outputs().to_vec();
        model.graph.clear_outputs();
        model.graph.output("loss", value)?;
        for (name, node) in states {
            if model.graph.find_input(&name).is_some() {
                model.graph.output(name, node)?;
            }
        }
        Ok(TrainingModel {
            graph: model.graph,
            forward: forward.graph,
            initial: model.initial,
            output: loss.output,
            target: loss.target,
            objective,
            optimizer: None,
            notes: model.notes,
        })
    }
}

/// Where a parameter of a text graph starts: small random matrices, other values zero.
fn start(graph: &Graph, input: &ir::Input) -> Init {
    match graph.shape(input.node) {
        [.., fan_in, _] if input.kind == InputKind::Param => Init::fan_in(*fan_in),
        _ => Init::Zeros,
    }
}

/// Outputs that are results, not next values of states.
fn results(graph: &Graph) -> Vec<(String, NodeId)> {
    graph.outputs().iter().filter(|(n, _)| graph.find_input(n).is_none()).cloned().collect()
}

fn sizes(dims: &Dims) -> HashMap<String, usize> {
    dims.iter().map(|(n, s)| (n.clone(), *s)).collect()
}

fn opened(inputs: Vec<(String, Vec<Extent>)>) -> Vec<OpenInput> {
    inputs.into_iter().map(|(name, extents)| OpenInput { name, extents }).collect()
}

fn imported(import: onnx::Imported, seed: u64) -> Model {
    let stored = import.parameters.into_iter().chain(import.states);
    let mut initial: BTreeMap<_, _> = stored.map(|p| (p.name, p.tensor)).collect();
    if let Some(key) = import.graph.find_input(RNG) {
        initial.insert(RNG.into(), Init::Key.tensor(RNG, import.graph.ty(key.node), seed));
    }
    let notes = import.converted.iter().map(ToString::to_string).collect();
    Model { graph: import.graph, initial, loss: None, notes }
}

/// Trained parameters and running statistics of a training set.
fn set_state(set: &onnx::OnnxTrainingSet) -> BTreeMap<String, Tensor> {
    let all = set.parameters().iter().chain(set.states());
    all.map(|p| (p.name.clone(), p.tensor.clone())).collect()
}

fn training_set(
    set: &onnx::OnnxTrainingSet,
    dims: &Dims,
    other_loss: bool,
    gradients: Gradients,
) -> Result<TrainingModel, Error> {
    if other_loss {
        return Err(Error::usage(
            "the folder brings its own loss; to train with another, give its forward.onnx with --loss",
        ));
    }
    let graphs = set.graphs(&sizes(dims))?;
    let batch = dims.get("batch").copied().unwrap_or(1);
    let chosen = match gradients {
        Gradients::Derive => graphs.loss,
        Gradients::File => set.own_gradients(&graphs.dims)?,
    };
    let forward = graphs.forward.graph;
    let [(output, value), ..] = &results(&forward)[..] else {
        return Err(Error::usage("the model of the folder has no output"));
    };
    let target = chosen
        .graph
        .inputs()
        .iter()
        .find(|i| i.kind == InputKind::Data && forward.find_input(&i.name).is_none());
    let Some(target) = target else {
        return Err(Error::usage("the loss of the folder is compared with no input"));
    };
    let (scores, labels) = (forward.shape(*value), chosen.graph.ty(target.node));
    let objective = if labels.dtype.is_int() {
        let without = |axis: usize| [&scores[..axis], &scores[axis + 1..]].concat();
        let second = scores.len() > 1 && without(1) == labels.shape;
        let axis = if second { 1 } else { scores.len().saturating_sub(1) };
        Objective::Classes { axis, ignore: Some(-100) }
    } else {
        Objective::Regression
    };
    let (output, target) = (output.clone(), target.name.clone());
    Ok(TrainingModel {
        graph: batch_first(&chosen.graph, batch)?,
        forward,
        initial: set_state(set),
        output,
        target,
        objective,
        optimizer: Some(optimizer(set.optimizer())),
        notes: chosen.converted.iter().map(ToString::to_string).collect(),
    })
}

/// Give every data input the batch as its first axis: one that takes its samples one after the other,
/// such as the labels of all positions in a row, is reshaped inside.
fn batch_first(graph: &Graph, batch: usize) -> Result<Graph, Error> {
    let mut out = Graph::new(graph.name.clone());
    let mut map = HashMap::new();
    for input in graph.inputs() {
        let ty = graph.ty(input.node).clone();
        let flat = input.kind == InputKind::Data
            && ty.shape.first() != Some(&batch)
            && ty.len().is_multiple_of(batch);
        let shape = if flat { vec![batch, ty.len() / batch] } else { ty.shape.clone() };
        let made = TensorType::new(ty.dtype, shape);
        let mut node = out.input(input.name.clone(), made, input.kind)?;
        let origin = graph.node(input.node).origin.clone();
        out.set_origin(node, origin.clone());
        if flat {
            let mut cx = Cx::new(&mut out, origin, Arith::PAM);
            let shaped = cx.reshape(node, &ty.shape);
            node = cx.finish(shaped)?;
        }
        map.insert(input.node, node);
    }
    for (id, node) in graph.nodes() {
        if map.contains_key(&id) {
            continue;
        }
        let inputs: Vec<NodeId> = node.inputs.iter().map(|i| map[i]).collect();
        map.insert(id, out.add(node.op, &inputs, node.attrs.clone(), node.origin.clone())?);
    }
    for (name, value) in graph.outputs() {
        out.output(name.clone(), map[value])?;
    }
    Ok(out)
}

fn optimizer(spec: &onnx::OptimizerSpec) -> (Optimizer, f64, Option<f64>) {
    let clip = spec.max_norm.map(f64::from);
    match spec.rule {
        onnx::UpdateRule::Sgd => (Optimizer::Sgd { momentum: 0.0, nesterov: false }, 0.0, clip),
        onnx::UpdateRule::AdamW {
            beta1,
            beta2,
            epsilon,
            weight_decay,
            correct_bias,
            decay_last,
        } => {
            let adam = Adam {
                beta1: f64::from(beta1),
                beta2: f64::from(beta2),
                eps: f64::from(epsilon),
                correct_bias,
            };
            let form = if decay_last { AdamWForm::HuggingFace } else { AdamWForm::Torch };
            (Optimizer::AdamW(adam, form), f64::from(weight_decay), clip)
        }
    }
}

fn objective(loss: &Loss, forward: &Graph) -> Result<Objective, Error> {
    let ignore = match loss.kind {
        LossKind::CrossEntropy { ignore_index, .. } | LossKind::Nll { ignore_index } => {
            ignore_index
        }
        LossKind::Mse => return Ok(Objective::Regression),
        LossKind::L1 => return Ok(Objective::Absolute),
        LossKind::BceWithLogits => return Ok(Objective::Binary),
    };
    let output = forward.find_output(&loss.output).ok_or_else(|| {
        Error::usage(format!("the model has no output '{}' to compute a loss from", loss.output))
    })?;
    let axis = forward.shape(output).len().checked_sub(1);
    let axis = axis.ok_or_else(|| Error::usage("a scalar has no class axis"))?;
    Ok(Objective::Classes { axis, ignore })
}
