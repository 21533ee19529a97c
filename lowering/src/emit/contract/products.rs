//! The products of a pair of tiles, for operands of each sort.

use super::super::builder::{Builder, Code};
use super::super::kernel::{self, elements};
use super::super::types::{Elem, Value};
use super::super::{float, pam};
use super::loops::{bits, for_carrying, index};
use super::tile::{CELL, UNROLL};
use super::tiled::{BIAS, FLAGS, FOUR, I32, Place, TILES, Tiled, largest};

const MIN_NORMAL: i64 = 0x0080_0000;
const MAGNITUDE: i64 = 0x7FFF_FFFF;
/// The magnitude of a zero in the general kernel: any sum with it, less the bias, is not positive.
const NOTHING: i64 = -0x4000_0000;
/// What the general kernel subtracts from the magnitudes of each operand: the bias in two parts that
/// leave fractions alone.
const PARTS: [i64; 2] = [0x2000_0000, BIAS - 0x2000_0000];

impl Tiled<'_> {
    /// Runs over the terms of a tile, some of them written out one after the other for LLVM to schedule;
    /// `body` has the thread's eight elements of each half named in `halves`.
    fn terms(
        &self,
        b: &mut Builder,
        place: &Place,
        (unroll, halves): (bool, &[(usize, Value)]),
        sums: &[Value],
        body: impl Fn(&mut Builder, &[Vec<Value>], &[Value]) -> Vec<Value>,
    ) -> Vec<Value> {
        let count = if unroll && b.code() != Code::Spirv { UNROLL } else { 1 };
        let ends = [0, self.tile.terms, count].map(|v| index(b, v));
        for_carrying(b, ends, sums, |b, first, sums| {
            let origins: Vec<(usize, Value)> = halves
                .iter()
                .map(|&(s, half)| (s, self.origin(b, place, (s, half), first)))
                .collect();
            let mut sums = sums;
            for k in 0..count {
                let cells: Vec<Vec<Value>> =
                    origins.iter().map(|&(s, origin)| self.cells(b, s, origin, k)).collect();
                sums = body(b, &cells, &sums);
            }
            sums
        })
    }

    pub(super) fn width(&self, s: usize) -> usize {
        [self.tile.rows, self.tile.columns][s]
    }

    /// The first of the thread's elements of a half at a term.
    fn origin(
        &self,
        b: &mut Builder,
        place: &Place,
        (s, half): (usize, Value),
        term: Value,
    ) -> Value {
        let (row, four) = (index(b, self.width(s)), index(b, 4));
        let start = self.start(b, s, half);
        let at = b.binary("arith.muli", term, row);
        let own = b.binary("arith.muli", place.cell[s], four);
        let own = b.binary("arith.addi", start, own);
        b.binary("arith.addi", own, at)
    }

    /// The thread's eight elements of an operand, `k` terms on from the origin.
    fn cells(&self, b: &mut Builder, s: usize, origin: Value, k: usize) -> Vec<Value> {
        let width = self.width(s);
        let vectors = [k * width, k * width + width / 2].map(|offset| {
            let offset = index(b, offset);
            let at = b.binary("arith.addi", origin, offset);
            kernel::load_shared_four(b, TILES[s], &self.shape, at)
        });
        vectors.into_iter().flat_map(|v| elements(b, v)).collect()
    }

    fn start(&self, b: &mut Builder, s: usize, half: Value) -> Value {
        let size = index(b, self.shape.shared[TILES[s]].1 / 2);
        b.binary("arith.muli", half, size)
    }

    /// No product flushes, saturates or meets a special value.
    pub(super) fn short(
        &self,
        b: &mut Builder,
        place: &Place,
        half: Value,
        sums: &[Value],
    ) -> Vec<Value> {
        self.terms(b, place, (true, &[(0, half), (1, half)]), sums, |b, cells, sums| {
            outer(b, sums, |b, i, j| {
                let [x, y] = [(0, cells[0][i]), (1, cells[1][j])]
                    .map(|factor| self.factor(b, place, factor, CELL * i + j));
                b.binary("arith.addi", x, y)
            })
        })
    }

    /// Products may flush, and operands be zero.
    pub(super) fn general(
        &self,
        b: &mut Builder,
        place: &Place,
        half: Value,
        sums: &[Value],
    ) -> Vec<Value> {
        let one = index(b, 1);
        let other = b.binary("arith.xori", half, one);
        for s in [0, 1] {
            self.take_apart(b, place, s, [half, other]);
        }
        kernel::barrier(b);
        let (none, least) = (b.int(I32, 0), b.int(I32, MIN_NORMAL));
        let halves = [(0, other), (1, other), (0, half), (1, half)];
        let sums = self.terms(b, place, (true, &halves), sums, |b, cells, sums| {
            let [m, n, p, q] = [0, 1, 2, 3].map(|c| &cells[c]);
            outer(b, sums, |b, i, j| {
                let [x, y] = [(0, m[i]), (1, n[j])]
                    .map(|factor| self.factor(b, place, factor, CELL * i + j));
                let sum = b.binary("arith.addi", x, y);
                let magnitude = match b.code() {
                    // A subnormal is flushed by the addition that takes it.
                    Code::Llvm | Code::Cpu => b.binary("arith.maxsi", sum, none),
                    Code::Spirv => {
                        let normal = b.compare("sge", sum, least);
                        b.select(normal, sum, none)
                    }
                };
                let sign = b.binary("arith.xori", p[i], q[j]);
                b.binary("arith.ori", magnitude, sign)
            })
        });
        // The next tile goes where the magnitudes are.
        kernel::barrier(b);
        sums
    }

    /// Hand the bits of each vector of one half that this thread answers for to `body`, with its place.
    fn each_vector(
        &self,
        b: &mut Builder,
        place: &Place,
        (s, half): (usize, Value),
        mut body: impl FnMut(&mut Builder, Value, Value),
    ) {
        let count = self.shape.shared[TILES[s]].1 / 8;
        let start = self.start(b, s, half);
        for step in 0..count / self.shape.threads {
            let (step, four) = (index(b, step * self.shape.threads), index(b, 4));
            let item = b.binary("arith.addi", place.thread, step);
            let item = b.binary("arith.muli", item, four);
            let at = b.binary("arith.addi", start, item);
            let mut bits = kernel::load_shared_four(b, TILES[s], &self.shape, at);
            if s == 1 {
                let bias = b.int(FOUR, BIAS);
                bits = b.binary("arith.addi", bits, bias);
            }
            body(b, bits, item);
        }
    }

    /// Leave the stamp in a flag if an element of one half is 2⁶⁴ or more.
    pub(super) fn look(
        &self,
        b: &mut Builder,
        place: &Place,
        s: usize,
        half: Value,
        (stamp, flag): (Value, Value),
    ) {
        let mut most = b.int(FOUR, 0);
        self.each_vector(b, place, (s, half), |b, bits, _| {
            let mask = b.int(FOUR, MAGNITUDE);
            let magnitude = b.binary("arith.andi", bits, mask);
            most = b.binary("arith.maxui", most, magnitude);
        });
        let limit = b.int(I32, 0x5F80_0000);
        let most = largest(b, most);
        let huge = b.compare("uge", most, limit);
        b.region(format!("scf.if {huge}"), |b| {
            kernel::store_shared(b, FLAGS, &self.shape, stamp, flag);
        });
    }

    /// Replace one half by its signs, and write the magnitudes, less a part of the bias, to the other
    /// one, which waits for the next tile.
    fn take_apart(&self, b: &mut Builder, place: &Place, s: usize, [half, other]: [Value; 2]) {
        let starts = [half, other].map(|h| self.start(b, s, h));
        self.each_vector(b, place, (s, half), |b, bits, item| {
            let [mask, top, least, nothing, bias] =
                [MAGNITUDE, i64::from(i32::MIN), MIN_NORMAL, NOTHING, PARTS[s]]
                    .map(|v| b.int(FOUR, v));
            let magnitude = b.binary("arith.andi", bits, mask);
            let sign = b.binary("arith.andi", bits, top);
            let normal = b.compare("sge", magnitude, least);
            let centred = b.binary("arith.subi", magnitude, bias);
            let magnitude = b.select(normal, centred, nothing);
            for (start, value) in starts.into_iter().zip([sign, magnitude]) {
                let at = b.binary("arith.addi", start, item);
                kernel::store_shared_four(b, TILES[s], &self.shape, value, (at, 1));
            }
        });
    }

    /// Anything goes.
    pub(super) fn full(
        &self,
        b: &mut Builder,
        place: &Place,
        half: Value,
        sums: &[Value],
    ) -> Vec<Value> {
        self.terms(b, place, (false, &[(0, half), (1, half)]), sums, |b, cells, sums| {
            let bias = b.int(I32, BIAS);
            let float = |b: &mut Builder, v| b.convert("arith.bitcast", v, Elem::F32);
            let left = &cells[0];
            let right: Vec<Value> =
                cells[1].iter().map(|&y| b.binary("arith.addi", y, bias)).collect();
            outer(b, sums, |b, i, j| {
                let mut factors = [left[i], right[j]].map(|v| float(b, v));
                if let Some(slope) = &self.slope {
                    let at = float(b, place.fractions[CELL * i + j]);
                    factors[slope.of] = pam::mul_slope(b, at, factors[slope.of]);
                }
                let product = pam::mul(b, factors[0], factors[1]);
                bits(b, product)
            })
        })
    }
}

/// Sums with the products of each pair of the thread's rows and columns, by their bits.
fn outer(
    b: &mut Builder,
    sums: &[Value],
    product: impl Fn(&mut Builder, usize, usize) -> Value,
) -> Vec<Value> {
    let mut out = Vec::with_capacity(sums.len());
    for (at, &sum) in sums.iter().enumerate() {
        let bits = product(b, at / CELL, at % CELL);
        let term = b.convert("arith.bitcast", bits, Elem::F32);
        out.push(float::add(b, sum, term));
    }
    out
}
