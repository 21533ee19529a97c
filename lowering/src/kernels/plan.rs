//! Decisions made before any text is written: canonical shape, tile, blocks, scratch layout.

use super::axis::{Axis, Table};
use super::canonical::{canonical, transpose};
use super::micro::Micro;
use super::pack::{Pack, Store, Unit};
use super::text::Lanes;
use super::thin::Thin;
use super::{Arith, CHUNK, KernelError, KernelTarget, Kind, MatmulSpec, Operand, Output, Tile};

/// Products below which threads cost more than they save.
const PARALLEL_PRODUCTS: usize = 1 << 19;
/// Products per batch element below which packing costs more than it saves.
const DIRECT_PRODUCTS: usize = 512;
/// Copies of packed panels, each for a share of the batch elements: at most so many threads.
const COPIES: usize = 32;
/// Rows and columns of a cache block.
const BLOCK: (usize, usize) = (128, 256);
/// The same where the operands do not stay in the last cache: blocks read them fewer times.
const FAR_BLOCK: (usize, usize) = (512, 512);
/// Elements of packed columns that stay in a near cache beside all rows.
const HELD: usize = 1 << 16;
/// Elements of two operands that stay in the last cache beside their packed panels.
const NEAR: usize = 1 << 22;
/// Slots are whole cache lines.
const LINE: usize = 16;

/// Which operand a slope kernel takes the slope at: the panel whose bits become powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SlopeOf {
    Left,
    Right,
}

/// Rows or columns in groups, each filled up to whole panels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Groups {
    pub count: usize,
    /// Of a group.
    pub extent: usize,
    pub filled: usize,
}

impl Groups {
    fn new(count: usize, extent: usize, panel: usize) -> Groups {
        Groups { count, extent, filled: extent.next_multiple_of(panel) }
    }

    fn entries(&self) -> usize {
        self.count * self.filled
    }
}

/// One packed operand in scratch memory.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    /// How a panel is packed.
    pub pack: Pack,
    /// Panels along the width.
    pub panels: usize,
    /// Of these so many are held at a time: all, or those of a cache block.
    pub held: usize,
    /// Width of the matrix.
    pub extent: usize,
    /// Elements from one panel to the next.
    pub slot: usize,
    /// Source strides along width and depth, where they have one.
    pub strides: (i64, i64),
    /// Where they have not.
    pub tables: Option<[Table; 2]>,
    /// Where the panels begin in a copy's scratch, and where their facts do.
    pub offset: usize,
    pub facts: usize,
    /// Elements from one batch element's copy to the next; 0 if all share one.
    pub copy: usize,
}

/// A canonical contraction and how to run it.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub spec: MatmulSpec,
    /// The parameters' buffer lengths in the caller's order: a, b, [at,] out.
    pub parameters: Vec<usize>,
    /// The caller's operands were exchanged (the product is commutative).
    pub swapped: bool,
    pub slope_of: Option<SlopeOf>,
    pub tile: Tile,
    pub direct: bool,
    /// How it is run if it has few rows.
    pub thin: Option<Thin>,
    pub parallel: bool,
    /// Parallel over batch elements rather than over blocks of each.
    pub over_batch: bool,
    /// Copies of what is packed for each batch element.
    pub copies: usize,
    /// Tiles in a cache block, down and across.
    pub block: (usize, usize),
    pub left: Packed,
    pub right: Packed,
    pub at: Option<Packed>,
    /// Places of the output's rows and columns, if results are added there.
    pub places: Option<[Table; 2]>,
    scratch: usize,
}

impl Plan {
    pub fn new(spec: &MatmulSpec, target: &KernelTarget) -> Result<Self, KernelError> {
        check(spec, target)?;
        let parameters = operands(spec).iter().map(|(_, o)| o.len).collect();
        let (mut spec, mut swapped) = canonical(spec);
        let slope_of = match (&spec.kind, swapped) {
            (Kind::Product, _) => None,
            (_, true) => Some(SlopeOf::Left),
            (_, false) => Some(SlopeOf::Right),
        };
        let each = spec.m * spec.k * spec.n;
        let batch: usize = spec.batch.iter().product();
        let over_batch = batch >= 4;
        let parallel = target.parallel
            && batch * each >= PARALLEL_PRODUCTS
            && (over_batch || spec.output == Output::Store);
        let direct = each <= DIRECT_PRODUCTS;
        let thin = Thin::new(&spec, target, parallel).filter(|_| !direct);
        if let Some((_, true)) = thin {
            transpose(&mut spec);
            swapped = !swapped;
        }
        let thin = thin.map(|(thin, _)| thin);
        let lanes = Lanes(target.lanes);
        let tile = thin.map_or_else(|| choose_tile(&spec, target), |thin| thin.tile(&spec, lanes));
        let block = choose_block(&spec, &tile, over_batch);
        // No more copies than give each but the last the same number of elements.
        let copies = batch.div_ceil(batch.div_ceil(COPIES).max(1)).max(1);
        let (unit, store) = (Unit::None, Store::Copy);
        let blank = Packed {
            pack: Pack { width: 1, lanes, unit, store, tabled: false },
            panels: 0,
            held: 0,
            extent: 0,
            slot: 0,
            strides: (0, 0),
            tables: None,
            offset: 0,
            facts: 0,
            copy: 0,
        };
        let mut plan = Self {
            parameters,
            swapped,
            slope_of,
            tile,
            direct,
            thin,
            parallel,
            over_batch,
            copies: if over_batch && parallel { copies } else { 1 },
            block,
            left: blank.clone(),
            right: blank,
            at: None,
            places: None,
            scratch: 0,
            spec,
        };
        plan.lay_out();
        Ok(plan)
    }

    pub fn scratch_len(&self) -> usize {
        if self.direct || self.thin.is_some() { 0 } else { self.scratch }
    }

    pub fn batch(&self) -> usize {
        self.spec.batch.iter().product()
    }

    /// The rows as they stand in panels.
    pub fn rows(&self) -> Groups {
        let (m, rows) = (self.spec.m, self.tile.rows);
        match self.spec.output {
            Output::AddByRows(apart) => Groups::new(m.checked_div(apart).unwrap_or(0), apart, rows),
            _ => Groups::new(1, m, rows),
        }
    }

    /// Whether one thread computes all blocks of a batch element, and each has columns of its own.
    fn packs_blocks(&self) -> bool {
        let panels = self.rows().entries() / self.tile.rows;
        self.over_batch && self.spec.output == Output::Store && panels <= self.block.0
    }

    /// Rows of the operand that slopes are taken at: with those that fill up groups, if there are any.
    pub fn at_depth(&self) -> i64 {
        let rows = self.rows();
        (if rows.count > 1 { rows.entries() } else { self.spec.m }) as i64
    }

    pub fn chunks(&self) -> usize {
        self.spec.k.div_ceil(CHUNK)
    }

    pub fn micro(&self, version: super::micro::Version) -> Micro {
        Micro { tile: self.tile, slope_of: self.slope_of, version }
    }

    fn lay_out(&mut self) {
        let pam = self.spec.arith == Arith::Pam;
        let (left, right) =
            if pam { (Store::Bits, Store::Biased) } else { (Store::Copy, Store::Copy) };
        let depth = self.spec.k;
        let (m, n) = (self.spec.m, self.spec.n);
        let columns = self.tile.columns();
        let [a, b] = [&self.spec.a, &self.spec.b].map(Clone::clone);
        let at = match &self.spec.kind {
            Kind::Product => None,
            Kind::Slope { at } => Some(at.clone()),
        };
        let (rows, columns) = (self.rows(), Groups::new(1, n, columns));
        let terms = Groups::new(1, depth, 1);
        self.left = self.place(&a, 0, [rows, terms], left);
        self.right = self.place(&b, 1, [columns, terms], right);
        // Whole row tiles, so that a kernel may read the rows beyond the last.
        self.at = at.map(|at| self.place(&at, 1, [columns, rows], Store::Fraction));
        if self.spec.output != Output::Store {
            let out = self.spec.out.clone();
            self.places =
                Some([(0, m, rows), (1, n, columns)].map(|(which, extent, groups)| {
                    self.table(Axis::of(&out, which, extent), groups)
                }));
        }
    }

    fn table(&mut self, axis: Axis, groups: Groups) -> Table {
        let offset = self.scratch;
        self.scratch += groups.entries().next_multiple_of(LINE);
        Table { axis, groups, offset }
    }

    /// Of an operand whose width are its rows (0) or columns (1), and its depth the others.
    fn place(
        &mut self,
        operand: &Operand,
        across: usize,
        [wide, deep]: [Groups; 2],
        store: Store,
    ) -> Packed {
        let [extent, depth] = [wide, deep].map(|g| g.count * g.extent);
        let [over, down] =
            [(across, extent), (1 - across, depth)].map(|(i, n)| Axis::of(operand, i, n));
        let width = if across == 0 { self.tile.rows } else { self.tile.columns() };
        let panels = wide.entries() / width;
        let (mut tables, mut strides) = (None, (0, 0));
        let unit = match (over.stride(), down.stride()) {
            (Some(w), Some(d)) => {
                strides = (w, d);
                match (w, d) {
                    (1, _) => Unit::Width,
                    (_, 1) => Unit::Depth,
                    _ => Unit::None,
                }
            }
            // Whole vectors of terms, unless more of the width lies side by side.
            _ => match (over.run(), down.run()) {
                (w, d) if d > w && d >= self.tile.lanes.0 / 2 => Unit::Depth,
                _ => Unit::Width,
            },
        };
        let tabled =
            over.stride().and(down.stride()).is_none() || [wide, deep].iter().any(|g| g.count > 1);
        if tabled {
            tables = Some([self.table(over, wide), self.table(down, deep)]);
        }
        let depth = deep.entries();
        let (slot_depth, chunks) = match store {
            Store::Fraction => (depth, 1),
            _ => (depth.min(CHUNK), self.chunks()),
        };
        let slot = (width * slot_depth).next_multiple_of(LINE);
        let shared = operand.strides[..operand.strides.len() - 2].iter().all(|&s| s == 0);
        let held = match across == 1 && store != Store::Fraction && !shared && self.packs_blocks() {
            true => panels.min(self.block.1),
            false => panels,
        };
        let facts = held * chunks * slot;
        let pack = Pack { width, lanes: self.tile.lanes, unit, store, tabled };
        let size = (facts + pack.facts() * held * chunks).next_multiple_of(LINE);
        let offset = self.scratch;
        self.scratch += if shared { size } else { size * self.copies };
        Packed {
            pack,
            panels,
            held,
            extent,
            slot,
            strides,
            tables,
            offset,
            facts: offset + facts,
            copy: if shared { 0 } else { size },
        }
    }
}

fn operands(spec: &MatmulSpec) -> Vec<(&'static str, &Operand)> {
    let mut list = vec![("a", &spec.a), ("b", &spec.b)];
    if let Kind::Slope { at } = &spec.kind {
        list.push(("at", at));
    }
    list.push(("out", &spec.out));
    list
}

fn check(spec: &MatmulSpec, target: &KernelTarget) -> Result<(), KernelError> {
    if ![4, 8, 16].contains(&target.lanes) {
        return Err(KernelError::Lanes(target.lanes));
    }
    if spec.arith == Arith::Float && spec.kind != Kind::Product {
        return Err(KernelError::FloatSlope);
    }
    for (name, operand) in operands(spec) {
        let mut sizes = spec.batch.clone();
        sizes.extend(match name {
            "a" => [spec.m, spec.k],
            "b" => [spec.k, spec.n],
            _ => [spec.m, spec.n],
        });
        let (expected, found) = (sizes.len(), operand.strides.len());
        if expected != found {
            return Err(KernelError::Rank { operand: name, expected, found });
        }
        let apart = match (name, spec.output) {
            ("out", Output::AddByRows(apart)) => Some((spec.m, apart)),
            ("out", Output::AddByColumns(apart)) => Some((spec.n, apart)),
            _ => None,
        };
        if let Some((extent, apart)) = apart
            && (apart == 0 || extent % apart != 0)
        {
            return Err(KernelError::Split { operand: name, extent });
        }
        for (split, &extent) in operand.split.iter().zip(&sizes[expected - 2..]) {
            let count = split.iter().map(|d| d.extent).product::<usize>();
            let far = !split.is_empty() && operand.len > i32::MAX as usize;
            if far || (!split.is_empty() && count != extent) {
                return Err(KernelError::Split { operand: name, extent });
            }
        }
        if sizes.contains(&0) {
            continue;
        }
        let dims = sizes.iter().copied().zip(operand.strides.iter().copied());
        let whole = dims.enumerate().filter(|(d, _)| match d.checked_sub(expected - 2) {
            Some(axis) => operand.split[axis].is_empty(),
            None => true,
        });
        let split = operand.split.iter().flatten().map(|d| (d.extent, d.stride));
        let (mut first, mut last) = (operand.offset, operand.offset);
        for (size, stride) in whole.map(|(_, d)| d).chain(split) {
            let reach = stride.saturating_mul(size as i64 - 1);
            first = first.saturating_add(reach.min(0));
            last = last.saturating_add(reach.max(0));
        }
        if first < 0 || last >= operand.len as i64 {
            return Err(KernelError::Bounds { operand: name, first, last, len: operand.len });
        }
    }
    Ok(())
}

fn choose_tile(spec: &MatmulSpec, target: &KernelTarget) -> Tile {
    let lanes = target.lanes;
    // A slope cell needs a second register for the operand that it is the slope at.
    let cells = match spec.kind {
        Kind::Product => target.registers / 2,
        Kind::Slope { .. } => target.registers / 4,
    };
    let vectors = if spec.n <= lanes { 1 } else { 2 };
    let most = match spec.output {
        Output::AddByRows(apart) => apart,
        _ => spec.m,
    };
    let rows = (cells / vectors).min(8).min(most.max(1).next_power_of_two());
    let vectors = if rows <= 2 && spec.n >= 4 * lanes { (cells / rows).min(4) } else { vectors };
    Tile { rows, vectors, lanes: Lanes(lanes) }
}

/// Large enough to reuse panels from cache, small enough to give every thread several; if threads get
/// whole batch elements, all rows and as many columns as stay in cache when they are packed.
fn choose_block(spec: &MatmulSpec, tile: &Tile, over_batch: bool) -> (usize, usize) {
    let operands = spec.k * (spec.m + spec.n);
    let (mut down, mut across) = if operands > NEAR { FAR_BLOCK } else { BLOCK };
    if over_batch && spec.m <= BLOCK.0 {
        (down, across) = (BLOCK.0, (HELD / spec.k.max(1)).clamp(64, BLOCK.1));
    } else {
        while down > 16 && spec.m.div_ceil(down) * spec.n.div_ceil(across) < 16 {
            if across > 64 && across >= 2 * down {
                across /= 2;
            } else {
                down /= 2;
            }
        }
    }
    (down.div_ceil(tile.rows).max(1), across.div_ceil(tile.columns()).max(1))
}
