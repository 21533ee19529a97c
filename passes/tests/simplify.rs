//! Simplification keeps every bit, works on each distinct layer once and saturates.

use pamc_passes::egraph::Stop;
use pamc_passes::interpret::run;
use pamc_passes::pass::simplify;
use pamc_passes::program::{MulFree, Program};
use pamc_passes::testing::random_program;

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
