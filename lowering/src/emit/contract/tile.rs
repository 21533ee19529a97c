//! Which tile of the output a workgroup computes, and how its operands are fetched.

use crate::kernels::{Kind, MatmulSpec, Operand};
use crate::schedule::windows::Windows;

/// Rows and columns of the output that a thread computes.
pub(super) const CELL: usize = 8;
/// Terms of a tile of the operands; fewer for slopes, which need a second register for each sum.
const TERMS: [usize; 2] = [16, 8];
/// Threads below which a thread brings too many elements at a time to have registers for slopes.
const SLOPE_THREADS: usize = 64;
/// Terms that are written out one after the other.
pub(super) const UNROLL: usize = 8;
/// Multiprocessors of a device of the size that tiles are chosen for.
const PROCESSORS: usize = 108;
/// Products below which a thread for each element does.
const PRODUCTS: usize = 1 << 15;
/// Rows and columns of tiles, and what a product costs in them: small tiles fetch more.
const TILES: [([usize; 2], usize); 6] = [
    ([128, 128], 100),
    ([128, 64], 115),
    ([64, 128], 115),
    ([64, 64], 125),
    ([64, 32], 140),
    ([32, 64], 140),
];

/// A tile of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tile {
    pub rows: usize,
    pub columns: usize,
    /// Terms of the operands that are in workgroup memory at a time.
    pub terms: usize,
}

impl Tile {
    /// The tile for a contraction; `None` where tiles do not pay.
    pub fn choose(spec: &MatmulSpec) -> Option<Tile> {
        let small = spec.m < 16 || spec.n < 16 || spec.k < UNROLL;
        if small || spec.m * spec.n * spec.k < PRODUCTS {
            return None;
        }
        let batch: usize = spec.batch.iter().product();
        let cost = |&(Tile { rows, columns, .. }, price): &(Tile, usize)| {
            let groups = batch * spec.m.div_ceil(rows) * spec.n.div_ceil(columns);
            groups.div_ceil(PROCESSORS) * rows * columns * price
        };
        let slope = spec.kind != Kind::Product;
        let terms = TERMS[usize::from(slope)];
        let tiles = TILES.into_iter().map(|(t, price)| (Tile::new(t, terms), price));
        let tiles = tiles.filter(|(tile, _)| !slope || tile.threads() >= SLOPE_THREADS);
        tiles.min_by_key(cost).map(|(tile, _)| tile)
    }

    fn new([rows, columns]: [usize; 2], terms: usize) -> Tile {
        Tile { rows, columns, terms }
    }

    pub fn threads(self) -> usize {
        self.rows / CELL * (self.columns / CELL)
    }
}

/// How an operand's tile comes from memory, four elements at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetch {
    /// Four neighbours along the width in one load.
    Wide,
    /// Four neighbours along the depth in one load.
    Deep,
    /// Four loads along the width.
    Single,
}

/// An operand of a tiled contraction: `width` is its rows or columns, `depth` its terms.
#[derive(Clone, Debug)]
pub(super) struct Side {
    /// Which parameter of the kernel.
    pub param: usize,
    pub operand: Operand,
    pub fetch: Fetch,
    /// Extents and axes of the operand.
    pub width: (usize, usize),
    pub depth: (usize, usize),
    /// Extent of the tile, and its terms.
    pub tile: usize,
    pub terms: usize,
    /// Where rows and columns lie, if not by strides.
    pub windows: Option<Windows>,
}

impl Side {
    pub fn new(
        param: usize,
        operand: &Operand,
        (width, depth): ((usize, usize), (usize, usize)),
        tile: (usize, usize),
    ) -> Side {
        let fetch = match (operand.strides[width.1], operand.strides[depth.1]) {
            (1, _) if in_fours(operand, width) => Fetch::Wide,
            (_, 1) if in_fours(operand, depth) => Fetch::Deep,
            _ => Fetch::Single,
        };
        let (operand, (tile, terms)) = (operand.clone(), tile);
        Side { param, operand, fetch, width, depth, tile, terms, windows: None }
    }

    /// What a thread's sums go to, or meet element by element: four neighbours of a row in one access,
    /// or each for itself.
    pub fn across(
        param: usize,
        operand: &Operand,
        dims: ((usize, usize), (usize, usize)),
        tile: (usize, usize),
    ) -> Side {
        let side = Side::new(param, operand, dims, tile);
        let fetch = if side.fetch == Fetch::Wide { Fetch::Wide } else { Fetch::Single };
        Side { fetch, ..side }
    }

    /// The same side, its elements looked up in windows if there are any; `swapped` exchanges rows and
    /// columns.
    pub fn in_windows(mut self, windows: Option<&Windows>, swapped: bool) -> Side {
        self.windows = windows.cloned();
        if let Some(windows) = &mut self.windows {
            self.fetch = Fetch::Single;
            if swapped {
                windows.digits.reverse();
            }
        }
        self
    }

    /// Vectors of four in a tile.
    pub fn items(&self) -> usize {
        self.tile / 4 * self.terms
    }

    /// Whether every vector of a tile is inside the operand along the width, and along the depth.
    pub fn whole(&self) -> (bool, bool) {
        (self.width.0.is_multiple_of(self.tile), self.depth.0.is_multiple_of(self.terms))
    }
}

/// True if runs of four elements along an axis of stride 1 never straddle 16 bytes.
fn in_fours(operand: &Operand, (extent, axis): (usize, usize)) -> bool {
    let others = operand.strides.iter().enumerate().filter(|(d, _)| *d != axis);
    let even = others.map(|(_, s)| *s).chain([operand.offset]).all(|s| s % 4 == 0);
    even && operand.len.is_multiple_of(4) && extent.is_multiple_of(4)
}
