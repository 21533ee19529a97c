//! The command line: one file a command.

mod args;
mod audit;
mod cost;
mod demo;
mod devices;
mod emit;
mod explain;
mod ops;
mod opt;
mod output;
mod profile;
mod prove;
mod run;
mod train;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::error::Error;

const EXAMPLES: &str = "\
Examples:
  pamc @mlp --emit pam                        the multiplication-free graph of a built-in model
  pamc model.onnx --dim batch=8 --emit lib -o libmodel.so
  pamc @gpt:small --train --optimizer adamw --lr 1e-3 --emit mlir
  pamc train @mlp --data train.npz --eval test.npz --epochs 3 --save w.safetensors
  pamc run @mlp --input input=x.npy --weights w.safetensors --output y.npz";

/// Compile neural networks into programs that train and run without multiplying.
#[derive(Parser, Debug)]
#[command(name = "pamc", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    emit: Option<emit::EmitArgs>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run a model on arrays
    Run(run::RunArgs),
    /// Train a model on a data set
    Train(Box<train::TrainCommand>),
    /// Train a small GPT on Shakespeare, in PAM and as usual, and compare
    Demo(demo::DemoArgs),
    /// List the devices that programs can run on
    Devices(devices::DevicesArgs),
    /// Look for multiplications of data in compiled code and in models
    Audit(audit::AuditArgs),
    /// Count a model's operations and estimate energy and area
    Cost(Box<cost::CostArgs>),
    /// Show what became of a node, step by step
    Explain(explain::ExplainArgs),
    /// Show where the time of a compiled program goes, by source node
    Profile(Box<profile::ProfileArgs>),
    /// Run PAM passes, or any of MLIR's, on an MLIR module that pamc did not write
    Opt(opt::OptArgs),
    /// List the operations
    Ops(ops::OpsArgs),
    /// List the rewrite rules
    Rules(ops::RulesArgs),
    /// Prove every rewrite rule, emitted code and error bounds again
    Prove(prove::ProveArgs),
}

/// Run the command line; the exit code is 0, 1 for a failure, 2 for wrong arguments.
pub fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PAMC_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    let done = match (cli.command, cli.emit) {
        (Some(Command::Run(args)), _) => run::run(&args),
        (Some(Command::Train(args)), _) => train::run(&args),
        (Some(Command::Demo(args)), _) => demo::run(&args),
        (Some(Command::Devices(args)), _) => devices::run(&args),
        (Some(Command::Audit(args)), _) => audit::run(&args),
        (Some(Command::Cost(args)), _) => cost::run(&args),
        (Some(Command::Explain(args)), _) => explain::run(&args),
        (Some(Command::Profile(args)), _) => profile::run(&args),
        (Some(Command::Opt(args)), _) => opt::run(&args),
        (Some(Command::Ops(args)), _) => ops::run(&args),
        (Some(Command::Rules(args)), _) => ops::rules(&args),
        (Some(Command::Prove(args)), _) => prove::run(&args),
        (None, Some(args)) => emit::run(&args),
        (None, None) => {
            let _ = Cli::command().print_help();
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        // A reader that has seen enough, such as `head`, is no failure.
        Err(Error::File { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
