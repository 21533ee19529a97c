//! Inner kernels that read a matrix where it lies, for products with few rows: packing would cost more
//! than it saves where an element is used only so often.
//!
//! A kernel assumes the best of the matrix, looks at each element on the way, and keeps its sums if what
//! it has seen chooses the version that it assumed; if not, its caller computes them from packed
//! panels. Panel `a` is packed, biased, with the zeros' masks behind it if the version wants them.

use super::micro::{Micro, Version};
use super::operands::Row;
use super::pack::{Unit, interleave};
use super::product::{BIAS, INF, MAGNITUDE, MIN_NORMAL};
use super::select::{choose, load_range};
use super::text::{Lanes, Text, Val};
use super::{CHUNK, Tile};
use crate::codegen::Access;

/// The versions in PAM, in the order in which [`choose`] numbers them.
pub(super) const VERSIONS: [Version; 2] = [Version::Fast, Version::Masked { a: true, b: false }];

/// What the reduced facts start from: largest and smallest magnitude.
const NEUTRAL: [u32; 2] = [0, MAGNITUDE];
const REDUCE: [&str; 2] = ["maxui", "minui"];

/// An inner kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Straight {
    /// Its version, columns and lanes, and the rows of the panel.
    pub micro: Micro,
    /// Rows that it computes.
    pub rows: usize,
    /// Whether neighbours in the matrix are columns or terms.
    pub unit: Unit,
    /// Elements from one of the others to the next.
    pub stride: i64,
}

impl Straight {
    pub fn name(&self) -> String {
        let unit = if self.unit == Unit::Width { "rows" } else { "transposed" };
        let rows = self.rows;
        format!("{}_of_{rows}_straight_{unit}_by_{}", self.micro.name(), self.stride)
    }

    /// Whether the matrix may turn out to be another than was assumed.
    pub fn looks(&self) -> bool {
        self.micro.version != Version::Fused
    }

    /// Parameters: panel a, matrix, terms, sums so far, elements from one row of them to the next; then the
    /// facts of the panel, and where to write 0 if the sums could not be added.
    pub fn parameters(&self) -> Vec<(&'static str, &'static str)> {
        let pointer = "!llvm.ptr";
        let mut list = vec![
            ("%a", pointer),
            ("%b", pointer),
            ("%k", "i64"),
            ("%out", pointer),
            ("%ld", "i64"),
        ];
        if self.looks() {
            list.extend([("%a_facts", pointer), ("%kept", pointer)]);
        }
        list
    }

    /// Writes the kernel as a function.
    pub fn emit(&self) -> String {
        let args: Vec<_> =
            self.parameters().into_iter().map(|(n, ty)| (n.into(), ty.into())).collect();
        let mut t = Text::default();
        t.func(&self.name(), Access::Shared, &args, |t| self.body(t));
        t.into_string()
    }

    fn body(&self, t: &mut Text) {
        let lanes = self.micro.tile.lanes;
        let mut carried = self.micro.starts(t, self.rows);
        if self.looks() {
            carried.extend(NEUTRAL.map(|v| (t.bits(v, lanes), lanes.int())));
        }
        let mut sums = match self.unit {
            Unit::Width => self.down_rows(t, &carried),
            _ => self.down_columns(t, carried),
        };
        let seen = sums.split_off(self.rows * self.micro.tile.vectors);
        if !self.looks() {
            return self.add(t, &sums);
        }
        let facts = t.alloca(4);
        let seen: Vec<Val> = REDUCE
            .into_iter()
            .zip(&seen)
            .map(|(op, v)| {
                t.def(&format!("vector.reduction <{op}>, {v} : {} into i32", lanes.int()))
            })
            .collect();
        for (i, fact) in facts_of(t, [&seen[0], &seen[1]]).iter().enumerate() {
            let p = t.at_const(&facts, i as i64);
            t.store(fact, &p, "i32");
        }
        let ranges = ["%a_facts", &facts].map(|facts| load_range(t, facts, false));
        let choice = choose(t, &ranges[0], &ranges[1]);
        let versions = t.i64(VERSIONS.len() as i64);
        let keeps = t.def(&format!("arith.cmpi ult, {choice}, {versions} : i64"));
        t.branch(
            &keeps,
            &[],
            |t| {
                self.add(t, &sums);
                Vec::new()
            },
            |t| {
                let no = t.bits(0, Lanes(1));
                t.store(&no, "%kept", "i32");
                Vec::new()
            },
        );
    }

    /// Rows of the matrix one after the other, each a run of columns.
    fn down_rows(&self, t: &mut Text, carried: &[(Val, String)]) -> Vec<Val> {
        let Tile { rows, vectors, lanes } = self.micro.tile;
        let zero = t.i64(0);
        t.loop_with([&zero, "%k"], 1, carried, |t, k, mut state| {
            let at = t.i64_op("muli", k, rows as i64);
            let a = t.at("%a", &at);
            let at = t.i64_op("muli", k, self.stride);
            let b = t.at("%b", &at);
            let load = |t: &mut Text, v: usize| {
                let p = t.at_const(&b, (v * lanes.0) as i64);
                t.load(&p, &lanes.int())
            };
            // Whichever is fewer stays in registers.
            if self.rows <= 2 {
                let left = self.left(t, &a);
                for v in 0..vectors {
                    let x = load(t, v);
                    self.column(t, &x, v, &left, &mut state);
                }
                return state;
            }
            let right: Vec<Val> = (0..vectors).map(|v| load(t, v)).collect();
            for x in &right {
                self.look(t, x, &mut state);
            }
            for row in 0..self.rows {
                let left = self.micro.row(t, &a, row);
                for (v, x) in right.iter().enumerate() {
                    self.accumulate(t, (row, &left), (v, x), &mut state);
                }
            }
            state
        })
    }

    /// Columns of the matrix side by side, each a run of terms: blocks of as many terms as a vector has
    /// lanes, transposed in registers, then the terms left over.
    fn down_columns(&self, t: &mut Text, carried: Vec<(Val, String)>) -> Vec<Val> {
        let Tile { rows, vectors, lanes } = self.micro.tile;
        let types: Vec<String> = carried.iter().map(|(_, ty)| ty.clone()).collect();
        let zero = t.i64(0);
        let count = t.i64_op("divui", "%k", lanes.0 as i64);
        let done = t.i64_op("muli", &count, lanes.0 as i64);
        let state = t.loop_with([&zero, &done], lanes.0 as i64, &carried, |t, k, mut state| {
            let at = t.i64_op("muli", k, rows as i64);
            let a = t.at("%a", &at);
            let b = t.at("%b", k);
            for v in 0..vectors {
                let mut block: Vec<Val> = (0..lanes.0)
                    .map(|l| {
                        let p = t.at_const(&b, (v * lanes.0 + l) as i64 * self.stride);
                        t.load(&p, &lanes.int())
                    })
                    .collect();
                if self.looks() {
                    block.iter().for_each(|x| self.look(t, x, &mut state));
                }
                for _ in 0..lanes.0.trailing_zeros() {
                    block = interleave(t, &block, lanes);
                }
                for (l, x) in block.iter().enumerate() {
                    let a = t.at_const(&a, (l * rows) as i64);
                    self.terms(t, x, v, &a, &mut state);
                }
            }
            state
        });
        let carried: Vec<_> = state.into_iter().zip(types).collect();
        t.loop_with([&done, "%k"], 1, &carried, |t, k, mut state| {
            let at = t.i64_op("muli", k, rows as i64);
            let a = t.at("%a", &at);
            let b = t.at("%b", k);
            for v in 0..vectors {
                let elements: Vec<Val> = (0..lanes.0)
                    .map(|l| {
                        let p = t.at_const(&b, (v * lanes.0 + l) as i64 * self.stride);
                        t.load(&p, "i32")
                    })
                    .collect();
                let list = elements.join(", ");
                let x = t.def(&format!("vector.from_elements {list} : {}", lanes.int()));
                self.look(t, &x, &mut state);
                self.terms(t, &x, v, &a, &mut state);
            }
            state
        })
    }

    fn left(&self, t: &mut Text, a: &str) -> Vec<Row> {
        (0..self.rows).map(|row| self.micro.row(t, a, row)).collect()
    }

    /// All that is done with a vector of the matrix: columns `v`.
    fn column(&self, t: &mut Text, x: &str, v: usize, left: &[Row], state: &mut [Val]) {
        self.look(t, x, state);
        for (row, left) in left.iter().enumerate() {
            self.accumulate(t, (row, left), (v, x), state);
        }
    }

    fn terms(&self, t: &mut Text, x: &str, v: usize, a: &str, state: &mut [Val]) {
        for row in 0..self.rows {
            let left = self.micro.row(t, a, row);
            self.accumulate(t, (row, &left), (v, x), state);
        }
    }

    fn accumulate(
        &self,
        t: &mut Text,
        (row, left): (usize, &Row),
        (v, x): (usize, &str),
        state: &mut [Val],
    ) {
        let cell = row * self.micro.tile.vectors + v;
        let right = self.micro.column(t, x.to_string());
        state[cell] = self.micro.accumulate(t, left, &right, None, &state[cell]);
    }

    fn look(&self, t: &mut Text, x: &str, state: &mut [Val]) {
        if let (true, Some(seen)) = (self.looks(), state.last_chunk_mut()) {
            *seen = look(t, x, seen, self.micro.tile.lanes);
        }
    }

    /// Adds the sums of a chunk to those so far.
    fn add(&self, t: &mut Text, sums: &[Val]) {
        let Tile { vectors, lanes, .. } = self.micro.tile;
        for (cell, sum) in sums.iter().enumerate() {
            let down = t.i64_op("muli", "%ld", (cell / vectors) as i64);
            let row = t.at("%out", &down);
            let p = t.at_const(&row, (cell % vectors * lanes.0) as i64);
            let before = t.load(&p, &lanes.float());
            let new = t.bin("addf", &before, sum, &lanes.float());
            t.store(&new, &p, &lanes.float());
        }
    }
}

/// Largest and smallest magnitude with another element.
pub(super) fn look(t: &mut Text, x: &str, seen: &[Val; 2], lanes: Lanes) -> [Val; 2] {
    let mask = t.bits(MAGNITUDE, lanes);
    let magnitude = t.ints("andi", x, &mask, lanes);
    [0, 1].map(|i| t.ints(REDUCE[i], &seen[i], &magnitude, lanes))
}

/// The facts of a panel whose largest and smallest magnitude these are. They do not tell by how much
/// other elements than zeros are above the smallest normal number, if there are zeros.
pub(super) fn facts_of(t: &mut Text, [largest, smallest]: [&str; 2]) -> [Val; 4] {
    let one = Lanes(1);
    let [min_normal, infinity, none, some] = [MIN_NORMAL, INF, 0, 1].map(|v| t.bits(v, one));
    let most = t.ints("subi", largest, &min_normal, one);
    let lowest = t.ints("subi", smallest, &min_normal, one);
    let least = t.ints("maxsi", &lowest, &none, one);
    let special = t.cmp("uge", largest, &infinity, one);
    [most, least, lowest, t.select(&special, &some, &none, one)]
}

/// What such a kernel has of an element of the panel: less the bias, and its mask where it is wanted.
pub(super) fn parts(t: &mut Text, micro: &Micro, x: &str, lanes: Lanes) -> Vec<Val> {
    let mut parts = match micro.version {
        Version::Masked { .. } => {
            let zero = t.bits(0, lanes);
            micro.split(t, x, &zero, lanes)
        }
        _ => vec![x.to_string()],
    };
    let bias = t.bits(BIAS, lanes);
    parts[0] = t.ints("subi", &parts[0], &bias, lanes);
    parts
}

/// Name and text of the function that makes the panel of all versions from one that is packed with its
/// bits: `name(packed, terms, panel)`.
pub(super) fn preparation(tile: Tile) -> (String, String) {
    let Tile { rows, lanes, .. } = tile;
    let name = format!("pamc_straight_panel_{rows}x{}", lanes.0);
    let args = [("%packed", "!llvm.ptr"), ("%k", "i64"), ("%panel", "!llvm.ptr")];
    let args: Vec<_> = args.iter().map(|(n, ty)| (n.to_string(), ty.to_string())).collect();
    let micro = Micro { tile, slope_of: None, version: VERSIONS[1] };
    let mut t = Text::default();
    t.func(&name, Access::Shared, &args, |t| {
        let elements = t.i64_op("muli", "%k", rows as i64);
        t.loop_to(&elements, lanes.0 as i64, |t, at| {
            let from = t.at("%packed", at);
            let x = t.load(&from, &lanes.int());
            let to = t.at("%panel", at);
            for (i, part) in parts(t, &micro, &x, lanes).iter().enumerate() {
                let to = t.at_const(&to, (i * rows * CHUNK) as i64);
                t.store(part, &to, &lanes.int());
            }
        });
    });
    (name, t.into_string())
}
