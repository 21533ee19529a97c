//! Exponentials and logarithms of the labelled float baseline on a processor: polynomials on whole
//! vectors, within a few units in the last place (S. Moshier, Cephes: `expf`, `logf`, `log2f`).

use super::builder::Builder;
use super::float;
use super::types::{Elem, Value};

const MANTISSA: i64 = 0x007F_FFFF;
const EXPONENT_BITS: i64 = 23;
/// ln 2 as a sum, so that its product with a small integer is exact in the first part.
const LN2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
/// log₂ e − 1.
const LOG2E_1: f32 = 0.442_695_04;

const EXP: [f32; 6] =
    [1.987_569_1e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5];
const LOG: [f32; 9] = [
    7.037_683_6e-2,
    -1.151_461e-1,
    1.167_699_9e-1,
    -1.242_014_1e-1,
    1.424_932_3e-1,
    -1.666_805_8e-1,
    2.000_071_5e-1,
    -2.499_999_4e-1,
    3.333_333e-1,
];

/// Floats of one type.
struct Reals<'b> {
    b: &'b mut Builder,
    like: Value,
}

impl Reals<'_> {
    fn float(&mut self, value: f32) -> Value {
        self.b.float(self.like.ty, value)
    }
    fn int(&mut self, value: i64) -> Value {
        self.b.int(self.like.ty.of(Elem::I32), value)
    }
    fn add(&mut self, x: Value, y: Value) -> Value {
        self.b.binary("arith.addf", x, y)
    }
    fn mul(&mut self, x: Value, y: Value) -> Value {
        self.b.binary("arith.mulf", x, y)
    }
    fn times(&mut self, x: Value, by: f32) -> Value {
        let by = self.float(by);
        self.mul(x, by)
    }
    /// `x·y + z`.
    fn fma(&mut self, x: Value, y: Value, z: Value) -> Value {
        self.b.define(x.ty, format_args!("math.fma {x}, {y}, {z} : {}", x.ty))
    }
    fn plus(&mut self, x: Value, by: f32, z: Value) -> Value {
        let by = self.float(by);
        self.fma(x, by, z)
    }
    fn polynomial(&mut self, x: Value, coefficients: &[f32]) -> Value {
        let mut sum = self.float(coefficients[0]);
        for &c in &coefficients[1..] {
            let c = self.float(c);
            sum = self.fma(sum, x, c);
        }
        sum
    }
    /// A constant where a comparison with another holds, else `y`.
    fn where_is(&mut self, predicate: &str, x: Value, bound: f32, then: f32, y: Value) -> Value {
        let (bound, then) = (self.float(bound), self.float(then));
        let holds = self.b.compare(predicate, x, bound);
        self.b.select(holds, then, y)
    }
    fn bits(&mut self, x: Value) -> Value {
        self.b.convert("arith.bitcast", x, Elem::I32)
    }
    fn of_bits(&mut self, x: Value) -> Value {
        self.b.convert("arith.bitcast", x, Elem::F32)
    }

    /// `eʳ·2ⁿ` for |r| up to about ln 2 / 2, where it is a normal number.
    fn scaled_exp(&mut self, r: Value, n: Value) -> Value {
        let p = self.polynomial(r, &EXP);
        let square = self.mul(r, r);
        let one = self.float(1.0);
        let y = self.add(r, one);
        let y = self.fma(p, square, y);
        let n = self.b.convert("arith.fptosi", n, Elem::I32);
        let shift = self.int(EXPONENT_BITS);
        let n = self.b.binary("arith.shli", n, shift);
        let bits = self.bits(y);
        let bits = self.b.binary("arith.addi", bits, n);
        self.of_bits(bits)
    }

    /// 0 below a range, Inf above, and NaN of NaN.
    fn in_range(&mut self, x: Value, [low, high]: [f32; 2], y: Value) -> Value {
        let y = self.where_is("olt", x, low, 0.0, y);
        let y = self.where_is("ogt", x, high, f32::INFINITY, y);
        self.where_is("uno", x, 0.0, f32::NAN, y)
    }

    /// Inside a range, which keeps the conversion to an integer defined.
    fn clamped(&mut self, x: Value, [low, high]: [f32; 2]) -> Value {
        let zero = self.float(0.0);
        let (low, high) = (self.float(low), self.float(high));
        let above = self.b.compare("oge", x, low);
        let x = self.b.select(above, x, zero);
        let below = self.b.compare("ole", x, high);
        self.b.select(below, x, zero)
    }

    /// (f, ln(1 + f) − f, e) with x = (1 + f)·2ᵉ and 1 + f near 1, for positive normal x.
    fn log_parts(&mut self, x: Value) -> [Value; 3] {
        let bits = self.bits(x);
        let shift = self.int(EXPONENT_BITS);
        let field = self.b.binary("arith.shrui", bits, shift);
        let bias = self.int(-126);
        let e = self.b.binary("arith.addi", field, bias);
        let e = self.b.convert("arith.sitofp", e, Elem::F32);
        let (mantissa, half) = (self.int(MANTISSA), self.int(0x3F00_0000));
        let m = self.b.binary("arith.andi", bits, mantissa);
        let m = self.b.binary("arith.ori", m, half);
        let m = self.of_bits(m);
        let (root, minus_one, zero) =
            (self.float(std::f32::consts::FRAC_1_SQRT_2), self.float(-1.0), self.float(0.0));
        let small = self.b.compare("olt", m, root);
        let more = self.b.select(small, m, zero);
        let less = self.b.select(small, minus_one, zero);
        let e = self.add(e, less);
        let f = self.add(m, minus_one);
        let f = self.add(f, more);
        let square = self.mul(f, f);
        let p = self.polynomial(f, &LOG);
        let cube = self.mul(square, f);
        let y = self.mul(p, cube);
        [f, self.plus(square, -0.5, y), e]
    }

    fn log_special(&mut self, x: Value, y: Value) -> Value {
        let infinity = self.float(f32::INFINITY);
        let passes = self.b.compare("oge", x, infinity);
        let y = self.b.select(passes, x, y);
        let y = self.where_is("ult", x, 0.0, f32::NAN, y);
        self.where_is("oeq", x, 0.0, f32::NEG_INFINITY, y)
    }
}

/// `eˣ`.
pub(super) fn exp(b: &mut Builder, x: Value) -> Value {
    const RANGE: [f32; 2] = [-87.336_54, 88.722_83];
    let mut r = Reals { b, like: x };
    let inside = r.clamped(x, RANGE);
    let n = r.times(inside, std::f32::consts::LOG2_E);
    let n = float::round_even(r.b, n);
    let rest = r.plus(n, -LN2[0], inside);
    let rest = r.plus(n, -LN2[1], rest);
    let y = r.scaled_exp(rest, n);
    r.in_range(x, RANGE, y)
}

/// `2ˣ`.
pub(super) fn exp2(b: &mut Builder, x: Value) -> Value {
    const RANGE: [f32; 2] = [-126.0, 127.999_99];
    let mut r = Reals { b, like: x };
    let inside = r.clamped(x, RANGE);
    let n = float::round_even(r.b, inside);
    let rest = r.b.binary("arith.subf", inside, n);
    let rest = r.times(rest, std::f32::consts::LN_2);
    let y = r.scaled_exp(rest, n);
    r.in_range(x, RANGE, y)
}

/// Natural logarithm.
pub(super) fn log(b: &mut Builder, x: Value) -> Value {
    let mut r = Reals { b, like: x };
    let [f, y, e] = r.log_parts(x);
    let y = r.plus(e, LN2[1], y);
    let y = r.add(f, y);
    let y = r.plus(e, LN2[0], y);
    r.log_special(x, y)
}

/// Logarithm to base 2.
pub(super) fn log2(b: &mut Builder, x: Value) -> Value {
    let mut r = Reals { b, like: x };
    let [f, y, e] = r.log_parts(x);
    let sum = r.times(y, LOG2E_1);
    let sum = r.plus(f, LOG2E_1, sum);
    let sum = r.add(sum, y);
    let sum = r.add(sum, f);
    let sum = r.add(sum, e);
    r.log_special(x, sum)
}
