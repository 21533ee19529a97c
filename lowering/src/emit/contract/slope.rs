//! Exact slopes in tiles: what one operand's elements become before they are factors.

use super::super::builder::Builder;
use super::super::nest::INDEX;
use super::super::pam;
use super::super::types::Value;
use super::fetch;
use super::loops::{bits, elements, index};
use super::tile::{CELL, Fetch, Side};
use super::tiled::{I32, Place, Tiled};
use super::window;

const FRACTION: i64 = 0x007F_FFFF;

/// Where the slopes of a contraction are taken, and of which factor.
pub(super) struct Slope {
    /// The operand that is seen at its slope: 0 if it gives the rows, 1 if the columns.
    pub of: usize,
    /// An element for each sum.
    pub at: Side,
}

impl Tiled<'_> {
    /// The fractions of what the slopes of this thread's sums are taken at.
    pub(super) fn fractions(
        &self,
        b: &mut Builder,
        place: &Place,
        slope: &Slope,
        base: Value,
    ) -> Vec<Value> {
        let side = &slope.at;
        // Outside the output any element there is will do.
        let last = [self.spec.m, self.spec.n].map(|extent| extent - 1);
        let mut out = Vec::with_capacity(CELL * CELL);
        for i in 0..CELL {
            let row = self.position(b, place, 0, i);
            let row = at_most(b, row, last[0], self.tile.rows);
            for group in 0..CELL / 4 {
                let column = self.position(b, place, 1, 4 * group);
                if side.fetch == Fetch::Wide {
                    let column = at_most(b, column, last[1] - 3, self.tile.columns);
                    let (four, at) = (index(b, 4), self.element(b, side, base, [row, column]).0);
                    let at = b.binary("arith.divui", at, four);
                    let vector = fetch::load_four(b, side, at);
                    let vector = bits(b, vector);
                    out.extend(elements(b, vector));
                    continue;
                }
                for lane in 0..4 {
                    let lane = index(b, lane);
                    let column = b.binary("arith.addi", column, lane);
                    let column = at_most(b, column, last[1], self.tile.columns);
                    let (at, inside) = self.element(b, side, base, [row, column]);
                    let value = fetch::load_one(b, side, at);
                    // An image may be as somebody else has filled it.
                    let value = if side.windows.is_some() { pam::flush(b, value) } else { value };
                    let bits = bits(b, value);
                    let none = b.int(I32, 0);
                    out.push(inside.map_or(bits, |inside| b.select(inside, bits, none)));
                }
            }
        }
        let mask = b.int(I32, FRACTION);
        out.into_iter().map(|bits| b.binary("arith.andi", bits, mask)).collect()
    }

    /// The address of an element in a row and column, and whether it is there at all.
    fn element(
        &self,
        b: &mut Builder,
        side: &Side,
        base: Value,
        [row, column]: [Value; 2],
    ) -> (Value, Option<Value>) {
        if let Some(windows) = &side.windows {
            return window::locate(b, windows, base, [row, column]);
        }
        let rank = self.spec.batch.len();
        let [down, across] = [rank, rank + 1].map(|d| b.int(INDEX, side.operand.strides[d]));
        let down = b.binary("arith.muli", row, down);
        let across = b.binary("arith.muli", column, across);
        let at = b.binary("arith.addi", base, down);
        (b.binary("arith.addi", at, across), None)
    }

    /// The bits that an element of operand `s` has as a factor of the thread's sum number `cell`: its own,
    /// or those of the power of two that is the slope. Adding the fractions carries into the exponent
    /// where they reach 1; the bias, or half of it, may have been subtracted already.
    pub(super) fn factor(
        &self,
        b: &mut Builder,
        place: &Place,
        (s, bits): (usize, Value),
        cell: usize,
    ) -> Value {
        match &self.slope {
            Some(slope) if slope.of == s => {
                let sum = b.binary("arith.addi", bits, place.fractions[cell]);
                let mask = b.int(I32, !FRACTION);
                b.binary("arith.andi", sum, mask)
            }
            _ => bits,
        }
    }
}

/// An index that tiles may have led beyond the last one.
fn at_most(b: &mut Builder, at: Value, last: usize, tile: usize) -> Value {
    if (last + 1).is_multiple_of(tile) {
        return at;
    }
    let last = index(b, last);
    b.binary("arith.minui", at, last)
}
