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
    if b.code() != Code::Spirv {
        return intrinsic(b, "llvm.fptosi.sat", x, ty);
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
