//! Slopes of the segments of PAM functions, in integer operators.

use pamc_passes::ir::Tensor;

use super::body::Body;
use super::functions::{MANTISSA, SIGN, and, equal, float_of, int_bits, magnitude, shifted};
use crate::onnx::proto::DataType;

/// Bits, biased exponent and mantissa of an operand.
fn parts(b: &mut Body, x: &str) -> (String, String, String) {
    let bits = int_bits(b, x);
    let m = magnitude(b, &bits);
    let exponent = shifted(b, &m, 23, true);
    let mantissa = and(b, &bits, MANTISSA);
    (bits, exponent, mantissa)
}

fn zero_of(b: &mut Body, exponent: &str) -> String {
    equal(b, exponent, 0)
}

pub(super) fn mul_slope(b: &mut Body) -> String {
    let (_, _, fa) = parts(b, "a");
    let (bits, eb, fb) = parts(b, "b");
    let sum = b.op("Add", &[&fa, &fb]);
    let carry = shifted(b, &sum, 23, true);
    let e = b.op("Add", &[&eb, &carry]);
    let slope = b.call("power", &[&bits, &e]);
    let zero = zero_of(b, &eb);
    let signed = and(b, &bits, SIGN);
    let signed = float_of(b, &signed);
    b.op("Where", &[&zero, &signed, &slope])
}

/// 1 where the mantissa of a is the smaller, else 0.
fn borrow(b: &mut Body, fa: &str, fb: &str) -> String {
    let smaller = b.op("Less", &[fa, fb]);
    b.cast(&smaller, DataType::Int32)
}

pub(super) fn div_slope_a(b: &mut Body) -> String {
    let (_, _, fa) = parts(b, "a");
    let (bits, eb, fb) = parts(b, "b");
    let borrow = borrow(b, &fa, &fb);
    let e = b.int(254);
    let e = b.op("Sub", &[&e, &eb]);
    let e = b.op("Sub", &[&e, &borrow]);
    b.call("power", &[&bits, &e])
}

pub(super) fn div_slope_b(b: &mut Body) -> String {
    let (bits, ea, fa) = parts(b, "a");
    let (_, eb, fb) = parts(b, "b");
    let borrow = borrow(b, &fa, &fb);
    let e = b.op("Sub", &[&ea, &eb]);
    let e = b.op("Sub", &[&e, &eb]);
    let twice = b.int(254);
    let e = b.op("Add", &[&e, &twice]);
    let e = b.op("Sub", &[&e, &borrow]);
    let sign = b.int(SIGN);
    let sign = b.op("BitwiseXor", &[&bits, &sign]);
    let slope = b.call("power", &[&sign, &e]);
    let zero = zero_of(b, &ea);
    let none = b.constant(&Tensor::scalar(0f32));
    b.op("Where", &[&zero, &none, &slope])
}

pub(super) fn exp2_slope(b: &mut Body) -> String {
    let nan = b.op("IsNaN", &["x"]);
    let zero = b.constant(&Tensor::scalar(0f32));
    let x = b.op("Where", &[&nan, &zero, "x"]);
    let [low, high] = [-200f32, 200.0].map(|v| b.constant(&Tensor::scalar(v)));
    let x = b.op("Max", &[&x, &low]);
    let x = b.op("Min", &[&x, &high]);
    let x = b.op("Floor", &[&x]);
    let e = b.cast(&x, DataType::Int32);
    biased_power(b, &e)
}

/// 2ᵉ of an exponent without bias.
fn biased_power(b: &mut Body, e: &str) -> String {
    let bias = b.int(127);
    let e = b.op("Add", &[e, &bias]);
    let positive = b.int(0);
    b.call("power", &[&positive, &e])
}

pub(super) fn log2_slope(b: &mut Body) -> String {
    let (_, ea, _) = parts(b, "x");
    let twice = b.int(254);
    let e = b.op("Sub", &[&twice, &ea]);
    let positive = b.int(0);
    b.call("power", &[&positive, &e])
}

/// ⌊E/2⌋ − E − 1, where E is the exponent without its bias 127: with e = E + 127 the half is
/// ⌊(e + 1)/2⌋ − 64.
pub(super) fn sqrt_slope(b: &mut Body) -> String {
    let (_, ea, _) = parts(b, "x");
    let one = b.int(1);
    let next = b.op("Add", &[&ea, &one]);
    let half = shifted(b, &next, 1, true);
    let e = b.op("Sub", &[&half, &ea]);
    let rest = b.int(127 - 64 - 1);
    let e = b.op("Add", &[&e, &rest]);
    biased_power(b, &e)
}
