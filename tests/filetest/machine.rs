//! What a program runs on. All must agree bit for bit.

use pamc_lowering::codegen::set_threads;
use pamc_lowering::emit::EmitOptions;
use pamc_lowering::exec::Executable;
use pamc_passes::arith::Arith;
use pamc_passes::interpret::{self, Values};
use pamc_passes::pass;
use pamc_passes::program::Program;

use crate::gpu;

/// What a program gave on one machine, with the machine's name.
pub type Outcome = (String, Result<Values, String>);

/// Run a program on every machine: as it is and simplified, on the interpreter and compiled, the
/// latter with one thread and with two, and on a Vulkan device where there is one.
pub fn everywhere(program: &Program, arith: Arith, inputs: &Values) -> Vec<Outcome> {
    let mut out = both(program, "", inputs);
    match simplified(program, arith) {
        Ok(simpler) => out.extend(both(&simpler, ", simplified", inputs)),
        Err(e) => out.push(("simplification".into(), Err(e))),
    }
    out
}

/// The program after its last pass.
pub fn simplified(program: &Program, arith: Arith) -> Result<Program, String> {
    let (graph, _) = pass::simplify(program.graph()).map_err(|e| e.to_string())?;
    Program::new(graph, arith).map_err(|e| e.to_string())
}

fn both(program: &Program, what: &str, inputs: &Values) -> Vec<Outcome> {
    let interpreted = interpret::run(program, inputs).map_err(|e| e.to_string());
    let mut out = vec![(format!("the interpreter{what}"), interpreted)];
    let executable =
        Executable::new(program, &EmitOptions::default(), None).map_err(|e| e.to_string());
    for threads in [1, 2] {
        set_threads(threads);
        let got = match &executable {
            Ok(code) => code.run(inputs).map_err(|e| e.to_string()),
            Err(e) => Err(e.clone()),
        };
        out.push((format!("compiled code{what}, {threads} thread(s)"), got));
    }
    if program.is_mul_free()
        && let Some(device) = gpu::device()
    {
        out.push((format!("Vulkan{what}"), gpu::run(device, program, inputs)));
    }
    if program.is_mul_free() && gpu::assemble::wanted() {
        let said = gpu::assemble::everywhere(program).into_iter();
        out.extend(said.map(|(chip, error)| (format!("{chip}{what}"), Err(error))));
    }
    out
}
