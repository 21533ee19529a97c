//! `pamc profile`: where the time of a program goes.

use std::collections::BTreeMap;
use std::time::Instant;

use clap::Args;
use pamc_lowering::codegen::set_threads;
use pamc_lowering::emit::{EmitOptions, ProfiledCall};
use pamc_lowering::exec::peak::products_per_second;
use pamc_lowering::exec::{DataSet, Executable, Session, State, TrainExecutable};
use pamc_lowering::kernels;
use pamc_passes::arith::Arith;
use pamc_passes::ir::Tensor;
use serde_json::json;

use super::args::{ArithArgs, CompilerArgs, ModelArgs};
use super::train::TrainArgs;
use crate::compile::{Settings, compile, compile_training};
use crate::dsl::Mode;
use crate::error::Error;
use crate::runtime::data::synthetic;
use crate::source::Source;

/// Arguments of `pamc profile`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  pamc profile @gpt --train --threads 1
  pamc profile model.onnx --dim batch=8 --top 40 --json

Times are taken with the cycle counter around every kernel of the compiled program, on made-up data.
A share of the peak compares with what one core can do with operands in registers, times the threads.")]
pub struct ProfileArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Profile a training step
    #[arg(long)]
    train: bool,
    #[command(flatten)]
    training: TrainArgs,
    #[command(flatten)]
    arith: ArithArgs,
    /// Threads to use [default: all cores]
    #[arg(long)]
    threads: Option<usize>,
    /// Runs that are measured, after one that is not
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Source nodes shown, those that take longest
    #[arg(long, default_value_t = 25)]
    top: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    compiler: CompilerArgs,
}

/// Cycles of every call in the measured runs, and the seconds these took.
struct Measured {
    calls: Vec<(ProfiledCall, u64)>,
    seconds: f64,
    arena_bytes: usize,
}

fn difference(before: &[u64], after: Vec<(&ProfiledCall, u64)>) -> Vec<(ProfiledCall, u64)> {
    let spent = |((call, now), then): ((&ProfiledCall, u64), &u64)| (call.clone(), now - then);
    after.into_iter().zip(before).map(spent).collect()
}

fn step(args: &ProfileArgs, source: &Source, settings: &Settings) -> Result<Measured, Error> {
    let model = args.training.model(source, &args.model.dims(), args.model.seed)?;
    let train = Some(args.training.spec(&model, None));
    let settings = Settings { train, ..settings.clone() };
    let program = compile_training(model.graph, &settings)?.program;
    let options = EmitOptions { profile: true, ..EmitOptions::default() };
    let mut code =
        TrainExecutable::new(program.programs(), &options, args.compiler.cache().as_ref())?;
    let arena_bytes = code.stats.arena_bytes;
    for (name, value) in model.initial.iter().chain(&program.initial) {
        code.state.set(name, value)?;
    }
    let reader = program.micro.as_ref().unwrap_or(&program.step);
    let data = DataSet::new(code.layout(), &synthetic(reader.graph()))?;
    let batch = code.layout().samples_per_step;
    let samples = data.samples().max(1);
    let order: Vec<i64> = (0..batch).map(|i| (i % samples) as i64).collect();
    code.train(&data, &order)?;
    let before: Vec<u64> = code.profile().iter().map(|(_, n)| *n).collect();
    let start = Instant::now();
    for _ in 0..args.runs {
        code.train(&data, &order)?;
    }
    let seconds = start.elapsed().as_secs_f64();
    Ok(Measured { calls: difference(&before, code.profile()), seconds, arena_bytes })
}

fn forward(args: &ProfileArgs, source: &Source, settings: &Settings) -> Result<Measured, Error> {
    let mut dims = args.model.dims();
    dims.entry("batch".into()).or_insert(1);
    let model = source.build(&dims, Mode::Infer, args.model.seed)?;
    let program = compile(model.graph, settings)?.program;
    let options = EmitOptions { profile: true, ..EmitOptions::default() };
    let code = Executable::new(&program, &options, args.compiler.cache().as_ref())?;
    let mut state = State::new(code.layout());
    let carried: BTreeMap<String, Tensor> = model.initial;
    for slot in code.layout().state.clone() {
        if let Some(value) = carried.get(&slot.name) {
            state.set(&slot.name, value)?;
        }
    }
    let mut session = Session::new(&code, state);
    session.set(&synthetic(program.graph()))?;
    session.execute();
    let before: Vec<u64> = session.profile().iter().map(|(_, n)| *n).collect();
    let start = Instant::now();
    (0..args.runs).for_each(|_| session.execute());
    let seconds = start.elapsed().as_secs_f64();
    let arena_bytes = code.stats.arena_bytes;
    Ok(Measured { calls: difference(&before, session.profile()), seconds, arena_bytes })
}

/// What one source node takes in a run.
#[derive(Default)]
struct Line {
    kernels: usize,
    cycles: u64,
    products: usize,
}

/// Profile the model.
pub fn run(args: &ProfileArgs) -> Result<(), Error> {
    let source = args.model.open()?;
    let threads = args.threads.unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
    });
    set_threads(threads.max(1));
    let arith = args.arith.arith();
    let settings = Settings { arith, train: None, manager: args.compiler.manager()? };
    let measured = match args.train {
        true => step(args, &source, &settings)?,
        false => forward(args, &source, &settings)?,
    };
    let peak = products_per_second(match arith {
        Arith::Float => kernels::Arith::Float,
        Arith::Pam(_) => kernels::Arith::Pam,
    })? * threads as f64;
    report(args, &measured, peak)
}

fn report(args: &ProfileArgs, measured: &Measured, peak: f64) -> Result<(), Error> {
    let mut lines: BTreeMap<(&str, &str), Line> = BTreeMap::new();
    for (call, cycles) in &measured.calls {
        let line = lines.entry((&call.origin, call.op)).or_default();
        line.kernels += 1;
        line.cycles += cycles;
        line.products += call.products;
    }
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort_by_key(|(_, line)| std::cmp::Reverse(line.cycles));
    let all: u64 = lines.iter().map(|(_, l)| l.cycles).sum::<u64>().max(1);
    let run = measured.seconds / f64::from(args.runs);
    let seconds = |l: &Line| l.cycles as f64 / all as f64 * run;
    let rate = |l: &Line| (l.products > 0).then(|| l.products as f64 / seconds(l).max(1e-12));
    let products = |l: &&((&str, &str), Line)| l.1.products > 0;
    let contractions = lines.iter().filter(products).fold(Line::default(), |sum, (_, l)| Line {
        kernels: sum.kernels + l.kernels,
        cycles: sum.cycles + l.cycles,
        products: sum.products + l.products,
    });
    if args.json {
        let node = |((origin, op), l): &((&str, &str), Line)| {
            json!({ "node": origin, "op": op, "kernels": l.kernels, "seconds": seconds(l),
                    "products": l.products, "products_per_second": rate(l) })
        };
        let nodes: Vec<_> = lines.iter().take(args.top).map(node).collect();
        let value = json!({ "seconds_per_run": run, "peak_products_per_second": peak,
            "arena_bytes": measured.arena_bytes, "contractions_seconds": seconds(&contractions),
            "products": contractions.products, "nodes": nodes });
        return super::output::put(None, format!("{value:#}\n").as_bytes());
    }
    let mut text = format!(
        "{:.3} ms a run, of it {:.1} % in contractions ({:.1} G products/s of {:.1} at best); \
         working memory {:.1} MB\n\n{:>7} {:>9} {:>8} {:>9} {:>7}  {:18} source\n",
        run * 1e3,
        seconds(&contractions) / run * 100.0,
        rate(&contractions).unwrap_or(0.0) / 1e9,
        peak / 1e9,
        measured.arena_bytes as f64 / 1e6,
        "share",
        "ms",
        "kernels",
        "G prod/s",
        "peak",
        "kind"
    );
    for ((origin, op), line) in lines.iter().take(args.top) {
        let [products, share] = match rate(line) {
            Some(r) => [format!("{:.1}", r / 1e9), format!("{:.0} %", r / peak * 100.0)],
            None => ["".into(), "".into()],
        };
        let time = seconds(line);
        text += &format!(
            "{:5.1} % {:9.3} {:8} {products:>9} {share:>7}  {op:18} {origin}\n",
            time / run * 100.0,
            time * 1e3,
            line.kernels
        );
    }
    super::output::put(None, text.as_bytes())
}
