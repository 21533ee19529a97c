//! What can be wrong with an ONNX file, always with the file and, where there is one, the node.

use std::fmt;
use std::path::PathBuf;

/// Any failure of the ONNX front end.
#[derive(Debug, thiserror::Error)]
pub enum OnnxError {
    /// A file could not be read or written.
    #[error("{}: {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The bytes are not a model: truncated, damaged or of another format.
    #[error("{}: not a readable ONNX model: {reason}", file.display())]
    Decode {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A constant's or parameter's data is inconsistent or of a type without a counterpart here.
    #[error("{}: tensor `{tensor}`: {reason}", file.display())]
    Tensor {
        /// The file.
        file: PathBuf,
        /// The tensor's name, or the node that carries it.
        tensor: String,
        /// What is wrong with it.
        reason: TensorError,
    },
    /// The file is not a checkpoint of ONNX Runtime training.
    #[error("{}: not a readable ONNX Runtime checkpoint: {reason}", file.display())]
    Checkpoint {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Dimensions known by name only that were given no size: all of them.
    #[error("{}: give a size to {}", file.display(), list(dims))]
    UnboundDims {
        /// The file.
        file: PathBuf,
        /// Every name without a size.
        dims: Vec<UnboundDim>,
    },
    /// Everything in the file that pamc cannot translate, listed at once.
    #[error("{}: {} cannot be imported:{}", file.display(), count(items.len()), lines(items))]
    Unsupported {
        /// The file.
        file: PathBuf,
        /// One entry a node, in graph order.
        items: Vec<Unsupported>,
    },
    /// A node contradicts the operator's definition or its operands' shapes.
    #[error("{}: {node}: {reason}", file.display())]
    Node {
        /// The file.
        file: PathBuf,
        /// The node.
        node: NodeRef,
        /// What is wrong.
        reason: String,
    },
    /// The graph as a whole is inconsistent (an output nobody makes, a value defined twice, …).
    #[error("{}: {reason}", file.display())]
    Graph {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// Which node of a file is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRef {
    /// The node's name; if it has none, the name of its first output.
    pub name: String,
    /// The operator, with its domain if that is not ONNX's own: `com.microsoft.ReluGrad`.
    pub op: String,
    /// Version of the operator's domain the file declares.
    pub opset: i64,
}

impl fmt::Display for NodeRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node `{}` ({}, opset {})", self.name, self.op, self.opset)
    }
}

/// A node pamc has no translation for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// The node.
    pub node: NodeRef,
    /// Why: an unknown operator, an opset outside its range, or an attribute's value.
    pub reason: String,
    /// The nearest way out: what the user can do.
    pub way_out: String,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.node, self.reason, self.way_out)
    }
}

/// A dimension known by name only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnboundDim {
    /// The name in the file, or `input:axis` for a dimension without one.
    pub dim: String,
    /// An input that has it.
    pub input: String,
}

impl fmt::Display for UnboundDim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dimension `{}` (of input `{}`)", self.dim, self.input)
    }
}

/// What is wrong with a tensor's data.
#[derive(Debug, thiserror::Error)]
pub enum TensorError {
    /// A dimension is negative or their product does not fit the address space.
    #[error("impossible shape {0:?}")]
    Shape(Vec<i64>),
    /// Element types without a counterpart: strings, complex numbers, unknown codes.
    #[error("element type {0} is not supported")]
    Dtype(String),
    /// Shape and amount of data disagree.
    #[error("the shape needs {expected} {unit}, the file holds {found}")]
    Size {
        /// What the shape asks for.
        expected: u64,
        /// What is there.
        found: u64,
        /// `bytes` or `elements`.
        unit: &'static str,
    },
    /// An unsigned 64-bit value above what i64 holds.
    #[error("value {0} does not fit in 64 signed bits")]
    Range(u64),
    /// An external-data entry is missing, malformed or points outside the model's folder.
    #[error("external data: {0}")]
    External(String),
    /// The external file could not be read.
    #[error("external data `{}`: {source}", file.display())]
    ExternalIo {
        /// The file.
        file: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A sparse tensor's indices are out of range or of a wrong shape.
    #[error("sparse tensor: {0}")]
    Sparse(String),
    /// The data is split in segments, which no exporter writes.
    #[error("segmented tensors are not supported")]
    Segmented,
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn lines<T: fmt::Display>(items: &[T]) -> String {
    items.iter().map(|item| format!("\n  {item}")).collect()
}

fn count(n: usize) -> String {
    if n == 1 { "1 node".to_owned() } else { format!("{n} nodes") }
}
