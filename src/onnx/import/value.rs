//! Values of the graph under construction, and the ops that make them, folded where they can be.

use std::collections::HashSet;

use pamc_passes::interpret;
use pamc_passes::ir::{Attrs, DType, Graph, GraphError, NodeId, Origin, Tensor, TensorType};
use pamc_passes::ops::{self, Kind, Prim};
use pamc_passes::with_array;

use crate::onnx::proto::DataType;

/// Constants above this many elements are computed at run time rather than at import.
const MAX_FOLDED: usize = 1 << 20;

/// Most elements a constant may have that is made at import rather than read.
const MAX_MADE: usize = 1 << 24;

/// A value: known at import, or a node.
#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Known now: a constant of the file, a shape, what follows from them.
    Const(Tensor),
    /// Computed when the program runs.
    Node(NodeId),
    /// Where the maxima of a pooling came from; computed where something other than `MaxPoolGrad`
    /// takes it.
    PoolIndex {
        /// The pooled input.
        input: NodeId,
        /// The windows, as `unfold` has them.
        windows: Attrs,
        /// Positions are counted with the first spatial axis fastest.
        column_major: bool,
    },
    /// Several values in a row: a sequence, or with at most one an optional.
    List(Vec<Value>),
}

/// A value with its element type in the file.
pub(super) type Typed = (Value, DataType);

/// Why a node cannot be translated.
#[derive(Debug)]
pub(super) enum Fault {
    /// Valid ONNX that pamc does not know; collected and reported together.
    Unsupported(String),
    /// The same, with what the user can do.
    Advised {
        /// What pamc does not know.
        reason: String,
        /// The nearest way out.
        way_out: String,
    },
    /// It needs a value already reported as unsupported.
    Reported,
    /// A contradiction in the file or with the given sizes.
    Invalid(String),
}

impl Fault {
    /// What is wrong.
    pub fn reason(&self) -> &str {
        match self {
            Fault::Unsupported(reason) | Fault::Invalid(reason) => reason,
            Fault::Advised { reason, .. } => reason,
            Fault::Reported => "it needs a value that is not supported",
        }
    }

    /// What the user can do.
    pub fn way_out(&self) -> String {
        match self {
            Fault::Advised { way_out, .. } => way_out.clone(),
            _ => "express it by operators of `pamc ops --onnx`, in the model or as a model-local \
                  function"
                .to_owned(),
        }
    }
}

/// An operand that must be known at import.
pub(super) fn at_run_time<T>(what: &str) -> Made<T> {
    Err(Fault::Advised {
        reason: format!("`{what}` is computed at run time"),
        way_out: format!(
            "make `{what}` a constant or a function of shapes: fold constants when exporting, give \
             every size by --dim, and inputs that it depends on by --bind NAME=VALUE"
        ),
    })
}

pub(super) type Made<T = Value> = Result<T, Fault>;

pub(super) fn invalid<T>(why: impl Into<String>) -> Made<T> {
    Err(Fault::Invalid(why.into()))
}

pub(super) fn unsupported<T>(why: impl Into<String>) -> Made<T> {
    Err(Fault::Unsupported(why.into()))
}

impl From<GraphError> for Fault {
    fn from(e: GraphError) -> Self {
        Fault::Invalid(match e {
            GraphError::Op { op, reason, .. } => format!("{op}: {reason}"),
            other => other.to_string(),
        })
    }
}

/// Appends ops to the graph for one ONNX node.
pub(super) struct Build<'g> {
    pub graph: &'g mut Graph,
    pub origin: Origin,
    /// Constants of more elements are computed at run time rather than at import.
    pub folds: usize,
}

/// Bytes that the constants made at import may take, beside those read from the file.
const MAX_HELD: usize = 1 << 29;

/// What the constants made so far take.
#[derive(Default)]
pub(super) struct Held {
    bytes: usize,
    /// Nodes of the graph that have been counted.
    nodes: usize,
    /// Where the tensors of the file lie, which count for nothing.
    stored: HashSet<usize>,
}

impl Held {
    pub fn new<'a>(stored: impl Iterator<Item = &'a Tensor>) -> Self {
        Held { stored: stored.map(address).collect(), ..Held::default() }
    }

    /// Most elements of a constant to be folded now: with half of the room taken, shapes and the
    /// like alone.
    pub fn folds(&self) -> usize {
        if self.bytes < MAX_HELD / 2 { MAX_FOLDED } else { MAX_FOLDED >> 8 }
    }

    /// Counts values and the constants among the newest nodes.
    pub fn count<'a>(&mut self, graph: &Graph, made: impl Iterator<Item = &'a Value>) -> Made<()> {
        let values = made.filter_map(|v| match v {
            Value::Const(t) => Some(t),
            _ => None,
        });
        let added = graph.nodes().rev().take(graph.len().saturating_sub(self.nodes));
        let nodes = added.filter_map(|(id, _)| graph.constant(id));
        let new = values.chain(nodes).filter(|t| !self.stored.contains(&address(t)));
        self.bytes += new.map(|t| t.ty().bytes()).sum::<usize>();
        self.nodes = graph.len();
        match self.bytes {
            0..=MAX_HELD => Ok(()),
            _ => invalid(format!(
                "the constants that follow from the file take more than {} MiB; give smaller sizes \
                 by --dim, or store them in the file",
                MAX_HELD >> 20
            )),
        }
    }
}

/// Where the elements of a tensor lie.
fn address(t: &Tensor) -> usize {
    with_array!(t, a => a.as_ptr() as usize)
}

impl Build<'_> {
    /// Element type and extents.
    pub fn ty(&self, v: &Value) -> TensorType {
        match v {
            Value::Const(t) => t.ty(),
            Value::Node(id) => self.graph.ty(*id).clone(),
            Value::PoolIndex { input, windows, .. } => {
                super::ops::pool_index_type(self.graph.ty(*input), windows)
            }
            Value::List(list) => match &list[..] {
                [only] => self.ty(only),
                _ => TensorType::new(DType::Bool, [0]),
            },
        }
    }

    pub fn shape(&self, v: &Value) -> Vec<usize> {
        self.ty(v).shape
    }

    pub fn rank(&self, v: &Value) -> usize {
        self.ty(v).rank()
    }

    pub fn dtype(&self, v: &Value) -> DType {
        self.ty(v).dtype
    }

    /// The value as a node; constants become `const` nodes.
    pub fn node(&mut self, v: &Value) -> Made<NodeId> {
        match v {
            Value::Node(id) => Ok(*id),
            Value::Const(t) => {
                let attrs = Attrs::none().with("value", t.clone());
                Ok(self.graph.add(row("const")?, &[], attrs, self.origin.clone())?)
            }
            Value::PoolIndex { input, windows, column_major } => {
                let index = super::ops::pool_index(self, *input, windows, *column_major)?;
                self.node(&index)
            }
            Value::List(list) => match &list[..] {
                [only] => self.node(&only.clone()),
                _ => unsupported("a sequence where a tensor is expected"),
            },
        }
    }

    /// One op of the table; computed now if every operand is constant.
    pub fn op(&mut self, name: &str, inputs: &[&Value], attrs: Attrs) -> Made {
        let op = row(name)?;
        let consts: Option<Vec<&Tensor>> = inputs
            .iter()
            .map(|v| match v {
                Value::Const(t) => Some(t),
                _ => None,
            })
            .collect();
        if let Some(consts) = consts.filter(|c| !c.is_empty())
            && let Some(folded) = fold(op, &consts, &attrs, self.folds)?
        {
            check_extents(folded.shape())?;
            return Ok(Value::Const(folded));
        }
        let nodes = inputs.iter().map(|v| self.node(v)).collect::<Made<Vec<_>>>()?;
        let node = self.graph.add(op, &nodes, attrs, self.origin.clone())?;
        check_extents(self.graph.shape(node))?;
        Ok(Value::Node(node))
    }
}

/// Refuses shapes in which some axes alone have more elements than can be counted, though another
/// axis is empty: handlers may then multiply any extents of a value.
pub(super) fn check_extents(shape: &[usize]) -> Made<()> {
    let total = shape.iter().try_fold(8usize, |n, &d| n.checked_mul(d.max(1)));
    match total.filter(|&n| n <= isize::MAX as usize) {
        Some(_) => Ok(()),
        None => invalid(format!("a shape {shape:?} is too large")),
    }
}

/// The number of elements of a constant about to be made, if that is not too many.
pub(super) fn few(shape: &[usize]) -> Made<usize> {
    let n = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    match n.filter(|&n| n <= MAX_MADE) {
        Some(n) => Ok(n),
        None => invalid(format!("a constant of shape {shape:?} is too large")),
    }
}

/// The table row of that name.
pub(super) fn row(name: &str) -> Made<&'static ops::Op> {
    ops::lookup(name).ok_or_else(|| Fault::Unsupported(format!("pamc has no op `{name}`")))
}

/// The value of an op on constants; `None` where it is to be computed at run time.
fn fold(
    op: &'static ops::Op,
    consts: &[&Tensor],
    attrs: &Attrs,
    most: usize,
) -> Made<Option<Tensor>> {
    let fail = |reason: String| Fault::Invalid(format!("{}: {reason}", op.name));
    let attrs = op.complete(attrs.clone()).map_err(fail)?;
    op.check_arity(consts.len()).map_err(fail)?;
    let types: Vec<TensorType> = consts.iter().map(|t| t.ty()).collect();
    let ty = (op.shape)(&types.iter().collect::<Vec<_>>(), &attrs).map_err(fail)?;
    if ty.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).is_none_or(|n| n > most) {
        return Ok(None);
    }
    match (op.kind, op.real) {
        (Kind::Prim(Prim::Iota | Prim::RandomBits), _) => Ok(None),
        (Kind::Prim(prim), _) => {
            let operands: Vec<Tensor> = consts.iter().copied().cloned().collect();
            Ok(Some(interpret::eval(prim, &operands, &attrs, &ty)))
        }
        (Kind::Real, Some(f)) if ty.dtype == DType::F32 => Ok(elementwise(f, consts, &ty)),
        _ => Ok(None),
    }
}

/// A function of real numbers on broadcast operands, in f64, rounded once.
fn elementwise(f: fn(&[f64]) -> f64, consts: &[&Tensor], ty: &TensorType) -> Option<Tensor> {
    let wide = consts.iter().map(|t| broadcast(t, &ty.shape)).collect::<Option<Vec<_>>>()?;
    let at = |i: usize| wide.iter().map(|v| f64::from(v[i])).collect::<Vec<_>>();
    Tensor::from_vec(&ty.shape, (0..ty.len()).map(|i| f(&at(i)) as f32).collect())
}

fn broadcast(t: &Tensor, shape: &[usize]) -> Option<Vec<f32>> {
    let Tensor::F32(a) = t else { return None };
    Some(a.broadcast(shape)?.iter().copied().collect())
}
