//! Generated programs.

use pamc_passes::interpret;
use pamc_passes::testing::random_program;

/// Seeds of the programs.
const SEEDS: u64 = 256;

/// Run every fourth program from `first` on; all failures at once.
fn quarter(first: u64) {
    let mut failures = Vec::new();
    for seed in (first..SEEDS).step_by(4) {
        let Some(machine) = super::device() else { return };
        let (program, inputs) = random_program(seed);
        let wanted = interpret::run(&program, &inputs).expect("the generator feeds its programs");
        let got = super::run(machine, &program, &inputs);
        let differs = |name: &String| match &got {
            Ok(values) => values.get(name).and_then(|v| wanted[name].first_difference(v)),
            Err(_) => None,
        };
        let said = match &got {
            Err(e) => Some(e.clone()),
            Ok(values) if values.len() != wanted.len() => Some("outputs are missing".into()),
            Ok(values) => wanted.keys().find_map(|name| {
                let at = differs(name)?;
                Some(format!("{name} differs at {at}:\n{:?}\n{:?}", wanted[name], values[name]))
            }),
        };
        failures.extend(said.map(|s| format!("seed {seed}: {s}\n{}", program.graph())));
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn first_quarter_equals_the_interpreter() {
    quarter(0);
}

#[test]
fn second_quarter_equals_the_interpreter() {
    quarter(1);
}

#[test]
fn third_quarter_equals_the_interpreter() {
    quarter(2);
}

#[test]
fn last_quarter_equals_the_interpreter() {
    quarter(3);
}
