//! Contractions by tiles: a workgroup computes a tile of the output, each thread 8 × 8 elements of
//! it, from tiles of the operands in workgroup memory.
//!
//! While one pair of operand tiles is multiplied, the next comes from memory into registers and then
//! into the other half of workgroup memory. Whoever brings an element looks at its exponent: if all of
//! a pair lie in [2⁻⁶³, 2⁶⁴), no product can flush, saturate or meet a special value, and it is one
//! integer addition of the bits, signs included, the bias already subtracted from the right operand.
//! If all lie below 2⁶⁴ the general kernel does, for which magnitudes and signs are taken apart: it
//! clamps at 0, where zeros are numbers so small that any sum with them is clamped. Otherwise the
//! product in full.
//!
//! A chunk's sum is added to the output when the chunk ends.
//!
//! Exact slopes take the same ways: before the products, one operand's bits become those of a power of
//! two, by the fraction of what the slope is taken at, which stays in a register for each sum.

use super::super::builder::Builder;
use super::super::float;
use super::super::kernel::{self, Ids, Shape};
use super::super::nest::INDEX;
use super::super::types::{Elem, Value, VecTy};
use super::fetch::{self, Fetched};
use super::loops::{branch, elements, for_carrying, index};
use super::slope::Slope;
use super::tile::{CELL, Fetch, Side, Tile};
use crate::kernels::{CHUNK, Kind, MatmulSpec};
use crate::schedule::windows::Windows;

pub(super) const I32: VecTy = VecTy::scalar(Elem::I32);
pub(super) const FOUR: VecTy = VecTy::vector(Elem::I32, 4);
pub(super) const BIAS: i64 = 0x3F80_0000;

/// Arrays in workgroup memory.
pub(super) const TILES: [usize; 2] = [0, 1];
pub(super) const FLAGS: usize = 2;

/// A tiled contraction that is being written.
pub(super) struct Tiled<'a> {
    pub(super) spec: &'a MatmulSpec,
    pub(super) tile: Tile,
    sides: [Side; 2],
    pub(super) slope: Option<Slope>,
    pub(super) out: Side,
    pub(super) shape: Shape,
}

/// Where a thread works.
pub(super) struct Place {
    pub(super) thread: Value,
    /// First row and column of the workgroup's tile.
    pub(super) first: [Value; 2],
    /// The thread's row and column of cells in the tile.
    pub(super) cell: [Value; 2],
    /// First elements of the batch element's operands and output.
    pub(super) base: [Value; 3],
    /// Fractions of what the slopes are taken at, one for each of the thread's sums; none for products.
    pub(super) fractions: Vec<Value>,
}

/// Writes the kernel `@name(a, b, [at,] out)` of a canonical contraction; `swapped` if a and b have
/// changed places since windows were told for a, b and at.
pub(super) fn emit(
    b: &mut Builder,
    name: &str,
    (spec, swapped): (&MatmulSpec, bool),
    windows: [&Option<Windows>; 3],
    tile: Tile,
) -> Shape {
    let rank = spec.batch.len();
    let (rows, columns, terms) = ((spec.m, rank), (spec.n, rank + 1), spec.k);
    let [left, other] = if swapped { [1, 0] } else { [0, 1] };
    let looked_up = |side: Side, param: usize| side.in_windows(windows[param].as_ref(), swapped);
    let a = Side::new(left, &spec.a, (rows, (terms, rank + 1)), (tile.rows, tile.terms));
    let right = Side::new(other, &spec.b, (columns, (terms, rank)), (tile.columns, tile.terms));
    let (a, right) = (looked_up(a, left), looked_up(right, other));
    let across = |param, operand| Side::across(param, operand, (columns, rows), (tile.columns, 1));
    let slope = match &spec.kind {
        Kind::Product => None,
        Kind::Slope { at } => Some(Slope { of: left ^ 1, at: looked_up(across(2, at), 2) }),
    };
    let out = across(2 + usize::from(slope.is_some()), &spec.out);
    let groups = spec.batch.iter().product::<usize>()
        * spec.m.div_ceil(tile.rows)
        * spec.n.div_ceil(tile.columns);
    let lengths = [tile.rows, tile.columns].map(|width| width * tile.terms);
    let shared = vec![(I32, 2 * lengths[0]), (I32, 2 * lengths[1]), (I32, 4)];
    let sizes = Some([tile.rows, tile.columns, tile.terms]);
    let shape = Shape { groups, threads: tile.threads(), shared, tile: sizes };
    let t = Tiled { spec, tile, sides: [a, right], slope, out, shape };
    let mut types = vec![String::new(); t.out.param + 1];
    for side in t.sides.iter().chain(t.slope.as_ref().map(|s| &s.at)).chain([&t.out]) {
        types[side.param] = fetch::buffer(b.code(), &side.operand, side.fetch != Fetch::Single);
    }
    kernel::kernel(b, name, &types, &t.shape, |b, ids| t.body(b, ids));
    t.shape
}

impl Tiled<'_> {
    fn body(&self, b: &mut Builder, ids: Ids) {
        let place = self.place(b, ids);
        let tiles = self.spec.k.div_ceil(self.tile.terms);
        let four = index(b, 4);
        let resets = b.compare("ult", ids.thread, four);
        b.region(format!("scf.if {resets}"), |b| {
            let none = b.int(I32, 0);
            kernel::store_shared(b, FLAGS, &self.shape, none, ids.thread);
        });
        kernel::barrier(b);
        let (zero, one) = (index(b, 0), index(b, 1));
        let fetched = self.fetch(b, &place, zero);
        self.put(b, &fetched, zero, one);
        kernel::barrier(b);
        let chunk = CHUNK / self.tile.terms;
        if tiles <= chunk {
            let end = index(b, tiles);
            let sums = self.chunk(b, &place, [zero, end]);
            return self.flush(b, &place, &sums, None);
        }
        let (chunks, count, last) =
            (index(b, tiles.div_ceil(chunk)), index(b, chunk), index(b, tiles));
        let number = b.fresh(INDEX);
        b.region(format!("scf.for {number} = {zero} to {chunks} step {one}"), |b| {
            let start = b.binary("arith.muli", number, count);
            let end = b.binary("arith.addi", start, count);
            let end = b.binary("arith.minsi", end, last);
            let sums = self.chunk(b, &place, [start, end]);
            let is_first = b.compare("eq", number, zero);
            self.flush(b, &place, &sums, Some(is_first));
        });
    }

    fn place(&self, b: &mut Builder, ids: Ids) -> Place {
        let spec = self.spec;
        let tiles = [spec.m.div_ceil(self.tile.rows), spec.n.div_ceil(self.tile.columns)];
        let at = kernel::split(b, ids.group, &[&spec.batch[..], &tiles].concat());
        let (batch, tiles) = at.split_at(spec.batch.len());
        let sizes = [self.tile.rows, self.tile.columns];
        let first = [0, 1].map(|d| {
            let size = index(b, sizes[d]);
            b.binary("arith.muli", tiles[d], size)
        });
        let across = index(b, self.tile.columns / CELL);
        let cell = [
            b.binary("arith.divui", ids.thread, across),
            b.binary("arith.remui", ids.thread, across),
        ];
        let base = [&spec.a, &spec.b, &spec.out].map(|o| super::address(b, o, batch));
        let mut place = Place { thread: ids.thread, first, cell, base, fractions: Vec::new() };
        if let Some(slope) = &self.slope {
            let base = super::address(b, &slope.at.operand, batch);
            place.fractions = self.fractions(b, &place, slope, base);
        }
        place
    }

    /// The elements of a pair of tiles that this thread brings.
    fn fetch(&self, b: &mut Builder, place: &Place, tile: Value) -> [Fetched; 2] {
        [0, 1].map(|s| {
            // Beyond the last term a product must leave every sum as it is: −0.
            let beyond = if s == 0 { 0 } else { i64::from(i32::MIN) };
            let side = &self.sides[s];
            let from = fetch::From { base: place.base[s], first: place.first[s], tile, beyond };
            fetch::fetch(b, side, &from, place.thread, self.shape.threads)
        })
    }

    /// Put what was fetched into one half of workgroup memory, and say there if a pair of tiles, which
    /// `stamp` stands for, holds special values.
    fn put(&self, b: &mut Builder, fetched: &[Fetched; 2], half: Value, stamp: Value) {
        let double = |b: &mut Builder, x: Value| b.binary("arith.addi", x, x);
        let (offset, excess) = (b.int(FOUR, -0x4000_0000), b.int(I32, 0x7F00_0000));
        let mut most: Option<Value> = None;
        for vector in fetched.iter().flat_map(|f| &f.vectors) {
            // Twice the distance of the magnitude from that of 2⁻⁶³, as an unsigned number.
            let twice = double(b, *vector);
            let distance = b.binary("arith.addi", twice, offset);
            most = Some(most.map_or(distance, |m| b.binary("arith.maxui", m, distance)));
        }
        for (s, side) in fetched.iter().enumerate() {
            let size = index(b, self.shape.shared[TILES[s]].1 / 2);
            let start = b.binary("arith.muli", half, size);
            for (&vector, &at) in side.vectors.iter().zip(&side.places) {
                let mut vector = vector;
                if s == 1 {
                    let bias = b.int(FOUR, -BIAS);
                    vector = b.binary("arith.addi", vector, bias);
                }
                let at = b.binary("arith.addi", start, at);
                kernel::store_shared_four(b, TILES[s], &self.shape, vector, (at, side.step));
            }
        }
        let Some(most) = most else { return };
        let most = largest(b, most);
        let special = b.compare("uge", most, excess);
        b.region(format!("scf.if {special}"), |b| {
            let stamp = b.convert("arith.index_cast", stamp, Elem::I32);
            let two = index(b, 2);
            let at = b.binary("arith.muli", half, two);
            kernel::store_shared(b, FLAGS, &self.shape, stamp, at);
        });
    }

    /// The sums over the tiles from the first up to the second.
    fn chunk(&self, b: &mut Builder, place: &Place, [start, end]: [Value; 2]) -> Vec<Value> {
        let zero = float::zero(b);
        let (one, two) = (index(b, 1), index(b, 2));
        let last = index(b, self.spec.k.div_ceil(self.tile.terms) - 1);
        for_carrying(b, [start, end, one], &[zero; CELL * CELL], |b, tile, sums| {
            let next = b.binary("arith.addi", tile, one);
            let clamped = b.binary("arith.minsi", next, last);
            let fetched = self.fetch(b, place, clamped);
            let half = b.binary("arith.andi", tile, one);
            let sums = self.multiply(b, place, half, next, &sums);
            let other = b.binary("arith.xori", half, one);
            let stamp = b.binary("arith.addi", tile, two);
            self.put(b, &fetched, other, stamp);
            kernel::barrier(b);
            sums
        })
    }

    /// One pair of tiles, by the cheapest kernel that is exact for it.
    fn multiply(
        &self,
        b: &mut Builder,
        place: &Place,
        half: Value,
        stamp: Value,
        sums: &[Value],
    ) -> Vec<Value> {
        let stamp = b.convert("arith.index_cast", stamp, Elem::I32);
        let (one, two) = (index(b, 1), index(b, 2));
        let at = b.binary("arith.muli", half, two);
        let flag = kernel::load_shared(b, FLAGS, &self.shape, at);
        let special = b.compare("eq", flag, stamp);
        branch(
            b,
            special,
            sums,
            |b| {
                let at = b.binary("arith.addi", at, one);
                for s in [0, 1] {
                    self.look(b, place, s, half, (stamp, at));
                }
                kernel::barrier(b);
                let flag = kernel::load_shared(b, FLAGS, &self.shape, at);
                let huge = b.compare("eq", flag, stamp);
                branch(
                    b,
                    huge,
                    sums,
                    |b| self.full(b, place, half, sums),
                    |b| self.general(b, place, half, sums),
                )
            },
            |b| self.short(b, place, half, sums),
        )
    }
}

/// The largest of a vector's elements, as unsigned numbers.
pub(super) fn largest(b: &mut Builder, vector: Value) -> Value {
    let [w, x, y, z] = elements(b, vector);
    let (low, high) = (b.binary("arith.maxui", w, x), b.binary("arith.maxui", y, z));
    b.binary("arith.maxui", low, high)
}
