//! `make bench`: times of whole compiled programs, PAM beside ordinary floats in the same run, on one
//! thread and on two. Prints a table, or JSON with `--json`; it judges nothing.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use pamc::compile::{Settings, compile, compile_training};
use pamc::dsl::{Init, Mode, Net, Var};
use pamc::runtime::data::Dataset;
use pamc::runtime::device::{self, Device};
use pamc::runtime::devices::DeviceName;
use pamc::runtime::order::Order;
use pamc::source::{Gradients, Source};
use pamc_lowering::codegen::set_threads;
use pamc_lowering::emit::EmitOptions;
use pamc_lowering::exec::{Executable, Session, State};
use pamc_passes::arith::Arith;
use pamc_passes::interpret::Values;
use pamc_passes::ir::{Dims, Tensor, TensorType};
use pamc_passes::manager::Manager;
use pamc_passes::train::TrainSpec;
use serde_json::{Value, json};

const THREADS: [usize; 2] = [1, 2];
/// Applications of a kernel in one program, so that copying its input and output does not count.
const REPEATS: usize = 12;

/// One row: what, in which unit, and the PAM and float numbers for each of [`THREADS`].
struct Row {
    name: String,
    unit: &'static str,
    pam: [f64; 2],
    float: [f64; 2],
}

fn settings(arith: Arith, train: Option<TrainSpec>) -> Settings {
    Settings { arith, train, manager: Manager::default() }
}

/// Both arithmetics, alternating; each the best of several rounds.
fn both(
    name: &str,
    unit: &'static str,
    mut rates: impl FnMut(Arith) -> Result<[f64; 2], Box<dyn Error>>,
) -> Result<Row, Box<dyn Error>> {
    eprintln!("{name}");
    Ok(Row { name: name.into(), unit, pam: rates(Arith::PAM)?, float: rates(Arith::Float)? })
}

fn best(
    rounds: usize,
    mut run: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let mut least = f64::INFINITY;
    for _ in 0..rounds {
        let start = Instant::now();
        run()?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(least)
}

/// Billions a second of `work` done by each of [`REPEATS`] applications of a kernel to `[rows, n]`.
fn kernel(
    name: &str,
    unit: &'static str,
    [rows, n]: [usize; 2],
    work: usize,
    apply: for<'n> fn(&'n Net, Var<'n>, usize) -> Var<'n>,
) -> Result<Row, Box<dyn Error>> {
    both(name, unit, |arith| {
        let net = Net::new("kernel", Mode::Infer);
        let mut x = net.input("x", TensorType::f32([rows, n]));
        for i in 0..REPEATS {
            let _scope = net.scope(format!("{i}"));
            x = apply(&net, x, n);
        }
        net.output("y", x);
        let model = net.finish()?;
        let initial = model.initial(0);
        let program = compile(model.graph, &settings(arith, None))?.program;
        let code = Executable::new(&program, &EmitOptions::default())?;
        let mut state = State::new(code.layout());
        for (name, value) in &initial {
            state.set(name, value)?;
        }
        let mut session = Session::new(&code, state);
        let value = |i: usize| ((i * 2_654_435_761) % 1000) as f32 / 500.0 - 0.9991;
        let input = Tensor::from_vec(&[rows, n], (0..rows * n).map(value).collect());
        let values: Values = input.into_iter().map(|t| ("x".to_string(), t)).collect();
        let mut out = [0.0; 2];
        for (rate, threads) in out.iter_mut().zip(THREADS) {
            set_threads(threads);
            let seconds = best(8, || {
                session.run(&values)?;
                Ok(())
            })?;
            *rate = (work * REPEATS) as f64 / seconds / 1e9;
        }
        Ok(out)
    })
}

/// Training steps a second of a built-in model with AdamW.
fn training(model: &str, data: &str, batch: usize, steps: usize) -> Result<Row, Box<dyn Error>> {
    let source = Source::open(model)?;
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/data").join(data);
    let data = Dataset::open(&file, source.text_context()?)?;
    let dims = Dims::from([("batch".to_string(), batch)]);
    both(&format!("training {model}, batch {batch}"), "steps/s", |arith| {
        let model = source.build_training(&dims, None, Gradients::Derive, 0)?;
        let program =
            compile_training(model.graph, &settings(arith, Some(TrainSpec::default())))?.program;
        let mut state = model.initial;
        state.extend(program.initial.clone());
        let device = Device { name: DeviceName::Cpu, threads: None };
        let mut trainer = device::trainer(program, state, &data, device)?;
        let mut order = Order::new(data.samples(), batch, Some(0));
        let mut out = [0.0; 2];
        for (rate, threads) in out.iter_mut().zip(THREADS) {
            set_threads(threads);
            let seconds = best(4, || {
                trainer.train(&order.next(steps), steps)?;
                Ok(())
            })?;
            *rate = steps as f64 / seconds;
        }
        Ok(out)
    })
}

fn rows() -> Result<Vec<Row>, Box<dyn Error>> {
    let elements = [2048, 512];
    Ok(vec![
        kernel("matmul 512³", "G products/s", [512, 512], 512 * 512 * 512, |net, x, n| {
            x.matmul(net.param("w", &[n, n], Init::Normal { std: 0.045 }))
        })?,
        kernel("softmax 2048×512", "G elements/s", elements, 2048 * 512, |_, x, _| x.softmax(-1))?,
        kernel("layer norm 2048×512", "G elements/s", elements, 2048 * 512, |net, x, n| {
            let gain = net.param("gain", &[n], Init::Ones);
            x.layer_norm(gain, net.param("bias", &[n], Init::Zeros), 1e-5)
        })?,
        training("@mlp", "mnist5k_train.npz", 50, 50)?,
        training("@gpt", "shakespeare_train.txt", 16, 2)?,
    ])
}

fn main() -> Result<(), Box<dyn Error>> {
    let json = std::env::args().any(|a| a == "--json");
    let rows = rows()?;
    if json {
        let row = |r: &Row| json!({ "name": r.name, "unit": r.unit, "threads": THREADS, "pam": r.pam, "float": r.float });
        println!("{:#}", Value::Array(rows.iter().map(row).collect()));
        return Ok(());
    }
    println!(
        "{:24}{:14}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "", "threads", "pam 1", "float 1", "ratio", "pam 2", "float 2", "ratio"
    );
    for r in rows {
        print!("{:24}{:14}", r.name, r.unit);
        for (pam, float) in r.pam.iter().zip(r.float) {
            print!("{pam:10.2}{float:10.2}{:10.2}", pam / float);
        }
        println!();
    }
    Ok(())
}
