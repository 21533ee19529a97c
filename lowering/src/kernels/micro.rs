//! Register-tiled inner kernels over packed panels.
//!
//! A kernel computes, for one tile and one chunk of k, `out = out + (+0 + p₀ + p₁ + …)` (with `+0`
//! for `out` in the first chunk). Panel `a` holds raw bits `[k][rows]`; panel `b` holds
//! `[k][columns]`, in PAM with the bias already subtracted. Each [`Version`] is exact only under
//! the condition that it documents.

use super::operands::{Column, Row};
use super::pack::NAN_FACTS;
use super::plan::SlopeOf;
use super::product::{self, BIAS, FRACTION, MAX_FINITE, MIN_NORMAL, Parts};
use super::text::{Text, Val};
use super::{CHUNK, Tile};
use crate::codegen::Access;

/// What a kernel may assume of its two panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Every product is finite and normal, and no operand is zero: an integer add is the product.
    Fast,
    /// As `Fast` for nonzero operands, and no sum can be subnormal: zero products are skipped.
    Masked { a: bool, b: bool },
    /// Finite operands, and no product saturates; products may be zero or flush.
    Flushing,
    /// No operand is infinite, but that slopes are taken of: sums that meet a NaN start from it.
    Clamped,
    /// Any operands.
    Full,
    /// Ordinary arithmetic: one fused multiply-add a term.
    Fused,
}

impl Version {
    /// Whether it wants to know the facts of both panels.
    pub fn wants_facts(self) -> bool {
        matches!(self, Self::Flushing | Self::Clamped)
    }

    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Masked { a: true, b: true } => "masked",
            Self::Masked { a: true, .. } => "masked_a",
            Self::Masked { .. } => "masked_b",
            Self::Flushing => "flushing",
            Self::Clamped => "clamped",
            Self::Full => "full",
            Self::Fused => "fused",
        }
    }
}

/// An inner kernel: its tile, its term and what it assumes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Micro {
    pub tile: Tile,
    pub slope_of: Option<SlopeOf>,
    pub version: Version,
}

impl Micro {
    pub fn name(&self) -> String {
        let term = match self.slope_of {
            None => "product",
            Some(SlopeOf::Left) => "slope_of_a",
            Some(SlopeOf::Right) => "slope_of_b",
        };
        let Tile { rows, vectors, lanes } = self.tile;
        format!("pamc_{term}_{rows}x{vectors}x{}_{}", lanes.0, self.version.suffix())
    }

    /// Parameter types, in the order panel a, panel b, chunk length, out, row stride of out,
    /// whether this is the first chunk; for slopes the fraction bits `[rows][columns]`; then the facts of
    /// both panels if it [wants](Version::wants_facts) them.
    pub fn types(&self) -> Vec<&'static str> {
        let mut types = vec!["!llvm.ptr", "!llvm.ptr", "i64", "!llvm.ptr", "i64", "i1"];
        if self.slope_of.is_some() {
            types.push("!llvm.ptr");
        }
        if self.version.wants_facts() {
            types.extend(["!llvm.ptr"; 2]);
        }
        types
    }

    /// Writes the kernel as a function.
    pub fn emit(&self) -> String {
        let mut names = vec!["%a", "%b", "%k", "%out", "%ld", "%first"];
        names.extend(self.slope_of.map(|_| "%at"));
        names.extend(["%a_facts", "%b_facts"]);
        let names = names.into_iter().map(String::from);
        let types = self.types().into_iter().map(String::from);
        let args: Vec<_> = names.zip(types).collect();
        let mut t = Text::default();
        t.func(&self.name(), Access::Shared, &args, |t| self.body(t));
        t.into_string()
    }

    pub(super) fn split_rows(&self) -> bool {
        matches!(
            self.version,
            Version::Flushing | Version::Clamped | Version::Masked { a: true, .. }
        )
    }

    /// Full kernels are long: they loop over rows instead of being unrolled over them.
    fn body(&self, t: &mut Text) {
        let Tile { rows, vectors, lanes } = self.tile;
        if self.version != Version::Full {
            let [a, out, at] = ["%a", "%out", "%at"];
            return self.rows(t, rows, [a, out, at]);
        }
        let count = t.i64(rows as i64);
        t.loop_to(&count, 1, |t, row| {
            let a = t.at("%a", row);
            let down = t.bin("muli", row, "%ld", "i64");
            let out = t.at("%out", &down);
            let at = match self.slope_of {
                None => String::new(),
                Some(_) => {
                    let down = t.i64_op("muli", row, (vectors * lanes.0) as i64);
                    t.at("%at", &down)
                }
            };
            self.rows(t, 1, [&a, &out, &at]);
        });
    }

    /// Computes `rows` rows of the tile in registers.
    fn rows(&self, t: &mut Text, rows: usize, [a, out, at]: [&str; 3]) {
        let Tile { vectors, lanes, .. } = self.tile;
        let fractions = self.load_fractions(t, rows, at);
        let a = if self.split_rows() { self.split_panel(t) } else { a.into() };
        let a_step = self.tile.rows as i64;
        let from = t.i64(0);
        let carried = self.starts(t, rows);
        let sums = t.loop_with([&from, "%k"], 1, &carried, |t, k, mut sums| {
            let at = t.i64_op("muli", k, a_step);
            let a = t.at(&a, &at);
            let at = t.i64_op("muli", k, self.tile.columns() as i64);
            let b = t.at("%b", &at);
            let columns: Vec<_> = (0..vectors)
                .map(|v| {
                    let p = t.at_const(&b, (v * lanes.0) as i64);
                    let x = t.load(&p, &lanes.int());
                    self.column(t, x)
                })
                .collect();
            for row in 0..rows {
                let left = self.row(t, &a, row);
                for (v, right) in columns.iter().enumerate() {
                    let cell = row * vectors + v;
                    let fraction = fractions.get(cell).map(String::as_str);
                    sums[cell] = self.accumulate(t, &left, right, fraction, &sums[cell]);
                }
            }
            sums
        });
        self.add_to_out(t, out, &sums);
    }

    fn load_fractions(&self, t: &mut Text, rows: usize, at: &str) -> Vec<Val> {
        if self.slope_of.is_none() {
            return Vec::new();
        }
        let Tile { vectors, lanes, .. } = self.tile;
        (0..rows * vectors)
            .map(|cell| {
                let p = t.at_const(at, (cell * lanes.0) as i64);
                t.load(&p, &lanes.int())
            })
            .collect()
    }

    /// What the sums of a chunk start from: +0, or a NaN where a clamped version will meet one.
    pub(super) fn starts(&self, t: &mut Text, rows: usize) -> Vec<(Val, String)> {
        let Tile { vectors, lanes, .. } = self.tile;
        let zero = t.zero(lanes);
        if self.version != Version::Clamped {
            return vec![(zero, lanes.float()); rows * vectors];
        }
        let none = t.bits(0, lanes);
        let mut starts = Vec::with_capacity(rows * vectors);
        for row in 0..rows {
            let left = match self.slope_of {
                Some(SlopeOf::Left) => none.clone(),
                _ => {
                    let p = t.at_const("%a_facts", NAN_FACTS + row as i64);
                    let x = t.load(&p, "i32");
                    t.broadcast(&x, lanes)
                }
            };
            for v in 0..vectors {
                let right = match self.slope_of {
                    Some(SlopeOf::Right) => none.clone(),
                    _ => {
                        let p = t.at_const("%b_facts", NAN_FACTS + (v * lanes.0) as i64);
                        t.load(&p, &lanes.int())
                    }
                };
                let start = t.ints("ori", &left, &right, lanes);
                starts.push((t.as_float(&start, lanes), lanes.float()));
            }
        }
        starts
    }

    /// Copies panel `a` with the parts that [`Self::split`] makes of each element: each copy is
    /// `rows * CHUNK` elements behind the one before. Reads whole vectors, which a panel's slot
    /// has room for.
    fn split_panel(&self, t: &mut Text) -> Val {
        let Tile { rows, lanes, .. } = self.tile;
        let split = t.alloca(3 * rows * CHUNK);
        let zero = self.zero_magnitude(t, "%b_facts", MIN_NORMAL - 1 + BIAS, lanes);
        let elements = t.i64_op("muli", "%k", rows as i64);
        t.loop_to(&elements, lanes.0 as i64, |t, at| {
            let from = t.at("%a", at);
            let x = t.load(&from, &lanes.int());
            let to = t.at(&split, at);
            for (i, part) in self.split(t, &x, &zero, lanes).iter().enumerate() {
                let to = t.at_const(&to, (i * rows * CHUNK) as i64);
                t.store(part, &to, &lanes.int());
            }
        });
        split
    }

    pub(super) fn accumulate(
        &self,
        t: &mut Text,
        left: &Row,
        right: &Column,
        fraction: Option<&str>,
        sum: &str,
    ) -> Val {
        let lanes = self.tile.lanes;
        let float = lanes.float();
        let term = match (left, right) {
            (Row::Plain(a), Column::Plain(b)) if self.version == Version::Fused => {
                let [a, b] = [a, b].map(|x| t.as_float(x, lanes));
                return t.def(&format!("math.fma {a}, {b}, {sum} : {float}"));
            }
            (Row::Full(a), Column::Full(b)) => product::full_product(t, a, b, lanes),
            (Row::Full(g), Column::FullSlope(of)) | (Row::FullSlope(of), Column::Full(g)) => {
                let slope = product::full_slope(t, fraction.unwrap_or_default(), of, lanes);
                let slope = Parts::of(t, &slope, lanes);
                product::full_product(t, g, &slope, lanes)
            }
            (
                Row::Split { magnitude: a, sign: a_sign },
                Column::Split { magnitude: b, sign: b_sign },
            ) => {
                let none = t.bits(0, lanes);
                let magnitude = t.ints("addi", a, b, lanes);
                let magnitude = t.ints("maxsi", &magnitude, &none, lanes);
                let sign = t.ints("xori", a_sign, b_sign, lanes);
                t.ints("ori", &magnitude, &sign, lanes)
            }
            (
                Row::Clamped { magnitude: a, sign: a_sign, highest },
                Column::Clamped { magnitude: b, sign: b_sign, nonzero },
            ) => {
                let (a, b) = match self.slope_of {
                    None => (a.clone(), b.clone()),
                    Some(SlopeOf::Left) => (self.finite_power(t, a, fraction), b.clone()),
                    Some(SlopeOf::Right) => (a.clone(), self.finite_power(t, b, fraction)),
                };
                let sign = t.ints("xori", a_sign, b_sign, lanes);
                let magnitude = product::clamped(t, [&a, &b], [highest, nonzero], lanes);
                t.ints("ori", &magnitude, &sign, lanes)
            }
            (Row::Plain(a) | Row::Masked(a, _), Column::Plain(b) | Column::Masked(b, _)) => {
                let (a, b) = match self.slope_of {
                    None => (a.clone(), b.clone()),
                    Some(SlopeOf::Left) => (self.power(t, a, fraction), b.clone()),
                    Some(SlopeOf::Right) => (a.clone(), self.power(t, b, fraction)),
                };
                t.ints("addi", &a, &b, lanes)
            }
            _ => unreachable!("rows and columns are prepared by the same version"),
        };
        let term = match left {
            Row::Masked(_, mask) => t.ints("andi", &term, mask, lanes),
            _ => term,
        };
        let term = t.as_float(&term, lanes);
        let new = t.bin("addf", sum, &term, &float);
        match right {
            Column::Masked(_, mask) => {
                t.def(&format!("arith.select {mask}, {new}, {sum} : {}, {float}", lanes.mask()))
            }
            _ => new,
        }
    }

    /// The (possibly biased) power of two that is the slope by `of`, in range.
    fn power(&self, t: &mut Text, of: &str, fraction: Option<&str>) -> Val {
        let fraction = fraction.unwrap_or_default();
        let lanes = self.tile.lanes;
        let powers = t.bits(!FRACTION, lanes);
        let sum = t.ints("addi", of, fraction, lanes);
        t.ints("andi", &sum, &powers, lanes)
    }

    /// The magnitude of the slope by an operand of any magnitude.
    fn finite_power(&self, t: &mut Text, of: &str, fraction: Option<&str>) -> Val {
        let lanes = self.tile.lanes;
        let power = self.power(t, of, fraction);
        let largest = t.bits(MAX_FINITE, lanes);
        t.ints("minui", &power, &largest, lanes)
    }

    fn add_to_out(&self, t: &mut Text, out: &str, sums: &[Val]) {
        let Tile { vectors, lanes, .. } = self.tile;
        let float = lanes.float();
        let pointers: Vec<_> = (0..sums.len())
            .map(|cell| {
                let down = t.i64_op("muli", "%ld", (cell / vectors) as i64);
                let row = t.at(out, &down);
                t.at_const(&row, (cell % vectors * lanes.0) as i64)
            })
            .collect();
        let zero = t.zero(lanes);
        let types = vec![float.clone(); sums.len()];
        let old = t.branch(
            "%first",
            &types,
            |_| vec![zero; sums.len()],
            |t| pointers.iter().map(|p| t.load(p, &float)).collect(),
        );
        for ((p, old), sum) in pointers.iter().zip(&old).zip(sums) {
            let new = t.bin("addf", old, sum, &float);
            t.store(&new, p, &float);
        }
    }
}
