//! The arithmetic: sums without subnormals, ⊙, ⊘, scaling, logarithm, exponential, root, extrema.

use super::{Format, Int};

impl Format {
    /// The pattern without its sign.
    #[inline(always)]
    pub fn magnitude<I: Int>(self, x: I) -> I {
        x & I::from(self.sign_bit() - 1)
    }

    /// The sign bit of a pattern.
    #[inline(always)]
    pub fn sign<I: Int>(self, x: I) -> I {
        x & I::from(self.sign_bit())
    }

    /// Magnitude with subnormals taken as zero.
    #[inline(always)]
    pub(super) fn flushed<I: Int>(self, x: I) -> I {
        let m = self.magnitude(x);
        I::select(m.lt(I::from(self.min_normal())), I::from(0), m)
    }

    /// Flush an underflowing magnitude to zero, saturate an overflowing one to the largest finite.
    #[inline(always)]
    pub(super) fn range<I: Int>(self, m: I) -> I {
        let top = I::select(m.lt(I::from(self.inf())), m, I::from(self.max_finite()));
        I::select(m.lt(I::from(self.min_normal())), I::from(0), top)
    }

    /// Whether a pattern is NaN.
    #[inline(always)]
    pub fn is_nan<I: Int>(self, x: I) -> I::Truth {
        I::from(self.inf()).lt(self.magnitude(x))
    }

    /// An integer that orders numbers as their values; both zeros have 0.
    #[inline(always)]
    pub fn key<I: Int>(self, x: I) -> I {
        let m = self.magnitude(x);
        I::select(self.sign(x).eq(I::from(0)), m, I::from(0) - m)
    }

    /// Replace a subnormal by the zero of its sign.
    #[inline(always)]
    pub fn flush<I: Int>(self, x: I) -> I {
        I::select(self.magnitude(x).lt(I::from(self.min_normal())), self.sign(x), x)
    }

    /// `−x`.
    #[inline(always)]
    pub fn neg<I: Int>(self, x: I) -> I {
        x ^ I::from(self.sign_bit())
    }

    /// `|x|`.
    #[inline(always)]
    pub fn abs<I: Int>(self, x: I) -> I {
        self.magnitude(x)
    }

    /// `a + b`, rounded to nearest even, without subnormals.
    #[inline(always)]
    pub fn add<I: Int>(self, a: I, b: I) -> I {
        self.flush(I::float_add(self, self.flush(a), self.flush(b)))
    }

    /// `a − b`, rounded to nearest even, without subnormals.
    #[inline(always)]
    pub fn sub<I: Int>(self, a: I, b: I) -> I {
        self.flush(I::float_add(self, self.flush(a), self.neg(self.flush(b))))
    }

    /// `a ⊙ b`: the piecewise affine product, by adding magnitudes as integers.
    #[inline(always)]
    pub fn mul<I: Int>(self, a: I, b: I) -> I {
        let (none, inf) = (I::from(0), I::from(self.inf()));
        let (ma, mb, s) = (self.flushed(a), self.flushed(b), self.sign(a ^ b));
        let (zero, infinite) = (ma.eq(none) | mb.eq(none), ma.eq(inf) | mb.eq(inf));
        let nan = inf.lt(ma) | inf.lt(mb) | (zero & infinite);
        let finite = I::select(zero, none, self.range(ma + mb - I::from(self.one())));
        I::select(nan, I::from(self.nan()), s | I::select(infinite, inf, finite))
    }

    /// `a ⊘ b`: the piecewise affine quotient, by subtracting magnitudes as integers.
    #[inline(always)]
    pub fn div<I: Int>(self, a: I, b: I) -> I {
        let (none, inf) = (I::from(0), I::from(self.inf()));
        let (ma, mb, s) = (self.flushed(a), self.flushed(b), self.sign(a ^ b));
        let vanishes = ma.eq(none) | mb.eq(inf);
        let explodes = mb.eq(none) | ma.eq(inf);
        let nan = inf.lt(ma) | inf.lt(mb) | (vanishes & explodes);
        let finite = I::select(vanishes, none, self.range(ma - mb + I::from(self.one())));
        I::select(nan, I::from(self.nan()), s | I::select(explodes, inf, finite))
    }

    /// `x · 2ᵏ` by adding `k` to the exponent field; flushes and saturates like [`Self::mul`]. The
    /// magnitude of `k` is at most twice [`Self::widest_shift`].
    #[inline(always)]
    pub fn scale2<I: Int>(self, x: I, k: I) -> I {
        let (none, inf) = (I::from(0), I::from(self.inf()));
        let (m, s) = (self.flushed(x), self.sign(x));
        let y = I::select(m.eq(none) | m.eq(inf), m, self.range(m + (k << self.fraction)));
        I::select(inf.lt(m), I::from(self.nan()), s | y)
    }

    /// Any exponent change as one of a magnitude that [`Self::scale2`] takes, to the same effect.
    #[inline(always)]
    pub fn clamped_shift<I: Int>(self, k: I) -> I {
        let (lo, hi) = (I::from(-self.widest_shift()), I::from(self.widest_shift()));
        I::select(k.lt(lo), lo, I::select(hi.lt(k), hi, k))
    }

    /// Piecewise affine base-2 logarithm: (|a| − B)·2⁻ᴹ for M fraction bits.
    #[inline(always)]
    pub fn log2<I: Int>(self, a: I) -> I {
        let (none, inf) = (I::from(0), I::from(self.inf()));
        let m = self.flushed(a);
        let negative = !self.sign(a).eq(none) & !m.eq(none);
        let n = I::float_of_int(self, m - I::from(self.one()));
        let y = self.scale2(n, I::from(-i64::from(self.fraction)));
        let y = I::select(m.eq(none), I::from(self.sign_bit() | self.inf()), y);
        let y = I::select(m.eq(inf), inf, y);
        I::select(inf.lt(m) | negative, I::from(self.nan()), y)
    }

    /// Whether a number is below the smallest and not below the first too large exponent of two.
    #[inline(always)]
    pub(super) fn exponent_limits<I: Int>(self, x: I) -> (I::Truth, I::Truth) {
        let lowest = i64::float_of_int(self, self.bias() - 1);
        let too_large = i64::float_of_int(self, self.bias() + 1);
        let key = self.key(x);
        (key.lt(I::from(-lowest)), !key.lt(I::from(too_large)))
    }

    /// Piecewise affine base-2 exponential: x·2ᴹ rounded to an integer, plus B.
    #[inline(always)]
    pub fn exp2<I: Int>(self, x: I) -> I {
        let (under, over) = self.exponent_limits(x);
        let inside = I::select(under | over, I::from(0), x);
        // x · 2ᴹ is exact; the conversion then rounds ties to even.
        let scaled = self.scale2(inside, I::from(i64::from(self.fraction)));
        let y = I::int_nearest(self, scaled) + I::from(self.one());
        let y = I::select(under, I::from(0), I::select(over, I::from(self.max_finite()), y));
        let y = I::select(x.eq(I::from(self.inf())), x, y);
        I::select(self.is_nan(x), I::from(self.nan()), y)
    }

    /// Piecewise affine square root: half the bit pattern.
    #[inline(always)]
    pub fn sqrt<I: Int>(self, a: I) -> I {
        let (none, inf) = (I::from(0), I::from(self.inf()));
        let m = self.flushed(a);
        let negative = !self.sign(a).eq(none) & !m.eq(none);
        let y = I::select(m.eq(none), none, (m + I::from(self.one())) >> 1);
        let y = I::select(m.eq(inf), inf, y);
        I::select(inf.lt(m) | negative, I::from(self.nan()), y)
    }

    /// `x · c` for a constant given as signed powers of two, summed left to right from the first
    /// term; a non-finite `x` passes unchanged, no terms give +0.
    #[inline(always)]
    pub fn shift_sum<I: Int>(self, x: I, terms: &[(bool, i32)]) -> I {
        let part = |&(negative, k): &(bool, i32)| {
            let t = self.scale2(x, I::from(self.clamped_shift(i64::from(k))));
            if negative { self.neg(t) } else { t }
        };
        let mut parts = terms.iter().map(part);
        let first = parts.next().unwrap_or(I::from(0));
        let sum = parts.fold(first, |sum, t| self.add(sum, t));
        I::select(self.magnitude(x).lt(I::from(self.inf())), sum, x)
    }

    /// Smaller of two, propagating NaN and ordering −0 below +0.
    #[inline(always)]
    pub fn min<I: Int>(self, a: I, b: I) -> I {
        let (ka, kb) = (self.key(a), self.key(b));
        let first = ka.lt(kb) | (ka.eq(kb) & !self.sign(a).eq(I::from(0)));
        let nan = self.is_nan(a) | self.is_nan(b);
        I::select(nan, I::from(self.nan()), I::select(first, a, b))
    }

    /// Larger of two, propagating NaN and ordering −0 below +0.
    #[inline(always)]
    pub fn max<I: Int>(self, a: I, b: I) -> I {
        let (ka, kb) = (self.key(a), self.key(b));
        let first = kb.lt(ka) | (ka.eq(kb) & !self.sign(b).eq(I::from(0)));
        let nan = self.is_nan(a) | self.is_nan(b);
        I::select(nan, I::from(self.nan()), I::select(first, a, b))
    }
}
