//! Float operations that are spelled differently for different code.
//!
//! Sums are the only rounding float operations of a PAM program: on a processor and in GPU code by way
//! of LLVM the machine's mode makes subnormal sums zeros; in SPIR-V nothing promises that, so it is
//! written out there, and each sum is marked as not to be rearranged.

use super::builder::{Builder, Code};
use super::nest::INDEX;
use super::pam;
use super::types::{Elem, Value, VecTy};

/// `a + b`, subnormals as zeros.
pub(super) fn add(b: &mut Builder, x: Value, y: Value) -> Value {
    sum(b, ["arith.addf", "spirv.FAdd"], x, y)
}

/// `a − b`, subnormals as zeros.
pub(super) fn sub(b: &mut Builder, x: Value, y: Value) -> Value {
    sum(b, ["arith.subf", "spirv.FSub"], x, y)
}

fn sum(b: &mut Builder, [op, spirv]: [&str; 2], x: Value, y: Value) -> Value {
    if b.code() != Code::Spirv {
        return b.binary(op, x, y);
    }
    let operation = format!("{spirv} {x}, {y} {{no_contraction}} : {}", x.ty);
    let sum = b.define(x.ty, operation);
    pam::flush(b, sum)
}

/// +0 as an operand of sums, where it makes +0 of −0.
///
/// Mesa's software device leaves out the addition of a zero that it knows, whatever a module declares.
/// The lowest bits of a number and of the next one always differ, which it does not know.
pub(super) fn zero(b: &mut Builder) -> Value {
    let ty = VecTy::scalar(Elem::F32);
    if b.code() != Code::Spirv {
        return b.float(ty, 0.0);
    }
    let thread = b.define(INDEX, "gpu.thread_id x");
    let thread = b.convert("arith.index_cast", thread, Elem::I32);
    let one = b.int(thread.ty, 1);
    let next = b.binary("arith.addi", thread, one);
    let differ = b.binary("arith.xori", thread, next);
    let lowest = b.binary("arith.andi", differ, one);
    let zero = b.binary("arith.xori", lowest, one);
    b.convert("arith.bitcast", zero, Elem::F32)
}

/// The nearest integer, even ones for halves.
pub(super) fn round_even(b: &mut Builder, x: Value) -> Value {
    named(b, ["math.roundeven", "llvm.roundeven", "spirv.GL.RoundEven"], x)
}

/// The largest integer that is not above.
pub(super) fn floor(b: &mut Builder, x: Value) -> Value {
    named(b, ["math.floor", "llvm.floor", "spirv.GL.Floor"], x)
}

fn named(b: &mut Builder, [cpu, llvm, spirv]: [&str; 3], x: Value) -> Value {
    match b.code() {
        Code::Cpu => b.unary(cpu, x),
        // As a call: the conversions to GPU dialects make library functions of the operations.
        Code::Llvm => intrinsic(b, llvm, x, x.ty),
        Code::Spirv => b.unary(spirv, x),
    }
}

fn intrinsic(b: &mut Builder, name: &str, x: Value, to: VecTy) -> Value {
    b.define(to, format_args!("llvm.call_intrinsic \"{name}\"({x}) : ({}) -> {to}", x.ty))
}

/// `−x`.
pub(super) fn neg(b: &mut Builder, x: Value) -> Value {
    match b.code() {
        Code::Cpu => b.unary("arith.negf", x),
        _ => bitwise(b, "arith.xori", x, i64::from(i32::MIN)),
    }
}

/// `|x|`.
pub(super) fn abs(b: &mut Builder, x: Value) -> Value {
    match b.code() {
        Code::Cpu => b.unary("math.absf", x),
        _ => bitwise(b, "arith.andi", x, i64::from(i32::MAX)),
    }
}

fn bitwise(b: &mut Builder, op: &str, x: Value, mask: i64) -> Value {
    let bits = b.convert("arith.bitcast", x, Elem::I32);
    let mask = b.int(bits.ty, mask);
    let bits = b.binary(op, bits, mask);
    b.convert("arith.bitcast", bits, Elem::F32)
}

/// The smaller or the larger of two; NaN if one is, and −0 is below +0.
pub(super) fn extremum(b: &mut Builder, least: bool, x: Value, y: Value) -> Value {
    if b.code() != Code::Spirv {
        return b.binary(if least { "arith.minimumf" } else { "arith.maximumf" }, x, y);
    }
    // SPIR-V leaves both open: integers that are ordered as the numbers are decide.
    let [low, high] = [x, y].map(|v| ordered(b, v));
    let first = b.compare(if least { "sle" } else { "sge" }, low, high);
    let chosen = b.select(first, x, y);
    let unordered = b.compare("uno", x, y);
    let nan = b.float(x.ty, f32::NAN);
    b.select(unordered, nan, chosen)
}

fn ordered(b: &mut Builder, x: Value) -> Value {
    let bits = b.convert("arith.bitcast", x, Elem::I32);
    pam::flip_negative(b, bits)
}

/// To an integer: truncated and saturated, NaN to 0.
pub(super) fn to_int(b: &mut Builder, x: Value, to: Elem) -> Value {
    let ty: VecTy = x.ty.of(to);
    match (b.code(), to) {
        (Code::Llvm, Elem::I64) => return to_long(b, x),
        (Code::Cpu | Code::Llvm, _) => return intrinsic(b, "llvm.fptosi.sat", x, ty),
        (Code::Spirv, _) => {}
    }
    let (limit, lowest, highest) = match to {
        Elem::I64 => (63, i64::MIN, i64::MAX),
        _ => (31, i64::from(i32::MIN), i64::from(i32::MAX)),
    };
    let power = f32::from_bits((127 + limit) << 23);
    let [above, below, zero] = [power, -power, 0.0].map(|v| b.float(x.ty, v));
    let large = b.compare("oge", x, above);
    let small = b.compare("olt", x, below);
    let nan = b.compare("uno", x, x);
    let outside = b.binary("arith.ori", large, small);
    let outside = b.binary("arith.ori", outside, nan);
    let safe = b.select(outside, zero, x);
    let inside = b.convert("arith.fptosi", safe, to);
    let [lowest, highest] = [lowest, highest].map(|v| b.int(ty, v));
    let result = b.select(small, lowest, inside);
    b.select(large, highest, result)
}

/// From an integer, rounded to the nearest, of two to the even.
pub(super) fn from_int(b: &mut Builder, n: Value) -> Value {
    match (b.code(), n.ty.elem) {
        (Code::Llvm, Elem::I64) => from_long(b, n),
        _ => b.convert("arith.sitofp", n, Elem::F32),
    }
}

/// To 64 bits by shifts: AMD's back end would take the number apart with products.
fn to_long(b: &mut Builder, x: Value) -> Value {
    let bits = b.convert("arith.bitcast", x, Elem::I32);
    let bits = b.convert("arith.extsi", bits, Elem::I64);
    let ty = bits.ty;
    let op = |b: &mut Builder, name: &str, a: Value, c: i64| {
        let c = b.int(ty, c);
        b.binary(name, a, c)
    };
    let magnitude = op(b, "arith.andi", bits, 0x7FFF_FFFF);
    let exponent = op(b, "arith.shrui", magnitude, 23);
    let fraction = op(b, "arith.andi", magnitude, 0x007F_FFFF);
    let significand = op(b, "arith.ori", fraction, 0x0080_0000);
    // The significand's last bit has the weight 1 at the exponent 150.
    let up = op(b, "arith.subi", exponent, 150);
    let up = op(b, "arith.maxsi", up, 0);
    let up = op(b, "arith.minsi", up, 63);
    let larger = b.binary("arith.shli", significand, up);
    let last = b.int(ty, 150);
    let down = b.binary("arith.subi", last, exponent);
    let down = op(b, "arith.maxsi", down, 0);
    let down = op(b, "arith.minsi", down, 63);
    let number = b.binary("arith.shrui", larger, down);
    let zero = b.int(ty, 0);
    let negative = b.compare("slt", bits, zero);
    let opposite = b.binary("arith.subi", zero, number);
    let number = b.select(negative, opposite, number);
    let [lowest, highest] = [i64::MIN, i64::MAX].map(|v| b.int(ty, v));
    let limit = b.select(negative, lowest, highest);
    let [large, infinity] = [127 + 63, 0x7F80_0000].map(|v| b.int(ty, v));
    let outside = b.compare("sge", exponent, large);
    let number = b.select(outside, limit, number);
    let nan = b.compare("sgt", magnitude, infinity);
    b.select(nan, zero, number)
}

/// From 64 bits by shifts, for the same reason.
fn from_long(b: &mut Builder, n: Value) -> Value {
    let ty = n.ty;
    let op = |b: &mut Builder, name: &str, a: Value, c: i64| {
        let c = b.int(ty, c);
        b.binary(name, a, c)
    };
    let zero = b.int(ty, 0);
    let negative = b.compare("slt", n, zero);
    let opposite = b.binary("arith.subi", zero, n);
    let magnitude = b.select(negative, opposite, n);
    // The leading 1 goes to the highest bit, by halves of the width.
    let (mut aligned, mut shift) = (magnitude, zero);
    for places in [32, 16, 8, 4, 2, 1] {
        let limit = b.int(ty, 1 << (64 - places));
        let low = b.compare("ult", aligned, limit);
        let moved = op(b, "arith.shli", aligned, places);
        let more = op(b, "arith.addi", shift, places);
        aligned = b.select(low, moved, aligned);
        shift = b.select(low, more, shift);
    }
    // One bit less, for the carry of the rounding; what is shifted out stays in the last bit.
    let half = op(b, "arith.shrui", aligned, 1);
    let lost = op(b, "arith.andi", aligned, 1);
    let half = b.binary("arith.ori", half, lost);
    let kept = op(b, "arith.shrui", half, 39);
    let odd = op(b, "arith.andi", kept, 1);
    let rounded = op(b, "arith.addi", half, (1 << 38) - 1);
    let rounded = b.binary("arith.addi", rounded, odd);
    let significand = op(b, "arith.shrui", rounded, 39);
    // The significand has the leading 1, which adds 1 to the exponent.
    let highest = b.int(ty, 127 + 63 - 1);
    let exponent = b.binary("arith.subi", highest, shift);
    let exponent = op(b, "arith.shli", exponent, 23);
    let bits = b.binary("arith.addi", exponent, significand);
    let none = b.compare("eq", n, zero);
    let bits = b.select(none, zero, bits);
    let bits = b.convert("arith.trunci", bits, Elem::I32);
    let number = b.convert("arith.bitcast", bits, Elem::F32);
    let minus = neg(b, number);
    b.select(negative, minus, number)
}
