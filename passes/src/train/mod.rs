//! Training steps: from a lowered graph with a loss to graphs that also hold the gradients,
//! clipping, schedule and parameter update, all in the program's arithmetic.
//!
//! A step reads Data, Param and State inputs. For every parameter and state that it changes it has
//! an output of the input's name; its other outputs are metrics, scalars, the loss first.

mod optimizer;
mod schedule;
mod spec;

use thiserror::Error;

pub use schedule::{Curve, Schedule};
pub use spec::{Adam, AdamWForm, Decayed, Metric, Optimizer, OptionError, TrainSpec};

use crate::arith::Arith;
use crate::build::Cx;
use crate::grad::{GradError, differentiate};
use crate::ir::{DType, Graph, GraphError, InputKind, NodeId, Origin, Region, Tensor, TensorType};
use optimizer::{Site, States, shared, update};

/// Why there is no training step.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum TrainError {
    /// The loss is not an output.
    #[error("the graph has no output '{loss}' to take as the loss (it has: {})", .known.join(", "))]
    NoLoss {
        /// As asked for.
        loss: String,
        /// What there is.
        known: Vec<String>,
    },
    /// Parameters that do not exist, all of them.
    #[error("the graph has no parameter {} (it has: {})", .unknown.join(", "), .known.join(", "))]
    UnknownParams {
        /// As asked for.
        unknown: Vec<String>,
        /// What there is.
        known: Vec<String>,
    },
    /// The loss depends on no parameter.
    #[error("there is nothing to train: the loss '{0}' depends on none of the parameters")]
    NothingToTrain(String),
    /// Numbers that make no sense, all of them.
    #[error("{}", .0.join("; "))]
    Spec(Vec<String>),
    /// The loss cannot be differentiated.
    #[error(transparent)]
    Grad(#[from] GradError),
    /// Terms that do not fit, such as a state of a name that is taken.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// The graphs of a training step.
#[derive(Clone, Debug)]
pub struct TrainGraphs {
    /// One update. Without accumulation it holds forward, backward and update; with it, it reads
    /// the sums of `micro`, updates, and sets the sums back to zero.
    pub step: Graph,
    /// With accumulation: forward and backward of one micro-batch, to be run `accumulate` times
    /// before each `step`. It adds gradients and metrics to the states `acc.<name>` and has no
    /// metrics of its own.
    pub micro: Option<Graph>,
    /// Values at the start of the State inputs that were added.
    pub initial: Vec<(String, Tensor)>,
    /// Names of the metrics of `step`, in its output order, the loss first.
    pub metrics: Vec<String>,
    /// Parameters that the loss does not depend on; they stay as they are.
    pub independent: Vec<String>,
}

/// Start of the names of outputs that are gradients.
const GRADIENT: &str = "grad.";

/// Build the training step of a lowered graph. A graph with an output `grad.<parameter>` for each
/// trained parameter brings its own gradients; for others they are derived from the loss. One with
/// outputs of the names of parameters brings its own updates and gets no optimizer.
///
/// `params` names the parameters to train, all if it is empty. Outputs of the graph that have the
/// name of a State input are that state's update and stay; other scalar f32 outputs become metrics;
/// the rest (logits) is left out. A State input `rng` (i32\[2\]: seed, counter) counts up if
/// nothing else updates it.
///
/// # Errors
/// If loss or parameters are not there, the numbers make no sense or the loss cannot be
/// differentiated.
pub fn build_step(
    graph: &Graph,
    loss: &str,
    params: &[String],
    spec: &TrainSpec,
    arith: Arith,
) -> Result<TrainGraphs, TrainError> {
    let problems = spec.problems();
    if !problems.is_empty() {
        return Err(TrainError::Spec(problems));
    }
    let mut forward = Forward::new(graph, loss, params, spec, arith)?;
    if forward.trained.is_empty() {
        let out = Outputs { metrics: forward.metrics, updates: forward.updates };
        return assemble(forward.graph, None, Vec::new(), out, Vec::new());
    }
    if spec.accumulate == 1 {
        let mut states = States::default();
        let metrics = forward.metrics.clone();
        let mut out =
            finish(&mut forward.graph, &forward.trained, metrics, &mut states, (spec, arith))?;
        out.extend(forward.updates);
        return assemble(forward.graph, None, states.initial, out, forward.independent);
    }
    let (micro, initial) = accumulate(&mut forward, arith)?;
    let (step, states, out) = apply(&forward, &initial, spec, arith)?;
    let initial = initial.into_iter().chain(states).collect();
    assemble(step, Some(micro), initial, out, forward.independent)
}

/// A parameter that is trained, and its gradient.
#[derive(Clone)]
struct Trained {
    name: String,
    p: NodeId,
    g: NodeId,
}

/// Outputs of a step: first the metrics, then the new values of parameters and states.
#[derive(Default)]
struct Outputs {
    metrics: Named,
    updates: Named,
}

impl Outputs {
    fn extend(&mut self, updates: Named) {
        self.updates.extend(updates);
    }
}

/// Forward and backward.
struct Forward {
    graph: Graph,
    trained: Vec<Trained>,
    /// Scalar f32 values of shape \[\], the loss first.
    metrics: Named,
    /// The new values of the model's own states, and of parameters that it updates itself.
    updates: Named,
    independent: Vec<String>,
}

impl Forward {
    fn new(
        source: &Graph,
        loss: &str,
        params: &[String],
        spec: &TrainSpec,
        arith: Arith,
    ) -> Result<Self, TrainError> {
        let known = || source.outputs().iter().map(|(n, _)| n.clone()).collect();
        let value = source
            .find_output(loss)
            .ok_or_else(|| TrainError::NoLoss { loss: loss.into(), known: known() })?;
        let own_updates = source.outputs().iter().any(|(n, _)| is(source, n, InputKind::Param));
        let mut wanted = if own_updates { Vec::new() } else { wanted(source, params)? };
        wanted.retain(|(name, _)| !spec.frozen.contains(name));
        let mut graph = source.clone();
        let (trained, independent) = match brought(source, &wanted) {
            Some(trained) => (trained, Vec::new()),
            None => derive(&mut graph, value, wanted, spec, arith)?,
        };
        if trained.is_empty() && !own_updates {
            return Err(TrainError::NothingToTrain(loss.into()));
        }
        if own_updates && spec.accumulate > 1 {
            let reason = "the model's own updates cannot follow several micro-batches";
            return Err(TrainError::Spec(vec![reason.into()]));
        }
        let (metrics, updates) = sort_outputs(&mut graph, loss, value)?;
        Ok(Forward { graph, trained, metrics, updates, independent })
    }
}

/// Whether there is an input of that name and kind.
fn is(graph: &Graph, name: &str, kind: InputKind) -> bool {
    graph.find_input(name).is_some_and(|i| i.kind == kind)
}

/// Gradients that the graph brings as outputs `grad.<parameter>`, if it has them all.
fn brought(graph: &Graph, wanted: &[(String, NodeId)]) -> Option<Vec<Trained>> {
    let gradient = |(name, p): &(String, NodeId)| {
        let g = graph.find_output(&format!("{GRADIENT}{name}"))?;
        let fits = graph.ty(g) == graph.ty(*p);
        fits.then(|| Trained { name: name.clone(), p: *p, g })
    };
    wanted.iter().map(gradient).collect()
}

/// Differentiate; also names the parameters that the loss does not depend on.
fn derive(
    graph: &mut Graph,
    loss: NodeId,
    wanted: Vec<(String, NodeId)>,
    spec: &TrainSpec,
    arith: Arith,
) -> Result<(Vec<Trained>, Vec<String>), TrainError> {
    let nodes: Vec<NodeId> = wanted.iter().map(|(_, p)| *p).collect();
    let made = differentiate(graph, arith, loss, &nodes, &spec.grad)?;
    let (mut trained, mut independent) = (Vec::new(), Vec::new());
    for ((name, p), g) in wanted.into_iter().zip(made.values) {
        if made.independent.contains(&p) {
            independent.push(name);
        } else {
            trained.push(Trained { name, p, g });
        }
    }
    Ok((trained, independent))
}

fn wanted(graph: &Graph, params: &[String]) -> Result<Vec<(String, NodeId)>, TrainError> {
    let all: Vec<_> = graph
        .inputs()
        .iter()
        .filter(|i| i.kind == InputKind::Param && graph.ty(i.node).dtype == DType::F32)
        .map(|i| (i.name.clone(), i.node))
        .collect();
    let known: Vec<String> = all.iter().map(|(n, _)| n.clone()).collect();
    let unknown: Vec<String> = params.iter().filter(|p| !known.contains(p)).cloned().collect();
    if !unknown.is_empty() {
        return Err(TrainError::UnknownParams { unknown, known });
    }
    Ok(all.into_iter().filter(|(n, _)| params.is_empty() || params.contains(n)).collect())
}

type Named = Vec<(String, NodeId)>;
type Initial = Vec<(String, Tensor)>;

/// Metrics (the loss first, under its name) and state updates among the outputs of a graph, which
/// has none afterwards.
fn sort_outputs(
    graph: &mut Graph,
    loss: &str,
    value: NodeId,
) -> Result<(Named, Named), TrainError> {
    let outputs = graph.outputs().to_vec();
    graph.clear_outputs();
    let is_updated = |graph: &Graph, name: &str| {
        is(graph, name, InputKind::State) || is(graph, name, InputKind::Param)
    };
    let mut metrics = vec![(loss.to_string(), value)];
    let mut updates = Vec::new();
    for (name, value) in outputs {
        let ty = graph.ty(value);
        if is_updated(graph, &name) {
            updates.push((name, value));
        } else if name != loss
            && !name.starts_with(GRADIENT)
            && ty.dtype == DType::F32
            && ty.len() == 1
        {
            metrics.push((name, value));
        }
    }
    let mut cx = Cx::new(graph, origin("metric"), Arith::PAM);
    metrics.iter_mut().for_each(|(_, value)| *value = cx.reshape(*value, &[]));
    cx.finish(())?;
    let key = TensorType::new(DType::I32, [2]);
    let rng = graph.find_input("rng").filter(|i| i.kind == InputKind::State).map(|i| i.node);
    let idle = !updates.iter().any(|(n, _)| n == "rng");
    if let Some(rng) = rng.filter(|rng| idle && *graph.ty(*rng) == key) {
        let mut cx = Cx::new(graph, origin("rng"), Arith::PAM);
        let tick = cx.constant(Tensor::vector(vec![0i32, 1]));
        let next = cx.add(rng, tick);
        updates.push(("rng".into(), cx.finish(next)?));
    }
    Ok((metrics, updates))
}

fn origin(op: &str) -> Origin {
    Origin { op: op.into(), ..Origin::new("").in_region(Region::Optimizer) }
}

/// Append clipping, schedule and update; returns all outputs but the model's own states.
fn finish(
    graph: &mut Graph,
    trained: &[Trained],
    metrics: Named,
    states: &mut States,
    (spec, arith): (&TrainSpec, Arith),
) -> Result<Outputs, TrainError> {
    let mut out = Outputs { metrics, ..Outputs::default() };
    let mut cx = Cx::new(graph, origin("clip"), arith);
    let mut gradients: Vec<NodeId> = trained.iter().map(|t| t.g).collect();
    if spec.clip_norm.is_some() || spec.metrics.contains(&Metric::GradNorm) {
        let norm = norm(&mut cx, &gradients);
        out.metrics.push(("grad_norm".into(), norm));
        if let Some(limit) = spec.clip_norm {
            gradients = shorten(&mut cx, &gradients, norm, limit as f32);
        }
    }
    cx.origin = origin("schedule");
    let lr = rate(&mut cx, states, spec);
    if spec.metrics.contains(&Metric::LearningRate) {
        out.metrics.push(("lr".into(), lr));
    }
    cx.origin = origin(spec.optimizer.name());
    let common = shared(&mut cx, states, &spec.optimizer, lr);
    for (t, g) in trained.iter().zip(gradients) {
        cx.origin = Origin { source: t.name.as_str().into(), ..origin(spec.optimizer.name()) };
        let decays = spec.decayed == Decayed::All || cx.shape(t.p).len() > 1;
        let decay = if decays { spec.weight_decay } else { 0.0 };
        let site = Site { name: &t.name, p: t.p, g, decay };
        let new = update(&mut cx, states, &spec.optimizer, common, site);
        out.updates.push((t.name.clone(), new));
    }
    cx.finish(())?;
    out.extend(std::mem::take(&mut states.updated));
    Ok(out)
}

/// √Σ g ⊙ g over all gradients, in their order.
fn norm(cx: &mut Cx<'_>, gradients: &[NodeId]) -> NodeId {
    let mut total = None;
    for &g in gradients {
        let axes: Vec<usize> = (0..cx.shape(g).len()).collect();
        let square = cx.mul(g, g);
        let sum = cx.sum(square, &axes, false);
        total = Some(total.map_or(sum, |t| cx.add(t, sum)));
    }
    let total = total.unwrap_or_else(|| cx.scalar(0f32));
    cx.sqrt(total)
}

/// g ⊙ min(1, limit ⊘ norm); a norm of 0 gives limit ⊘ 0 = ∞ and so 1.
fn shorten(cx: &mut Cx<'_>, gradients: &[NodeId], norm: NodeId, limit: f32) -> Vec<NodeId> {
    let (limit, one) = (cx.scalar(limit), cx.scalar(1f32));
    let share = cx.div(limit, norm);
    let share = cx.min(one, share);
    gradients.iter().map(|&g| cx.mul(g, share)).collect()
}

fn rate(cx: &mut Cx<'_>, states: &mut States, spec: &TrainSpec) -> NodeId {
    if spec.schedule.is_fixed() {
        return cx.scalar(spec.lr as f32);
    }
    let step = states.declare(cx, "step", Tensor::scalar(0i32));
    let one = cx.scalar(1i32);
    let next = cx.add(step, one);
    states.update("step", next);
    spec.schedule.rate(cx, spec.lr, step)
}

fn sum_of(name: &str) -> String {
    format!("acc.{name}")
}

/// The graph of a micro-batch, and where its sums start.
fn accumulate(forward: &mut Forward, arith: Arith) -> Result<(Graph, Initial), TrainError> {
    let mut graph = forward.graph.clone();
    let mut states = States::default();
    let mut cx = Cx::new(&mut graph, origin("accumulate"), arith);
    let gradients = forward.trained.iter().map(|t| (t.name.as_str(), t.g));
    let metrics = forward.metrics.iter().map(|(n, v)| (n.as_str(), *v));
    for (name, value) in gradients.chain(metrics) {
        let start = Tensor::zeros(&cx.ty(value));
        let before = states.declare(&mut cx, &sum_of(name), start);
        let after = cx.add(before, value);
        states.update(sum_of(name), after);
    }
    cx.finish(())?;
    graph.name = format!("{}_micro", graph.name);
    for (name, value) in states.updated.into_iter().chain(std::mem::take(&mut forward.updates)) {
        graph.output(name, value)?;
    }
    Ok((graph, states.initial))
}

/// The graph that updates from the sums of the micro-batches and sets them back.
fn apply(
    forward: &Forward,
    sums: &[(String, Tensor)],
    spec: &TrainSpec,
    arith: Arith,
) -> Result<(Graph, Initial, Outputs), TrainError> {
    let mut graph = Graph::new(forward.graph.name.clone());
    let mut cx = Cx::new(&mut graph, origin("accumulate"), arith);
    let average = |cx: &mut Cx<'_>, name: &str, ty: TensorType| {
        let sum = cx.input(&sum_of(name), ty, InputKind::State);
        match spec.accumulate {
            n if n.is_power_of_two() => cx.scale2(sum, -(n.trailing_zeros() as i32)),
            n => cx.div_const(sum, n as f32),
        }
    };
    let mut trained = Vec::new();
    for t in &forward.trained {
        let ty = forward.graph.ty(t.p).clone();
        let p = cx.input(&t.name, ty.clone(), InputKind::Param);
        let g = average(&mut cx, &t.name, ty);
        trained.push(Trained { name: t.name.clone(), p, g });
    }
    let mut metrics = Vec::new();
    for (name, _) in &forward.metrics {
        metrics.push((name.clone(), average(&mut cx, name, TensorType::f32([]))));
    }
    let zeros: Named =
        sums.iter().map(|(name, start)| (name.clone(), cx.constant(start.clone()))).collect();
    cx.finish(())?;
    let mut states = States::default();
    let mut out = finish(&mut graph, &trained, metrics, &mut states, (spec, arith))?;
    out.extend(zeros);
    Ok((graph, states.initial, out))
}

fn assemble(
    mut step: Graph,
    micro: Option<Graph>,
    initial: Initial,
    out: Outputs,
    independent: Vec<String>,
) -> Result<TrainGraphs, TrainError> {
    let metrics = out.metrics.iter().map(|(n, _)| n.clone()).collect();
    for (name, value) in out.metrics.into_iter().chain(out.updates) {
        step.output(name, value)?;
    }
    Ok(TrainGraphs { step, micro, initial, metrics, independent })
}
