//! `pamc run`: a model on arrays.

use std::path::{Path, PathBuf};

use clap::Args;
use pamc_passes::interpret::Values;
use pamc_passes::ir::InputKind;

use super::args::{ArithArgs, CompilerArgs, DeviceArgs, ModelArgs};
use crate::compile::{Settings, compile};
use crate::dsl::Mode;
use crate::error::Error;
use crate::runtime::data::Dataset;
use crate::runtime::device;
use crate::runtime::files::{Tensors, read_npz, write_npz};
use crate::source::Model;

/// Arguments of `pamc run`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  pamc run @mlp --input input=x.npy --weights w.safetensors --output y.npz
  pamc run model.onnx --inputs in.npz --output out.npz --device interpret")]
pub struct RunArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// One input from a file: NAME=FILE.npy (repeatable)
    #[arg(long = "input", value_name = "NAME=FILE")]
    input: Vec<String>,
    /// All inputs from an archive, by name
    #[arg(long, value_name = "FILE.npz")]
    inputs: Option<PathBuf>,
    /// Where the outputs go: .npz, or .npy for a single one [default: a summary on the terminal]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    arith: ArithArgs,
    #[command(flatten)]
    device: DeviceArgs,
    #[command(flatten)]
    compiler: CompilerArgs,
}

/// The arrays of all `--input` and `--inputs`.
fn given(args: &RunArgs) -> Result<Tensors, Error> {
    let mut out = match &args.inputs {
        Some(path) => read_npz(path)?,
        None => Tensors::new(),
    };
    for text in &args.input {
        let (name, file) = text.split_once('=').ok_or_else(|| {
            Error::usage(format!("--input {text}: write it as NAME=FILE, such as input=x.npy"))
        })?;
        let mut arrays = read_npz(Path::new(file))?;
        let only = arrays.remove(name).or_else(|| match arrays.len() {
            1 => arrays.pop_first().map(|(_, t)| t),
            _ => None,
        });
        let tensor = only.ok_or_else(|| {
            Error::data(Path::new(file), name, "the file has several arrays and none of this name")
        })?;
        out.insert(name.to_string(), tensor);
    }
    if out.is_empty() {
        return Err(Error::usage(
            "give the inputs with --inputs FILE.npz or --input NAME=FILE.npy",
        ));
    }
    Ok(out)
}

/// Replace first values by those of a weights file; every parameter of the model must be there.
pub fn load_weights(model_state: &mut Tensors, path: &Path) -> Result<(), Error> {
    let mut read = crate::runtime::files::read_safetensors(path)?;
    let missing: Vec<_> = model_state.keys().filter(|n| !read.contains_key(*n)).cloned().collect();
    if !missing.is_empty() {
        return Err(Error::usage(format!(
            "{}: no values for {} of the model's {} tensors: {}",
            path.display(),
            missing.len(),
            model_state.len(),
            missing.join(", ")
        )));
    }
    for (name, value) in model_state.iter_mut() {
        let new = read.remove(name).unwrap_or_else(|| value.clone());
        if new.ty() != value.ty() {
            let reason = format!("it is {}, but the model has {}", new.ty(), value.ty());
            return Err(Error::data(path, name, reason));
        }
        *value = new;
    }
    Ok(())
}

/// Inputs of the model's types; where element counts agree, shapes are adapted.
fn fit(model: &Model, given: Tensors) -> Result<Values, Error> {
    let data = |i: &&pamc_passes::ir::Input| i.kind == InputKind::Data;
    let known: Vec<_> = model.graph.inputs().iter().filter(data).map(|i| i.name.clone()).collect();
    let unknown: Vec<_> = given.keys().filter(|n| !known.contains(n)).cloned().collect();
    if !unknown.is_empty() {
        return Err(pamc_passes::interpret::RunError::Unknown { unknown, known }.into());
    }
    let missing: Vec<_> = known.iter().filter(|n| !given.contains_key(*n)).cloned().collect();
    if !missing.is_empty() {
        return Err(pamc_passes::interpret::RunError::Missing(missing).into());
    }
    let mut out = Values::new();
    for input in model.graph.inputs().iter().filter(data) {
        let (value, wanted) = (&given[&input.name], model.graph.ty(input.node));
        let fitted = crate::runtime::data::fit(value, wanted);
        out.insert(
            input.name.clone(),
            fitted.ok_or_else(|| pamc_passes::interpret::RunError::Type {
                name: input.name.clone(),
                got: value.ty().to_string(),
                wanted: wanted.to_string(),
            })?,
        );
    }
    Ok(out)
}

/// Run the model once on the arrays given.
pub fn run(args: &RunArgs) -> Result<(), Error> {
    let given = given(args)?;
    let source = args.model.open()?;
    let batch = given.values().filter_map(|t| t.shape().first().copied()).max().unwrap_or(1);
    let data = Dataset::from_arrays(given.clone());
    let dims = source.bind(&args.model.dims(), batch.max(1), &data)?;
    let mut model = source.build(&dims, Mode::Infer, args.model.seed)?;
    model.notes.iter().for_each(|n| eprintln!("note: {n}"));
    if let Some(path) = &args.model.weights {
        load_weights(&mut model.initial, path)?;
    }
    let values = fit(&model, given)?;
    let settings =
        Settings { arith: args.arith.arith(), train: None, manager: args.compiler.manager()? };
    let compiled = compile(model.graph, &settings)?;
    super::emit::report(&args.compiler, &compiled.timings, &compiled.reports);
    let mut machine = device::forward(compiled.program, &args.device.device(&args.compiler))?;
    let outputs: Tensors = machine.run(&values, &model.initial)?.into_iter().collect();
    match &args.output {
        Some(path) => write_npz(path, &outputs),
        None => {
            let lines: Vec<String> = outputs.iter().map(|(n, t)| summary(n, t)).collect();
            super::output::put(None, lines.concat().as_bytes())
        }
    }
}

fn summary(name: &str, t: &pamc_passes::ir::Tensor) -> String {
    match t.to_vec::<f32>() {
        Some(v) if !v.is_empty() => {
            let least = v.iter().copied().fold(f32::INFINITY, f32::min);
            let most = v.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            format!("{name}: {} from {least} to {most}\n", t.ty())
        }
        _ => format!("{name}: {}\n", t.ty()),
    }
}
