//! Every model in every size and mode: builds, counts, runs.

use std::collections::HashMap;

use pamc_lowering::codegen::Target;
use pamc_lowering::emit::{EmitOptions, TrainPrograms, module_for_train};
use pamc_passes::arith::Arith;
use pamc_passes::interpret::{self, Values};
use pamc_passes::ir::{DType, Graph, InputKind, Tensor, TensorType};
use pamc_passes::pass;
use pamc_passes::program::Program;
use pamc_passes::train::{self, TrainSpec};

use super::*;
use crate::dsl::Init;

fn sizes(spec: &'static ModelSpec) -> impl Iterator<Item = &'static str> {
    [""].into_iter().chain(spec.sizes.iter().map(|s| s.name))
}

/// Numbers that fit an input: any for `f32`, small class numbers for integers.
fn data(ty: &TensorType) -> Tensor {
    let tensor = match ty.dtype {
        DType::I64 => Tensor::from_vec(&ty.shape, (0..ty.len() as i64).map(|i| i % 4).collect()),
        _ => return Init::Normal { std: 1.0 }.tensor("data", ty, 0),
    };
    tensor.unwrap()
}

fn run(model: &Model, arith: Arith) -> Values {
    let lowered = pass::expand(&pass::lower(&model.graph, arith).unwrap()).unwrap();
    let program = Program::new(lowered, arith).unwrap();
    let mut values = model.initial(1);
    values.extend(
        model.inputs(InputKind::Data).map(|i| (i.name.clone(), data(model.graph.ty(i.node)))),
    );
    interpret::run(&program, &values).unwrap()
}

fn finite(name: &str, t: &Tensor) {
    let values = t.to_vec::<f32>().unwrap_or_default();
    assert!(values.iter().all(|x| x.is_finite()), "{name} is not finite");
}

#[test]
fn every_model_builds_in_every_size_and_mode_and_takes_its_loss() {
    for spec in MODELS {
        for size in sizes(spec) {
            let build = |mode| spec.build(size, 2, mode).unwrap_or_else(|e| panic!("{e}"));
            let (mut train, infer) = (build(Mode::Train), build(Mode::Infer));
            let parameters = |m: &Model| {
                let of = |i: &pamc_passes::ir::Input| (i.name.clone(), m.graph.ty(i.node).clone());
                m.inputs(InputKind::Param).map(of).collect::<Vec<_>>()
            };
            assert_eq!(parameters(&train), parameters(&infer), "{}:{size}", spec.name);
            assert!(train.results().eq(["logits"]), "{}:{size}", spec.name);
            let loss = train.loss.clone().unwrap().attach(&mut train.graph).unwrap();
            assert_eq!(*train.graph.ty(loss), TensorType::f32([]));
            assert!(train.graph.find_input("labels").is_some());
        }
    }
}

#[test]
fn parameter_counts_are_the_published_ones() {
    let counts = HashMap::from([
        ("mlp", 784 * 128 + 128 + 128 * 10 + 10),
        ("cnn", 16 * 9 + 2 * 16 + 32 * 16 * 9 + 2 * 32 + 32 * 49 * 10 + 10),
        // DeiT-Tiny (Touvron et al. 2021) and Mixer-S/16 as their authors' code counts them.
        ("vit", 5_717_416),
        ("mixer", 18_528_264),
        ("gpt", 1_841_280),
        // fairseq's transformer_iwslt_de_en on the same vocabularies.
        ("translation", 39_469_056),
    ]);
    let readme = include_str!("README.md");
    for spec in MODELS {
        let count = spec.build("", 1, Mode::Infer).unwrap().parameter_count();
        assert_eq!(count, counts[spec.name], "{}", spec.name);
        let row = readme.lines().find(|l| l.starts_with(&format!("| `@{}` |", spec.name))).unwrap();
        let stated: Vec<_> = row.split('|').map(|cell| cell.replace(',', "")).collect();
        assert!(stated.contains(&format!(" {count} ")), "{row}");
        assert!(spec.sizes.iter().all(|s| row.contains(&format!("`{}`", s.name))), "{row}");
    }
}

#[test]
fn tiny_models_compute_finite_logits_in_both_arithmetics() {
    for spec in MODELS {
        for mode in [Mode::Train, Mode::Infer] {
            let model = spec.build("tiny", 2, mode).unwrap();
            let wanted = model.graph.ty(model.graph.find_output("logits").unwrap()).clone();
            let runs = [Arith::Float, Arith::PAM].map(|arith| run(&model, arith));
            for values in &runs {
                assert_eq!(values["logits"].ty(), wanted, "{}", spec.name);
                values.iter().for_each(|(name, t)| finite(&format!("{} {name}", spec.name), t));
            }
            assert!(!runs[0]["logits"].same_value(&runs[1]["logits"]), "{}", spec.name);
        }
    }
}

/// Losses of a tiny model on one batch, step by step.
fn train(spec: &'static ModelSpec, arith: Arith, steps: usize) -> Vec<f32> {
    let mut model = spec.build("tiny", 4, Mode::Train).unwrap();
    let loss = model.loss.clone().unwrap().attach(&mut model.graph).unwrap();
    model.graph.output("loss", loss).unwrap();
    let lowered = pass::lower(&model.graph, arith).unwrap();
    let how = TrainSpec { lr: 0.01, ..TrainSpec::default() };
    let made = train::build_step(&lowered, "loss", &[], &how, arith).unwrap();
    assert!(made.independent.is_empty(), "{}: {:?}", spec.name, made.independent);
    let program = Program::new(pass::expand(&made.step).unwrap(), arith).unwrap();
    let mut values = model.initial(1);
    values.extend(made.initial);
    values.extend(
        model.inputs(InputKind::Data).map(|i| (i.name.clone(), data(model.graph.ty(i.node)))),
    );
    let mut losses = Vec::new();
    for _ in 0..steps {
        for (name, value) in interpret::run(&program, &values).unwrap() {
            if name == "loss" {
                losses.push(value.item::<f32>().unwrap());
            } else if let Some(slot) = values.get_mut(&name) {
                *slot = value;
            }
        }
    }
    losses
}

#[test]
fn tiny_models_learn_a_batch_in_both_arithmetics() {
    for spec in MODELS {
        for arith in [Arith::Float, Arith::PAM] {
            let losses = train(spec, arith, 40);
            let (first, last) = (losses[0], losses[39]);
            assert!(last < 0.7 * first, "{} {}: {losses:?}", spec.name, arith.name());
        }
    }
}

/// The training step of a model as a graph of primitives, and values for all its inputs.
fn step(model: &str, size: &str) -> (Graph, Values) {
    let spec = MODELS.iter().find(|m| m.name == model).unwrap();
    let mut model = spec.build(size, 2, Mode::Train).unwrap();
    let loss = model.loss.clone().unwrap().attach(&mut model.graph).unwrap();
    model.graph.output("loss", loss).unwrap();
    let lowered = pass::lower(&model.graph, Arith::PAM).unwrap();
    let made = train::build_step(&lowered, "loss", &[], &TrainSpec::default(), Arith::PAM).unwrap();
    let mut values = model.initial(1);
    values.extend(made.initial);
    values.extend(
        model.inputs(InputKind::Data).map(|i| (i.name.clone(), data(model.graph.ty(i.node)))),
    );
    (pass::expand(&made.step).unwrap(), values)
}

#[test]
fn recomputation_saves_memory_and_changes_no_bit() {
    for model in ["mlp", "cnn", "vit", "gpt", "translation"] {
        let (plain, values) = step(model, "tiny");
        let again = pass::recompute(&plain).unwrap();
        let [plain, again] = [plain, again].map(|g| Program::new(g, Arith::PAM).unwrap());
        let wanted = interpret::run(&plain, &values).unwrap();
        for (name, value) in interpret::run(&again, &values).unwrap() {
            assert!(value.same_value(&wanted[&name]), "{model}: {name}");
        }
    }
    let (plain, _) = step("gpt", "context=64,layers=3,d=32,heads=4");
    let again = pass::recompute(&plain).unwrap();
    let arena = |graph| {
        let step = Program::new(graph, Arith::PAM).unwrap();
        let programs = TrainPrograms { step: &step, micro: None, accumulate: 1 };
        module_for_train(programs, &Target::host(), &EmitOptions::default()).unwrap().stats
    };
    let [plain, again] = [plain, again].map(arena);
    assert!(again.lower_bound < plain.lower_bound * 3 / 4, "{again:?} against {plain:?}");
}

#[test]
fn later_symbols_do_not_change_earlier_logits() {
    let model = lookup("gpt").unwrap().build("tiny", 1, Mode::Infer).unwrap();
    let graph = pass::expand(&pass::lower(&model.graph, Arith::PAM).unwrap()).unwrap();
    let program = Program::new(graph, Arith::PAM).unwrap();
    let logits = |ids: [i64; 8]| {
        let mut values = model.initial(3);
        values.insert("ids".into(), Tensor::from_vec(&[1, 8], ids.to_vec()).unwrap());
        interpret::run(&program, &values).unwrap()["logits"].to_vec::<f32>().unwrap()
    };
    let (a, b) = (logits([1, 2, 3, 4, 5, 6, 7, 8]), logits([1, 2, 3, 4, 5, 9, 0, 1]));
    let symbols = a.len() / 8;
    assert_eq!(a[..5 * symbols], b[..5 * symbols]);
    assert_ne!(a[5 * symbols..], b[5 * symbols..]);
}

#[test]
fn padding_of_the_source_does_not_change_the_translation() {
    let logits = |length: usize, source: Vec<i64>| {
        let options = format!("tiny,source_length={length}");
        let spec = lookup("translation").unwrap();
        let model = spec.build(&options, 1, Mode::Infer).unwrap();
        let graph = pass::expand(&pass::lower(&model.graph, Arith::Float).unwrap()).unwrap();
        let program = Program::new(graph, Arith::Float).unwrap();
        let mut values = model.initial(3);
        values.insert("source".into(), Tensor::from_vec(&[1, length], source).unwrap());
        values
            .insert("target_in".into(), Tensor::from_vec(&[1, 5], vec![1i64, 2, 3, 4, 5]).unwrap());
        interpret::run(&program, &values).unwrap()["logits"].to_vec::<f32>().unwrap()
    };
    let (short, long) = (logits(3, vec![4, 5, 6]), logits(6, vec![4, 5, 6, 0, 0, 0]));
    let gap = short.iter().zip(&long).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
    assert!(gap < 1e-5, "{gap}");
    let all_padding = logits(3, vec![0, 0, 0]);
    assert!(all_padding.iter().all(|x| x.is_finite()));
}

#[test]
fn options_that_are_unknown_or_out_of_range_are_explained() {
    let error = |text: &str| build(text, Some(1), Mode::Infer).map(|_| ()).unwrap_err().to_string();
    for (text, parts) in [
        ("@gtp", &["'@gtp'", "@gpt", "@translation"][..]),
        ("@gpt:huge", &["no size 'huge'", "small", "tiny", "layers=4"]),
        ("@gpt:depth=3", &["no option 'depth'", "layers=4", "heads=6"]),
        ("@gpt:layers=0", &["'layers'", "'0'", "1 to 256"]),
        ("@gpt:layers=many", &["'layers'", "'many'"]),
        ("@gpt:dropout=1", &["'dropout'", "0 to below 1"]),
        ("@gpt:dropout=nan", &["'dropout'", "'nan'"]),
        ("@gpt:activation=sine", &["relu", "gelu"]),
        ("@gpt:small,tiny", &["'tiny'", "'small'"]),
        ("@gpt:d=64,d=32", &["'d=32'"]),
        ("@gpt:d=100", &["models/gpt.rs:", "100 features", "6 heads", "blocks.0.attn"]),
        ("@vit:patch=15", &["models/vit.rs:", "224", "15"]),
        ("@cnn:stages=8", &["models/cnn.rs:", "max_pool"]),
    ] {
        let error = error(text);
        for part in parts {
            assert!(error.contains(part), "{text}: '{part}' is not in: {error}");
        }
    }
    let empty = build("@mlp", Some(0), Mode::Infer).map(|_| ()).unwrap_err();
    assert!(matches!(empty, ModelError::EmptyBatch));
}

#[test]
fn options_count_on_top_of_a_size() {
    let count = |text: &str| build(text, Some(1), Mode::Infer).unwrap().parameter_count();
    let block = count("@gpt:small,layers=3") - count("@gpt:small");
    assert_eq!(count("gpt:layers=4,small") - count("gpt:small"), 2 * block);
}

#[test]
fn specs_are_documented_and_their_sizes_name_options() {
    for spec in MODELS {
        assert!(spec.doc.len() > 20 && spec.batch > 0, "{}", spec.name);
        assert!(spec.sizes.iter().any(|s| s.name == "tiny"), "{}", spec.name);
        for (name, value) in spec.sizes.iter().flat_map(|s| s.set) {
            let option = spec.options.iter().find(|o| o.name == *name);
            let option = option.unwrap_or_else(|| panic!("{} has no {name}", spec.name));
            assert_eq!(
                std::mem::discriminant(value),
                std::mem::discriminant(&option.default),
                "{name}"
            );
        }
    }
}
