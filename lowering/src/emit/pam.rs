//! Piecewise affine arithmetic on bit patterns (Kosson & Jaggi, arXiv 2305.17190, section 2).
//!
//! Operands carry no subnormals, as the numeric contract has it; results do neither. Everything
//! works on 32-bit integers: no float multiply, divide, fma or root, and no float operation at all
//! but comparisons, integer conversion, floor and the additions of [`shift_sum`].

mod factor;

pub(crate) use factor::Factor;

use super::{
    builder::Builder,
    float,
    types::{Elem, Value},
};

const BIAS: i64 = 0x3F80_0000;
const MIN_NORMAL: i64 = 0x0080_0000;
const INF: i64 = 0x7F80_0000;
const MAX_FINITE: i64 = 0x7F7F_FFFF;
const MAGNITUDE: i64 = 0x7FFF_FFFF;
const MANTISSA: i64 = 0x007F_FFFF;
const NAN: i64 = 0x7FC0_0000;
const EXPONENT_BITS: i64 = 23;

/// A 32-bit pattern as the signed integer MLIR prints.
fn signed(bits: i64) -> i64 {
    i64::from(bits as u32 as i32)
}

/// Operations on the bits of one float type.
struct Bits<'b> {
    b: &'b mut Builder,
    like: Value,
}

impl<'b> Bits<'b> {
    fn new(b: &'b mut Builder, like: Value) -> Self {
        Self { b, like }
    }
    fn int(&mut self, bits: i64) -> Value {
        self.b.int(self.like.ty.of(Elem::I32), signed(bits))
    }
    fn with(&mut self, op: &str, a: Value, bits: i64) -> Value {
        let constant = self.int(bits);
        self.b.binary(op, a, constant)
    }
    fn test(&mut self, predicate: &str, a: Value, bits: i64) -> Value {
        let constant = self.int(bits);
        self.b.compare(predicate, a, constant)
    }
    fn add(&mut self, a: Value, bits: i64) -> Value {
        self.with("arith.addi", a, bits)
    }
    fn and(&mut self, a: Value, bits: i64) -> Value {
        self.with("arith.andi", a, bits)
    }
    fn of(&mut self, x: Value) -> Value {
        self.b.convert("arith.bitcast", x, Elem::I32)
    }
    fn magnitude(&mut self, bits: Value) -> Value {
        self.and(bits, MAGNITUDE)
    }
    fn sign(&mut self, bits: Value) -> Value {
        self.and(bits, 0x8000_0000)
    }
    /// True where a pattern is that of a zero (its exponent field is 0).
    fn is_zero(&mut self, bits: Value) -> Value {
        let field = self.and(bits, INF);
        self.test("eq", field, 0)
    }
    /// `a` where the condition holds, else a constant.
    fn or_else(&mut self, condition: Value, a: Value, bits: i64) -> Value {
        let otherwise = self.int(bits);
        self.b.select(condition, a, otherwise)
    }
    /// A constant where the condition holds, else `a`.
    fn instead(&mut self, condition: Value, bits: i64, a: Value) -> Value {
        let constant = self.int(bits);
        self.b.select(condition, constant, a)
    }
    /// A constant where the condition holds, else 0.
    fn constant_if(&mut self, condition: Value, bits: i64) -> Value {
        let constant = self.int(bits);
        self.or_else(condition, constant, 0)
    }
    fn signed(&mut self, magnitude: Value, sign: Value) -> Value {
        let bits = self.b.binary("arith.ori", magnitude, sign);
        self.float(bits)
    }
    fn float(&mut self, bits: Value) -> Value {
        self.b.convert("arith.bitcast", bits, Elem::F32)
    }
    fn sign_of_product(&mut self, a: Value, b: Value) -> Value {
        let mixed = self.b.binary("arith.xori", a, b);
        self.sign(mixed)
    }
}

/// Subnormals become zeros of the same sign.
pub(super) fn flush(b: &mut Builder, x: Value) -> Value {
    let mut e = Bits::new(b, x);
    let bits = e.of(x);
    let sign = e.sign(bits);
    let zero = e.is_zero(bits);
    let flushed = e.b.select(zero, sign, bits);
    e.float(flushed)
}

/// `a ⊙ b`: magnitude `|a| + |b| − B`, as an unsigned sum, which cannot wrap.
pub(super) fn mul(b: &mut Builder, x: Value, y: Value) -> Value {
    let mut e = Bits::new(b, x);
    let (xb, yb) = (e.of(x), e.of(y));
    let (mx, my) = (e.magnitude(xb), e.magnitude(yb));
    let sum = e.b.binary("arith.addi", mx, my);
    let low = e.b.binary("arith.minsi", mx, my);
    let high = e.b.binary("arith.maxsi", mx, my);
    let nonzero = e.test("sge", low, MIN_NORMAL);
    let normal = e.test("uge", sum, MIN_NORMAL + BIAS);
    let kept = e.b.binary("arith.andi", nonzero, normal);
    let clamped = e.with("arith.minui", sum, MAX_FINITE + BIAS);
    let product = e.add(clamped, -BIAS);
    let finite = e.or_else(kept, product, 0);
    // The larger magnitude is Inf or NaN, which is the result unless Inf meets 0.
    let special = e.or_else(nonzero, high, NAN);
    let is_special = e.test("sge", high, INF);
    let magnitude = e.b.select(is_special, special, finite);
    let sign = e.sign_of_product(xb, yb);
    e.signed(magnitude, sign)
}

/// `x ⊙ x`: magnitude `2·|x| − B`, never negative.
pub(super) fn square(b: &mut Builder, x: Value) -> Value {
    let mut e = Bits::new(b, x);
    let bits = e.of(x);
    let m = e.magnitude(bits);
    let sum = e.b.binary("arith.addi", m, m);
    let normal = e.test("uge", m, (MIN_NORMAL + BIAS) / 2);
    let clamped = e.with("arith.minui", sum, MAX_FINITE + BIAS);
    let product = e.add(clamped, -BIAS);
    let finite = e.or_else(normal, product, 0);
    let special = e.test("sge", m, INF);
    let magnitude = e.b.select(special, m, finite);
    e.float(magnitude)
}

/// A number as an integer of the same order, −0 below +0; the same map leads back. A NaN becomes the
/// pattern `nan` first, which decides its place.
pub(super) fn ordered(b: &mut Builder, x: Value, nan: i64) -> Value {
    let mut e = Bits::new(b, x);
    let bits = e.of(x);
    let unordered = e.b.compare("uno", x, x);
    let bits = e.instead(unordered, nan, bits);
    flip_negative(b, bits)
}

/// The number that [`ordered`] made an integer of.
pub(super) fn unordered(b: &mut Builder, key: Value) -> Value {
    let bits = flip_negative(b, key);
    b.convert("arith.bitcast", bits, Elem::F32)
}

/// Bits of numbers as integers of the same order, and back: negative ones with all but the sign
/// inverted.
pub(super) fn flip_negative(b: &mut Builder, bits: Value) -> Value {
    let mut e = Bits::new(b, bits);
    let negative = e.with("arith.shrsi", bits, 31);
    let flips = e.magnitude(negative);
    e.b.binary("arith.xori", bits, flips)
}

/// `a ⊘ b`: magnitude `|a| − |b| + B`, offset by 0x40000000 to stay unsigned.
pub(super) fn div(b: &mut Builder, x: Value, y: Value) -> Value {
    const OFFSET: i64 = INF - BIAS;
    let mut e = Bits::new(b, x);
    let (xb, yb) = (e.of(x), e.of(y));
    let (mx, my) = (e.magnitude(xb), e.magnitude(yb));
    let raised = e.add(mx, INF);
    let difference = e.b.binary("arith.subi", raised, my);
    let normal = e.test("uge", difference, MIN_NORMAL + OFFSET);
    let clamped = e.with("arith.minui", difference, MAX_FINITE + OFFSET);
    let quotient = e.add(clamped, -OFFSET);
    let finite = e.or_else(normal, quotient, 0);
    let (x_zero, y_zero) = (e.test("slt", mx, MIN_NORMAL), e.test("slt", my, MIN_NORMAL));
    let (x_special, y_special) = (e.test("sge", mx, INF), e.test("sge", my, INF));
    let vanishes = e.b.binary("arith.ori", x_zero, y_special);
    let explodes = e.b.binary("arith.ori", y_zero, x_special);
    // Both at once are 0⊘0 and Inf⊘Inf; a NaN with a number is unordered.
    let contradiction = e.b.binary("arith.andi", vanishes, explodes);
    let unordered = e.b.compare("uno", x, y);
    let nan = e.b.binary("arith.ori", contradiction, unordered);
    let small = e.instead(vanishes, 0, finite);
    let large = e.instead(explodes, INF, small);
    let magnitude = e.instead(nan, NAN, large);
    let sign = e.sign_of_product(xb, yb);
    e.signed(magnitude, sign)
}

/// `paexp2(x)`: x·2²³ by exponent addition, rounded to an integer, plus B.
pub(super) fn exp2(b: &mut Builder, x: Value) -> Value {
    let mut e = Bits::new(b, x);
    let bits = e.of(x);
    let (inside, saturates) = exponent_range(&mut e, x);
    // A zero becomes 2⁻¹⁰⁴, which rounds to 0.
    let scaled = e.add(bits, 23 << EXPONENT_BITS);
    let scaled = e.or_else(inside, scaled, 0);
    let scaled = e.float(scaled);
    let rounded = float::round_even(e.b, scaled);
    let n = e.b.convert("arith.fptosi", rounded, Elem::I32);
    let y = e.add(n, BIAS);
    let y = e.or_else(inside, y, 0);
    let y = e.instead(saturates, MAX_FINITE, y);
    let infinity = e.b.float(x.ty, f32::INFINITY);
    let passes = e.b.compare("uge", x, infinity);
    let y = e.b.select(passes, bits, y);
    e.float(y)
}

/// Where x lies in [−126, 128), and where at or above 128.
fn exponent_range(e: &mut Bits, x: Value) -> (Value, Value) {
    let (low, high) = (e.b.float(x.ty, -126.0), e.b.float(x.ty, 128.0));
    let above = e.b.compare("oge", x, low);
    let below = e.b.compare("olt", x, high);
    let inside = e.b.binary("arith.andi", above, below);
    (inside, e.b.compare("oge", x, high))
}

/// `palog2(a)`: (|a| − B)·2⁻²³, the conversion to float rounding to nearest even.
pub(super) fn log2(b: &mut Builder, x: Value) -> Value {
    let mut e = Bits::new(b, x);
    let bits = e.of(x);
    let n = e.add(bits, -BIAS);
    let y = e.b.convert("arith.sitofp", n, Elem::F32);
    let y = e.of(y);
    let y = e.add(y, -(23 << EXPONENT_BITS));
    let one = e.test("eq", n, 0);
    let y = e.instead(one, 0, y);
    let y = pass_inf_and_nan(&mut e, bits, y);
    let zero = e.is_zero(bits);
    let y = e.instead(zero, i64::from(f32::NEG_INFINITY.to_bits()), y);
    e.float(y)
}

/// `pasqrt(a)`: (|a| >> 1) + (B >> 1).
pub(super) fn sqrt(b: &mut Builder, x: Value) -> Value {
    let mut e = Bits::new(b, x);
    let bits = e.of(x);
    let half = e.with("arith.shrui", bits, 1);
    let y = e.add(half, BIAS >> 1);
    let y = pass_inf_and_nan(&mut e, bits, y);
    let zero = e.is_zero(bits);
    let y = e.instead(zero, 0, y);
    e.float(y)
}

/// The operand itself where it is +Inf or NaN, NaN where it is negative, else `y`.
fn pass_inf_and_nan(e: &mut Bits, bits: Value, y: Value) -> Value {
    let special = e.test("sge", bits, INF);
    let y = e.b.select(special, bits, y);
    let negative = e.test("slt", bits, 0);
    e.instead(negative, NAN, y)
}

/// `x · 2ᵏ`: k added to the exponent field.
pub(super) fn scale2(b: &mut Builder, x: Value, k: i64) -> Value {
    let mut e = Bits::new(b, x);
    let bits = e.of(x);
    let scaled = scale_finite(&mut e, bits, k);
    let magnitude = e.magnitude(bits);
    let special = e.test("sge", magnitude, INF);
    let y = e.b.select(special, bits, scaled);
    e.float(y)
}

/// [`scale2`] on the bits of a finite operand; anything for another.
fn scale_finite(e: &mut Bits, bits: Value, k: i64) -> Value {
    // A shift of 255 flushes or saturates everything, and keeps the constants within 32 bits.
    let k = k.clamp(-255, 255);
    if k == 0 {
        return bits;
    }
    let (magnitude, sign) = (e.magnitude(bits), e.sign(bits));
    if k > 0 {
        let raised = e.add(magnitude, k << EXPONENT_BITS);
        let clamped = e.with("arith.minui", raised, MAX_FINITE);
        let nonzero = e.test("sge", magnitude, MIN_NORMAL);
        let y = e.or_else(nonzero, clamped, 0);
        return e.b.binary("arith.ori", y, sign);
    }
    if k <= -254 {
        return sign;
    }
    let lowered = e.add(bits, k << EXPONENT_BITS);
    let normal = e.test("sge", magnitude, MIN_NORMAL - (k << EXPONENT_BITS));
    e.b.select(normal, lowered, sign)
}

/// `x · c` for a constant as signed powers of two `(negative, exponent)`, summed left to right; a
/// non-finite x passes unchanged. No terms give +0.
pub(super) fn shift_sum(b: &mut Builder, x: Value, terms: &[(bool, i32)]) -> Value {
    let mut e = Bits::new(b, x);
    let bits = e.of(x);
    let mut total: Option<Value> = None;
    for &(negative, k) in terms {
        let part = scale_finite(&mut e, bits, i64::from(k));
        let part = e.float(part);
        total = Some(match (total, negative) {
            (None, false) => part,
            (None, true) => float::neg(e.b, part),
            (Some(sum), false) => float::add(e.b, sum, part),
            (Some(sum), true) => float::sub(e.b, sum, part),
        });
    }
    let zero = e.b.float(x.ty, 0.0);
    let total = total.unwrap_or(zero);
    let magnitude = e.magnitude(bits);
    let special = e.test("sge", magnitude, INF);
    e.b.select(special, x, total)
}

/// `∂(a ⊙ b)/∂a`: adding the mantissas carries into b's exponent exactly where they reach 1.
pub(super) fn mul_slope(b: &mut Builder, x: Value, y: Value) -> Value {
    let mut e = Bits::new(b, x);
    let (xb, yb) = (e.of(x), e.of(y));
    let fraction = e.and(xb, MANTISSA);
    let my = e.magnitude(yb);
    let sum = e.b.binary("arith.addi", my, fraction);
    let power = e.and(sum, !MANTISSA);
    let power = e.with("arith.minui", power, MAX_FINITE);
    let nonzero = e.test("sge", my, MIN_NORMAL);
    let power = e.or_else(nonzero, power, 0);
    let sign = e.sign(yb);
    e.signed(power, sign)
}

/// `∂(a ⊘ b)/∂a`: subtracting the mantissas borrows from the exponent exactly where M_a < M_b.
pub(super) fn div_slope_a(b: &mut Builder, x: Value, y: Value) -> Value {
    let mut e = Bits::new(b, x);
    let (xb, yb) = (e.of(x), e.of(y));
    let fraction = e.and(xb, MANTISSA);
    let raised = e.add(fraction, 254 << EXPONENT_BITS);
    let my = e.magnitude(yb);
    let difference = e.b.binary("arith.subi", raised, my);
    let power = e.and(difference, !MANTISSA);
    let power = e.with("arith.maxsi", power, 0);
    let sign = e.sign(yb);
    e.signed(power, sign)
}

/// `∂(a ⊘ b)/∂b`: exponent field E_a − 2·E_b + 254 − [M_a < M_b], in biased exponents.
pub(super) fn div_slope_b(b: &mut Builder, x: Value, y: Value) -> Value {
    let mut e = Bits::new(b, x);
    let (xb, yb) = (e.of(x), e.of(y));
    let (mx, my) = (e.magnitude(xb), e.magnitude(yb));
    let difference = e.b.binary("arith.subi", mx, my);
    let field = e.with("arith.shrsi", difference, EXPONENT_BITS);
    let ey = e.with("arith.shrui", my, EXPONENT_BITS);
    let field = e.b.binary("arith.subi", field, ey);
    let field = e.add(field, 254);
    let field = e.with("arith.maxsi", field, 0);
    let field = e.with("arith.minsi", field, 255);
    let power = e.with("arith.shli", field, EXPONENT_BITS);
    let power = e.with("arith.minsi", power, MAX_FINITE);
    let sign = e.sign(xb);
    let opposite = e.with("arith.xori", sign, 0x8000_0000);
    let bits = e.b.binary("arith.ori", power, opposite);
    let nonzero = e.test("sge", mx, MIN_NORMAL);
    let bits = e.or_else(nonzero, bits, 0);
    e.float(bits)
}

/// Exact slope of [`exp2`]: 2^⌊x⌋; 1 at NaN.
pub(super) fn exp2_slope(b: &mut Builder, x: Value) -> Value {
    let mut e = Bits::new(b, x);
    let (inside, saturates) = exponent_range(&mut e, x);
    let zero = e.b.float(x.ty, 0.0);
    let safe = e.b.select(inside, x, zero);
    let floor = float::floor(e.b, safe);
    let n = e.b.convert("arith.fptosi", floor, Elem::I32);
    let shifted = e.with("arith.shli", n, EXPONENT_BITS);
    let power = e.add(shifted, BIAS);
    let low = e.b.float(x.ty, -126.0);
    let vanishes = e.b.compare("olt", x, low);
    let power = e.instead(vanishes, 0, power);
    let power = e.instead(saturates, MAX_FINITE, power);
    e.float(power)
}

/// Exact slope of [`log2`]: exponent field 254 − E.
pub(super) fn log2_slope(b: &mut Builder, x: Value) -> Value {
    let mut e = Bits::new(b, x);
    let bits = e.of(x);
    let field = e.and(bits, INF);
    let top = e.int(254 << EXPONENT_BITS);
    let power = e.b.binary("arith.subi", top, field);
    let power = e.with("arith.maxsi", power, 0);
    e.float(power)
}

/// Exact slope of [`sqrt`]: exponent ⌊E/2⌋ − E − 1.
pub(super) fn sqrt_slope(b: &mut Builder, x: Value) -> Value {
    let mut e = Bits::new(b, x);
    let bits = e.of(x);
    let magnitude = e.magnitude(bits);
    let field = e.with("arith.shrui", magnitude, EXPONENT_BITS);
    let exponent = e.add(field, -127);
    let half = e.with("arith.shrsi", exponent, 1);
    let difference = e.b.binary("arith.subi", half, exponent);
    let field = e.add(difference, 126);
    let power = e.with("arith.shli", field, EXPONENT_BITS);
    e.float(power)
}
