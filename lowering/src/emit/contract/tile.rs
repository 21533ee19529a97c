//! Which tile of the output a workgroup computes, and how its operands are fetched.

use crate::kernels::{Kind, MatmulSpec, Operand};

/// Rows and columns of the output that a thread computes.
pub(super) const CELL: usize = 8;
/// Terms of a tile of the operands.
pub(super) const DEPTH: usize = 16;
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
}

impl Tile {
    /// The tile for a contraction; `None` where tiles do not pay.
    pub fn choose(spec: &MatmulSpec) -> Option<Tile> {
        let small = spec.m < 16 || spec.n < 16 || spec.k < UNROLL;
        if small || spec.m * spec.n * spec.k < PRODUCTS || spec.kind != Kind::Product {
            return None;
        }
        let batch: usize = spec.batch.iter().product();
        let cost = |&([rows, columns], price): &([usize; 2], usize)| {
            let groups = batch * spec.m.div_ceil(rows) * spec.n.div_ceil(columns);
            groups.div_ceil(PROCESSORS) * rows * columns * price
        };
        let ([rows, columns], _) = TILES.into_iter().min_by_key(cost)?;
        Some(Tile { rows, columns })
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
    /// Extent of the tile.
    pub tile: usize,
}

impl Side {
    pub fn new(
        param: usize,
        operand: &Operand,
        (width, depth): ((usize, usize), (usize, usize)),
        tile: usize,
    ) -> Side {
        let fetch = match (operand.strides[width.1], operand.strides[depth.1]) {
            (1, _) if in_fours(operand, width) => Fetch::Wide,
            (_, 1) if in_fours(operand, depth) => Fetch::Deep,
            _ => Fetch::Single,
        };
        Side { param, operand: operand.clone(), fetch, width, depth, tile }
    }

    /// Vectors of four in a tile.
    pub fn items(&self) -> usize {
        self.tile / 4 * DEPTH
    }

    /// Whether every vector of a tile is inside the operand along the width, and along the depth.
    pub fn whole(&self) -> (bool, bool) {
        (self.width.0.is_multiple_of(self.tile), self.depth.0.is_multiple_of(DEPTH))
    }
}

/// True if runs of four elements along an axis of stride 1 never straddle 16 bytes.
fn in_fours(operand: &Operand, (extent, axis): (usize, usize)) -> bool {
    let others = operand.strides.iter().enumerate().filter(|(d, _)| *d != axis);
    let even = others.map(|(_, s)| *s).chain([operand.offset]).all(|s| s % 4 == 0);
    even && operand.len.is_multiple_of(4) && extent.is_multiple_of(4)
}
