//! PAM arithmetic in integer operators of standard ONNX: one function of the model for each
//! primitive, bit for bit what [`pamc_passes::reference`] says.
//!
//! Operands hold no subnormals, since what enters a program is flushed, and neither do results.
//! Magnitudes are i32; a sum that might not fit is bounded before it is made.

use pamc_passes::ir::Tensor;
use pamc_passes::ops::Prim;

use super::body::{Body, DOMAIN, text};
use super::slopes::{div_slope_a, div_slope_b, exp2_slope, log2_slope, mul_slope, sqrt_slope};
use crate::onnx::proto::{DataType, FunctionProto, OperatorSetIdProto};

const BIAS: i32 = 0x3F80_0000;
const MIN_NORMAL: i32 = 0x0080_0000;
const INF: i32 = 0x7F80_0000;
const MAX_FINITE: i32 = 0x7F7F_FFFF;
pub(super) const MANTISSA: i32 = 0x007F_FFFF;
pub(super) const SIGN: i32 = i32::MIN;
const NAN: i32 = 0x7FC0_0000;

/// A function's name, its operands and its body, which returns the result.
struct Definition {
    name: &'static str,
    args: &'static [&'static str],
    body: fn(&mut Body) -> String,
}

/// The function that a primitive of f32 operands is.
pub(super) fn of(prim: Prim) -> Option<&'static str> {
    use Prim::*;
    Some(match prim {
        Add => "add",
        Sub => "sub",
        Neg => "neg",
        Abs => "abs",
        Min => "min",
        Max => "max",
        PamMul => "mul",
        PamDiv => "div",
        PamExp2 => "exp2",
        PamLog2 => "log2",
        PamSqrt => "sqrt",
        MulSlope => "mul_slope",
        DivSlopeA => "div_slope_a",
        DivSlopeB => "div_slope_b",
        Exp2Slope => "exp2_slope",
        Log2Slope => "log2_slope",
        SqrtSlope => "sqrt_slope",
        _ => return None,
    })
}

const DEFINITIONS: &[Definition] = &[
    Definition { name: "flush", args: &["x"], body: flush },
    Definition { name: "add", args: &["a", "b"], body: |b| rounded(b, "Add") },
    Definition { name: "sub", args: &["a", "b"], body: |b| rounded(b, "Sub") },
    Definition { name: "neg", args: &["x"], body: neg },
    Definition { name: "abs", args: &["x"], body: abs },
    Definition { name: "order", args: &["x"], body: order },
    Definition { name: "min", args: &["a", "b"], body: |b| extremum(b, true) },
    Definition { name: "max", args: &["a", "b"], body: |b| extremum(b, false) },
    Definition { name: "mul", args: &["a", "b"], body: mul },
    Definition { name: "div", args: &["a", "b"], body: div },
    Definition { name: "scale2", args: &["x", "k"], body: scale2 },
    Definition { name: "exp2", args: &["x"], body: exp2 },
    Definition { name: "log2", args: &["x"], body: log2 },
    Definition { name: "sqrt", args: &["x"], body: sqrt },
    Definition { name: "power", args: &["s", "e"], body: power },
    Definition { name: "mul_slope", args: &["a", "b"], body: mul_slope },
    Definition { name: "div_slope_a", args: &["a", "b"], body: div_slope_a },
    Definition { name: "div_slope_b", args: &["a", "b"], body: div_slope_b },
    Definition { name: "exp2_slope", args: &["x"], body: exp2_slope },
    Definition { name: "log2_slope", args: &["x"], body: log2_slope },
    Definition { name: "sqrt_slope", args: &["x"], body: sqrt_slope },
    Definition { name: "to_int", args: &["x"], body: to_int },
];

/// All functions, the called before the caller.
pub(super) fn all(opset: &[OperatorSetIdProto]) -> Vec<FunctionProto> {
    let made = DEFINITIONS.iter().map(|d| {
        let mut body = Body::new("t");
        let result = (d.body)(&mut body);
        FunctionProto {
            name: d.name.to_owned(),
            domain: DOMAIN.to_owned(),
            input: d.args.iter().map(|&a| a.to_owned()).collect(),
            output: vec![result],
            node: body.nodes,
            opset_import: opset.to_vec(),
            ..FunctionProto::default()
        }
    });
    made.collect()
}

pub(super) fn int_bits(b: &mut Body, x: &str) -> String {
    b.bits(x, DataType::Int32)
}

pub(super) fn float_of(b: &mut Body, bits: &str) -> String {
    b.bits(bits, DataType::Float)
}

pub(super) fn and(b: &mut Body, x: &str, mask: i32) -> String {
    let mask = b.int(mask);
    b.op("BitwiseAnd", &[x, &mask])
}

pub(super) fn magnitude(b: &mut Body, bits: &str) -> String {
    and(b, bits, !SIGN)
}

fn less(b: &mut Body, x: &str, than: i32) -> String {
    let than = b.int(than);
    b.op("Less", &[x, &than])
}

pub(super) fn equal(b: &mut Body, x: &str, to: i32) -> String {
    let to = b.int(to);
    b.op("Equal", &[x, &to])
}

/// `a` where `condition`, else the constant.
fn unless(b: &mut Body, condition: &str, value: i32, a: &str) -> String {
    let value = b.int(value);
    b.op("Where", &[condition, &value, a])
}

/// m + by, saturating at the largest finite magnitude; a sum that underflows becomes 0.
fn moved(b: &mut Body, m: &str, by: &str) -> String {
    let most = b.int(MAX_FINITE);
    let room = b.op("Sub", &[&most, m]);
    let by = b.op("Min", &[by, &room]);
    let sum = b.op("Add", &[m, &by]);
    let small = less(b, &sum, MIN_NORMAL);
    unless(b, &small, 0, &sum)
}

/// Bits of the exclusive or of two signs.
fn sign_of_two(b: &mut Body, x: &str, y: &str) -> String {
    let both = b.op("BitwiseXor", &[x, y]);
    and(b, &both, SIGN)
}

fn flush(b: &mut Body) -> String {
    let bits = int_bits(b, "x");
    let m = magnitude(b, &bits);
    let small = less(b, &m, MIN_NORMAL);
    let zero = and(b, &bits, SIGN);
    let out = b.op("Where", &[&small, &zero, &bits]);
    float_of(b, &out)
}

fn rounded(b: &mut Body, op: &str) -> String {
    let sum = b.op(op, &["a", "b"]);
    b.call("flush", &[&sum])
}

fn neg(b: &mut Body) -> String {
    let bits = int_bits(b, "x");
    let sign = b.int(SIGN);
    let out = b.op("BitwiseXor", &[&bits, &sign]);
    float_of(b, &out)
}

fn abs(b: &mut Body) -> String {
    let bits = int_bits(b, "x");
    let m = magnitude(b, &bits);
    float_of(b, &m)
}

/// Bits of a float as an i32 of the same order, −0 below +0; its own inverse.
fn order(b: &mut Body) -> String {
    let negative = less(b, "x", 0);
    let flipped = b.int(!SIGN);
    let flipped = b.op("BitwiseXor", &["x", &flipped]);
    b.op("Where", &[&negative, &flipped, "x"])
}

fn extremum(b: &mut Body, least: bool) -> String {
    let [x, y] = ["a", "b"].map(|v| int_bits(b, v));
    let [kx, ky] = [&x, &y].map(|v| b.call("order", &[v]));
    let first = b.op(if least { "Less" } else { "Greater" }, &[&kx, &ky]);
    let picked = b.op("Where", &[&first, "a", "b"]);
    let nan = b.op("IsNaN", &["a"]);
    let picked = b.op("Where", &[&nan, "a", &picked]);
    let nan = b.op("IsNaN", &["b"]);
    b.op("Where", &[&nan, "b", &picked])
}

/// Bits, magnitudes and sign of two operands, and where one of them is NaN.
fn two(b: &mut Body) -> ([String; 2], String, String) {
    let bits = ["a", "b"].map(|v| int_bits(b, v));
    let m = [&bits[0], &bits[1]].map(|v| magnitude(b, v));
    let sign = sign_of_two(b, &bits[0], &bits[1]);
    let inf = b.int(INF);
    let nan = [&m[0], &m[1]].map(|v| b.op("Greater", &[v, &inf]));
    let nan = b.op("Or", &[&nan[0], &nan[1]]);
    (m, sign, nan)
}

/// The float of a magnitude and a sign, NaN where told.
fn joined(b: &mut Body, m: &str, sign: &str, nan: &str) -> String {
    let bits = b.op("BitwiseOr", &[m, sign]);
    let bits = unless(b, nan, NAN, &bits);
    float_of(b, &bits)
}

fn mul(b: &mut Body) -> String {
    let ([x, y], sign, nan) = two(b);
    let bias = b.int(BIAS);
    let by = b.op("Sub", &[&y, &bias]);
    let m = moved(b, &x, &by);
    let zero = [&x, &y].map(|v| equal(b, v, 0));
    let zero = b.op("Or", &[&zero[0], &zero[1]]);
    let inf = [&x, &y].map(|v| equal(b, v, INF));
    let inf = b.op("Or", &[&inf[0], &inf[1]]);
    let undefined = b.op("And", &[&zero, &inf]);
    let nan = b.op("Or", &[&nan, &undefined]);
    let m = unless(b, &inf, INF, &m);
    let m = unless(b, &zero, 0, &m);
    joined(b, &m, &sign, &nan)
}

fn div(b: &mut Body) -> String {
    let ([x, y], sign, nan) = two(b);
    let bias = b.int(BIAS);
    let by = b.op("Sub", &[&bias, &y]);
    let m = moved(b, &x, &by);
    let [x0, y0] = [&x, &y].map(|v| equal(b, v, 0));
    let [xi, yi] = [&x, &y].map(|v| equal(b, v, INF));
    let zeros = b.op("And", &[&x0, &y0]);
    let infs = b.op("And", &[&xi, &yi]);
    let undefined = b.op("Or", &[&zeros, &infs]);
    let nan = b.op("Or", &[&nan, &undefined]);
    let zero = b.op("Or", &[&x0, &yi]);
    let m = unless(b, &zero, 0, &m);
    let inf = b.op("Or", &[&y0, &xi]);
    let m = unless(b, &inf, INF, &m);
    joined(b, &m, &sign, &nan)
}

/// `k` is an i32 scalar: the power of two, in units of the exponent field.
fn scale2(b: &mut Body) -> String {
    let bits = int_bits(b, "x");
    let m = magnitude(b, &bits);
    let sign = and(b, &bits, SIGN);
    let new = moved(b, &m, "k");
    let zero = equal(b, &m, 0);
    let new = unless(b, &zero, 0, &new);
    let inf = b.int(INF);
    let passes = b.op("GreaterOrEqual", &[&m, &inf]);
    let new = b.op("Where", &[&passes, &m, &new]);
    let bits = b.op("BitwiseOr", &[&new, &sign]);
    float_of(b, &bits)
}

fn scaled(b: &mut Body, x: &str, k: i32) -> String {
    let k = b.int(k << 23);
    b.call("scale2", &[x, &k])
}

fn exp2(b: &mut Body) -> String {
    let [low, high] = [-126f32, 128.0].map(|v| b.constant(&Tensor::scalar(v)));
    let small = b.op("Less", &["x", &low]);
    let large = b.op("GreaterOrEqual", &["x", &high]);
    let nan = b.op("IsNaN", &["x"]);
    let outside = b.op("Or", &[&small, &large]);
    let outside = b.op("Or", &[&outside, &nan]);
    let zero = b.constant(&Tensor::scalar(0f32));
    let inside = b.op("Where", &[&outside, &zero, "x"]);
    let wide = scaled(b, &inside, 23);
    let n = b.op("Round", &[&wide]);
    let n = b.cast(&n, DataType::Int32);
    let bias = b.int(BIAS);
    let bits = b.op("Add", &[&n, &bias]);
    let bits = unless(b, &small, 0, &bits);
    let bits = unless(b, &large, MAX_FINITE, &bits);
    let bits = unless(b, &nan, NAN, &bits);
    let inf = b.constant(&Tensor::scalar(f32::INFINITY));
    let is_inf = b.op("Equal", &["x", &inf]);
    let bits = unless(b, &is_inf, INF, &bits);
    float_of(b, &bits)
}

/// Where a logarithm or root is undefined: NaN and what lies below 0.
fn undefined(b: &mut Body, bits: &str, m: &str) -> String {
    let inf = b.int(INF);
    let nan = b.op("Greater", &[m, &inf]);
    let signed = less(b, bits, 0);
    let zero = b.int(0);
    let nonzero = b.op("Greater", &[m, &zero]);
    let negative = b.op("And", &[&signed, &nonzero]);
    b.op("Or", &[&nan, &negative])
}

fn log2(b: &mut Body) -> String {
    let bits = int_bits(b, "x");
    let m = magnitude(b, &bits);
    let bias = b.int(BIAS);
    let n = b.op("Sub", &[&m, &bias]);
    let n = b.cast(&n, DataType::Float);
    let y = scaled(b, &n, -23);
    let y = int_bits(b, &y);
    let zero = equal(b, &m, 0);
    let y = unless(b, &zero, INF | SIGN, &y);
    let inf = equal(b, &m, INF);
    let y = unless(b, &inf, INF, &y);
    let nan = undefined(b, &bits, &m);
    let y = unless(b, &nan, NAN, &y);
    float_of(b, &y)
}

/// The bits of an i32 shifted, zeros shifted in.
pub(super) fn shifted(b: &mut Body, x: &str, by: u8, right: bool) -> String {
    let x = b.bits(x, DataType::Uint32);
    let by = b.int(i32::from(by));
    let by = b.cast(&by, DataType::Uint32);
    let direction = text("direction", if right { "RIGHT" } else { "LEFT" });
    let out = b.with("BitShift", &[&x, &by], vec![direction]);
    b.bits(&out, DataType::Int32)
}

fn sqrt(b: &mut Body) -> String {
    let bits = int_bits(b, "x");
    let m = magnitude(b, &bits);
    let half = shifted(b, &m, 1, true);
    let bias = b.int(BIAS >> 1);
    let y = b.op("Add", &[&half, &bias]);
    let zero = equal(b, &m, 0);
    let y = unless(b, &zero, 0, &y);
    let inf = equal(b, &m, INF);
    let y = unless(b, &inf, INF, &y);
    let nan = undefined(b, &bits, &m);
    let y = unless(b, &nan, NAN, &y);
    float_of(b, &y)
}

/// 2ᵉ for a biased exponent `e` of any size, with the sign bit of `s`.
pub(super) fn power(b: &mut Body) -> String {
    let (zero, top) = (b.int(0), b.int(255));
    let e = b.op("Max", &["e", &zero]);
    let e = b.op("Min", &[&e, &top]);
    let m = shifted(b, &e, 23, false);
    let most = b.int(MAX_FINITE);
    let m = b.op("Min", &[&m, &most]);
    let sign = and(b, "s", SIGN);
    let bits = b.op("BitwiseOr", &[&m, &sign]);
    float_of(b, &bits)
}

/// To i32, saturating, NaN to 0.
fn to_int(b: &mut Body) -> String {
    let top = b.constant(&Tensor::scalar(2_147_483_648f32));
    let large = b.op("GreaterOrEqual", &["x", &top]);
    let bottom = b.constant(&Tensor::scalar(-2_147_483_648f32));
    let small = b.op("LessOrEqual", &["x", &bottom]);
    let nan = b.op("IsNaN", &["x"]);
    let outside = b.op("Or", &[&large, &small]);
    let outside = b.op("Or", &[&outside, &nan]);
    let zero = b.constant(&Tensor::scalar(0f32));
    let x = b.op("Where", &[&outside, &zero, "x"]);
    let n = b.cast(&x, DataType::Int32);
    let n = unless(b, &large, i32::MAX, &n);
    unless(b, &small, i32::MIN, &n)
}
