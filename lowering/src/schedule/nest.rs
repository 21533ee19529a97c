//! Loop nests: what one fused kernel computes, free of names and places.

use pamc_passes::ir::{Attrs, DType};
use pamc_passes::ops::Prim;

/// A buffer a kernel is given: dense elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Param {
    /// Element type.
    pub dtype: DType,
    /// Number of elements.
    pub len: usize,
}

/// Where an element lies: `offset + Σ index[d]·strides[d]`, plus an index found in data.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// Which parameter.
    pub param: usize,
    /// Elements before the first.
    pub offset: i64,
    /// Stride of each dimension of the nest, outer ones first.
    pub strides: Vec<i64>,
    /// An expression that is a position along an axis of this extent, and that axis's stride.
    pub dynamic: Option<Position>,
}

/// A position found in data: negative ones count from the end, then it is clamped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Position {
    /// The expression, of an integer type.
    pub expr: usize,
    /// Extent of the axis.
    pub extent: usize,
    /// Stride of the axis.
    pub stride: i64,
}

/// How elements join under a reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Join {
    /// 16 interleaved lanes from +0, then a halving tree.
    Sum,
    /// Largest.
    Max,
    /// Smallest.
    Min,
}

/// One value of a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A constant by its bits.
    Const(u64),
    /// `offset + Σ index[d]·strides[d]` as a number.
    Index {
        /// At the origin.
        offset: i64,
        /// Stride of each dimension of the nest.
        strides: Vec<i64>,
    },
    /// An element of a buffer; `flush` makes subnormals zeros.
    Load(Access, bool),
    /// An elementwise primitive.
    Op(Prim, Attrs, Vec<usize>),
    /// A reduction over the inner dimensions.
    Reduce(Join, usize),
}

/// A value with its element type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Expr {
    /// What it is.
    pub kind: Kind,
    /// Element type.
    pub dtype: DType,
}

/// A value written to a buffer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    /// The value.
    pub expr: usize,
    /// Where it goes.
    pub access: Access,
}

/// A nest of loops: `outer` dimensions around `inner` ones, which reductions run over.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Nest {
    /// Buffers.
    pub params: Vec<Param>,
    /// Extents of the outer dimensions.
    pub outer: Vec<usize>,
    /// Extents of the inner dimensions.
    pub inner: Vec<usize>,
    /// Values, operands before users.
    pub exprs: Vec<Expr>,
    /// Results.
    pub stores: Vec<Store>,
    /// Dimensions from the first up to the second run in order, since a store may feed a later
    /// load.
    pub ordered: (usize, usize),
}

impl Nest {
    /// Number of points.
    pub fn points(&self) -> usize {
        self.outer.iter().chain(&self.inner).product()
    }

    /// Number of dimensions.
    pub fn dimensions(&self) -> usize {
        self.outer.len() + self.inner.len()
    }

    /// For every expression the set of dimensions (bit d for dimension d) its value depends on.
    pub fn dependence(&self) -> Vec<u64> {
        let moves = |strides: &[i64]| {
            let bits = strides.iter().enumerate().filter(|(_, s)| **s != 0).map(|(d, _)| 1u64 << d);
            bits.fold(0, |a, b| a | b)
        };
        let outer = (1u64 << self.outer.len()) - 1;
        let mut sets: Vec<u64> = Vec::with_capacity(self.exprs.len());
        for expr in &self.exprs {
            let set = match &expr.kind {
                Kind::Const(_) => 0,
                Kind::Index { strides, .. } => moves(strides),
                Kind::Load(access, _) => {
                    moves(&access.strides) | access.dynamic.map_or(0, |p| sets[p.expr])
                }
                Kind::Op(_, _, operands) => operands.iter().fold(0, |a, &o| a | sets[o]),
                Kind::Reduce(_, operand) => sets[*operand] & outer,
            };
            sets.push(set);
        }
        sets
    }

    /// True if some value is a reduction.
    pub fn reduces(&self) -> bool {
        self.exprs.iter().any(|e| matches!(e.kind, Kind::Reduce(..)))
    }

    /// Every linear function of the indices.
    fn linear(&mut self) -> Vec<&mut Vec<i64>> {
        let loads = self.exprs.iter_mut().filter_map(|e| match &mut e.kind {
            Kind::Index { strides, .. } => Some(strides),
            Kind::Load(access, _) => Some(&mut access.strides),
            _ => None,
        });
        loads.chain(self.stores.iter_mut().map(|s| &mut s.access.strides)).collect()
    }

    /// Drop dimensions of extent 1 and merge neighbours that every access runs through evenly.
    #[must_use]
    pub fn simplified(mut self) -> Nest {
        let mut d = 0;
        while d < self.outer.len() + self.inner.len() {
            let split = self.outer.len();
            let extent = if d < split { self.outer[d] } else { self.inner[d - split] };
            let next = match d + 1 {
                n if n < split => Some(self.outer[n]),
                n if n > split && n - split < self.inner.len() => Some(self.inner[n - split]),
                _ => None,
            };
            let edge = d + 1 == self.ordered.0 || d + 1 == self.ordered.1;
            let next = next.filter(|_| !edge);
            let even = |s: &Vec<i64>| next.is_some_and(|n| s[d] == s[d + 1] * n as i64);
            if extent != 1 && !self.linear().into_iter().all(|s| even(s)) {
                d += 1;
                continue;
            }
            self.remove(d, extent);
            d = d.saturating_sub(1);
        }
        self
    }

    /// Remove a dimension, its extent going to the next one.
    fn remove(&mut self, d: usize, extent: usize) {
        self.linear().into_iter().for_each(|s| {
            s.remove(d);
        });
        if d < self.ordered.0 {
            self.ordered.0 -= 1;
        }
        if d < self.ordered.1 {
            self.ordered.1 -= 1;
        }
        let split = self.outer.len();
        if d < split {
            self.outer.remove(d);
        } else {
            self.inner.remove(d - split);
        }
        let next = match d < split {
            true => self.outer.get_mut(d),
            false => self.inner.get_mut(d - split),
        };
        if let (Some(next), true) = (next, extent != 1) {
            *next *= extent;
        }
    }

    /// The same nest over rows and columns, if it does each element by itself and every access has one
    /// stride along both. Rows too short for vectors are no use.
    pub fn as_matrix(&self, rows: usize, columns: usize) -> Option<Nest> {
        const SHORTEST: usize = 16;
        let dims = [&self.outer[..], &self.inner].concat();
        if columns < SHORTEST || self.reduces() || self.ordered != (0, 0) {
            return None;
        }
        let (mut down, mut along, mut left) = (Vec::new(), Vec::new(), columns);
        for (d, &extent) in dims.iter().enumerate().rev() {
            if left == 1 {
                down.push((d, extent, 1));
            } else if left.is_multiple_of(extent) {
                along.push((d, extent, 1));
                left /= extent;
            } else if extent.is_multiple_of(left) {
                along.push((d, left, 1));
                down.push((d, extent / left, left as i64));
                left = 1;
            } else {
                return None;
            }
        }
        let count = down.iter().map(|(_, extent, _)| extent).product::<usize>();
        if left != 1 || count != rows {
            return None;
        }
        let mut out = self.clone();
        for strides in out.linear() {
            let merged = [&down, &along].map(|parts| one_stride(parts, strides));
            *strides = merged.into_iter().collect::<Option<_>>()?;
        }
        (out.outer, out.inner) = (vec![rows], vec![columns]);
        Some(out)
    }

    /// With at least one inner dimension: without reductions the last dimension of all.
    #[must_use]
    pub fn with_inner(mut self) -> Nest {
        if !self.inner.is_empty() && self.reduces() {
            return self;
        }
        let mut dims = [&self.outer[..], &self.inner].concat();
        if self.reduces() || dims.is_empty() {
            dims.push(1);
            self.linear().into_iter().for_each(|s| s.push(0));
        }
        self.inner = dims.split_off(dims.len() - 1);
        self.outer = dims;
        self
    }
}

/// The stride of dimensions taken as one, given with extent and step, innermost first.
fn one_stride(parts: &[(usize, usize, i64)], strides: &[i64]) -> Option<i64> {
    let mut parts = parts.iter().filter(|(_, extent, _)| *extent != 1);
    let Some(&(d, extent, step)) = parts.next() else { return Some(0) };
    let first = strides[d] * step;
    let mut next = first * extent as i64;
    for &(d, extent, step) in parts {
        if strides[d] * step != next {
            return None;
        }
        next *= extent as i64;
    }
    Some(first)
}
