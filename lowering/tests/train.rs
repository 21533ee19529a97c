//! Compiled training loops against the interpreter, bit for bit.

use pamc_lowering::codegen::set_threads;
use pamc_lowering::emit::{EmitOptions, TrainPrograms};
use pamc_lowering::exec::{DataSet, TrainExecutable};
use pamc_passes::arith::Arith;
use pamc_passes::interpret::{Values, run};
use pamc_passes::ir::{Dims, Graph, InputKind, Tensor, parse};
use pamc_passes::pass::{expand, lower};
use pamc_passes::program::Program;
use pamc_passes::testing::Random;
use pamc_passes::train::{TrainGraphs, TrainSpec, build_step};

/// An embedding, an attention head, a norm, dropout and a hidden layer.
const MODEL: &str = "
graph @model(%ids: i64[4, 5], state %rng: i32[2], %labels: i64[4], param %table: f32[7, 18],
             param %g: f32[18], param %b: f32[18], param %w1: f32[18, 33], param %b1: f32[33],
             param %w2: f32[33, 3]) -> f32[] {
    %e = gather %table, %ids
    %t = transpose %e {perm = [0, 2, 1]}
    %s = matmul %e, %t
    %p = softmax %s
    %a = matmul %p, %e
    %r = add %e, %a
    %n = layer_norm %r, %g, %b
    %m = mean %n {axes = [1]}
    %h = matmul %m, %w1
    %h1 = add %h, %b1
    %h2 = relu %h1
    %d = dropout %h2, %rng {p = 0.25, stream = 1}
    %o = matmul %d, %w2
    %loss = cross_entropy %o, %labels
    return loss = %loss
}
";

fn graphs(spec: &TrainSpec, arith: Arith) -> TrainGraphs {
    let graph = parse(MODEL, &Dims::default()).unwrap();
    build_step(&lower(&graph, arith).unwrap(), "loss", &[], spec, arith).unwrap()
}

fn program(graph: &Graph, arith: Arith) -> Program {
    Program::new(expand(graph).unwrap(), arith).unwrap()
}

/// Parameters, states and a data set of 9 samples.
fn start(made: &TrainGraphs) -> (Values, Values) {
    let mut random = Random::new(11);
    let reader = made.micro.as_ref().unwrap_or(&made.step);
    let mut state: Values = made.initial.iter().cloned().collect();
    state.insert("rng".into(), Tensor::vector(vec![5i32, 0]));
    for input in reader.inputs().iter().filter(|i| i.kind == InputKind::Param) {
        let shape = reader.shape(input.node);
        let values = (0..shape.iter().product()).map(|_| random.tame() / 8.0).collect();
        state.insert(input.name.clone(), Tensor::from_vec::<f32>(shape, values).unwrap());
    }
    let ids: Vec<i64> = (0..45).map(|_| random.below(7) as i64).collect();
    let labels: Vec<i64> = (0..9).map(|_| random.below(3) as i64).collect();
    let data = Values::from([
        ("ids".into(), Tensor::from_vec(&[9, 5], ids).unwrap()),
        ("labels".into(), Tensor::vector(labels)),
    ]);
    (state, data)
}

fn rows(x: &Tensor, order: &[i64]) -> Tensor {
    let width = x.len() / x.shape()[0];
    let all = x.to_vec::<i64>().unwrap();
    let picked = order.iter().flat_map(|&i| all[i as usize * width..][..width].to_vec()).collect();
    let shape = [&[order.len()], &x.shape()[1..]].concat();
    Tensor::from_vec::<i64>(&shape, picked).unwrap()
}

/// Runs a program on carried values and these; keeps what it updates, returns the rest.
fn interpret(program: &Program, state: &mut Values, data: Values) -> Values {
    let graph = program.graph();
    let mut inputs = data;
    for input in graph.inputs().iter().filter(|i| i.kind != InputKind::Data) {
        inputs.insert(input.name.clone(), state[&input.name].clone());
    }
    let (updates, metrics) = run(program, &inputs)
        .unwrap()
        .into_iter()
        .partition::<Values, _>(|(name, _)| state.contains_key(name));
    state.extend(updates);
    metrics
}

fn check(spec: &TrainSpec, arith: Arith, close: f64) {
    let made = graphs(spec, arith);
    let step = program(&made.step, arith);
    let micro = made.micro.as_ref().map(|m| program(m, arith));
    let (initial, data) = start(&made);
    let programs =
        TrainPrograms { step: &step, micro: micro.as_ref(), accumulate: spec.accumulate };
    let options = EmitOptions { function: "pamc_train".into(), ..EmitOptions::default() };
    let order: Vec<i64> = (0..4 * spec.accumulate as i64 * 3).map(|i| i * 5 % 9).collect();
    for threads in [1, 2] {
        set_threads(threads);
        let mut compiled = TrainExecutable::new(programs, &options).unwrap();
        assert!(compiled.stats.lower_bound <= compiled.stats.arena_bytes);
        for (name, value) in &initial {
            compiled.state.set(name, value).unwrap();
        }
        let set = DataSet::new(compiled.layout(), &data).unwrap();
        let metrics = compiled.train(&set, &order).unwrap();
        let names = compiled.layout().metrics.clone();
        assert_eq!(names, made.metrics);
        let mut state = initial.clone();
        for (i, chunk) in order.chunks(4 * spec.accumulate).enumerate() {
            let batches = chunk
                .chunks(4)
                .map(|c| -> Values { data.iter().map(|(n, x)| (n.clone(), rows(x, c))).collect() });
            let mut found = Values::new();
            for batch in batches {
                found = interpret(micro.as_ref().unwrap_or(&step), &mut state, batch);
            }
            if micro.is_some() {
                found = interpret(&step, &mut state, Values::new());
            }
            for (name, value) in names.iter().zip(&metrics[i]) {
                same(name, &found[name], &Tensor::scalar(*value), close);
            }
        }
        for (name, value) in &state {
            same(name, value, &compiled.state.get(name).unwrap(), close);
        }
    }
}

/// Equal bits, or a small difference relative to the largest element where `close` allows one.
fn same(name: &str, wanted: &Tensor, found: &Tensor, close: f64) {
    if wanted.same_value(found) {
        return;
    }
    let (a, b) = (wanted.to_vec::<f32>().unwrap(), found.to_vec::<f32>().unwrap());
    let size = a.iter().fold(0f64, |m, &x| m.max(f64::from(x.abs())));
    let off = a.iter().zip(&b).fold(0f64, |m, (&x, &y)| m.max(f64::from((x - y).abs())));
    assert!(off <= close * size, "{name}: wanted {wanted:?}\nfound {found:?}");
}

fn spec(optimizer: &str) -> TrainSpec {
    TrainSpec {
        optimizer: optimizer.parse().unwrap(),
        lr: 0.01,
        clip_norm: Some(0.5),
        weight_decay: 0.01,
        ..TrainSpec::default()
    }
}

#[test]
fn adamw_steps_equal_the_interpreter() {
    check(&spec("adamw"), Arith::PAM, 0.0);
}

#[test]
fn accumulated_steps_equal_the_interpreter() {
    check(&TrainSpec { accumulate: 3, ..spec("sgd") }, Arith::PAM, 0.0);
}

#[test]
fn exact_gradients_equal_the_interpreter() {
    let grad = "exact".parse().unwrap();
    check(&TrainSpec { grad, ..spec("sgd") }, Arith::PAM, 0.0);
}

#[test]
fn ordinary_steps_follow_the_interpreter() {
    check(&spec("adamw"), Arith::Float, 1e-5);
}
