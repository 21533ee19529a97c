//! Packing of what has no strides, such as the windows of an image: tables say where it lies.
//!
//! Tables hold `i32`s, the elements from the matrix's first to each row, column or term. Behind the
//! last row or column they repeat it, so that a panel is always full: what stands there twice changes
//! no fact of the panel.

use super::pack::{Pack, Unit, joined};
use super::spread::Spread;
use super::text::{Lanes, Text, Val};

const ONE: Lanes = Lanes(1);

impl Pack {
    /// The body of a packing function with tables.
    pub(super) fn tabled_body(&self, t: &mut Text) {
        let facts = match self.unit {
            Unit::Depth => self.blocks(t),
            _ => self.columns(t),
        };
        self.note(t, &facts);
    }

    fn carried(facts: Vec<Val>, lanes: Lanes) -> Vec<(Val, String)> {
        facts.into_iter().map(|f| (f, lanes.int())).collect()
    }

    /// Vectors along the width, each down all of the depth.
    fn columns(&self, t: &mut Text) -> Vec<Val> {
        let vector = Lanes(self.lanes.0.min(self.width));
        let zero = t.i64(0);
        let mut facts = Self::neutral(t, vector);
        for first in (0..self.width).step_by(vector.0) {
            let table = t.at_const("%across", first as i64);
            let spread = Spread::new(t, &table, vector);
            let before = Self::carried(facts, vector);
            facts = spread.ways(t, &vec![vector.int(); 3], |t, way| {
                t.loop_with([&zero, "%depth"], 1, &before, |t, k, mut facts| {
                    let base = down(t, k);
                    let x = spread.load(t, &base, way);
                    let y = self.element(t, &x, &mut facts, vector);
                    let at = t.i64_op("muli", k, self.width as i64);
                    let row = t.at("%panel", &at);
                    let to = t.at_const(&row, first as i64);
                    t.store(&y, &to, &vector.int());
                    facts
                })
            });
        }
        joined(t, &facts, vector)
    }

    /// Blocks of as many terms as a vector has lanes, then the terms left over.
    fn blocks(&self, t: &mut Text) -> Vec<Val> {
        let lanes = self.lanes;
        let zero = t.i64(0);
        let count = t.i64_op("divui", "%depth", lanes.0 as i64);
        let done = t.i64_op("muli", &count, lanes.0 as i64);
        let before = Self::carried(Self::neutral(t, lanes), lanes);
        let facts = t.loop_with([&zero, &done], lanes.0 as i64, &before, |t, k, facts| {
            let table = t.at("%down", k);
            let spread = Spread::new(t, &table, lanes);
            let at = t.i64_op("muli", k, self.width as i64);
            let to = t.at("%panel", &at);
            self.transpose(t, &to, facts, |t, rows| {
                let bases: Vec<Val> = rows.map(|row| across(t, row)).collect();
                spread.ways(t, &vec![lanes.int(); bases.len()], |t, way| {
                    bases.iter().map(|base| spread.load(t, base, way)).collect()
                })
            })
        });
        let facts = Self::carried(joined(t, &facts, lanes), ONE);
        let width = t.i64(self.width as i64);
        t.loop_with([&done, "%depth"], 1, &facts, |t, k, facts| {
            let base = down(t, k);
            let at = t.i64_op("muli", k, self.width as i64);
            let to = t.at("%panel", &at);
            t.loop_with([&zero, &width], 1, &Self::carried(facts, ONE), |t, w, mut facts| {
                let place = entry(t, "%across", w);
                let p = t.at(&base, &place);
                let x = t.load(&p, "i32");
                let y = self.element(t, &x, &mut facts, ONE);
                let p = t.at(&to, w);
                t.store(&y, &p, "i32");
                facts
            })
        })
    }
}

/// An entry of a table.
pub(super) fn entry(t: &mut Text, table: &str, index: &str) -> Val {
    let p = t.at(table, index);
    let place = t.load(&p, "i32");
    t.def(&format!("arith.extsi {place} : i32 to i64"))
}

/// The source from a term on.
fn down(t: &mut Text, term: &str) -> Val {
    let place = entry(t, "%down", term);
    t.at("%src", &place)
}

/// The source from a row on.
fn across(t: &mut Text, row: usize) -> Val {
    let row = t.i64(row as i64);
    let place = entry(t, "%across", &row);
    t.at("%src", &place)
}
