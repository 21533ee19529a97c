//! One snapshot a rule, for every row of the op table that has one.

use std::collections::BTreeSet;

use pamc_passes::arith::Arith;
use pamc_passes::ir::{Attrs, DType, Tensor};
use pamc_passes::ops::{self, Grad};

use crate::common::*;

/// An application of an op of the table.
pub struct Case {
    pub op: &'static str,
    pub inputs: Vec<Tensor>,
    pub attrs: Attrs,
}

fn case(op: &'static str, shapes: &[&[usize]], attrs: Attrs) -> Case {
    let mut rng = Rng(21);
    Case { op, inputs: shapes.iter().map(|s| rng.integers(s)).collect(), attrs }
}

fn window() -> Attrs {
    Attrs::none()
        .with("kernel", vec![2, 3])
        .with("strides", vec![2, 1])
        .with("dilations", vec![1, 2])
        .with("pads_lo", vec![1, 0])
        .with("pads_hi", vec![0, 2])
}

fn strides(starts: &[i64], sizes: &[i64], steps: &[i64]) -> Attrs {
    Attrs::none()
        .with("starts", starts.to_vec())
        .with("sizes", sizes.to_vec())
        .with("steps", steps.to_vec())
}

/// Maps that are linear in their f32 operands.
pub fn linear() -> Vec<Case> {
    let none = Attrs::none;
    let index = Tensor::from_vec(&[2, 2], vec![1i64, -1, 0, 1]).unwrap();
    let mut gather = case("gather", &[&[2, 3, 2]], none().with("axis", 1i64));
    gather.inputs.push(index.clone());
    let mut scatter =
        case("scatter_add", &[&[2, 2, 2, 3]], none().with("size", 3i64).with("axis", 1i64));
    scatter.inputs.insert(0, index);
    let axes = |a: &[i64], keep: bool| none().with("axes", a.to_vec()).with("keepdims", keep);
    let transposed = |ta: bool, tb: bool| none().with("ta", ta).with("tb", tb);
    vec![
        case("add", &[&[2, 3], &[3]], none()),
        case("sub", &[&[2, 1], &[2, 3]], none()),
        case("neg", &[&[4]], none()),
        case("cast", &[&[4]], none().with("to", DType::F32)),
        case("sum", &[&[2, 3, 4]], axes(&[0, 2], false)),
        case("sum", &[&[2, 3]], axes(&[1], true)),
        case("cumsum", &[&[2, 5]], none().with("axis", 1i64)),
        case("cumsum", &[&[5]], none().with("exclusive", true).with("reverse", true)),
        case("reshape", &[&[2, 6]], none().with("shape", vec![3, 4])),
        case("transpose", &[&[2, 3, 4]], none().with("perm", vec![2, 0, 1])),
        case("expand", &[&[3, 1]], none().with("shape", vec![2, 3, 4])),
        case("concat", &[&[2, 2], &[2, 1], &[2, 3]], none().with("axis", 1i64)),
        case("slice", &[&[5, 9]], strides(&[1, 7], &[3, 3], &[1, -3])),
        case("slice", &[&[3, 4]], strides(&[2, 1], &[1, 2], &[-1, 2])),
        case("slice", &[&[3, 4]], strides(&[0, 0], &[0, 2], &[1, 1])),
        case(
            "pad",
            &[&[2, 3]],
            none().with("lo", vec![1, 0]).with("hi", vec![0, 2]).with("interior", vec![2, 1]),
        ),
        case("unfold", &[&[2, 2, 4, 5]], window()),
        case("fold", &[&[1, 2, 2, 3, 2, 3]], window().with("spatial", vec![4, 5])),
        gather,
        scatter,
        case("f.matmul", &[&[2, 3], &[3, 4]], none()),
        case("f.matmul", &[&[2, 5, 3], &[3, 4]], none()),
        case("f.matmul", &[&[3, 2], &[2, 1, 4, 3]], transposed(true, true)),
        case("f.matmul", &[&[2, 3, 2], &[3, 4]], transposed(true, false)),
        case("f.matmul", &[&[2, 3], &[4, 3]], transposed(false, true)),
    ]
}

fn others() -> Vec<Case> {
    let none = Attrs::none;
    let mut select = case("select", &[&[3], &[2, 3]], none());
    select.inputs.insert(0, Tensor::full(&[2, 1], true));
    let shifts = |on: bool| none().with("shifts", on);
    let terms = none().with("negative", vec![0, 1]).with("exponents", vec![0, -4]);
    let mut cases = vec![
        select,
        case("pam.scale2", &[&[3]], none().with("k", 2i64)),
        case("pam.shift_sum", &[&[3]], terms),
        case("reduce_max", &[&[2, 3]], none().with("axes", vec![1])),
        case("reduce_min", &[&[2, 3, 4]], none().with("axes", vec![0, 2]).with("keepdims", true)),
        case("pam.matmul", &[&[2, 5, 3], &[3, 4]], none()),
        case("pam.exp", &[&[3]], shifts(true)),
        case("pam.exp", &[&[3]], shifts(false)),
        case("pam.log", &[&[3]], shifts(true)),
        case("pam.log", &[&[3]], shifts(false)),
    ];
    for op in ["abs", "pam.exp2", "pam.log2", "pam.sqrt"] {
        cases.push(case(op, &[&[3]], none()));
    }
    for op in ["f.exp", "f.log", "f.exp2", "f.log2", "f.sqrt"] {
        cases.push(case(op, &[&[3]], none()));
    }
    for op in ["min", "max", "pam.mul", "pam.div", "f.mul", "f.div"] {
        cases.push(case(op, &[&[2, 3], &[3]], none()));
    }
    cases
}

#[test]
fn snapshots_of_every_rule() {
    let (cases, mut covered) = (linear().into_iter().chain(others()), BTreeSet::new());
    let mut text = String::new();
    for case in cases {
        covered.insert(case.op);
        let arith = if case.op.starts_with("f.") { Arith::Float } else { Arith::PAM };
        let graphs = ["exact", "approx"].map(|slope| {
            let f: Term<'_> = &|cx, x| cx.op_with(case.op, x, case.attrs.clone());
            let graph = with_gradients(arith, slope, &case.inputs, f);
            graph.to_string()
        });
        let [exact, approx] = &graphs;
        if exact == approx {
            text += &format!("; {}\n{exact}\n", case.op);
        } else {
            text += &format!("; {} exact\n{exact}\n; {} approx\n{approx}\n", case.op, case.op);
        }
    }
    let with_rule = ops::all().filter(|op| matches!(op.grad, Grad::Rule(_))).map(|op| op.name);
    assert_eq!(covered, with_rule.collect(), "every rule needs a case here");
    insta::assert_snapshot!(text);
}
