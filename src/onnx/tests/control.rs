//! Branches, loops, sequences, and operators that ONNX's node tests do not show.

use std::path::Path;

use bytes::Bytes;
use pamc_passes::interpret::Values;
use pamc_passes::ir::Tensor;
use prost::Message;

use super::import::{import, ints, model, node, value};
use super::run;
use crate::onnx::Model;
use crate::onnx::proto::*;

fn graph(inputs: &[&str], outputs: &[&str], nodes: Vec<NodeProto>) -> GraphProto {
    let values =
        |names: &[&str]| names.iter().map(|n| value(n, DataType::Float, &[])).collect::<Vec<_>>();
    GraphProto {
        node: nodes,
        input: values(inputs),
        output: values(outputs),
        ..GraphProto::default()
    }
}

fn with_graphs(mut node: NodeProto, graphs: Vec<(&str, GraphProto)>) -> NodeProto {
    node.attribute.extend(graphs.into_iter().map(|(name, g)| AttributeProto {
        name: name.to_owned(),
        kind: AttributeType::Graph as i32,
        g: Some(Box::new(g)),
        ..AttributeProto::default()
    }));
    node
}

fn scalar(name: &str, x: i64) -> TensorProto {
    TensorProto { dims: Vec::new(), ..ints(name, &[x]) }
}

fn feed(values: &[(&str, &[f32])]) -> Values {
    let tensor = |v: &[f32]| Tensor::from_vec(&[v.len()], v.to_vec()).unwrap();
    values.iter().map(|(n, v)| ((*n).to_owned(), tensor(v))).collect()
}

fn floats(values: &Values, name: &str) -> Vec<f32> {
    values[name].to_vec::<f32>().unwrap()
}

/// In even iterations s + x, else s − x; each s is collected.
fn alternating(trips: i64) -> Model {
    let step = |op: &str| graph(&[], &["next"], vec![node(op, &["s", "x"], &["next"], &[])]);
    let choice = node("If", &["even"], &["next"], &[]);
    let body = vec![
        node("Mod", &["i", "two"], &["rest"], &[]),
        node("Equal", &["rest", "zero"], &["even"], &[]),
        with_graphs(choice, vec![("then_branch", step("Add")), ("else_branch", step("Sub"))]),
        node("Identity", &["go"], &["going"], &[]),
        node("Identity", &["next"], &["seen"], &[]),
    ];
    let body = graph(&["i", "go", "s"], &["going", "next", "seen"], body);
    let call = node("Loop", &["trips", "", "x"], &["last", "all"], &[]);
    model(
        17,
        vec![value("x", DataType::Float, &["2"])],
        vec![scalar("trips", trips), scalar("two", 2), scalar("zero", 0)],
        vec![with_graphs(call, vec![("body", body)])],
    )
}

#[test]
fn products_are_found_in_bodies_and_sizes_are_not() {
    let of = |inner: &str, inputs: &[&str]| {
        let branch = |op: &str, x: &[&str]| graph(&[], &["y"], vec![node(op, x, &["y"], &[])]);
        let choice = with_graphs(
            node("If", &["c"], &["y"], &[]),
            vec![("then_branch", branch(inner, inputs)), ("else_branch", branch("Neg", &["x"]))],
        );
        let nodes = vec![
            node("Shape", &["x"], &["shape"], &[]),
            // The number of elements, which becomes a shape again.
            node("ReduceProd", &["shape"], &["size"], &[]),
            node("Reshape", &["x", "size"], &["flat"], &[]),
            node("Dropout", &["flat"], &["kept"], &[]),
            choice,
        ];
        let inputs = vec![value("x", DataType::Float, &["4"]), value("c", DataType::Bool, &["1"])];
        crate::onnx::audit(&model(18, inputs, Vec::new(), nodes))
    };
    let clean = of("ThresholdedRelu", &["x"]);
    assert!(clean.findings.is_empty(), "{clean}");
    for (op, inputs) in [("Mul", &["x", "x"][..]), ("Exp", &["x"]), ("ReduceProd", &["x"])] {
        let found = of(op, inputs);
        assert_eq!(found.findings.len(), 1, "{op}: {found}");
    }
}

#[test]
fn loops_are_unrolled_and_branches_chosen() {
    let imported = import(&alternating(3), &[]).unwrap();
    let made = run(&imported.graph, &feed(&[("x", &[1.0, 2.0])]));
    assert_eq!(floats(&made, "last"), [2.0, 4.0]);
    assert_eq!(made["all"].shape(), [3, 2]);
    assert_eq!(floats(&made, "all"), [2.0, 4.0, 1.0, 2.0, 2.0, 4.0]);
    let names: Vec<String> = imported.graph.nodes().map(|(_, n)| n.origin.to_string()).collect();
    for part in
        ["/layer/Loop[0]//layer/Add", "/layer/Loop[1]//layer/Sub", "/layer/Loop[2]//layer/Add"]
    {
        assert!(names.iter().any(|n| n.contains(part)), "no {part} in {names:?}");
    }
}

#[test]
fn endless_loops_are_refused() {
    let text = import(&alternating(i64::MAX), &[]).unwrap_err().to_string();
    assert!(text.contains("/layer/Loop") && text.contains("more than 16384 times"), "{text}");
}

#[test]
fn a_condition_of_run_time_chooses_between_both_results() {
    let step = |op: &str| graph(&[], &["y"], vec![node(op, &["x", "x"], &["y"], &[])]);
    let choice = node("If", &["up"], &["z"], &[]);
    let m = model(
        17,
        vec![value("x", DataType::Float, &["1"])],
        Vec::new(),
        vec![
            node("IsNaN", &["x"], &["up"], &[]),
            with_graphs(choice, vec![("then_branch", step("Add")), ("else_branch", step("Mul"))]),
        ],
    );
    let imported = import(&m, &[]).unwrap();
    assert_eq!(floats(&run(&imported.graph, &feed(&[("x", &[3.0])])), "z"), [9.0]);
}

#[test]
fn sequences_are_lists_at_import() {
    let double = graph(&["e"], &["d"], vec![node("Add", &["e", "e"], &["d"], &[])]);
    let call = node("SequenceMap", &["most"], &["doubled"], &[]);
    let m = model(
        17,
        vec![value("x", DataType::Float, &["4"])],
        vec![scalar("two", 2), scalar("first", 0), scalar("last", -1)],
        vec![
            node("SplitToSequence", &["x", "two"], &["halves"], &[("axis", 0)]),
            node("SequenceAt", &["halves", "last"], &["right"], &[]),
            node("SequenceEmpty", &[], &["none"], &[]),
            node("SequenceInsert", &["none", "right"], &["one"], &[]),
            node("SequenceInsert", &["one", "x", "first"], &["both"], &[]),
            node("SequenceErase", &["both", "last"], &["most"], &[]),
            with_graphs(call, vec![("body", double)]),
            node("SequenceConstruct", &["right", "right"], &["pair"], &[]),
            node("ConcatFromSequence", &["pair"], &["joined"], &[("axis", 0)]),
            node("SequenceLength", &["both"], &["count"], &[]),
            node("Cast", &["count"], &["n"], &[("to", DataType::Float as i64)]),
            node("Optional", &["joined"], &["perhaps"], &[]),
            node("OptionalGetElement", &["perhaps"], &["surely"], &[]),
            node("SequenceAt", &["doubled", "first"], &["whole"], &[]),
            node("Sum", &["surely", "whole", "n"], &["y"], &[]),
        ],
    );
    let imported = import(&m, &[]).unwrap();
    let made = run(&imported.graph, &feed(&[("x", &[1.0, 2.0, 3.0, 4.0])]));
    // [3, 4, 3, 4] + 2·x + 2
    assert_eq!(floats(&made, "y"), [7.0, 10.0, 11.0, 14.0]);
}

#[test]
fn running_products_go_both_ways() {
    let run_with = |flags: &[(&str, i64)]| {
        let m = model(
            26,
            vec![value("x", DataType::Float, &["5"])],
            vec![scalar("axis", 0)],
            vec![node("CumProd", &["x", "axis"], &["y"], flags)],
        );
        let x: [f32; 5] = [1.0, 2.0, 3.0, 4.0, 5.0];
        floats(&run(&import(&m, &[]).unwrap().graph, &feed(&[("x", &x)])), "y")
    };
    assert_eq!(run_with(&[]), [1.0, 2.0, 6.0, 24.0, 120.0]);
    assert_eq!(run_with(&[("exclusive", 1)]), [1.0, 1.0, 2.0, 6.0, 24.0]);
    assert_eq!(run_with(&[("reverse", 1)]), [120.0, 120.0, 60.0, 20.0, 5.0]);
}

#[test]
fn random_numbers_follow_from_the_state_and_differ_between_nodes() {
    let m = model(
        17,
        vec![value("x", DataType::Float, &["1000"])],
        Vec::new(),
        vec![
            node("RandomUniformLike", &["x"], &["u"], &[]),
            node("RandomNormalLike", &["x"], &["n"], &[]),
            node("Bernoulli", &["x"], &["b"], &[]),
            node("Concat", &["u", "n", "b"], &["y"], &[("axis", 0)]),
        ],
    );
    let imported = import(&m, &[]).unwrap();
    let mut values = feed(&[("x", &[0.25; 1000])]);
    values.insert("rng".into(), Tensor::from_vec(&[2], vec![7i32, 9]).unwrap());
    let y = floats(&run(&imported.graph, &values), "y");
    let mean = |v: &[f32]| v.iter().sum::<f32>() / v.len() as f32;
    let (u, n, b) = (&y[..1000], &y[1000..2000], &y[2000..]);
    assert!(u.iter().all(|x| (0.0..1.0).contains(x)) && (mean(u) - 0.5).abs() < 0.05);
    let square: Vec<f32> = n.iter().map(|x| x * x).collect();
    assert!(mean(n).abs() < 0.15 && (mean(&square) - 1.0).abs() < 0.2);
    assert!(b.iter().all(|x| [0.0, 1.0].contains(x)) && (mean(b) - 0.25).abs() < 0.06);
}

/// A function whose body holds a graph that takes a value of the function.
#[test]
fn functions_are_expanded_inside_graphs() {
    let call = |name: &str, x: &str, y: &str| NodeProto {
        domain: "local".to_owned(),
        ..node(name, &[x], &[y], &[])
    };
    let branch = |op: &str| graph(&[], &["z"], vec![node(op, &["a", "a"], &["z"], &[])]);
    let choice = node("If", &["yes"], &["b"], &[]);
    let function = FunctionProto {
        name: "Twice".to_owned(),
        domain: "local".to_owned(),
        input: vec!["a".to_owned()],
        output: vec!["b".to_owned()],
        node: vec![
            node("Equal", &["a", "a"], &["same"], &[]),
            node("Shape", &["a"], &["dims"], &[]),
            node("Equal", &["dims", "dims"], &["yes"], &[]),
            with_graphs(
                choice,
                vec![("then_branch", branch("Add")), ("else_branch", branch("Mul"))],
            ),
        ],
        ..FunctionProto::default()
    };
    let inner = graph(&[], &["q"], vec![call("Twice", "x", "q")]);
    let nodes = vec![
        node("Shape", &["x"], &["shape"], &[]),
        node("Equal", &["shape", "shape"], &["on"], &[]),
        with_graphs(
            node("If", &["on"], &["y"], &[]),
            vec![("then_branch", inner.clone()), ("else_branch", inner)],
        ),
    ];
    let proto = ModelProto {
        graph: Some(graph(&["x"], &["y"], nodes)),
        opset_import: vec![
            OperatorSetIdProto { domain: String::new(), version: 17 },
            OperatorSetIdProto { domain: "local".to_owned(), version: 1 },
        ],
        functions: vec![function],
        ..ModelProto::default()
    };
    let mut proto = proto;
    proto.graph.as_mut().unwrap().input = vec![value("x", DataType::Float, &["1"])];
    let m = Model::decode(Bytes::from(proto.encode_to_vec()), Path::new("test.onnx")).unwrap();
    let imported = import(&m, &[]).unwrap();
    assert_eq!(floats(&run(&imported.graph, &feed(&[("x", &[4.0])])), "y"), [8.0]);
}
