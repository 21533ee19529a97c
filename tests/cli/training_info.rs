//! ONNX models that describe their own training, against numpy (`models/onnx/training_info.py`).

use std::collections::BTreeMap;
use std::path::Path;

use pamc::onnx::{Algorithm, ImportOptions, Model};
use pamc::runtime::files::read_npz;
use pamc_passes::ir::Tensor;

use super::{Place, repository};

fn file(model: &str, name: &str) -> String {
    repository(&format!("models/onnx/training_info/{model}/{name}"))
}

/// Arguments of four steps over the batches in their order.
fn steps(model: &str) -> String {
    let data = if model == "initialized" { "adam" } else { model };
    let bind = if model == "explicit" { "--bind rate=0.125" } else { "" };
    let (path, data) = (file(model, "model.onnx"), file(data, "data.npz"));
    format!("train {path} --data {data} --batch-size 8 --no-shuffle {bind}")
}

/// The variables of a model file, by name.
fn variables(path: &Path) -> BTreeMap<String, Tensor> {
    let model = Model::load(path).expect("a model");
    let algorithm = Algorithm::of(&model).expect("readable").expect("it describes a training");
    let dims = [("batch".to_owned(), 2)].into();
    let options = ImportOptions { dims, ..ImportOptions::default() };
    let made = algorithm.iteration(&options).expect("imported");
    made.parameters.into_iter().chain(made.states).map(|t| (t.name, t.tensor)).collect()
}

fn losses(place: &Place) -> Vec<f32> {
    let log = std::fs::read_to_string(place.path("m.jsonl")).expect("metrics");
    let row = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    log.lines().map(|line| row(line)["loss"].as_f64().expect("a loss") as f32).collect()
}

#[track_caller]
fn close(what: &str, made: &[f32], wanted: &[f32]) {
    assert_eq!(made.len(), wanted.len(), "{what}");
    for (m, w) in made.iter().zip(wanted) {
        assert!((m - w).abs() <= 1e-5 * w.abs().max(1.0), "{what}: {m} against {w}");
    }
}

#[test]
fn iterations_follow_numpy_and_are_saved_into_the_file() {
    for model in ["adam", "explicit", "players"] {
        let place = Place::new();
        let options = "--arith float --metrics m.jsonl --save out.onnx";
        place.pamc(&format!("{} {options}", steps(model))).success();
        let mut wanted = read_npz(Path::new(&file(model, "expected.npz"))).expect("expected");
        let list = |t: &Tensor| t.to_vec::<f32>().expect("f32");
        close(model, &losses(&place), &list(&wanted.remove("losses").expect("losses")));
        let made = variables(&place.path("out.onnx"));
        assert!(wanted.keys().all(|name| made.contains_key(name)), "{model}");
        for (name, value) in &wanted {
            match value {
                Tensor::F32(_) => {
                    close(&format!("{model} {name}"), &list(&made[name]), &list(value))
                }
                _ => assert!(made[name].same_value(value), "{model} {name}"),
            }
        }
    }
}

#[test]
fn every_machine_iterates_alike_in_pam() {
    for model in ["adam", "explicit", "players", "initialized"] {
        let run = |device: &str| {
            let place = Place::new();
            let options = format!("--metrics m.jsonl --save out.onnx --device {device}");
            place.pamc(&format!("{} {options}", steps(model))).success();
            let bits: Vec<u32> = losses(&place).iter().map(|l| l.to_bits()).collect();
            (bits, std::fs::read(place.path("out.onnx")).expect("saved"))
        };
        assert!(run("cpu") == run("interpret"), "{model}");
    }
}

#[test]
fn initialization_draws_from_the_seed() {
    let weights = |seed: u32| {
        let place = Place::new();
        // No step of a rate of 0 changes anything that the loss depends on.
        let options = format!("--steps 1 --seed {seed} --gradients derive --optimizer sgd --lr 0");
        place.pamc(&format!("{} {options} --save out.onnx", steps("initialized"))).success();
        variables(&place.path("out.onnx"))
    };
    let (one, again, other) = (weights(1), weights(1), weights(2));
    let list = |t: &Tensor| t.to_vec::<f32>().expect("f32");
    for (name, bound) in [("w1", 1.5), ("w2", 0.5)] {
        assert!(one[name].same_value(&again[name]) && !one[name].same_value(&other[name]));
        let values = list(&one[name]);
        assert!(values.iter().all(|x| x.abs() <= bound), "{name}: {values:?}");
        assert!(values.iter().any(|x| x.abs() > bound / 10.0), "{name}: {values:?}");
    }
    assert_eq!(list(&one["b2"]), [0.0; 3]);
    let stored = variables(Path::new(&file("initialized", "model.onnx")));
    assert!(one["b1"].same_value(&stored["b1"]) && !one["w1"].same_value(&stored["w1"]));
}

#[test]
fn the_loss_alone_can_be_taken_from_the_file() {
    let place = Place::new();
    for arith in ["pam", "float"] {
        let options = "--gradients derive --lr 0.05 --epochs 20 --metrics m.jsonl";
        place.pamc(&format!("{} {options} --arith {arith}", steps("adam"))).success();
        let losses = losses(&place);
        assert!(losses[losses.len() - 4..].iter().sum::<f32>() < losses[..4].iter().sum::<f32>());
    }
}

#[test]
fn a_step_is_emitted_in_every_form() {
    let place = Place::new();
    let model = file("adam", "model.onnx");
    for (kind, out) in [("obj", "s.o"), ("onnx", "s.onnx"), ("pam", "s.pam"), ("spirv", "s_gpu")] {
        let to = format!("--dim batch=8 --train --emit {kind} -o {out}");
        place.pamc(&format!("{model} {to}")).success();
        assert!(place.path(out).exists());
    }
}

#[test]
fn what_has_nothing_to_act_on_is_refused() {
    let place = Place::new();
    let options = "--optimizer sgd --lr 1 --accumulate 2";
    place
        .pamc(&format!("{} {options}", steps("adam")))
        .failure(&["--optimizer, --lr, --accumulate", "--gradients derive"]);
    place
        .pamc(&format!("{} --trainable w1", steps("adam")))
        .failure(&["--trainable", "--gradients derive"]);
    place
        .pamc(&format!("{} --gradients derive --frozen w9", steps("adam")))
        .failure(&["--frozen w9 matches no parameter", "`w1`"]);
    let unbound = steps("explicit").replace("--bind rate=0.125", "");
    place.pamc(&unbound).failure(&["'rate'", "--bind rate=VALUE"]);
    place
        .pamc(&format!("{} --bind speed=1", steps("explicit")))
        .failure(&["--bind speed", "it has: x, t"]);
}
