//! Every elementwise primitive, for one element or a vector of them.

use super::{
    builder::{Builder, Code},
    float, pam, real,
    types::{Elem, Value},
};
use pamc_passes::{ir::Attrs, ops::Prim};

/// Writes an elementwise primitive on operands of equal lane count; `to` is the result's element
/// type (it matters to casts alone). `None` for a primitive that is not elementwise or a wrong
/// operand count.
///
/// Float operands hold no subnormals (see [`flush`] for data that enters), and float additions rely
/// on the flushing mode that compiled code runs in. PAM primitives write no float multiply, divide,
/// fma, root or transcendental.
pub fn emit(b: &mut Builder, prim: Prim, attrs: &Attrs, x: &[Value], to: Elem) -> Option<Value> {
    match *x {
        [a] => unary(b, prim, attrs, a, to),
        [a, c] => binary(b, prim, a, c),
        [condition, a, c] if prim == Prim::Select => Some(b.select(condition, a, c)),
        _ => None,
    }
}

/// Subnormals become zeros of the same sign: for data that enters a program.
pub fn flush(b: &mut Builder, x: Value) -> Value {
    pam::flush(b, x)
}

fn unary(b: &mut Builder, prim: Prim, attrs: &Attrs, a: Value, to: Elem) -> Option<Value> {
    use Prim::*;
    let is_float = a.ty.elem == Elem::F32;
    Some(match prim {
        Neg if is_float => float::neg(b, a),
        Neg => {
            let zero = b.int(a.ty, 0);
            b.binary("arith.subi", zero, a)
        }
        Abs if is_float => float::abs(b, a),
        Abs => {
            let zero = b.int(a.ty, 0);
            let negated = b.binary("arith.subi", zero, a);
            b.binary("arith.maxsi", a, negated)
        }
        Floor => float::floor(b, a),
        Round => float::round_even(b, a),
        Not => {
            let ones = b.int(a.ty, if a.ty.elem == Elem::I1 { 1 } else { -1 });
            b.binary("arith.xori", a, ones)
        }
        Cast => cast(b, a, to),
        Bitcast => bitcast(b, a, to),
        PamExp2 => pam::exp2(b, a),
        PamLog2 => pam::log2(b, a),
        PamSqrt => pam::sqrt(b, a),
        Scale2 => pam::scale2(b, a, attrs.int("k")),
        ShiftSum => {
            let signs = attrs.ints("negative").iter().map(|&n| n != 0);
            let exponents = attrs.ints("exponents").iter().map(|&k| k.clamp(-255, 255) as i32);
            pam::shift_sum(b, a, &signs.zip(exponents).collect::<Vec<_>>())
        }
        Exp2Slope => pam::exp2_slope(b, a),
        Log2Slope => pam::log2_slope(b, a),
        SqrtSlope => pam::sqrt_slope(b, a),
        FSqrt => b.unary("math.sqrt", a),
        FExp if b.code() == Code::Cpu => real::exp(b, a),
        FLog if b.code() == Code::Cpu => real::log(b, a),
        FExp2 if b.code() == Code::Cpu => real::exp2(b, a),
        FLog2 if b.code() == Code::Cpu => real::log2(b, a),
        FExp => b.unary("math.exp", a),
        FLog => b.unary("math.log", a),
        FExp2 => b.unary("math.exp2", a),
        FLog2 => b.unary("math.log2", a),
        _ => return None,
    })
}

fn binary(b: &mut Builder, prim: Prim, a: Value, c: Value) -> Option<Value> {
    use Prim::*;
    let is_float = a.ty.elem == Elem::F32;
    Some(match prim {
        Add if is_float => float::add(b, a, c),
        Sub if is_float => float::sub(b, a, c),
        Min | Max if is_float => float::extremum(b, prim == Min, a, c),
        Add => b.binary("arith.addi", a, c),
        Sub => b.binary("arith.subi", a, c),
        Min => b.binary("arith.minsi", a, c),
        Max => b.binary("arith.maxsi", a, c),
        Eq | Ne | Lt | Le | Gt | Ge => b.compare(predicate(prim, a.ty.elem), a, c),
        And => b.binary("arith.andi", a, c),
        Or => b.binary("arith.ori", a, c),
        Xor => b.binary("arith.xori", a, c),
        Shl => shift(b, "arith.shli", a, c),
        Shr => shift(b, "arith.shrui", a, c),
        PamMul if a == c => pam::square(b, a),
        PamMul => pam::mul(b, a, c),
        PamDiv => pam::div(b, a, c),
        MulSlope => pam::mul_slope(b, a, c),
        DivSlopeA => pam::div_slope_a(b, a, c),
        DivSlopeB => pam::div_slope_b(b, a, c),
        FMul => b.binary("arith.mulf", a, c),
        FDiv => b.binary("arith.divf", a, c),
        _ => return None,
    })
}

/// Predicate of a comparison: ordered on floats but for `≠`, signed on integers, false < true.
fn predicate(prim: Prim, elem: Elem) -> &'static str {
    let (float, int, truth) = match prim {
        Prim::Eq => ("oeq", "eq", "eq"),
        Prim::Ne => ("une", "ne", "ne"),
        Prim::Lt => ("olt", "slt", "ult"),
        Prim::Le => ("ole", "sle", "ule"),
        Prim::Gt => ("ogt", "sgt", "ugt"),
        _ => ("oge", "sge", "uge"),
    };
    match elem {
        Elem::F32 => float,
        Elem::I1 => truth,
        _ => int,
    }
}

/// A logical shift; 0 where the count is not below the width.
fn shift(b: &mut Builder, op: &str, a: Value, count: Value) -> Value {
    let width = b.int(a.ty, i64::from(a.ty.elem.bits()));
    let zero = b.int(a.ty, 0);
    let valid = b.compare("ult", count, width);
    let safe = b.select(valid, count, zero);
    let shifted = b.binary(op, a, safe);
    b.select(valid, shifted, zero)
}

/// Float to integer truncates and saturates, NaN to 0; to a truth value is `≠ 0`; between integers
/// wraps.
fn cast(b: &mut Builder, a: Value, to: Elem) -> Value {
    use Elem::*;
    match (a.ty.elem, to) {
        (from, to) if from == to => a,
        (F32, I1) => {
            let zero = b.float(a.ty, 0.0);
            b.compare("une", a, zero)
        }
        (_, I1) => {
            let zero = b.int(a.ty, 0);
            b.compare("ne", a, zero)
        }
        (F32, _) => float::to_int(b, a, to),
        (I1, F32) => {
            let (one, zero) = (b.float(a.ty.of(F32), 1.0), b.float(a.ty.of(F32), 0.0));
            b.select(a, one, zero)
        }
        (_, F32) => float::from_int(b, a),
        (Index, _) | (_, Index) => b.convert("arith.index_cast", a, to),
        (I1, _) => b.convert("arith.extui", a, to),
        (from, _) if from.bits() < to.bits() => b.convert("arith.extsi", a, to),
        _ => b.convert("arith.trunci", a, to),
    }
}

/// The same 32 bits as another type; as a float, a subnormal becomes a zero.
fn bitcast(b: &mut Builder, a: Value, to: Elem) -> Value {
    if a.ty.elem == to {
        return a;
    }
    let bits = b.convert("arith.bitcast", a, to);
    if to == Elem::F32 { pam::flush(b, bits) } else { bits }
}
