//! The exact slopes of the segments: signed powers of two (Kosson & Jaggi 2023, section 2.3).

use super::{Format, Int};

impl Format {
    /// ±2ᵉ, flushed or saturated.
    #[inline(always)]
    fn power<I: Int>(self, sign: I, e: I) -> I {
        sign | self.range((e + I::from(self.bias())) << self.fraction)
    }

    /// The exponent of a number; −bias of a zero.
    #[inline(always)]
    pub fn exponent_of<I: Int>(self, x: I) -> I {
        (self.magnitude(x) >> self.fraction) - I::from(self.bias())
    }

    #[inline(always)]
    fn fraction_of<I: Int>(self, x: I) -> I {
        x & I::from(self.fraction_bits())
    }

    #[inline(always)]
    fn is_zero<I: Int>(self, x: I) -> I::Truth {
        self.magnitude(x).lt(I::from(self.min_normal()))
    }

    /// 1 where the fraction of `a` is below that of `b`; that of a zero `a` is 0.
    #[inline(always)]
    fn borrow<I: Int>(self, a: I, b: I) -> I {
        let fa = I::select(self.is_zero(a), I::from(0), self.fraction_of(a));
        I::select(fa.lt(self.fraction_of(b)), I::from(1), I::from(0))
    }

    /// Exact ∂(a ⊙ b)/∂a = sgn(b)·2^(E_b + [M_a + M_b ≥ 1]); a signed 0 where b is 0.
    #[inline(always)]
    pub fn mul_slope<I: Int>(self, a: I, b: I) -> I {
        let fa = I::select(self.is_zero(a), I::from(0), self.fraction_of(a));
        let carry = (fa + self.fraction_of(b)) >> self.fraction;
        let y = self.power(self.sign(b), self.exponent_of(b) + carry);
        I::select(self.is_zero(b), self.sign(b), y)
    }

    /// Exact ∂(a ⊘ b)/∂a = sgn(b)·2^(−E_b − [M_a < M_b]).
    #[inline(always)]
    pub fn div_slope_a<I: Int>(self, a: I, b: I) -> I {
        self.power(self.sign(b), I::from(0) - self.exponent_of(b) - self.borrow(a, b))
    }

    /// Exact ∂(a ⊘ b)/∂b = −sgn(a)·2^(E_a − 2E_b − [M_a < M_b]); 0 where a is 0.
    #[inline(always)]
    pub fn div_slope_b<I: Int>(self, a: I, b: I) -> I {
        let eb = self.exponent_of(b);
        let e = self.exponent_of(a) - eb - eb - self.borrow(a, b);
        I::select(self.is_zero(a), I::from(0), self.power(self.sign(self.neg(a)), e))
    }

    /// Exact slope of [`Self::exp2`]: 2^⌊x⌋, 1 at NaN.
    #[inline(always)]
    pub fn exp2_slope<I: Int>(self, x: I) -> I {
        let (under, over) = self.exponent_limits(x);
        let nan = self.is_nan(x);
        let inside = I::select(under | over | nan, I::from(0), x);
        let y = self.power(I::from(0), I::int_below(self, inside));
        let y = I::select(under, I::from(0), I::select(over, I::from(self.max_finite()), y));
        I::select(nan, I::from(self.one()), y)
    }

    /// Exact slope of [`Self::log2`]: 2^(−E_a).
    #[inline(always)]
    pub fn log2_slope<I: Int>(self, a: I) -> I {
        self.power(I::from(0), I::from(0) - self.exponent_of(a))
    }

    /// Exact slope of [`Self::sqrt`]: 2^(⌊E_a/2⌋ − E_a − 1).
    #[inline(always)]
    pub fn sqrt_slope<I: Int>(self, a: I) -> I {
        let e = self.exponent_of(a);
        self.power(I::from(0), (e >> 1) - e - I::from(1))
    }
}
