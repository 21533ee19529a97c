//! Gradients of generated graphs, compiled, against the interpreter: bit for bit, special values among
//! the inputs, at one thread and two.

use std::ops::Range;

use pamc_lowering::codegen::set_threads;
use pamc_lowering::emit::EmitOptions;
use pamc_lowering::exec::Executable;
use pamc_passes::arith::Arith;
use pamc_passes::build::Cx;
use pamc_passes::grad::{GradError, GradSpec, Slope, differentiate};
use pamc_passes::interpret::{Values, run};
use pamc_passes::ir::{DType, Graph, NodeId, Origin};
use pamc_passes::pass::expand;
use pamc_passes::program::Program;
use pamc_passes::testing::random_graph;

fn is_float(graph: &Graph, id: NodeId) -> bool {
    graph.ty(id).dtype == DType::F32
}

/// The graph with the gradients of the sum of its float outputs for its float inputs as outputs;
/// `None` if it has no such output or holds an exact matrix gradient, which has no derivative.
fn with_gradients(source: &Graph, slope: Slope) -> Option<Graph> {
    let mut graph = source.clone();
    let outputs: Vec<NodeId> = graph.outputs().iter().map(|(_, v)| *v).collect();
    let wrt: Vec<(String, NodeId)> = graph
        .inputs()
        .iter()
        .filter(|i| is_float(&graph, i.node))
        .map(|i| (format!("grad.{}", i.name), i.node))
        .collect();
    let mut cx = Cx::new(&mut graph, Origin::new("loss"), Arith::PAM);
    let mut loss = None;
    for value in outputs {
        if cx.ty(value).dtype == DType::F32 {
            let axes: Vec<usize> = (0..cx.shape(value).len()).collect();
            let sum = cx.sum(value, &axes, false);
            loss = Some(loss.map_or(sum, |l| cx.add(l, sum)));
        }
    }
    let loss = cx.finish(loss).expect("sums fit")?;
    let nodes: Vec<NodeId> = wrt.iter().map(|(_, n)| *n).collect();
    let made = match differentiate(&mut graph, Arith::PAM, loss, &nodes, &GradSpec::all(slope)) {
        Ok(made) => made,
        Err(GradError::Missing { .. }) => return None,
        Err(e) => panic!("{e}"),
    };
    graph.output("loss", loss).expect("a new name");
    for ((name, _), value) in wrt.into_iter().zip(made.values) {
        graph.output(name, value).expect("a new name");
    }
    Some(expand(&graph).expect("composites expand"))
}

/// True if some value of the forward graph is NaN: the slope of a segment is defined by an operand's
/// bits, and those of a NaN are free.
fn has_nan(graph: &Graph, values: &Values) -> bool {
    let mut all = graph.clone();
    all.clear_outputs();
    let floats: Vec<NodeId> =
        all.nodes().map(|(id, _)| id).filter(|id| is_float(&all, *id)).collect();
    for id in floats {
        all.output(format!("{}", id.0), id).expect("a new name");
    }
    let program = Program::new(all, Arith::PAM).expect("a program");
    let found = run(&program, values).expect("it runs");
    found.values().any(|t| t.to_vec::<f32>().is_some_and(|v| v.iter().any(|x| x.is_nan())))
}

/// Compare the compiled gradients of all seeds; returns how many there were.
fn check(slope: Slope, seeds: Range<u64>, admit: impl Fn(&Graph, &Values) -> bool) -> usize {
    let mut count = 0;
    for start in seeds.step_by(32) {
        let cases: Vec<(u64, Program, Values)> = (start..start + 32)
            .filter_map(|seed| {
                let (graph, values) = random_graph(seed);
                let graph = admit(&graph, &values).then(|| with_gradients(&graph, slope))??;
                Some((seed, Program::new(graph, Arith::PAM).expect("a program"), values))
            })
            .collect();
        let programs: Vec<Program> = cases.iter().map(|(_, p, _)| p.clone()).collect();
        let compiled = Executable::batch(&programs, &EmitOptions::default()).expect("it compiles");
        for ((seed, program, values), executable) in cases.iter().zip(&compiled) {
            let expected = run(program, values).expect("it runs");
            for threads in [1, 2] {
                set_threads(threads);
                let found = executable.run(values).expect("it runs");
                for (name, value) in &expected {
                    let Some(at) = value.first_difference(&found[name]) else { continue };
                    let (graph, found) = (program.graph(), &found[name]);
                    panic!(
                        "seed {seed}, {threads} threads, {name}[{at}]\n{graph}\n{value:?}\n{found:?}"
                    );
                }
            }
        }
        count += cases.len();
    }
    count
}

/// More than 500 graphs in both halves together.
#[test]
fn approximate_gradients_of_generated_graphs() {
    let count = check(Slope::Approx, 0..416, |_, _| true);
    assert!(count > 250, "only {count} graphs have a gradient");
}

#[test]
fn approximate_gradients_of_more_generated_graphs() {
    let count = check(Slope::Approx, 416..832, |_, _| true);
    assert!(count > 250, "only {count} graphs have a gradient");
}

#[test]
fn exact_gradients_of_generated_graphs() {
    let count = check(Slope::Exact, 0..256, |graph, values| !has_nan(graph, values));
    assert!(count > 50, "only {count} graphs have an exact gradient");
}
