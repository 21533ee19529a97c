//! Guards: what must be known of a rule's variables for it to hold, as data.

use std::fmt;

use crate::egraph::{Facts, Range};
use crate::ir::Attr;

/// A condition on variables; it holds of a set of values only if it holds of each of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Guard {
    /// No product of the finite values underflows or saturates.
    MulInRange(&'static str, &'static str),
    /// No quotient of the finite values underflows or saturates.
    DivInRange(&'static str, &'static str),
    /// Scaling the finite values by the exponent attribute neither underflows nor saturates.
    ScaleInRange(&'static str, &'static str),
    /// Never a zero.
    NonZero(&'static str),
    /// Neither an infinity nor NaN.
    Finite(&'static str),
    /// Never −0.
    NotNegZero(&'static str),
    /// Never below zero (−0 and NaN may be).
    NonNegative(&'static str),
    /// Nonzero values have magnitudes in this interval; no infinity, no NaN, no zero.
    Within(&'static str, f32, f32),
    /// A constant with every element equal to this, bit for bit.
    Is(&'static str, f32),
    /// A constant with every element equal to this to within a few units of the last place.
    Near(&'static str, f32),
    /// A constant with every element equal.
    Uniform(&'static str),
    /// A constant ±2ᵏ, the same everywhere, positive.
    PowerOfTwo(&'static str),
    /// A constant −2ᵏ, the same everywhere.
    MinusPowerOfTwo(&'static str),
    /// Every value is ±2ᵏ or 0.
    PowersOfTwo(&'static str),
    /// Finite and never a zero, magnitudes both at most 1, or both at least 1.
    SameSide(&'static str, &'static str),
    /// Exponent attributes that are not of opposite signs.
    SameSign(&'static str, &'static str),
    /// A permutation that changes nothing.
    Identity(&'static str),
    /// A permutation that swaps the last two axes and nothing else.
    SwapsLastTwo(&'static str),
    /// A list of ones.
    Ones(&'static str),
    /// A list of zeros.
    Zeros(&'static str),
    /// An integer attribute with this value.
    Equals(&'static str, i64),
    /// A truth constant.
    True(&'static str),
    /// A truth constant.
    False(&'static str),
    /// A reduction of `x` over `axes` that sums one element each.
    OneElement(&'static str, &'static str),
    /// The list (first) names one axis of `x` (last), the one the number (second) does.
    OnlyAxis(&'static str, &'static str, &'static str),
    /// A constant that is the number of elements of `x` (second) along `axes` (third).
    CountOf(&'static str, &'static str, &'static str),
    /// A constant that is one over that number.
    InverseCountOf(&'static str, &'static str, &'static str),
}

const BIAS: i64 = 0x3F80_0000;
const MIN_NORMAL: i64 = 0x0080_0000;
const INF: i64 = 0x7F80_0000;

/// Smallest and largest bit pattern of the finite nonzero magnitudes, if there are any.
fn magnitudes(r: &Range) -> Option<(i64, i64)> {
    let largest = r.largest().min(f32::MAX);
    (r.tiny <= largest).then(|| (i64::from(r.tiny.to_bits()), i64::from(largest.to_bits())))
}

fn in_range(lo: i64, hi: i64) -> bool {
    lo >= MIN_NORMAL && hi < INF
}

fn mul_in_range(a: &Range, b: &Range) -> bool {
    match (magnitudes(a), magnitudes(b)) {
        (Some(a), Some(b)) => in_range(a.0 + b.0 - BIAS, a.1 + b.1 - BIAS),
        _ => true,
    }
}

fn div_in_range(a: &Range, b: &Range) -> bool {
    match (magnitudes(a), magnitudes(b)) {
        (Some(a), Some(b)) => in_range(a.0 - b.1 + BIAS, a.1 - b.0 + BIAS),
        _ => true,
    }
}

fn near(x: f32, y: f32) -> bool {
    x.is_sign_negative() == y.is_sign_negative() && x.to_bits().abs_diff(y.to_bits()) <= 8
}

fn ints(f: &Facts) -> Option<&[i64]> {
    match f.attr()? {
        Attr::Ints(x) => Some(x),
        _ => None,
    }
}

fn int(f: &Facts) -> Option<i64> {
    match f.attr()? {
        Attr::Int(x) => Some(*x),
        _ => None,
    }
}

/// The axes of a tensor that a list names.
fn reduced(x: &Facts, axes: &Facts) -> Option<Vec<usize>> {
    let attrs = crate::ir::Attrs::none().with("axes", ints(axes)?.to_vec());
    crate::ops::reduced_axes(&attrs, x.tensor()?.ty.rank()).ok()
}

/// Number of elements of a tensor along those axes.
fn count(x: &Facts, axes: &Facts) -> Option<f32> {
    let shape = &x.tensor()?.ty.shape;
    Some(reduced(x, axes)?.iter().map(|&a| shape[a]).product::<usize>() as f32)
}

fn swaps_last_two(p: &[i64]) -> bool {
    let n = p.len() as i64;
    n >= 2
        && p.iter().enumerate().all(|(i, &q)| {
            let i = i as i64;
            q == if i == n - 1 {
                n - 2
            } else if i == n - 2 {
                n - 1
            } else {
                i
            }
        })
}

impl Guard {
    /// Whether it is known to hold, given what is known of the variables.
    pub fn holds<'a>(&self, facts: impl Fn(&str) -> Option<&'a Facts>) -> bool {
        self.decide(facts).unwrap_or(false)
    }

    /// Whether it makes this variable a constant, the same everywhere.
    pub(super) fn fixes(&self, v: &str) -> bool {
        use Guard::*;
        matches!(
            *self,
            Is(x, _) | Near(x, _) | Uniform(x) | PowerOfTwo(x) | MinusPowerOfTwo(x) if x == v
        )
    }

    /// The variables it speaks of.
    pub(crate) fn variables(&self) -> Vec<&'static str> {
        use Guard::*;
        match *self {
            MulInRange(a, b)
            | DivInRange(a, b)
            | ScaleInRange(a, b)
            | SameSide(a, b)
            | SameSign(a, b)
            | OneElement(a, b) => vec![a, b],
            OnlyAxis(a, b, c) | CountOf(a, b, c) | InverseCountOf(a, b, c) => vec![a, b, c],
            NonZero(x)
            | Finite(x)
            | NotNegZero(x)
            | NonNegative(x)
            | Within(x, ..)
            | Is(x, _)
            | Near(x, _)
            | Uniform(x)
            | PowerOfTwo(x)
            | MinusPowerOfTwo(x)
            | PowersOfTwo(x)
            | Identity(x)
            | SwapsLastTwo(x)
            | Ones(x)
            | Zeros(x)
            | Equals(x, _)
            | True(x)
            | False(x) => vec![x],
        }
    }

    /// Whether it is a condition on the values of this variable alone.
    pub(super) fn names(&self, v: &str) -> bool {
        matches!(*self, Guard::NonZero(x) | Guard::Finite(x) | Guard::NotNegZero(x) | Guard::NonNegative(x) if x == v)
    }

    fn decide<'a>(&self, facts: impl Fn(&str) -> Option<&'a Facts>) -> Option<bool> {
        let range = |v: &str| Some(facts(v)?.tensor()?.range);
        let constant = |v: &str| facts(v)?.uniform()?.item::<f32>();
        Some(match *self {
            Guard::MulInRange(a, b) => mul_in_range(&range(a)?, &range(b)?),
            Guard::DivInRange(a, b) => div_in_range(&range(a)?, &range(b)?),
            Guard::ScaleInRange(x, k) => {
                let k = int(facts(k)?)?.clamp(-512, 512) << 23;
                magnitudes(&range(x)?).is_none_or(|(lo, hi)| in_range(lo + k, hi + k))
            }
            Guard::NonZero(x) => !range(x)?.zero(),
            Guard::Finite(x) => !range(x)?.infinite() && !range(x)?.nan,
            Guard::NotNegZero(x) => !range(x)?.neg_zero,
            Guard::NonNegative(x) => !range(x)?.negative(),
            Guard::Within(x, lo, hi) => {
                let r = range(x)?;
                !r.nan && !r.zero() && r.tiny >= lo && r.largest() <= hi
            }
            Guard::Is(x, c) => constant(x)?.to_bits() == c.to_bits(),
            Guard::Near(x, c) => near(constant(x)?, c),
            Guard::Uniform(x) => constant(x).is_some(),
            Guard::PowerOfTwo(x) => constant(x).is_some_and(|c| c > 0.0 && is_power(c)),
            Guard::MinusPowerOfTwo(x) => constant(x).is_some_and(|c| c < 0.0 && is_power(c)),
            Guard::PowersOfTwo(x) => range(x)?.pow2,
            Guard::SameSide(a, b) => {
                let (a, b) = (range(a)?, range(b)?);
                let special = |r: &Range| r.zero() || r.infinite() || r.nan;
                let (ma, mb) = (magnitudes(&a)?, magnitudes(&b)?);
                let same = ma.1 <= BIAS && mb.1 <= BIAS || ma.0 >= BIAS && mb.0 >= BIAS;
                same && !special(&a) && !special(&b)
            }
            Guard::SameSign(j, k) => int(facts(j)?)?.signum() * int(facts(k)?)?.signum() >= 0,
            Guard::Identity(p) => ints(facts(p)?)?.iter().enumerate().all(|(i, &q)| q == i as i64),
            Guard::SwapsLastTwo(p) => swaps_last_two(ints(facts(p)?)?),
            Guard::Ones(x) => ints(facts(x)?)?.iter().all(|&i| i == 1),
            Guard::Zeros(x) => ints(facts(x)?)?.iter().all(|&i| i == 0),
            Guard::Equals(x, n) => int(facts(x)?)? == n,
            Guard::True(x) => facts(x)?.uniform()?.item::<bool>()?,
            Guard::False(x) => !facts(x)?.uniform()?.item::<bool>()?,
            Guard::OneElement(x, axes) => count(facts(x)?, facts(axes)?)? == 1.0,
            Guard::OnlyAxis(axes, axis, x) => {
                let rank = facts(x)?.tensor()?.ty.rank();
                let axis = crate::ops::normalize_axis(int(facts(axis)?)?, rank).ok()?;
                reduced(facts(x)?, facts(axes)?)? == [axis]
            }
            Guard::CountOf(n, x, axes) => constant(n)? == count(facts(x)?, facts(axes)?)?,
            Guard::InverseCountOf(n, x, axes) => {
                near(constant(n)?, 1.0 / count(facts(x)?, facts(axes)?)?)
            }
        })
    }
}

fn is_power(c: f32) -> bool {
    c.is_normal() && c.to_bits() & 0x007F_FFFF == 0
}

impl fmt::Display for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
