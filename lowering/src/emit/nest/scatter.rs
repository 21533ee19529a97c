//! Sums into places found in data, as a GPU kernel: a workgroup for each term and some columns. The
//! first term of a place adds up all that go there, in order; the others' workgroups leave.

use pamc_passes::ir::Attrs;
use pamc_passes::ops::Prim;

use super::super::builder::Builder;
use super::super::kernel::{self, Ids, Shape, THREADS, kernel};
use super::super::scalar;
use super::super::types::{Elem, Value, VecTy};
use super::Emitter;
use crate::schedule::nest::{Kind, Nest, Position};

const I32: VecTy = VecTy::scalar(Elem::I32);
/// In workgroup memory: which terms of a run go to the same place, and whether an earlier one does.
const SAME: usize = 0;
const EARLIER: usize = 1;

/// A nest that does nothing but add terms to places.
pub(super) struct Scatter<'n> {
    nest: &'n Nest,
    position: Position,
    /// What is added to.
    old: usize,
    /// The term.
    term: usize,
    /// Dimensions of the columns, with their extents.
    columns: Vec<(usize, usize)>,
    terms: Vec<usize>,
}

impl<'n> Scatter<'n> {
    /// The scatter that an ordered nest is, if its other dimensions never meet.
    pub(super) fn of(nest: &'n Nest, dims: &[usize], apart: &[usize]) -> Option<Scatter<'n>> {
        let [store] = &nest.stores[..] else { return None };
        let position = store.access.dynamic?;
        let Kind::Op(Prim::Add, _, operands) = &nest.exprs[store.expr].kind else { return None };
        let is_old =
            |e: usize| matches!(&nest.exprs[e].kind, Kind::Load(a, _) if *a == store.access);
        let (old, term) = match operands[..] {
            [a, b] if is_old(a) => (a, b),
            [a, b] if is_old(b) => (b, a),
            _ => return None,
        };
        let ordered = nest.ordered.0..nest.ordered.1;
        let only = ordered.clone().fold(0u64, |set, d| set | 1 << d);
        let still = ordered.clone().all(|d| store.access.strides[d] == 0);
        let all = apart.len() + ordered.len() == dims.len();
        if nest.dependence()[position.expr] & !only != 0 || !still || !all {
            return None;
        }
        let columns = apart.iter().map(|&d| (d, dims[d])).collect();
        Some(Scatter { nest, position, old, term, columns, terms: dims[ordered].to_vec() })
    }

    /// Writes the kernel.
    pub(super) fn emit(&self, b: &mut Builder, name: &str) -> Shape {
        let terms: usize = self.terms.iter().product();
        let columns: usize = self.columns.iter().map(|c| c.1).product();
        let groups = terms * columns.div_ceil(THREADS);
        let shared = vec![(I32, THREADS), (I32, 1)];
        let shape = Shape { groups, threads: THREADS, shared, tile: None };
        let types = kernel::types(b.code(), &self.nest.params);
        kernel(b, name, &types, &shape, |b, ids| {
            let mut e = Emitter::threads(b, self.nest);
            self.body(&mut e, ids, &shape, (terms, columns));
        });
        shape
    }

    fn body(&self, e: &mut Emitter, ids: Ids, shape: &Shape, (terms, columns): (usize, usize)) {
        let at = kernel::split(e.b, ids.group, &[terms, columns.div_ceil(THREADS)]);
        let threads = e.index(THREADS);
        let column = e.b.binary("arith.muli", at[1], threads);
        let column = e.b.binary("arith.addi", column, ids.thread);
        let (end, last) = (e.index(columns), e.index(columns - 1));
        let inside = e.b.compare("ult", column, end);
        let column = e.b.binary("arith.minui", column, last);
        let extents: Vec<usize> = self.columns.iter().map(|c| c.1).collect();
        let indices = kernel::split(e.b, column, &extents);
        self.columns.iter().zip(indices).for_each(|(c, index)| e.at[c.0] = Some(index));
        let term = at[0];
        self.go(e, term);
        let place = e.placed(self.position);
        let earlier = self.is_earlier(e, ids, shape, (term, place));
        let none = e.b.int(I32, 0);
        let first = e.b.compare("eq", earlier, none);
        e.region(format!("scf.if {first}"), |e| {
            self.go(e, term);
            let old = e.value(self.old);
            let total = self.collect(e, (ids.thread, shape), (term, terms), (place, old));
            e.region(format!("scf.if {inside}"), |e| {
                self.go(e, term);
                let store = &self.nest.stores[0];
                e.known().point.insert(store.expr, total);
                e.store(0);
            });
        });
    }

    /// Set the indices to those of a term.
    fn go(&self, e: &mut Emitter, term: Value) {
        e.known().point.clear();
        let at = kernel::split(e.b, term, &self.terms);
        (self.nest.ordered.0..).zip(at).for_each(|(d, at)| e.at[d] = Some(at));
    }

    /// Not 0 if a term before this one goes to the same place.
    fn is_earlier(
        &self,
        e: &mut Emitter,
        ids: Ids,
        shape: &Shape,
        (term, place): (Value, Value),
    ) -> Value {
        let (zero, none, one) = (e.index(0), e.b.int(I32, 0), e.b.int(I32, 1));
        let resets = e.b.compare("eq", ids.thread, zero);
        e.region(format!("scf.if {resets}"), |e| {
            kernel::store_shared(e.b, EARLIER, shape, none, zero);
        });
        kernel::barrier(e.b);
        e.for_between(ids.thread, term, THREADS, Vec::new(), |e, other, _| {
            self.go(e, other);
            let there = e.placed(self.position);
            let same = e.b.compare("eq", there, place);
            e.region(format!("scf.if {same}"), |e| {
                kernel::store_shared(e.b, EARLIER, shape, one, zero);
            });
            Vec::new()
        });
        kernel::barrier(e.b);
        kernel::load_shared(e.b, EARLIER, shape, zero)
    }

    /// The sum of all terms from one on that go to its place, and of what was there.
    fn collect(
        &self,
        e: &mut Emitter,
        (thread, shape): (Value, &Shape),
        (term, terms): (Value, usize),
        (place, old): (Value, Value),
    ) -> Value {
        let threads = e.index(THREADS);
        let skipped = e.b.binary("arith.remui", term, threads);
        let first = e.b.binary("arith.subi", term, skipped);
        let end = e.index(terms);
        let total = e.for_between(first, end, THREADS, vec![old], |e, run, total| {
            let own = e.b.binary("arith.addi", run, thread);
            let last = e.index(terms - 1);
            let (inside, after) = (e.b.compare("ult", own, end), e.b.compare("uge", own, term));
            let own = e.b.binary("arith.minui", own, last);
            self.go(e, own);
            let there = e.placed(self.position);
            let same = e.b.compare("eq", there, place);
            let same = e.b.binary("arith.andi", same, inside);
            let same = e.b.binary("arith.andi", same, after);
            let same = e.b.convert("arith.extui", same, Elem::I32);
            kernel::store_shared(e.b, SAME, shape, same, thread);
            kernel::barrier(e.b);
            let total = e.for_carrying(THREADS, 4, total, |e, four, total| {
                let same = kernel::load_shared_four(e.b, SAME, shape, four);
                let same = kernel::elements(e.b, same);
                let any = same.into_iter().reduce(|a, s| e.b.binary("arith.ori", a, s));
                vec![self.when(e, any, total[0], |e, total| {
                    let four = e.b.binary("arith.addi", run, four);
                    (0..4).fold(total, |total, lane| {
                        self.when(e, Some(same[lane]), total, |e, total| {
                            let lane = e.index(lane);
                            let at = e.b.binary("arith.addi", four, lane);
                            self.go(e, at);
                            let term = e.value(self.term);
                            let elem = total.ty.elem;
                            let none = Attrs::none();
                            let sum = scalar::emit(e.b, Prim::Add, &none, &[total, term], elem);
                            sum.unwrap_or(total)
                        })
                    })
                })]
            });
            kernel::barrier(e.b);
            total
        });
        total[0]
    }

    /// A total, changed by `body` if a word is not 0.
    fn when(
        &self,
        e: &mut Emitter,
        word: Option<Value>,
        total: Value,
        body: impl FnOnce(&mut Emitter, Value) -> Value,
    ) -> Value {
        let Some(word) = word else { return total };
        let none = e.b.int(I32, 0);
        let is_set = e.b.compare("ne", word, none);
        // A loop of one round or none: it carries a value as a branch would.
        let (zero, one) = (e.index(0), e.index(1));
        let end = e.b.select(is_set, one, zero);
        e.for_between(zero, end, 1, vec![total], |e, _, total| vec![body(e, total[0])])[0]
    }
}
