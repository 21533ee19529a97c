//! Compiled training loops against the interpreter, bit for bit.

use pamc_lowering::codegen::{Cache, Target, set_threads};
use pamc_lowering::emit::{EmitOptions, TrainPrograms, module_for_train};
use pamc_lowering::exec::{DataSet, TrainExecutable};
use pamc_passes::arith::Arith;
use pamc_passes::interpret::{Values, run};
use pamc_passes::ir::{Dims, Graph, InputKind, Tensor, TensorType, parse};
use pamc_passes::pass::{expand, lower, recompute};
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

/// Causal attention of two heads to themselves, with dropout of its weights.
const ATTENTION: &str = "
graph @model(%ids: i64[4, 20], state %rng: i32[2], %labels: i64[4], param %table: f32[7, 18],
             param %w: f32[18, 18], param %w2: f32[18, 3]) -> f32[] {
    %e = gather %table, %ids
    %f = matmul %e, %w
    %e1 = reshape %e {shape = [4, 20, 2, 9]}
    %f1 = reshape %f {shape = [4, 20, 2, 9]}
    %q = transpose %e1 {perm = [0, 2, 1, 3]}
    %k = transpose %f1 {perm = [0, 2, 3, 1]}
    %s = matmul %q, %k
    %row = iota {axis = 0, dtype = i32, shape = [20, 20]}
    %column = iota {axis = 1, dtype = i32, shape = [20, 20]}
    %seen = ge %row, %column
    %low = const {value = f32[][-1000000000.0]}
    %m = select %seen, %s, %low
    %p = softmax %m
    %d = dropout %p, %rng {p = 0.25, stream = 1}
    %a = matmul %d, %q
    %t = transpose %a {perm = [0, 2, 1, 3]}
    %u = reshape %t {shape = [4, 20, 18]}
    %mean = mean %u {axes = [1]}
    %o = matmul %mean, %w2
    %loss = cross_entropy %o, %labels
    return loss = %loss
}
";

fn graphs(spec: &TrainSpec, arith: Arith) -> TrainGraphs {
    graphs_of(MODEL, spec, arith)
}

fn graphs_of(model: &str, spec: &TrainSpec, arith: Arith) -> TrainGraphs {
    let graph = parse(model, &Dims::default()).unwrap();
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
    let positions = reader.find_input("ids").map_or(1, |ids| reader.shape(ids.node)[1]);
    let ids: Vec<i64> = (0..9 * positions).map(|_| random.below(7) as i64).collect();
    let labels: Vec<i64> = (0..9).map(|_| random.below(3) as i64).collect();
    let data = Values::from([
        ("ids".into(), Tensor::from_vec(&[9, positions], ids).unwrap()),
        ("labels".into(), Tensor::vector(labels)),
    ]);
    (state, data)
}

fn rows(x: &Tensor, order: &[i64]) -> Tensor {
    let bytes = x.to_bytes();
    let width = bytes.len() / x.shape()[0];
    let row = |i: &i64| bytes[*i as usize * width..][..width].to_vec();
    let picked: Vec<u8> = order.iter().flat_map(row).collect();
    let shape = [&[order.len()], &x.shape()[1..]].concat();
    Tensor::from_bytes(&TensorType::new(x.dtype(), shape), &picked).unwrap()
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
    compare(programs, (&initial, &data), &made.metrics, close, &EmitOptions::default());
}

/// Three steps of batches of 4 from 9 samples, at 1 and 2 threads.
fn compare(
    programs: TrainPrograms,
    (initial, data): (&Values, &Values),
    metrics: &[String],
    close: f64,
    options: &EmitOptions,
) {
    let TrainPrograms { step, micro, accumulate } = programs;
    let options = EmitOptions { function: "pamc_train".into(), ..options.clone() };
    let order: Vec<i64> = (0..4 * accumulate as i64 * 3).map(|i| i * 5 % 9).collect();
    // What the first round compiles the second finds.
    let folder = tempfile::tempdir().unwrap();
    let cache = Cache::open(folder.path()).unwrap();
    for threads in [1, 2] {
        set_threads(threads);
        let mut compiled = TrainExecutable::new(programs, &options, Some(&cache)).unwrap();
        assert!(compiled.stats.lower_bound <= compiled.stats.arena_bytes);
        for (name, value) in initial {
            compiled.state.set(name, value).unwrap();
        }
        let set = DataSet::new(compiled.layout(), data).unwrap();
        let reported = compiled.train(&set, &order).unwrap();
        let names = compiled.layout().metrics.clone();
        assert_eq!(names, metrics);
        let mut state = initial.clone();
        for (i, chunk) in order.chunks(4 * accumulate).enumerate() {
            let batches = chunk
                .chunks(4)
                .map(|c| -> Values { data.iter().map(|(n, x)| (n.clone(), rows(x, c))).collect() });
            let mut found = Values::new();
            for batch in batches {
                found = interpret(micro.unwrap_or(step), &mut state, batch);
            }
            if micro.is_some() {
                found = interpret(step, &mut state, Values::new());
            }
            for (name, value) in names.iter().zip(&reported[i]) {
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

#[test]
fn attention_in_bands_takes_the_same_steps() {
    for (grad, recomputed) in [("approx", false), ("approx", true), ("exact", true)] {
        let spec = TrainSpec { grad: grad.parse().unwrap(), ..spec("adamw") };
        let made = graphs_of(ATTENTION, &spec, Arith::PAM);
        let graph = match recomputed {
            true => &recompute(&expand(&made.step).unwrap()).unwrap(),
            false => &made.step,
        };
        let step = program(graph, Arith::PAM);
        let (initial, data) = start(&made);
        let programs = TrainPrograms { step: &step, micro: None, accumulate: 1 };
        let options =
            |heads: usize| EmitOptions { band_bytes: heads * 4 * 400, ..EmitOptions::default() };
        let made_of = |heads| module_for_train(programs, &Target::host(), &options(heads)).unwrap();
        let (whole, emitted) = (made_of(1 << 20).stats, made_of(2));
        let bands = emitted.stats;
        // Where bands begin is looked up: the function of calls is not optimized, and a product that it
        // keeps in memory could be one of data.
        let text = emitted.parts.whole();
        let steps = text.split("func.func").find(|f| f.contains("@train_step(%state")).unwrap();
        assert!(steps.contains("scf.for") && !steps.contains("arith.muli"), "{steps}");
        assert!(bands.calls > whole.calls + 8, "{grad}, {recomputed}: {whole:?}, {bands:?}");
        if grad == "approx" {
            assert!(bands.arena_bytes < whole.arena_bytes, "{recomputed}: {whole:?}, {bands:?}");
        }
        compare(programs, (&initial, &data), &made.metrics, 0.0, &options(2));
    }
}

/// States that change places, are read by others after their own update, or move.
const STATES: &str = "
graph @states(%x: f32[4, 35], state %a: f32[35], state %b: f32[35], state %s: f32[],
              state %t: f32[5, 7], state %u: f32[7, 5], state %v: f32[4, 35], state %w: f32[40],
              state %r: f32[4, 1], state %n: i32[]) -> f32[], f32[35], f32[35], f32[], f32[5, 7],
              f32[7, 5], f32[4, 35], f32[40], f32[4, 1], i32[], f32[] {
    %sum = sum %x {axes = [0]}
    %a1 = add %a, %sum
    %half = pam.scale2 %s {k = -1}
    %one = const {value = f32[][1.0]}
    %s1 = add %half, %one
    %u1 = transpose %u {perm = [1, 0]}
    %t1 = add %u1, %s
    %u2 = transpose %t {perm = [1, 0]}
    %u3 = add %u2, %s1
    %most = reduce_max %v {axes = [1], keepdims = true}
    %v1 = sub %v, %most
    %v2 = add %v1, %x
    %r1 = add %r, %most
    %front = slice %w {starts = [0], sizes = [35], steps = [1]}
    %back = slice %w {starts = [5], sizes = [35], steps = [1]}
    %moved = add %front, %back
    %five = slice %a {starts = [0], sizes = [5], steps = [1]}
    %w1 = concat %moved, %five {axis = 0}
    %i = const {value = i32[][1]}
    %n1 = add %n, %i
    %all = sum %v
    %loss = add %all, %half
    return loss = %loss, a = %b, b = %a1, s = %s1, t = %t1, u = %u3, v = %v2, w = %w1, r = %r1,
        n = %n1, before = %s
}
";

#[test]
fn states_are_read_before_they_are_replaced() {
    let graph = parse(STATES, &Dims::default()).unwrap();
    let step = Program::new(graph, Arith::PAM).unwrap();
    let mut random = Random::new(23);
    let mut state = Values::new();
    for input in step.graph().inputs().iter().filter(|i| i.kind == InputKind::State) {
        let shape = step.graph().shape(input.node);
        let values = (0..shape.iter().product()).map(|_| random.tame()).collect();
        state.insert(input.name.clone(), Tensor::from_vec::<f32>(shape, values).unwrap());
    }
    state.insert("n".into(), Tensor::scalar(7i32));
    let values = (0..9 * 35).map(|_| random.tame()).collect();
    let data = Values::from([("x".into(), Tensor::from_vec::<f32>(&[9, 35], values).unwrap())]);
    let programs = TrainPrograms { step: &step, micro: None, accumulate: 1 };
    let metrics = ["loss".into(), "before".into()];
    compare(programs, (&state, &data), &metrics, 0.0, &EmitOptions::default());
}

#[test]
fn data_and_orders_that_do_not_fit_are_refused() {
    let graph = parse(STATES, &Dims::default()).unwrap();
    let step = Program::new(graph, Arith::PAM).unwrap();
    let programs = TrainPrograms { step: &step, micro: None, accumulate: 1 };
    let mut compiled = TrainExecutable::new(programs, &EmitOptions::default(), None).unwrap();
    let fed = |shape: &[usize]| Values::from([("x".into(), Tensor::full(shape, 1f32))]);
    let refused =
        |values: &Values| DataSet::new(compiled.layout(), values).err().unwrap().to_string();
    assert!(refused(&Values::new()).contains("missing"));
    assert!(refused(&fed(&[9, 34])).contains("f32[4, 35]"));
    let set = DataSet::new(compiled.layout(), &fed(&[9, 5, 7])).unwrap();
    for bad in [&[0, 1, 2][..], &[0, 1, 2, 9], &[0, 1, 2, -1]] {
        assert!(compiled.train(&set, bad).is_err(), "{bad:?}");
    }
    assert_eq!(compiled.train(&set, &[8, 0, 8, 8]).unwrap().len(), 1);
    let header = compiled.layout().c_header();
    assert!(header.contains("const int64_t *order"), "{header}");
    let micro = TrainPrograms { micro: Some(&step), accumulate: 2, ..programs };
    assert!(TrainExecutable::new(micro, &EmitOptions::default(), None).is_err());
}
