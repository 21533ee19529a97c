//! Loops over the inner dimensions, with the reductions they carry.

use pamc_passes::ir::{Attrs, DType};
use pamc_passes::ops::Prim;

use super::super::types::{Elem, Value, VecTy};
use super::super::{pam, scalar};
use super::{Emitter, INDEX, LANES, Mode};
use crate::schedule::nest::{Join, Kind};

/// A reduction in progress.
#[derive(Clone, Copy)]
pub(super) struct Reduction {
    pub expr: usize,
    pub operand: usize,
    pub join: Join,
    pub dtype: DType,
}

impl Reduction {
    /// What a reduction starts from.
    pub fn start(&self) -> u64 {
        match self.join {
            Join::Sum => 0,
            _ => self.neutral(),
        }
    }

    /// True if numbers are joined as integers of the same order, which takes fewer and quicker steps.
    fn keyed(&self) -> bool {
        self.dtype == DType::F32 && self.join != Join::Sum
    }

    /// What leaves any other element as it is: −0 under addition, since +0 would turn −0 to +0.
    fn neutral(&self) -> u64 {
        let (low, high) = match self.dtype {
            DType::F32 => {
                (u64::from(f32::NEG_INFINITY.to_bits()), u64::from(f32::INFINITY.to_bits()))
            }
            DType::I64 => (i64::MIN as u64, i64::MAX as u64),
            _ => (u64::from(i32::MIN as u32), u64::from(i32::MAX as u32)),
        };
        match (self.join, self.dtype) {
            (Join::Max, _) => low,
            (Join::Min, _) => high,
            (Join::Sum, DType::F32) => u64::from((-0f32).to_bits()),
            (Join::Sum, _) => 0,
        }
    }
}

impl Emitter<'_> {
    /// One pass over the inner dimensions: reductions left among the row's values, stores made.
    pub(super) fn inner_loops(&mut self, pass: usize) {
        let pass = self.passes[pass].clone();
        let (reductions, stores) = (&pass.reductions, &pass.stores);
        if reductions.is_empty() && stores.is_empty() {
            return;
        }
        let list: Vec<Reduction> = reductions.iter().map(|&expr| self.reduction(expr)).collect();
        let roots = pass.roots(self.nest);
        self.each_row(|e| e.prepare(&roots));
        match self.mode {
            Mode::Rows => self.rows(&list, stores),
            Mode::Columns => self.down(&list, stores),
            Mode::Scalar => self.one_by_one(self.nest.outer.len(), stores),
        }
        self.known().point.clear();
    }

    /// Stores after all values are there: one may replace what another value is computed from.
    pub(super) fn store_all(&mut self, stores: &[usize]) {
        for &s in stores {
            self.value(self.nest.stores[s].expr);
        }
        stores.iter().for_each(|&s| self.store(s));
    }

    pub(super) fn reduction(&self, expr: usize) -> Reduction {
        let node = &self.nest.exprs[expr];
        let (join, operand) = match node.kind {
            Kind::Reduce(join, operand) => (join, operand),
            _ => (Join::Sum, expr),
        };
        Reduction { expr, operand, join, dtype: node.dtype }
    }

    /// An element as it is joined with others.
    fn lift(&mut self, r: &Reduction, value: Value) -> Value {
        if !r.keyed() {
            return value;
        }
        // A NaN joins as the largest integer, or as the smallest.
        let nan = if r.join == Join::Max { 0x7FFF_FFFF } else { 0xFFFF_FFFF };
        pam::ordered(self.b, value, nan)
    }

    /// The result of joining lifted elements.
    fn lower(&mut self, r: &Reduction, value: Value) -> Value {
        if r.keyed() { pam::unordered(self.b, value) } else { value }
    }

    /// A constant, lifted, in every lane.
    fn splat_lifted(&mut self, r: &Reduction, bits: u64, lanes: Option<usize>) -> Value {
        if !r.keyed() {
            return self.splat(r, bits, lanes);
        }
        let key = bits as u32 as i32 ^ (bits as u32 as i32 >> 31 & i32::MAX);
        self.b.int(VecTy { elem: Elem::I32, lanes }, i64::from(key))
    }

    pub(super) fn splat(
        &mut self,
        reduction: &Reduction,
        bits: u64,
        lanes: Option<usize>,
    ) -> Value {
        let one = self.constant(Elem::from(reduction.dtype), bits);
        match lanes {
            None => one,
            Some(lanes) => {
                let ty = VecTy { elem: one.ty.elem, lanes: Some(lanes) };
                match ty.elem {
                    Elem::F32 => self.b.float(ty, f32::from_bits(bits as u32)),
                    Elem::I32 => self.b.int(ty, i64::from(bits as u32 as i32)),
                    _ => self.b.int(ty, bits as i64),
                }
            }
        }
    }

    pub(super) fn combine(&mut self, join: Join, a: Value, b: Value) -> Value {
        let prim = match join {
            Join::Sum => Prim::Add,
            Join::Max => Prim::Max,
            Join::Min => Prim::Min,
        };
        scalar::emit(self.b, prim, &Attrs::none(), &[a, b], a.ty.elem).unwrap_or(a)
    }

    fn rows(&mut self, list: &[Reduction], stores: &[usize]) {
        let start: Vec<Value> =
            list.iter().map(|r| self.splat_lifted(r, r.start(), Some(LANES))).collect();
        let start = start.repeat(self.band.len());
        let sums = self.rows_from(self.nest.outer.len(), list, stores, start);
        // Each pass over the last dimension has turned the lanes by its extent.
        let turned = match self.nest.inner.len() {
            1 => 0,
            _ => self.nest.inner.iter().fold(1, |n, d| n * (d % LANES) % LANES),
        };
        let mut sums = sums.into_iter();
        self.each_row(|e| {
            for (r, sum) in list.iter().zip(&mut sums) {
                let sum = e.turn(sum, LANES - turned);
                let total = e.fold_lanes(r.join, sum);
                let total = e.lower(r, total);
                e.known().row.insert(r.expr, total);
            }
        });
    }

    /// Lane `l` becomes what lane `l + by` was.
    fn turn(&mut self, sum: Value, by: usize) -> Value {
        if by.is_multiple_of(LANES) {
            return sum;
        }
        let order: Vec<String> = (0..LANES).map(|l| ((l + by) % LANES).to_string()).collect();
        let (order, ty) = (order.join(", "), sum.ty);
        self.b.define(ty, format_args!("vector.shuffle {sum}, {sum} [{order}] : {ty}, {ty}"))
    }

    /// The inner dimensions from `d` on; the element that comes next belongs to lane 0.
    fn rows_from(
        &mut self,
        d: usize,
        list: &[Reduction],
        stores: &[usize],
        start: Vec<Value>,
    ) -> Vec<Value> {
        let outer = self.nest.outer.len();
        let extent = self.nest.inner[d - outer];
        if d - outer + 1 < self.nest.inner.len() {
            return self.for_carrying(extent, 1, start, |e, iv, sums| {
                e.at[d] = Some(iv);
                e.rows_from(d + 1, list, stores, sums)
            });
        }
        let main = extent / LANES * LANES;
        let mut sums = start;
        self.lanes = LANES;
        if main > 0 {
            let flat = outer == 0 && list.is_empty() && self.nest.ordered == (0, 0);
            if flat && self.parallel && self.nest.inner.len() == 1 {
                self.parallel_loop(main, LANES, |e, iv| {
                    e.at[d] = Some(iv);
                    e.vector(list, stores, Vec::new());
                });
            } else {
                sums = self.for_carrying(main, LANES, sums, |e, iv, sums| {
                    e.at[d] = Some(iv);
                    e.vector(list, stores, sums)
                });
            }
        }
        if extent > main {
            self.at[d] = Some(self.b.int(INDEX, main as i64));
            self.lanes = extent - main;
            sums = self.vector(list, stores, sums);
            self.lanes = LANES;
        }
        if self.nest.inner.len() == 1 {
            return sums;
        }
        // The next element belongs to the lane after this pass's last: bring that lane to the
        // front.
        sums.into_iter().map(|sum| self.turn(sum, extent - main)).collect()
    }

    /// One vector's worth of a loop body, in every row of the band: the sums of one row, then another's.
    pub(super) fn vector(
        &mut self,
        list: &[Reduction],
        stores: &[usize],
        sums: Vec<Value>,
    ) -> Vec<Value> {
        let lanes = self.lanes;
        let (mut sums, mut next) = (sums.into_iter(), Vec::new());
        self.each_row(|e| {
            e.known().point.clear();
            for (r, sum) in list.iter().zip(&mut sums) {
                let value = e.value(r.operand);
                let value = e.widen(value, Some(lanes));
                let value = e.lift(r, value);
                let value = e.padded(r, value);
                next.push(e.combine(r.join, sum, value));
            }
            for &s in stores {
                e.value(e.nest.stores[s].expr);
            }
        });
        self.each_row(|e| {
            e.store_all(stores);
            e.known().point.clear();
        });
        next
    }

    /// All 16 lanes, those there are no elements for neutral.
    fn padded(&mut self, r: &Reduction, value: Value) -> Value {
        if value.ty.lanes == Some(LANES) {
            return value;
        }
        let rest = self.splat_lifted(r, r.neutral(), Some(LANES));
        self.b.define(
            rest.ty,
            format_args!(
                "vector.insert_strided_slice {value}, {rest} {{offsets = [0], strides = [1]}} : {} into {}",
                value.ty, rest.ty
            ),
        )
    }

    /// Lanes l and l + 8 joined, then l and l + 4, l + 2, l + 1.
    fn fold_lanes(&mut self, join: Join, mut sum: Value) -> Value {
        let mut width = LANES;
        while width > 1 {
            width /= 2;
            let ty = VecTy::vector(sum.ty.elem, width);
            let halves = [0, width].map(|offset| {
                let slice = format!(
                    "vector.extract_strided_slice {sum} {{offsets = [{offset}], sizes = [{width}], \
                     strides = [1]}} : {} to {ty}",
                    sum.ty
                );
                self.b.define(ty, slice)
            });
            sum = self.combine(join, halves[0], halves[1]);
        }
        let ty = VecTy::scalar(sum.ty.elem);
        self.b.define(ty, format_args!("vector.extract {sum}[0] : {ty} from {}", sum.ty))
    }

    /// Lanes of vectors along the last outer dimension, elements down the inner one.
    fn down(&mut self, list: &[Reduction], stores: &[usize]) {
        let d = self.nest.outer.len();
        let (extent, lanes) = (self.nest.inner[0], Some(self.lanes));
        let width = if list.is_empty() { 1 } else { LANES };
        let mut sums = Vec::new();
        for r in list {
            let start = self.splat_lifted(r, r.start(), lanes);
            sums.extend([start; LANES]);
        }
        let main = extent / width * width;
        if main > 0 {
            sums = self.for_carrying(main, width, sums, |e, iv, sums| {
                e.elements(d, Some(iv), width, list, stores, sums)
            });
        }
        if extent > main {
            let at = self.b.int(INDEX, main as i64);
            sums = self.elements(d, Some(at), extent - main, list, stores, sums);
        }
        for (i, r) in list.iter().enumerate() {
            let mut parts = sums[i * LANES..(i + 1) * LANES].to_vec();
            while parts.len() > 1 {
                let half = parts.len() / 2;
                for l in 0..half {
                    parts[l] = self.combine(r.join, parts[l], parts[l + half]);
                }
                parts.truncate(half);
            }
            let total = self.lower(r, parts[0]);
            self.known().row.insert(r.expr, total);
        }
    }

    /// `count` consecutive elements, each joining the partial result of its lane.
    fn elements(
        &mut self,
        d: usize,
        first: Option<Value>,
        count: usize,
        list: &[Reduction],
        stores: &[usize],
        mut sums: Vec<Value>,
    ) -> Vec<Value> {
        let Some(first) = first else { return sums };
        for lane in 0..count {
            let step = self.b.int(INDEX, lane as i64);
            self.at[d] =
                Some(if lane == 0 { first } else { self.b.binary("arith.addi", first, step) });
            self.known().point.clear();
            for (i, r) in list.iter().enumerate() {
                let value = self.value(r.operand);
                let value = self.widen(value, Some(self.lanes));
                let value = self.lift(r, value);
                let slot = i * LANES + lane;
                sums[slot] = self.combine(r.join, sums[slot], value);
            }
            self.store_all(stores);
        }
        self.known().point.clear();
        sums
    }

    /// Stores without vectors, from dimension `d` on.
    fn one_by_one(&mut self, d: usize, stores: &[usize]) {
        let outer = self.nest.outer.len();
        if d == outer + self.nest.inner.len() {
            return self.store_all(stores);
        }
        let extent = self.nest.inner[d - outer];
        self.for_loop(extent, 1, |e, iv| {
            e.at[d] = Some(iv);
            e.one_by_one(d + 1, stores);
        });
    }
}
