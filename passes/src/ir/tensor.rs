//! Tensor values on the host: constants, weights, interpreter values.

use std::hash::{Hash, Hasher};

use ndarray::{ArcArray, IxDyn};

use super::types::{DType, TensorType};

/// A shared n-dimensional array; cloning is cheap.
pub type Array<T> = ArcArray<T, IxDyn>;

/// A tensor value of one of the four element types.
#[derive(Clone, Debug)]
pub enum Tensor {
    /// `f32` values.
    F32(Array<f32>),
    /// `i32` values.
    I32(Array<i32>),
    /// `i64` values.
    I64(Array<i64>),
    /// Truth values.
    Bool(Array<bool>),
}

/// Run `$body` with `$a` bound to the typed array of `$t`, whatever its element type.
#[macro_export]
macro_rules! with_array {
    ($t:expr, $a:ident => $body:expr) => {
        match $t {
            $crate::ir::Tensor::F32($a) => $body,
            $crate::ir::Tensor::I32($a) => $body,
            $crate::ir::Tensor::I64($a) => $body,
            $crate::ir::Tensor::Bool($a) => $body,
        }
    };
}

/// Like [`with_array!`], with the result wrapped into a tensor of the same element type.
#[macro_export]
macro_rules! map_array {
    ($t:expr, $a:ident => $body:expr) => {
        match $t {
            $crate::ir::Tensor::F32($a) => $crate::ir::Tensor::F32($body),
            $crate::ir::Tensor::I32($a) => $crate::ir::Tensor::I32($body),
            $crate::ir::Tensor::I64($a) => $crate::ir::Tensor::I64($body),
            $crate::ir::Tensor::Bool($a) => $crate::ir::Tensor::Bool($body),
        }
    };
}

/// A host type that is an element type of tensors.
pub trait Element: Copy + 'static {
    /// The element type.
    const DTYPE: DType;
    /// Wrap an array.
    fn wrap(a: Array<Self>) -> Tensor;
    /// The array, if the tensor has this element type.
    fn of(t: &Tensor) -> Option<&Array<Self>>;
}

macro_rules! element {
    ($($t:ty, $v:ident);*) => {$(
        impl Element for $t {
            const DTYPE: DType = DType::$v;
            fn wrap(a: Array<Self>) -> Tensor {
                Tensor::$v(a)
            }
            fn of(t: &Tensor) -> Option<&Array<Self>> {
                match t {
                    Tensor::$v(a) => Some(a),
                    _ => None,
                }
            }
        }
    )*};
}
element!(f32, F32; i32, I32; i64, I64; bool, Bool);

impl Tensor {
    /// A tensor of the given shape from row-major data; `None` if the counts differ.
    pub fn from_vec<T: Element>(shape: &[usize], data: Vec<T>) -> Option<Tensor> {
        Array::from_shape_vec(IxDyn(shape), data).ok().map(T::wrap)
    }

    /// A scalar.
    pub fn scalar<T: Element>(x: T) -> Tensor {
        T::wrap(Array::from_elem(IxDyn(&[]), x))
    }

    /// A tensor of one dimension.
    pub fn vector<T: Element>(data: Vec<T>) -> Tensor {
        T::wrap(ndarray::ArcArray1::from_vec(data).into_dyn())
    }

    /// A tensor with every element equal.
    pub fn full<T: Element>(shape: &[usize], x: T) -> Tensor {
        T::wrap(Array::from_elem(IxDyn(shape), x))
    }

    /// All zeros (false) of a type.
    pub fn zeros(ty: &TensorType) -> Tensor {
        match ty.dtype {
            DType::F32 => Self::full(&ty.shape, 0f32),
            DType::I32 => Self::full(&ty.shape, 0i32),
            DType::I64 => Self::full(&ty.shape, 0i64),
            DType::Bool => Self::full(&ty.shape, false),
        }
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        match self {
            Tensor::F32(_) => DType::F32,
            Tensor::I32(_) => DType::I32,
            Tensor::I64(_) => DType::I64,
            Tensor::Bool(_) => DType::Bool,
        }
    }

    /// Extents.
    pub fn shape(&self) -> &[usize] {
        with_array!(self, a => a.shape())
    }

    /// Element type and extents.
    pub fn ty(&self) -> TensorType {
        TensorType::new(self.dtype(), self.shape())
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        with_array!(self, a => a.len())
    }

    /// True if there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The same elements in row-major order under another shape; `None` if the counts differ.
    pub fn reshaped(&self, shape: &[usize]) -> Option<Tensor> {
        if shape.iter().product::<usize>() != self.len() {
            return None;
        }
        Some(map_array!(self, a => a.to_shape(IxDyn(shape)).ok()?.to_shared()))
    }

    /// The elements in row-major order, if of type `T`.
    pub fn to_vec<T: Element>(&self) -> Option<Vec<T>> {
        T::of(self).map(|a| a.iter().copied().collect())
    }

    /// The only element of a one-element tensor of type `T`.
    pub fn item<T: Element>(&self) -> Option<T> {
        T::of(self).filter(|a| a.len() == 1).and_then(|a| a.iter().next().copied())
    }

    /// The elements as 64-bit patterns, in row-major order.
    fn patterns(&self) -> Box<dyn Iterator<Item = u64> + '_> {
        match self {
            Tensor::F32(a) => Box::new(a.iter().map(|x| u64::from(x.to_bits()))),
            Tensor::I32(a) => Box::new(a.iter().map(|x| *x as u32 as u64)),
            Tensor::I64(a) => Box::new(a.iter().map(|x| *x as u64)),
            Tensor::Bool(a) => Box::new(a.iter().map(|x| u64::from(*x))),
        }
    }

    /// Same type and the same bits everywhere; two NaNs of different bits differ.
    pub fn same_bits(&self, other: &Tensor) -> bool {
        self.ty() == other.ty() && self.patterns().eq(other.patterns())
    }

    /// Same type and the same value everywhere under the numeric contract: any NaN equals any NaN,
    /// everything else is compared by its bits.
    pub fn same_value(&self, other: &Tensor) -> bool {
        self.first_difference(other).is_none()
    }

    /// Row-major index of the first element at which [`Tensor::same_value`] fails; `Some(0)` where
    /// the types differ.
    pub fn first_difference(&self, other: &Tensor) -> Option<usize> {
        if self.ty() != other.ty() {
            return Some(0);
        }
        if let (Tensor::F32(a), Tensor::F32(b)) = (self, other) {
            return a
                .iter()
                .zip(b.iter())
                .position(|(x, y)| x.to_bits() != y.to_bits() && !(x.is_nan() && y.is_nan()));
        }
        self.patterns().zip(other.patterns()).position(|(x, y)| x != y)
    }

    /// Feed type and bits to a hasher, consistently with [`Tensor::same_bits`].
    pub fn hash_bits<H: Hasher>(&self, state: &mut H) {
        self.ty().hash(state);
        self.patterns().for_each(|p| p.hash(state));
    }

    /// Row-major little-endian bytes (`bool` as 0/1), the layout of compiled code.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Tensor::F32(a) => a.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Tensor::I32(a) => a.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Tensor::I64(a) => a.iter().flat_map(|x| x.to_le_bytes()).collect(),
            Tensor::Bool(a) => a.iter().map(|&x| u8::from(x)).collect(),
        }
    }

    /// The inverse of [`Tensor::to_bytes`]; `None` if the length does not fit the type.
    pub fn from_bytes(ty: &TensorType, bytes: &[u8]) -> Option<Tensor> {
        if bytes.len() != ty.bytes() {
            return None;
        }
        match ty.dtype {
            DType::F32 => Self::from_vec(&ty.shape, read_le(bytes, f32::from_le_bytes)),
            DType::I32 => Self::from_vec(&ty.shape, read_le(bytes, i32::from_le_bytes)),
            DType::I64 => Self::from_vec(&ty.shape, read_le(bytes, i64::from_le_bytes)),
            DType::Bool => Self::from_vec(&ty.shape, bytes.iter().map(|&b| b != 0).collect()),
        }
    }
}

fn read_le<const N: usize, T>(bytes: &[u8], f: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.chunks_exact(N).map(|c| f(std::array::from_fn(|i| c[i]))).collect()
}
