//! What PAM arithmetic means: each scalar primitive once, for any floating-point format and any kind
//! of integer.
//!
//! On `i64` and [`Format::F32`] these definitions are [`reference`](crate::reference), the oracle of
//! everything else; on [`Lanes`] they run through every value of a 16-bit format; on symbols they
//! become the bit-vector problems that a solver proves rules and emitted code with. Values are bit
//! patterns: sign, exponent field, fraction. Source: Kosson & Jaggi 2023 (arXiv 2305.17190), after
//! Mogami 2020 and Mitchell 1962. There are no subnormals: operands and results that would be one are
//! zeros of the same sign.

mod apply;
mod float;
mod lanes;
mod pam;
mod slope;

use std::ops::{Add, BitAnd, BitOr, BitXor, Not, Shl, Shr, Sub};

pub use lanes::Lanes;

use crate::ops::Prim;

/// A truth value, or one a lane.
pub trait Truth: Copy + BitAnd<Output = Self> + BitOr<Output = Self> + Not<Output = Self> {}

impl Truth for bool {}

/// The integers that the definitions compute with: signed, and two bits wider than the format, so that
/// no sum of two patterns wraps. `>>` keeps the sign.
pub trait Int:
    Copy
    + From<i64>
    + Add<Output = Self>
    + Sub<Output = Self>
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + Shl<u32, Output = Self>
    + Shr<u32, Output = Self>
{
    /// The result of a comparison.
    type Truth: Truth;

    /// `self < other`.
    fn lt(self, other: Self) -> Self::Truth;

    /// `self = other`.
    fn eq(self, other: Self) -> Self::Truth;

    /// `a` where the condition holds, else `b`.
    fn select(condition: Self::Truth, a: Self, b: Self) -> Self;

    /// Pattern of the IEEE-754 sum of two patterns, rounded to nearest even; a subnormal result may
    /// come out as one or as a zero of its sign.
    fn float_add(f: Format, a: Self, b: Self) -> Self;

    /// Pattern of an integer, rounded to nearest even; its magnitude is below 2^(bits of the format).
    fn float_of_int(f: Format, n: Self) -> Self;

    /// The integer nearest to a finite number, ties to even; its magnitude is below 2^(bits of the
    /// format − 1).
    fn int_nearest(f: Format, x: Self) -> Self;

    /// The largest integer not above a finite number, likewise.
    fn int_below(f: Format, x: Self) -> Self;

    /// A primitive of one float; `None` for another.
    fn unary(f: Format, prim: Prim, x: Self) -> Option<Self> {
        apply::unary(f, prim, x)
    }

    /// A primitive of two floats; `None` for another.
    fn binary(f: Format, prim: Prim, a: Self, b: Self) -> Option<Self> {
        apply::binary(f, prim, a, b)
    }
}

/// A binary floating-point format: sign, exponent field, fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Format {
    /// Width of the exponent field.
    pub exponent: u32,
    /// Width of the fraction.
    pub fraction: u32,
}

impl Format {
    /// IEEE-754 binary32.
    pub const F32: Format = Format { exponent: 8, fraction: 23 };
    /// IEEE-754 binary16.
    pub const F16: Format = Format { exponent: 5, fraction: 10 };
    /// The upper half of binary32.
    pub const BF16: Format = Format { exponent: 8, fraction: 7 };
    /// Eight bits with infinities and NaN like the others: small enough to try all triples.
    pub const F8: Format = Format { exponent: 4, fraction: 3 };

    /// Usual name.
    pub fn name(self) -> &'static str {
        match self {
            Format::F32 => "f32",
            Format::F16 => "f16",
            Format::BF16 => "bf16",
            _ => "f8",
        }
    }

    /// Width of a pattern.
    pub const fn bits(self) -> u32 {
        1 + self.exponent + self.fraction
    }

    /// What is added to an exponent to make its field.
    pub const fn bias(self) -> i64 {
        (1 << (self.exponent - 1)) - 1
    }

    /// The pattern of 1: B.
    pub const fn one(self) -> i64 {
        self.bias() << self.fraction
    }

    /// The pattern of the smallest normal number.
    pub const fn min_normal(self) -> i64 {
        1 << self.fraction
    }

    /// The pattern of infinity.
    pub const fn inf(self) -> i64 {
        ((1 << self.exponent) - 1) << self.fraction
    }

    /// The pattern of the largest finite number.
    pub const fn max_finite(self) -> i64 {
        self.inf() - 1
    }

    /// The pattern of NaN that is made here.
    pub const fn nan(self) -> i64 {
        self.inf() | 1 << (self.fraction - 1)
    }

    /// The sign bit.
    pub const fn sign_bit(self) -> i64 {
        1 << (self.exponent + self.fraction)
    }

    /// The fraction bits.
    pub const fn fraction_bits(self) -> i64 {
        self.min_normal() - 1
    }

    /// Exponent changes beyond this, either way, flush or saturate everything.
    pub const fn widest_shift(self) -> i64 {
        1 << self.exponent
    }
}

/// Pattern of a number in a format, rounded to nearest even.
pub fn pattern(f: Format, x: f32) -> i64 {
    float::narrow(f, x)
}
