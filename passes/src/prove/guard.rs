//! What a guard promises of one value of each of its variables, as a formula.
//!
//! The engine decides a guard for sets of values; what it lets through satisfies these formulas, which
//! tests compare, and the proofs rest on nothing else.

use crate::rules::Guard;
use crate::semantics::{Format, Int};

/// The bound of an interval in another format: one near an end of float32's range keeps its distance
/// from that end, another does not exceed the largest exponent; rounded into the interval.
fn limit(f: Format, bound: f32, upper: bool) -> i64 {
    let bits = i64::from(bound.to_bits());
    if f == Format::F32 {
        return bits;
    }
    let exponent = (bits >> Format::F32.fraction) - Format::F32.bias();
    let shift = Format::F32.fraction - f.fraction;
    let down = (bits & Format::F32.fraction_bits()) >> shift;
    let up = i64::from(!upper && down << shift != bits & Format::F32.fraction_bits());
    let exponent = match exponent {
        64.. => exponent - Format::F32.bias() + f.bias(),
        ..-64 => exponent + Format::F32.bias() - f.bias(),
        _ => exponent,
    };
    let pattern = ((exponent + f.bias()) << f.fraction) + down + up;
    let largest = i64::float_of_int(f, f.bias() - 1);
    if (-64..64).contains(&exponent) && pattern > largest { largest } else { pattern }
}

/// Whether the magnitude is that of a nonzero finite number.
fn ordinary<I: Int>(f: Format, m: I) -> I::Truth {
    !m.lt(I::from(f.min_normal())) & m.lt(I::from(f.inf()))
}

/// Whether a magnitude that may have left the range has not.
fn in_range<I: Int>(f: Format, m: I) -> I::Truth {
    ordinary(f, m)
}

/// The promise, from the values of variables: patterns, exponents, or 0 and 1 for truth values. `None`
/// for a guard that is not about scalars.
pub fn promise<I: Int>(
    f: Format,
    guard: &Guard,
    value: impl Fn(&str) -> Option<I>,
) -> Option<I::Truth> {
    let zero = I::from(0);
    let magnitude = |v: &str| Some(f.magnitude(value(v)?));
    let plain = |v: &str| Some(ordinary(f, magnitude(v)?));
    let power = |v: &str| {
        let fraction = value(v)? & I::from(f.fraction_bits());
        Some(plain(v)? & fraction.eq(zero))
    };
    let constant = |c: f32| I::from(crate::semantics::pattern(f, c));
    let is_negative = |x: I| !f.sign(x).eq(zero);
    Some(match *guard {
        Guard::MulInRange(a, b) => {
            let m = magnitude(a)? + magnitude(b)? - I::from(f.one());
            !(plain(a)? & plain(b)?) | in_range(f, m)
        }
        Guard::DivInRange(a, b) => {
            let m = magnitude(a)? - magnitude(b)? + I::from(f.one());
            !(plain(a)? & plain(b)?) | in_range(f, m)
        }
        Guard::ScaleInRange(x, k) => {
            let k = f.clamped_shift(value(k)?);
            !plain(x)? | in_range(f, magnitude(x)? + (k << f.fraction))
        }
        Guard::NonZero(x) => !magnitude(x)?.eq(zero),
        Guard::Finite(x) => magnitude(x)?.lt(I::from(f.inf())),
        Guard::NotNegZero(x) => !value(x)?.eq(I::from(f.sign_bit())),
        Guard::NonNegative(x) => {
            !is_negative(value(x)?) | magnitude(x)?.eq(zero) | f.is_nan(value(x)?)
        }
        Guard::Within(x, lo, hi) => {
            let (lo, hi) = (I::from(limit(f, lo, false)), I::from(limit(f, hi, true)));
            plain(x)? & !magnitude(x)?.lt(lo) & !hi.lt(magnitude(x)?)
        }
        Guard::Is(x, c) => value(x)?.eq(constant(c)),
        Guard::Uniform(x) => value(x)?.eq(value(x)?),
        Guard::PowerOfTwo(x) => power(x)? & !is_negative(value(x)?),
        Guard::MinusPowerOfTwo(x) => power(x)? & is_negative(value(x)?),
        Guard::PowersOfTwo(x) => {
            let fraction = value(x)? & I::from(f.fraction_bits());
            !plain(x)? | fraction.eq(zero)
        }
        Guard::SameSide(a, b) => {
            let (ma, mb, one) = (magnitude(a)?, magnitude(b)?, I::from(f.one()));
            let small = !one.lt(ma) & !one.lt(mb);
            let large = !ma.lt(one) & !mb.lt(one);
            plain(a)? & plain(b)? & (small | large)
        }
        Guard::SameSign(j, k) => {
            let (j, k) = (value(j)?, value(k)?);
            !((j.lt(zero) & zero.lt(k)) | (zero.lt(j) & k.lt(zero)))
        }
        Guard::Equals(x, n) => value(x)?.eq(I::from(n)),
        Guard::True(c) => value(c)?.eq(I::from(1)),
        Guard::False(c) => value(c)?.eq(zero),
        _ => return None,
    })
}
