//! Patterns of narrow formats as `f32` and back, and the integers of one machine word.

use super::{Format, Int};

/// The number of a pattern that is not subnormal.
#[inline(always)]
pub(super) fn widen(f: Format, x: i64) -> f32 {
    let (m, s) = (x & (f.sign_bit() - 1), x & f.sign_bit());
    let shift = Format::F32.fraction - f.fraction;
    let rebias = (Format::F32.bias() - f.bias()) << Format::F32.fraction;
    let bits =
        (m << shift) + if m < f.inf() { rebias } else { Format::F32.inf() - (f.inf() << shift) };
    let bits = if m < f.min_normal() { 0 } else { bits };
    f32::from_bits((bits | s << (Format::F32.bits() - f.bits())) as u32)
}

/// The pattern of a number, rounded to nearest even; a subnormal as a zero of its sign.
#[inline(always)]
pub(super) fn narrow(f: Format, x: f32) -> i64 {
    let bits = i64::from(x.to_bits());
    let (m, s) = (bits & 0x7FFF_FFFF, bits >> (Format::F32.bits() - f.bits()) & f.sign_bit());
    if f == Format::F32 {
        return bits;
    }
    let shift = Format::F32.fraction - f.fraction;
    let half = (1 << (shift - 1)) - 1 + (m >> shift & 1);
    let rebias = (Format::F32.bias() - f.bias()) << f.fraction;
    let rounded = ((m + half) >> shift) - rebias;
    let held = if rounded < f.min_normal() { 0 } else { rounded.min(f.inf()) };
    s | if m > Format::F32.inf() { f.nan() } else { held }
}

impl Int for i64 {
    type Truth = bool;

    #[inline(always)]
    fn lt(self, other: i64) -> bool {
        self < other
    }

    #[inline(always)]
    fn eq(self, other: i64) -> bool {
        self == other
    }

    #[inline(always)]
    fn select(condition: bool, a: i64, b: i64) -> i64 {
        if condition { a } else { b }
    }

    // Rounding a float32 sum of narrower numbers once more changes nothing: 24 ≥ 2·11 + 2.
    #[inline(always)]
    fn float_add(f: Format, a: i64, b: i64) -> i64 {
        narrow(f, widen(f, a) + widen(f, b))
    }

    #[inline(always)]
    fn float_of_int(f: Format, n: i64) -> i64 {
        narrow(f, n as f32)
    }

    #[inline(always)]
    fn int_nearest(f: Format, x: i64) -> i64 {
        widen(f, x).round_ties_even() as i64
    }

    #[inline(always)]
    fn int_below(f: Format, x: i64) -> i64 {
        widen(f, x).floor() as i64
    }
}
