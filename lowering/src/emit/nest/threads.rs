//! Loop nests as GPU kernels: a thread for each point, or 16 for each row that is reduced, which
//! are the lanes that the numeric contract sums in. Where rows are few and long, a workgroup computes
//! the elements of a row, a run at a time, for 16 of its threads to sum.

use super::super::builder::Builder;
use super::super::kernel::{self, Ids, Shape, kernel};
use super::super::types::{Elem, Value, VecTy};
use super::plan::Pass;
use super::reduce::Reduction;
use super::scatter::Scatter;
use super::{Emitter, INDEX, LANES, Mode};
use crate::schedule::nest::{Expr, Kind, Nest};

/// Rows of a workgroup.
const ROWS: usize = 16;
/// Elements of a row that a workgroup computes at a time, from how many on, and for how many rows and
/// reductions at most.
const RUN: usize = 1024;
const LONG: usize = 2048;
const FEW: usize = 1024;
const REDUCTIONS: usize = 4;

/// Writes the GPU kernel `@name` of a nest, its parameters those of the nest.
pub(crate) fn emit(b: &mut Builder, name: &str, nest: &Nest) -> Shape {
    if nest.reduces() {
        return reducing(b, name, &nest.clone().with_inner());
    }
    match nest.ordered.0 < nest.ordered.1 {
        true => ordered(b, name, nest),
        false => points(b, name, nest),
    }
}

/// A thread for each point.
fn points(b: &mut Builder, name: &str, nest: &Nest) -> Shape {
    // A sum of nothing has left no reduction, but its row is there.
    let inner = nest.inner.iter().map(|&extent| extent.max(1));
    let dims: Vec<usize> = nest.outer.iter().copied().chain(inner).collect();
    let items = dims.iter().product();
    let shape = Shape::new(items, 1);
    let types = kernel::types(b.code(), &nest.params);
    kernel(b, name, &types, &shape, |b, ids| {
        ids.each(b, items, |b, flat| {
            let at = kernel::split(b, flat, &dims);
            let mut e = Emitter::threads(b, nest);
            e.at = at.into_iter().map(Some).collect();
            e.store_all(&(0..nest.stores.len()).collect::<Vec<_>>());
        });
    });
    shape
}

/// A thread for each point of the dimensions that need no order, loops over the others.
fn ordered(b: &mut Builder, name: &str, nest: &Nest) -> Shape {
    let dims = [&nest.outer[..], &nest.inner].concat();
    let apart = trailing_apart(nest, &dims);
    let shared: Vec<usize> =
        (0..dims.len()).filter(|&d| d < nest.ordered.0 || (apart && d >= nest.ordered.1)).collect();
    if let Some(scatter) = Scatter::of(nest, &dims, &shared) {
        return scatter.emit(b, name);
    }
    let extents: Vec<usize> = shared.iter().map(|&d| dims[d]).collect();
    let items = extents.iter().product();
    let shape = Shape::new(items, 1);
    let types = kernel::types(b.code(), &nest.params);
    kernel(b, name, &types, &shape, |b, ids| {
        ids.each(b, items, |b, flat| {
            let at = kernel::split(b, flat, &extents);
            let mut e = Emitter::threads(b, nest);
            shared.iter().zip(at).for_each(|(&d, at)| e.at[d] = Some(at));
            let loops: Vec<usize> = (0..dims.len()).filter(|d| !shared.contains(d)).collect();
            e.in_order(&dims, &loops);
        });
    });
    shape
}

/// True if points that differ in a dimension after the ordered ones never write the same element: what
/// those dimensions span fits between any two places that the ordered ones reach.
fn trailing_apart(nest: &Nest, dims: &[usize]) -> bool {
    nest.stores.iter().all(|store| {
        let strides = &store.access.strides;
        let moves = (nest.ordered.0..nest.ordered.1).map(|d| strides[d]);
        let moves = moves.chain(store.access.dynamic.map(|p| p.stride)).filter(|&s| s != 0);
        let step = moves.map(i64::abs).min().unwrap_or(i64::MAX);
        let mut trailing: Vec<(i64, usize)> =
            (nest.ordered.1..dims.len()).map(|d| (strides[d].abs(), dims[d])).collect();
        trailing.sort_unstable();
        let mut span = 1;
        for (stride, extent) in trailing.into_iter().filter(|(_, n)| *n > 1) {
            if stride < span {
                return false;
            }
            span = stride.saturating_mul(extent as i64);
        }
        let moves = (nest.ordered.0..nest.ordered.1).map(|d| strides[d]);
        let even = moves.chain(store.access.dynamic.map(|p| p.stride)).all(|s| s % step == 0);
        span <= step && even
    })
}

/// Sixteen threads for each row.
fn reducing(b: &mut Builder, name: &str, nest: &Nest) -> Shape {
    let rows: usize = nest.outer.iter().product();
    let reductions = nest.exprs.iter().filter(|e| matches!(e.kind, Kind::Reduce(..)));
    let in_rows = Emitter::new(b, nest, false).choose_mode() == Mode::Rows;
    let long = rows <= FEW && nest.inner.iter().product::<usize>() >= LONG;
    if in_rows && long && reductions.count() <= REDUCTIONS {
        return long_rows(b, name, nest, rows);
    }
    let together = ROWS.min(rows.max(1).next_power_of_two());
    let mut shape = Shape {
        groups: rows.div_ceil(together).max(1),
        threads: LANES * together,
        shared: Vec::new(),
        tile: None,
    };
    for expr in nest.exprs.iter().filter(|e| matches!(e.kind, Kind::Reduce(..))) {
        let array = (kernel::kept(Elem::from(expr.dtype)), shape.threads);
        if !shape.shared.contains(&array) {
            shape.shared.push(array);
        }
    }
    let types = kernel::types(b.code(), &nest.params);
    kernel(b, name, &types, &shape, |b, ids| {
        let mut e = Emitter::threads(b, nest);
        let team = Team::new(&mut e, ids, &shape, rows, together);
        e.team(&team, Emitter::pass_of_team);
    });
    shape
}

/// A workgroup for each row.
fn long_rows(b: &mut Builder, name: &str, nest: &Nest, rows: usize) -> Shape {
    let reductions = nest.exprs.iter().filter(|e| matches!(e.kind, Kind::Reduce(..)));
    let array = |e: &Expr| (kernel::kept(Elem::from(e.dtype)), RUN);
    let shared = reductions.map(array).collect();
    let shape = Shape { groups: rows, threads: kernel::THREADS, shared, tile: None };
    let types = kernel::types(b.code(), &nest.params);
    kernel(b, name, &types, &shape, |b, ids| {
        let mut e = Emitter::threads(b, nest);
        let (lane, base) = (ids.thread, e.index(0));
        let team =
            Team { shape: &shape, lane, base, step: 1, own: lane, row: ids.group, active: None };
        e.team(&team, Emitter::pass_of_workgroup);
    });
    shape
}

/// Which row a thread works on and as which of its lanes.
struct Team<'a> {
    shape: &'a Shape,
    lane: Value,
    /// Place of the row's lane 0 in workgroup memory, and steps from lane to lane.
    base: Value,
    step: usize,
    /// The thread's own place there.
    own: Value,
    row: Value,
    /// False for threads beyond the last row, which redo the last one without writing.
    active: Option<Value>,
}

impl<'a> Team<'a> {
    fn new(e: &mut Emitter, ids: Ids, shape: &'a Shape, rows: usize, together: usize) -> Self {
        // Neighbouring threads take neighbouring elements of memory: of a row, or of a column.
        let across = e.choose_mode() == Mode::Columns;
        let width = e.index(if across { together } else { LANES });
        let low = e.b.binary("arith.remui", ids.thread, width);
        let high = e.b.binary("arith.divui", ids.thread, width);
        let (lane, place) = if across { (high, low) } else { (low, high) };
        let count = e.index(together);
        let first = e.b.binary("arith.muli", ids.group, count);
        let mut row = e.b.binary("arith.addi", first, place);
        let mut active = None;
        if !rows.is_multiple_of(together) || shape.grid()[1] > 1 {
            let end = e.index(rows);
            let inside = e.b.compare("ult", row, end);
            let last = e.index(rows.saturating_sub(1));
            row = e.b.select(inside, row, last);
            active = Some(inside);
        }
        let lanes = e.index(LANES);
        let (base, step) = match across {
            true => (place, together),
            false => (e.b.binary("arith.muli", place, lanes), 1),
        };
        Team { shape, lane, base, step, own: ids.thread, row, active }
    }
}

impl<'a> Emitter<'a> {
    /// For one thread: no vectors.
    pub(super) fn threads(b: &'a mut Builder, nest: &'a Nest) -> Self {
        let mut e = Emitter::new(b, nest, false);
        e.mode = Mode::Scalar;
        e
    }

    /// Nested loops over dimensions, then every store.
    fn in_order(&mut self, dims: &[usize], loops: &[usize]) {
        let Some((&d, rest)) = loops.split_first() else {
            self.known().point.clear();
            return self.store_all(&(0..self.nest.stores.len()).collect::<Vec<_>>());
        };
        self.for_loop(dims[d], 1, |e, iv| {
            e.at[d] = Some(iv);
            e.in_order(dims, rest);
        });
    }

    /// All of a row: each level of reductions, then what is left.
    fn team(&mut self, team: &Team, pass_of: fn(&mut Self, &Team, &Pass)) {
        let at = kernel::split(self.b, team.row, &self.nest.outer);
        at.into_iter().enumerate().for_each(|(d, at)| self.at[d] = Some(at));
        for pass in self.passes.clone() {
            pass_of(self, team, &pass);
        }
        let rest = self.row_stores();
        if rest.is_empty() {
            return;
        }
        let zero = self.index(0);
        let mut mine = self.b.compare("eq", team.lane, zero);
        if let Some(active) = team.active {
            mine = self.b.binary("arith.andi", mine, active);
        }
        self.region(format!("scf.if {mine}"), |e| e.store_all(&rest));
    }

    /// One loop over a row's elements, every 16th of them for each thread.
    fn pass_of_team(&mut self, team: &Team, pass: &Pass) {
        let (reductions, stores) = (&pass.reductions, &pass.stores);
        if reductions.is_empty() && stores.is_empty() {
            return;
        }
        let list: Vec<Reduction> = reductions.iter().map(|&e| self.reduction(e)).collect();
        self.prepare(&pass.roots(self.nest));
        let inner = self.nest.inner.clone();
        let start = list.iter().map(|r| self.splat(r, r.start(), None)).collect();
        let end = self.index(inner.iter().product());
        let sums = self.for_between(team.lane, end, LANES, start, |e, iv, sums| {
            let at = kernel::split(e.b, iv, &inner);
            let first = e.nest.outer.len();
            at.into_iter().enumerate().for_each(|(d, at)| e.at[first + d] = Some(at));
            e.known().point.clear();
            let next = list.iter().zip(sums).map(|(r, sum)| {
                let value = e.value(r.operand);
                e.combine(r.join, sum, value)
            });
            let next = next.collect();
            match team.active {
                _ if stores.is_empty() => {}
                Some(active) => {
                    e.region(format!("scf.if {active}"), |e| e.store_all(stores));
                }
                None => e.store_all(stores),
            }
            next
        });
        for (r, sum) in list.iter().zip(sums) {
            let total = self.join_lanes(team, r, sum);
            self.known().row.insert(r.expr, total);
        }
    }

    /// One loop over a row's elements, a run of them at a time: all threads compute, the first 16 sum.
    fn pass_of_workgroup(&mut self, team: &Team, pass: &Pass) {
        let (reductions, stores) = (&pass.reductions, &pass.stores);
        if reductions.is_empty() && stores.is_empty() {
            return;
        }
        let list: Vec<Reduction> = reductions.iter().map(|&e| self.reduction(e)).collect();
        let all = self.nest.exprs.iter().enumerate();
        let all = all.filter(|(_, e)| matches!(e.kind, Kind::Reduce(..))).map(|(i, _)| i);
        let all: Vec<usize> = all.collect();
        let arrays = reductions.iter().map(|r| all.iter().position(|a| a == r).unwrap_or(0));
        let arrays: Vec<usize> = arrays.collect();
        self.prepare(&pass.roots(self.nest));
        let count = self.nest.inner.iter().product();
        let lanes = self.index(LANES);
        let sums = self.b.compare("ult", team.lane, lanes);
        let start = list.iter().map(|r| self.splat(r, r.start(), None)).collect();
        let totals = self.for_carrying(count, RUN, start, |e, run, totals| {
            e.for_carrying(RUN, team.shape.threads, Vec::new(), |e, first, _| {
                let place = e.b.binary("arith.addi", first, team.lane);
                e.element(team, (run, place), (&list, &arrays), stores);
                Vec::new()
            });
            kernel::barrier(e.b);
            let (end, run_length, none) = (e.index(count), e.index(RUN), e.index(0));
            let left = e.b.binary("arith.subi", end, run);
            let left = e.b.binary("arith.minui", left, run_length);
            let end = e.b.select(sums, left, none);
            let totals = e.for_between(team.lane, end, LANES, totals, |e, at, totals| {
                let parts = list.iter().zip(&arrays).zip(totals);
                let join = |((r, &array), total): ((&Reduction, &usize), Value)| {
                    let value = kernel::load_shared(e.b, array, team.shape, at);
                    e.combine(r.join, total, value)
                };
                parts.map(join).collect()
            });
            kernel::barrier(e.b);
            totals
        });
        for (r, total) in list.iter().zip(totals) {
            let total = self.join_lanes(team, r, total);
            self.known().row.insert(r.expr, total);
        }
    }

    /// What the reductions take of one element of a row, if it is there, left in workgroup memory; its
    /// stores.
    fn element(
        &mut self,
        team: &Team,
        (run, place): (Value, Value),
        (list, arrays): (&[Reduction], &[usize]),
        stores: &[usize],
    ) {
        let inner = self.nest.inner.clone();
        let at = self.b.binary("arith.addi", run, place);
        let end = self.index(inner.iter().product());
        let inside = self.b.compare("ult", at, end);
        self.region(format!("scf.if {inside}"), |e| {
            let first = e.nest.outer.len();
            let at = kernel::split(e.b, at, &inner);
            at.into_iter().enumerate().for_each(|(d, at)| e.at[first + d] = Some(at));
            for (r, &array) in list.iter().zip(arrays) {
                let value = e.value(r.operand);
                kernel::store_shared(e.b, array, team.shape, value, place);
            }
            e.store_all(stores);
        });
    }

    /// Every thread of a row joins the partial results of all its lanes: l and l + 8, then l and l + 4,
    /// l + 2, l + 1.
    fn join_lanes(&mut self, team: &Team, r: &Reduction, sum: Value) -> Value {
        let ty: VecTy = kernel::kept(sum.ty.elem);
        let array = team.shape.shared.iter().position(|(t, _)| *t == ty).unwrap_or(0);
        kernel::store_shared(self.b, array, team.shape, sum, team.own);
        kernel::barrier(self.b);
        let mut parts: Vec<Value> = (0..LANES)
            .map(|l| {
                let step = self.index(l * team.step);
                let at = self.b.binary("arith.addi", team.base, step);
                kernel::load_shared(self.b, array, team.shape, at)
            })
            .collect();
        kernel::barrier(self.b);
        while parts.len() > 1 {
            let half = parts.len() / 2;
            for l in 0..half {
                parts[l] = self.combine(r.join, parts[l], parts[l + half]);
            }
            parts.truncate(half);
        }
        debug_assert_eq!(INDEX, team.own.ty);
        parts[0]
    }
}
