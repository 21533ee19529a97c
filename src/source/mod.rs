//! Where models come from: ONNX files, ONNX Runtime training folders, text graphs, built-in models.

mod onnx_file;
mod training_set;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pamc_passes::ir::{self, Dims, Extent, Graph, InputKind, NodeId, Tensor};
use pamc_passes::train::Optimizer;

use crate::dsl::{Init, Loss, LossKind, Mode};
use crate::error::Error;
use crate::models;
use crate::onnx;
use crate::runtime::data::Dataset;
use crate::runtime::metrics::Objective;
use crate::select::Selection;

pub use onnx_file::OnnxFile;

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
    Onnx(Box<OnnxFile>),
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
    /// Float tensors of an ONNX file that are no parameters, each with the reason.
    pub fixed: Vec<(String, &'static str)>,
    /// What the user should know about the import.
    pub notes: Vec<String>,
}

/// How a model is to be trained.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// The loss, in place of the model's own.
    pub loss: Option<Loss>,
    /// Where gradients come from, if the user says so.
    pub gradients: Option<Gradients>,
    /// Which parameters.
    pub select: Selection,
}

/// Where the gradients of a file that describes its training come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Gradients {
    /// From the loss, by pamc's own rules, so that exact derivatives can be chosen
    #[default]
    Derive,
    /// From the nodes in the file, rewritten like all others; of an ONNX model that describes its
    /// training itself, the updates too
    File,
}

/// A model with its loss.
pub struct TrainingModel {
    /// Outputs `loss`, next values of states, and with gradients from the file `grad.<parameter>`,
    /// with updates from the file the next values of parameters.
    pub graph: Graph,
    /// The same model at inference, for evaluation.
    pub forward: Graph,
    /// First values of parameters and states.
    pub initial: BTreeMap<String, Tensor>,
    /// Output of `forward` that is evaluated.
    pub output: String,
    /// Data input that it is compared with, if there is one.
    pub target: Option<String>,
    /// How it is compared.
    pub objective: Objective,
    /// Optimizer that the file names, with its weight decay and the norm it clips to.
    pub optimizer: Option<(Optimizer, f64, Option<f64>)>,
    /// Whether the file says how its parameters are updated.
    pub own_updates: bool,
    /// Parameters that stay as they are.
    pub frozen: Vec<String>,
    /// What the user should know about the import.
    pub notes: Vec<String>,
}

impl TrainingModel {
    /// The data input that the output is compared with.
    ///
    /// # Errors
    /// If there is none.
    pub fn compared(&self) -> Result<&str, Error> {
        self.target.as_deref().ok_or_else(|| {
            Error::usage("the model's loss compares with no input, so it cannot be evaluated")
        })
    }
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
            Some("onnx") => Ok(Source::Onnx(Box::new(OnnxFile::load(path)?))),
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

    /// Fix inputs of an ONNX model to values: what depends on them alone is computed at import.
    ///
    /// # Errors
    /// If it is no ONNX model or has no such input.
    pub fn fix(&mut self, values: &[(String, Tensor)]) -> Result<(), Error> {
        match self {
            _ if values.is_empty() => Ok(()),
            Source::Onnx(file) => file.fix(values),
            _ => Err(Error::usage("--bind gives values to inputs of .onnx models only")),
        }
    }

    /// The ONNX file of the model at inference, which trained weights can be written into.
    ///
    /// # Errors
    /// If the model does not come from one.
    pub fn inference_file(&self) -> Result<PathBuf, Error> {
        match self {
            Source::Onnx(file) => Ok(file.model.file().to_owned()),
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
            Source::Onnx(file) => file.open_inputs(),
            Source::TrainingSet(set) => {
                let all = set.data_extents()?.into_iter();
                Ok(all.map(|(name, extents)| OpenInput { name, extents }).collect())
            }
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
            let array = data.ty(&input.name);
            if array.is_none() && matches!(self, Source::TrainingSet(_)) {
                // Sizes of labels that are not given follow from the model's output.
                continue;
            }
            let shape = array.map(|t| t.shape).unwrap_or_default();
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
        self.build_selected(dims, mode, seed, &Selection::default())
    }

    /// The same with the parameters of an ONNX file selected.
    fn build_selected(
        &self,
        dims: &Dims,
        mode: Mode,
        seed: u64,
        select: &Selection,
    ) -> Result<Model, Error> {
        let plain = |graph, initial, loss| Model {
            graph,
            initial,
            loss,
            fixed: Vec::new(),
            notes: Vec::new(),
        };
        match self {
            Source::BuiltIn(name) => {
                let model = models::build(name, dims.get("batch").copied(), mode)?;
                let initial = model.initial(seed).into_iter().collect();
                Ok(plain(model.graph, initial, model.loss))
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
                Ok(plain(graph, initial, None))
            }
            Source::Onnx(file) => file.build(dims, seed, select),
            Source::TrainingSet(set) => {
                let graphs = set.graphs(&onnx_file::sizes(dims))?;
                let mut model = onnx_file::imported(graphs.forward, seed);
                model.initial = training_set::state(set);
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
        wanted: &Wanted,
        seed: u64,
    ) -> Result<TrainingModel, Error> {
        if let Source::TrainingSet(set) = self {
            return training_set::training(set, dims, wanted, seed);
        }
        if let Source::Onnx(file) = self
            && let Some(own) = file.own_training(dims, wanted, seed)?
        {
            return Ok(own);
        }
        if wanted.gradients == Some(Gradients::File) {
            return Err(Error::usage(
                "only a folder written by ONNX Runtime training and a model with training_info hold \
                 gradients; leave out --gradients file",
            ));
        }
        let forward = self.build_selected(dims, Mode::Infer, seed, &wanted.select)?;
        let mut model = self.build_selected(dims, Mode::Train, seed, &wanted.select)?;
        let mut loss = wanted.loss.clone().or(model.loss).ok_or_else(|| {
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
        let frozen = match self {
            Source::Onnx(_) => Vec::new(),
            _ => wanted.select.frozen_of(&parameters(&model.graph))?,
        };
        let mut notes = model.notes;
        notes.extend(onnx_file::told(&model.fixed));
        Ok(TrainingModel {
            graph: model.graph,
            forward: forward.graph,
            initial: model.initial,
            output: loss.output,
            target: Some(loss.target),
            objective,
            optimizer: None,
            own_updates: false,
            frozen,
            notes,
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

/// Names of the parameters.
fn parameters(graph: &Graph) -> Vec<String> {
    let all = graph.inputs().iter().filter(|i| i.kind == InputKind::Param);
    all.map(|i| i.name.clone()).collect()
}

/// Outputs that are results, not next values of states.
fn results(graph: &Graph) -> Vec<(String, NodeId)> {
    graph.outputs().iter().filter(|(n, _)| graph.find_input(n).is_none()).cloned().collect()
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
