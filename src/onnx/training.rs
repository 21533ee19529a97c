//! The set of files ONNX Runtime's `generate_artifacts` makes for training.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use pamc_passes::ir::{Extent, Tensor};

use super::checkpoint::{Checkpoint, NamedTensor};
use super::error::OnnxError;
use super::import::{self, ImportOptions, Imported, Parameters, Regions, dims_of};
use super::model::Model;
use super::optimizer::OptimizerSpec;
use super::proto::{GraphProto, NodeProto};

/// What `training_model.onnx` calls the accumulated gradient, after the parameter's name.
const ACCUMULATED: &str = "_grad.accumulation.out";
/// The accumulator itself.
const BUFFER: &str = "_grad.accumulation.buffer";
/// The switch that makes an accumulator begin anew.
const RESET: &str = "lazy_reset_grad";

/// The files of a training set, read but not yet put together.
#[derive(Clone, Debug)]
pub struct TrainingFiles {
    /// The folder.
    pub dir: PathBuf,
    /// `forward.onnx`, which may be missing: the model at inference.
    pub forward: Option<Model>,
    /// `eval_model.onnx`: the model at inference and the loss.
    pub eval: Model,
    /// `training_model.onnx`: the model in training mode, the loss and the gradients.
    pub training: Model,
    /// `optimizer_model.onnx`.
    pub optimizer: Model,
    /// `checkpoint`: parameters and what else the set begins with.
    pub checkpoint: Checkpoint,
}

impl TrainingFiles {
    /// Reads the files of the folder `dir`.
    ///
    /// # Errors
    /// As [`Model::load`] and [`Checkpoint::load`].
    pub fn load(dir: &Path) -> Result<Self, OnnxError> {
        let forward = dir.join("forward.onnx");
        Ok(TrainingFiles {
            dir: dir.to_owned(),
            forward: if forward.is_file() { Some(Model::load(&forward)?) } else { None },
            eval: Model::load(&dir.join("eval_model.onnx"))?,
            optimizer: Model::load(&dir.join("optimizer_model.onnx"))?,
            training: Model::load(&dir.join("training_model.onnx"))?,
            checkpoint: Checkpoint::load(&dir.join("checkpoint"))?,
        })
    }
}

/// A training set: model, loss, gradients, optimizer and initial parameters.
#[derive(Clone, Debug)]
pub struct OnnxTrainingSet {
    dir: PathBuf,
    forward: Option<Model>,
    eval: Model,
    training: Model,
    checkpoint: Checkpoint,
    optimizer: OptimizerSpec,
    /// Whose outputs the loss is computed from, by name in all three models.
    model_outputs: Vec<String>,
}

/// The graphs of a training set for one choice of sizes. Parameters are inputs of kind `Param`;
/// running statistics of batch normalizations are inputs of kind `State`, with outputs of the same
/// name where they are updated.
#[derive(Clone, Debug)]
pub struct TrainingGraphs {
    /// The model at inference, named as in the file.
    pub forward: Imported,
    /// The model at inference and the loss, its only output, named `loss`.
    pub eval: Imported,
    /// The model in training mode and `loss`: what is to be differentiated.
    pub loss: Imported,
    /// Sizes of all symbolic dimensions, with those that follow from the ones given.
    pub dims: HashMap<String, usize>,
}

impl OnnxTrainingSet {
    /// Whether `dir` looks like a training set.
    pub fn is_one(dir: &Path) -> bool {
        ["training_model.onnx", "eval_model.onnx", "optimizer_model.onnx", "checkpoint"]
            .iter()
            .all(|f| dir.join(f).is_file())
    }

    /// Reads the files of the folder `dir`; `forward.onnx` may be missing.
    ///
    /// # Errors
    /// As [`TrainingFiles::load`] and [`OnnxTrainingSet::of`].
    pub fn load(dir: &Path) -> Result<Self, OnnxError> {
        Self::of(TrainingFiles::load(dir)?)
    }

    /// Puts the files of a set together.
    ///
    /// # Errors
    /// [`OnnxError::Graph`] if they do not belong together, [`OnnxError::Unsupported`] for an
    /// unknown optimizer.
    pub fn of(files: TrainingFiles) -> Result<Self, OnnxError> {
        let TrainingFiles { dir, forward, eval, mut training, optimizer, checkpoint } = files;
        let optimizer = OptimizerSpec::of(&optimizer)?;
        name_pooled_shapes(training.graph_mut());
        let model_outputs = match &forward {
            Some(model) => outputs(model),
            None => loss_operands(&eval)?,
        };
        let set =
            OnnxTrainingSet { dir, forward, eval, training, checkpoint, optimizer, model_outputs };
        set.check()?;
        Ok(set)
    }

    /// Every trained parameter has a gradient and an input, and the loss is one output.
    fn check(&self) -> Result<(), OnnxError> {
        let bad = |model: &Model, reason: String| {
            Err(OnnxError::Graph { file: model.file().to_owned(), reason })
        };
        let names: Vec<String> = outputs(&self.training);
        for p in &self.checkpoint.trainable {
            if !names.contains(&format!("{}{ACCUMULATED}", p.name)) {
                let reason = format!("it has no gradient of the parameter `{}`", p.name);
                return bad(&self.training, reason);
            }
        }
        match outputs(&self.eval).len() {
            0 => bad(&self.eval, "it has no output, so no loss".to_owned()),
            _ => Ok(()),
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The model at inference, if the folder holds it.
    pub fn forward_file(&self) -> Option<PathBuf> {
        self.forward.as_ref().map(|m| m.file().to_owned())
    }

    /// Trained parameters with their initial values.
    pub fn parameters(&self) -> &[NamedTensor] {
        &self.checkpoint.trainable
    }

    /// The checkpoint the set begins with.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The optimizer.
    pub fn optimizer(&self) -> &OptimizerSpec {
        &self.optimizer
    }

    /// Names of the data inputs: the model's, then labels or target.
    pub fn data_inputs(&self) -> Vec<String> {
        let parameter = |name: &str| self.checkpoint.parameters().any(|p| p.name == name);
        let inputs = self.eval.graph().input.iter().map(|i| i.name.clone());
        inputs.filter(|name| !parameter(name)).collect()
    }

    /// The extents of the data inputs of the model and its loss.
    ///
    /// # Errors
    /// [`OnnxError::Graph`] if an input is no tensor.
    pub fn data_extents(&self) -> Result<Vec<(String, Vec<Extent>)>, OnnxError> {
        let data = self.data_inputs();
        let mut all = self.eval.data_extents()?;
        all.retain(|(name, _)| data.contains(name));
        Ok(all)
    }

    /// Builds the graphs. Symbolic dimensions need sizes in `dims`, except those that follow: the
    /// model's output shape is known once its inputs' are, and labels may be counted by it.
    ///
    /// # Errors
    /// As [`Model::import`].
    pub fn graphs(&self, dims: &HashMap<String, usize>) -> Result<TrainingGraphs, OnnxError> {
        let mut options = self.options(dims.clone());
        let forward = self.forward(&options)?;
        options.dims.extend(match &self.forward {
            Some(model) => implied_dims(model, &forward, dims),
            None => self.dims_of_labels(&forward, dims)?,
        });
        let loss_name = outputs(&self.eval).swap_remove(0);
        options.regions =
            Regions { forward: self.model_outputs.clone(), loss: vec![loss_name.clone()] };
        options.outputs = vec![loss_name.clone()];
        let eval = rename(self.eval.import(&options)?, &loss_name);
        self.begin_accumulators_anew(&mut options);
        let loss = rename(self.training.import(&options)?, &loss_name);
        Ok(TrainingGraphs { forward, eval, loss, dims: options.dims })
    }

    /// Labels are declared as large as the model's output, or as that without its last axis, the
    /// classes.
    fn dims_of_labels(
        &self,
        forward: &Imported,
        known: &HashMap<String, usize>,
    ) -> Result<HashMap<String, usize>, OnnxError> {
        let mut found = HashMap::new();
        let output = self.model_outputs.first().and_then(|o| forward.graph.find_output(o));
        let Some(shape) = output.map(|node| forward.graph.shape(node)) else { return Ok(found) };
        for (_, extents) in self.data_extents()? {
            if extents.len() != shape.len() && extents.len() + 1 != shape.len() {
                continue;
            }
            for (extent, &size) in extents.into_iter().zip(shape) {
                if let Extent::Symbol(name) = extent
                    && !known.contains_key(&name)
                {
                    found.entry(name).or_insert(size);
                }
            }
        }
        Ok(found)
    }

    /// Like [`TrainingGraphs::loss`], with the file's own gradients: an output `grad.<parameter>`
    /// for each trained parameter. `dims` are [`TrainingGraphs::dims`].
    ///
    /// # Errors
    /// As [`Model::import`].
    pub fn own_gradients(&self, dims: &HashMap<String, usize>) -> Result<Imported, OnnxError> {
        let mut options = self.options(dims.clone());
        let loss_name = outputs(&self.eval).swap_remove(0);
        options.regions =
            Regions { forward: self.model_outputs.clone(), loss: vec![loss_name.clone()] };
        self.begin_accumulators_anew(&mut options);
        Ok(rename(self.training.import(&options)?, &loss_name))
    }

    /// What accumulators hold after they are begun anew is the gradient.
    fn begin_accumulators_anew(&self, options: &mut ImportOptions) {
        options.bind.insert(RESET.to_owned(), Tensor::full(&[1], true));
        for p in self.parameters() {
            let buffer = Tensor::zeros(&p.tensor.ty());
            options.bind.insert(format!("{}{BUFFER}", p.name), buffer);
        }
    }

    /// Trained parameters are parameters, running statistics state, other frozen ones constants.
    fn options(&self, dims: HashMap<String, usize>) -> ImportOptions {
        let trained = self.checkpoint.trainable.iter().map(|p| p.name.clone());
        let state = import::updated_statistics(&self.training);
        let frozen = self.checkpoint.frozen.iter().filter(|p| !state.contains(&p.name));
        ImportOptions {
            dims,
            bind: frozen.map(|p| (p.name.clone(), p.tensor.clone())).collect(),
            parameters: Parameters::Named(trained.collect()),
            state,
            ..ImportOptions::default()
        }
    }

    /// Running statistics with their initial values.
    pub fn states(&self) -> Vec<&NamedTensor> {
        let state = import::updated_statistics(&self.training);
        self.checkpoint.frozen.iter().filter(|p| state.contains(&p.name)).collect()
    }

    /// The part of the evaluation model above the loss. `forward.onnx` itself is taken where the
    /// evaluation model names things otherwise: it is exported in training mode.
    fn forward(&self, options: &ImportOptions) -> Result<Imported, OnnxError> {
        let made = self.eval.graph().node.iter().flat_map(|n| &n.output);
        let made: Vec<&String> = made.collect();
        match &self.forward {
            Some(model) if !self.model_outputs.iter().all(|o| made.contains(&o)) => {
                model.import(options)
            }
            _ => self.forward_of_eval(options),
        }
    }

    fn forward_of_eval(&self, options: &ImportOptions) -> Result<Imported, OnnxError> {
        let mut eval = self.eval.clone();
        eval.end_at(&self.model_outputs);
        eval.import(options)
    }
}

fn outputs(model: &Model) -> Vec<String> {
    model.graph().output.iter().map(|o| o.name.clone()).collect()
}

/// Without `forward.onnx`: what the model ends in. The nodes of the loss are those that ONNX
/// Runtime's script has put behind the model: it calls their results `onnx::kind::number`.
fn loss_operands(eval: &Model) -> Result<Vec<String>, OnnxError> {
    let graph = eval.graph();
    let made: HashSet<&str> =
        graph.node.iter().flat_map(|n| &n.output).map(String::as_str).collect();
    let of_loss = |name: &str| {
        let mut parts = name.split("::");
        parts.next() == Some("onnx")
            && parts.next().is_some()
            && parts.next().is_some_and(|n| n.parse::<u64>().is_ok())
            && parts.next().is_none()
    };
    let loss = graph.output.first().map(|o| o.name.as_str());
    let loss_nodes = graph.node.iter().filter(|n| {
        n.output.iter().any(|o| of_loss(o))
            || n.op_type == "SoftmaxCrossEntropyLoss"
                && n.output.first().map(String::as_str) == loss
    });
    let operands = loss_nodes.flat_map(|n| match n.op_type.as_str() {
        "SoftmaxCrossEntropyLoss" => &n.input[..n.input.len().min(1)],
        _ => &n.input[..],
    });
    let mut found: Vec<String> = Vec::new();
    for name in operands.filter(|name| made.contains(name.as_str()) && !of_loss(name)) {
        if !found.contains(name) {
            found.push(name.clone());
        }
    }
    if found.is_empty() {
        return Err(OnnxError::Graph {
            file: eval.file().to_owned(),
            reason: "cannot tell the model from its loss; put forward.onnx beside it".to_owned(),
        });
    }
    Ok(found)
}

/// Dimensions that the model's declared output shapes name and its computed ones give a size.
fn implied_dims(
    model: &Model,
    imported: &Imported,
    known: &HashMap<String, usize>,
) -> HashMap<String, usize> {
    let mut found = HashMap::new();
    for output in &model.graph().output {
        let Some(node) = imported.graph.find_output(&output.name) else { continue };
        let Ok((_, declared)) = dims_of(output) else { continue };
        for (dim, &size) in declared.into_iter().zip(imported.graph.shape(node)) {
            if let Extent::Symbol(name) = dim
                && !known.contains_key(&name)
            {
                found.insert(name, size);
            }
        }
    }
    found
}

/// Calls the loss `loss`, which becomes the first output, and the gradient of `p` `grad.p`.
fn rename(mut imported: Imported, loss: &str) -> Imported {
    imported.rename_outputs(loss, |name| {
        name.strip_suffix(ACCUMULATED).map(|parameter| format!("grad.{parameter}"))
    });
    imported
}

/// Some versions of ONNX Runtime write `AveragePoolGrad` with the gradient alone, though the shape
/// of what was pooled does not follow from it: puts that shape first, as the others write it. The
/// gradient of a value `y` is called `y_grad`.
fn name_pooled_shapes(graph: &mut GraphProto) {
    let pooled: HashMap<String, String> = graph
        .node
        .iter()
        .filter(|n| n.op_type == "AveragePool")
        .filter_map(|n| Some((format!("{}_grad", n.output.first()?), n.input.first()?.clone())))
        .collect();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        let alone = node.op_type == "AveragePoolGrad" && node.input.len() == 1;
        if let Some(x) = node.input.first().and_then(|g| pooled.get(g)).filter(|_| alone) {
            let shape = format!("{}/pooled_shape", node.name);
            nodes.push(NodeProto {
                input: vec![x.clone()],
                output: vec![shape.clone()],
                name: shape.clone(),
                op_type: "Shape".to_owned(),
                ..NodeProto::default()
            });
            node.input.insert(0, shape);
        }
        nodes.push(node);
    }
    graph.node = nodes;
}
