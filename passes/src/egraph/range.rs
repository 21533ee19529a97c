//! What is known of the values of an `f32` tensor: an interval, which zeros and whether NaN are among
//! them, the smallest magnitude, whether they are powers of two.

use std::hash::{Hash, Hasher};

use crate::ir::Tensor;
use crate::reference as r;

/// A set of floats that holds every value of a tensor.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// No number among the values is below.
    pub lo: f32,
    /// No number among the values is above.
    pub hi: f32,
    /// No nonzero number among the values has a smaller magnitude.
    pub tiny: f32,
    /// NaN may be among them.
    pub nan: bool,
    /// +0 may be among them.
    pub pos_zero: bool,
    /// −0 may be among them.
    pub neg_zero: bool,
    /// Every finite nonzero value is a signed power of two.
    pub pow2: bool,
}

const TINY: f32 = f32::MIN_POSITIVE;

impl PartialEq for Range {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Range {}

impl Hash for Range {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl Range {
    /// Every float.
    pub const ANY: Range = Range {
        lo: f32::NEG_INFINITY,
        hi: f32::INFINITY,
        tiny: TINY,
        nan: true,
        pos_zero: true,
        neg_zero: true,
        pow2: false,
    };

    /// No value at all: the range of an empty tensor and the start of a join.
    pub const NONE: Range = Range {
        lo: f32::INFINITY,
        hi: f32::NEG_INFINITY,
        tiny: f32::INFINITY,
        nan: false,
        pos_zero: false,
        neg_zero: false,
        pow2: true,
    };

    fn key(&self) -> ([u32; 3], [bool; 4]) {
        // −0 and +0 bound the same interval.
        let bits = |x: f32| if x == 0.0 { 0 } else { x.to_bits() };
        (
            [bits(self.lo), bits(self.hi), bits(self.tiny)],
            [self.nan, self.pos_zero, self.neg_zero, self.pow2],
        )
    }

    /// Exactly one value.
    pub fn of(x: f32) -> Range {
        let x = r::flush(x);
        if x.is_nan() {
            return Range { nan: true, ..Range::NONE };
        }
        let zero = x == 0.0;
        Range {
            lo: x,
            hi: x,
            tiny: if zero { f32::INFINITY } else { x.abs() },
            nan: false,
            pos_zero: zero && x.is_sign_positive(),
            neg_zero: zero && x.is_sign_negative(),
            pow2: zero || x.is_infinite() || x.to_bits() & 0x007F_FFFF == 0,
        }
    }

    /// The values of a tensor (everything, if it is not of floats).
    pub fn of_tensor(t: &Tensor) -> Range {
        match t {
            Tensor::F32(a) => a.iter().fold(Range::NONE, |all, x| all.join(Range::of(*x))),
            _ => Range::ANY,
        }
    }

    /// Values of either.
    pub fn join(self, o: Range) -> Range {
        Range {
            lo: self.lo.min(o.lo),
            hi: self.hi.max(o.hi),
            tiny: self.tiny.min(o.tiny),
            nan: self.nan || o.nan,
            pos_zero: self.pos_zero || o.pos_zero,
            neg_zero: self.neg_zero || o.neg_zero,
            pow2: self.pow2 && o.pow2,
        }
    }

    /// Values in both: two true statements about the same values.
    pub fn meet(self, o: Range) -> Range {
        Range {
            lo: self.lo.max(o.lo),
            hi: self.hi.min(o.hi),
            tiny: self.tiny.max(o.tiny),
            nan: self.nan && o.nan,
            pos_zero: self.pos_zero && o.pos_zero,
            neg_zero: self.neg_zero && o.neg_zero,
            pow2: self.pow2 || o.pow2,
        }
    }

    /// No float is in it.
    pub fn is_empty(&self) -> bool {
        let numbers = self.lo < self.hi || (self.lo == self.hi && self.lo != 0.0);
        !(numbers || self.nan || self.zero())
    }

    /// Some zero may be among the values.
    pub fn zero(&self) -> bool {
        self.pos_zero || self.neg_zero
    }

    /// An infinity may be among the values.
    pub fn infinite(&self) -> bool {
        self.lo == f32::NEG_INFINITY || self.hi == f32::INFINITY
    }

    /// Largest magnitude of the numbers.
    pub fn largest(&self) -> f32 {
        (-self.lo).max(self.hi).max(0.0)
    }

    /// Some number below zero may be among the values.
    pub fn negative(&self) -> bool {
        self.lo < 0.0
    }

    fn positive(&self) -> bool {
        self.hi > 0.0
    }

    /// Numbers whose magnitudes lie in `[tiny, largest]`, of the given signs, and the given specials.
    /// A `tiny` of 0 says that results may underflow.
    fn build(signs: (bool, bool), mut tiny: f32, largest: f32, zero: bool, nan: bool) -> Range {
        let flushes = tiny == 0.0;
        if flushes {
            tiny = TINY;
        }
        let (pos, neg) = signs;
        let zero = zero || flushes;
        Range {
            lo: if neg {
                -largest
            } else if zero {
                0.0
            } else {
                tiny
            },
            hi: if pos {
                largest
            } else if zero {
                0.0
            } else {
                -tiny
            },
            tiny,
            nan,
            pos_zero: zero,
            neg_zero: zero,
            pow2: false,
        }
    }

    /// `−x`.
    pub fn negated(self) -> Range {
        let (lo, hi) = (-self.hi, -self.lo);
        Range { lo, hi, pos_zero: self.neg_zero, neg_zero: self.pos_zero, ..self }
    }

    /// `|x|`.
    pub fn abs(self) -> Range {
        if self.lo > self.hi {
            return Range { pos_zero: self.zero(), neg_zero: false, ..self };
        }
        let lo = if self.zero() || self.tiny == f32::INFINITY { 0.0 } else { self.tiny };
        Range { lo, hi: self.largest(), pos_zero: self.zero(), neg_zero: false, ..self }
    }

    /// `a ⊙ b`.
    pub fn times(self, b: Range) -> Range {
        let nan = self.nan || b.nan || self.infinite() && b.zero() || b.infinite() && self.zero();
        let (tiny, largest) = (r::mul(self.tiny, b.tiny), product(self.largest(), b.largest()));
        let zero = self.zero() || b.zero();
        let exact = tiny != 0.0 && (largest < f32::MAX || self.infinite() || b.infinite());
        let pow2 = self.pow2 && b.pow2 && exact && largest < f32::MAX;
        Range { pow2, ..Range::build(self.signs(b), tiny, largest, zero, nan) }
    }

    /// `a ⊘ b`.
    pub fn over(self, b: Range) -> Range {
        let nan = self.nan || b.nan || self.zero() && b.zero() || self.infinite() && b.infinite();
        let tiny = if b.infinite() { 0.0 } else { r::div(self.tiny, b.largest()) };
        let largest = match (self.largest(), b.zero()) {
            (_, true) => f32::INFINITY,
            (0.0, _) => 0.0,
            (a, _) => r::div(a, b.tiny),
        };
        let largest = if largest.is_nan() { f32::INFINITY } else { largest };
        let tiny = if tiny.is_nan() { 0.0 } else { tiny };
        let pow2 = self.pow2 && b.pow2 && tiny != 0.0 && largest < f32::MAX;
        Range { pow2, ..Range::build(self.signs(b), tiny, largest, self.zero(), nan) }
    }

    /// Whether a product or quotient may be positive, negative (a zero operand counts as either sign).
    fn signs(self, b: Range) -> (bool, bool) {
        let (ap, an) = (self.positive() || self.pos_zero, self.negative() || self.neg_zero);
        let (bp, bn) = (b.positive() || b.pos_zero, b.negative() || b.neg_zero);
        (ap && bp || an && bn, ap && bn || an && bp)
    }

    /// `x · 2ᵏ`.
    pub fn scale2(self, k: i32) -> Range {
        if self.lo > self.hi {
            return self;
        }
        let tiny = r::scale2(self.tiny, k);
        let flushes = tiny == 0.0;
        let largest = r::scale2(self.largest(), k);
        Range {
            lo: r::scale2(self.lo, k),
            hi: r::scale2(self.hi, k),
            tiny: if flushes { TINY } else { tiny },
            nan: self.nan,
            pos_zero: self.pos_zero || flushes && self.positive(),
            neg_zero: self.neg_zero || flushes && self.negative(),
            pow2: self.pow2 && largest < f32::MAX,
        }
    }

    /// `a + b`.
    pub fn plus(self, b: Range) -> Range {
        if self.lo > self.hi || b.lo > b.hi {
            return Range { nan: true, ..Range::ANY };
        }
        let clash = |x: f32, y: f32| x == f32::NEG_INFINITY && y == f32::INFINITY;
        let nan = self.nan || b.nan || clash(self.lo, b.hi) || clash(b.lo, self.hi);
        let or = |x: f32, default: f32| if x.is_nan() { default } else { x };
        let lo = or(r::add(self.lo, b.lo), f32::NEG_INFINITY);
        let hi = or(r::add(self.hi, b.hi), f32::INFINITY);
        let zero = lo <= 0.0 && hi >= 0.0;
        let tiny = if lo > 0.0 {
            lo
        } else if hi < 0.0 {
            -hi
        } else {
            TINY
        };
        let neg_zero = zero && (lo < 0.0 || self.neg_zero && b.neg_zero);
        Range { lo, hi, tiny, nan, pos_zero: zero, neg_zero, pow2: false }
    }

    /// The smaller (`least`) or larger of two.
    pub fn extremum(self, b: Range, least: bool) -> Range {
        let pick = if least { f32::min } else { f32::max };
        Range { lo: pick(self.lo, b.lo), hi: pick(self.hi, b.hi), ..self.join(b) }.trimmed()
    }

    /// Leave out what the interval excludes.
    fn trimmed(self) -> Range {
        let zero = self.lo <= 0.0 && self.hi >= 0.0;
        let away = if self.lo > 0.0 {
            self.lo
        } else if self.hi < 0.0 {
            -self.hi
        } else {
            0.0
        };
        Range {
            tiny: self.tiny.max(away),
            pos_zero: self.pos_zero && zero,
            neg_zero: self.neg_zero && zero,
            ..self
        }
    }

    /// Through a function that rounds to integers and keeps order.
    pub fn rounded(self, f: fn(f32) -> f32) -> Range {
        let (lo, hi) = (f(self.lo), f(self.hi));
        let zero = lo <= 0.0 && hi >= 0.0;
        Range { lo, hi, tiny: 1.0, pos_zero: zero, neg_zero: zero, pow2: false, ..self }
    }

    /// Piecewise affine 2ˣ.
    pub fn exp2(self) -> Range {
        if self.lo > self.hi {
            return Range { lo: 0.0, hi: f32::INFINITY, pos_zero: true, ..Range::ANY };
        }
        let (lo, hi) = (r::exp2(self.lo), r::exp2(self.hi));
        let tiny = if lo > 0.0 { lo } else { TINY };
        let pos_zero = lo == 0.0;
        Range { lo, hi, tiny, nan: self.nan, pos_zero, neg_zero: false, pow2: false }
    }

    /// Piecewise affine log₂.
    pub fn log2(self) -> Range {
        let least = if self.zero() { 0.0 } else { self.tiny.max(self.lo) };
        let nan = self.nan || self.negative();
        if self.hi < 0.0 || least > self.hi {
            return Range { nan, ..Range::ANY };
        }
        let (lo, hi) = (r::log2(least), r::log2(self.hi.max(0.0)));
        let pos_zero = lo <= 0.0 && hi >= 0.0;
        Range { lo, hi, nan, pos_zero, neg_zero: false, ..Range::ANY }
    }

    /// Piecewise affine √x.
    pub fn sqrt(self) -> Range {
        let nan = self.nan || self.negative();
        if self.hi < 0.0 || self.lo > self.hi {
            return Range { nan, ..Range::ANY };
        }
        let (lo, hi) = (r::sqrt(self.lo.max(0.0)), r::sqrt(self.hi));
        let tiny = r::sqrt(self.tiny.min(f32::MAX));
        Range { lo, hi, tiny, nan, pos_zero: self.zero(), neg_zero: false, pow2: false }
    }

    /// A sum of `n` of the values that starts at +0.
    pub fn sum(self, n: usize) -> Range {
        if self.negative() || self.lo > self.hi {
            return Range::ANY;
        }
        let lo = if n == 0 { 0.0 } else { self.lo };
        let pos_zero = lo == 0.0;
        let tiny = if lo > 0.0 { lo } else { TINY };
        Range { lo, hi: f32::INFINITY, tiny, nan: self.nan, pos_zero, neg_zero: false, pow2: false }
    }

    /// A wider range out of few, so that equal layers at different depths look equal.
    pub fn coarse(self) -> Range {
        const STEPS: [f32; 7] =
            [9.094947e-13, 1.0, 2.0, 128.0, 1.0995116e12, f32::MAX, f32::INFINITY];
        let up = |x: f32| STEPS.into_iter().find(|s| *s >= x).unwrap_or(f32::INFINITY);
        let down = |x: f32| STEPS.into_iter().rev().find(|s| *s <= x).unwrap_or(TINY);
        let bound = |x: f32, outward: bool| match (x == 0.0, outward) {
            (true, _) => 0.0,
            (_, true) => up(x),
            (_, false) => down(x),
        };
        if self.lo > self.hi {
            return Range::ANY;
        }
        let lo = if self.lo < 0.0 { -bound(-self.lo, true) } else { bound(self.lo, false) };
        let hi = if self.hi > 0.0 { bound(self.hi, true) } else { -bound(-self.hi, false) };
        Range { lo, hi, tiny: down(self.tiny), ..self }
    }
}

/// Largest product of magnitudes: 0 · ∞ may be either, so it bounds nothing.
fn product(a: f32, b: f32) -> f32 {
    if a == 0.0 || b == 0.0 {
        if a.max(b).is_infinite() { f32::INFINITY } else { 0.0 }
    } else {
        r::mul(a, b)
    }
}

#[cfg(test)]
mod tests;
