//! Register-tiled inner kernels over packed panels.
//!
//! A kernel computes, for one tile and one chunk of k, `out = out + (+0 + p₀ + p₁ + …)` (with `+0`
//! for `out` in the first chunk). Panel `a` holds raw bits `[k][rows]`; panel `b` holds
//! `[k][columns]`, in PAM with the bias already subtracted. Each [`Version`] is exact only under
//! the condition that it documents.

use super::plan::SlopeOf;
use super::product::{self, BIAS, FRACTION, MAGNITUDE, MIN_NORMAL, Parts, SIGN};
use super::text::{Lanes, Text, Val};
use super::{CHUNK, Tile};

/// What a kernel may assume of its two panels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// Every product is finite and normal, and no operand is zero: an integer add is the product.
    Fast,
    /// As `Fast` for nonzero operands, and no sum can be subnormal: zero products are skipped.
    Masked { a: bool, b: bool },
    /// Finite operands, and no product saturates; products may be zero or flush.
    Flushing,
    /// Any operands.
    Full,
    /// Ordinary arithmetic: one fused multiply-add a term.
    Fused,
}

impl Version {
    fn suffix(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Masked { a: true, b: true } => "masked",
            Self::Masked { a: true, .. } => "masked_a",
            Self::Masked { .. } => "masked_b",
            Self::Flushing => "flushing",
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

/// One row's operand in the form the term wants it.
enum Row {
    Plain(Val),
    Masked(Val, Val),
    Split { magnitude: Val, sign: Val },
    Full(Parts),
    FullSlope(Val),
}

/// One column vector's operand in the form the term wants it.
enum Column {
    Plain(Val),
    Masked(Val, Val),
    Split { magnitude: Val, sign: Val },
    Full(Parts),
    FullSlope(Val),
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
    /// whether this is the first chunk; for slopes the fraction bits `[rows][columns]`; for the
    /// flushing version the largest magnitudes in both panels.
    pub fn types(&self) -> Vec<&'static str> {
        let mut types = vec!["!llvm.ptr", "!llvm.ptr", "i64", "!llvm.ptr", "i64", "i1"];
        if self.slope_of.is_some() {
            types.push("!llvm.ptr");
        }
        if self.version == Version::Flushing {
            types.extend(["i64", "i64"]);
        }
        types
    }

    /// Writes the kernel as a function.
    pub fn emit(&self) -> String {
        let mut names = vec!["%a", "%b", "%k", "%out", "%ld", "%first"];
        names.extend(self.slope_of.map(|_| "%at"));
        names.extend(["%a_largest", "%b_largest"]);
        let names = names.into_iter().map(String::from);
        let types = self.types().into_iter().map(String::from);
        let args: Vec<_> = names.zip(types).collect();
        let mut t = Text::default();
        t.func(&self.name(), false, &args, |t| self.body(t));
        t.into_string()
    }

    fn split_rows(&self) -> bool {
        matches!(self.version, Version::Flushing | Version::Masked { a: true, .. })
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
        let zero = t.zero(lanes);
        let from = t.i64(0);
        let carried = vec![(zero.clone(), lanes.float()); rows * vectors];
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

    /// Copies panel `a` twice, with the pair that [`Self::split`] makes of each element: the second
    /// copy is `rows * CHUNK` elements behind the first. Reads whole vectors, which a panel's slot
    /// has room for.
    fn split_panel(&self, t: &mut Text) -> Val {
        let Tile { rows, lanes, .. } = self.tile;
        let size = t.i64((2 * rows * CHUNK) as i64);
        let split = t.def(&format!(
            "llvm.alloca {size} x i32 {{alignment = 64 : i64}} : (i64) -> !llvm.ptr"
        ));
        let zero = self.zero_magnitude(t, "%b_largest", MIN_NORMAL - 1 + BIAS, lanes);
        let elements = t.i64_op("muli", "%k", rows as i64);
        t.loop_to(&elements, lanes.0 as i64, |t, at| {
            let from = t.at("%a", at);
            let x = t.load(&from, &lanes.int());
            let (first, second) = self.split(t, &x, &zero, lanes);
            let to = t.at(&split, at);
            t.store(&first, &to, &lanes.int());
            let to = t.at_const(&to, (rows * CHUNK) as i64);
            t.store(&second, &to, &lanes.int());
        });
        split
    }

    /// What stands for a zero's magnitude in a flushing kernel, so that its sum with any magnitude
    /// of the other panel stays below the normal range, and with that panel's zeros within 32 bits:
    /// `least` − `largest`, at most 0. The two sum to at least −0x7E80_0002, since the largest
    /// product does not saturate.
    fn zero_magnitude(&self, t: &mut Text, largest: &str, least: u32, lanes: Lanes) -> Val {
        if self.version != Version::Flushing {
            return t.bits(0, lanes);
        }
        let least = t.i64(i64::from(least));
        let room = t.bin("subi", &least, largest, "i64");
        let none = t.i64(0);
        let room = t.bin("minsi", &room, &none, "i64");
        let room = t.def(&format!("arith.trunci {room} : i64 to i32"));
        t.broadcast(&room, lanes)
    }

    /// Value and all-ones-if-nonzero for a masked kernel; magnitude and sign for a flushing one.
    fn split(&self, t: &mut Text, x: &str, zero_magnitude: &str, lanes: Lanes) -> (Val, Val) {
        let [magnitude_mask, sign_mask, none, all] =
            [MAGNITUDE, SIGN, 0, !0].map(|v| t.bits(v, lanes));
        let magnitude = t.ints("andi", x, &magnitude_mask, lanes);
        let zero = t.cmp("eq", &magnitude, &none, lanes);
        if self.version != Version::Flushing {
            return (x.to_string(), t.select(&zero, &none, &all, lanes));
        }
        let magnitude = t.select(&zero, zero_magnitude, &magnitude, lanes);
        (magnitude, t.ints("andi", x, &sign_mask, lanes))
    }

    fn row(&self, t: &mut Text, a: &str, row: usize) -> Row {
        let lanes = self.tile.lanes;
        let load = |t: &mut Text, at: usize| {
            let p = t.at_const(a, at as i64);
            let x = t.load(&p, "i32");
            t.broadcast(&x, lanes)
        };
        let x = load(t, row);
        match self.version {
            Version::Masked { a: true, .. } => {
                Row::Masked(x, load(t, self.tile.rows * CHUNK + row))
            }
            Version::Fast | Version::Masked { .. } | Version::Fused => Row::Plain(x),
            Version::Flushing => {
                Row::Split { magnitude: x, sign: load(t, self.tile.rows * CHUNK + row) }
            }
            Version::Full if self.slope_of == Some(SlopeOf::Left) => Row::FullSlope(x),
            Version::Full => Row::Full(Parts::of(t, &x, lanes)),
        }
    }

    fn column(&self, t: &mut Text, x: Val) -> Column {
        let lanes = self.tile.lanes;
        if matches!(self.version, Version::Fast | Version::Masked { b: false, .. } | Version::Fused)
        {
            return Column::Plain(x);
        }
        let bias = t.bits(BIAS, lanes);
        let raw = t.ints("addi", &x, &bias, lanes);
        match self.version {
            Version::Full if self.slope_of == Some(SlopeOf::Right) => Column::FullSlope(raw),
            Version::Full => Column::Full(Parts::of(t, &raw, lanes)),
            Version::Flushing => {
                let [magnitude_mask, sign_mask, none] =
                    [MAGNITUDE, SIGN, 0].map(|v| t.bits(v, lanes));
                let sign = t.ints("andi", &raw, &sign_mask, lanes);
                let magnitude = t.ints("andi", &raw, &magnitude_mask, lanes);
                let zero = t.cmp("eq", &magnitude, &none, lanes);
                let magnitude = t.ints("subi", &magnitude, &bias, lanes);
                let far_below = self.zero_magnitude(t, "%a_largest", MIN_NORMAL - 1, lanes);
                let magnitude = t.select(&zero, &far_below, &magnitude, lanes);
                Column::Split { magnitude, sign }
            }
            _ => {
                let nonzero = nonzero(t, &raw, lanes);
                Column::Masked(x, nonzero)
            }
        }
    }

    fn accumulate(
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

/// Of a zero or normal value. LLVM inverts a comparison with zero and then misses the masked add,
/// so the magnitude is compared with something below the smallest normal number that is no power of
/// two.
fn nonzero(t: &mut Text, x: &str, lanes: Lanes) -> Val {
    let [mask, below] = [MAGNITUDE, MIN_NORMAL / 3].map(|v| t.bits(v, lanes));
    let magnitude = t.ints("andi", x, &mask, lanes);
    t.cmp("ugt", &magnitude, &below, lanes)
}
