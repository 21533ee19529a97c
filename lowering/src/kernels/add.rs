//! Results that are added to what is at their places: sums of overlapping windows.

use std::collections::BTreeMap;

use super::block::{slot, valid};
use super::driver::{Driver, POINTER};
use super::spread::{Spread, Way};
use super::tabled::entry;
use super::text::{Lanes, Text};
use crate::codegen::Access;

impl Driver<'_> {
    /// `name_block(…, task)`: all of a batch element, rows of tiles one after the other, each tile with
    /// all of k.
    pub fn adding_function(&self, t: &mut Text, shared: &mut BTreeMap<String, String>) {
        let plan = self.plan;
        let (add, lanes) = (self.add_name(), plan.tile.lanes);
        let (rows, columns) = (plan.tile.rows, plan.tile.columns());
        shared.entry(add.clone()).or_insert_with(|| add_tile(&add, columns, lanes));
        t.func(&self.helper("block"), Access::Internal, &self.block_arguments(), |t| {
            let spare = t.alloca(rows * columns);
            let groups = plan.rows();
            let [count, panels] = [groups.count, groups.filled / rows].map(|n| t.i64(n as i64));
            t.loop_to(&count, 1, |t, group| {
                let before = t.bin("muli", group, &panels, "i64");
                t.loop_to(&panels, 1, |t, panel| {
                    let inside = t.i64_op("muli", panel, rows as i64);
                    let height = valid(t, &inside, groups.extent, rows);
                    let row = t.bin("addi", &before, panel, "i64");
                    self.add_row(t, (&row, &height), &spare, &add);
                });
            });
        });
    }

    /// A row of tiles, of which so many rows are valid.
    fn add_row(&self, t: &mut Text, (row, height): (&str, &str), spare: &str, add: &str) {
        let plan = self.plan;
        let columns = plan.tile.columns();
        let top = t.i64_op("muli", row, plan.tile.rows as i64);
        let places = t.at("%places", &top);
        let [across, chunks, stride, zero] =
            [plan.right.panels, plan.chunks(), columns, 0].map(|n| t.i64(n as i64));
        t.loop_to(&across, 1, |t, column| {
            t.loop_to(&chunks, 1, |t, chunk| {
                let depth = self.depth(t, chunk);
                let (b, b_facts) = slot(t, &plan.right, ["%b", "%b_facts"], chunk, column);
                let (a, a_facts) = slot(t, &plan.left, ["%a", "%a_facts"], chunk, row);
                let first = t.def(&format!("arith.cmpi eq, {chunk}, {zero} : i64"));
                let panels = [&[a, a_facts], &[b, b_facts]];
                self.inner(t, panels, [&depth, spare, &stride, &first], [&top, column]);
            });
            let start = t.i64_op("muli", column, columns as i64);
            let width = valid(t, &start, plan.spec.n, columns);
            let table = t.at_const("%places", self.between_tables());
            let along = t.at(&table, &start);
            let values = [spare, "%out", &places, &along, height, &width];
            t.call(add, &values, &ADD_TYPES);
        });
    }

    /// Elements from the table of rows to that of columns.
    fn between_tables(&self) -> i64 {
        let tables = self.plan.places.as_ref();
        tables.map_or(0, |[rows, columns]| columns.offset as i64 - rows.offset as i64)
    }

    fn add_name(&self) -> String {
        let tile = &self.plan.tile;
        format!("pamc_add_{}x{}", tile.vectors, tile.lanes.0)
    }
}

const ADD_TYPES: [&str; 6] = [POINTER, POINTER, POINTER, POINTER, "i64", "i64"];

/// A function that adds a tile row by row to the places that tables give.
fn add_tile(name: &str, columns: usize, lanes: Lanes) -> String {
    let names = ["%tile", "%out", "%rows", "%columns", "%height", "%width"];
    let args: Vec<_> =
        names.iter().zip(ADD_TYPES).map(|(n, ty)| (n.to_string(), ty.to_string())).collect();
    let mut t = Text::default();
    t.func(name, Access::Shared, &args, |t| {
        let full = t.i64(columns as i64);
        let whole = t.def(&format!("arith.cmpi eq, %width, {full} : i64"));
        let width = t.def("arith.trunci %width : i64 to i32");
        let width = t.broadcast(&width, lanes);
        let counts = t.counts(lanes);
        let vectors: Vec<_> = (0..columns)
            .step_by(lanes.0)
            .map(|first| {
                let table = t.at_const("%columns", first as i64);
                let spread = Spread::new(t, &table, lanes).unless(t, &whole);
                let before = t.bits(first as u32, lanes);
                let number = t.ints("addi", &counts, &before, lanes);
                (first, spread, t.cmp("slt", &number, &width, lanes))
            })
            .collect();
        t.loop_to("%height", 1, |t, row| {
            let place = entry(t, "%rows", row);
            let base = t.at("%out", &place);
            let at = t.i64_op("muli", row, columns as i64);
            let tile = t.at("%tile", &at);
            for (first, spread, valid) in &vectors {
                let p = t.at_const(&tile, *first as i64);
                let x = t.load(&p, &lanes.float());
                spread.ways(t, &[], |t, way| {
                    add_vector(t, spread, &base, (&x, lanes), (way, valid));
                    Vec::new()
                });
            }
        });
    });
    t.into_string()
}

fn add_vector(
    t: &mut Text,
    spread: &Spread,
    base: &str,
    (x, lanes): (&str, Lanes),
    (way, valid): (Way, &str),
) {
    let before = spread.load(t, base, way);
    let before = t.as_float(&before, lanes);
    let sum = t.bin("addf", &before, x, &lanes.float());
    let sum = t.def(&format!("arith.bitcast {sum} : {} to {}", lanes.float(), lanes.int()));
    spread.store(t, &sum, base, way, valid);
}
