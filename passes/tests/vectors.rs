//! The scalar reference, the interpreter and the composites equal every committed vector, bit for bit.

use std::path::PathBuf;

use pamc_passes::arith::{Arith, BiasCorrection, Constants, Recipe};
use pamc_passes::build::Cx;
use pamc_passes::interpret::{Values, run};
use pamc_passes::ir::{Attrs, Graph, InputKind, NodeId, Origin, Tensor, TensorType};
use pamc_passes::pass::{expand, lower};
use pamc_passes::program::Program;
use pamc_passes::reference as r;

const PAPER: Arith =
    Arith::Pam(Recipe { constants: Constants::Mul, bias_correction: BiasCorrection::Power });

/// Rows of hex words of a vector file.
fn rows(name: &str) -> Vec<Vec<f32>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let word = |w: &str| f32::from_bits(u32::from_str_radix(w, 16).unwrap());
    let rows: Vec<Vec<f32>> =
        text.lines().skip(1).map(|l| l.split(' ').map(word).collect()).collect();
    assert!(!rows.is_empty(), "{name} is empty");
    rows
}

fn same(a: f32, b: f32) -> bool {
    a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())
}

fn check(name: &str, f: impl Fn(&[f32]) -> Vec<f32>, inputs: usize) {
    for row in rows(name) {
        let got = f(&row[..inputs]);
        let ok = got.iter().zip(&row[inputs..]).all(|(a, b)| same(*a, *b));
        assert!(
            ok,
            "{name}: {row:08x?} gave {got:?}",
            row = row.iter().map(|x| x.to_bits()).collect::<Vec<_>>()
        );
    }
}

#[test]
fn scalars() {
    check("mul.txt", |x| vec![r::mul(x[0], x[1])], 2);
    check("div.txt", |x| vec![r::div(x[0], x[1])], 2);
    check("add.txt", |x| vec![r::add(x[0], x[1])], 2);
    check("exp2.txt", |x| vec![r::exp2(x[0])], 1);
    check("log2.txt", |x| vec![r::log2(x[0])], 1);
    check("sqrt.txt", |x| vec![r::sqrt(x[0])], 1);
    check("exp.txt", |x| vec![r::exp2(r::mul(x[0], r::LOG2E))], 1);
    check("log.txt", |x| vec![r::div(r::log2(x[0]), r::LOG2E)], 1);
}

#[test]
fn slopes() {
    let pair = |f: fn(f32, f32) -> (f32, f32)| {
        move |x: &[f32]| {
            let (a, b) = f(x[1], x[2]);
            vec![r::mul(x[0], a), r::mul(x[0], b)]
        }
    };
    check("grad_mul_exact.txt", pair(|a, b| (r::mul_slope(a, b), r::mul_slope(b, a))), 3);
    check("grad_div_exact.txt", pair(|a, b| (r::div_slope_a(a, b), r::div_slope_b(a, b))), 3);
    check("grad_exp2_exact.txt", |x| vec![r::mul(x[0], r::exp2_slope(x[1]))], 2);
    check("grad_log2_exact.txt", |x| vec![r::mul(x[0], r::log2_slope(x[1]))], 2);
    check("grad_sqrt_exact.txt", |x| vec![r::mul(x[0], r::sqrt_slope(x[1]))], 2);
}

/// Run a term built by `f` on whole tensors through the interpreter.
fn term(arith: Arith, inputs: &[Tensor], f: impl Fn(&mut Cx<'_>, &[NodeId]) -> NodeId) -> Vec<f32> {
    let mut graph = Graph::new("test");
    let mut values = Values::new();
    let mut ids = Vec::new();
    for (i, t) in inputs.iter().enumerate() {
        ids.push(graph.input(format!("x{i}"), t.ty(), InputKind::Data).unwrap());
        values.insert(format!("x{i}"), t.clone());
    }
    let mut cx = Cx::new(&mut graph, Origin::new("test"), arith);
    let y = f(&mut cx, &ids);
    cx.finish(()).unwrap();
    graph.output("y", y).unwrap();
    let graph = expand(&lower(&graph, arith).unwrap()).unwrap();
    let program = Program::new(graph, arith).unwrap();
    run(&program, &values).unwrap()["y"].to_vec::<f32>().unwrap()
}

fn expect(name: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{name}");
    for (i, (a, b)) in got.iter().zip(want).enumerate() {
        assert!(
            same(*a, *b),
            "{name}[{i}]: {a:?} {:08x} against {b:?} {:08x}",
            a.to_bits(),
            b.to_bits()
        );
    }
}

fn tensor(shape: &[usize], data: &[f32]) -> Tensor {
    assert_eq!(TensorType::f32(shape).len(), data.len());
    Tensor::from_vec(shape, data.to_vec()).unwrap()
}

#[test]
fn composites() {
    for (name, arith) in
        [("exp", PAPER), ("log", PAPER), ("exp_best", Arith::PAM), ("log_best", Arith::PAM)]
    {
        let rows = rows(&format!("{name}.txt"));
        let x: Vec<f32> = rows.iter().map(|r| r[0]).collect();
        let y: Vec<f32> = rows.iter().map(|r| r[1]).collect();
        let got = term(arith, &[tensor(&[x.len()], &x)], |cx, x| {
            if name.starts_with("exp") { cx.exp(x[0]) } else { cx.log(x[0]) }
        });
        expect(name, &got, &y);
    }
}

#[test]
fn sums_and_contractions() {
    let sum = rows("reduce_sum.txt");
    expect(
        "reduce_sum",
        &term(PAPER, &[tensor(&[5, 531], &sum[0])], |cx, x| cx.sum(x[0], &[1], false)),
        &sum[1],
    );
    let mean = rows("mean.txt");
    expect(
        "mean",
        &term(PAPER, &[tensor(&[5, 67], &mean[0])], |cx, x| cx.mean(x[0], &[1], false)),
        &mean[1],
    );
    let mm = rows("matmul.txt");
    let (a, b) = (tensor(&[5, 600], &mm[0]), tensor(&[600, 19], &mm[1]));
    expect("matmul", &term(PAPER, &[a, b], |cx, x| cx.matmul(x[0], x[1], false, false)), &mm[2]);
}

#[test]
fn softmax_family() {
    for (name, op, arith) in [
        ("softmax", "softmax", PAPER),
        ("softmax_best", "softmax", Arith::PAM),
        ("log_softmax", "log_softmax", PAPER),
        ("log_softmax_best", "log_softmax", Arith::PAM),
    ] {
        let data = rows(&format!("{name}.txt"));
        let x = tensor(&[7, 37], &data[0]);
        expect(name, &term(arith, &[x], |cx, x| cx.op(op, x)), &data[1]);
        // Along another axis the rows are the same.
        let x = term(arith, &[tensor(&[7, 37], &data[0])], |cx, x| cx.transpose(x[0], &[1, 0]));
        let got = term(arith, &[tensor(&[37, 7], &x)], |cx, x| {
            let y = cx.op_with(op, x, Attrs::none().with("axis", 0i64));
            cx.transpose(y, &[1, 0])
        });
        expect(name, &got, &data[1]);
    }
}

#[test]
fn norms() {
    for arith in [PAPER, Arith::PAM] {
        let data = rows("layer_norm.txt");
        let shapes: [&[usize]; 3] = [&[6, 45], &[45], &[45]];
        let x: Vec<_> = shapes.iter().zip(&data).map(|(s, d)| tensor(s, d)).collect();
        expect("layer_norm", &term(arith, &x, |cx, x| cx.op("layer_norm", x)), &data[3]);
        let data = rows("rms_norm.txt");
        let x: Vec<_> = shapes.iter().zip(&data[..2]).map(|(s, d)| tensor(s, d)).collect();
        expect("rms_norm", &term(arith, &x, |cx, x| cx.op("rms_norm", x)), &data[2]);
    }
}
