//! Types and values of the emitted text.

use pamc_passes::ir::DType;
use std::fmt;

/// Element type of a scalar or vector value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Elem {
    /// IEEE-754 binary32.
    F32,
    /// 32-bit integer.
    I32,
    /// 64-bit integer.
    I64,
    /// Truth value.
    I1,
    /// A truth value as it lies in memory: 0 or 1.
    I8,
    /// Loop counter and address.
    Index,
}

impl Elem {
    /// Width in bits; an index has 64.
    pub fn bits(self) -> u32 {
        match self {
            Elem::I1 => 1,
            Elem::I8 => 8,
            Elem::F32 | Elem::I32 => 32,
            Elem::I64 | Elem::Index => 64,
        }
    }

    /// MLIR's name.
    pub fn name(self) -> &'static str {
        match self {
            Elem::F32 => "f32",
            Elem::I32 => "i32",
            Elem::I64 => "i64",
            Elem::I1 => "i1",
            Elem::I8 => "i8",
            Elem::Index => "index",
        }
    }
}

/// The type of a tensor's element in a register.
impl From<DType> for Elem {
    fn from(dtype: DType) -> Self {
        match dtype {
            DType::F32 => Elem::F32,
            DType::I32 => Elem::I32,
            DType::I64 => Elem::I64,
            DType::Bool => Elem::I1,
        }
    }
}

/// A scalar type, or a vector of `lanes` elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct VecTy {
    /// Element type.
    pub elem: Elem,
    /// Number of elements; `None` for a scalar.
    pub lanes: Option<usize>,
}

impl VecTy {
    /// The type of one element.
    pub const fn scalar(elem: Elem) -> Self {
        Self { elem, lanes: None }
    }

    /// The type of `lanes` elements.
    pub const fn vector(elem: Elem, lanes: usize) -> Self {
        Self { elem, lanes: Some(lanes) }
    }

    /// As many of another element type.
    pub const fn of(self, elem: Elem) -> Self {
        Self { elem, lanes: self.lanes }
    }
}

impl fmt::Display for VecTy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lanes {
            None => f.write_str(self.elem.name()),
            Some(lanes) => write!(f, "vector<{lanes}x{}>", self.elem.name()),
        }
    }
}

/// An SSA value: its number and its type. Prints as its name, `%7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Value {
    pub(super) id: u32,
    /// Its type.
    pub ty: VecTy,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%v{}", self.id)
    }
}
