//! Arguments that several commands share.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use pamc_lowering::codegen::{Cache, Target};
use pamc_passes::arith::{Arith, BiasCorrection, Constants, Recipe};
use pamc_passes::ir::{Dims, Tensor};
use pamc_passes::manager::Manager;

use crate::error::Error;
use crate::runtime::device::Device;
use crate::runtime::devices::DeviceName;
use crate::runtime::files::read_npz;
use crate::source::Source;

/// Which model, and the sizes it is left open in.
#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    /// A `.onnx` or `.pam` file, a folder written by ONNX Runtime training, or @NAME of a built-in
    /// model, optionally with a size or options: @vit:small, @gpt:layers=2,d=64
    pub model: String,
    /// Size of a symbolic dimension, such as batch=32 (repeatable); that of an ONNX model's batches, the
    /// first of inputs, is 1 if not given
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dim)]
    pub dims: Vec<(String, usize)>,
    /// Value of an input of an ONNX model that is the same in every run, such as a number of
    /// iterations: NAME=3, NAME=0.5, NAME=true, NAME=[1,2] or NAME=FILE.npy (repeatable)
    #[arg(long, value_name = "NAME=VALUE", value_parser = bound)]
    pub bind: Vec<(String, Tensor)>,
    /// Weights to start from (safetensors) in place of the model's own
    #[arg(long, value_name = "FILE")]
    pub weights: Option<PathBuf>,
    /// Seed of initial weights, of shuffling and of dropout
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl ModelArgs {
    /// The model.
    ///
    /// # Errors
    /// As [`Source::open`] and [`Source::fix`].
    pub fn open(&self) -> Result<Source, Error> {
        let mut source = Source::open(&self.model)?;
        source.fix(&self.bind)?;
        Ok(source)
    }

    /// The sizes by name.
    pub fn dims(&self) -> Dims {
        self.dims.iter().cloned().collect()
    }
}

fn dim(text: &str) -> Result<(String, usize), String> {
    let parsed = text.split_once('=').and_then(|(n, s)| Some((n, s.parse::<usize>().ok()?)));
    match parsed {
        Some((name, size)) if !name.is_empty() && size > 0 => Ok((name.to_string(), size)),
        _ => Err("write it as NAME=SIZE with a size of at least 1, such as batch=32".into()),
    }
}

fn bound(text: &str) -> Result<(String, Tensor), String> {
    let Some((name, value)) = text.split_once('=').filter(|(n, v)| !n.is_empty() && !v.is_empty())
    else {
        return Err("write it as NAME=VALUE, such as iterations=3".into());
    };
    if value.ends_with(".npy") || value.ends_with(".npz") {
        let mut arrays = read_npz(Path::new(value)).map_err(|e| e.to_string())?;
        let only = if arrays.len() == 1 { arrays.pop_first() } else { None };
        let array = only.ok_or_else(|| format!("{value} does not hold one array"))?;
        return Ok((name.to_owned(), array.1));
    }
    let list = value.strip_prefix('[').and_then(|v| v.strip_suffix(']'));
    let items: Vec<&str> = list.unwrap_or(value).split(',').map(str::trim).collect();
    let shape: &[usize] = if list.is_some() { &[items.len()] } else { &[] };
    fn all<T: std::str::FromStr>(items: &[&str]) -> Option<Vec<T>> {
        items.iter().map(|x| x.parse().ok()).collect()
    }
    let tensor = None
        .or_else(|| Tensor::from_vec(shape, all::<i64>(&items)?))
        .or_else(|| Tensor::from_vec(shape, all::<f32>(&items)?))
        .or_else(|| Tensor::from_vec(shape, all::<bool>(&items)?));
    let unread = || format!("{value} is no number, truth value, list of them or .npy file");
    Ok((name.to_owned(), tensor.ok_or_else(unread)?))
}

/// The arithmetic on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ArithName {
    /// Piecewise affine: nothing multiplies
    Pam,
    /// Ordinary floating point through the same pipeline: the baseline
    Float,
}

/// The recipes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RecipeName {
    /// Constants as signed powers of two, bias correction by the filter's own response
    Best,
    /// Everything as in Kosson & Jaggi 2023
    Paper,
}

/// How constant factors are applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ConstantsName {
    /// As a piecewise affine product
    Mul,
    /// As a sum of signed powers of two
    PowersOfTwo,
}

/// How Adam's moments are corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BiasName {
    /// By 1 − βᵗ
    Power,
    /// By the moving average of a constant 1
    Response,
}

/// What the program computes in.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Arithmetic")]
pub struct ArithArgs {
    /// The arithmetic of the program
    #[arg(long, value_enum, default_value_t = ArithName::Pam)]
    pub arith: ArithName,
    /// Which set of choices the piecewise affine arithmetic makes
    #[arg(long, value_enum, default_value_t = RecipeName::Best)]
    pub recipe: RecipeName,
    /// How log2(e) and ln 2 are applied, in place of the recipe's choice
    #[arg(long, value_enum)]
    pub constants: Option<ConstantsName>,
    /// Adam's bias correction, in place of the recipe's choice
    #[arg(long, value_enum)]
    pub bias_correction: Option<BiasName>,
}

impl ArithArgs {
    /// The arithmetic asked for.
    pub fn arith(&self) -> Arith {
        if self.arith == ArithName::Float {
            return Arith::Float;
        }
        let mut recipe = match self.recipe {
            RecipeName::Best => Recipe::BEST,
            RecipeName::Paper => Recipe::PAPER,
        };
        match self.constants {
            Some(ConstantsName::Mul) => recipe.constants = Constants::Mul,
            Some(ConstantsName::PowersOfTwo) => recipe.constants = Constants::PowersOfTwo,
            None => {}
        }
        match self.bias_correction {
            Some(BiasName::Power) => recipe.bias_correction = BiasCorrection::Power,
            Some(BiasName::Response) => recipe.bias_correction = BiasCorrection::Response,
            None => {}
        }
        Arith::Pam(recipe)
    }
}

/// Looking into the compiler.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Compiler")]
pub struct CompilerArgs {
    /// Processor to generate code for (native: this machine's)
    #[arg(long, value_name = "CPU", default_value = "native")]
    pub target_cpu: String,
    /// Write the graphs after each pass, and the MLIR, into this folder
    #[arg(long, value_name = "DIR")]
    pub dump_phases: Option<PathBuf>,
    /// Print the time of each pass
    #[arg(long)]
    pub time_passes: bool,
    /// Print sizes: nodes, kernels, memory, multiply instructions found
    #[arg(long)]
    pub stats: bool,
    /// Compile every kernel anew; else those compiled before are taken from the folder pamc in the
    /// user's cache folder, or from $PAMC_CACHE
    #[arg(long)]
    pub no_cache: bool,
}

impl CompilerArgs {
    /// The pass manager asked for; `PAMC_BISECT=N` runs only the first N optional passes.
    ///
    /// # Errors
    /// If `PAMC_BISECT` is not a number.
    pub fn manager(&self) -> Result<Manager, Error> {
        let bisect = match std::env::var("PAMC_BISECT") {
            Ok(text) => Some(text.parse().map_err(|_| {
                Error::usage(format!("PAMC_BISECT={text} is not a number of passes"))
            })?),
            Err(_) => None,
        };
        Ok(Manager { dump: self.dump_phases.clone(), bisect })
    }

    /// Where compiled kernels are kept, unless that is not wanted or not possible.
    pub fn cache(&self) -> Option<Cache> {
        if self.no_cache { None } else { cache() }
    }

    /// The processor asked for.
    ///
    /// # Errors
    /// Lists the known names.
    pub fn target(&self) -> Result<Target, Error> {
        Ok(Target::named(&self.target_cpu)?)
    }
}

/// The folder of compiled kernels; without one that can be written a note says so.
pub fn cache() -> Option<Cache> {
    let folder = match std::env::var_os("PAMC_CACHE") {
        Some(folder) => PathBuf::from(folder),
        None => dirs::cache_dir()?.join("pamc"),
    };
    Cache::open(&folder).inspect_err(|e| eprintln!("note: compiled kernels are not kept: {e}")).ok()
}

/// How to run.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Running")]
pub struct DeviceArgs {
    /// Where the program runs: cpu, interpret (node by node in the reference interpreter: slow),
    /// vulkan[:N] or cuda[:N] (`pamc devices` lists them); PAM gives the same bits on all
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub device: DeviceName,
    /// Threads to use; the results do not depend on it [default: all cores]
    #[arg(long)]
    pub threads: Option<usize>,
}

impl DeviceArgs {
    /// The machine asked for.
    pub fn device(self, compiler: &CompilerArgs) -> Device {
        Device { name: self.device, threads: self.threads, cache: compiler.cache() }
    }
}
