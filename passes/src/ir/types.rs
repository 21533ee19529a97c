//! Element types, tensor types and operation attributes.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::tensor::Tensor;

/// Element type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// IEEE-754 binary32; PAM arithmetic lives on its bit patterns.
    F32,
    /// Two's complement, wrapping.
    I32,
    /// Two's complement, wrapping.
    I64,
    /// Truth value, one byte in memory.
    Bool,
}

impl DType {
    /// All element types, in declaration order.
    pub const ALL: [DType; 4] = [DType::F32, DType::I32, DType::I64, DType::Bool];

    /// Name in the text form: `f32`, `i32`, `i64`, `bool`.
    pub fn name(self) -> &'static str {
        match self {
            DType::F32 => "f32",
            DType::I32 => "i32",
            DType::I64 => "i64",
            DType::Bool => "bool",
        }
    }

    /// The type of that name, if there is one.
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|d| d.name() == name)
    }

    /// Bytes of one element in memory.
    pub fn size(self) -> usize {
        match self {
            DType::F32 | DType::I32 => 4,
            DType::I64 => 8,
            DType::Bool => 1,
        }
    }

    /// True for `i32` and `i64`.
    pub fn is_int(self) -> bool {
        matches!(self, DType::I32 | DType::I64)
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Element type and extents of a tensor; rank 0 is a scalar.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Element type.
    pub dtype: DType,
    /// Extent of each dimension, outermost first.
    pub shape: Vec<usize>,
}

impl TensorType {
    /// A tensor type.
    pub fn new(dtype: DType, shape: impl Into<Vec<usize>>) -> Self {
        TensorType { dtype, shape: shape.into() }
    }

    /// An `f32` tensor type.
    pub fn f32(shape: impl Into<Vec<usize>>) -> Self {
        Self::new(DType::F32, shape)
    }

    /// Number of dimensions.
    pub fn rank(&self) -> usize {
        self.shape.len()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True if some extent is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the dense tensor.
    pub fn bytes(&self) -> usize {
        self.len() * self.dtype.size()
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.dtype)?;
        for (i, d) in self.shape.iter().enumerate() {
            write!(f, "{}{d}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str("]")
    }
}

/// Value of one attribute.
#[derive(Clone, Debug)]
pub enum Attr {
    /// A number, an axis, a count.
    Int(i64),
    /// A real constant; compared by its bits.
    Float(f32),
    /// A switch.
    Bool(bool),
    /// A choice by name.
    Str(Arc<str>),
    /// A list: axes, a shape, a permutation, pads.
    Ints(Vec<i64>),
    /// An element type.
    DType(DType),
    /// A constant tensor.
    Tensor(Tensor),
}

impl PartialEq for Attr {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Attr::Int(a), Attr::Int(b)) => a == b,
            (Attr::Float(a), Attr::Float(b)) => a.to_bits() == b.to_bits(),
            (Attr::Bool(a), Attr::Bool(b)) => a == b,
            (Attr::Str(a), Attr::Str(b)) => a == b,
            (Attr::Ints(a), Attr::Ints(b)) => a == b,
            (Attr::DType(a), Attr::DType(b)) => a == b,
            (Attr::Tensor(a), Attr::Tensor(b)) => a.same_bits(b),
            _ => false,
        }
    }
}

impl Eq for Attr {}

impl Hash for Attr {
    fn hash<H: Hasher>(&self, state: &mut H) {
        std::mem::discriminant(self).hash(state);
        match self {
            Attr::Int(a) => a.hash(state),
            Attr::Float(a) => a.to_bits().hash(state),
            Attr::Bool(a) => a.hash(state),
            Attr::Str(a) => a.hash(state),
            Attr::Ints(a) => a.hash(state),
            Attr::DType(a) => a.hash(state),
            Attr::Tensor(a) => a.hash_bits(state),
        }
    }
}

macro_rules! attr_from {
    ($($t:ty => $v:ident),* $(,)?) => {$(
        impl From<$t> for Attr {
            fn from(x: $t) -> Self {
                Attr::$v(x.into())
            }
        }
    )*};
}
attr_from! { i64 => Int, f32 => Float, bool => Bool, &str => Str, Vec<i64> => Ints, DType => DType, Tensor => Tensor }

impl From<&[usize]> for Attr {
    fn from(x: &[usize]) -> Self {
        Attr::Ints(x.iter().map(|&d| d as i64).collect())
    }
}

/// Attributes of a node, kept sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Attrs(Vec<(&'static str, Attr)>);

impl Attrs {
    /// No attributes.
    pub fn none() -> Self {
        Self::default()
    }

    /// The same with one attribute set.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Attr>) -> Self {
        self.set(name, value.into());
        self
    }

    /// Set one attribute.
    pub fn set(&mut self, name: &'static str, value: Attr) {
        match self.0.binary_search_by_key(&name, |(n, _)| n) {
            Ok(i) => self.0[i].1 = value,
            Err(i) => self.0.insert(i, (name, value)),
        }
    }

    /// The attribute of that name.
    pub fn get(&self, name: &str) -> Option<&Attr> {
        self.0.iter().find(|(n, _)| *n == name).map(|(_, a)| a)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Attr)> {
        self.0.iter().map(|(n, a)| (*n, a))
    }

    /// An integer attribute; the op's table row guarantees that it is there (0 if it is not).
    pub fn int(&self, name: &str) -> i64 {
        match self.get(name) {
            Some(Attr::Int(x)) => *x,
            _ => 0,
        }
    }

    /// A float attribute (0 if absent).
    pub fn float(&self, name: &str) -> f32 {
        match self.get(name) {
            Some(Attr::Float(x)) => *x,
            _ => 0.0,
        }
    }

    /// A switch (off if absent).
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.get(name), Some(Attr::Bool(true)))
    }

    /// A list (empty if absent).
    pub fn ints(&self, name: &str) -> &[i64] {
        match self.get(name) {
            Some(Attr::Ints(x)) => x,
            _ => &[],
        }
    }

    /// A list as sizes; negative entries become 0.
    pub fn sizes(&self, name: &str) -> Vec<usize> {
        self.ints(name).iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect()
    }

    /// A string (empty if absent).
    pub fn str(&self, name: &str) -> &str {
        match self.get(name) {
            Some(Attr::Str(x)) => x,
            _ => "",
        }
    }

    /// An element type, if there.
    pub fn dtype(&self, name: &str) -> Option<DType> {
        match self.get(name) {
            Some(Attr::DType(x)) => Some(*x),
            _ => None,
        }
    }

    /// A constant tensor, if there.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        match self.get(name) {
            Some(Attr::Tensor(x)) => Some(x),
            _ => None,
        }
    }
}
