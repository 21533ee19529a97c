//! Loop nests as MLIR: vectors of 16 lanes along one dimension, reductions in the order of the
//! numeric contract, large nests shared out over threads.

mod access;
mod factor;
mod loops;
mod part;
mod plan;
mod reduce;
mod scatter;
pub(crate) mod threads;

use std::collections::{HashMap, HashSet};

use pamc_passes::ir::DType;

use super::builder::{Builder, Code};
use super::pam::Factor;
use super::types::{Elem, Value, VecTy};
use super::{float, scalar};
use crate::codegen::Access;
use crate::schedule::nest::{Kind, Nest};
pub(super) use part::part;
use plan::{Facts, Kept, Pass};

/// Lanes of a vector, which are those of a reduction.
pub(super) const LANES: usize = 16;
/// Values computed below which threads cost more than they save.
const PARALLEL_VALUES: usize = 1 << 18;
/// Rows computed side by side.
const BAND: usize = 2;
/// Longer kernels would only grow.
const BAND_EXPRS: usize = 48;
/// Arrays read or written along the rows above which memory is what they wait for.
const BAND_ARRAYS: usize = 2;
/// Iterations that are enough to share out.
const PARALLEL_ITERATIONS: usize = 64;

pub(super) const INDEX: VecTy = VecTy::scalar(Elem::Index);

/// Which dimension the lanes of a vector lie along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The last inner one; reductions keep one vector of partial sums.
    Rows,
    /// The last outer one; reductions keep one vector for each of their 16 lanes.
    Columns,
    /// None, and there are no reductions.
    Scalar,
}

/// Writes the function `@name` of a nest, its parameters those of the nest as flat memrefs.
pub fn emit(b: &mut Builder, name: &str, nest: &Nest, parallel: bool) {
    let nest = nest.clone().with_inner();
    let params: Vec<(String, String)> = nest
        .params
        .iter()
        .enumerate()
        .map(|(i, p)| (format!("%p{i}"), memref(p.dtype, p.len)))
        .collect();
    let facts = Emitter::new(b, &nest, parallel);
    let (shared, keeps) = (facts.shared_dims(), !facts.kept.is_empty());
    let rows =
        (shared > 0 && keeps).then(|| Rows { name: format!("{name}_rows"), params: &params });
    if let Some(rows) = &rows {
        let ivs: Vec<Value> = (0..shared).map(|_| b.fresh(INDEX)).collect();
        let list: Vec<_> = ivs.iter().map(|iv| (iv.to_string(), "index".to_string())).collect();
        function(b, Access::Internal, &rows.name, &[&params[..], &list].concat(), |b| {
            let mut e = Emitter::new(b, &nest, parallel);
            ivs.iter().enumerate().for_each(|(d, iv)| e.at[d] = Some(*iv));
            e.make_buffers();
            e.outer(shared);
        });
    }
    function(b, Access::Shared, name, &params, |b| {
        let mut e = Emitter::new(b, &nest, parallel);
        e.rows = rows.as_ref();
        e.outer(0);
    });
}

fn function(
    b: &mut Builder,
    access: Access,
    name: &str,
    params: &[(String, String)],
    body: impl FnOnce(&mut Builder),
) {
    let params: Vec<String> = params.iter().map(|(name, ty)| format!("{name}: {ty}")).collect();
    let (keyword, params) = (access.keyword(), params.join(", "));
    let header = format!("{keyword} @{name}({params}){}", access.attributes());
    b.region(header, |b| {
        body(b);
        b.line("func.return");
    });
}

/// A function of its own for what the threads share out: its row buffers lie in its frame.
struct Rows<'a> {
    name: String,
    params: &'a [(String, String)],
}

impl Rows<'_> {
    fn call(&self, ivs: &[Value]) -> String {
        let names = self.params.iter().map(|(name, _)| name.clone());
        let types = self.params.iter().map(|(_, ty)| ty.as_str());
        let names: Vec<String> = names.chain(ivs.iter().map(Value::to_string)).collect();
        let types: Vec<&str> = types.chain(ivs.iter().map(|_| "index")).collect();
        let (names, types) = (names.join(", "), types.join(", "));
        format!("func.call @{}({names}) : ({types}) -> ()", self.name)
    }
}

/// Type of a dense buffer of a processor's code.
pub(super) fn memref(dtype: DType, len: usize) -> String {
    Code::Cpu.buffer(dtype, len)
}

/// An element in memory in a processor's code.
pub(super) fn stored(dtype: DType) -> Elem {
    Code::Cpu.stored(dtype)
}

struct Emitter<'a> {
    b: &'a mut Builder,
    nest: &'a Nest,
    mode: Mode,
    parallel: bool,
    /// What the threads call, if not inlined.
    rows: Option<&'a Rows<'a>>,
    facts: Facts,
    passes: Vec<Pass>,
    /// Values that later passes read from a row buffer.
    kept: HashMap<usize, Kept>,
    /// The row buffers, those of each row of a band together.
    buffers: Vec<Value>,
    /// Index along the last outer dimension of each row of a band, which are computed side by side: while
    /// a sum of one waits for its last term, those of the others go on. They lie as far apart as can be,
    /// so that each is a run of memory that the processor sees coming.
    band: Vec<Option<Value>>,
    /// Number of the current row in the band.
    in_band: usize,
    /// Number of the current pass.
    pass: usize,
    /// Current indices.
    at: Vec<Option<Value>>,
    /// Current number of lanes.
    lanes: usize,
    /// What is computed, for each row of the band.
    known: Vec<Known>,
}

/// Values that are computed.
#[derive(Clone, Default)]
struct Known {
    /// Those that do not depend on the inner dimensions.
    row: HashMap<usize, Value>,
    /// What operands of the row scale others by, in `⊘` and in `⊙`.
    factors: HashMap<(usize, bool), Factor>,
    /// Those at the current inner indices.
    point: HashMap<usize, Value>,
}

impl<'a> Emitter<'a> {
    fn new(b: &'a mut Builder, nest: &'a Nest, parallel: bool) -> Self {
        let facts = Facts::new(nest, b.code());
        let mut e = Emitter {
            b,
            nest,
            mode: Mode::Scalar,
            parallel: false,
            rows: None,
            passes: facts.passes(nest),
            facts,
            kept: HashMap::new(),
            buffers: Vec::new(),
            pass: 0,
            at: vec![None; nest.outer.len() + nest.inner.len()],
            lanes: LANES,
            band: vec![None],
            in_band: 0,
            known: vec![Known::default()],
        };
        e.mode = e.choose_mode();
        if e.b.code() == Code::Cpu {
            e.kept = e.facts.kept(nest, e.mode, &e.passes);
            e.band = vec![None; e.choose_band()];
            e.known.resize(e.band.len(), Known::default());
        }
        e.parallel = parallel && nest.points() * nest.exprs.len() >= PARALLEL_VALUES;
        e
    }

    fn choose_mode(&self) -> Mode {
        let (nest, outer) = (self.nest, self.nest.outer.len());
        let dims = outer + nest.inner.len();
        if dims == 0 || nest.ordered.1 >= dims {
            return Mode::Scalar;
        }
        let last = dims - 1;
        if !nest.reduces() {
            return Mode::Rows;
        }
        let strides = |d: usize| {
            nest.exprs.iter().filter(move |e| match &e.kind {
                Kind::Load(access, _) => access.strides[d] == 1 && access.strides[last] != 0,
                _ => false,
            })
        };
        let across = if outer > 0 { strides(outer - 1).count() } else { 0 };
        if nest.inner.len() == 1 && across > strides(last).count() {
            return Mode::Columns;
        }
        Mode::Rows
    }

    /// How many rows to compute side by side.
    fn choose_band(&self) -> usize {
        let nest = self.nest;
        let rows = nest.outer.last().copied().unwrap_or(1);
        let row = nest.inner.iter().product::<usize>();
        let fits = BAND * self.kept.len() * row * 4 <= plan::ROW_BYTES;
        let reduces = self.mode == Mode::Rows && nest.reduces() && nest.ordered == (0, 0);
        let short = nest.exprs.len() <= BAND_EXPRS && self.row_arrays() <= BAND_ARRAYS;
        if reduces && fits && short && rows.is_multiple_of(BAND) { BAND } else { 1 }
    }

    /// Arrays of which every row reads or writes a part of its own.
    fn row_arrays(&self) -> usize {
        let (nest, outer) = (self.nest, self.nest.outer.len());
        let loads = nest.exprs.iter().filter_map(|e| match &e.kind {
            Kind::Load(access, _) => Some(access),
            _ => None,
        });
        let all = loads.chain(nest.stores.iter().map(|s| &s.access));
        let of_rows = all.filter(|a| {
            let (rows, along) = a.strides.split_at(outer);
            rows.iter().any(|&s| s != 0) && along.iter().any(|&s| s != 0)
        });
        of_rows.map(|a| a.param).collect::<HashSet<_>>().len()
    }

    /// What is known of the current row.
    fn known(&mut self) -> &mut Known {
        &mut self.known[self.in_band]
    }

    /// Goes on at another row of the band.
    fn select(&mut self, row: usize) {
        self.in_band = row;
        if self.band.len() > 1 {
            self.at[self.nest.outer.len() - 1] = self.band[row];
        }
    }

    /// Does the same for every row of the band.
    fn each_row(&mut self, mut body: impl FnMut(&mut Self)) {
        for row in 0..self.band.len() {
            self.select(row);
            body(self);
        }
        self.select(0);
    }

    /// The dimension that lanes lie along.
    fn vector_dim(&self) -> Option<usize> {
        let outer = self.nest.outer.len();
        match self.mode {
            Mode::Rows => Some(outer + self.nest.inner.len() - 1),
            Mode::Columns => Some(outer - 1),
            Mode::Scalar => None,
        }
    }

    /// True if the lanes of an expression differ.
    fn varies(&self, expr: usize) -> bool {
        self.vector_dim().is_some_and(|d| self.facts.depends[expr] >> d & 1 != 0)
    }

    fn inner(&self, expr: usize) -> bool {
        self.facts.inner(self.nest, expr)
    }

    fn index(&mut self, value: usize) -> Value {
        self.b.int(INDEX, value as i64)
    }

    /// The value of an expression at the current indices.
    fn value(&mut self, expr: usize) -> Value {
        let inner = self.inner(expr);
        let known = self.known();
        let cache = if inner { &known.point } else { &known.row };
        if let Some(value) = cache.get(&expr) {
            return *value;
        }
        let value = match self.kept.get(&expr).copied() {
            Some(kept) if self.pass > kept.pass => self.recall(expr, kept),
            Some(kept) => {
                let value = self.compute(expr);
                self.keep(value, kept);
                value
            }
            None => self.compute(expr),
        };
        let known = self.known();
        let cache = if inner { &mut known.point } else { &mut known.row };
        cache.insert(expr, value);
        value
    }

    /// The value in as many lanes as `expr` takes: one if its lanes do not differ.
    fn lanes_of(&self, expr: usize) -> Option<usize> {
        self.varies(expr).then_some(self.lanes)
    }

    fn compute(&mut self, expr: usize) -> Value {
        let nest = self.nest;
        let dtype = nest.exprs[expr].dtype;
        let elem = Elem::from(dtype);
        let lanes = self.lanes_of(expr);
        match &nest.exprs[expr].kind {
            Kind::Const(bits) => self.constant(elem, *bits),
            Kind::Index { offset, strides } => {
                let (offset, strides) = (*offset, strides.clone());
                self.ramp(elem, offset, &strides, lanes)
            }
            Kind::Load(access, _) => {
                let value = self.load(access, dtype, lanes);
                if self.facts.flush[expr] { scalar::flush(self.b, value) } else { value }
            }
            Kind::Op(prim, attrs, operands) => {
                if let Some(scaled) = self.scaled_by_row(expr, lanes) {
                    return scaled;
                }
                let operands: Vec<Value> = operands
                    .iter()
                    .map(|&o| {
                        let value = self.value(o);
                        self.widen(value, lanes)
                    })
                    .collect();
                let made = scalar::emit(self.b, *prim, attrs, &operands, elem);
                made.unwrap_or_else(|| {
                    // Refused by MLIR with this name: a primitive without code is a build error.
                    let ty = VecTy { elem, lanes };
                    self.b.define(ty, format_args!("\"pamc.no_code_for.{prim:?}\"() : () -> {ty}"))
                })
            }
            // Loops of reductions leave their results among the row's values.
            Kind::Reduce(..) => self.constant(elem, 0),
        }
    }

    fn constant(&mut self, elem: Elem, bits: u64) -> Value {
        let ty = VecTy::scalar(elem);
        match elem {
            Elem::F32 if bits == 0 => float::zero(self.b),
            Elem::F32 => self.b.float(ty, f32::from_bits(bits as u32)),
            Elem::I32 => self.b.int(ty, i64::from(bits as u32 as i32)),
            _ => self.b.int(ty, bits as i64),
        }
    }

    /// A value in as many lanes as asked for.
    fn widen(&mut self, value: Value, lanes: Option<usize>) -> Value {
        match (value.ty.lanes, lanes) {
            (None, Some(lanes)) => {
                let ty = VecTy::vector(value.ty.elem, lanes);
                self.b.define(ty, format_args!("vector.broadcast {value} : {} to {ty}", value.ty))
            }
            _ => value,
        }
    }

    /// Everything at one outer index (or one vector of them, or a band).
    fn row_body(&mut self) {
        if let (Some(last), true) = (self.nest.outer.len().checked_sub(1), self.band.len() > 1) {
            self.band[0] = self.at[last];
            for row in 1..self.band.len() {
                let apart = self.nest.outer[last] / self.band.len();
                let apart = self.index(row * apart);
                self.band[row] =
                    self.at[last].map(|first| self.b.binary("arith.addi", first, apart));
            }
        }
        for pass in 0..self.passes.len() {
            self.pass = pass;
            self.inner_loops(pass);
        }
        let rest = self.row_stores();
        self.each_row(|e| e.store_all(&rest));
        self.forget();
    }

    /// Leaves the band.
    fn forget(&mut self) {
        self.known.fill(Known::default());
    }

    /// Stores outside the loops over the inner dimensions.
    fn row_stores(&self) -> Vec<usize> {
        let stores = 0..self.nest.stores.len();
        stores.filter(|&s| !self.facts.is_inner_store(self.nest, s)).collect()
    }

    /// Compute the values of the row that a loop over the inner dimensions needs.
    fn prepare(&mut self, roots: &[usize]) {
        let mut seen = vec![false; self.nest.exprs.len()];
        let mut stack = roots.to_vec();
        let mut needed = Vec::new();
        while let Some(e) = stack.pop() {
            if std::mem::replace(&mut seen[e], true) {
                continue;
            }
            if !self.inner(e) {
                needed.push(e);
            } else if self.kept.get(&e).is_none_or(|k| k.pass == self.pass) {
                stack.extend(plan::operands(&self.nest.exprs[e]));
                needed.push(e);
            }
        }
        needed.sort_unstable();
        for e in needed {
            if self.inner(e) {
                self.prepare_factor(e);
            } else {
                self.value(e);
            }
        }
    }
}
