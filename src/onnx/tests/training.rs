//! The training sets compute what ONNX Runtime computed from the same files.

use std::collections::HashMap;
use std::fs;

use pamc_passes::interpret::Values;
use pamc_passes::ir::{DType, Graph, InputKind, Region, Tensor, TensorType};

use super::{SETS, fixture, run};
use crate::onnx::{Checkpoint, OnnxTrainingSet, TrainingFiles, TrainingGraphs, UpdateRule};

fn load(set: &str) -> OnnxTrainingSet {
    OnnxTrainingSet::load(fixture(set, "").as_path()).unwrap()
}

fn graphs(set: &OnnxTrainingSet, batch: usize) -> TrainingGraphs {
    set.graphs(&HashMap::from([("batch".to_owned(), batch)])).unwrap()
}

/// Losses of ONNX Runtime's own run.
fn golden(set: &str) -> Vec<f32> {
    let text = fs::read_to_string(fixture(set, "golden_losses.json")).unwrap();
    let list = text.split_once("\"losses\": [").unwrap().1.split_once(']').unwrap().0;
    list.split(',').map(|x| x.trim().parse().unwrap()).collect()
}

/// Data of the first two steps of that run, by input name.
fn batches(set: &str) -> [Values; 2] {
    let bytes = fs::read(fixture(set, "first_batches.bin")).unwrap();
    let ints = |b: &[u8]| b.iter().map(|&x| i64::from(x)).collect::<Vec<_>>();
    let halves = |b: &[u8], i: usize| b[i * b.len() / 2..(i + 1) * b.len() / 2].to_vec();
    [0, 1].map(|i| match set {
        "mlp_adamw" => {
            let (x, labels) = bytes.split_at(100 * 784);
            let x = halves(x, i).iter().map(|&p| f32::from(p) / 255.0).collect();
            Values::from([
                ("input".to_owned(), Tensor::from_vec::<f32>(&[50, 784], x).unwrap()),
                ("labels".to_owned(), Tensor::from_vec(&[50], ints(&halves(labels, i))).unwrap()),
            ])
        }
        _ => {
            let (ids, labels) = bytes.split_at(64 * 32);
            Values::from([
                ("ids".to_owned(), Tensor::from_vec(&[32, 32], ints(&halves(ids, i))).unwrap()),
                ("labels".to_owned(), Tensor::from_vec(&[1024], ints(&halves(labels, i))).unwrap()),
            ])
        }
    })
}

fn parameters(set: &OnnxTrainingSet) -> Values {
    set.parameters().iter().map(|p| (p.name.clone(), p.tensor.clone())).collect()
}

fn batch_size(set: &str) -> usize {
    if set == "mlp_adamw" { 50 } else { 32 }
}

/// AdamW as HuggingFace Transformers has it, the first step: moments begin at 0.
fn first_update(p: &Tensor, g: &Tensor, lr: f32, rule: &UpdateRule) -> Tensor {
    let UpdateRule::AdamW { beta1, beta2, epsilon, decay_last: true, correct_bias: true, .. } =
        *rule
    else {
        panic!("{rule:?}");
    };
    let update = |(w, g): (f32, f32)| {
        let (m, v) = ((1.0 - beta1) * g, (1.0 - beta2) * g * g);
        let rate = lr * (1.0 - beta2).sqrt() / (1.0 - beta1);
        w - rate * m / (v.sqrt() + epsilon)
    };
    let (w, g) = (p.to_vec::<f32>().unwrap(), g.to_vec::<f32>().unwrap());
    Tensor::from_vec(p.shape(), w.into_iter().zip(g).map(update).collect()).unwrap()
}

#[test]
fn two_steps_follow_onnx_runtime() {
    for (name, lr) in [("mlp_adamw", 1e-3), ("lm_tiny", 3e-3)] {
        let set = load(name);
        let graphs = graphs(&set, batch_size(name));
        let losses = golden(name);
        let [first, second] = batches(name);
        let mut values = parameters(&set);
        let feed =
            |values: &Values, batch: Values| values.clone().into_iter().chain(batch).collect();
        let gradients = set.own_gradients(&graphs.dims).unwrap();
        let made = run(&gradients.graph, &feed(&values, first.clone()));
        let loss = made["loss"].item::<f32>().unwrap();
        assert!((loss - losses[0]).abs() < 1e-5 * loss, "{name}: {loss} against {}", losses[0]);
        for p in set.parameters() {
            let g = &made[&format!("grad.{}", p.name)];
            assert_eq!(g.shape(), p.tensor.shape());
            values.insert(p.name.clone(), first_update(&p.tensor, g, lr, &set.optimizer().rule));
        }
        for graph in [&graphs.loss.graph, &graphs.eval.graph] {
            let loss = run(graph, &feed(&values, second.clone()))["loss"].item::<f32>().unwrap();
            assert!((loss - losses[1]).abs() < 1e-4 * loss, "{name}: {loss} against {}", losses[1]);
        }
    }
}

/// Values without pattern in [−1, 1), for data inputs; labels are small integers.
fn noise(graph: &Graph, set: &OnnxTrainingSet) -> Values {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    let mut fill = |name: &str, ty: &TensorType| {
        let stored = set.checkpoint().parameters().find(|p| p.name == name);
        let list = (0..ty.len()).map(|_| next()).collect::<Vec<f32>>();
        match (stored, ty.dtype) {
            (Some(p), _) => p.tensor.clone(),
            (None, DType::F32) => Tensor::from_vec(&ty.shape, list).unwrap(),
            _ => {
                let labels = list.iter().map(|x| (x.abs() * 4.0) as i64).collect::<Vec<_>>();
                Tensor::from_vec(&ty.shape, labels).unwrap()
            }
        }
    };
    let inputs = graph.inputs().iter();
    inputs.map(|i| (i.name.clone(), fill(&i.name, graph.ty(i.node)))).collect()
}

/// Along the file's gradient the loss must grow by the gradient's own length: convolution,
/// pooling, batch statistics and squared error, whose gradient operators are composed here.
#[test]
fn gradients_in_the_file_agree_with_differences() {
    for name in ["cnn_bn", "mlp_mse", "patches"] {
        let set = load(name);
        let graphs = graphs(&set, 3);
        let gradients = set.own_gradients(&graphs.dims).unwrap();
        let values = noise(&gradients.graph, &set);
        let made = run(&gradients.graph, &values);
        for p in set.parameters() {
            let gradient = made[&format!("grad.{}", p.name)].to_vec::<f32>().unwrap();
            let norm = gradient.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
            if name == "cnn_bn" && p.name == "c1.bias" {
                assert!(norm < 1e-5, "batch norm takes the bias before it away: {norm}");
                continue;
            }
            let loss_at = |step: f64| {
                let weights = p.tensor.to_vec::<f32>().unwrap().into_iter().zip(&gradient);
                let moved =
                    weights.map(|(w, g)| (f64::from(w) + step * f64::from(*g) / norm) as f32);
                let moved = Tensor::from_vec::<f32>(p.tensor.shape(), moved.collect()).unwrap();
                let mut values = values.clone();
                values.insert(p.name.clone(), moved);
                f64::from(run(&graphs.loss.graph, &values)["loss"].item::<f32>().unwrap())
            };
            let h = 2e-3;
            let slope = (loss_at(h) - loss_at(-h)) / (2.0 * h);
            assert!((slope / norm - 1.0).abs() < 0.03, "{name} {}: {slope} {norm}", p.name);
        }
    }
}

#[test]
fn running_statistics_are_state() {
    let set = load("cnn_bn");
    let graphs = graphs(&set, 3);
    let mut names: Vec<_> = set.states().iter().map(|p| p.name.clone()).collect();
    names.sort();
    assert_eq!(names, ["b1.running_mean", "b1.running_var"]);
    for name in &names {
        for graph in [&graphs.forward.graph, &graphs.eval.graph, &graphs.loss.graph] {
            assert_eq!(graph.find_input(name).unwrap().kind, InputKind::State);
        }
        assert!(graphs.loss.graph.find_output(name).is_some());
        assert!(graphs.eval.graph.find_output(name).is_none());
    }
    // Nine tenths of the old variance stay; the inputs are below 1, so little comes in.
    let values = noise(&graphs.loss.graph, &set);
    let made = run(&graphs.loss.graph, &values);
    let list = |v: &Tensor| v.to_vec::<f32>().unwrap();
    let name = "b1.running_var";
    for (new, old) in list(&made[name]).into_iter().zip(list(&values[name])) {
        let batch = (new - 0.9 * old) / 0.1;
        assert!((0.01..1.0).contains(&batch), "{old} to {new}");
    }
}

#[test]
fn labels_are_counted_by_the_models_output() {
    let set = load("lm_tiny");
    assert_eq!(set.data_inputs(), ["ids", "labels"]);
    let graphs = graphs(&set, 3);
    assert_eq!(graphs.dims["rows"], 96);
    let output = graphs.forward.graph.find_output("output").unwrap();
    assert_eq!(graphs.forward.graph.shape(output), [96, 96]);
}

#[test]
fn parameters_are_the_trained_ones_and_data_comes_first() {
    for name in SETS {
        let set = load(name);
        let graphs = graphs(&set, 2);
        let checkpoint = Checkpoint::load(&fixture(name, "checkpoint")).unwrap();
        let gradients = set.own_gradients(&graphs.dims).unwrap();
        for graph in [&graphs.loss.graph, &gradients.graph] {
            let of = |kind| graph.inputs().iter().filter(move |i| i.kind == kind);
            assert_eq!(of(InputKind::Param).count(), checkpoint.trainable.len());
            assert_eq!(of(InputKind::State).count(), 0);
            let data: Vec<_> = of(InputKind::Data).map(|i| i.name.as_str()).collect();
            assert_eq!(data, set.data_inputs());
            assert_eq!(graph.outputs()[0].0, "loss");
        }
    }
}

fn scopes_and_regions(graph: &Graph, op: &str) -> Vec<(String, Region)> {
    let nodes = graph.nodes().filter(|(_, n)| n.op.name == op);
    nodes.map(|(_, n)| (n.origin.scope.to_string(), n.origin.region)).collect()
}

#[test]
fn nodes_know_their_layer_and_their_part_of_the_program() {
    let set = load("mlp_adamw");
    let gradients = set.own_gradients(&graphs(&set, 2).dims).unwrap();
    let graph = &gradients.graph;
    let found = scopes_and_regions(graph, "relu");
    assert_eq!(found, [(String::new(), Region::Forward)]);
    let found = scopes_and_regions(graph, "cross_entropy");
    assert_eq!(found[0].1, Region::Loss);
    let found = scopes_and_regions(graph, "matmul");
    let forward = ["fc1", "fc2"].map(|s| (s.to_owned(), Region::Forward));
    assert_eq!(found[..2], forward);
    assert!(found[2..].iter().all(|(_, region)| *region == Region::Backward));
}

/// ONNX Runtime's script writes no `forward.onnx`.
#[test]
fn without_the_forward_model_the_loss_tells_it() {
    for (name, output) in [
        ("lm_tiny", "output"),
        ("mlp_adamw", "output"),
        ("mlp_mse", "output"),
        ("cnn_bn", "output"),
    ] {
        let files = TrainingFiles::load(&fixture(name, "")).unwrap();
        let whole = graphs(&OnnxTrainingSet::of(files.clone()).unwrap(), 3);
        let set = OnnxTrainingSet::of(TrainingFiles { forward: None, ..files }).unwrap();
        let bare = graphs(&set, 3);
        assert!(bare.dims.iter().all(|(dim, size)| whole.dims[dim] == *size), "{name}");
        let node = |g: &TrainingGraphs| g.forward.graph.find_output(output).unwrap();
        assert_eq!(bare.forward.graph.shape(node(&bare)), whole.forward.graph.shape(node(&whole)));
        assert_eq!(bare.loss.graph.to_string(), whole.loss.graph.to_string(), "{name}");
    }
}

#[test]
fn the_optimizer_is_described() {
    let spec = load("lm_tiny").optimizer().clone();
    let UpdateRule::AdamW { beta1, beta2, epsilon, weight_decay, correct_bias, decay_last } =
        spec.rule
    else {
        panic!("{spec:?}");
    };
    assert_eq!((beta1, beta2, epsilon, weight_decay), (0.9, 0.999, 1e-6, 0.0));
    assert!(correct_bias && decay_last && spec.max_norm.is_none());
}

#[test]
fn a_folder_that_is_no_set_names_the_missing_file() {
    let dir = tempfile::tempdir().unwrap();
    assert!(!OnnxTrainingSet::is_one(dir.path()));
    let error = OnnxTrainingSet::load(dir.path()).unwrap_err().to_string();
    assert!(error.contains("eval_model.onnx"), "{error}");
}
