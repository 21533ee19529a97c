//! The tensor graph: nodes in topological order, each with its type and its origin.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use super::types::{Attrs, TensorType};
use crate::ops::Op;

/// Index of a node; every node has exactly one result, so it names a value too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl NodeId {
    /// As an array index.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Part of a training program that a node belongs to; `--grad` can address each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Region {
    /// The model itself.
    #[default]
    Forward,
    /// The loss on top of it.
    Loss,
    /// Derivatives.
    Backward,
    /// Parameter update, schedule, clipping.
    Optimizer,
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Region::Forward => "forward",
            Region::Loss => "loss",
            Region::Backward => "backward",
            Region::Optimizer => "optimizer",
        })
    }
}

/// One step in the life of a node, for `pamc explain`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// What was done: `lower`, `vjp`, `rule`, `expand`, `fold`.
    pub what: &'static str,
    /// Its name: the op lowered, the rule applied.
    pub name: Arc<str>,
    /// The term before, in the text form.
    pub before: Arc<str>,
}

/// Where a node comes from. Cheap to clone; every pass derives, never drops.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Name in the source: the ONNX node name, or `file:line` of the DSL call.
    pub source: Arc<str>,
    /// Dotted path of the enclosing layers, such as `blocks.0.attn`; empty at the top.
    pub scope: Arc<str>,
    /// The real operation this was, such as `matmul` or `softmax`; `--grad` addresses it by this name.
    pub op: Arc<str>,
    /// Part of the training program.
    pub region: Region,
    /// What was done to it, oldest first.
    pub trail: Arc<Vec<Step>>,
}

impl Default for Origin {
    fn default() -> Self {
        Origin::new("")
    }
}

impl Origin {
    /// An origin in the source, with nothing done to it yet.
    pub fn new(source: impl Into<Arc<str>>) -> Self {
        Origin {
            source: source.into(),
            scope: "".into(),
            op: "".into(),
            region: Region::Forward,
            trail: Arc::new(Vec::new()),
        }
    }

    /// The same inside a layer path.
    #[must_use]
    pub fn in_scope(mut self, scope: impl Into<Arc<str>>) -> Self {
        self.scope = scope.into();
        self
    }

    /// The same in another part of the program.
    #[must_use]
    pub fn in_region(mut self, region: Region) -> Self {
        self.region = region;
        self
    }

    /// The same with one more step done to it.
    #[must_use]
    pub fn then(
        &self,
        what: &'static str,
        name: impl Into<Arc<str>>,
        before: impl Into<Arc<str>>,
    ) -> Self {
        let mut trail = (*self.trail).clone();
        trail.push(Step { what, name: name.into(), before: before.into() });
        Origin { trail: Arc::new(trail), ..self.clone() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.scope.is_empty(), self.source.is_empty()) {
            (true, _) => f.write_str(&self.source),
            (false, true) => f.write_str(&self.scope),
            (false, false) => write!(f, "{} ({})", self.scope, self.source),
        }
    }
}

/// One operation applied to earlier values.
#[derive(Clone, Debug)]
pub struct Node {
    /// The op-table row.
    pub op: &'static Op,
    /// Operands, all with smaller ids.
    pub inputs: Vec<NodeId>,
    /// Attributes, completed with the row's defaults.
    pub attrs: Attrs,
    /// Type of the result.
    pub ty: TensorType,
    /// Where it comes from.
    pub origin: Origin,
}

/// What a graph input is, which decides who feeds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InputKind {
    /// Fed by the caller on every run.
    Data,
    /// A trained parameter.
    Param,
    /// Carried from one step to the next: optimizer moments, running statistics, counters.
    State,
}

/// A named graph input.
#[derive(Clone, Debug)]
pub struct Input {
    /// Unique name.
    pub name: String,
    /// Its node, an `input` op.
    pub node: NodeId,
    /// Who feeds it.
    pub kind: InputKind,
}

/// Errors in making a graph.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub enum GraphError {
    /// The op cannot take these operands or attributes.
    #[error("{op}{}: {reason}", at(.origin))]
    Op {
        /// Op name.
        op: String,
        /// Where the user wrote it.
        origin: String,
        /// Why not, with the shapes.
        reason: String,
    },
    /// Two inputs or two outputs of one name.
    #[error("the name '{0}' is used twice")]
    Duplicate(String),
}

fn at(origin: &str) -> String {
    if origin.is_empty() { String::new() } else { format!(" at {origin}") }
}

/// A graph: append-only nodes in topological order, named inputs and outputs.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// Name, used for the function in emitted code.
    pub name: String,
    nodes: Vec<Node>,
    inputs: Vec<Input>,
    outputs: Vec<(String, NodeId)>,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: impl Into<String>) -> Self {
        Graph { name: name.into(), ..Graph::default() }
    }

    /// Append a node; its type is inferred by the op's shape rule and missing attributes take the
    /// row's defaults.
    ///
    /// # Errors
    /// If the operands, their shapes or the attributes do not fit the op.
    pub fn add(
        &mut self,
        op: &'static Op,
        inputs: &[NodeId],
        attrs: Attrs,
        origin: Origin,
    ) -> Result<NodeId, GraphError> {
        let fail = |origin: &Origin, reason: String| GraphError::Op {
            op: op.name.to_string(),
            origin: origin.to_string(),
            reason,
        };
        if let Some(bad) = inputs.iter().find(|i| i.index() >= self.nodes.len()) {
            return Err(fail(&origin, format!("operand %{} is not defined before its use", bad.0)));
        }
        let attrs = op.complete(attrs).map_err(|r| fail(&origin, r))?;
        let types: Vec<&TensorType> = inputs.iter().map(|i| self.ty(*i)).collect();
        op.check_arity(types.len()).map_err(|r| fail(&origin, r))?;
        let ty = (op.shape)(&types, &attrs).map_err(|r| fail(&origin, r))?;
        let count = ty.shape.iter().try_fold(ty.dtype.size(), |n, &d| n.checked_mul(d));
        if count.is_none_or(|n| n > isize::MAX as usize) {
            return Err(fail(&origin, format!("a result of type {ty} is too large for memory")));
        }
        let origin =
            if origin.op.is_empty() { Origin { op: op.name.into(), ..origin } } else { origin };
        self.nodes.push(Node { op, inputs: inputs.to_vec(), attrs, ty, origin });
        Ok(NodeId(self.nodes.len() as u32 - 1))
    }

    /// Add a named input.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn input(
        &mut self,
        name: impl Into<String>,
        ty: TensorType,
        kind: InputKind,
    ) -> Result<NodeId, GraphError> {
        let name = name.into();
        if self.find_input(&name).is_some() {
            return Err(GraphError::Duplicate(name));
        }
        let attrs = Attrs::none().with("dtype", ty.dtype).with("shape", &ty.shape[..]);
        let node = self.add(crate::ops::input(), &[], attrs, Origin::new(name.as_str()))?;
        self.inputs.push(Input { name, node, kind });
        Ok(node)
    }

    /// Name a value as an output.
    ///
    /// # Errors
    /// If the name is taken.
    pub fn output(&mut self, name: impl Into<String>, value: NodeId) -> Result<(), GraphError> {
        let name = name.into();
        if self.find_output(&name).is_some() {
            return Err(GraphError::Duplicate(name));
        }
        self.outputs.push((name, value));
        Ok(())
    }

    /// Forget all outputs (to name others).
    pub fn clear_outputs(&mut self) {
        self.outputs.clear();
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// Replace the origin of a node.
    pub fn set_origin(&mut self, id: NodeId, origin: Origin) {
        self.nodes[id.index()].origin = origin;
    }

    /// Type of a value.
    pub fn ty(&self, id: NodeId) -> &TensorType {
        &self.nodes[id.index()].ty
    }

    /// Shape of a value.
    pub fn shape(&self, id: NodeId) -> &[usize] {
        &self.nodes[id.index()].ty.shape
    }

    /// All nodes, in topological order.
    pub fn nodes(&self) -> impl DoubleEndedIterator<Item = (NodeId, &Node)> + ExactSizeIterator {
        self.nodes.iter().enumerate().map(|(i, n)| (NodeId(i as u32), n))
    }

    /// Number of nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// True if there is no node.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The inputs, in order.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The outputs, in order.
    pub fn outputs(&self) -> &[(String, NodeId)] {
        &self.outputs
    }

    /// The input of that name.
    pub fn find_input(&self, name: &str) -> Option<&Input> {
        self.inputs.iter().find(|i| i.name == name)
    }

    /// The output of that name.
    pub fn find_output(&self, name: &str) -> Option<NodeId> {
        self.outputs.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }

    /// The value of a `const` node.
    pub fn constant(&self, id: NodeId) -> Option<&super::Tensor> {
        self.node(id).attrs.tensor("value")
    }

    /// For every node whether some output depends on it; inputs count as needed.
    pub fn live(&self) -> Vec<bool> {
        let mut live = vec![false; self.nodes.len()];
        self.inputs.iter().for_each(|i| live[i.node.index()] = true);
        self.outputs.iter().for_each(|(_, v)| live[v.index()] = true);
        for (id, node) in self.nodes().rev() {
            if live[id.index()] {
                node.inputs.iter().for_each(|i| live[i.index()] = true);
            }
        }
        live
    }

    /// For every node how many live operand slots and outputs use it.
    pub fn use_counts(&self) -> Vec<usize> {
        let live = self.live();
        let mut uses = vec![0; self.nodes.len()];
        for (id, node) in self.nodes() {
            if live[id.index()] {
                node.inputs.iter().for_each(|i| uses[i.index()] += 1);
            }
        }
        self.outputs.iter().for_each(|(_, v)| uses[v.index()] += 1);
        uses
    }

    /// Copy every live node of `self` into a new graph through `f`, which makes the new value of a
    /// node from its already rewritten operands. Inputs and outputs are carried over.
    ///
    /// # Errors
    /// Whatever `f` returns.
    pub fn rewrite<E: From<GraphError>>(
        &self,
        mut f: impl FnMut(&mut Graph, NodeId, &Node, &[NodeId]) -> Result<NodeId, E>,
    ) -> Result<Graph, E> {
        let live = self.live();
        let mut out = Graph::new(self.name.clone());
        let mut map: HashMap<NodeId, NodeId> = HashMap::with_capacity(self.nodes.len());
        for input in &self.inputs {
            let new = out.input(input.name.clone(), self.ty(input.node).clone(), input.kind)?;
            out.set_origin(new, self.node(input.node).origin.clone());
            map.insert(input.node, new);
        }
        for (id, node) in self.nodes() {
            if !live[id.index()] || map.contains_key(&id) {
                continue;
            }
            let inputs: Vec<NodeId> = node.inputs.iter().map(|i| map[i]).collect();
            map.insert(id, f(&mut out, id, node, &inputs)?);
        }
        for (name, value) in &self.outputs {
            out.output(name.clone(), map[value])?;
        }
        Ok(out)
    }
}
