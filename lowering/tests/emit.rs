//! Compiled programs against the interpreter, bit for bit.

use pamc_lowering::codegen::set_threads;
use pamc_lowering::emit::EmitOptions;
use pamc_lowering::exec::Executable;
use pamc_passes::interpret::{Values, run};
use pamc_passes::program::Program;
use pamc_passes::testing::random_program;

/// Run everything at 1 and 2 threads and compare all outputs with the interpreter's.
fn check(cases: &[(u64, Program, Values)]) {
    let programs: Vec<Program> = cases.iter().map(|(_, p, _)| p.clone()).collect();
    let compiled = Executable::batch(&programs, &EmitOptions::default()).unwrap();
    for ((seed, program, values), executable) in cases.iter().zip(&compiled) {
        let expected = run(program, values).unwrap();
        for threads in [1, 2] {
            set_threads(threads);
            let found = executable.run(values).unwrap();
            assert_eq!(found.len(), expected.len());
            for (name, value) in &expected {
                if let Some(at) = value.first_difference(&found[name]) {
                    panic!(
                        "seed {seed}, {threads} threads: {name}[{at}] differs\n{}\nwanted {:?}\nfound {:?}",
                        program.graph(),
                        value,
                        found[name]
                    );
                }
            }
        }
    }
}

fn seeds(range: std::ops::Range<u64>) {
    for start in range.clone().step_by(32) {
        let cases: Vec<_> = (start..range.end.min(start + 32))
            .map(|seed| {
                let (program, values) = random_program(seed);
                (seed, program, values)
            })
            .collect();
        check(&cases);
    }
}

macro_rules! random_programs {
    ($($name:ident: $range:expr),* $(,)?) => {$(
        #[test]
        fn $name() {
            seeds($range);
        }
    )*};
}

random_programs! {
    random_programs_to_128: 0..128,
    random_programs_to_256: 128..256,
    random_programs_to_384: 256..384,
    random_programs_to_512: 384..512,
}
