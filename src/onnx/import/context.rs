//! The walk over a graph: interface, constants, nodes, outputs.

use std::collections::{HashMap, HashSet};

use pamc_passes::ir::{Graph, InputKind, NodeId, Origin, Region};

use super::interface::{Statistics, ancestors, reads, updates_statistics};
use super::ops::{self, Row, find};
use super::site::{Operands, Site};
use super::trainable::Roles;
use super::value::{Build, Fault, Held, Typed, Value};
use super::{ImportOptions, Imported};
use crate::onnx::Model;
use crate::onnx::error::{NodeRef, OnnxError, Unsupported};
use crate::onnx::proto::NodeProto;

/// Translates the graph of `model`.
pub(in crate::onnx) fn import(
    model: &Model,
    options: &ImportOptions,
) -> Result<Imported, OnnxError> {
    let mut walk = Walk::new(model, options)?;
    walk.interface()?;
    walk.nodes()?;
    walk.outputs()?;
    Ok(walk.out)
}

pub(super) struct Walk<'a> {
    pub(super) model: &'a Model,
    pub(super) options: &'a ImportOptions,
    /// Values by ONNX name, of the graph and of the bodies being walked inside it; `None` for
    /// results of nodes that could not be translated.
    pub(super) scopes: Vec<HashMap<&'a str, Option<Typed>>>,
    /// Where in the iterations of loops the walk is, before the names of their nodes.
    pub(super) place: String,
    /// Nodes of bodies walked so far.
    pub(super) unrolled: usize,
    needed: Needed<'a>,
    pub(super) statistics: Statistics<'a>,
    pub(super) roles: Roles<'a>,
    pub(super) held: Held,
    pub(super) unsupported: Vec<Unsupported>,
    pub(super) out: Imported,
}

/// Which nodes matter to the outputs, and to which part of a training program they belong.
struct Needed<'a> {
    outputs: Vec<&'a str>,
    any: HashSet<usize>,
    /// Names that those nodes take or that are outputs.
    used: HashSet<&'a str>,
    forward: Option<HashSet<usize>>,
    loss: HashSet<usize>,
}

impl<'a> Needed<'a> {
    fn new(model: &'a Model, options: &'a ImportOptions) -> Self {
        let all = model.graph().output.iter().map(|o| o.name.as_str());
        let chosen =
            |o: &&str| options.outputs.is_empty() || options.outputs.iter().any(|n| n == o);
        let outputs: Vec<&str> = all.filter(chosen).collect();
        let names = |list: &'a [String]| list.iter().map(String::as_str);
        let regions = &options.regions;
        let updates = options.updates.iter().map(|(_, value)| value.as_str());
        let ends: Vec<&str> = outputs.iter().copied().chain(updates).collect();
        let any = ancestors(&model.graph().node, ends.iter().copied());
        let taken = any.iter().flat_map(|&i| reads(&model.graph().node[i]));
        let used = taken.chain(ends).collect();
        let split = !(regions.forward.is_empty() && regions.loss.is_empty());
        Needed {
            any,
            used,
            forward: split.then(|| ancestors(&model.graph().node, names(&regions.forward))),
            loss: ancestors(&model.graph().node, names(&regions.loss)),
            outputs,
        }
    }

    fn region(&self, node: usize) -> Region {
        match &self.forward {
            None => Region::Forward,
            Some(forward) if forward.contains(&node) => Region::Forward,
            Some(_) if self.loss.contains(&node) => Region::Loss,
            Some(_) => Region::Backward,
        }
    }
}

impl<'a> Walk<'a> {
    fn new(model: &'a Model, options: &'a ImportOptions) -> Result<Self, OnnxError> {
        let name = model.file().file_stem().map(|s| s.to_string_lossy().into_owned());
        let out = Imported {
            graph: Graph::new(name.unwrap_or_default()),
            parameters: Vec::new(),
            states: Vec::new(),
            fixed: Vec::new(),
            converted: Vec::new(),
        };
        let needed = Needed::new(model, options);
        let statistics = Statistics::of(&model.graph().node);
        let walk = Walk {
            model,
            options,
            scopes: vec![HashMap::new()],
            place: String::new(),
            unrolled: 0,
            needed,
            statistics,
            roles: Roles::of(model),
            held: Held::new(model.initializers().iter().map(|t| &t.tensor)),
            unsupported: Vec::new(),
            out,
        };
        let known: Vec<&str> = walk.model.graph().output.iter().map(|o| o.name.as_str()).collect();
        match options.outputs.iter().find(|o| !known.contains(&o.as_str())) {
            Some(o) => Err(walk.bad_graph(format!("there is no output `{o}`"))),
            None => Ok(walk),
        }
    }

    pub(super) fn bad_graph(&self, reason: String) -> OnnxError {
        OnnxError::Graph { file: self.model.file().to_owned(), reason }
    }

    pub(super) fn define(&mut self, name: &'a str, value: Option<Typed>) -> Result<(), OnnxError> {
        let Some(scope) = self.scopes.last_mut() else { return Ok(()) };
        match scope.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(self.bad_graph(format!("the value `{name}` is defined twice"))),
        }
    }

    /// The innermost value of that name.
    pub(super) fn find_value(&self, name: &str) -> Option<&Option<Typed>> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name))
    }

    fn node_ref(&self, node: &NodeProto) -> NodeRef {
        let first = node.output.first().cloned().unwrap_or_default();
        let official = matches!(node.domain.as_str(), "" | "ai.onnx");
        let op = &node.op_type;
        NodeRef {
            name: self.place.clone() + if node.name.is_empty() { &first } else { &node.name },
            op: if official { op.clone() } else { format!("{}.{op}", node.domain) },
            opset: self.model.opset(&node.domain).unwrap_or(0),
        }
    }

    fn nodes(&mut self) -> Result<(), OnnxError> {
        let model = self.model;
        for (i, node) in model.graph().node.iter().enumerate() {
            if self.needed.any.contains(&i) {
                let used = |name: &str| self.needed.used.contains(name);
                let wanted = node.output.iter().map(|o| !o.is_empty() && used(o)).collect();
                self.node(node, self.needed.region(i), wanted)?;
            }
        }
        if self.unsupported.is_empty() {
            return Ok(());
        }
        let items = std::mem::take(&mut self.unsupported);
        Err(OnnxError::Unsupported { file: self.model.file().to_owned(), items })
    }

    /// Translates one node and names its results.
    pub(super) fn node(
        &mut self,
        node: &'a NodeProto,
        region: Region,
        wanted: Vec<bool>,
    ) -> Result<(), OnnxError> {
        let at = self.node_ref(node);
        let outputs = match (node.domain.as_str(), node.op_type.as_str()) {
            ("" | "ai.onnx", "If" | "Loop" | "Scan" | "SequenceMap") => {
                self.control(node, region, at.opset)?
            }
            _ => match find(&node.domain, &node.op_type, at.opset) {
                Err(fault) => Err(fault),
                Ok(row) => self.translate(node, at.opset, row, region, wanted),
            },
        };
        let counted = outputs.and_then(|made| {
            self.held.count(&self.out.graph, made.iter().map(|(value, _)| value))?;
            Ok(made)
        });
        let made = match counted {
            Ok(made) => made,
            Err(Fault::Reported) => Vec::new(),
            Err(Fault::Invalid(reason)) => {
                let file = self.model.file().to_owned();
                return Err(OnnxError::Node { file, node: at, reason });
            }
            Err(fault) => {
                let (reason, way_out) = (fault.reason().to_owned(), fault.way_out());
                self.unsupported.push(Unsupported { node: at, reason, way_out });
                Vec::new()
            }
        };
        let mut made = made.into_iter();
        for output in &node.output {
            let value = made.next();
            if !output.is_empty() {
                self.define(output, value)?;
            }
        }
        Ok(())
    }

    /// A node's operands with their element types in the file.
    pub(super) fn operands(&self, node: &'a NodeProto) -> Result<Vec<Option<Typed>>, Fault> {
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            inputs.push(match self.find_value(name) {
                _ if name.is_empty() => None,
                Some(Some(value)) => Some(value.clone()),
                Some(None) => return Err(Fault::Reported),
                None => return Err(Fault::Invalid(format!("its operand `{name}` is not defined"))),
            });
        }
        Ok(inputs)
    }

    /// The values of a node's outputs.
    fn translate(
        &mut self,
        node: &'a NodeProto,
        opset: i64,
        row: &Row,
        region: Region,
        wanted: Vec<bool>,
    ) -> Result<Vec<Typed>, Fault> {
        let (inputs, elems): (Vec<_>, Vec<_>) =
            self.operands(node)?.into_iter().map(Option::unzip).unzip();
        let origin = origin(node, region, &self.place);
        let build = Build { folds: self.held.folds(), graph: &mut self.out.graph, origin };
        let operands = Operands {
            inputs,
            elems,
            wanted: wanted.clone(),
            dir: self.model.dir(),
            seeded_dropout: self.options.seeded_dropout,
        };
        let mut site = Site::new(node, opset, build, operands);
        let made = (row.make)(&mut site)?;
        if let Some(name) = site.unread().first() {
            return Err(Fault::Advised {
                reason: format!("the attribute `{name}` is unknown"),
                way_out: "leave it out, if the model means the same without it".to_owned(),
            });
        }
        if let Some(i) = (made.len()..wanted.len()).find(|&i| wanted[i]) {
            return Err(Fault::Unsupported(format!("its output {}", i + 1)));
        }
        let typed = |(i, value)| {
            let elem = ops::result_elem(&site, i, &value);
            (value, elem)
        };
        let mut made: Vec<Typed> = made.into_iter().enumerate().map(typed).collect();
        for (output, (value, _)) in node.output.iter().zip(&mut made) {
            if self.options.detached.contains(output) {
                *value = site.b.detached(value)?;
            }
        }
        if updates_statistics(node) && self.options.updates.is_empty() {
            self.update_statistics(node, &made)?;
        }
        Ok(made)
    }

    /// Results 2 and 3 of a batch normalization in training mode are the new values of the states
    /// it took as operands 4 and 5.
    fn update_statistics(&mut self, node: &NodeProto, made: &[Typed]) -> Result<(), Fault> {
        let graph = &mut self.out.graph;
        for (name, (new, _)) in node.input.iter().skip(3).zip(made.iter().skip(1)) {
            let state = graph.find_input(name).is_some_and(|i| i.kind == InputKind::State);
            if let (true, Value::Node(new)) = (state, new) {
                graph.output(name.clone(), *new)?;
            }
        }
        Ok(())
    }

    fn outputs(&mut self) -> Result<(), OnnxError> {
        for name in self.needed.outputs.clone() {
            let node = self.result(name)?;
            let named = self.out.graph.output(name, node);
            named.map_err(|e| self.bad_graph(e.to_string()))?;
        }
        for (variable, value) in &self.options.updates {
            let node = self.result(value)?;
            let Some(before) = self.out.graph.find_input(variable) else {
                return Err(self.bad_graph(format!("there is no `{variable}` to update")));
            };
            let graph = &self.out.graph;
            let (old, new) = (graph.ty(before.node), graph.ty(node));
            if old != new {
                let reason = format!(
                    "`{variable}` is {old}, but `{value}` is to be its next value \
                                      and is {new}"
                );
                return Err(self.bad_graph(reason));
            }
            let named = self.out.graph.output(variable, node);
            named.map_err(|e| self.bad_graph(e.to_string()))?;
        }
        Ok(())
    }

    /// The node of a value of the graph.
    fn result(&mut self, name: &'a str) -> Result<NodeId, OnnxError> {
        let value = match self.find_value(name) {
            Some(Some((value, _))) => value.clone(),
            _ => return Err(self.bad_graph(format!("nothing computes the output `{name}`"))),
        };
        let folds = self.held.folds();
        let mut build = Build { graph: &mut self.out.graph, origin: Origin::new(name), folds };
        let made = build.node(&value);
        made.map_err(|fault| self.bad_graph(format!("output `{name}`: {}", fault.reason())))
    }
}

/// Where a node comes from: its name, and the layer path exporters put into the name. `place` says
/// which iterations of loops it stands in.
pub(super) fn origin(node: &NodeProto, region: Region, place: &str) -> Origin {
    let name = match node.name.as_str() {
        "" => node.output.first().map_or("", String::as_str),
        name => name,
    };
    let name = format!("{place}{name}");
    let path = name.trim_start_matches('/');
    let scope = path.rsplit_once('/').map_or(String::new(), |(scope, _)| scope.replace('/', "."));
    Origin::new(name).in_scope(scope).in_region(region)
}
