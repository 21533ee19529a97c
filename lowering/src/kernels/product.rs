//! The product terms: what one lane of an inner loop computes, in each of its versions.

use super::text::{Lanes, Text, Val};

pub(super) const BIAS: u32 = 0x3F80_0000;
pub(super) const MIN_NORMAL: u32 = 0x0080_0000;
pub(super) const INF: u32 = 0x7F80_0000;
pub(super) const MAX_FINITE: u32 = 0x7F7F_FFFF;
pub(super) const MAGNITUDE: u32 = 0x7FFF_FFFF;
pub(super) const SIGN: u32 = 0x8000_0000;
pub(super) const FRACTION: u32 = 0x007F_FFFF;
pub(super) const NAN: u32 = 0x7FC0_0000;

/// Magnitude, sign and class of an operand of [`full_product`].
pub(super) struct Parts {
    magnitude: Val,
    sign: Val,
    zero: Val,
    inf: Val,
    nan: Val,
}

impl Parts {
    /// Splits a bit pattern; subnormals count as zeros.
    pub fn of(t: &mut Text, x: &str, lanes: Lanes) -> Self {
        let [magnitude, sign] = [MAGNITUDE, SIGN].map(|m| {
            let m = t.bits(m, lanes);
            t.ints("andi", x, &m, lanes)
        });
        let min_normal = t.bits(MIN_NORMAL, lanes);
        let infinity = t.bits(INF, lanes);
        let zero = t.cmp("ult", &magnitude, &min_normal, lanes);
        let inf = t.cmp("eq", &magnitude, &infinity, lanes);
        let nan = t.cmp("ugt", &magnitude, &infinity, lanes);
        Self { magnitude, sign, zero, inf, nan }
    }
}

/// The PAM product of any two bit patterns, special values included.
pub(super) fn full_product(t: &mut Text, a: &Parts, b: &Parts, lanes: Lanes) -> Val {
    let m = |t: &mut Text, op: &str, x: &str, y: &str| t.bin(op, x, y, &lanes.mask());
    let zero = m(t, "ori", &a.zero, &b.zero);
    let inf = m(t, "ori", &a.inf, &b.inf);
    let nan = m(t, "ori", &a.nan, &b.nan);
    let undefined = m(t, "andi", &zero, &inf);
    let nan = m(t, "ori", &nan, &undefined);
    let sign = t.ints("xori", &a.sign, &b.sign, lanes);
    let bias = t.bits(BIAS, lanes);
    let sum = t.ints("addi", &a.magnitude, &b.magnitude, lanes);
    // At most 0xFEFF_FFFE for finite operands: no 32-bit carry, so unsigned comparison tells the
    // range.
    let lowest = t.bits(BIAS + MIN_NORMAL, lanes);
    let small = t.cmp("ult", &sum, &lowest, lanes);
    let zero = m(t, "ori", &zero, &small);
    let highest = t.bits(BIAS + MAX_FINITE, lanes);
    let sum = t.ints("minui", &sum, &highest, lanes);
    let magnitude = t.ints("subi", &sum, &bias, lanes);
    let [none, infinity, any_nan] = [0, INF, NAN].map(|v| t.bits(v, lanes));
    let magnitude = t.select(&zero, &none, &magnitude, lanes);
    let magnitude = t.select(&inf, &infinity, &magnitude, lanes);
    let magnitude = t.select(&nan, &any_nan, &magnitude, lanes);
    t.ints("ori", &magnitude, &sign, lanes)
}

/// The magnitude of the product of two finite magnitudes. `highest` is the biased sum that the left
/// one's products may reach: bias and largest finite number, or the bias alone if it is zero. A
/// product below the normal range is left subnormal: whatever adds it reads a zero.
pub(super) fn clamped(
    t: &mut Text,
    [a, b]: [&str; 2],
    [highest, b_nonzero]: [&str; 2],
    lanes: Lanes,
) -> Val {
    let [lowest, bias, none] = [BIAS + MIN_NORMAL - 1, BIAS, 0].map(|v| t.bits(v, lanes));
    let sum = t.ints("addi", a, b, lanes);
    let sum = t.ints("maxui", &sum, &lowest, lanes);
    let sum = t.ints("minui", &sum, highest, lanes);
    let magnitude = t.ints("subi", &sum, &bias, lanes);
    t.select(b_nonzero, &magnitude, &none, lanes)
}

/// The exact slope d(at ⊙ of)/d(at) from the fraction bits of `at` and the bit pattern `of`.
pub(super) fn full_slope(t: &mut Text, at_fraction: &str, of: &str, lanes: Lanes) -> Val {
    let [magnitude_mask, sign_mask, powers] =
        [MAGNITUDE, SIGN, !FRACTION].map(|v| t.bits(v, lanes));
    let magnitude = t.ints("andi", of, &magnitude_mask, lanes);
    let sign = t.ints("andi", of, &sign_mask, lanes);
    let min_normal = t.bits(MIN_NORMAL, lanes);
    let zero = t.cmp("ult", &magnitude, &min_normal, lanes);
    let sum = t.ints("addi", &magnitude, at_fraction, lanes);
    let power = t.ints("andi", &sum, &powers, lanes);
    let largest = t.bits(MAX_FINITE, lanes);
    let power = t.ints("minui", &power, &largest, lanes);
    let none = t.bits(0, lanes);
    let power = t.select(&zero, &none, &power, lanes);
    t.ints("ori", &power, &sign, lanes)
}

/// The fraction bits of a pattern; 0 where it is zero or subnormal.
pub(super) fn fraction(t: &mut Text, x: &str, lanes: Lanes) -> Val {
    let [magnitude_mask, min_normal, fraction_mask, none] =
        [MAGNITUDE, MIN_NORMAL, FRACTION, 0].map(|v| t.bits(v, lanes));
    let magnitude = t.ints("andi", x, &magnitude_mask, lanes);
    let zero = t.cmp("ult", &magnitude, &min_normal, lanes);
    let bits = t.ints("andi", x, &fraction_mask, lanes);
    t.select(&zero, &none, &bits, lanes)
}
