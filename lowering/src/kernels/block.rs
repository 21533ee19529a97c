//! Cache blocks and register tiles: the part of a contraction between packing and the inner
//! kernels.

use super::driver::{Driver, POINTER};
use super::micro::Micro;
use super::plan::{Packed, Plan};
use super::select::{choose, load_range, slope_sides};
use super::text::{Lanes, Text, Val};
use crate::codegen::Access;

impl Driver<'_> {
    pub fn block_arguments(&self) -> Vec<(String, String)> {
        let mut names = vec!["%a", "%a_facts", "%b", "%b_facts", "%out"];
        names.extend(self.plan.at.as_ref().map(|_| "%at"));
        names.extend(self.plan.places.as_ref().map(|_| "%places"));
        let mut args: Vec<_> = names.iter().map(|n| (n.to_string(), POINTER.to_string())).collect();
        if self.after.is_some() {
            args.extend(self.later_arguments());
            args.push(("%element".into(), "i64".into()));
        }
        args.push(("%task".into(), "i64".into()));
        args
    }

    pub fn blocks(&self) -> (i64, i64) {
        let (down, across) = self.plan.block;
        let plan = self.plan;
        if plan.places.is_some() {
            return (1, 1);
        }
        (plan.left.panels.div_ceil(down) as i64, plan.right.panels.div_ceil(across) as i64)
    }

    /// `name_block(…, task)`: one cache block of the output, all of k.
    pub fn block_function(&self, t: &mut Text) {
        let plan = self.plan;
        t.func(&self.helper("block"), Access::Internal, &self.block_arguments(), |t| {
            let across = self.blocks().1;
            let block_row = t.i64_op("divui", "%task", across);
            let block_column = t.i64_op("remui", "%task", across);
            let rows = range(t, &block_row, plan.block.0, plan.left.panels);
            let columns = range(t, &block_column, plan.block.1, plan.right.panels);
            let spare = t.alloca(plan.tile.rows * plan.tile.columns());
            let chunks = t.i64(plan.chunks() as i64);
            t.loop_to(&chunks, 1, |t, chunk| {
                let depth = self.depth(t, chunk);
                t.loop_with([&columns[0], &columns[1]], 1, &[], |t, column, _| {
                    let (b, b_facts) = slot(t, &plan.right, ["%b", "%b_facts"], chunk, column);
                    t.loop_with([&rows[0], &rows[1]], 1, &[], |t, row, _| {
                        let (a, a_facts) = slot(t, &plan.left, ["%a", "%a_facts"], chunk, row);
                        let panels = [[a, a_facts], [b.clone(), b_facts.clone()]];
                        self.tile(t, &panels, [chunk, &depth, row, column], &spare);
                        Vec::new()
                    });
                    Vec::new()
                });
            });
            self.finish_block(t, &rows, &columns);
        });
    }

    /// What comes after a block whose sums are complete.
    fn finish_block(&self, t: &mut Text, rows: &[Val; 2], columns: &[Val; 2]) {
        if self.after.is_none() {
            return;
        }
        let (plan, tile) = (self.plan, &self.plan.tile);
        let mut ends = |panels: &[Val; 2], width: usize, extent: usize| {
            let extent = t.i64(extent as i64);
            [&panels[0], &panels[1]].map(|panel| {
                let at = t.i64_op("muli", panel, width as i64);
                t.bin("minsi", &at, &extent, "i64")
            })
        };
        let [top, bottom] = ends(rows, tile.rows, plan.spec.m);
        let [left, right] = ends(columns, tile.columns(), plan.spec.n);
        let buffers: Vec<Val> = self.later_arguments().into_iter().map(|(name, _)| name).collect();
        self.finish(t, &buffers, "%element", [&top, &bottom, &left, &right]);
    }

    /// One tile and chunk. Tiles that do not lie whole and contiguous in the output go through
    /// `spare`.
    fn tile(
        &self,
        t: &mut Text,
        [[a, a_facts], [b, b_facts]]: &[[Val; 2]; 2],
        [chunk, depth, row, column]: [&str; 4],
        spare: &str,
    ) {
        let plan = self.plan;
        let rank = plan.spec.batch.len();
        let (row_stride, column_stride) =
            (plan.spec.out.strides[rank], plan.spec.out.strides[rank + 1]);
        let zero = t.i64(0);
        let first = t.def(&format!("arith.cmpi eq, {chunk}, {zero} : i64"));
        let top = t.i64_op("muli", row, plan.tile.rows as i64);
        let start = t.i64_op("muli", column, plan.tile.columns() as i64);
        let height = valid(t, &top, plan.spec.m, plan.tile.rows);
        let width = valid(t, &start, plan.spec.n, plan.tile.columns());
        let down = t.i64_op("muli", &top, row_stride);
        let along = t.i64_op("muli", &start, column_stride);
        let at = t.bin("addi", &down, &along, "i64");
        let out = t.at("%out", &at);
        let area = t.bin("muli", &height, &width, "i64");
        let whole = t.i64((plan.tile.rows * plan.tile.columns()) as i64);
        let mut inside = t.def(&format!("arith.cmpi eq, {area}, {whole} : i64"));
        if column_stride != 1 {
            let never = t.i64(-1);
            inside = t.def(&format!("arith.cmpi eq, {area}, {never} : i64"));
        }
        let types = [POINTER.to_string(), "i64".to_string()];
        let copy = Copy { out: &out, spare, strides: (row_stride, column_stride), plan };
        let target = t.branch(
            &inside,
            &types,
            |t| vec![out.clone(), t.i64(row_stride)],
            |t| {
                t.branch(&first, &[], |_| Vec::new(), |t| copy.emit(t, &height, &width, false));
                vec![spare.to_string(), t.i64(plan.tile.columns() as i64)]
            },
        );
        self.inner(
            t,
            [&[a.clone(), a_facts.clone()], &[b.clone(), b_facts.clone()]],
            [depth, &target[0], &target[1], &first],
            [&top, column],
        );
        t.branch(&inside, &[], |_| Vec::new(), |t| copy.emit(t, &height, &width, true));
    }

    /// Calls the inner kernel that fits a pair of panels; `to` is depth, target, its row stride and
    /// whether this is the first chunk, `place` the tile's first row and its panel of columns.
    pub fn inner(
        &self,
        t: &mut Text,
        [[a, a_facts], [b, b_facts]]: [&[Val; 2]; 2],
        to: [&str; 4],
        [top, column]: [&str; 2],
    ) {
        let mut args = vec![a.clone(), b.clone()];
        args.extend(to.map(String::from));
        if let Some(at) = &self.plan.at {
            let p = t.i64_op("muli", column, at.slot as i64);
            let q = t.i64_op("muli", top, self.plan.tile.columns() as i64);
            let p = t.bin("addi", &p, &q, "i64");
            args.push(t.at("%at", &p));
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.call_version(t, &args, a_facts, b_facts);
    }

    pub fn call_version(&self, t: &mut Text, args: &[&str], a_facts: &str, b_facts: &str) {
        let versions = self.versions();
        let micros: Vec<Micro> = versions.iter().map(|&v| self.plan.micro(v)).collect();
        if let [only] = micros.as_slice() {
            return t.call(&only.name(), args, &only.types());
        }
        let [left, right] = slope_sides(self.plan.slope_of);
        let left = load_range(t, a_facts, left);
        let right = load_range(t, b_facts, right);
        let choice = choose(t, &left, &right);
        t.switch(&choice, micros.len(), |t, i| {
            let wants = micros[i].version.wants_facts();
            let facts = [a_facts, b_facts].into_iter().filter(|_| wants);
            let all: Vec<&str> = args.iter().copied().chain(facts).collect();
            t.call(&micros[i].name(), &all, &micros[i].types());
        });
    }
}

/// The panels of block `index`.
fn range(t: &mut Text, index: &str, block: usize, panels: usize) -> [Val; 2] {
    let lo = t.i64_op("muli", index, block as i64);
    let hi = t.i64_op("addi", &lo, block as i64);
    let panels = t.i64(panels as i64);
    let hi = t.bin("minsi", &hi, &panels, "i64");
    [lo, hi]
}

pub(super) fn slot(
    t: &mut Text,
    packed: &Packed,
    [base, facts]: [&str; 2],
    chunk: &str,
    panel: &str,
) -> (Val, Val) {
    let index = t.i64_op("muli", chunk, packed.held as i64);
    let place = match packed.held < packed.panels {
        true => t.i64_op("remui", panel, packed.held as i64),
        false => panel.to_string(),
    };
    let index = t.bin("addi", &index, &place, "i64");
    let at = t.i64_op("muli", &index, packed.slot as i64);
    let panel = t.at(base, &at);
    let at = t.i64_op("muli", &index, packed.pack.facts() as i64);
    (panel, t.at(facts, &at))
}

pub(super) fn valid(t: &mut Text, start: &str, extent: usize, tile: usize) -> Val {
    let extent = t.i64(extent as i64);
    let left = t.bin("subi", &extent, start, "i64");
    let tile = t.i64(tile as i64);
    t.bin("minsi", &left, &tile, "i64")
}

/// Moves the valid part of a tile between the output and contiguous memory.
struct Copy<'a> {
    out: &'a str,
    spare: &'a str,
    strides: (i64, i64),
    plan: &'a Plan,
}

impl Copy<'_> {
    fn emit(&self, t: &mut Text, height: &str, width: &str, to_out: bool) -> Vec<Val> {
        let float = Lanes(1).float();
        t.loop_to(height, 1, |t, row| {
            t.loop_to(width, 1, |t, column| {
                let down = t.i64_op("muli", row, self.strides.0);
                let along = t.i64_op("muli", column, self.strides.1);
                let at = t.bin("addi", &down, &along, "i64");
                let out = t.at(self.out, &at);
                let down = t.i64_op("muli", row, self.plan.tile.columns() as i64);
                let at = t.bin("addi", &down, column, "i64");
                let spare = t.at(self.spare, &at);
                let (from, to) = if to_out { (spare, out) } else { (out, spare) };
                let x = t.load(&from, &float);
                t.store(&x, &to, &float);
            });
        });
        Vec::new()
    }
}
