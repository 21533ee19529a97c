//! Multiplication-free programs as ONNX models that any runtime executes bit for bit.
//!
//! Every primitive of f32 becomes a call of a function of the model whose body is made of integer
//! operators; sums become loops in the order of the numeric contract. `BitCast` needs operator set
//! 26. No float operator takes part but addition, rounding, comparison and conversion.

mod body;
mod functions;
mod nodes;
mod random;
mod slopes;
mod sums;

use std::collections::{BTreeMap, HashMap, HashSet};

use pamc_passes::interpret::flush;
use pamc_passes::ir::{DType, Graph, InputKind, NodeId, Tensor};
use pamc_passes::program::Program;
use prost::Message;

use super::proto::{GraphProto, ModelProto, OperatorSetIdProto};
use body::{Body, DOMAIN, element, tensor, value};

/// The operator set that has `BitCast`, and the file format that goes with it.
const OPSET: i64 = 26;
const IR_VERSION: i64 = 13;

/// Why a program cannot be written as ONNX.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExportError {
    /// Ordinary arithmetic has no exact counterpart.
    #[error(
        "--emit onnx writes multiplication-free programs; in ordinary arithmetic the file would be the model it came from"
    )]
    Ordinary,
    /// Operations without an exact counterpart, all of them.
    #[error("no ONNX operators compute the bits of {}", .0.join(", "))]
    Inexpressible(Vec<String>),
}

/// The program as the bytes of an ONNX model. Parameters and states with a value in `stored` are its
/// initializers, the others inputs. An output that is the new value of an input `x` is called
/// `x.next`.
///
/// # Errors
/// See [`ExportError`].
pub fn export(
    program: &Program,
    stored: &BTreeMap<String, Tensor>,
    producer_version: &str,
) -> Result<Vec<u8>, ExportError> {
    if !program.is_mul_free() {
        return Err(ExportError::Ordinary);
    }
    let graph = program.graph();
    let mut walk = Walk::new(graph);
    walk.inputs(stored);
    walk.nodes()?;
    walk.outputs();
    let opset = |domain: &str, version| OperatorSetIdProto { domain: domain.into(), version };
    let opset_import = vec![opset("", OPSET), opset(DOMAIN, 1)];
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "pamc".into(),
        producer_version: producer_version.into(),
        functions: functions::all(&opset_import),
        opset_import,
        graph: Some(GraphProto { node: walk.body.nodes, ..walk.out }),
        ..ModelProto::default()
    };
    Ok(model.encode_to_vec())
}

struct Walk<'g> {
    graph: &'g Graph,
    names: HashMap<NodeId, String>,
    body: Body,
    out: GraphProto,
}

impl<'g> Walk<'g> {
    fn new(graph: &'g Graph) -> Self {
        // A prefix that no name of the program begins with.
        let taken: HashSet<&str> = graph
            .inputs()
            .iter()
            .map(|i| i.name.as_str())
            .chain(graph.outputs().iter().map(|(n, _)| n.as_str()))
            .collect();
        let mut prefix = "%".to_owned();
        while taken.iter().any(|n| n.starts_with(&prefix)) {
            prefix.push('%');
        }
        let out = GraphProto { name: graph.name.clone(), ..GraphProto::default() };
        Walk { graph, names: HashMap::new(), body: Body::new(&prefix), out }
    }

    fn inputs(&mut self, stored: &BTreeMap<String, Tensor>) {
        for input in self.graph.inputs() {
            let ty = self.graph.ty(input.node);
            let kept = stored.get(&input.name).filter(|_| input.kind != InputKind::Data);
            let mut name = input.name.clone();
            match kept {
                Some(t) => self.out.initializer.push(tensor(&name, &flush(t))),
                None => {
                    self.out.input.push(value(&name, element(ty.dtype), Some(&ty.shape)));
                    if ty.dtype == DType::F32 {
                        self.body.origin.clone_from(&input.name);
                        name = self.body.call("flush", &[&input.name]);
                    }
                }
            }
            self.names.insert(input.node, name);
        }
    }

    fn nodes(&mut self) -> Result<(), ExportError> {
        let live = self.graph.live();
        let mut missing = Vec::new();
        for (id, node) in self.graph.nodes().filter(|(id, _)| live[id.index()]) {
            if self.names.contains_key(&id) {
                continue;
            }
            let operands: Vec<(String, _)> = node
                .inputs
                .iter()
                .map(|i| (self.names.get(i).cloned().unwrap_or_default(), self.graph.ty(*i)))
                .collect();
            let operands: Vec<_> = operands.iter().map(|(n, t)| (n.as_str(), *t)).collect();
            self.body.origin = node.origin.to_string();
            let made = node.op.prim().map(|p| nodes::translate(&mut self.body, p, &operands, node));
            match made {
                Some(Ok(name)) => drop(self.names.insert(id, name)),
                _ => missing.push(format!("{} ({})", node.op.name, node.origin)),
            }
        }
        if missing.is_empty() { Ok(()) } else { Err(ExportError::Inexpressible(missing)) }
    }

    fn outputs(&mut self) {
        for (name, node) in self.graph.outputs() {
            let ty = self.graph.ty(*node);
            let name = match self.graph.find_input(name) {
                Some(_) => format!("{name}.next"),
                None => name.clone(),
            };
            let from = self.names.get(node).cloned().unwrap_or_default();
            self.body.push("", "Identity", &[&from], &[&name], Vec::new());
            self.out.output.push(value(&name, element(ty.dtype), Some(&ty.shape)));
        }
    }
}
