//! Simplification keeps every bit, works on each distinct layer once and saturates.

use pamc_passes::arith::Arith;
use pamc_passes::build::Cx;
use pamc_passes::egraph::Stop;
use pamc_passes::interpret::run;
use pamc_passes::ir::{Dims, Graph, Origin, Tensor, parse};
use pamc_passes::pass::{expand, lower, real_identities, simplify};
use pamc_passes::program::{MulFree, Program};
use pamc_passes::testing::{Random, random_program};
use pamc_passes::train::{TrainSpec, build_step};

fn check(seed: u64) {
    let (program, inputs) = random_program(seed);
    let expected = run(&program, &inputs).unwrap();
    let (graph, report) = simplify(program.graph()).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
    let text = format!("{}\nbecame\n{graph}\nby {report}", program.graph());
    let simple = Program::MulFree(MulFree::new(graph).unwrap());
    let got = run(&simple, &inputs).unwrap();
    assert_eq!(got.len(), expected.len());
    for (name, want) in &expected {
        let diff = got[name].first_difference(want);
        assert!(diff.is_none(), "seed {seed}: output {name} differs at {diff:?}:\n{text}");
    }
    assert!(report.stops.iter().all(|s| *s == Stop::Saturated), "seed {seed}: {:?}", report.stops);
}

#[test]
fn random_programs_keep_every_bit() {
    (0..400).for_each(check);
}

/// `layers` equal pre-norm MLP blocks on a residual stream, written out as an exporter does.
fn network(layers: usize) -> Graph {
    let mut text = String::new();
    let mut parameters = vec!["%x: f32[4, 16]".to_string()];
    let mut x = "%x".to_string();
    for l in 0..layers {
        parameters
            .push(format!("param %w{l}: f32[16, 16], param %g{l}: f32[16], param %b{l}: f32[16]"));
        text += &format!(
            "%m{l} = mean {x} {{axes = [-1], keepdims = true}}
             %c{l} = sub {x}, %m{l}
             %two{l} = const {{value = f32[][2.0]}}
             %p{l} = pow %c{l}, %two{l}
             %v{l} = mean %p{l} {{axes = [-1], keepdims = true}}
             %eps{l} = const {{value = f32[][0.00001]}}
             %ve{l} = add %v{l}, %eps{l}
             %d{l} = sqrt %ve{l}
             %n{l} = div %c{l}, %d{l}
             %s{l} = mul %n{l}, %g{l}
             %a{l} = add %s{l}, %b{l}
             %h{l} = matmul %a{l}, %w{l}
             %r{l} = const {{value = f32[][1.4142135]}}
             %q{l} = div %h{l}, %r{l}
             %e{l} = erf %q{l}
             %one{l} = const {{value = f32[][1.0]}}
             %f{l} = add %e{l}, %one{l}
             %k{l} = mul %h{l}, %f{l}
             %half{l} = const {{value = f32[][0.5]}}
             %u{l} = mul %k{l}, %half{l}
             %y{l} = add {x}, %u{l}
            "
        );
        x = format!("%y{l}");
    }
    let text = format!(
        "graph @network({}) -> f32[4, 16] {{\n{text}\nreturn y = {x}\n}}\n",
        parameters.join(", ")
    );
    parse(&text, &Dims::new()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn count(graph: &Graph, op: &str) -> usize {
    graph.nodes().filter(|(_, n)| n.op.name == op).count()
}

#[test]
fn written_out_layers_are_recognized() {
    let (graph, report) = real_identities(&network(3)).unwrap();
    assert_eq!(count(&graph, "layer_norm"), 3, "{graph}");
    assert_eq!(count(&graph, "gelu"), 3, "{graph}");
    assert_eq!(count(&graph, "erf") + count(&graph, "mean") + count(&graph, "pow"), 0, "{graph}");
    assert!(report.stops.iter().all(|s| *s == Stop::Saturated), "{:?}", report.stops);
    let gelu = graph.nodes().find(|(_, n)| n.op.name == "gelu").unwrap().1;
    let step = gelu.origin.trail.last().unwrap();
    assert_eq!(step.what, "rule");
    assert!(step.name.contains("gelu-div-outer"), "{}", step.name);
    assert!(step.before.contains("erf"), "{}", step.before);
    let rules: Vec<_> = report.applied.iter().map(|(r, n)| (r.as_str(), *n)).collect();
    assert!(rules.contains(&("layer-norm", 3)), "{rules:?}");
}

/// Real and simplified graph of a network, with the number of templates saturated.
fn saturations(layers: usize) -> (usize, usize) {
    let (graph, real) = real_identities(&network(layers)).unwrap();
    let lowered = expand(&lower(&graph, Arith::PAM).unwrap()).unwrap();
    let (_, bits) = simplify(&lowered).unwrap();
    for stop in real.stops.iter().chain(&bits.stops) {
        assert_eq!(*stop, Stop::Saturated);
    }
    (real.saturations, bits.saturations)
}

#[test]
fn depth_adds_no_saturations() {
    let (shallow, deep) = (saturations(6), saturations(24));
    assert!(shallow.0 > 0 && shallow.1 > 0);
    assert_eq!(shallow, deep, "6 layers against 24");
}

/// Saturations for the whole training step: forward, backward, clipping, AdamW for every parameter.
fn training_saturations(layers: usize) -> usize {
    let (graph, _) = real_identities(&network(layers)).unwrap();
    let mut lowered = lower(&graph, Arith::PAM).unwrap();
    let y = lowered.find_output("y").unwrap();
    let mut cx = Cx::new(&mut lowered, Origin::new("loss"), Arith::PAM);
    let square = cx.mul(y, y);
    let loss = cx.mean(square, &[0, 1], false);
    let loss = cx.finish(loss).unwrap();
    lowered.clear_outputs();
    lowered.output("loss", loss).unwrap();
    let spec = TrainSpec { clip_norm: Some(1.0), ..TrainSpec::default() };
    let step = build_step(&lowered, "loss", &[], &spec, Arith::PAM).unwrap().step;
    let (_, report) = simplify(&expand(&step).unwrap()).unwrap();
    assert!(report.stops.iter().all(|s| *s == Stop::Saturated), "{:?}", report.stops);
    report.saturations
}

#[test]
fn depth_hardly_adds_saturations_to_a_training_step() {
    let (shallow, deep) = (training_saturations(6), training_saturations(24));
    assert!(shallow > 10 && deep < 2 * shallow, "6 layers take {shallow}, 24 take {deep}");
}

#[test]
fn real_identities_keep_the_values() {
    let graph = network(2);
    let run_float = |g: &Graph| {
        let lowered = expand(&lower(g, Arith::Float).unwrap()).unwrap();
        let program = Program::new(lowered, Arith::Float).unwrap();
        let mut rng = Random::new(3);
        let values = g.inputs().iter().map(|i| {
            let ty = g.ty(i.node);
            let data: Vec<f32> = (0..ty.len()).map(|_| rng.tame()).collect();
            (i.name.clone(), Tensor::from_vec(&ty.shape, data).unwrap())
        });
        run(&program, &values.collect()).unwrap()["y"].to_vec::<f32>().unwrap()
    };
    let (rewritten, _) = real_identities(&graph).unwrap();
    for (a, b) in run_float(&graph).iter().zip(run_float(&rewritten)) {
        assert!((a - b).abs() <= 1e-4 * a.abs().max(1.0), "{a} against {b}");
    }
}

#[test]
fn pam_identities_fire_under_their_guards() {
    let text = "graph @f(%x: f32[8]) -> f32[8], f32[8], f32[8], f32[8] {
        %four = const {value = f32[][4.0]}
        %third = const {value = f32[][0.3]}
        %a = pam.mul %x, %four
        %b = pam.div %a, %third
        %lo = const {value = f32[][-20.0]}
        %hi = const {value = f32[][20.0]}
        %zero = const {value = f32[][0.0]}
        %ok = eq %x, %x
        %n = select %ok, %x, %zero
        %m = max %n, %lo
        %c = min %m, %hi
        %e = pam.exp2 %c
        %p = pam.mul %e, %third
        %q = pam.div %p, %third
        %u = pam.mul %x, %third
        %v = pam.div %u, %third
        %k = pam.mul %lo, %hi
        %w = add %x, %k
        return b = %b, guarded = %q, unguarded = %v, folded = %w
    }";
    let graph = parse(text, &Dims::new()).unwrap();
    let (simple, report) = simplify(&graph).unwrap();
    let guarded = simple.node(simple.find_output("guarded").unwrap());
    assert_eq!(&*guarded.origin.trail.last().unwrap().name, "div-mul");
    insta::assert_snapshot!(format!("{simple}; {report}"));
}
