//! Everything that can go wrong, as the user is told of it: what, where, what to do.

use std::path::{Path, PathBuf};

use pamc_passes::interpret::RunError;
use pamc_passes::ir::{GraphError, TextError};
use pamc_passes::program::ProgramError;
use thiserror::Error;

use crate::onnx::OnnxError;

/// Any failure of pamc.
#[derive(Debug, Error)]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {verb} {}: {source}", path.display())]
    File {
        /// `read` or `write`.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// What the operating system or the format's reader said.
        source: std::io::Error,
    },
    /// An array in a data file does not fit.
    #[error("{}: array '{name}': {reason}", path.display())]
    Data {
        /// The file.
        path: PathBuf,
        /// The array.
        name: String,
        /// Why not.
        reason: String,
    },
    /// A text graph that is not one.
    #[error("{}: {source}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        source: TextError,
    },
    /// An ONNX file that cannot be imported.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// A program that cannot be written as ONNX.
    #[error(transparent)]
    Export(#[from] crate::onnx::ExportError),
    /// A built-in model that there is not, or not so.
    #[error(transparent)]
    Model(#[from] crate::models::ModelError),
    /// An operation that does not fit its operands.
    #[error(transparent)]
    Graph(#[from] GraphError),
    /// A broken invariant in a compiled graph.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Inputs that do not fit the program.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Code generation failed.
    #[error(transparent)]
    Lowering(#[from] pamc_lowering::Error),
    /// A device cannot be used, or failed.
    #[error(transparent)]
    Device(#[from] crate::runtime::gpu::DeviceError),
    /// A pass failed.
    #[error(transparent)]
    Pass(#[from] pamc_passes::manager::PipelineError),
    /// The loss is not a number any more.
    #[error("the loss became {loss} at step {step}; {hint}")]
    NotFinite {
        /// Step, from 1.
        step: u64,
        /// Its value.
        loss: f32,
        /// What to try.
        hint: &'static str,
    },
    /// Something that could not be proven, and why.
    #[error("{0}")]
    Proof(String),
    /// A request that cannot be met as it is.
    #[error("{0}")]
    Usage(String),
}

impl Error {
    /// A file that could not be read or written.
    pub fn file(verb: &'static str, path: &Path, source: std::io::Error) -> Self {
        Error::File { verb, path: path.to_owned(), source }
    }

    /// An array that does not fit.
    pub fn data(path: &Path, name: &str, reason: impl Into<String>) -> Self {
        Error::Data { path: path.to_owned(), name: name.into(), reason: reason.into() }
    }

    /// A request that cannot be met.
    pub fn usage(message: impl Into<String>) -> Self {
        Error::Usage(message.into())
    }
}
