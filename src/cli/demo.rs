//! `pamc demo`: a small GPT on public-domain text, in PAM and in ordinary floats, side by side.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;
use pamc_lowering::audit;
use pamc_lowering::codegen::{Options, Target};
use pamc_lowering::emit::{EmitOptions, Emitted};
use pamc_lowering::exec::{Executable, TrainExecutable};
use pamc_passes::arith::Arith;
use pamc_passes::grad::GradSpec;
use pamc_passes::ir::{Dims, Tensor};
use pamc_passes::manager::Manager;
use pamc_passes::train::{Adam, AdamWForm, Curve, Decayed, Optimizer, Schedule, TrainSpec};
use serde::Serialize;

use super::emit::{describe, generate};
use super::output::{put, table};
use crate::compile::{Settings, TrainProgram, compile, compile_training};
use crate::dsl::Mode;
use crate::error::Error;
use crate::runtime::data::Dataset;
use crate::runtime::device::{self, Device};
use crate::runtime::devices::DeviceName;
use crate::runtime::evaluation::Evaluation;
use crate::runtime::files::write_safetensors;
use crate::runtime::order::Order;
use crate::runtime::sampling::{Sampling, Writer};
use crate::runtime::training::{MetricsLog, Outcome, Training};
use crate::source::{Source, Wanted};

const TRAIN: &str = include_str!("../../models/data/shakespeare_train.txt");
const VALID: &str = include_str!("../../models/data/shakespeare_valid.txt");
const BATCH: usize = 8;
/// Steps for each arithmetic in a minute of the whole demo on two cores, compiling and evaluating
/// included. A fixed number, so that a seed gives the same weights on every machine.
const STEPS_PER_MINUTE: f64 = 350.0;
const PROMPT: &str = "KING.\n";
const CHARACTERS: usize = 320;
const TEMPERATURE: f64 = 0.7;

/// Arguments of `pamc demo`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  pamc demo                               two minutes on two cores; files in pamc-demo/
  pamc demo --minutes 10 --out long/
  pamc demo --minutes 0.5 --json | jq .results[].eval_loss")]
pub struct DemoArgs {
    /// About how long it may take on two cores: decides the number of steps, the same for both
    #[arg(long, default_value_t = 2.0, value_parser = minutes)]
    minutes: f64,
    /// Folder for weights, compiled code and metrics
    #[arg(long, value_name = "DIR", default_value = "pamc-demo")]
    out: PathBuf,
    /// Seed of initial weights, of shuffling and of the generated text
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// A language model over characters
    #[arg(long, default_value = "@gpt")]
    model: String,
    /// The results as JSON on standard output
    #[arg(long)]
    json: bool,
}

fn minutes(text: &str) -> Result<f64, String> {
    let parsed = text.parse::<f64>().ok().filter(|m| *m > 0.0 && *m <= 10_000.0);
    parsed.ok_or_else(|| "write a number of minutes above 0, such as 2 or 0.5".into())
}

/// What one arithmetic came to.
#[derive(Debug, Serialize)]
struct Side {
    arith: &'static str,
    steps: usize,
    seconds: f64,
    steps_per_second: f64,
    train_loss: f32,
    eval_loss: Option<f64>,
    perplexity: Option<f64>,
    /// Instructions of the training object that multiply, divide or take roots, by mnemonic.
    multiplies: BTreeMap<String, usize>,
    multiplies_total: usize,
    library_calls: Vec<String>,
    address_multiplies: usize,
    instructions: usize,
    sample: String,
    files: Vec<PathBuf>,
    interrupted: bool,
}

struct Demo<'a> {
    args: &'a DemoArgs,
    source: Source,
    train: Dataset,
    valid: Dataset,
    steps: usize,
    device: Device,
}

/// Train both and compare.
pub fn run(args: &DemoArgs) -> Result<(), Error> {
    let demo = Demo::new(args)?;
    std::fs::create_dir_all(&args.out).map_err(|e| Error::file("write", &args.out, e))?;
    demo.say(&format!(
        "{} on {} kB of Shakespeare: {} steps of {BATCH} windows of {} characters, twice",
        args.model,
        TRAIN.len() / 1000,
        demo.steps,
        demo.source.text_context()?.unwrap_or(0)
    ));
    let mut sides = Vec::new();
    for (name, arith) in [("pam", Arith::PAM), ("float", Arith::Float)] {
        let side = demo.side(name, arith)?;
        let stop = side.interrupted;
        sides.push(side);
        if stop {
            break;
        }
    }
    let results = serde_json::json!({ "model": args.model, "seed": args.seed, "results": sides });
    let json = format!("{results:#}\n");
    put(Some(&args.out.join("results.json")), json.as_bytes())?;
    let text = if args.json { json } else { demo.report(&sides) };
    put(None, text.as_bytes())
}

impl<'a> Demo<'a> {
    fn new(args: &'a DemoArgs) -> Result<Self, Error> {
        let source = Source::open(&args.model)?;
        let context = source.text_context()?.ok_or_else(|| {
            Error::usage(format!("{} reads no text; the demo takes @gpt", args.model))
        })?;
        let text = |name, text| Dataset::from_text(Path::new(name), text, context);
        let train = text("shakespeare_train.txt", TRAIN)?;
        let valid = text("shakespeare_valid.txt", VALID)?;
        let steps = ((args.minutes * STEPS_PER_MINUTE).round() as usize).max(1);
        let device = Device { name: DeviceName::Cpu, threads: None, cache: super::args::cache() };
        Ok(Demo { args, source, train, valid, steps, device })
    }

    fn say(&self, text: &str) {
        if !self.args.json {
            eprintln!("{text}");
        }
    }

    fn settings(&self, arith: Arith) -> Settings {
        let steps = u32::try_from(self.steps).unwrap_or(u32::MAX);
        let schedule =
            Schedule { curve: Curve::Cosine, warmup: steps / 20, total: Some(steps), floor: 0.05 };
        let train = TrainSpec {
            optimizer: Optimizer::AdamW(
                Adam { beta2: 0.95, ..Adam::default() },
                AdamWForm::default(),
            ),
            lr: 2e-3,
            schedule,
            weight_decay: 0.01,
            decayed: Decayed::Matrices,
            frozen: Vec::new(),
            clip_norm: None,
            accumulate: 1,
            recompute: false,
            grad: GradSpec::default(),
            metrics: Vec::new(),
        };
        Settings { arith, train: Some(train), manager: Manager::default() }
    }

    /// Compile, train, evaluate and let it write.
    fn side(&self, name: &'static str, arith: Arith) -> Result<Side, Error> {
        self.say(&format!("{name}: compiling"));
        let settings = self.settings(arith);
        let dims = Dims::from([("batch".to_string(), BATCH)]);
        let model = self.source.build_training(&dims, &Wanted::default(), self.args.seed)?;
        super::train::check_ids(&model, &self.train)?;
        let forward = compile(model.forward.clone(), &settings)?.program;
        let forward = device::forward(forward, &self.device)?;
        let (output, target) = (&model.output, model.compared()?);
        let evaluation =
            Evaluation::new(forward, &self.valid, BATCH, output, target, model.objective)?;
        let program = compile_training(model.graph, &settings)?.program;
        let mut state = model.initial;
        state.extend(program.initial.clone());
        let (machine, found, mut files) = self.build(name, &program)?;
        let arrays = device::arrays(&program, &self.train)?;
        let weights = self.file(name, "safetensors");
        let metrics = self.file(name, "jsonl");
        let to = weights.clone();
        let outcome = Training {
            trainer: device::compiled_trainer(machine, state, arrays)?,
            order: Order::new(self.train.samples(), BATCH, Some(self.args.seed)),
            steps: self.steps,
            accumulate: 1,
            metrics: program.metrics,
            evaluation: Some((evaluation, 0)),
            log: Some(MetricsLog::create(&metrics)?),
            save: Some((Box::new(move |state| write_safetensors(&to, state)), 0)),
            progress: !self.args.json,
        }
        .run()?;
        files.extend([weights, metrics]);
        let sample = self.sample(&settings, &outcome.state)?;
        Ok(side(name, &outcome, &found, sample, files))
    }

    fn file(&self, name: &str, ending: &str) -> PathBuf {
        self.args.out.join(name).with_extension(ending)
    }

    /// The training loop as machine code, audited, with what describes it in files.
    fn build(
        &self,
        name: &str,
        program: &TrainProgram,
    ) -> Result<(TrainExecutable, audit::Report, Vec<PathBuf>), Error> {
        let target = Target::host();
        let emitted: Emitted = program.module(&target)?;
        let free = program.step.is_mul_free();
        let (object, found) =
            generate(&emitted, free, &target, &Options::default(), self.device.cache.as_ref())?;
        let (mlir, code) = (self.file(name, "mlir"), self.file(name, "o"));
        put(Some(&mlir), emitted.parts.whole().as_bytes())?;
        put(Some(&code), &object.bytes)?;
        let [header, layout] = describe(&code, &emitted)?;
        let machine = TrainExecutable::load(emitted, &[object])?;
        Ok((machine, found, vec![mlir, code, header, layout]))
    }

    /// A text by the trained model.
    fn sample(
        &self,
        settings: &Settings,
        state: &BTreeMap<String, Tensor>,
    ) -> Result<String, Error> {
        let dims = Dims::from([("batch".to_string(), 1)]);
        let model = self.source.build(&dims, Mode::Infer, self.args.seed)?;
        let program = compile(model.graph, settings)?.program;
        let code = Executable::new(&program, &EmitOptions::default(), self.device.cache.as_ref())?;
        let sampling = Sampling { temperature: TEMPERATURE, seed: self.args.seed };
        let text = Writer::new(&code, state)?.write(PROMPT, CHARACTERS, sampling)?;
        Ok(format!("{PROMPT}{text}"))
    }

    fn report(&self, sides: &[Side]) -> String {
        let mut out = table(&rows(sides));
        out.push_str(&format!(
            "\nThe validation loss is the mean cross entropy of {} windows of other plays, in nats a \
             character,\ncomputed in float64 from the logits; the training loss is in the program's own \
             arithmetic.\n",
            self.valid.samples()
        ));
        for side in sides {
            out.push_str(&format!("\n── {} writes ──\n{}\n", side.arith, side.sample.trim_end()));
        }
        out.push_str(&format!("\nFiles in {}:\n", self.args.out.display()));
        for side in sides {
            let names = side.files.iter().filter_map(|f| f.file_name()?.to_str());
            out.push_str(&format!("  {}\n", names.collect::<Vec<_>>().join("  ")));
        }
        if sides.iter().any(|s| s.interrupted) {
            out.push_str("\ninterrupted by Ctrl-C: the numbers are those of the steps done\n");
        }
        out
    }
}

fn side(
    arith: &'static str,
    outcome: &Outcome,
    found: &audit::Report,
    sample: String,
    files: Vec<PathBuf>,
) -> Side {
    let mut multiplies = BTreeMap::new();
    let (calls, instructions): (Vec<_>, Vec<_>) =
        found.findings.iter().partition(|f| f.kind.is_call());
    for finding in &instructions {
        *multiplies.entry(finding.what.clone()).or_default() += 1;
    }
    Side {
        arith,
        steps: outcome.steps,
        seconds: outcome.seconds,
        steps_per_second: outcome.steps as f64 / outcome.seconds.max(1e-9),
        train_loss: outcome.loss,
        eval_loss: outcome.scores.map(|s| s.eval_loss),
        perplexity: outcome.scores.and_then(|s| s.perplexity),
        multiplies,
        multiplies_total: instructions.len(),
        library_calls: calls.iter().map(|f| f.what.clone()).collect(),
        address_multiplies: found.address_multiplies(),
        instructions: found.operations(),
        sample,
        files,
        interrupted: outcome.interrupted,
    }
}

fn rows(sides: &[Side]) -> Vec<Vec<String>> {
    let row = |name: &str, cell: &dyn Fn(&Side) -> String| {
        std::iter::once(name.to_string()).chain(sides.iter().map(cell)).collect::<Vec<_>>()
    };
    let number = |x: Option<f64>| x.map_or_else(|| "-".into(), |x| format!("{x:.4}"));
    let kinds = |s: &Side| {
        let listed: Vec<_> = s.multiplies.iter().map(|(m, n)| format!("{n} {m}")).collect();
        if listed.is_empty() { "-".into() } else { listed.join(", ") }
    };
    vec![
        row("", &|s| s.arith.into()),
        row("validation loss", &|s| number(s.eval_loss)),
        row("perplexity", &|s| number(s.perplexity)),
        row("last training loss", &|s| format!("{:.4}", s.train_loss)),
        row("steps", &|s| s.steps.to_string()),
        row("steps/s", &|s| format!("{:.2}", s.steps_per_second)),
        row("multiply instructions in the training object", &|s| s.multiplies_total.to_string()),
        row("  which", &kinds),
        row("  of so many instructions", &|s| s.instructions.to_string()),
        row("  scalar integer ones, for addresses, apart", &|s| s.address_multiplies.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_leave_their_files_and_only_float_multiplies() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let args = DemoArgs {
            minutes: 0.1,
            out: folder.path().join("demo"),
            seed: 3,
            model: "@gpt:context=16,layers=1,d=16,heads=2".into(),
            json: true,
        };
        let demo = Demo::new(&args).expect("the model and the text");
        std::fs::create_dir_all(&args.out).expect("made");
        let side = |name, arith| demo.side(name, arith).expect("trained");
        let (pam, float) = (side("pam", Arith::PAM), side("float", Arith::Float));
        assert_eq!((pam.multiplies_total, pam.library_calls.len()), (0, 0));
        assert!(float.multiplies_total > 0 && pam.instructions > 0);
        for side in [&pam, &float] {
            assert!(side.files.iter().all(|f| f.metadata().is_ok_and(|m| m.len() > 0)));
            assert_eq!(side.steps, demo.steps);
            let loss = side.eval_loss.expect("evaluated");
            assert!(loss < 96f64.ln() - 0.3, "{}: {loss}", side.arith);
            assert_eq!(side.sample.chars().count(), PROMPT.len() + CHARACTERS);
        }
        let again = demo.side("pam", Arith::PAM).expect("trained");
        assert_eq!((again.sample, again.eval_loss), (pam.sample, pam.eval_loss));
        assert!(minutes("0").is_err() && minutes("x").is_err() && minutes("NaN").is_err());
    }
}
