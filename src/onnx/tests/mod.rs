//! The fixtures in `models/onnx`: whole, damaged, and computed with.

mod control;
mod export;
mod files;
mod import;
mod training;

use std::path::PathBuf;

use pamc_passes::arith::Arith;
use pamc_passes::interpret::{self, Values};
use pamc_passes::ir::Graph;
use pamc_passes::pass;
use pamc_passes::program::Program;

const SETS: [&str; 2] = ["mlp_adamw", "lm_tiny"];

fn fixture(set: &str, file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "models/onnx", set, file].iter().collect()
}

/// What the graph computes in ordinary float arithmetic.
fn run(graph: &Graph, values: &Values) -> Values {
    let lowered = pass::lower(graph, Arith::Float).unwrap();
    let program = Program::new(pass::expand(&lowered).unwrap(), Arith::Float).unwrap();
    interpret::run(&program, values).unwrap()
}
