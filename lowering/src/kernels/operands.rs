//! What the inner kernels make of the elements of their panels, once for each row and column vector.

use super::CHUNK;
use super::micro::{Micro, Version};
use super::plan::SlopeOf;
use super::product::{BIAS, MAGNITUDE, MAX_FINITE, MIN_NORMAL, Parts, SIGN};
use super::text::{Lanes, Text, Val};

/// One row's operand in the form the term wants it.
pub(super) enum Row {
    Plain(Val),
    Masked(Val, Val),
    Split { magnitude: Val, sign: Val },
    Clamped { magnitude: Val, sign: Val, highest: Val },
    Full(Parts),
    FullSlope(Val),
}

/// One column vector's operand in the form the term wants it.
pub(super) enum Column {
    Plain(Val),
    Masked(Val, Val),
    Split { magnitude: Val, sign: Val },
    Clamped { magnitude: Val, sign: Val, nonzero: Val },
    Full(Parts),
    FullSlope(Val),
}

impl Micro {
    /// What stands for a zero's magnitude in a flushing kernel, so that its sum with any magnitude
    /// of the other panel stays below the normal range, and with that panel's zeros within 32 bits:
    /// `least` less the largest magnitude there, at most 0. The two sum to at least −0x7E80_0002, since the largest
    /// product does not saturate.
    pub(super) fn zero_magnitude(
        &self,
        t: &mut Text,
        facts: &str,
        least: u32,
        lanes: Lanes,
    ) -> Val {
        if self.version != Version::Flushing {
            return t.bits(0, lanes);
        }
        let above = t.load(facts, "i32");
        let above = t.def(&format!("arith.extsi {above} : i32 to i64"));
        let room = t.i64(i64::from(least) - i64::from(MIN_NORMAL));
        let room = t.bin("subi", &room, &above, "i64");
        let none = t.i64(0);
        let room = t.bin("minsi", &room, &none, "i64");
        let room = t.def(&format!("arith.trunci {room} : i64 to i32"));
        t.broadcast(&room, lanes)
    }

    /// Value and all-ones-if-nonzero for a masked kernel; magnitude and sign for a flushing one; for
    /// a clamped one also the highest biased sum that its products may have, none for a zero.
    pub(super) fn split(
        &self,
        t: &mut Text,
        x: &str,
        zero_magnitude: &str,
        lanes: Lanes,
    ) -> Vec<Val> {
        let [magnitude_mask, sign_mask, none, all] =
            [MAGNITUDE, SIGN, 0, !0].map(|v| t.bits(v, lanes));
        let magnitude = t.ints("andi", x, &magnitude_mask, lanes);
        let zero = t.cmp("eq", &magnitude, &none, lanes);
        if matches!(self.version, Version::Masked { .. }) {
            return vec![x.to_string(), t.select(&zero, &none, &all, lanes)];
        }
        let sign = t.ints("andi", x, &sign_mask, lanes);
        if self.version == Version::Clamped {
            let [bias, highest] = [BIAS, BIAS + MAX_FINITE].map(|v| t.bits(v, lanes));
            let highest = t.select(&zero, &bias, &highest, lanes);
            return vec![magnitude, sign, highest];
        }
        vec![t.select(&zero, zero_magnitude, &magnitude, lanes), sign]
    }

    pub(super) fn row(&self, t: &mut Text, a: &str, row: usize) -> Row {
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
            Version::Clamped => {
                let copy = self.tile.rows * CHUNK;
                let [sign, highest] = [copy + row, 2 * copy + row].map(|at| load(t, at));
                Row::Clamped { magnitude: x, sign, highest }
            }
            Version::Full if self.slope_of == Some(SlopeOf::Left) => Row::FullSlope(x),
            Version::Full => Row::Full(Parts::of(t, &x, lanes)),
        }
    }

    pub(super) fn column(&self, t: &mut Text, x: Val) -> Column {
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
            Version::Flushing | Version::Clamped => {
                let [magnitude_mask, sign_mask, none] =
                    [MAGNITUDE, SIGN, 0].map(|v| t.bits(v, lanes));
                let sign = t.ints("andi", &raw, &sign_mask, lanes);
                let magnitude = t.ints("andi", &raw, &magnitude_mask, lanes);
                if self.version == Version::Clamped {
                    let nonzero = nonzero(t, &raw, lanes);
                    return Column::Clamped { magnitude, sign, nonzero };
                }
                let zero = t.cmp("eq", &magnitude, &none, lanes);
                let magnitude = t.ints("subi", &magnitude, &bias, lanes);
                let far_below = self.zero_magnitude(t, "%a_facts", MIN_NORMAL - 1, lanes);
                let magnitude = t.select(&zero, &far_below, &magnitude, lanes);
                Column::Split { magnitude, sign }
            }
            _ => {
                let nonzero = nonzero(t, &raw, lanes);
                Column::Masked(x, nonzero)
            }
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
