//! Importing small graphs made here.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use pamc_passes::interpret::Values;
use pamc_passes::ir::{InputKind, Tensor};
use proptest::prelude::*;
use prost::Message;

use super::{fixture, run};
use crate::onnx::proto::*;
use crate::onnx::{ImportOptions, Imported, Model, OnnxError, supported_ops};

pub(super) fn node(op: &str, input: &[&str], output: &[&str], ints: &[(&str, i64)]) -> NodeProto {
    let attribute = |&(name, i): &(&str, i64)| AttributeProto {
        name: name.to_owned(),
        i,
        kind: AttributeType::Int as i32,
        ..AttributeProto::default()
    };
    NodeProto {
        op_type: op.to_owned(),
        name: format!("/layer/{op}"),
        input: input.iter().map(|&s| s.to_owned()).collect(),
        output: output.iter().map(|&s| s.to_owned()).collect(),
        attribute: ints.iter().map(attribute).collect(),
        ..NodeProto::default()
    }
}

pub(super) fn value(name: &str, dtype: DataType, dims: &[&str]) -> ValueInfoProto {
    let dim = |d: &&str| Dimension {
        value: Some(match d.parse() {
            Ok(n) => DimValue::Size(n),
            Err(_) => DimValue::Param((*d).to_owned()),
        }),
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let ty = TensorType { elem_type: dtype as i32, shape: Some(shape) };
    let r#type = Some(TypeProto { value: Some(TypeValue::Tensor(ty)) });
    ValueInfoProto { name: name.to_owned(), r#type }
}

pub(super) fn ints(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: vec![values.len() as i64],
        data_type: DataType::Int64 as i32,
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

pub(super) fn model(
    opset: i64,
    input: Vec<ValueInfoProto>,
    initializer: Vec<TensorProto>,
    nodes: Vec<NodeProto>,
) -> Model {
    let output = nodes.last().unwrap().output.iter();
    let graph = GraphProto {
        output: output.map(|o| value(o, DataType::Float, &[])).collect(),
        node: nodes,
        input,
        initializer,
        ..GraphProto::default()
    };
    let proto = ModelProto {
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: opset }],
        ..ModelProto::default()
    };
    Model::decode(Bytes::from(proto.encode_to_vec()), Path::new("test.onnx")).unwrap()
}

pub(super) fn import(model: &Model, dims: &[(&str, usize)]) -> Result<Imported, OnnxError> {
    let dims = dims.iter().map(|&(k, v)| (k.to_owned(), v)).collect();
    model.import(&ImportOptions { dims, ..ImportOptions::default() })
}

#[test]
fn everything_unsupported_is_listed_at_once() {
    let m = model(
        17,
        vec![value("x", DataType::Float, &["2"])],
        vec![],
        vec![
            node("NoSuchOp", &["x"], &["a"], &[]),
            node("Relu", &["a"], &["b"], &[]),
            node("Softmax", &["x"], &["c"], &[("strange", 1)]),
            node("Gelu", &["b"], &["d"], &[]),
            node("Sum", &["b", "c", "d"], &["y"], &[]),
        ],
    );
    let error = import(&m, &[]).unwrap_err();
    let text = error.to_string();
    let OnnxError::Unsupported { items, .. } = error else { panic!("{text}") };
    let found: Vec<_> = items.iter().map(|i| i.to_string()).collect();
    assert_eq!(
        found,
        [
            "node `/layer/NoSuchOp` (NoSuchOp, opset 17): the operator is unknown; express it by \
             operators of `pamc ops --onnx`, in the model or as a model-local function",
            "node `/layer/Softmax` (Softmax, opset 17): the attribute `strange` is unknown; leave it \
             out, if the model means the same without it",
            "node `/layer/Gelu` (Gelu, opset 17): it is understood from opset 20 on; export for \
             opset 20, or convert with onnx.version_converter",
        ]
    );
    assert!(text.starts_with("test.onnx: 3 nodes cannot be imported:\n"), "{text}");
}

#[test]
fn unbound_dimensions_are_listed_at_once() {
    let inputs = vec![
        value("x", DataType::Float, &["batch", "time"]),
        value("y", DataType::Float, &["batch", "width"]),
    ];
    let m = model(17, inputs, vec![], vec![node("Relu", &["x"], &["z"], &[])]);
    let names: Vec<_> = m.symbolic_dims().unwrap().into_iter().map(|d| d.dim).collect();
    assert_eq!(names, ["batch", "time", "width"]);
    let text = import(&m, &[("time", 3)]).unwrap_err().to_string();
    let expected = "test.onnx: give a size to dimension `batch` (of input `x`), dimension `width` \
                    (of input `y`)";
    assert_eq!(text, expected);
    assert!(import(&m, &[("time", 3), ("batch", 1), ("width", 1)]).is_ok());
}

#[test]
fn shape_arithmetic_folds_away() {
    // reshape(x, [x.shape[0] * x.shape[1], -1])
    let m = model(
        17,
        vec![value("x", DataType::Float, &["b", "3", "4"])],
        vec![ints("zero", &[0]), ints("one", &[1]), ints("rest", &[-1])],
        vec![
            node("Shape", &["x"], &["s"], &[]),
            node("Gather", &["s", "zero"], &["s0"], &[("axis", 0)]),
            node("Gather", &["s", "one"], &["s1"], &[("axis", 0)]),
            node("Mul", &["s0", "s1"], &["p"], &[]),
            node("Concat", &["p", "rest"], &["shape"], &[("axis", 0)]),
            node("Reshape", &["x", "shape"], &["y"], &[]),
        ],
    );
    let graph = import(&m, &[("b", 5)]).unwrap().graph;
    let ops: Vec<_> = graph.nodes().map(|(_, n)| n.op.name).collect();
    assert_eq!(ops, ["input", "reshape"]);
    assert_eq!(graph.shape(graph.outputs()[0].1), [15, 4]);
    let origin = &graph.node(graph.outputs()[0].1).origin;
    assert_eq!((&*origin.source, &*origin.scope), ("/layer/Reshape", "layer"));
}

#[test]
fn a_contradiction_names_the_node() {
    let m = model(
        17,
        vec![value("x", DataType::Float, &["2", "3"])],
        vec![ints("shape", &[4, -1])],
        vec![node("Reshape", &["x", "shape"], &["y"], &[])],
    );
    let text = import(&m, &[]).unwrap_err().to_string();
    let expected = "test.onnx: node `/layer/Reshape` (Reshape, opset 17): [2, 3] cannot be \
                    reshaped to [4, -1]";
    assert_eq!(text, expected);
}

#[test]
fn opset_decides_what_softmax_means() {
    let x = Tensor::from_vec(&[1, 2, 2], vec![0f32, 1.0, 2.0, 3.0]).unwrap();
    let values = Values::from([("x".to_owned(), x)]);
    let sums = |opset: i64| {
        let inputs = vec![value("x", DataType::Float, &["1", "2", "2"])];
        let m = model(opset, inputs, vec![], vec![node("Softmax", &["x"], &["y"], &[])]);
        let y = run(&import(&m, &[]).unwrap().graph, &values)["y"].to_vec::<f32>().unwrap();
        (y[0] + y[1], y[2] + y[3])
    };
    let (first, second) = sums(13);
    assert!((first - 1.0).abs() < 1e-6 && (second - 1.0).abs() < 1e-6);
    let (first, second) = sums(11);
    assert!((first + second - 1.0).abs() < 1e-6 && first < 0.2);
}

fn with_function(body: Vec<NodeProto>, opset: i64) -> Result<Model, OnnxError> {
    let call =
        NodeProto { domain: "local".to_owned(), ..node("Twice", &["x"], &["y"], &[("k", 1)]) };
    let function = FunctionProto {
        name: "Twice".to_owned(),
        domain: "local".to_owned(),
        input: vec!["a".to_owned(), "unused".to_owned()],
        output: vec!["b".to_owned()],
        node: body,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: opset }],
        ..FunctionProto::default()
    };
    let graph = GraphProto {
        node: vec![call],
        input: vec![value("x", DataType::Float, &["2", "3"])],
        output: vec![value("y", DataType::Float, &["2", "3"])],
        ..GraphProto::default()
    };
    let proto = ModelProto {
        graph: Some(graph),
        functions: vec![function],
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 18 }],
        ..ModelProto::default()
    };
    Model::decode(Bytes::from(proto.encode_to_vec()), Path::new("test.onnx"))
}

#[test]
fn functions_are_replaced_by_their_bodies() {
    let mut softmax = node("Softmax", &["a"], &["h"], &[("axis", 0)]);
    softmax.attribute[0].ref_attr_name = "k".to_owned();
    let body = vec![softmax, node("Add", &["h", "h"], &["b"], &[])];
    let graph = import(&with_function(body, 18).unwrap(), &[]).unwrap().graph;
    let (_, soft) = graph.nodes().find(|(_, n)| n.op.name == "softmax").unwrap();
    assert_eq!(soft.attrs.int("axis"), 1);
    assert_eq!(&*soft.origin.source, "/layer/Twice//layer/Softmax");
    let recursive = NodeProto { domain: "local".to_owned(), ..node("Twice", &["a"], &["b"], &[]) };
    let error = with_function(vec![recursive], 18).unwrap_err().to_string();
    assert!(error.contains("calls itself"), "{error}");
    let long = NodeProto { name: "n".repeat(1 << 23), ..node("Relu", &["a"], &["b"], &[]) };
    let error = with_function(vec![long; 40], 18).unwrap_err().to_string();
    assert!(error.contains("unfold to more than 256 MiB"), "{error}");
    let error = with_function(vec![node("Relu", &["a"], &["b"], &[])], 12).unwrap_err();
    assert!(error.to_string().contains("uses opset 12"), "{error}");
}

#[test]
fn weights_become_parameters_and_the_rest_constants() {
    let m = Model::load(&fixture("lm_tiny", "forward.onnx")).unwrap();
    let made = import(&m, &[("batch", 1)]).unwrap();
    let names: Vec<_> = made.parameters.iter().map(|p| p.name.as_str()).collect();
    assert!(names.contains(&"bl.0.a.q.weight") && !names.contains(&"pos"));
    let inputs = made.graph.inputs().iter().filter(|i| i.kind == InputKind::Param);
    assert_eq!(inputs.count(), names.len());
}

#[test]
fn the_table_is_sorted_and_names_nothing_twice() {
    let ops: Vec<_> = supported_ops().map(|o| (o.domain, o.op)).collect();
    assert!(ops.windows(2).all(|w| w[0] < w[1]), "{ops:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn damaged_graphs_are_errors_not_panics(
        changes in prop::collection::vec((any::<usize>(), 1u8..), 1..4),
        file in 0..2usize,
    ) {
        let file = ["training_model.onnx", "eval_model.onnx"][file];
        let mut bytes = fs::read(fixture("mlp_adamw", file)).unwrap();
        for (at, bits) in changes {
            let at = at % bytes.len();
            bytes[at] ^= bits;
        }
        if let Ok(model) = Model::decode(bytes.into(), Path::new("m")) {
            let sizes = model.symbolic_dims().unwrap_or_default();
            let dims: HashMap<String, usize> = sizes.into_iter().map(|d| (d.dim, 2)).collect();
            let _ = model.import(&ImportOptions { dims, ..ImportOptions::default() });
        }
    }
}
