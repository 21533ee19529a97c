//! What a graph says about itself: inputs, their dimensions, which nodes matter to which value.

use std::collections::{BTreeSet, HashSet};

use pamc_passes::ir::Extent;

use crate::onnx::Model;
use crate::onnx::error::{OnnxError, UnboundDim};
use crate::onnx::proto::{DimValue, GraphProto, NodeProto, TypeValue, ValueInfoProto};

/// Floats that are no parameters: running means and variances, what batch normalizations take as
/// operands 4 and 5, and operands that say how an operator works.
#[derive(Default)]
pub(super) struct Statistics<'a> {
    /// Statistics of batch normalizations in training mode, which also update them.
    pub updated: HashSet<&'a str>,
    /// Statistics of those at inference, and all other operands of that kind.
    pub fixed: HashSet<&'a str>,
}

/// Operands, counted from 0, that no training changes.
const SETTINGS: &[(&str, &[usize])] = &[
    ("Attention", &[3]),
    ("Clip", &[1, 2]),
    ("DequantizeLinear", &[1]),
    ("OneHot", &[2]),
    ("QLinearConv", &[1, 4, 6]),
    ("QLinearMatMul", &[1, 4, 6]),
    ("QuantizeLinear", &[1]),
    ("Resize", &[1, 2]),
    ("RotaryEmbedding", &[1, 2]),
    ("STFT", &[2]),
    ("Upsample", &[1]),
];

impl<'a> Statistics<'a> {
    pub fn of(nodes: &'a [NodeProto]) -> Self {
        let mut found = Self::default();
        found.collect(nodes);
        found
    }

    fn collect(&mut self, nodes: &'a [NodeProto]) {
        for node in nodes {
            let settings = SETTINGS.iter().find(|s| s.0 == node.op_type).map_or(&[][..], |s| s.1);
            self.fixed.extend(settings.iter().filter_map(|&i| node.input.get(i)).map(|n| &**n));
            bodies(node).for_each(|graph| self.collect(&graph.node));
            if !matches!(node.op_type.as_str(), "BatchNormalization" | "BatchNormInternal") {
                continue;
            }
            let list = if updates_statistics(node) { &mut self.updated } else { &mut self.fixed };
            list.extend(node.input.iter().skip(3).map(String::as_str));
        }
    }
}

pub(super) fn updates_statistics(node: &NodeProto) -> bool {
    let training = node.attribute.iter().any(|a| a.name == "training_mode" && a.i != 0);
    node.op_type == "BatchNormInternal" || node.op_type == "BatchNormalization" && training
}

/// Indices of the nodes that `roots` depend on; nodes are in topological order.
pub(super) fn ancestors<'a>(
    nodes: &'a [NodeProto],
    roots: impl Iterator<Item = &'a str>,
) -> HashSet<usize> {
    let mut wanted: HashSet<&str> = roots.collect();
    let mut found = HashSet::new();
    for (i, node) in nodes.iter().enumerate().rev() {
        if node.output.iter().any(|o| !o.is_empty() && wanted.contains(o.as_str())) {
            found.insert(i);
            wanted.extend(reads(node));
        }
    }
    found
}

/// Names of the values that a node or a graph inside it takes.
pub(super) fn reads(node: &NodeProto) -> Vec<&str> {
    let mut names: Vec<&str> = node.input.iter().map(String::as_str).collect();
    for graph in bodies(node) {
        names.extend(graph.node.iter().flat_map(reads));
        names.extend(graph.output.iter().map(|o| o.name.as_str()));
    }
    names
}

/// Domain and name of the operators of nodes and of the graphs inside them.
pub(in crate::onnx) fn operators(nodes: &[NodeProto], out: &mut BTreeSet<(String, String)>) {
    for node in nodes {
        let domain = if node.domain == "ai.onnx" { "" } else { &node.domain };
        out.insert((domain.to_owned(), node.op_type.clone()));
        bodies(node).for_each(|graph| operators(&graph.node, out));
    }
}

/// The graphs that a node has as attributes.
pub(super) fn bodies(node: &NodeProto) -> impl Iterator<Item = &GraphProto> {
    node.attribute.iter().flat_map(|a| a.g.iter().map(|g| &**g).chain(&a.graphs))
}

/// Names that the nodes leading to the graph's outputs take.
pub(in crate::onnx) fn needed_names(graph: &GraphProto) -> HashSet<String> {
    let outputs = graph.output.iter().map(|o| o.name.as_str());
    let found = ancestors(&graph.node, outputs).into_iter();
    found.flat_map(|i| reads(&graph.node[i])).map(str::to_owned).collect()
}

/// Running statistics that the batch normalizations of a model update.
pub(in crate::onnx) fn updated_statistics(model: &Model) -> Vec<String> {
    let found = Statistics::of(&model.graph().node).updated;
    found.into_iter().map(str::to_owned).collect()
}

/// The inputs that no initializer gives a value.
pub(super) fn inputs(model: &Model) -> Vec<&ValueInfoProto> {
    let graph = model.graph();
    let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
    graph.input.iter().filter(|i| !stored.contains(i.name.as_str())).collect()
}

pub(super) fn tensor_type(
    model: &Model,
    input: &ValueInfoProto,
) -> Result<(i32, Vec<Extent>), OnnxError> {
    dims_of(input).map_err(|why| OnnxError::Graph {
        file: model.file().to_owned(),
        reason: format!("`{}` {why}", input.name),
    })
}

pub(super) fn named_dims(
    model: &Model,
    inputs: &[&ValueInfoProto],
) -> Result<Vec<UnboundDim>, OnnxError> {
    let mut found: Vec<UnboundDim> = Vec::new();
    for input in inputs {
        for dim in tensor_type(model, input)?.1 {
            if let Extent::Symbol(dim) = dim
                && found.iter().all(|u| u.dim != dim)
            {
                found.push(UnboundDim { dim, input: input.name.clone() });
            }
        }
    }
    Ok(found)
}

/// The named dimensions of the inputs.
pub(in crate::onnx) fn symbolic_dims(model: &Model) -> Result<Vec<UnboundDim>, OnnxError> {
    named_dims(model, &inputs(model))
}

/// Name and extents of each input that no initializer gives a value.
pub(in crate::onnx) fn data_extents(
    model: &Model,
) -> Result<Vec<(String, Vec<Extent>)>, OnnxError> {
    let extents = |i: &&ValueInfoProto| Ok((i.name.clone(), tensor_type(model, i)?.1));
    inputs(model).iter().map(extents).collect()
}

/// Element type code and dimensions of a tensor input; unnamed unknown ones are called
/// `input:axis`.
pub(in crate::onnx) fn dims_of(input: &ValueInfoProto) -> Result<(i32, Vec<Extent>), String> {
    let ty = input.r#type.as_ref().and_then(|t| t.value.as_ref());
    let Some(TypeValue::Tensor(ty)) = ty else { return Err("is not a tensor".to_owned()) };
    let Some(shape) = &ty.shape else { return Err("has no shape".to_owned()) };
    let mut dims = Vec::with_capacity(shape.dim.len());
    for (axis, dim) in shape.dim.iter().enumerate() {
        dims.push(match &dim.value {
            Some(DimValue::Size(n)) => {
                Extent::Size(usize::try_from(*n).map_err(|_| format!("has a dimension {n}"))?)
            }
            Some(DimValue::Param(name)) if !name.is_empty() => Extent::Symbol(name.clone()),
            _ => Extent::Symbol(format!("{}:{axis}", input.name)),
        });
    }
    Ok((ty.elem_type, dims))
}
