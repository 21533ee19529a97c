//! Values of a model under construction, and arithmetic on them.

use std::fmt;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Neg, Not, Shl, Shr, Sub};

use pamc_passes::ir::{Attrs, DType, NodeId, TensorType};

use super::Net;

/// A value of a model under construction; a cheap handle.
///
/// Operators and methods append to the model. Operands broadcast by numpy's rule, and constants of
/// Rust's own types may stand for them. A value whose making failed is *poisoned*: it has the type
/// `f32[]`, and everything computed from it is poisoned too.
#[derive(Clone, Copy)]
pub struct Var<'n> {
    pub(super) net: &'n Net,
    pub(super) id: Option<NodeId>,
}

impl fmt::Debug for Var<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "%{}: {}", id.0, self.ty()),
            None => f.write_str("poisoned"),
        }
    }
}

impl<'n> Var<'n> {
    /// The model it belongs to.
    pub fn net(self) -> &'n Net {
        self.net
    }

    /// True if making it, or something it is computed from, failed.
    pub fn is_poisoned(self) -> bool {
        self.id.is_none()
    }

    /// Element type and extents.
    pub fn ty(self) -> TensorType {
        self.id.map_or_else(|| TensorType::f32([]), |id| self.net.ty(id))
    }

    /// Extents.
    pub fn shape(self) -> Vec<usize> {
        self.ty().shape
    }

    /// Number of axes.
    pub fn rank(self) -> usize {
        self.ty().rank()
    }

    /// Element type.
    pub fn dtype(self) -> DType {
        self.ty().dtype
    }

    /// The extents, if there are `N`; `what` says which in the message if there are not.
    #[track_caller]
    pub fn dims<const N: usize>(self, what: &str) -> Option<[usize; N]> {
        self.id?;
        let ty = self.ty();
        let dims = <[usize; N]>::try_from(&ty.shape[..]).ok();
        if dims.is_none() {
            self.net.fail("shape", format!("{ty} is not {what}"));
        }
        dims
    }

    /// The last extent.
    #[track_caller]
    pub fn features(self) -> Option<usize> {
        self.id?;
        let last = self.shape().last().copied();
        if last.is_none() {
            self.net.fail("shape", "a scalar has no features");
        }
        last
    }

    #[track_caller]
    pub(super) fn op(self, name: &str, others: &[Var<'n>], attrs: Attrs) -> Var<'n> {
        self.net.op(name, &[&[self], others].concat(), attrs)
    }
}

/// What may stand beside a [`Var`]: another one, or a number that becomes a constant of its type.
pub trait Operand<'n> {
    /// As a value of the model of `like`, a number in the element type of `like`.
    fn beside(self, like: Var<'n>) -> Var<'n>;
}

impl<'n> Operand<'n> for Var<'n> {
    fn beside(self, _: Var<'n>) -> Var<'n> {
        self
    }
}

impl<'n> Operand<'n> for f32 {
    #[track_caller]
    fn beside(self, like: Var<'n>) -> Var<'n> {
        like.net.scalar(self)
    }
}

impl<'n> Operand<'n> for i64 {
    #[track_caller]
    fn beside(self, like: Var<'n>) -> Var<'n> {
        match like.dtype() {
            DType::I32 => match i32::try_from(self) {
                Ok(x) => like.net.scalar(x),
                Err(_) => like.net.fail("const", format!("{self} does not fit an i32")),
            },
            _ => like.net.scalar(self),
        }
    }
}

macro_rules! operator {
    ($($Trait:ident $method:ident $row:literal),*) => {$(
        impl<'n, T: Operand<'n>> $Trait<T> for Var<'n> {
            type Output = Var<'n>;
            #[track_caller]
            fn $method(self, other: T) -> Var<'n> {
                self.op($row, &[other.beside(self)], Attrs::none())
            }
        }
    )*};
}
operator!(Add add "add", Sub sub "sub", Mul mul "mul", Div div "div");
// Of truth values logical, of integers bitwise.
operator!(BitAnd bitand "and", BitOr bitor "or", BitXor bitxor "xor", Shl shl "shl", Shr shr "shr");

macro_rules! constant_first {
    ($($Trait:ident $method:ident $row:literal),*) => {$(
        impl<'n> $Trait<Var<'n>> for f32 {
            type Output = Var<'n>;
            #[track_caller]
            fn $method(self, other: Var<'n>) -> Var<'n> {
                self.beside(other).op($row, &[other], Attrs::none())
            }
        }
    )*};
}
constant_first!(Add add "add", Sub sub "sub", Mul mul "mul", Div div "div");

macro_rules! prefix {
    ($($Trait:ident $method:ident $row:literal),*) => {$(
        impl<'n> $Trait for Var<'n> {
            type Output = Var<'n>;
            #[track_caller]
            fn $method(self) -> Var<'n> {
                self.op($row, &[], Attrs::none())
            }
        }
    )*};
}
prefix!(Neg neg "neg", Not not "not");
