//! The graphs of an iteration, put together.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::{Algorithm, Start, decode, densify, outputs, stored_names};
use crate::onnx::checkpoint::NamedTensor;
use crate::onnx::error::OnnxError;
use crate::onnx::import::Regions;
use crate::onnx::inline::rename_values;
use crate::onnx::model::Model;
use crate::onnx::proto::{
    GraphProto, NodeProto, SparseTensorProto, StringStringEntryProto, TensorProto,
    TrainingInfoProto, ValueInfoProto,
};

/// The graphs of all iterations so far, in one.
pub(super) struct Combination<'a> {
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
    pub(super) fn new(model: &'a Model) -> Self {
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
    pub(super) fn append(&mut self, i: usize, info: &TrainingInfoProto) -> Result<(), OnnxError> {
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

    pub(super) fn check_bindings(&self) -> Result<(), OnnxError> {
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

    pub(super) fn finish(mut self, starts: Vec<Start>) -> Algorithm {
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
