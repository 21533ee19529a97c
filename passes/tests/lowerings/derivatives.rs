//! Derivatives through the lowerings: of elementwise rows, against differences of the real
//! function.

use pamc_passes::arith::Arith;
use pamc_passes::build::Cx;
use pamc_passes::grad::{GradSpec, Slope, differentiate};
use pamc_passes::interpret::{Values, run};
use pamc_passes::ir::{Attrs, DType, Graph, InputKind, NodeId, Origin, Tensor};
use pamc_passes::ops::{self, Kind, Op};
use pamc_passes::pass::{expand, lower};
use pamc_passes::program::Program;

use crate::common::{Spread, wide};
use crate::snapshots::example;

/// ∂(Σ op(x))/∂x.
fn gradient(op: &Op, arith: Arith, x: &Tensor) -> Vec<f32> {
    let mut graph = Graph::new("test");
    let input = graph.input("x", x.ty(), InputKind::Param).unwrap();
    let row = ops::lookup(op.name).unwrap();
    let y = graph.add(row, &[input], Attrs::none(), Origin::default()).unwrap();
    let sum = ops::lookup("sum").unwrap();
    let loss = graph.add(sum, &[y], Attrs::none(), Origin::default()).unwrap();
    graph.output("loss", loss).unwrap();
    let mut lowered = lower(&graph, arith).unwrap();
    let (x_id, loss) = (lowered.inputs()[0].node, lowered.find_output("loss").unwrap());
    let spec = GradSpec::default();
    let g = differentiate(&mut lowered, arith, loss, &[x_id], &spec).unwrap();
    lowered.output("g", g.values[0]).unwrap();
    let program = Program::new(expand(&lowered).unwrap(), arith).unwrap();
    run(&program, &Values::from([("x".to_string(), x.clone())])).unwrap()["g"].to_vec().unwrap()
}

fn smooth_rows() -> impl Iterator<Item = &'static Op> {
    ops::all().filter(|op| {
        op.kind == Kind::Real && op.real.is_some() && op.args.len() == 1 && op.name != "clip"
    })
}

/// Central difference of the real function, unless x is near a kink or a step.
fn slope(op: &Op, x: f64) -> Option<f64> {
    let f = |x: f64| (op.real.unwrap())(&[x]);
    let h = 1e-5 * x.abs().max(0.1);
    let (left, right) = ((f(x) - f(x - h)) / h, (f(x + h) - f(x)) / h);
    let close = (left - right).abs() <= 1e-3 * (1.0 + left.abs());
    close.then(|| (f(x + h) - f(x - h)) / (2.0 * h))
}

#[test]
fn float_gradients_are_those_of_the_real_function() {
    let mut wrong = Vec::new();
    for op in smooth_rows() {
        let (lo, hi) = op.bound.unwrap().domain;
        let x = Spread::new(9, lo.max(-20.0), hi).tensor(&[4000]);
        let got = gradient(op, Arith::Float, &x);
        let mut judged = 0;
        for (x, g) in wide(&x).iter().zip(&got) {
            let Some(want) = slope(op, *x) else { continue };
            judged += 1;
            let allowed = 2e-5 * want.abs().max(1.0);
            if (f64::from(*g) - want).abs() > allowed || g.is_nan() {
                wrong.push(format!("{} at {x}: {g} against {want}", op.name));
                break;
            }
        }
        assert!(judged > 3000, "{} was judged at {judged} points only", op.name);
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Around every point the PAM slope, averaged over a stretch, is near the real one: a curve that is
/// right in its values but flat or steep in the wrong places would not train.
#[test]
fn pam_gradients_are_near_the_real_ones() {
    let mut wrong = Vec::new();
    for op in smooth_rows() {
        let (lo, hi) = op.bound.unwrap().domain;
        let n = 8000;
        let step = (hi - lo) / n as f64;
        let xs: Vec<f32> = (0..n).map(|i| (lo + step * (i as f64 + 0.5)) as f32).collect();
        let got = gradient(op, Arith::PAM, &Tensor::from_vec(&[n], xs.clone()).unwrap());
        let stretch = (1.0 / step).ceil().min(2000.0) as usize;
        let f = |x: f64| (op.real.unwrap())(&[x]);
        for i in (0..n - stretch).step_by(100) {
            let mean =
                got[i..i + stretch].iter().map(|g| f64::from(*g)).sum::<f64>() / stretch as f64;
            let (a, b) = (lo + step * i as f64, lo + step * (i + stretch) as f64);
            let want = (f(b) - f(a)) / (b - a);
            let steps = matches!(op.name, "ceil" | "sign");
            if !steps && (mean - want).abs() > 0.2 * want.abs() + 0.1 {
                wrong.push(format!("{} from {a} to {b}: {mean} against {want}", op.name));
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Large operands, to which ReLU networks drift, must not make NaNs.
#[test]
fn gradients_of_large_operands_are_numbers() {
    let x: Vec<f32> = vec![0.0, -0.0, 90.0, -90.0, 1e3, -1e3, 3e4, -3e4, 1e8, -1e8];
    let x = Tensor::from_vec(&[x.len()], x).unwrap();
    // These have poles, or end before.
    let ends = |op: &Op| matches!(op.name, "tan" | "asin" | "acos" | "atanh" | "log1p");
    for op in smooth_rows().filter(|op| op.bound.unwrap().domain.0 < 0.0 && !ends(op)) {
        for arith in [Arith::PAM, Arith::Float] {
            let g = gradient(op, arith, &x);
            let overflows = matches!(op.name, "exp" | "exp2" | "expm1" | "sinh" | "cosh");
            assert!(
                g.iter().all(|g| !g.is_nan() && (overflows || g.is_finite())),
                "{} {}: {g:?}",
                op.name,
                arith.name()
            );
        }
    }
}

/// Operands for a row's example graph: floats spread over its domain, labels, a random key.
fn operands(op: &Op, graph: &Graph, seed: u64) -> Values {
    let (lo, hi) = op.bound.unwrap().domain;
    let feed = |(i, input): (usize, &pamc_passes::ir::Input)| {
        let (ty, seed) = (graph.ty(input.node).clone(), i as u64 + seed);
        let value = match ty.dtype {
            // Variances and class weights must be positive, which is as good as any elsewhere.
            DType::F32 if ["v", "w"].contains(&&*input.name) => {
                Spread::new(seed, 0.5, 2.0).tensor(&ty.shape)
            }
            DType::F32 => Spread::new(seed, lo, hi).tensor(&ty.shape),
            DType::I64 => {
                let labels = Spread::new(seed, 0.0, 1.0).labels(ty.len(), 3);
                Tensor::from_vec(&ty.shape, labels).unwrap()
            }
            _ => Tensor::zeros(&ty),
        };
        (input.name.clone(), value)
    };
    graph.inputs().iter().enumerate().map(feed).collect()
}

/// The example graph lowered with the loss Σ y · w, and its gradient for every float input, by one
/// kind of slope, as an output `d.<input>`.
fn with_gradients(graph: &Graph, arith: Arith, slope: Slope) -> Program {
    let mut lowered = lower(graph, arith).unwrap();
    let y = lowered.find_output("y").unwrap();
    let weights = Spread::new(77, -1.0, 1.0).tensor(lowered.shape(y));
    let mut cx = Cx::new(&mut lowered, Origin::default(), arith);
    let w = cx.constant(weights);
    let weighted = cx.mul(y, w);
    let axes: Vec<usize> = (0..cx.shape(weighted).len()).collect();
    let loss = cx.sum(weighted, &axes, false);
    cx.finish(()).unwrap();
    let floats: Vec<(String, NodeId)> = lowered
        .inputs()
        .iter()
        .filter(|i| lowered.ty(i.node).dtype == DType::F32)
        .map(|i| (i.name.clone(), i.node))
        .collect();
    let wrt: Vec<NodeId> = floats.iter().map(|f| f.1).collect();
    let found = differentiate(&mut lowered, arith, loss, &wrt, &GradSpec::all(slope)).unwrap();
    lowered.clear_outputs();
    lowered.output("loss", loss).unwrap();
    for ((name, _), g) in floats.iter().zip(&found.values) {
        lowered.output(format!("d.{name}"), *g).unwrap();
    }
    Program::new(expand(&lowered).unwrap(), arith).unwrap()
}

/// Every real row, on its example graph: each element of each gradient against a central difference
/// of the interpreted loss.
#[test]
fn every_row_has_the_gradient_of_its_value() {
    let mut wrong = Vec::new();
    let steps = ["one_hot", "ceil", "sign"];
    for op in ops::all().filter(|op| op.kind == Kind::Real && !steps.contains(&op.name)) {
        let graph = example(op);
        let (program, values) =
            (with_gradients(&graph, Arith::Float, Slope::Approx), operands(op, &graph, 20));
        let out = run(&program, &values).unwrap();
        let loss = |values: &Values| {
            f64::from(run(&program, values).unwrap()["loss"].to_vec::<f32>().unwrap()[0])
        };
        let size = loss(&values).abs().max(1.0);
        for (name, x) in values.iter().filter(|(_, x)| x.dtype() == DType::F32) {
            let got = wide(&out[&format!("d.{name}")]);
            for (i, g) in got.iter().enumerate() {
                let h = 4e-3;
                let moved = |by: f32| {
                    let mut v = x.to_vec::<f32>().unwrap();
                    v[i] += by;
                    let mut all = values.clone();
                    all.insert(name.clone(), Tensor::from_vec(x.shape(), v).unwrap());
                    loss(&all)
                };
                let want = (moved(h) - moved(-h)) / (2.0 * f64::from(h));
                if (g - want).abs() > 2e-3 * (size + want.abs()) {
                    wrong.push(format!("{}: d.{name}[{i}] is {g}, not {want}", op.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Every row has both PAM derivatives, and on average over many points their direction is that of
/// the ordinary one. (A norm divides by a root of a sum: its exact slopes jump the most.)
#[test]
fn both_pam_gradients_point_the_same_way() {
    for op in ops::all().filter(|op| op.kind == Kind::Real) {
        let graph = example(op);
        let ordinary = with_gradients(&graph, Arith::Float, Slope::Approx);
        for (slope, least) in [(Slope::Approx, 0.95), (Slope::Exact, 0.75)] {
            let pam = with_gradients(&graph, Arith::PAM, slope);
            let [mut cosines, mut counted, mut flat] = [0.0; 3];
            for seed in 0..40 {
                let values = operands(op, &graph, 1000 + 10 * seed);
                let [got, want] = [&pam, &ordinary].map(|p| run(p, &values).unwrap());
                let [mut dot, mut squares, mut real] = [0.0; 3];
                for name in want.keys().filter(|n| n.starts_with("d.")) {
                    for (g, w) in wide(&got[name]).into_iter().zip(wide(&want[name])) {
                        assert!(g.is_finite(), "{} {slope}: {name} has {g} for {w}", op.name);
                        (dot, squares, real) = (dot + g * w, squares + g * g, real + w * w);
                    }
                }
                // Where the ordinary gradient all but vanishes it has no direction to follow.
                if real < 1e-2 {
                    flat += squares;
                } else {
                    cosines += dot / (squares * real).sqrt().max(f64::MIN_POSITIVE);
                    counted += 1.0;
                }
            }
            let alike = if counted == 0.0 { flat == 0.0 } else { cosines > least * counted };
            assert!(alike, "{} {slope}: {cosines} of {counted}, {flat}", op.name);
        }
    }
}
