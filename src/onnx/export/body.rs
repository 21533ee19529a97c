//! A list of ONNX nodes under construction.

use bytes::Bytes;
use pamc_passes::ir::{DType, Tensor};

use crate::onnx::proto::{
    AttributeProto, AttributeType, DataType, DimValue, Dimension, GraphProto, NodeProto,
    TensorProto, TensorShapeProto, TensorType, TypeProto, TypeValue, ValueInfoProto,
};

/// The domain of the functions that primitives become.
pub(super) const DOMAIN: &str = "pamc";

/// Nodes of a graph, a function or a loop. Values are named `prefix` and a number.
pub(super) struct Body {
    pub nodes: Vec<NodeProto>,
    prefix: String,
    made: usize,
    /// What nodes are named after; empty inside functions.
    pub origin: String,
}

impl Body {
    pub fn new(prefix: &str) -> Self {
        Body { nodes: Vec::new(), prefix: prefix.to_owned(), made: 0, origin: String::new() }
    }

    /// A name nobody else has.
    pub fn fresh(&mut self) -> String {
        self.made += 1;
        format!("{}{}", self.prefix, self.made)
    }

    /// A node with one result, whose name is returned.
    pub fn op(&mut self, op: &str, inputs: &[&str]) -> String {
        self.with(op, inputs, Vec::new())
    }

    /// The same with attributes.
    pub fn with(&mut self, op: &str, inputs: &[&str], attribute: Vec<AttributeProto>) -> String {
        let out = self.fresh();
        self.push("", op, inputs, &[&out], attribute);
        out
    }

    /// A call of one of the functions.
    pub fn call(&mut self, function: &str, inputs: &[&str]) -> String {
        let out = self.fresh();
        self.push(DOMAIN, function, inputs, &[&out], Vec::new());
        out
    }

    pub fn push(
        &mut self,
        domain: &str,
        op: &str,
        inputs: &[&str],
        outputs: &[&str],
        attribute: Vec<AttributeProto>,
    ) {
        let owned = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
        let name = match (self.origin.as_str(), outputs.first()) {
            ("", _) | (_, None) => String::new(),
            (origin, Some(out)) => format!("{origin} ({out})"),
        };
        self.nodes.push(NodeProto {
            name,
            domain: domain.to_owned(),
            op_type: op.to_owned(),
            input: owned(inputs),
            output: owned(outputs),
            attribute,
            ..NodeProto::default()
        });
    }

    /// A constant.
    pub fn constant(&mut self, value: &Tensor) -> String {
        let t = AttributeProto {
            t: Some(Box::new(tensor("", value))),
            ..attribute("value", AttributeType::Tensor)
        };
        self.with("Constant", &[], vec![t])
    }

    /// A list of i64.
    pub fn ints(&mut self, values: &[i64]) -> String {
        self.constant(&Tensor::vector(values.to_vec()))
    }

    /// A scalar i32.
    pub fn int(&mut self, value: i32) -> String {
        self.constant(&Tensor::scalar(value))
    }

    /// The same bits as another element type.
    pub fn bits(&mut self, x: &str, to: DataType) -> String {
        self.with("BitCast", &[x], vec![int("to", to as i64)])
    }

    pub fn cast(&mut self, x: &str, to: DataType) -> String {
        self.with("Cast", &[x], vec![int("to", to as i64)])
    }

    pub fn reshape(&mut self, x: &str, shape: &[usize]) -> String {
        let shape = self.ints(&shape.iter().map(|&d| d as i64).collect::<Vec<_>>());
        // A size 0 means 0, not "as before".
        self.with("Reshape", &[x, &shape], vec![int("allowzero", 1)])
    }

    pub fn transpose(&mut self, x: &str, perm: &[usize]) -> String {
        if perm.iter().enumerate().all(|(i, &p)| i == p) {
            return x.to_owned();
        }
        self.with("Transpose", &[x], vec![ints("perm", perm.iter().map(|&p| p as i64).collect())])
    }

    /// `len` elements of one axis from `start` on.
    pub fn slice(&mut self, x: &str, axis: usize, start: usize, len: usize) -> String {
        let [start, end] = [start, start + len].map(|i| self.ints(&[i as i64]));
        let axis = self.ints(&[axis as i64]);
        self.op("Slice", &[x, &start, &end, &axis])
    }
}

pub(super) fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: name.to_owned(), kind: kind as i32, ..AttributeProto::default() }
}

pub(super) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i, ..attribute(name, AttributeType::Int) }
}

pub(super) fn ints(name: &str, ints: Vec<i64>) -> AttributeProto {
    AttributeProto { ints, ..attribute(name, AttributeType::Ints) }
}

pub(super) fn text(name: &str, s: &str) -> AttributeProto {
    let s = Bytes::copy_from_slice(s.as_bytes());
    AttributeProto { s, ..attribute(name, AttributeType::String) }
}

pub(super) fn graph(name: &str, g: GraphProto) -> AttributeProto {
    AttributeProto { g: Some(Box::new(g)), ..attribute(name, AttributeType::Graph) }
}

pub(super) fn element(dtype: DType) -> DataType {
    match dtype {
        DType::F32 => DataType::Float,
        DType::I32 => DataType::Int32,
        DType::I64 => DataType::Int64,
        DType::Bool => DataType::Bool,
    }
}

pub(super) fn tensor(name: &str, t: &Tensor) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: t.shape().iter().map(|&d| d as i64).collect(),
        data_type: element(t.dtype()) as i32,
        raw_data: Some(t.to_bytes().into()),
        ..TensorProto::default()
    }
}

pub(super) fn value(name: &str, elem: DataType, shape: Option<&[usize]>) -> ValueInfoProto {
    let dim = |&d: &usize| Dimension { value: Some(DimValue::Size(d as i64)) };
    let shape = shape.map(|s| TensorShapeProto { dim: s.iter().map(dim).collect() });
    let ty = TensorType { elem_type: elem as i32, shape };
    let r#type = Some(TypeProto { value: Some(TypeValue::Tensor(ty)) });
    ValueInfoProto { name: name.to_owned(), r#type }
}
