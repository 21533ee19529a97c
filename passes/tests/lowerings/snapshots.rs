//! The text of every lowering: one small graph a row, in PAM and in ordinary arithmetic.

use pamc_passes::arith::Arith;
use pamc_passes::ir::{Dims, Graph, parse};
use pamc_passes::ops::{self, Kind};
use pamc_passes::pass::lower;

/// A row, the inputs and the result type of a graph of one node of it, and that node's operands and
/// attributes.
const EXAMPLES: &[(&str, &str, &str, &str)] = &[
    ("pow", "%a: f32[2], %b: f32[2]", "f32[2]", "%a, %b"),
    ("clip", "%x: f32[2]", "f32[2]", "%x {lo = -1.0, hi = 2.0}"),
    ("gelu", "%x: f32[2]", "f32[2]", "%x {approximate = \"tanh\"}"),
    ("elu", "%x: f32[2]", "f32[2]", "%x {alpha = 0.5}"),
    ("celu", "%x: f32[2]", "f32[2]", "%x {alpha = 0.5}"),
    ("mean", "%x: f32[4, 3]", "f32[1, 3]", "%x {axes = [0], keepdims = true}"),
    ("softmax", "%x: f32[4, 3]", "f32[4, 3]", "%x {axis = -1}"),
    ("log_softmax", "%x: f32[4, 3]", "f32[4, 3]", "%x {axis = -1}"),
    ("logsumexp", "%x: f32[4, 3]", "f32[4]", "%x {axes = [1]}"),
    ("layer_norm", "%x: f32[4, 3], %g: f32[3], %b: f32[3]", "f32[4, 3]", "%x, %g, %b"),
    ("rms_norm", "%x: f32[4, 3], %g: f32[3]", "f32[4, 3]", "%x, %g"),
    (
        "batch_norm",
        "%x: f32[2, 3, 4], %g: f32[3], %b: f32[3], %m: f32[3], %v: f32[3]",
        "f32[2, 3, 4]",
        "%x, %g, %b, %m, %v",
    ),
    (
        "group_norm",
        "%x: f32[2, 4, 3], %g: f32[4], %b: f32[4]",
        "f32[2, 4, 3]",
        "%x, %g, %b {groups = 2}",
    ),
    ("instance_norm", "%x: f32[2, 4, 3], %g: f32[4], %b: f32[4]", "f32[2, 4, 3]", "%x, %g, %b"),
    ("matmul", "%a: f32[2, 5, 4], %b: f32[4, 3]", "f32[2, 5, 3]", "%a, %b"),
    (
        "conv",
        "%x: f32[2, 4, 5, 5], %w: f32[6, 2, 3, 3], %b: f32[6]",
        "f32[2, 6, 3, 3]",
        "%x, %w, %b {groups = 2, pads = [1, 1, 1, 1], strides = [2, 2]}",
    ),
    (
        "conv_transpose",
        "%x: f32[2, 4, 3], %w: f32[4, 6, 3]",
        "f32[2, 6, 7]",
        "%x, %w {strides = [2]}",
    ),
    ("max_pool", "%x: f32[2, 3, 6]", "f32[2, 3, 3]", "%x {kernel = [2], strides = [2]}"),
    (
        "avg_pool",
        "%x: f32[2, 3, 5]",
        "f32[2, 3, 3]",
        "%x {kernel = [3], pads = [1, 1], strides = [2]}",
    ),
    ("global_avg_pool", "%x: f32[2, 3, 5]", "f32[2, 3, 1]", "%x"),
    ("global_max_pool", "%x: f32[2, 3, 5]", "f32[2, 3, 1]", "%x"),
    ("one_hot", "%ids: i64[2]", "f32[2, 3]", "%ids {depth = 3}"),
    ("dropout", "%x: f32[4], state %rng: i32[2]", "f32[4]", "%x, %rng {p = 0.25, stream = 3}"),
    ("tile", "%x: f32[2, 3]", "f32[4, 3]", "%x {repeats = [2, 1]}"),
    (
        "cross_entropy",
        "%x: f32[4, 3], %labels: i64[4], %w: f32[3]",
        "f32[]",
        "%x, %labels, %w {ignore_index = -1, label_smoothing = 0.125}",
    ),
    ("nll_loss", "%x: f32[4, 3], %labels: i64[4]", "f32[]", "%x, %labels {ignore_index = -1}"),
    ("mse_loss", "%x: f32[4], %t: f32[4]", "f32[]", "%x, %t"),
    ("l1_loss", "%x: f32[4], %t: f32[4]", "f32[]", "%x, %t"),
    ("bce_with_logits", "%x: f32[4], %t: f32[4]", "f32[]", "%x, %t"),
];

/// The graph of a row's example: that of the table above, or the plain elementwise one.
pub fn example(op: &ops::Op) -> Graph {
    let (inputs, result, call) = match EXAMPLES.iter().find(|e| e.0 == op.name) {
        Some((_, inputs, result, call)) => {
            (inputs.to_string(), result.to_string(), call.to_string())
        }
        None => {
            let names: Vec<_> = op.args.iter().map(|a| format!("%{a}")).collect();
            let inputs: Vec<_> = names.iter().map(|n| format!("{n}: f32[2]")).collect();
            (inputs.join(", "), "f32[2]".to_string(), names.join(", "))
        }
    };
    let name = op.name;
    let typed =
        format!("graph @{name}({inputs}) -> {result} {{\n%y = {name} {call}\nreturn y = %y\n}}");
    parse(&typed, &Dims::new()).unwrap_or_else(|e| panic!("{e}\n{typed}"))
}

/// Every real row is complete: it has a lowering and a bound, and its lowering equals its snapshot.
/// A row without one of these fails here.
#[test]
fn every_real_row_has_lowering_bound_and_snapshot() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots");
    for op in ops::all().filter(|op| op.kind == Kind::Real) {
        assert!(op.lower.is_some(), "{} has no lowering", op.name);
        assert!(op.bound.is_some(), "{} has no error bound", op.name);
        let graph = example(op);
        let [pam, float] =
            [Arith::PAM, Arith::Float].map(|a| lower(&graph, a).unwrap().to_string());
        let text = format!("{graph}\n; pam\n{pam}\n; float\n{float}");
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path(folder);
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.bind(|| insta::assert_snapshot!(format!("lower__{}", op.name), text));
    }
}

/// The text form of a lowered graph is read back as the same graph.
#[test]
fn lowered_graphs_round_trip() {
    for op in ops::all().filter(|op| op.kind == Kind::Real) {
        let text = lower(&example(op), Arith::PAM).unwrap().to_string();
        let again = parse(&text, &Dims::new()).unwrap_or_else(|e| panic!("{e}\n{text}"));
        assert_eq!(again.to_string(), text);
    }
}
