//! PAM inside other people's MLIR pipelines: the passes `pamc-lower`, `pamc-simplify` and
//! `pamc-verify`, and the `pam` dialect.
//!
//! The passes are registered in MLIR's global registry, so any textual pipeline can name them: in
//! `pamc opt` ([`driver`]) and, through the plug-in in `lowering/plugin`, in a stock `mlir-opt`.
//! `lowering/README.md` says how to use them.
//!
//! What an operation means is looked up in the op table (`meaning.rs`), lowered by the same rows and
//! written by the same builder as pamc's own programs (`term.rs`), parsed once and copied to each place
//! (`template.rs`). C++ is left with what MLIR's C API lacks (`shim.cpp`).

mod dialect;
pub mod driver;
mod findings;
pub(crate) mod ir;
mod lower;
mod meaning;
mod options;
mod shim;
mod simplify;
mod template;
mod term;
mod verify;

pub use dialect::{irdl, register_dialect};
pub use options::OptionSpec;
pub use shim::register_passes;

/// One pass.
pub struct PassSpec {
    /// Its name in a pipeline.
    pub name: &'static str,
    /// What it does, in a line.
    pub doc: &'static str,
    /// Its options.
    pub options: &'static [OptionSpec],
    // Gets the operation and the options' values in order; the message of a failure may be empty.
    run: fn(ir::Op, &[&str]) -> Result<(), String>,
}

/// Every pass.
pub const PASSES: &[PassSpec] = &[
    PassSpec {
        name: "pamc-lower",
        doc: "Replace every float product, quotient, root, exponential and logarithm by piecewise affine \
              arithmetic",
        options: options::LOWER,
        run: lower::run,
    },
    PassSpec {
        name: "pamc-simplify",
        doc: "Rewrite operations of the pam dialect by identities that are exact to the bit",
        options: &[],
        run: simplify::run,
    },
    PassSpec {
        name: "pamc-verify",
        doc: "Fail if anything multiplies, with every place",
        options: options::VERIFY,
        run: verify::run,
    },
];
