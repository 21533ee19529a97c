//! `pamc train`: a model on a data set.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use pamc_passes::grad::GradSpec;
use pamc_passes::ir::Dims;
use pamc_passes::train::{Decayed, Metric, Optimizer, Schedule, TrainSpec};
use serde_json::json;

use super::args::{ArithArgs, CompilerArgs, DeviceArgs, ModelArgs};
use crate::compile::{Settings, compile, compile_training};
use crate::dsl::{Loss, LossKind};
use crate::error::Error;
use crate::onnx;
use crate::runtime::data::Dataset;
use crate::runtime::device;
use crate::runtime::evaluation::Evaluation;
use crate::runtime::files::{write_safetensors, write_whole};
use crate::runtime::order::Order;
use crate::runtime::training::{MetricsLog, Save, Training, describe};
use crate::select::Selection;
use crate::source::{Gradients, Source, TrainingModel, Wanted};

/// The losses on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LossName {
    /// Softmax cross entropy of logits and class numbers
    #[value(name = "cross_entropy")]
    CrossEntropy,
    /// Negative log likelihood of log probabilities and class numbers
    Nll,
    /// Mean squared error
    Mse,
    /// Mean absolute error
    L1,
    /// Binary cross entropy of logits
    #[value(name = "bce_with_logits")]
    BceWithLogits,
}

/// How to train: also of `pamc MODEL --train --emit`.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Training")]
pub struct TrainArgs {
    /// The loss [default: the model's own]
    #[arg(long, value_enum)]
    loss: Option<LossName>,
    /// Output that the loss is computed from [default: logits, or the only one]
    #[arg(long, value_name = "NAME", requires = "loss")]
    loss_output: Option<String>,
    /// Part of the target spread evenly over all classes
    #[arg(long, value_name = "SHARE", requires = "loss")]
    label_smoothing: Option<f32>,
    /// Class number that does not count
    #[arg(long, value_name = "LABEL", requires = "loss", allow_hyphen_values = true)]
    ignore_index: Option<i64>,
    /// adamw, adam or sgd, with options: adamw:beta2=0.98,eps=1e-9 or sgd:momentum=0.9,nesterov
    #[arg(long)]
    optimizer: Option<Optimizer>,
    /// Peak learning rate [default: 0.001]
    #[arg(long)]
    lr: Option<f64>,
    /// constant, linear, cosine or inverse_sqrt, with options: cosine:warmup=100,floor=0.1
    #[arg(long)]
    schedule: Option<Schedule>,
    /// Steps of linear warm-up
    #[arg(long, value_name = "STEPS")]
    warmup: Option<u32>,
    /// Weight decay
    #[arg(long, value_name = "λ")]
    weight_decay: Option<f64>,
    /// What weight decay acts on: all, or matrices (no biases, no gains) [default: all]
    #[arg(long, value_name = "WHICH")]
    decay: Option<Decayed>,
    /// Shorten the gradient to this global norm
    #[arg(long, value_name = "NORM")]
    clip_norm: Option<f64>,
    /// Micro-batches whose gradients are averaged for one update
    #[arg(long, value_name = "N", default_value_t = 1)]
    accumulate: usize,
    /// Save memory: compute activations and attention weights again in the backward part where they
    /// follow from what is kept anyway (the results stay the same)
    #[arg(long)]
    recompute: bool,
    /// Exact or approximate derivatives: a default, then overrides by part, by kind of operation, by
    /// operand: approx,loss=exact,matmul.b=exact
    #[arg(long, value_name = "SPEC", default_value = "approx,loss=exact")]
    grad: GradSpec,
    /// Where the gradients of an ONNX Runtime training folder or of an ONNX model with training_info
    /// come from [default: derive for a folder, file for a model]
    #[arg(long, value_enum)]
    gradients: Option<Gradients>,
    /// Train the tensors whose names match, whatever they look like; wins over --frozen (repeatable).
    /// An ONNX model at inference does not say what its parameters are: trained are the float
    /// initializers that are operands of MatMul, Gemm, Conv, normalizations and the like, and others
    /// with a name that an author gave (`fc.bias`, `cls_token`); not masks, positions, running
    /// statistics, exporters' constants (`val_3`, `Constant_7`) and single numbers
    #[arg(long, value_name = "GLOB", value_parser = glob::Pattern::new)]
    trainable: Vec<glob::Pattern>,
    /// Leave the tensors whose names match as they are (repeatable): --frozen '*' --trainable 'head.*'
    #[arg(long, value_name = "GLOB", value_parser = glob::Pattern::new)]
    frozen: Vec<glob::Pattern>,
    /// Also report grad_norm or lr each step (repeatable)
    #[arg(long = "report", value_name = "METRIC")]
    report: Vec<Metric>,
}

impl TrainArgs {
    /// The loss asked for.
    pub fn loss(&self) -> Option<Loss> {
        let kind = match self.loss? {
            LossName::CrossEntropy => LossKind::CrossEntropy {
                label_smoothing: self.label_smoothing.unwrap_or(0.0),
                ignore_index: self.ignore_index,
            },
            LossName::Nll => LossKind::Nll { ignore_index: self.ignore_index },
            LossName::Mse => LossKind::Mse,
            LossName::L1 => LossKind::L1,
            LossName::BceWithLogits => LossKind::BceWithLogits,
        };
        let loss = Loss::new(kind);
        Some(match &self.loss_output {
            Some(output) => Loss { output: output.clone(), ..loss },
            None => loss,
        })
    }

    /// The model with its loss.
    ///
    /// # Errors
    /// As [`Source::build_training`].
    pub fn model(&self, source: &Source, dims: &Dims, seed: u64) -> Result<TrainingModel, Error> {
        let wanted = Wanted {
            loss: self.loss(),
            gradients: self.gradients,
            select: Selection { trainable: self.trainable.clone(), frozen: self.frozen.clone() },
        };
        let model = source.build_training(dims, &wanted, seed)?;
        if model.own_updates {
            self.only_own_updates()?;
        }
        Ok(model)
    }

    /// A file that says how it is updated leaves nothing to options.
    fn only_own_updates(&self) -> Result<(), Error> {
        let given = [
            ("--optimizer", self.optimizer.is_some()),
            ("--lr", self.lr.is_some()),
            ("--schedule", self.schedule.is_some()),
            ("--warmup", self.warmup.is_some()),
            ("--weight-decay", self.weight_decay.is_some()),
            ("--decay", self.decay.is_some()),
            ("--clip-norm", self.clip_norm.is_some()),
            ("--accumulate", self.accumulate != 1),
            ("--report", !self.report.is_empty()),
        ];
        let given: Vec<&str> = given.into_iter().filter(|g| g.1).map(|g| g.0).collect();
        if given.is_empty() {
            return Ok(());
        }
        Err(Error::usage(format!(
            "the file says itself how its parameters are updated, so {} has nothing to act on; \
             leave it out, or keep only the file's loss with --gradients derive",
            given.join(", ")
        )))
    }

    /// The training step asked for; what is not given comes from the file, else from the defaults.
    pub fn spec(&self, model: &TrainingModel, steps: Option<usize>) -> TrainSpec {
        let (optimizer, decay, clip) = model.optimizer.unwrap_or_default();
        let mut schedule = self.schedule.unwrap_or_default();
        schedule.warmup = self.warmup.unwrap_or(schedule.warmup);
        schedule.total = schedule.total.or(steps.and_then(|s| u32::try_from(s).ok()));
        TrainSpec {
            optimizer: self.optimizer.unwrap_or(optimizer),
            lr: self.lr.unwrap_or(1e-3),
            schedule,
            weight_decay: self.weight_decay.unwrap_or(decay),
            decayed: self.decay.unwrap_or_default(),
            frozen: model.frozen.clone(),
            clip_norm: self.clip_norm.or(clip),
            accumulate: self.accumulate,
            recompute: self.recompute,
            grad: self.grad.clone(),
            metrics: self.report.clone(),
        }
    }
}

/// Arguments of `pamc train`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  pamc train @mlp --data train.npz --eval test.npz --epochs 3 --save w.safetensors
  pamc train @gpt:small --data text.txt --steps 1000 --batch-size 16 --lr 1e-3 --schedule cosine
  pamc train model.onnx --loss cross_entropy --data train.npz --save trained.onnx
  pamc train lm_tiny/ --data train.npz --batch-size 32 --lr 3e-3 --no-shuffle --arith float")]
pub struct TrainCommand {
    #[command(flatten)]
    model: ModelArgs,
    /// Samples: .npz with an array for each input, first axis = samples, or text for a language model
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// Samples for evaluation
    #[arg(long, value_name = "FILE")]
    eval: Option<PathBuf>,
    /// Evaluate every so many steps [default: at the end]
    #[arg(long, value_name = "STEPS", default_value_t = 0, requires = "eval")]
    eval_every: usize,
    /// Samples in a (micro-)batch
    #[arg(long, short, default_value_t = 32)]
    batch_size: usize,
    /// Passes over the data [default: 1]
    #[arg(long, conflicts_with = "steps")]
    epochs: Option<usize>,
    /// Optimizer steps
    #[arg(long)]
    steps: Option<usize>,
    /// Take the samples in file order
    #[arg(long)]
    no_shuffle: bool,
    /// Metrics, a JSON object a line
    #[arg(long, value_name = "FILE")]
    metrics: Option<PathBuf>,
    /// Weights and optimizer state at the end (safetensors); the weights alone serve `pamc run`. With
    /// the ending .onnx: the inference graph the model came from, with the trained weights
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Save also every so many steps
    #[arg(long, value_name = "STEPS", default_value_t = 0, requires = "save")]
    save_every: usize,
    /// The result as JSON on standard output
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    train: TrainArgs,
    #[command(flatten)]
    arith: ArithArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    compiler: CompilerArgs,
}

/// Train.
pub fn run(args: &TrainCommand) -> Result<(), Error> {
    let source = args.model.open()?;
    let context = source.text_context()?;
    let data = Dataset::open(&args.data, context)?;
    let batch = args.batch_size;
    if batch == 0 || batch > data.samples() {
        return Err(Error::usage(format!(
            "--batch-size {batch} does not fit the {} samples of {}",
            data.samples(),
            args.data.display()
        )));
    }
    let dims = source.bind(&args.model.dims(), batch, &data)?;
    let mut model = args.train.model(&source, &dims, args.model.seed)?;
    model.notes.iter().for_each(|n| eprintln!("note: {n}"));
    if let Some(path) = &args.model.weights {
        super::run::load_weights(&mut model.initial, path)?;
    }
    let seed = (!args.no_shuffle).then_some(args.model.seed);
    let order = Order::new(data.samples(), batch, seed);
    let per_epoch = order.batches_per_epoch() / args.train.accumulate.max(1);
    let steps = args.steps.unwrap_or(args.epochs.unwrap_or(1) * per_epoch);
    let settings = Settings {
        arith: args.arith.arith(),
        train: Some(args.train.spec(&model, Some(steps))),
        manager: args.compiler.manager()?,
    };
    let evaluation = match &args.eval {
        Some(path) => {
            let data = Dataset::open(path, context)?;
            let program = compile(model.forward.clone(), &settings)?.program;
            let forward = device::forward(program, &args.device.device(&args.compiler))?;
            let (output, target) = (&model.output, model.compared()?);
            let set = Evaluation::new(forward, &data, batch, output, target, model.objective)?;
            Some((set, args.eval_every))
        }
        None => None,
    };
    check_ids(&model, &data)?;
    let names = model.initial.keys().cloned().collect();
    let save = args.save.as_deref().map(|path| saver(&source, names, path)).transpose()?;
    let save = save.map(|save| (save, args.save_every));
    let compiled = compile_training(model.graph, &settings)?;
    super::emit::report(&args.compiler, &compiled.timings, &compiled.reports);
    let metrics = compiled.program.metrics.clone();
    let mut state = model.initial;
    state.extend(compiled.program.initial.clone());
    let trainer =
        device::trainer(compiled.program, state, &data, &args.device.device(&args.compiler))?;
    let outcome = Training {
        trainer,
        order,
        steps,
        accumulate: args.train.accumulate,
        metrics,
        evaluation,
        log: args.metrics.as_deref().map(MetricsLog::create).transpose()?,
        save,
        progress: !args.json,
    }
    .run()?;
    tell(args, &outcome)
}

/// What writes the state to `path`, in the format its ending asks for; `names` are the tensors of
/// the model itself.
fn saver(source: &Source, names: BTreeSet<String>, path: &Path) -> Result<Save, Error> {
    let path = path.to_owned();
    if path.extension().is_none_or(|e| e != "onnx") {
        return Ok(Box::new(move |state| write_safetensors(&path, state)));
    }
    let model = source.inference_file()?;
    Ok(Box::new(move |state| {
        let own = state.iter().filter(|(name, _)| names.contains(*name));
        let weights = own.map(|(n, t)| (n.clone(), t.clone())).collect();
        let saved = onnx::with_weights(&model, &weights, &path)?;
        if let Some((name, data)) = &saved.data {
            write_whole(&path.with_file_name(name), data)?;
        }
        write_whole(&path, &saved.model)
    }))
}

/// Ids that a table of the model looks up must be in it.
pub fn check_ids(model: &TrainingModel, data: &Dataset) -> Result<(), Error> {
    let graph = &model.graph;
    for (_, node) in graph.nodes().filter(|(_, n)| n.op.name == "gather") {
        let index = node.inputs[1];
        if let Some(input) = graph.inputs().iter().find(|i| i.node == index) {
            let axis = usize::try_from(node.attrs.int("axis")).unwrap_or(0);
            data.check_ids(&input.name, graph.shape(node.inputs[0])[axis])?;
        }
    }
    Ok(())
}

fn tell(args: &TrainCommand, outcome: &crate::runtime::training::Outcome) -> Result<(), Error> {
    if args.json {
        let mut value = json!({
            "steps": outcome.steps,
            "loss": outcome.loss,
            "seconds": outcome.seconds,
            "interrupted": outcome.interrupted,
        });
        if let Some(scores) = &outcome.scores
            && let (Some(all), Ok(serde_json::Value::Object(more))) =
                (value.as_object_mut(), serde_json::to_value(scores))
        {
            all.extend(more);
        }
        return super::output::put(None, format!("{value}\n").as_bytes());
    }
    let mut text = format!(
        "{} steps in {:.1} s ({:.2} steps/s), last loss {:.4}",
        outcome.steps,
        outcome.seconds,
        outcome.steps as f64 / outcome.seconds.max(1e-9),
        outcome.loss
    );
    if let Some(scores) = &outcome.scores {
        text.push_str(&format!("; {}", describe(scores)));
    }
    if outcome.interrupted {
        text.push_str("\ninterrupted by Ctrl-C");
    }
    if let Some(path) = &args.save {
        text.push_str(&format!("\nweights in {}", path.display()));
    }
    super::output::put(None, format!("{text}\n").as_bytes())
}
