//! Whole training steps with AdamW, on one thread and on two.

use std::collections::BTreeMap;
use std::time::Instant;

use pamc::compile::{Settings, TrainProgram, compile_training};
use pamc::dsl::{Init, Mode, Net};
use pamc::runtime::data::synthetic;
use pamc::source::{Source, Wanted};
use pamc_lowering::emit::EmitOptions;
use pamc_lowering::exec::{DataSet, TrainExecutable};
use pamc_passes::ir::{Dims, Tensor, TensorType};
use pamc_passes::manager::Manager;
use pamc_passes::train::TrainSpec;
use serde_json::json;

use super::operations::arith;
use super::{Case, Result, Runner};
use pamc_lowering::kernels::Arith;

/// Parameters of the update that is measured alone.
const PARAMETERS: usize = 10_000_000;

fn runner(
    program: &TrainProgram,
    initial: BTreeMap<String, Tensor>,
    batch: usize,
    steps: usize,
) -> Result<Runner> {
    let mut code = TrainExecutable::new(program.programs(), &EmitOptions::default(), None)?;
    let bytes = code.layout().arena_bytes + code.layout().state_bytes;
    for (name, value) in initial.iter().chain(&program.initial) {
        code.state.set(name, value)?;
    }
    let data = DataSet::new(code.layout(), &synthetic(program.step.graph()))?;
    let order: Vec<i64> = (0..batch * steps).map(|i| (i % batch) as i64).collect();
    let run = move || {
        let start = Instant::now();
        code.train(&data, &order)?;
        Ok(start.elapsed().as_secs_f64())
    };
    Ok(Runner { run: Box::new(run), bytes: Some(bytes) })
}

fn settings(of: Arith) -> Settings {
    let train = Some(TrainSpec::default());
    Settings { arith: arith(of), train, manager: Manager::default() }
}

fn training(model: &'static str, batch: usize, steps: usize, what: &str) -> Case {
    let make = move |of| -> Result<Option<Runner>> {
        let source = Source::open(model)?;
        let dims = Dims::from([("batch".to_string(), batch)]);
        let model = source.build_training(&dims, &Wanted::default(), 0)?;
        let program = compile_training(model.graph, &settings(of))?.program;
        Ok(Some(runner(&program, model.initial, batch, steps)?))
    };
    Case {
        name: format!("step of {model}, batch {batch}"),
        unit: "steps/s",
        work: steps as f64,
        threads: &[1, 2],
        peer: json!({ "what": what, "batch": batch, "calls": steps }),
        make: Box::new(make),
    }
}

/// The update alone: the gradient is a state that stays.
fn adamw() -> Case {
    let make = |of| -> Result<Option<Runner>> {
        let net = Net::new("adamw", Mode::Train);
        let x = net.input("x", TensorType::f32([1, 1]));
        net.param("w", &[PARAMETERS], Init::Normal { std: 1.0 });
        let ty = TensorType::f32([PARAMETERS]);
        net.output("grad.w", net.carried("g", ty, Init::Normal { std: 0.1 }));
        net.output("loss", x.mean(&[0, 1], false));
        let model = net.finish()?;
        let initial = model.initial(0).into_iter().collect();
        let program = compile_training(model.graph, &settings(of))?.program;
        Ok(Some(Runner { bytes: None, ..runner(&program, initial, 1, 1)? }))
    };
    Case {
        name: "adamw, 10 M parameters".into(),
        unit: "G elements/s",
        work: PARAMETERS as f64 / 1e9,
        threads: &[1, 2],
        peer: json!({ "what": "adamw", "n": PARAMETERS, "calls": 1 }),
        make: Box::new(make),
    }
}

pub fn cases() -> Vec<Case> {
    vec![
        adamw(),
        training("@mlp", 50, 50, "mlp"),
        training("@gpt", 16, 2, "gpt"),
        training("@translation:dropout=0", 16, 1, "translation"),
        training("@vit", 8, 1, "vit"),
    ]
}
