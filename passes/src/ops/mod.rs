//! THE op table: one row an op, read by the DSL, the importer, the text form, the interpreter,
//! the code generator, the docs and the tests.
//!
//! Three kinds of rows: *real* operations, which users write and which a directed lowering turns
//! into the others; PAM *composites* such as `pam.exp`, which have their own derivative and are
//! expanded after differentiation; and *primitives*, which the interpreter evaluates and the code
//! generator emits.

mod document;
mod prim;
mod real;
mod rows;
mod shape;
mod table;
mod vjp;

pub use document::page;
pub use prim::Prim;
pub use shape::{axes_of as reduced_axes, broadcast_shapes, normalize_axis};
pub use table::{all, input, lookup};

use crate::build::Cx;
use crate::ir::{Attr, Attrs, DType, NodeId, TensorType};

/// Result type from operand types and completed attributes, or why there is none.
pub type ShapeFn = fn(&[&TensorType], &Attrs) -> Result<TensorType, String>;

/// What a lowering or an expansion gets to see of the node it replaces.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// Operands, already in the target graph.
    pub inputs: &'a [NodeId],
    /// Completed attributes.
    pub attrs: &'a Attrs,
    /// Type of the result.
    pub ty: &'a TensorType,
}

/// Builds the replacement term of a real or composite op.
pub type LowerFn = fn(&mut Cx<'_>, Site<'_>) -> NodeId;

/// What a derivative rule gets to see.
#[derive(Clone, Copy)]
pub struct VjpSite<'a> {
    /// Incoming gradient, of the result's shape.
    pub g: NodeId,
    /// The result.
    pub y: NodeId,
    /// Operands.
    pub inputs: &'a [NodeId],
    /// Completed attributes.
    pub attrs: &'a Attrs,
    /// The slope of the segment (true), or the real derivative in PAM arithmetic (false).
    pub exact: bool,
}

/// Builds the gradient of one operand; it may have the broadcast shape, the caller sums it back.
pub type VjpFn = fn(&mut Cx<'_>, VjpSite<'_>, usize) -> NodeId;

/// Derivative of a primitive or composite.
#[derive(Clone, Copy)]
pub enum Grad {
    /// None is defined: needing it is a compile-time error that names the node.
    Missing,
    /// Zero (or meaningless) for every operand: comparisons, floor, integers.
    Zero,
    /// By a rule, operand by operand.
    Rule(VjpFn),
}

/// What kind of row this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An operation on real numbers; lowered before anything runs.
    Real,
    /// A PAM term with its own derivative; expanded after differentiation.
    Composite,
    /// Evaluated by the interpreter, emitted by the code generator.
    Prim(Prim),
}

/// Default of an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Default {
    /// The attribute must be given.
    Required,
    /// It may be absent.
    Absent,
    /// A number.
    Int(i64),
    /// A real constant.
    Float(f32),
    /// A switch.
    Bool(bool),
    /// A list.
    Ints(&'static [i64]),
    /// A choice.
    Str(&'static str),
}

/// Type of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttrType {
    /// [`Attr::Int`].
    Int,
    /// [`Attr::Float`].
    Float,
    /// [`Attr::Bool`].
    Bool,
    /// [`Attr::Str`].
    Str,
    /// [`Attr::Ints`].
    Ints,
    /// [`Attr::DType`].
    DType,
    /// [`Attr::Tensor`].
    Tensor,
}

/// One attribute of an op.
#[derive(Clone, Copy, Debug)]
pub struct AttrSpec {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub ty: AttrType,
    /// Value when not given.
    pub default: Default,
}

/// A declared error bound of a lowering against the real function, for recipe `best`.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Largest error relative to the real result.
    pub rel: f64,
    /// Largest absolute error on top.
    pub abs: f64,
    /// Operands are sampled from this interval.
    pub domain: (f64, f64),
    /// Where the bound holds for every operand of an elementwise op: the domain and what is beyond.
    pub holds: (f64, f64),
}

impl Bound {
    /// A bound that holds in the domain.
    pub const fn new(rel: f64, abs: f64, domain: (f64, f64)) -> Bound {
        Bound { rel, abs, domain, holds: domain }
    }
}

/// On what a declared error bound is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Every float32 on which it holds: `make prove`.
    Every,
    /// All pairs of shortened fractions, and random pairs: `make prove`.
    Pairs,
    /// Samples: a test.
    Samples,
}

impl Checked {
    /// In words.
    pub fn text(self) -> &'static str {
        match self {
            Checked::Every => "every float32",
            Checked::Pairs => "pairs",
            Checked::Samples => "samples",
        }
    }
}

/// One row of the table.
pub struct Op {
    /// Name, in the text form and everywhere else.
    pub name: &'static str,
    /// ONNX operators that import as this op.
    pub onnx: &'static [&'static str],
    /// Operand names; a last one ending in `...` takes any number, one ending in `?` is optional.
    pub args: &'static [&'static str],
    /// Attributes.
    pub attrs: &'static [AttrSpec],
    /// What it computes.
    pub doc: &'static str,
    /// Real, composite or primitive.
    pub kind: Kind,
    /// Shape rule.
    pub shape: ShapeFn,
    /// Directed lowering (real) or expansion (composite).
    pub lower: Option<LowerFn>,
    /// Derivative (composite and primitive).
    pub grad: Grad,
    /// The function over the reals of an elementwise real row, against which its lowering is sampled.
    pub real: Option<fn(&[f64]) -> f64>,
    /// Error bound of the lowering.
    pub bound: Option<Bound>,
    /// Cost of one result element in units of an integer add, for extraction.
    pub cost: u32,
}

impl Op {
    /// A row with nothing set, to be completed by struct update.
    pub const BLANK: Op = Op {
        name: "",
        onnx: &[],
        args: &[],
        attrs: &[],
        doc: "",
        kind: Kind::Real,
        shape: |_, _| Err("no shape rule".into()),
        lower: None,
        grad: Grad::Missing,
        real: None,
        bound: None,
        cost: 1,
    };

    /// On what the row's error bound is checked, if it declares one.
    pub fn checked(&self) -> Option<Checked> {
        self.bound?;
        Some(match (self.real, self.args.len()) {
            (Some(_), 1) => Checked::Every,
            (Some(_), 2) => Checked::Pairs,
            _ => Checked::Samples,
        })
    }

    /// The primitive, if it is one.
    pub fn prim(&self) -> Option<Prim> {
        match self.kind {
            Kind::Prim(p) => Some(p),
            _ => None,
        }
    }

    /// Smallest and largest number of operands.
    pub fn arity(&self) -> (usize, usize) {
        let optional = self.args.iter().filter(|a| a.ends_with('?')).count();
        match self.args.last() {
            Some(last) if last.ends_with("...") => (self.args.len(), usize::MAX),
            _ => (self.args.len() - optional, self.args.len()),
        }
    }

    /// Check a number of operands.
    ///
    /// # Errors
    /// Says how many the op takes.
    pub fn check_arity(&self, n: usize) -> Result<(), String> {
        let (lo, hi) = self.arity();
        if (lo..=hi).contains(&n) {
            return Ok(());
        }
        let wanted = match hi {
            usize::MAX => format!("at least {lo}"),
            hi if hi == lo => lo.to_string(),
            hi => format!("{lo} to {hi}"),
        };
        Err(format!("takes {wanted} operand(s) ({}), not {n}", self.args.join(", ")))
    }

    /// The attribute specification of that name.
    pub fn attr(&self, name: &str) -> Option<&'static AttrSpec> {
        self.attrs.iter().find(|a| a.name == name)
    }

    /// Fill in defaults and check names and types of attributes.
    ///
    /// # Errors
    /// Names the attribute that is unknown, missing or of the wrong type.
    pub fn complete(&self, given: Attrs) -> Result<Attrs, String> {
        for (name, value) in given.iter() {
            let Some(spec) = self.attr(name) else {
                let known: Vec<_> = self.attrs.iter().map(|a| a.name).collect();
                return Err(format!("has no attribute '{name}' (it has: {})", known.join(", ")));
            };
            if !spec.ty.admits(value) {
                return Err(format!("attribute '{name}' is not of type {:?}", spec.ty));
            }
        }
        let mut out = given;
        for spec in self.attrs.iter().filter(|s| !matches!(s.default, Default::Absent)) {
            if out.get(spec.name).is_some() {
                continue;
            }
            let value = match spec.default {
                Default::Required => return Err(format!("needs the attribute '{}'", spec.name)),
                Default::Absent => continue,
                Default::Int(x) => Attr::Int(x),
                Default::Float(x) => Attr::Float(x),
                Default::Bool(x) => Attr::Bool(x),
                Default::Ints(x) => Attr::Ints(x.to_vec()),
                Default::Str(x) => Attr::Str(x.into()),
            };
            out.set(spec.name, value);
        }
        Ok(out)
    }
}

impl AttrType {
    fn admits(self, value: &Attr) -> bool {
        matches!(
            (self, value),
            (AttrType::Int, Attr::Int(_))
                | (AttrType::Float, Attr::Float(_))
                | (AttrType::Bool, Attr::Bool(_))
                | (AttrType::Str, Attr::Str(_))
                | (AttrType::Ints, Attr::Ints(_))
                | (AttrType::DType, Attr::DType(_))
                | (AttrType::Tensor, Attr::Tensor(_))
        )
    }
}

/// A required attribute.
pub const fn required(name: &'static str, ty: AttrType) -> AttrSpec {
    AttrSpec { name, ty, default: Default::Required }
}

/// An integer attribute with a default.
pub const fn int(name: &'static str, default: i64) -> AttrSpec {
    AttrSpec { name, ty: AttrType::Int, default: Default::Int(default) }
}

/// A float attribute with a default.
pub const fn float(name: &'static str, default: f32) -> AttrSpec {
    AttrSpec { name, ty: AttrType::Float, default: Default::Float(default) }
}

/// A switch with a default.
pub const fn flag(name: &'static str, default: bool) -> AttrSpec {
    AttrSpec { name, ty: AttrType::Bool, default: Default::Bool(default) }
}

/// A list with a default.
pub const fn ints(name: &'static str, default: &'static [i64]) -> AttrSpec {
    AttrSpec { name, ty: AttrType::Ints, default: Default::Ints(default) }
}

/// Element type a dtype list admits, for error messages.
pub(crate) fn expect_dtype(what: &str, ty: &TensorType, allowed: &[DType]) -> Result<(), String> {
    if allowed.contains(&ty.dtype) {
        return Ok(());
    }
    let names: Vec<_> = allowed.iter().map(|d| d.name()).collect();
    Err(format!("{what} is {ty}, but must be of type {}", names.join(" or ")))
}
