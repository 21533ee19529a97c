//! Sums on their way from registers to the output.

use super::super::builder::Builder;
use super::super::float;
use super::super::nest::INDEX;
use super::super::types::Value;
use super::fetch;
use super::loops::{elements, index, pack};
use super::tile::{CELL, Fetch};
use super::tiled::{Place, Tiled};

impl Tiled<'_> {
    /// Add a chunk's sums to the output, which before the first chunk counts as +0.
    pub(super) fn flush(
        &self,
        b: &mut Builder,
        place: &Place,
        sums: &[Value],
        is_first: Option<Value>,
    ) {
        for i in 0..CELL {
            let row = self.position(b, place, 0, i);
            let is_row = inside(b, row, self.spec.m, self.tile.rows);
            when(b, is_row, |b| {
                for group in 0..CELL / 4 {
                    let column = self.position(b, place, 1, 4 * group);
                    let sums = &sums[CELL * i + 4 * group..][..4];
                    self.flush_four(b, place, (row, column), sums, is_first);
                }
            });
        }
    }

    /// A row or column of the output: threads take four neighbours in each half of a tile.
    pub(super) fn position(&self, b: &mut Builder, place: &Place, s: usize, i: usize) -> Value {
        let width = self.width(s);
        let four = index(b, 4);
        let offset = index(b, i / 4 * (width / 2) + i % 4);
        let own = b.binary("arith.muli", place.cell[s], four);
        let own = b.binary("arith.addi", own, offset);
        b.binary("arith.addi", place.first[s], own)
    }

    fn flush_four(
        &self,
        b: &mut Builder,
        place: &Place,
        (row, column): (Value, Value),
        sums: &[Value],
        is_first: Option<Value>,
    ) {
        let rank = self.spec.batch.len();
        let [down, across] = [rank, rank + 1].map(|d| b.int(INDEX, self.spec.out.strides[d]));
        let start = b.binary("arith.muli", row, down);
        let start = b.binary("arith.addi", place.base[2], start);
        let at = |b: &mut Builder, column: Value| {
            let moved = b.binary("arith.muli", column, across);
            b.binary("arith.addi", start, moved)
        };
        let out = &self.out;
        if out.fetch == Fetch::Wide {
            let is_column = inside(b, column, self.spec.n, self.tile.columns);
            return when(b, is_column, |b| {
                let (four, place) = (index(b, 4), at(b, column));
                let place = b.binary("arith.divui", place, four);
                let old = is_first.map(|first| (first, fetch::load_four(b, out, place)));
                let zero = float::zero(b);
                let old = match old {
                    None => [zero; 4],
                    Some((first, vector)) => {
                        elements(b, vector).map(|old| b.select(first, zero, old))
                    }
                };
                let new = [0, 1, 2, 3].map(|l| float::add(b, old[l], sums[l]));
                let new = pack(b, new);
                fetch::store_four(b, out, new, place);
            });
        }
        for (l, &sum) in sums.iter().enumerate() {
            let lane = index(b, l);
            let column = b.binary("arith.addi", column, lane);
            let is_column = inside(b, column, self.spec.n, self.tile.columns);
            when(b, is_column, |b| {
                let place = at(b, column);
                let zero = float::zero(b);
                let old = match is_first {
                    None => zero,
                    Some(first) => {
                        let old = fetch::load_one(b, out, place);
                        b.select(first, zero, old)
                    }
                };
                let new = float::add(b, old, sum);
                fetch::store_one(b, out, new, place);
            });
        }
    }
}

/// Whether an index is inside an extent; `None` if tiles cover it exactly.
fn inside(b: &mut Builder, at: Value, extent: usize, tile: usize) -> Option<Value> {
    (!extent.is_multiple_of(tile)).then(|| {
        let end = index(b, extent);
        b.compare("ult", at, end)
    })
}

/// Something to be done under a condition, if there is one.
fn when(b: &mut Builder, condition: Option<Value>, body: impl FnOnce(&mut Builder)) {
    match condition {
        None => body(b),
        Some(condition) => b.region(format!("scf.if {condition}"), body),
    }
}
