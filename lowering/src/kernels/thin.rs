//! Products with few rows, such as a vector times a matrix: the matrix is read once, where it lies.
//! What cannot be computed so is packed, a few columns at a time, for the ordinary inner kernels.

use std::collections::BTreeMap;

use super::axis::Axis;
use super::canonical::transpose;
use super::driver::{Driver, POINTER, Pointers, batch_offset};
use super::micro::Version;
use super::pack::Unit;
use super::plan::Plan;
use super::straight::{self, Straight, preparation};
use super::text::{Lanes, Text, Val};
use super::{Arith, CHUNK, KernelTarget, Kind, MatmulSpec, Operand, Output, Tile};
use crate::codegen::Access;

/// Rows up to which the matrix is read where it lies.
const ROWS: usize = 8;
/// Vectors of columns that are read side by side, at most.
const VECTORS: usize = 16;
/// Tasks at least, if threads share them.
const TASKS: usize = 8;
/// Groups of columns in a task whose columns are runs in memory.
const PARTS: usize = 4;

/// How such a contraction is run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Thin {
    unit: Unit,
    /// Elements from one run in the matrix to the next.
    stride: i64,
    /// Vectors of columns that an inner kernel computes.
    vectors: usize,
    /// How often it is called for a chunk of terms in one task.
    parts: usize,
}

impl Thin {
    /// Of a canonical contraction or its transpose; true if it is the transpose.
    pub fn new(spec: &MatmulSpec, target: &KernelTarget, parallel: bool) -> Option<(Thin, bool)> {
        if let Some(thin) = Thin::of(spec, target, parallel) {
            return Some((thin, false));
        }
        let mut turned = spec.clone();
        transpose(&mut turned);
        Some((Thin::of(&turned, target, parallel)?, true))
    }

    fn of(spec: &MatmulSpec, target: &KernelTarget, parallel: bool) -> Option<Thin> {
        let lanes = target.lanes;
        let few = (1..=ROWS).contains(&spec.m) && spec.n >= lanes;
        if !few || spec.output != Output::Store || spec.kind != Kind::Product {
            return None;
        }
        let strides = |o: &Operand, extents: [usize; 2]| {
            let [rows, columns] = [0, 1].map(|i| Axis::of(o, i, extents[i]).stride());
            rows.zip(columns)
        };
        strides(&spec.a, [spec.m, spec.k])?;
        strides(&spec.out, [spec.m, spec.n])?;
        let (unit, stride) = match strides(&spec.b, [spec.k, spec.n])? {
            (stride, 1) => (Unit::Width, stride),
            (1, stride) => (Unit::Depth, stride),
            _ => return None,
        };
        let batch: usize = spec.batch.iter().product();
        let tasks = if parallel { TASKS.div_ceil(batch.max(1)) } else { 1 };
        let whole = spec.n / lanes;
        if unit == Unit::Depth {
            let parts = (whole / tasks).clamp(1, PARTS);
            return Some(Thin { unit, stride, vectors: 1, parts });
        }
        let most = match spec.m {
            1 | 2 => (target.registers - 8) / spec.m,
            m => (target.registers - 6) / (m + 1),
        };
        let most = most.min(VECTORS).min(whole.div_ceil(tasks)).max(1);
        // Columns that two tasks compute are to be few.
        let tasks = spec.n.div_ceil(most * lanes);
        let vectors = spec.n.div_ceil(tasks).div_ceil(lanes).min(whole);
        Some(Thin { unit, stride, vectors, parts: 1 })
    }

    /// The tile of the ordinary kernels that stand in.
    pub fn tile(&self, spec: &MatmulSpec, lanes: Lanes) -> Tile {
        let vectors = if self.vectors.is_multiple_of(2) { 2 } else { 1 };
        Tile { rows: spec.m.next_power_of_two(), vectors, lanes }
    }

    /// Columns of one inner kernel, and of a task.
    fn columns(&self, lanes: Lanes) -> [usize; 2] {
        let part = self.vectors * lanes.0;
        [part, part * self.parts]
    }
}

/// Writer of such a contraction's functions.
pub(super) struct ThinDriver<'a> {
    pub driver: &'a Driver<'a>,
    pub thin: Thin,
}

/// Memory of a task: packed panel, its facts, the panel of the inner kernels, sums so far, and
/// whether the matrix was as assumed.
struct Memory {
    packed: Val,
    facts: Val,
    panel: Val,
    totals: Val,
    kept: Val,
}

impl ThinDriver<'_> {
    fn plan(&self) -> &Plan {
        self.driver.plan
    }

    fn kernel(&self, version: Version) -> Straight {
        let plan = self.plan();
        let Thin { unit, stride, vectors, .. } = self.thin;
        let mut micro = plan.micro(version);
        micro.tile.vectors = vectors;
        Straight { micro, rows: plan.spec.m, unit, stride }
    }

    fn kernels(&self) -> Vec<Straight> {
        let versions = match self.plan().spec.arith {
            Arith::Float => &[Version::Fused][..],
            Arith::Pam => &straight::VERSIONS,
        };
        versions.iter().map(|&v| self.kernel(v)).collect()
    }

    /// Writes what the contraction function calls; inner functions go to `shared`.
    pub fn helpers(&self, t: &mut Text, shared: &mut BTreeMap<String, String>) {
        let plan = self.plan();
        let mut share =
            |name, text: &dyn Fn() -> String| _ = shared.entry(name).or_insert_with(text);
        for kernel in self.kernels() {
            share(kernel.name(), &|| kernel.emit());
        }
        share(plan.left.pack.name(), &|| plan.left.pack.emit());
        if plan.spec.arith == Arith::Pam {
            share(plan.right.pack.name(), &|| plan.right.pack.emit());
            share(preparation(plan.tile).0, &|| preparation(plan.tile).1);
            for version in self.driver.versions() {
                let micro = plan.micro(version);
                share(micro.name(), &|| micro.emit());
            }
            self.packed_function(t);
        }
        self.task_function(t);
    }

    /// The body of the contraction function.
    pub fn body(&self, t: &mut Text, operands: &Pointers) {
        let plan = self.plan();
        let own = [&operands.left, &operands.right, &operands.out];
        let tasks = plan.batch() * self.blocks();
        t.each(plan.parallel, tasks as i64, |t, task| {
            let args = own.into_iter().chain(&operands.after).map(String::as_str);
            let args: Vec<&str> = args.chain([task]).collect();
            let types = self.task_parameters();
            let types: Vec<&str> = types.iter().map(|(_, ty)| ty.as_str()).collect();
            t.call(&self.driver.helper("columns"), &args, &types);
        });
    }

    fn blocks(&self) -> usize {
        let plan = self.plan();
        plan.spec.n.div_ceil(self.thin.columns(plan.tile.lanes)[1])
    }

    fn task_parameters(&self) -> Vec<(String, String)> {
        let own = ["%left", "%right", "%out"].map(|n| (n.to_string(), POINTER.to_string()));
        let task = ("%task".to_string(), "i64".to_string());
        own.into_iter().chain(self.driver.later_arguments()).chain([task]).collect()
    }

    /// `name_columns(operands…, task)`: some columns of one batch element.
    fn task_function(&self, t: &mut Text) {
        let plan = self.plan();
        let spec = &plan.spec;
        let width = self.thin.columns(plan.tile.lanes)[1];
        t.func(&self.driver.helper("columns"), Access::Internal, &self.task_parameters(), |t| {
            let memory = self.memory(t, width);
            let blocks = self.blocks() as i64;
            let [element, block] = ["divui", "remui"].map(|op| t.i64_op(op, "%task", blocks));
            let [left, right, out] = [("%left", &spec.a), ("%right", &spec.b), ("%out", &spec.out)]
                .map(|(p, operand)| {
                    let offset = batch_offset(t, plan, operand, &element);
                    t.at(p, &offset)
                });
            // The last task starts so early that all its columns are there.
            let first = t.i64_op("muli", &block, width as i64);
            let latest = t.i64((spec.n - width) as i64);
            let start = t.bin("minsi", &first, &latest, "i64");
            let along = t.i64_op("muli", &start, plan.right.strides.0);
            let right = t.at(&right, &along);
            let chunks = t.i64(plan.chunks() as i64);
            t.loop_to(&chunks, 1, |t, chunk| {
                let depth = self.driver.depth(t, chunk);
                let [a, b] = [(&left, &plan.left), (&right, &plan.right)].map(|(p, packed)| {
                    let down = t.i64_op("muli", chunk, packed.strides.1 * CHUNK as i64);
                    t.at(p, &down)
                });
                self.pack(t, &a, &depth, &memory);
                self.chunk(t, &b, &depth, &memory);
            });
            self.store(t, &memory.totals, &out, [&first, &start]);
            let end = t.i64_op("addi", &first, width as i64);
            let extent = t.i64(spec.n as i64);
            let end = t.bin("minsi", &end, &extent, "i64");
            let buffers: Vec<Val> =
                self.driver.later_arguments().into_iter().map(|(name, _)| name).collect();
            let [none, rows] = [0, spec.m as i64].map(|n| t.i64(n));
            self.driver.finish(t, &buffers, &element, [&none, &rows, &first, &end]);
        });
    }

    fn memory(&self, t: &mut Text, width: usize) -> Memory {
        let plan = self.plan();
        let Tile { rows, lanes, .. } = plan.tile;
        let panel = rows * CHUNK;
        let totals = t.alloca(rows * width);
        let cells = t.i64((rows * width) as i64);
        let zero = t.zero(lanes);
        t.loop_to(&cells, lanes.0 as i64, |t, at| {
            let p = t.at(&totals, at);
            t.store(&zero, &p, &lanes.float());
        });
        let kept = t.alloca(1);
        let yes = t.bits(1, Lanes(1));
        t.store(&yes, &kept, "i32");
        let packed = t.alloca(panel);
        let facts = t.alloca(plan.left.pack.facts());
        let panel = t.alloca(2 * panel);
        Memory { packed, facts, panel, totals, kept }
    }

    /// Packs a chunk of the rows.
    fn pack(&self, t: &mut Text, from: &str, depth: &str, memory: &Memory) {
        let plan = self.plan();
        let rows = t.i64(plan.spec.m as i64);
        let [across, down] = [plan.left.strides.0, plan.left.strides.1].map(|s| t.i64(s));
        let pack = &plan.left.pack;
        let args = [from, &rows, depth, &across, &down, &memory.packed, &memory.facts];
        t.call(&pack.name(), &args, pack.types());
        if plan.spec.arith == Arith::Pam {
            let args = [memory.packed.as_str(), depth, &memory.panel];
            t.call(&preparation(plan.tile).0, &args, &[POINTER, "i64", POINTER]);
        }
    }

    /// Adds a chunk of terms to all sums.
    fn chunk(&self, t: &mut Text, from: &str, depth: &str, memory: &Memory) {
        let plan = self.plan();
        let [part, width] = self.thin.columns(plan.tile.lanes);
        let parts = t.i64(self.thin.parts as i64);
        let ld = t.i64(width as i64);
        t.loop_to(&parts, 1, |t, index| {
            let at = t.i64_op("muli", index, part as i64);
            let out = t.at(&memory.totals, &at);
            let along = t.i64_op("muli", &at, plan.right.strides.0);
            let b = t.at(from, &along);
            let kernels = self.kernels();
            let call = |t: &mut Text, kernel: &Straight, panel: &str| {
                let mut args = vec![panel, &b, depth, &out, &ld];
                if kernel.looks() {
                    args.extend([memory.facts.as_str(), &memory.kept]);
                }
                let types: Vec<_> = kernel.parameters().iter().map(|(_, ty)| *ty).collect();
                t.call(&kernel.name(), &args, &types);
            };
            let [plain, masked] = match kernels.as_slice() {
                [plain, masked] => [plain, masked],
                only => return only.iter().for_each(|k| call(t, k, &memory.packed)),
            };
            // What was not as assumed in one chunk will mostly not be so in the next.
            let kept = self.kept(t, memory);
            t.branch(
                &kept,
                &[],
                |t| {
                    let p = t.at_const(&memory.facts, 2);
                    let lowest = t.load(&p, "i32");
                    let none = t.bits(0, Lanes(1));
                    let zeros = t.cmp("slt", &lowest, &none, Lanes(1));
                    let way = |t: &mut Text, kernel| {
                        call(t, kernel, &memory.panel);
                        Vec::new()
                    };
                    t.branch(&zeros, &[], |t| way(t, masked), |t| way(t, plain))
                },
                |_| Vec::new(),
            );
            let kept = self.kept(t, memory);
            t.branch(
                &kept,
                &[],
                |_| Vec::new(),
                |t| {
                    let args: [&str; 5] = [&memory.packed, &memory.facts, &b, depth, &out];
                    let types = [POINTER, POINTER, POINTER, "i64", POINTER];
                    t.call(&self.driver.helper("packed"), &args, &types);
                    Vec::new()
                },
            );
        });
    }

    fn kept(&self, t: &mut Text, memory: &Memory) -> Val {
        let kept = t.load(&memory.kept, "i32");
        let none = t.bits(0, Lanes(1));
        t.cmp("ne", &kept, &none, Lanes(1))
    }

    /// `name_packed(a, a_facts, b, depth, out)`: a chunk of the columns of one inner kernel, packed.
    fn packed_function(&self, t: &mut Text) {
        let plan = self.plan();
        let right = &plan.right;
        let names = ["%a", "%a_facts", "%b", "%depth", "%out"];
        let types = [POINTER, POINTER, POINTER, "i64", POINTER];
        let args = names.iter().zip(types).map(|(n, ty)| (n.to_string(), ty.to_string()));
        let args: Vec<_> = args.collect();
        let columns = plan.tile.columns();
        let [part, width] = self.thin.columns(plan.tile.lanes);
        t.func(&self.driver.helper("packed"), Access::Internal, &args, |t| {
            let panel = t.alloca(columns * CHUNK);
            let facts = t.alloca(right.pack.facts());
            let part = t.i64(part as i64);
            t.loop_to(&part, columns as i64, |t, at| {
                let along = t.i64_op("muli", at, right.strides.0);
                let from = t.at("%b", &along);
                let [valid, across, down, ld] =
                    [columns as i64, right.strides.0, right.strides.1, width as i64]
                        .map(|n| t.i64(n));
                let args = [&from, &valid, "%depth", &across, &down, &panel, &facts];
                t.call(&right.pack.name(), &args, right.pack.types());
                let out = t.at("%out", at);
                let later = t.flag(false);
                let args = ["%a", &panel, "%depth", &out, &ld, &later];
                self.driver.call_version(t, &args, "%a_facts", &facts);
            });
        });
    }

    /// Writes the columns from `first` on, of those that were computed from `start` on.
    fn store(&self, t: &mut Text, totals: &str, out: &str, [first, start]: [&str; 2]) {
        let plan = self.plan();
        let spec = &plan.spec;
        let width = self.thin.columns(plan.tile.lanes)[1] as i64;
        let [down, along] = [(0, spec.m), (1, spec.n)]
            .map(|(i, n)| Axis::of(&spec.out, i, n).stride().unwrap_or(0));
        let skipped = t.bin("subi", first, start, "i64");
        let at = t.i64_op("muli", start, along);
        let out = t.at(out, &at);
        let [rows, width_value] = [spec.m as i64, width].map(|n| t.i64(n));
        t.loop_to(&rows, 1, |t, row| {
            let at = t.i64_op("muli", row, width);
            let from = t.at(totals, &at);
            let at = t.i64_op("muli", row, down);
            let to = t.at(&out, &at);
            t.loop_with([&skipped, &width_value], 1, &[], |t, column, _| {
                let p = t.at(&from, column);
                let x = t.load(&p, "f32");
                let at = t.i64_op("muli", column, along);
                let p = t.at(&to, &at);
                t.store(&x, &p, "f32");
                Vec::new()
            });
        });
    }
}
