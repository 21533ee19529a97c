//! Contraction kernels: MLIR text of matrix products that is bit-exact to the contraction order of
//! the semantics (ascending k inside chunks of 256 from +0, chunk sums added in order to a total
//! from +0).
//!
//! A kernel packs both operands into panels, learns from them what can happen (zeros, flushes,
//! saturation, Inf, NaN), and picks, per register tile and chunk, the cheapest inner kernel that is
//! provably exact there: two instructions a product where nothing special can happen. No inner PAM
//! kernel contains a float multiplication. Results do not depend on thread count, vector width or
//! tile size.
//!
//! Products with few rows or columns, such as a vector times a matrix, do not pay for packing the matrix:
//! `thin` reads it where it lies. Tiny ones are computed one element at a time.
//!
//! The code relies on subnormals being flushed on output and read as zero (x86 FTZ + DAZ, Arm FZ):
//! whoever calls it sets that mode, on every thread that may run it.

mod add;
mod axis;
mod block;
mod canonical;
pub(crate) mod claims;
mod direct;
mod driver;
mod micro;
mod operands;
mod pack;
mod plan;
mod probe;
mod product;
mod select;
mod spread;
mod straight;
mod tabled;
mod text;
mod thin;

use std::collections::BTreeMap;

use crate::codegen::{Access, Arch, Target};
pub use probe::{Probe, probe};

pub(crate) use canonical::canonical;
use plan::Plan;
use text::Lanes;

/// Products summed from +0 before the sum joins the total.
pub const CHUNK: usize = 256;

/// Which arithmetic a contraction uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arith {
    /// Piecewise-affine products.
    Pam,
    /// Ordinary fused multiply-add in the same order: the labelled float baseline.
    Float,
}

/// One dimension of rows or columns that lie in memory with more than one stride.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Dim {
    /// Positions.
    pub extent: usize,
    /// Elements from one to the next.
    pub stride: i64,
}

/// A strided view of a flat float32 buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Operand {
    /// Elements in the buffer: the function's parameter is `memref<{len}xf32>`.
    pub len: usize,
    /// Elements before the view's first.
    pub offset: i64,
    /// Strides in elements: one per batch dimension, then row, then column. 0 broadcasts.
    pub strides: Vec<i64>,
    /// The dimensions, outermost first, of rows and of columns that have no single stride, such as the
    /// places and elements of sliding windows; the stride above then counts for nothing. None for an
    /// axis that has one.
    pub split: [Vec<Dim>; 2],
}

/// What becomes of results.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// Each is written to a place of its own.
    Store,
    /// Each is added to what is at its place, which others may share, in ascending order of rows. No
    /// two share a place that are of the same row, or of the same group of so many successive rows.
    AddByRows(usize),
    /// The same with columns for rows.
    AddByColumns(usize),
}

/// What is summed over l for each output element (i, j).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `a[i,l] ⊙ b[l,j]`.
    Product,
    /// `a[i,l] ⊙ slope(at[i,j], b[l,j])`, where `slope(x, y) = d(x ⊙ y)/dx`: the exact gradient of
    /// a matrix product, with the incoming gradient as `a`. PAM only.
    Slope {
        /// The `m` × `n` operand whose gradient this is.
        at: Operand,
    },
}

/// A (batched) contraction: `a` is `m` × `k`, `b` is `k` × `n`, `out` is `m` × `n`, in each batch
/// element.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MatmulSpec {
    /// Sizes of the batch dimensions, outermost first.
    pub batch: Vec<usize>,
    /// Rows of the output.
    pub m: usize,
    /// Terms of each sum.
    pub k: usize,
    /// Columns of the output.
    pub n: usize,
    /// Left operand, rows × terms.
    pub a: Operand,
    /// Right operand, terms × columns.
    pub b: Operand,
    /// Output, rows × columns; must not overlap an input, nor, if results are stored, itself.
    pub out: Operand,
    /// What becomes of results.
    pub output: Output,
    /// Arithmetic of the terms.
    pub arith: Arith,
    /// The terms.
    pub kind: Kind,
}

/// What the kernels may use of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelTarget {
    /// 32-bit lanes of a vector register: 4 (NEON, SSE), 8 (AVX2) or 16 (AVX-512).
    pub lanes: usize,
    /// Number of vector registers: decides the tile.
    pub registers: usize,
    /// Whether large contractions use `scf.parallel`.
    pub parallel: bool,
}

impl KernelTarget {
    /// The vector unit that code for `target` uses.
    #[must_use]
    pub fn new(target: &Target, parallel: bool) -> Self {
        let registers = match target.arch {
            Arch::X86_64 if target.lanes() < 16 => 16,
            Arch::X86_64 | Arch::Aarch64 => 32,
        };
        Self { lanes: target.lanes(), registers, parallel }
    }
}

/// Why no kernel can be made for a [`MatmulSpec`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// An operand's strides do not match the batch dimensions plus row and column.
    #[error("operand `{operand}` has {found} strides, its contraction needs {expected}")]
    Rank {
        /// Which operand.
        operand: &'static str,
        /// Strides needed.
        expected: usize,
        /// Strides given.
        found: usize,
    },
    /// A view reaches outside its buffer.
    #[error("operand `{operand}` spans elements {first} to {last} of a buffer of {len}")]
    Bounds {
        /// Which operand.
        operand: &'static str,
        /// Smallest element index used.
        first: i64,
        /// Largest element index used.
        last: i64,
        /// Elements in the buffer.
        len: usize,
    },
    /// The dimensions of an axis do not make up its extent, or reach farther than an `i32` counts.
    #[error(
        "operand `{operand}` does not split {extent} rows or columns into the dimensions given"
    )]
    Split {
        /// Which operand.
        operand: &'static str,
        /// The axis's extent.
        extent: usize,
    },
    /// Slopes exist only in PAM.
    #[error("a slope contraction has no meaning in float arithmetic")]
    FloatSlope,
    /// Lanes must be 4, 8 or 16.
    #[error("no kernel for {0} lanes of 32 bits: expected 4, 8 or 16")]
    Lanes(usize),
}

/// A register tile: `rows` × (`vectors` of `lanes`) accumulators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile {
    rows: usize,
    vectors: usize,
    lanes: Lanes,
}

impl Tile {
    fn columns(&self) -> usize {
        self.vectors * self.lanes.0
    }
}

/// A function that is called for every part of the output as soon as it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct After {
    /// Its name. Its parameters are those below, then four indices: the part's first row, counted over
    /// all batch elements, the row behind its last, its first column and the column behind its last.
    pub function: String,
    /// Types of its parameters, which the contraction takes after its own.
    pub params: Vec<String>,
}

/// The kernels of one module: contraction functions and the inner functions that they share.
#[derive(Debug)]
pub struct Kernels {
    target: KernelTarget,
    shared: BTreeMap<String, String>,
    functions: String,
}

impl Kernels {
    /// An empty set for `target`.
    #[must_use]
    pub fn new(target: KernelTarget) -> Self {
        Self { target, shared: BTreeMap::new(), functions: String::new() }
    }

    /// Adds the function `@name(a, b, [at,] out, scratch)` that computes `spec`, each parameter a
    /// `memref<{len}xf32>`; `scratch` holds [`scratch_len`] elements. Its helpers are named
    /// `name_…`.
    ///
    /// # Errors
    /// If the views do not fit their buffers or the target has no such vectors.
    pub fn matmul(&mut self, name: &str, spec: &MatmulSpec) -> Result<(), KernelError> {
        let text = self.contraction(name, Access::Exported, spec, None)?;
        self.functions.push_str(&text);
        Ok(())
    }

    /// The function of [`Kernels::matmul`] for whoever writes it, without what it shares with others.
    /// What comes `after` has its parameters before `scratch`; the output must then be dense.
    pub(crate) fn contraction(
        &mut self,
        name: &str,
        access: Access,
        spec: &MatmulSpec,
        after: Option<&After>,
    ) -> Result<String, KernelError> {
        let plan = Plan::new(spec, &self.target)?;
        Ok(driver::emit(name, access, &plan, after, &mut self.shared))
    }

    /// Names and texts of what the functions written share.
    pub(crate) fn shared(&self) -> impl Iterator<Item = (&String, &String)> {
        self.shared.iter()
    }

    /// The text of all functions, to be put inside a module.
    #[must_use]
    pub fn finish(self) -> String {
        self.shared.into_values().chain([self.functions]).collect()
    }
}

/// Elements of scratch memory (float32) that the kernel for `spec` needs.
///
/// # Errors
/// As [`Kernels::matmul`].
pub fn scratch_len(spec: &MatmulSpec, target: &KernelTarget) -> Result<usize, KernelError> {
    Ok(Plan::new(spec, target)?.scratch_len())
}

/// The text of one contraction with all it needs; see [`Kernels::matmul`].
///
/// # Errors
/// As [`Kernels::matmul`].
pub fn emit_matmul(
    name: &str,
    spec: &MatmulSpec,
    target: &KernelTarget,
) -> Result<String, KernelError> {
    let mut kernels = Kernels::new(*target);
    kernels.matmul(name, spec)?;
    Ok(kernels.finish())
}
