//! ONNX files: at inference, with a loss of the user's choice, or with the training they describe.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use pamc_passes::arith::Arith;
use pamc_passes::build::Cx;
use pamc_passes::interpret;
use pamc_passes::ir::{DType, Dims, Extent, Graph, InputKind, NodeId, Tensor, TensorType};
use pamc_passes::manager::Manager;

use super::{Gradients, Model, OpenInput, TrainingModel, Wanted, results};
use crate::compile::{Settings, compile};
use crate::dsl::{Init, RNG};
use crate::error::Error;
use crate::onnx::{self, Algorithm, ImportOptions, Parameters};
use crate::runtime::metrics::Objective;
use crate::select::Selection;

/// Tensors that a note names.
const NAMED: usize = 8;

/// An ONNX model, with the values that some of its inputs are fixed to.
pub struct OnnxFile {
    /// The model.
    pub model: onnx::Model,
    algorithm: Option<Algorithm>,
    bind: HashMap<String, Tensor>,
}

impl OnnxFile {
    pub(super) fn load(path: &Path) -> Result<Self, Error> {
        let model = onnx::Model::load(path)?;
        let algorithm = Algorithm::of(&model)?;
        Ok(OnnxFile { model, algorithm, bind: HashMap::new() })
    }

    /// The data inputs with their open extents, of the training that the file describes too.
    pub(super) fn open_inputs(&self) -> Result<Vec<OpenInput>, Error> {
        let mut all = match &self.algorithm {
            Some(algorithm) => algorithm.data_extents()?,
            None => self.model.data_extents()?,
        };
        all.retain(|(name, _)| !self.bind.contains_key(name));
        Ok(all.into_iter().map(|(name, extents)| OpenInput { name, extents }).collect())
    }

    /// Fix inputs to values.
    pub(super) fn fix(&mut self, values: &[(String, Tensor)]) -> Result<(), Error> {
        let known: Vec<String> = self.open_inputs()?.into_iter().map(|i| i.name).collect();
        let unknown: Vec<&str> = values
            .iter()
            .map(|(n, _)| n.as_str())
            .filter(|n| !known.iter().any(|k| k == n))
            .collect();
        if !unknown.is_empty() {
            return Err(Error::usage(format!(
                "--bind {}: the model has no such input (it has: {})",
                unknown.join(", "),
                known.join(", ")
            )));
        }
        self.bind.extend(values.iter().cloned());
        Ok(())
    }

    fn options(&self, dims: &Dims, select: &Selection) -> ImportOptions {
        ImportOptions {
            dims: sizes(dims),
            bind: self.bind.clone(),
            parameters: Parameters::Selected(select.clone()),
            ..ImportOptions::default()
        }
    }

    pub(super) fn build(&self, dims: &Dims, seed: u64, select: &Selection) -> Result<Model, Error> {
        self.check(select)?;
        let batch = self.batch_dims(dims)?;
        let mut dims = dims.clone();
        dims.extend(batch.iter().map(|name| (name.clone(), 1)));
        let mut model = imported(self.model.import(&self.options(&dims, select))?, seed);
        let note = |name| format!("dimension `{name}` is 1; --dim {name}=SIZE makes it another");
        model.notes.extend(batch.iter().map(note));
        Ok(model)
    }

    /// Dimensions without a size that are nothing but the first of inputs: those of a batch, which is of
    /// one sample unless said.
    fn batch_dims(&self, dims: &Dims) -> Result<Vec<String>, Error> {
        let inputs = self.open_inputs()?;
        let open = |extent: &Extent| match extent {
            Extent::Symbol(name) if !dims.contains_key(name) => Some(name.clone()),
            _ => None,
        };
        let first: BTreeSet<String> =
            inputs.iter().filter_map(|i| i.extents.first()).filter_map(open).collect();
        let others: BTreeSet<String> =
            inputs.iter().flat_map(|i| i.extents.iter().skip(1)).filter_map(open).collect();
        Ok(first.difference(&others).cloned().collect())
    }

    /// Every pattern of the selection matches one of the file's float tensors.
    fn check(&self, select: &Selection) -> Result<(), Error> {
        let floats = self.model.initializers().iter().filter(|t| t.tensor.dtype() == DType::F32);
        select.check(&floats.map(|t| t.name.clone()).collect::<Vec<_>>())
    }

    /// The training that the file describes; `None` if it describes none, or another is asked for.
    pub(super) fn own_training(
        &self,
        dims: &Dims,
        wanted: &Wanted,
        seed: u64,
    ) -> Result<Option<TrainingModel>, Error> {
        let Some(algorithm) = self.algorithm.as_ref().filter(|_| wanted.loss.is_none()) else {
            return Ok(None);
        };
        let own_updates = wanted.gradients != Some(Gradients::Derive);
        if own_updates && !wanted.select.is_empty() {
            return Err(Error::usage(
                "the file says itself what it updates; --trainable and --frozen go with \
                 --gradients derive",
            ));
        }
        let options = self.options(dims, &Selection::default());
        let made = match own_updates {
            true => algorithm.iteration(&options)?,
            false => algorithm.loss(&options)?,
        };
        let forward = algorithm.forward(&options)?.graph;
        let (output, target, objective) = measure(&forward, &made.graph)?;
        let frozen = wanted.select.frozen_of(&super::parameters(&made.graph))?;
        let mut model = imported(made, seed);
        initialize(algorithm, &mut model, seed)?;
        let batch = dims.get("batch").copied().unwrap_or(1);
        Ok(Some(TrainingModel {
            graph: batch_first(&model.graph, batch)?,
            forward,
            initial: model.initial,
            output,
            target,
            objective,
            optimizer: None,
            own_updates,
            frozen,
            notes: model.notes,
        }))
    }
}

/// Run the initialization graphs, in ordinary floats, from the seed.
fn initialize(algorithm: &Algorithm, model: &mut Model, seed: u64) -> Result<(), Error> {
    let settings = Settings { arith: Arith::Float, train: None, manager: Manager::default() };
    for (i, (start, binding)) in algorithm.initializations()?.into_iter().enumerate() {
        let mut values = BTreeMap::new();
        if start.graph.find_input(RNG).is_some() {
            // Steps count up from 0, so no step draws what is drawn here.
            let key = vec![seed as u32 as i32, -1 - i as i32];
            values.insert(RNG.to_string(), Tensor::vector(key));
        }
        let program = compile(start.graph, &settings)?.program;
        let made = interpret::run(&program, &values.into_iter().collect())?;
        for (variable, output) in binding {
            let Some(value) = made.get(&output) else { continue };
            algorithm.check_start(&variable, value)?;
            if let Some(place) = model.initial.get_mut(&variable) {
                *place = value.clone();
            }
        }
    }
    Ok(())
}

pub(super) fn sizes(dims: &Dims) -> HashMap<String, usize> {
    dims.iter().map(|(n, s)| (n.clone(), *s)).collect()
}

/// The state of random numbers, where a graph draws some.
pub(super) fn insert_key(initial: &mut BTreeMap<String, Tensor>, graph: &Graph, seed: u64) {
    if let Some(key) = graph.find_input(RNG) {
        initial.insert(RNG.into(), Init::Key.tensor(RNG, graph.ty(key.node), seed));
    }
}

pub(super) fn imported(import: onnx::Imported, seed: u64) -> Model {
    let notes = import.converted.iter().map(ToString::to_string).collect();
    let stored = import.parameters.into_iter().chain(import.states);
    let mut initial: BTreeMap<_, _> = stored.map(|p| (p.name, p.tensor)).collect();
    insert_key(&mut initial, &import.graph, seed);
    Model { graph: import.graph, initial, loss: None, fixed: import.fixed, notes }
}

/// Which float tensors are not trained, in words.
pub(super) fn told(fixed: &[(String, &'static str)]) -> Option<String> {
    let named = fixed.iter().take(NAMED).map(|(name, why)| format!("`{name}` ({why})"));
    let named: Vec<String> = named.collect();
    let more = match fixed.len().saturating_sub(NAMED) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    (!fixed.is_empty()).then(|| {
        format!(
            "not trained: {}{more}; --trainable NAME trains them all the same",
            named.join(", ")
        )
    })
}

/// What of a model is evaluated, against which input of its loss, and how.
pub(super) fn measure(
    forward: &Graph,
    loss: &Graph,
) -> Result<(String, Option<String>, Objective), Error> {
    let [(output, value), ..] = &results(forward)[..] else {
        return Err(Error::usage("the model has no output"));
    };
    let inputs = loss.inputs().iter().filter(|i| i.kind == InputKind::Data);
    let mut inputs = inputs.filter(|i| forward.find_input(&i.name).is_none());
    let Some(target) = inputs.next_back() else {
        return Ok((output.clone(), None, Objective::Regression));
    };
    let (scores, labels) = (forward.shape(*value), loss.ty(target.node));
    let objective = if labels.dtype.is_int() && !scores.is_empty() {
        let without = |axis: usize| [&scores[..axis], &scores[axis + 1..]].concat();
        let second = scores.len() > 1 && without(1) == labels.shape;
        Objective::Classes { axis: if second { 1 } else { scores.len() - 1 }, ignore: Some(-100) }
    } else {
        Objective::Regression
    };
    Ok((output.clone(), Some(target.name.clone()), objective))
}

/// Give every data input the batch as its first axis: one that takes its samples one after the other,
/// such as the labels of all positions in a row, is reshaped inside.
pub(super) fn batch_first(graph: &Graph, batch: usize) -> Result<Graph, Error> {
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
