//! Training from the command line: the same bits on every machine and at any number of threads.

use pamc::runtime::files::{Tensors, read_npz, read_safetensors};

use super::Place;

/// Metrics of each step, as the bits of the program's numbers, and the weights at the end.
#[derive(PartialEq)]
struct Trained {
    steps: Vec<Vec<(String, u32)>>,
    weights: Vec<(String, Vec<u8>)>,
}

fn train(place: &Place, arguments: &str, device: &str) -> Trained {
    let files = "--data data.npz --metrics m.jsonl --save w.safetensors";
    place.pamc(&format!("train {arguments} {files} {device}")).success();
    let log = std::fs::read_to_string(place.path("m.jsonl")).expect("metrics");
    let steps = log.lines().map(step).collect();
    let weights: Tensors = read_safetensors(&place.path("w.safetensors")).expect("weights");
    let weights = weights.into_iter().map(|(n, t)| (n, t.to_bytes())).collect();
    Trained { steps, weights }
}

/// The numbers of one line that the program computed.
fn step(line: &str) -> Vec<(String, u32)> {
    let row: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(line).expect("a JSON object a line");
    let computed = row.iter().filter(|(n, _)| !["step", "epoch", "seconds"].contains(&n.as_str()));
    let bits = |v: &serde_json::Value| (v.as_f64().expect("a number") as f32).to_bits();
    computed.map(|(n, v)| (n.clone(), bits(v))).collect()
}

#[track_caller]
fn same_everywhere(model: &str, options: &str) {
    let place = Place::new();
    place.samples("data.npz", model, 16);
    let arguments = format!("@{model} --batch-size 4 --steps 6 --lr 0.01 {options}");
    let one = train(&place, &arguments, "--threads 1");
    assert_eq!(one.steps.len(), 6, "{model}");
    let losses: Vec<_> =
        one.steps.iter().map(|row| row.iter().find(|(n, _)| n == "loss")).collect();
    assert!(losses.windows(2).any(|w| w[0] != w[1]), "{model}: the loss never changes");
    for device in ["--threads 2", "--device interpret", "--threads 1"] {
        let other = train(&place, &arguments, device);
        assert_eq!(one.steps, other.steps, "{model} {options} {device}");
        assert!(one == other, "{model} {options} {device}: the weights differ");
    }
}

#[test]
fn mlp_trains_alike() {
    same_everywhere("mlp:tiny", "--optimizer adamw --report grad_norm --clip-norm 0.5");
    same_everywhere("mlp:tiny", "--recipe paper --grad exact");
    same_everywhere("mlp:tiny", "--arith pam --optimizer sgd:momentum=0.9,nesterov --accumulate 2");
}

#[test]
fn cnn_trains_alike() {
    same_everywhere("cnn:tiny", "--optimizer adam");
}

#[test]
fn vit_trains_alike() {
    same_everywhere("vit:tiny", "--schedule cosine --warmup 2 --report lr");
}

#[test]
fn mixer_trains_alike() {
    same_everywhere("mixer:tiny", "--grad approx");
}

#[test]
fn gpt_trains_alike() {
    same_everywhere("gpt:tiny", "--grad approx,loss=exact,matmul.b=exact");
    same_everywhere("gpt:tiny,dropout=0.1", "--seed 3");
}

#[test]
fn translation_trains_alike() {
    same_everywhere("translation:tiny", "--loss cross_entropy --label-smoothing 0.1");
}

#[test]
fn what_was_trained_runs() {
    let place = Place::new();
    place.samples("data.npz", "mlp:tiny", 8);
    train(&place, "@mlp:tiny --batch-size 4 --steps 2", "");
    let data = read_npz(&place.path("data.npz")).expect("written");
    let inputs = [("input".to_string(), data["input"].clone())].into();
    pamc::runtime::files::write_npz(&place.path("x.npz"), &inputs).expect("written");
    let outputs = ["cpu", "interpret"].map(|device| {
        let run = format!("run @mlp:tiny --inputs x.npz --weights w.safetensors --device {device}");
        place.pamc(&format!("{run} --output {device}.npz")).success();
        read_npz(&place.path(&format!("{device}.npz"))).expect("written")
    });
    assert_eq!(outputs[0]["logits"].shape()[0], 8);
    assert!(outputs[0]["logits"].same_value(&outputs[1]["logits"]));
}

#[test]
fn evaluation_reports_true_scores() {
    let place = Place::new();
    place.samples("data.npz", "mlp:tiny", 12);
    let train = "train @mlp:tiny --data data.npz --eval data.npz --batch-size 4 --steps 3";
    let json = place.pamc(&format!("{train} --json")).success();
    let result: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(result["steps"], 3);
    let (loss, accuracy) = (&result["eval_loss"], &result["accuracy"]);
    assert!(loss.as_f64().is_some_and(|l| l > 0.0 && l < 100.0), "{json}");
    assert!(accuracy.as_f64().is_some_and(|a| (0.0..=1.0).contains(&a)), "{json}");
}
