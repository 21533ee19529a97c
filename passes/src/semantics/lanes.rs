//! Many values at once, for running through all of them.

use std::ops::{Add, BitAnd, BitOr, BitXor, Not, Shl, Shr, Sub};

use super::float::{narrow, widen};
use super::{Format, Int, Truth, apply};
use crate::ops::Prim;

/// Values that go together: enough for the widest vectors.
pub const LANES: usize = 64;

/// Patterns of formats of up to 16 bits; as a truth value, all ones or 0 a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes(pub [i32; LANES]);

impl Lanes {
    /// Number of lanes.
    pub const COUNT: usize = LANES;

    #[inline(always)]
    fn map(self, f: impl Fn(i32) -> i32) -> Lanes {
        let mut out = [0; LANES];
        for (o, a) in out.iter_mut().zip(self.0) {
            *o = f(a);
        }
        Lanes(out)
    }

    #[inline(always)]
    fn zip(self, other: Lanes, f: impl Fn(i32, i32) -> i32) -> Lanes {
        let mut out = [0; LANES];
        for ((o, a), b) in out.iter_mut().zip(self.0).zip(other.0) {
            *o = f(a, b);
        }
        Lanes(out)
    }

    /// The first lane that is not 0.
    pub fn first(self) -> Option<usize> {
        self.0.iter().position(|&x| x != 0)
    }
}

impl Truth for Lanes {}

impl From<i64> for Lanes {
    #[inline(always)]
    fn from(x: i64) -> Lanes {
        Lanes([x as i32; LANES])
    }
}

macro_rules! operator {
    ($trait:ident, $method:ident, $f:expr) => {
        impl $trait for Lanes {
            type Output = Lanes;
            #[inline(always)]
            fn $method(self, other: Lanes) -> Lanes {
                self.zip(other, $f)
            }
        }
    };
}

operator!(Add, add, i32::wrapping_add);
operator!(Sub, sub, i32::wrapping_sub);
operator!(BitAnd, bitand, |a, b| a & b);
operator!(BitOr, bitor, |a, b| a | b);
operator!(BitXor, bitxor, |a, b| a ^ b);

impl Not for Lanes {
    type Output = Lanes;
    #[inline(always)]
    fn not(self) -> Lanes {
        self.map(|a| !a)
    }
}

impl Shl<u32> for Lanes {
    type Output = Lanes;
    #[inline(always)]
    fn shl(self, by: u32) -> Lanes {
        self.map(|a| a.wrapping_shl(by))
    }
}

impl Shr<u32> for Lanes {
    type Output = Lanes;
    #[inline(always)]
    fn shr(self, by: u32) -> Lanes {
        self.map(|a| a.wrapping_shr(by))
    }
}

impl Int for Lanes {
    type Truth = Lanes;

    #[inline(always)]
    fn lt(self, other: Lanes) -> Lanes {
        self.zip(other, |a, b| -i32::from(a < b))
    }

    #[inline(always)]
    fn eq(self, other: Lanes) -> Lanes {
        self.zip(other, |a, b| -i32::from(a == b))
    }

    #[inline(always)]
    fn select(condition: Lanes, a: Lanes, b: Lanes) -> Lanes {
        (condition & a) | (!condition & b)
    }

    #[inline(always)]
    fn float_add(f: Format, a: Lanes, b: Lanes) -> Lanes {
        a.zip(b, |a, b| narrow(f, widen(f, i64::from(a)) + widen(f, i64::from(b))) as i32)
    }

    #[inline(always)]
    fn float_of_int(f: Format, n: Lanes) -> Lanes {
        n.map(|n| narrow(f, n as f32) as i32)
    }

    #[inline(always)]
    fn int_nearest(f: Format, x: Lanes) -> Lanes {
        x.map(|x| widen(f, i64::from(x)).round_ties_even() as i32)
    }

    #[inline(always)]
    fn int_below(f: Format, x: Lanes) -> Lanes {
        x.map(|x| widen(f, i64::from(x)).floor() as i32)
    }

    fn unary(f: Format, prim: Prim, x: Lanes) -> Option<Lanes> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the feature.
            return unsafe { unary_avx2(f, prim, x) };
        }
        apply::unary(f, prim, x)
    }

    fn binary(f: Format, prim: Prim, a: Lanes, b: Lanes) -> Option<Lanes> {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the feature.
            return unsafe { binary_avx2(f, prim, a, b) };
        }
        apply::binary(f, prim, a, b)
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn unary_avx2(f: Format, prim: Prim, x: Lanes) -> Option<Lanes> {
    apply::unary(f, prim, x)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn binary_avx2(f: Format, prim: Prim, a: Lanes, b: Lanes) -> Option<Lanes> {
    apply::binary(f, prim, a, b)
}
