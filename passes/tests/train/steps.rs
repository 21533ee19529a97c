//! Clipping, accumulation, schedules, states and what is said about impossible steps.

use pamc_passes::arith::{Arith, Recipe};
use pamc_passes::build::Cx;
use pamc_passes::ir::{DType, Graph, InputKind, Origin, Region, Tensor, TensorType};
use pamc_passes::reference as r;
use pamc_passes::train::{Metric, TrainSpec, build_step};

use crate::common::*;

fn same_bits(a: &[f32], b: &[f32]) {
    let bits = |x: &[f32]| x.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(a), bits(b), "{a:?} against {b:?}");
}

#[test]
fn long_gradients_are_shortened() {
    let (x, z) = (data(3, 6), data(4, 3));
    let square = |v: &[f32]| r::reduce_sum(v.iter().map(|g| r::mul(*g, *g)));
    let norm = r::sqrt(r::add(square(&x), square(&z)));
    for limit in [0.25, 1000.0] {
        let spec = TrainSpec { clip_norm: Some(limit), ..spec("sgd") };
        let mut trainer = Trainer::new(Arith::PAM, &spec);
        assert_eq!(trainer.graphs.metrics, ["loss", "grad_norm", "lr"]);
        let metrics = trainer.step(&[(x.clone(), z.clone())]);
        assert_eq!(item(&metrics, "grad_norm"), norm);
        let share = r::div(limit as f32, norm).min(1.0);
        let moved = |(p, g): (&f32, &f32)| r::sub(*p, r::mul(r::mul(*g, share), 0.1));
        same_bits(&trainer.floats("w"), &W.iter().zip(&x).map(moved).collect::<Vec<_>>());
        same_bits(&trainer.floats("b"), &B.iter().zip(&z).map(moved).collect::<Vec<_>>());
    }
    // In ordinary arithmetic the norm becomes the limit.
    let spec = TrainSpec { clip_norm: Some(0.25), ..spec("sgd") };
    let mut trainer = Trainer::new(Arith::Float, &spec);
    trainer.step(&[(x, z)]);
    let moved = |name: &str, start: &[f32]| -> f64 {
        let pairs = trainer.floats(name).into_iter().zip(start);
        pairs.map(|(p, s)| (f64::from(p) - f64::from(*s)).powi(2)).sum()
    };
    let length = (moved("w", &W) + moved("b", &B)).sqrt() / 0.1;
    assert!((length - 0.25).abs() < 1e-5, "{length}");
}

/// A norm of zero shortens nothing and makes no NaN.
#[test]
fn zero_gradients_survive_clipping() {
    for arith in arithmetics() {
        let spec = TrainSpec { clip_norm: Some(1.0), ..spec("sgd") };
        let mut trainer = Trainer::new(arith, &spec);
        let metrics = trainer.step(&[(vec![0.0; 6], vec![0.0; 3])]);
        assert_eq!(item(&metrics, "grad_norm"), 0.0);
        same_bits(&trainer.floats("w"), &W);
    }
}

/// Two micro-batches are one batch with the mean of their gradients, in every arithmetic.
#[test]
fn accumulation_averages() {
    for arith in arithmetics() {
        for (n, rule) in [(2, "sgd:momentum=0.9"), (2, "adamw"), (3, "adamw"), (4, "sgd")] {
            let base = TrainSpec { clip_norm: Some(5.0), ..spec(rule) };
            let mut once = Trainer::new(arith, &base);
            let mut split = Trainer::new(arith, &TrainSpec { accumulate: n, ..base.clone() });
            assert_eq!(split.graphs.metrics, ["loss", "grad_norm", "lr"]);
            for t in 0..3 {
                let batches: Vec<_> =
                    (0..n).map(|i| (data(9 * t + i, 6), data(9 * t + i + 70, 3))).collect();
                let share = |sum: f32| match (arith, n) {
                    (_, 2) => r::scale2(sum, -1),
                    (_, 4) => r::scale2(sum, -2),
                    (Arith::Pam(_), _) => r::div(sum, n as f32),
                    (Arith::Float, _) => sum / n as f32,
                };
                let mean = |pick: fn(&Batch) -> &Vec<f32>| -> Vec<f32> {
                    let at = |i: usize| batches.iter().fold(0.0, |s, b| r::add(s, pick(b)[i]));
                    (0..pick(&batches[0]).len()).map(|i| share(at(i))).collect()
                };
                let mean = (mean(|b| &b.0), mean(|b| &b.1));
                let whole = once.step(&[mean]);
                let parts = split.step(&batches);
                assert_eq!(item(&whole, "grad_norm"), item(&parts, "grad_norm"));
                same_bits(&once.floats("w"), &split.floats("w"));
                same_bits(&once.floats("b"), &split.floats("b"));
                // The sums start again from +0.
                same_bits(&split.floats("acc.w"), &[0.0; 6]);
                same_bits(&split.floats("acc.loss"), &[0.0]);
            }
        }
    }
}

#[test]
fn accumulated_loss_is_the_mean() {
    let arith = Arith::Float;
    let mut once = Trainer::new(arith, &spec("sgd"));
    let mut split = Trainer::new(arith, &TrainSpec { accumulate: 2, ..spec("sgd") });
    let batches = [(data(0, 6), data(1, 3)), (data(2, 6), data(3, 3))];
    let got = item(&split.step(&batches), "loss");
    let first = item(&once.step(&batches[..1]), "loss");
    let mut once = Trainer::new(arith, &spec("sgd"));
    let second = item(&once.step(&batches[1..]), "loss");
    assert!((got - (first + second) / 2.0).abs() < 1e-5);
}

/// The step counter moves the rate; the rate moves the parameters.
#[test]
fn schedules_count_steps() {
    for arith in [Arith::PAM, Arith::Float] {
        let spec = TrainSpec {
            schedule: "linear:warmup=4,total=8".parse().unwrap(),
            lr: 0.5,
            ..spec("sgd")
        };
        let mut trainer = Trainer::new(arith, &spec);
        let mut rates = Vec::new();
        for t in 0..10 {
            let before = trainer.floats("b");
            let metrics = trainer.step(&[(vec![0.0; 6], vec![1.0; 3])]);
            rates.push(item(&metrics, "lr"));
            assert_eq!(trainer.floats("b")[0], before[0] - rates[t]);
        }
        assert_eq!(rates, [0.125, 0.25, 0.375, 0.5, 0.5, 0.375, 0.25, 0.125, 0.0, 0.0]);
        assert_eq!(trainer.values["step"].item::<i32>(), Some(10));
    }
}

/// A model with a running statistic, dropout's key, a frozen parameter and one without influence.
fn with_states() -> Graph {
    let mut graph = Graph::new("model");
    let mut input = |name: &str, ty, kind| graph.input(name, ty, kind).unwrap();
    let x = input("x", TensorType::f32([4]), InputKind::Data);
    let w = input("w", TensorType::f32([4]), InputKind::Param);
    input("unused", TensorType::f32([2]), InputKind::Param);
    let frozen = input("frozen", TensorType::f32([4]), InputKind::Param);
    let running = input("running", TensorType::f32([4]), InputKind::State);
    input("rng", TensorType::new(DType::I32, [2]), InputKind::State);
    let mut cx = Cx::new(&mut graph, Origin::new("model"), Arith::PAM);
    let half = cx.add(running, x);
    let half = cx.scale2(half, -1);
    let y = cx.mul(w, x);
    let y = cx.mul(y, frozen);
    let loss = cx.sum(y, &[0], true);
    let size = cx.sum(x, &[0], false);
    cx.finish(()).unwrap();
    for (name, value) in [("running", half), ("size", size), ("y", y), ("cost", loss)] {
        graph.output(name, value).unwrap();
    }
    graph
}

#[test]
fn states_of_the_model_pass_through() {
    let params = ["w".to_string(), "unused".into()];
    for accumulate in [1, 2] {
        let spec = TrainSpec { accumulate, metrics: vec![], ..spec("sgd") };
        let made = build_step(&with_states(), "cost", &params, &spec, Arith::PAM).unwrap();
        assert_eq!(made.independent, ["unused"]);
        assert_eq!(made.metrics, ["cost", "size"]);
        let names = |g: &Graph| g.outputs().iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
        match made.micro {
            None => assert_eq!(names(&made.step), ["cost", "size", "w", "running", "rng"]),
            Some(micro) => {
                assert_eq!(names(&micro), ["acc.w", "acc.cost", "acc.size", "running", "rng"]);
                let sums = ["acc.w", "acc.cost", "acc.size"];
                assert_eq!(names(&made.step), [&["cost", "size", "w"][..], &sums].concat());
                let initial: Vec<_> = made.initial.iter().map(|(n, _)| n.as_str()).collect();
                assert_eq!(initial, sums);
            }
        }
    }
}

#[test]
fn the_key_counts_up() {
    let made = build_step(&with_states(), "cost", &[], &spec("sgd"), Arith::PAM).unwrap();
    let program = pamc_passes::program::Program::new(made.step, Arith::PAM).unwrap();
    let ones = |n| Tensor::vector(vec![1f32; n]);
    let mut values: pamc_passes::interpret::Values =
        ["x", "w", "frozen", "running"].map(|n| (n.to_string(), ones(4))).into();
    values.insert("unused".into(), ones(2));
    values.insert("rng".into(), Tensor::vector(vec![42, 7]));
    let out = pamc_passes::interpret::run(&program, &values).unwrap();
    assert_eq!(out["rng"].to_vec::<i32>().unwrap(), [42, 8]);
    assert_eq!(out["cost"].shape(), [0usize; 0]);
    assert!(!out.contains_key("unused"), "parameters without influence stay as they are");
}

/// Names of the states and the region of what is added.
#[test]
fn optimizer_terms_are_labelled() {
    let spec = TrainSpec {
        schedule: "cosine:total=10".parse().unwrap(),
        metrics: vec![Metric::GradNorm],
        ..spec("adamw")
    };
    let names = |recipe| {
        let arith = Arith::Pam(recipe);
        let made = build_step(&model(arith), "loss", &[], &spec, arith).unwrap();
        assert_eq!(made.metrics, ["loss", "grad_norm"]);
        let regions = |r| made.step.nodes().filter(|(_, n)| n.origin.region == r).count();
        assert!(regions(Region::Optimizer) > 40 && regions(Region::Backward) > 3);
        made.initial.into_iter().map(|(n, _)| n).collect::<Vec<_>>()
    };
    let moments = ["m.w", "v.w", "m.b", "v.b"];
    assert_eq!(names(Recipe::BEST), [&["step", "c1", "c2"][..], &moments].concat());
    let powers = ["step", "beta1_power", "beta2_power"];
    assert_eq!(names(Recipe::PAPER), [&powers[..], &moments].concat());
}

#[test]
fn impossible_steps() {
    let fail = |graph: &Graph, loss: &str, params: &[&str], spec: &TrainSpec| {
        let params: Vec<String> = params.iter().map(|p| p.to_string()).collect();
        build_step(graph, loss, &params, spec, Arith::PAM).unwrap_err().to_string()
    };
    let (graph, good) = (model(Arith::PAM), spec("sgd"));
    assert_eq!(
        fail(&graph, "los", &[], &good),
        "the graph has no output 'los' to take as the loss (it has: logits, loss)"
    );
    assert_eq!(
        fail(&graph, "loss", &["v", "w", "x"], &good),
        "the graph has no parameter v, x (it has: w, b)"
    );
    let bad = TrainSpec { lr: -1.0, accumulate: 0, ..good.clone() };
    assert_eq!(
        fail(&graph, "loss", &[], &bad),
        "the learning rate is -1, but must be finite and not negative; the number of micro-batches is 0, \
         but must be at least 1"
    );
    assert!(fail(&graph, "logits", &[], &good).contains("only a single f32"));
    assert!(fail(&with_states(), "size", &[], &good).contains("nothing to train"));
    let mut taken = with_states();
    taken.input("momentum.w", TensorType::f32([4]), InputKind::State).unwrap();
    let momentum = spec("sgd:momentum=0.5");
    assert_eq!(fail(&taken, "cost", &[], &momentum), "the name 'momentum.w' is used twice");
}
