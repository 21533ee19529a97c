//! Graphs inside nodes: branches are chosen and loops unrolled at import.

use std::collections::{HashMap, HashSet};

use pamc_passes::ir::Region;

use super::context::{Walk, origin};
use super::interface::{ancestors, reads};
use super::site;
use super::value::{Build, Fault, Made, Typed, Value};
use crate::onnx::error::OnnxError;
use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto};
use crate::onnx::tensor;

/// Most nodes of bodies that a model may unfold to.
const MAX_UNROLLED: usize = 1 << 18;

/// Why a body was not translated.
pub(super) enum Stop {
    /// Of its node.
    Fault(Fault),
    /// Of the whole file.
    Fatal(OnnxError),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Stop::Fault(fault)
    }
}

impl From<OnnxError> for Stop {
    fn from(error: OnnxError) -> Self {
        Stop::Fatal(error)
    }
}

pub(super) type Done = Result<Vec<Typed>, Stop>;

pub(super) fn invalid<T>(why: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Fault(Fault::Invalid(why.into())))
}

/// A node with graphs inside it.
#[derive(Clone, Copy)]
pub(super) struct Control<'a> {
    node: &'a NodeProto,
    region: Region,
}

impl<'a> Control<'a> {
    pub fn attr(&self, name: &str) -> Option<&'a AttributeProto> {
        self.node.attribute.iter().find(|a| a.name == name)
    }

    pub fn graph(&self, name: &str) -> Result<&'a GraphProto, Stop> {
        match self.attr(name).and_then(|a| a.g.as_deref()) {
            Some(graph) => Ok(graph),
            None => invalid(format!("it has no graph `{name}`")),
        }
    }

    /// A list attribute of `n` integers, or that many zeros.
    pub fn ints(&self, name: &str, n: usize) -> Result<Vec<i64>, Stop> {
        match self.attr(name) {
            None => Ok(vec![0; n]),
            Some(a) if a.ints.len() == n => Ok(a.ints.clone()),
            Some(a) => invalid(format!("`{name}` is {:?} for {n} values", a.ints)),
        }
    }

    pub fn name(&self) -> &'a str {
        match self.node.name.as_str() {
            "" => self.node.output.first().map_or("", String::as_str),
            name => name,
        }
    }
}

/// A truth value known now.
pub(super) fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Const(t) => t.item::<bool>(),
        _ => None,
    }
}

impl<'a> Walk<'a> {
    /// The results of an `If`, `Loop`, `Scan` or `SequenceMap`.
    pub(super) fn control(
        &mut self,
        node: &'a NodeProto,
        region: Region,
        opset: i64,
    ) -> Result<Made<Vec<Typed>>, OnnxError> {
        let inputs = match self.operands(node) {
            Ok(inputs) => inputs,
            Err(fault) => return Ok(Err(fault)),
        };
        let at = Control { node, region };
        let done = match node.op_type.as_str() {
            "If" => self.branch(at, inputs),
            "Loop" => self.repeat(at, inputs),
            "Scan" if opset < 9 => self.scan_batch(at, inputs),
            "Scan" => self.scan(at, inputs),
            _ => self.map(at, inputs),
        };
        match done {
            Ok(made) => Ok(Ok(made)),
            Err(Stop::Fault(fault)) => Ok(Err(fault)),
            Err(Stop::Fatal(error)) => Err(error),
        }
    }

    pub(super) fn build(&mut self, at: Control<'a>) -> Build<'_> {
        let origin = origin(at.node, at.region, &self.place);
        Build { folds: self.held.folds(), graph: &mut self.out.graph, origin }
    }

    /// The outputs of a graph inside a node; its nodes get `place` before their names.
    pub(super) fn body(
        &mut self,
        at: Control<'a>,
        graph: &'a GraphProto,
        inputs: Vec<Typed>,
        place: &str,
    ) -> Done {
        if graph.input.len() != inputs.len() {
            let (takes, given) = (graph.input.len(), inputs.len());
            return invalid(format!("its graph takes {takes} values, but is given {given}"));
        }
        self.unrolled += graph.node.len() + 1;
        if self.unrolled > MAX_UNROLLED {
            return invalid(format!("its graphs unfold to more than {MAX_UNROLLED} nodes"));
        }
        self.scopes.push(HashMap::new());
        let outside = std::mem::replace(&mut self.place, place.to_owned());
        let made = self.inside(at, graph, inputs);
        self.place = outside;
        self.scopes.pop();
        made
    }

    fn inside(&mut self, at: Control<'a>, graph: &'a GraphProto, inputs: Vec<Typed>) -> Done {
        for (input, value) in graph.input.iter().zip(inputs) {
            self.define(&input.name, Some(value))?;
        }
        let dir = self.model.dir();
        for t in &graph.initializer {
            let decoded = tensor::decode(t, dir).map_err(|reason| OnnxError::Tensor {
                file: self.model.file().to_owned(),
                tensor: t.name.clone(),
                reason,
            })?;
            let value = (Value::Const(decoded.tensor), site::elem(t.data_type));
            self.define(&t.name, Some(value))?;
        }
        let outputs: Vec<&'a str> = graph.output.iter().map(|o| o.name.as_str()).collect();
        let needed = ancestors(&graph.node, outputs.iter().copied());
        let taken = needed.iter().flat_map(|&i| reads(&graph.node[i]));
        let used: HashSet<&str> = taken.chain(outputs.iter().copied()).collect();
        for (i, node) in graph.node.iter().enumerate() {
            if needed.contains(&i) {
                let wanted = node.output.iter().map(|o| used.contains(o.as_str())).collect();
                self.node(node, at.region, wanted)?;
            }
        }
        let value = |name: &&str| match self.find_value(name) {
            Some(Some(value)) => Ok(value.clone()),
            Some(None) => Err(Stop::Fault(Fault::Reported)),
            None => invalid(format!("nothing in its graph computes `{name}`")),
        };
        outputs.iter().map(value).collect()
    }

    /// The branch that is taken; where that is not known yet, a choice between the results of both.
    fn branch(&mut self, at: Control<'a>, inputs: Vec<Option<Typed>>) -> Done {
        let Some(Some((condition, _))) = inputs.into_iter().next() else {
            return invalid("it has no condition");
        };
        let place = self.place.clone();
        if let Some(taken) = truth(&condition) {
            let graph = at.graph(if taken { "then_branch" } else { "else_branch" })?;
            return self.body(at, graph, Vec::new(), &place);
        }
        let (yes, no) = (at.graph("then_branch")?, at.graph("else_branch")?);
        let yes = self.body(at, yes, Vec::new(), &place)?;
        let no = self.body(at, no, Vec::new(), &place)?;
        let mut b = self.build(at);
        let condition = b.reshape(&condition, &[])?;
        let choose = |((a, elem), (c, _)): (Typed, Typed)| {
            if b.ty(&a) != b.ty(&c) {
                return Err(Fault::Advised {
                    reason: "the condition is computed at run time, and its branches give results \
                             of different shapes"
                        .to_owned(),
                    way_out: "give the branches one shape, or make the condition a constant"
                        .to_owned(),
                });
            }
            Ok((b.select(&condition, &a, &c)?, elem))
        };
        Ok(yes.into_iter().zip(no).map(choose).collect::<Made<Vec<_>>>()?)
    }
}

impl Build<'_> {
    /// Element `at` of an axis, which is dropped.
    pub fn pick(&mut self, x: &Value, axis: usize, at: usize) -> Made {
        let part = self.slice(x, axis, at, 1)?;
        let mut shape = self.shape(&part);
        shape.remove(axis);
        self.reshape(&part, &shape)
    }

    /// Values of one shape along a new axis.
    pub fn stack(&mut self, values: &[Value], axis: i64) -> Made {
        let Some(first) = values.first() else {
            return Err(Fault::Invalid("nothing to stack".to_owned()));
        };
        let mut shape = self.shape(first);
        let axis =
            pamc_passes::ops::normalize_axis(axis, shape.len() + 1).map_err(Fault::Invalid)?;
        shape.insert(axis, 1);
        let parts = values.iter().map(|v| self.reshape(v, &shape)).collect::<Made<Vec<_>>>()?;
        self.concat(&parts.iter().collect::<Vec<_>>(), axis)
    }
}
