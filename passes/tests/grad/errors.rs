//! What cannot be differentiated is said, all at once.

use pamc_passes::arith::Arith;
use pamc_passes::build::Cx;
use pamc_passes::grad::{GradError, GradSpec, SpecError, differentiate};
use pamc_passes::ir::{Attrs, DType, Graph, InputKind, Origin, Region, TensorType};

use crate::common::PAPER;

fn matrices() -> (Graph, [pamc_passes::ir::NodeId; 2]) {
    let mut graph = Graph::new("t");
    let x = graph.input("x", TensorType::f32([2, 2]), InputKind::Data).unwrap();
    let w = graph.input("w", TensorType::f32([2, 2]), InputKind::Param).unwrap();
    (graph, [x, w])
}

/// Second derivatives of matrix products have no rule: each is named with its place, and operations
/// that are not on the way are not.
#[test]
fn missing_rules_are_listed_together() {
    let (mut graph, [x, w]) = matrices();
    let mut at = |source: &str, op: &str, a, b, c| {
        let mut cx = Cx::new(&mut graph, Origin::new(source).in_scope("net"), Arith::PAM);
        let y = cx.op_with(op, &[a, b, c], Attrs::none());
        cx.finish(y).unwrap()
    };
    let first = at("one", "pam.matmul_da", x, x, w);
    at("unused", "pam.matmul_da", x, x, w);
    at("constant", "pam.matmul_da", x, x, x);
    let second = at("two", "pam.matmul_db", first, x, x);
    let mut cx = Cx::new(&mut graph, Origin::new("loss"), Arith::PAM);
    let loss = cx.sum(second, &[0, 1], false);
    cx.finish(()).unwrap();
    let error = differentiate(&mut graph, PAPER, loss, &[w], &GradSpec::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no derivative is defined for %2 = pam.matmul_da at net (one); %5 = pam.matmul_db at net (two)"
    );
}

#[test]
fn losses_that_are_no_single_float() {
    let (mut graph, [x, w]) = matrices();
    let spec = GradSpec::default();
    let error = differentiate(&mut graph, PAPER, x, &[w], &spec).unwrap_err();
    assert_eq!(error, GradError::NotScalar(TensorType::f32([2, 2])));
    let mut cx = Cx::new(&mut graph, Origin::new("here"), Arith::PAM);
    let loss = cx.sum(x, &[0, 1], false);
    let whole = cx.cast(x, DType::I32);
    cx.finish(()).unwrap();
    let error = differentiate(&mut graph, PAPER, loss, &[whole], &spec).unwrap_err();
    assert_eq!(error.to_string(), "there is no gradient for here (i32[2, 2]), which is not f32");
}

#[test]
fn unknown_keys_are_an_error_in_pam() {
    let (mut graph, [x, w]) = matrices();
    let mut cx = Cx::new(&mut graph, Origin::new("here"), Arith::PAM);
    let y = cx.matmul(x, w, false, false);
    let loss = cx.sum(y, &[0, 1], false);
    cx.finish(()).unwrap();
    let spec: GradSpec = "approx,conv=exact,matmul.c=exact".parse().unwrap();
    let error = differentiate(&mut graph, PAPER, loss, &[w], &spec).unwrap_err();
    assert!(matches!(&error, GradError::Spec(SpecError::Unknown { .. })));
    assert_eq!(
        error.to_string(),
        "no part of the graph is called conv, matmul.c; there are the part loss, the kinds of operations \
         matmul, sum, their operands matmul.a, matmul.b, sum.x, the scopes (none)"
    );
}

/// Zeros for a parameter that the loss ignores, and for one only reached through integers.
#[test]
fn independent_parameters_get_zeros_and_are_listed() {
    let (mut graph, [x, w]) = matrices();
    let v = graph.input("v", TensorType::f32([3]), InputKind::Param).unwrap();
    let mut cx = Cx::new(&mut graph, Origin::new("here"), Arith::PAM);
    let whole = cx.cast(w, DType::I32);
    let back = cx.cast(whole, DType::F32);
    let y = cx.add(back, x);
    let loss = cx.sum(y, &[0, 1], false);
    cx.finish(()).unwrap();
    let spec = GradSpec::default();
    let made = differentiate(&mut graph, PAPER, loss, &[x, w, v], &spec).unwrap();
    assert_eq!(made.independent, [w, v]);
    let zeros = graph.constant(made.values[2]).unwrap();
    assert_eq!(zeros.to_vec::<f32>().unwrap(), [0.0; 3]);
    let origin = &graph.node(made.values[0]).origin;
    assert_eq!((origin.region, &*origin.trail[0].name), (Region::Backward, "sum"));
}
