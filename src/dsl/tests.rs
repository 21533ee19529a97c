//! The DSL against the op table, and its error messages.

use std::collections::BTreeSet;

use pamc_passes::ir::{DType, InputKind, TensorType};
use pamc_passes::ops::{self, Kind};

use super::layers::{BatchNorm, Conv2d, LayerNorm, Linear, MultiHeadAttention, RmsNorm};
use super::*;

fn f32(shape: impl Into<Vec<usize>>) -> TensorType {
    TensorType::f32(shape)
}

/// Rows with no method: what declares inputs and constants, and what only lowerings make.
fn internal(op: &ops::Op) -> bool {
    op.kind == Kind::Composite || op.name.starts_with("pam.") || op.name.starts_with("f.")
}

fn use_elementwise(net: &Net, x: Var<'_>) {
    let (y, whole) = (x + 1.0, x.cast(DType::I32));
    let (truth, other) = (x.gt(0.0), x.gt(1.0));
    let _ = [-x, x - y, 2.0 * x, x / y, x.min(y), x.max(0.5), x.pow(2.0), x.prelu(y)];
    let _ = [x.abs(), x.sign(), x.floor(), x.ceil(), x.round(), x.square(), x.exp(), x.exp2()];
    let _ = [x.log(), x.log2(), x.sqrt(), x.rsqrt(), x.reciprocal(), x.sigmoid(), x.tanh()];
    let _ = [x.erf(), x.silu(), x.relu(), x.softplus(), x.hard_swish(), x.mish(), x.sin(), x.cos()];
    let _ = [x.tan(), x.asin(), x.acos(), x.atan(), x.sinh(), x.cosh(), x.asinh(), x.acosh()];
    let _ = [x.atanh(), x.expm1(), x.log1p(), x.log10(), x.cbrt(), x.erfc(), x.atan2(x), x.fmod(x)];
    let _ = [x.gelu(true), x.leaky_relu(0.1), x.elu(1.0), x.celu(1.0), x.selu(), x.clip(0.0, 1.0)];
    let _ = [x.hard_sigmoid(0.2, 0.5), truth.select(x, y), x.dropout(0.5), x.bitcast(DType::I32)];
    let _ = [x.eq(y), x.ne(y), x.lt(y), x.le(y), x.ge(y), !truth, truth & other];
    let _ = [truth | other, truth ^ other, whole << 1, whole >> 1];
    let _ = [x.sum(&[], false), x.mean(&[1], true), x.reduce_max(&[-1], false)];
    let _ = [x.reduce_min(&[0], false), x.logsumexp(&[1], false), x.argmax(1), x.argmin(0)];
    let _ = net.iota(DType::I32, &[2], 0).random_bits(&[3], 0);
    let labels = net.iota(DType::I64, &[2], 0);
    let classes = LossKind::CrossEntropy { label_smoothing: 0.1, ignore_index: Some(0) };
    let _ = [x.loss(classes, labels), x.loss(LossKind::Nll { ignore_index: None }, labels)];
    let _ = [LossKind::Mse, LossKind::L1, LossKind::BceWithLogits].map(|k| x.loss(k, y));
}

fn use_structured(net: &Net, x: Var<'_>) {
    let (row, index) = (net.scalar(1f32).expand(&[4]), net.iota(DType::I64, &[2], 0));
    let _ = [x.softmax(1), x.log_softmax(-1), x.cumsum(0), x.matmul(x.transpose(&[1, 0]))];
    let _ = [x.layer_norm(row, row, 1e-5), x.rms_norm(row, 1e-5)];
    let _ = [x.batch_norm(row, row, row, row, 1e-5), x.reshape(&[4, 2]), x.concat(&[x], 0)];
    let _ = [x.slice(-1, 1, 2), x.pad(&[0, 1], &[1, 0], 0.0), x.gather(index, 0), x.tile(&[2, 1])];
    let _ = [index.one_hot(3), index.scatter_add(x, 5, 0)];
    let image = net.input("image", f32([1, 4, 6, 6]));
    let _ = [image.group_norm(row, row, 2, 1e-5), image.instance_norm(row, row, 1e-5)];
    let (window, weight) = (Window::square(2, 2, 0), net.input("kernel", f32([4, 4, 2, 2])));
    let _ = image.conv(weight, Some(row), &window, 1);
    let _ = image.conv_transpose(weight, None, &window, 1);
    let _ = [image.max_pool(&window), image.avg_pool(&window)];
    let _ = [image.global_avg_pool(), image.global_max_pool()];
    let _ = image.unfold(&window, 0.0).fold(&window, &[6, 6]);
}

#[test]
fn every_row_of_the_table_has_a_method() {
    let net = Net::new("all", Mode::Train);
    let x = net.input("x", f32([2, 4]));
    use_elementwise(&net, x);
    use_structured(&net, x);
    net.output("x", x);
    let model = net.finish().unwrap();
    let used: BTreeSet<_> = model.graph.nodes().map(|(_, n)| n.op.name).collect();
    let wanted: BTreeSet<_> = ops::all().filter(|op| !internal(op)).map(|op| op.name).collect();
    assert_eq!(used, wanted);
}

#[test]
fn mistakes_name_their_line_layer_and_shapes_all_at_once() {
    let net = Net::new("wrong", Mode::Train);
    let x = net.input("x", f32([2, 3]));
    let scope = net.scope("head");
    let line = line!() + 1;
    let bad = x + net.param("w", &[4], Init::Zeros);
    drop(scope);
    // Follows from the first mistake, so it is none of its own.
    let worse = bad.relu().matmul(bad);
    net.output("y", worse);
    let y = Linear::new(5).apply("fc", x).reshape(&[11]);
    net.output("z", y);
    let error = net.finish().unwrap_err();
    assert_eq!(error.problems.len(), 2, "{error}");
    let [first, second] = &error.problems[..] else { panic!("{error}") };
    assert_eq!(first.at, format!("src/dsl/tests.rs:{line}"));
    assert_eq!((first.scope.as_str(), first.op.as_str()), ("head", "add"));
    assert_eq!(first.operands, ["f32[2, 3]", "f32[4]"]);
    assert_eq!(second.at, format!("src/dsl/tests.rs:{}", line + 5));
    assert!(second.to_string().contains("f32[2, 5]"), "{second}");
}

#[test]
fn layers_report_where_the_user_applied_them() {
    let net = Net::new("wrong", Mode::Infer);
    let x = net.input("x", f32([2, 3]));
    let line = line!() + 1;
    let _ = MultiHeadAttention::new(2, 0.02).apply("attn", x, None);
    let _ = Conv2d::new(4, 3).apply("conv", x);
    let _ = BatchNorm::default().apply("bn", net.scalar(1f32));
    let _ = Linear::new(4).apply("fc", net.scalar(1f32));
    let _ = x.slice(5, 0, 1);
    let error = net.finish().unwrap_err();
    let at: Vec<_> = error.problems.iter().map(|p| p.at.clone()).collect();
    let wanted: Vec<_> = (0..5).map(|i| format!("src/dsl/tests.rs:{}", line + i)).collect();
    assert_eq!(at, wanted, "{error}");
    assert_eq!(error.problems[0].scope, "attn");
}

#[test]
fn other_mistakes_do_not_panic() {
    let (net, other) = (Net::new("a", Mode::Train), Net::new("b", Mode::Train));
    let x = net.input("x", f32([2]));
    let _ = x + other.input("x", f32([2]));
    let _ = net.input("x", f32([2]));
    let _ = net.op("frobnicate", &[x], pamc_passes::ir::Attrs::none());
    let _ = x.dropout(1.0);
    net.output("y", x);
    net.output("y", x);
    let error = net.finish().unwrap_err().to_string();
    for part in ["another model", "'x' is used twice", "frobnicate", "p = 1", "'y' is used twice"] {
        assert!(error.contains(part), "{part} is not in {error}");
    }
    let error = Net::new("empty", Mode::Train).finish().unwrap_err().to_string();
    assert!(error.contains("no output"), "{error}");
}

#[test]
fn names_and_origins_follow_the_scopes() {
    let net = Net::new("named", Mode::Train);
    let x = net.input("x", f32([2, 3]));
    let blocks = net.scope("blocks.0");
    let y = Linear::new(5).apply("fc", x);
    let y = RmsNorm::default().apply("rms", LayerNorm::default().apply("norm", y));
    drop(blocks);
    net.output("y", y);
    let model = net.finish().unwrap();
    let names: Vec<_> = model.inputs(InputKind::Param).map(|i| i.name.as_str()).collect();
    let fc = ["blocks.0.fc.weight", "blocks.0.fc.bias"];
    let norms = ["blocks.0.norm.weight", "blocks.0.norm.bias", "blocks.0.rms.weight"];
    assert_eq!(names, [&fc[..], &norms[..]].concat());
    let product = model.graph.nodes().find(|(_, n)| n.op.name == "matmul").unwrap().1;
    assert_eq!(&*product.origin.scope, "blocks.0.fc");
    assert_eq!(&*product.origin.op, "matmul");
    assert!(product.origin.source.starts_with("src/dsl/tests.rs:"));
}

#[test]
fn training_has_dropout_and_running_statistics_and_inference_the_same_parameters() {
    let build = |mode| {
        let net = Net::new("modes", mode);
        let x = net.input("x", f32([4, 3, 8, 8]));
        let x = BatchNorm::default().apply("bn", x).dropout(0.5).dropout(0.25);
        net.output("y", x);
        net.finish().unwrap()
    };
    let (train, infer) = (build(Mode::Train), build(Mode::Infer));
    let outputs = |m: &Model| m.graph.outputs().iter().map(|o| o.0.clone()).collect::<Vec<_>>();
    assert_eq!(outputs(&train), ["bn.running_mean", "bn.running_var", "y"]);
    assert_eq!(outputs(&infer), ["y"]);
    assert_eq!(train.results().collect::<Vec<_>>(), ["y"]);
    let params = |m: &Model| m.inputs(InputKind::Param).map(|i| i.name.clone()).collect::<Vec<_>>();
    assert_eq!(params(&train), params(&infer));
    let streams = train.graph.nodes().filter(|(_, n)| n.op.name == "dropout");
    let streams: Vec<_> = streams.map(|(_, n)| n.attrs.int("stream")).collect();
    assert_eq!(streams, [0, 1]);
    let start = train.initial(7);
    assert_eq!(start["rng"].to_vec::<i32>().unwrap(), [7, 0]);
    assert_eq!(start["bn.running_var"].to_vec::<f32>().unwrap(), [1.0; 3]);
}

#[test]
fn running_statistics_settle_at_the_batch_in_piecewise_affine_arithmetic() {
    use pamc_passes::{arith::Arith, interpret, pass, program::Program};
    let net = Net::new("norm", Mode::Train);
    let x = net.input("x", f32([64, 3]));
    net.output("y", BatchNorm::default().apply("bn", x * 2.0 + 3.0));
    let model = net.finish().unwrap();
    let lowered = pass::expand(&pass::lower(&model.graph, Arith::PAM).unwrap()).unwrap();
    let program = Program::new(lowered, Arith::PAM).unwrap();
    let mut values = model.initial(0);
    values.insert("x".into(), Init::Normal { std: 1.0 }.tensor("x", &f32([64, 3]), 0));
    for _ in 0..80 {
        let mut made = interpret::run(&program, &values).unwrap();
        made.remove("y");
        values.extend(made);
    }
    let of = |name: &str| values[name].to_vec::<f32>().unwrap();
    // Means of 64 samples with the deviation 2, and a variance in piecewise affine products.
    assert!(of("bn.running_mean").iter().all(|m| (2.0..4.0).contains(m)), "{values:?}");
    assert!(of("bn.running_var").iter().all(|v| (2.5..6.0).contains(v)), "{values:?}");
}
