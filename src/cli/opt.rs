//! `pamc opt`: the passes of the plug-in without `mlir-opt`.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use pamc_lowering::opt::driver::{self, Settings};

use super::output::put;
use crate::error::Error;

const DEFAULT: &str = "builtin.module(pamc-lower,pamc-verify)";

const AFTER: &str = "\
Passes besides all of MLIR's:
  pamc-lower      to=arith|pam recipe=best|paper compensate=true|false grad=approx|exact
  pamc-simplify   on operations of the pam dialect
  pamc-verify     integers=error|allow

Examples:
  pamc opt matmul.mlir
  pamc opt input.mlir --pass-pipeline 'builtin.module(pamc-lower{to=pam},pamc-simplify)'
  cat input.mlirbc | pamc opt --emit-bytecode -o output.mlirbc";

/// Arguments of `pamc opt`.
#[derive(Args, Debug)]
#[command(after_help = AFTER)]
pub struct OptArgs {
    /// MLIR module in text or bytecode; - is standard input
    #[arg(default_value = "-")]
    pub input: PathBuf,
    /// Passes to run, in MLIR's notation
    #[arg(long, value_name = "PIPELINE", default_value = DEFAULT)]
    pub pass_pipeline: String,
    /// Write here in place of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Write bytecode in place of text
    #[arg(long)]
    pub emit_bytecode: bool,
    /// Write source locations
    #[arg(long)]
    pub mlir_print_debuginfo: bool,
    /// Accept operations of unknown dialects
    #[arg(long)]
    pub allow_unregistered_dialect: bool,
}

/// Run passes on a module.
pub fn run(args: &OptArgs) -> Result<(), Error> {
    let standard = args.input == Path::new("-");
    let mut source = Vec::new();
    let read = match standard {
        true => std::io::stdin().lock().read_to_end(&mut source).map(|_| ()),
        false => std::fs::read(&args.input).map(|bytes| source = bytes),
    };
    let name = if standard { Path::new("standard input") } else { args.input.as_path() };
    read.map_err(|e| Error::file("read", name, e))?;
    let settings = Settings {
        name: &name.display().to_string(),
        pipeline: &args.pass_pipeline,
        allow_unregistered: args.allow_unregistered_dialect,
        bytecode: args.emit_bytecode,
        debug_info: args.mlir_print_debuginfo,
    };
    let output = driver::run(&source, &settings)?;
    for diagnostic in &output.diagnostics {
        eprintln!("{diagnostic}");
    }
    put(args.output.as_deref(), &output.module)
}
