//! The model under construction.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::panic::Location;
use std::sync::Arc;

use pamc_passes::ir::{
    Attrs, DType, Element, Graph, GraphError, InputKind, NodeId, Origin, Tensor, TensorType,
};
use pamc_passes::ops;

use super::{DslError, Init, Loss, Model, Problem, Var};

/// What the model is built for. Both have the same parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Dropout is active and batch statistics are used; states are updated.
    Train,
    /// Neither: what the trained model computes.
    Infer,
}

/// Name of the state that holds the key of the random bits, `i32[2]` = [seed, counter]; the
/// training step counts it up.
pub const RNG: &str = "rng";

/// A model under construction: the graph, the layer path and the parameters with their initial
/// values.
///
/// Nothing here panics or returns an error on its own: a mistake is recorded with the place in the
/// caller's source where it was made, and [`Net::finish`] returns all of them.
pub struct Net {
    mode: Mode,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    graph: Graph,
    scope: Vec<String>,
    path: Arc<str>,
    places: HashMap<(&'static str, u32), Arc<str>>,
    init: BTreeMap<String, Init>,
    problems: Vec<Problem>,
    rng: Option<NodeId>,
    streams: i64,
    loss: Option<Loss>,
}

/// Leaves the layer path again when dropped.
#[must_use = "the scope ends when this is dropped"]
pub struct Scope<'n>(&'n Net);

impl Drop for Scope<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state.borrow_mut();
        state.scope.pop();
        state.path = state.scope.join(".").into();
    }
}

impl Net {
    /// An empty model.
    pub fn new(name: impl Into<String>, mode: Mode) -> Net {
        let state = State { graph: Graph::new(name), ..State::default() };
        Net { mode, state: RefCell::new(state) }
    }

    /// What it is built for.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Enter a layer: until the guard is dropped, names and origins are below `name`.
    pub fn scope(&self, name: impl Into<String>) -> Scope<'_> {
        let mut state = self.state.borrow_mut();
        state.scope.push(name.into());
        state.path = state.scope.join(".").into();
        Scope(self)
    }

    /// A graph input fed with data on every run; the first axis counts samples.
    #[track_caller]
    pub fn input(&self, name: &str, ty: TensorType) -> Var<'_> {
        self.declare(name.into(), ty, InputKind::Data)
    }

    /// A trained `f32` parameter of the layer that is being built.
    #[track_caller]
    pub fn param(&self, name: &str, shape: &[usize], init: Init) -> Var<'_> {
        let name = self.qualified(name);
        self.state.borrow_mut().init.insert(name.clone(), init);
        self.declare(name, TensorType::f32(shape), InputKind::Param)
    }

    /// A value carried from step to step; see [`Net::update`].
    #[track_caller]
    pub fn carried(&self, name: &str, ty: TensorType, init: Init) -> Var<'_> {
        let name = self.qualified(name);
        self.state.borrow_mut().init.insert(name.clone(), init);
        self.declare(name, ty, InputKind::State)
    }

    /// Give a carried value its value for the next step: an output of the same name.
    #[track_caller]
    pub fn update(&self, name: &str, value: Var<'_>) {
        self.output(&self.qualified(name), value);
    }

    /// Name a value as an output of the model.
    #[track_caller]
    pub fn output(&self, name: &str, value: Var<'_>) {
        let Some(id) = self.own(value) else { return };
        let made = self.state.borrow_mut().graph.output(name, id);
        if let Err(e) = made {
            self.report("output", &[], e);
        }
    }

    /// The loss to train the model with unless another is asked for.
    pub fn loss(&self, loss: Loss) {
        self.state.borrow_mut().loss = Some(loss);
    }

    /// A constant tensor.
    #[track_caller]
    pub fn constant(&self, value: Tensor) -> Var<'_> {
        self.op("const", &[], Attrs::none().with("value", value))
    }

    /// A constant scalar.
    #[track_caller]
    pub fn scalar<T: Element>(&self, value: T) -> Var<'_> {
        self.constant(Tensor::scalar(value))
    }

    /// A tensor of `shape` each element of which is its own index along `axis`.
    #[track_caller]
    pub fn iota(&self, dtype: DType, shape: &[usize], axis: usize) -> Var<'_> {
        let attrs = Attrs::none().with("dtype", dtype).with("shape", shape);
        self.op("iota", &[], attrs.with("axis", axis as i64))
    }

    /// The key of the random bits and the number of the next stream, for an operation that draws.
    #[track_caller]
    pub(super) fn random_stream(&self) -> (Var<'_>, i64) {
        let known = self.state.borrow().rng;
        let key = match known {
            Some(id) => self.var(Some(id)),
            None => {
                self.state.borrow_mut().init.insert(RNG.into(), Init::Key);
                let key =
                    self.declare(RNG.into(), TensorType::new(DType::I32, [2]), InputKind::State);
                self.state.borrow_mut().rng = key.id;
                key
            }
        };
        let mut state = self.state.borrow_mut();
        state.streams += 1;
        (key, state.streams - 1)
    }

    /// Any row of the op table.
    #[track_caller]
    pub fn op<'n>(&'n self, name: &str, inputs: &[Var<'n>], attrs: Attrs) -> Var<'n> {
        let mut ids = Vec::with_capacity(inputs.len());
        for input in inputs {
            let Some(id) = self.own(*input) else { return self.poison() };
            ids.push(id);
        }
        let Some(op) = ops::lookup(name) else {
            return self.fail(name, "there is no such operation");
        };
        let origin = self.origin();
        let made = self.state.borrow_mut().graph.add(op, &ids, attrs, origin);
        match made {
            Ok(id) => self.var(Some(id)),
            Err(e) => {
                self.report(name, inputs, e);
                self.poison()
            }
        }
    }

    /// Record a mistake; the result poisons what is computed from it.
    #[track_caller]
    pub fn fail(&self, op: &str, reason: impl Into<String>) -> Var<'_> {
        let origin = self.origin();
        self.state.borrow_mut().problems.push(Problem {
            at: origin.source.to_string(),
            scope: origin.scope.to_string(),
            op: op.into(),
            operands: Vec::new(),
            reason: reason.into(),
        });
        self.poison()
    }

    /// The finished model.
    ///
    /// # Errors
    /// Every mistake made while building it, each with its place in the source.
    #[track_caller]
    pub fn finish(self) -> Result<Model, DslError> {
        if self.state.borrow().graph.outputs().is_empty() && self.state.borrow().problems.is_empty()
        {
            self.fail("finish", "the model has no output");
        }
        let State { graph, init, problems, loss, .. } = self.state.into_inner();
        if problems.is_empty() {
            Ok(Model { graph, init, loss, mode: self.mode })
        } else {
            Err(DslError { model: graph.name, problems })
        }
    }

    pub(super) fn ty(&self, id: NodeId) -> TensorType {
        self.state.borrow().graph.ty(id).clone()
    }

    fn var(&self, id: Option<NodeId>) -> Var<'_> {
        Var { net: self, id }
    }

    /// A value whose making failed, for code that has recorded why.
    pub(crate) fn poison(&self) -> Var<'_> {
        self.var(None)
    }

    fn qualified(&self, name: &str) -> String {
        match &*self.state.borrow().path {
            "" => name.into(),
            path => format!("{path}.{name}"),
        }
    }

    #[track_caller]
    fn declare(&self, name: String, ty: TensorType, kind: InputKind) -> Var<'_> {
        let origin = self.origin();
        let made = self.state.borrow_mut().graph.input(name, ty, kind);
        match made {
            Ok(id) => {
                let origin = Origin { op: "input".into(), ..origin };
                self.state.borrow_mut().graph.set_origin(id, origin);
                self.var(Some(id))
            }
            Err(e) => {
                self.report("input", &[], e);
                self.poison()
            }
        }
    }

    /// The node of a value, if it is one of this model and not poisoned.
    #[track_caller]
    fn own(&self, value: Var<'_>) -> Option<NodeId> {
        if !std::ptr::eq(self, value.net) {
            self.fail("operand", "this value belongs to another model");
            return None;
        }
        value.id
    }

    #[track_caller]
    fn report(&self, op: &str, inputs: &[Var<'_>], error: GraphError) {
        let reason = match error {
            GraphError::Op { reason, .. } => reason,
            other => other.to_string(),
        };
        let operands = inputs.iter().map(|v| v.ty().to_string()).collect();
        self.fail(op, reason);
        if let Some(last) = self.state.borrow_mut().problems.last_mut() {
            last.operands = operands;
        }
    }

    #[track_caller]
    fn origin(&self) -> Origin {
        let place = Location::caller();
        let mut state = self.state.borrow_mut();
        let source = state
            .places
            .entry((place.file(), place.line()))
            .or_insert_with(|| format!("{}:{}", tidy(place.file()), place.line()).into())
            .clone();
        Origin::new(source).in_scope(state.path.clone())
    }
}

/// A path without the `dir/..` that a module declared by path leaves in it.
fn tidy(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split(['/', '\\']) {
        match parts.last() {
            Some(&last) if part == ".." && last != ".." && !last.is_empty() => {
                parts.pop();
            }
            _ => parts.push(part),
        }
    }
    parts.join("/")
}
