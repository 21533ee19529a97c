//! The crate's error type.

use std::{io, path::PathBuf};

/// What can go wrong between MLIR text and running code.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name given for a processor is not one of the known targets.
    #[error("unknown target `{name}`; known: {}", known.join(", "))]
    UnknownTarget {
        /// The name as given.
        name: String,
        /// Every accepted name.
        known: Vec<String>,
    },
    /// LLVM has no back end for a target or refuses its description.
    #[error("target {triple}: {message}")]
    Target {
        /// Target triple.
        triple: String,
        /// LLVM's explanation.
        message: String,
    },
    /// MLIR rejected a module while parsing, verifying, rewriting or translating it.
    #[error("MLIR failed to {stage}:\n{diagnostics}")]
    Mlir {
        /// What was being done: `parse`, `verify`, `lower` or `translate`.
        stage: &'static str,
        /// Diagnostics with their source locations, one per line.
        diagnostics: String,
    },
    /// Emitted code that no proof can be made of.
    #[error("cannot be proven: {0} has no translation")]
    Untranslatable(String),
    /// LLVM failed to optimize, emit, load or disassemble code.
    #[error("LLVM failed to {stage}: {message}")]
    Llvm {
        /// What was being done.
        stage: &'static str,
        /// LLVM's explanation.
        message: String,
    },
    /// A loaded program has no symbol of this name.
    #[error("no symbol `{name}` in the compiled code: {message}")]
    MissingSymbol {
        /// The symbol looked up.
        name: String,
        /// The linker's explanation.
        message: String,
    },
    /// An object file could not be read.
    #[error("malformed object file: {0}")]
    Object(#[from] object::Error),
    /// A file could not be audited.
    #[error("cannot be audited: {message}")]
    Audit {
        /// Why not, and what to do.
        message: String,
    },
    /// No linker is installed.
    #[error("no linker found (tried {}); install the Debian package lld-22", tried.join(", "))]
    MissingLinker {
        /// The programs tried, in order.
        tried: Vec<String>,
    },
    /// NVIDIA's assembler is not there.
    #[error(
        "no ptxas found (in $PTXAS, the path, $CUDA_HOME/bin, /usr/local/cuda/bin), which makes a cubin \
         of PTX; install NVIDIA's CUDA toolkit, or the Python package nvidia-cuda-nvcc and make its \
         bin/ptxas executable, or use --emit ptx, which the driver assembles itself"
    )]
    MissingAssembler,
    /// A linker or assembler ran and failed.
    #[error("{linker} failed:\n{message}")]
    Link {
        /// The program run.
        linker: String,
        /// Its error output.
        message: String,
    },
    /// A program that no code can be generated for.
    #[error("cannot compile the program: {message}")]
    Program {
        /// What is in the way.
        message: String,
    },
    /// A value that does not fit the compiled program.
    #[error("{what} `{name}`: {message}")]
    Value {
        /// `input`, `state`, `data` or `order`.
        what: &'static str,
        /// Its name.
        name: String,
        /// What is wrong with it.
        message: String,
    },
    /// A rewritten graph is not well-formed.
    #[error(transparent)]
    Graph(#[from] pamc_passes::ir::GraphError),
    /// No kernel exists for a contraction.
    #[error(transparent)]
    Kernel(#[from] crate::kernels::KernelError),
    /// Inputs that do not fit the program.
    #[error(transparent)]
    Inputs(#[from] pamc_passes::interpret::RunError),
    /// A file could not be written or read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

impl Error {
    /// Wraps a system error with the file it befell.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
