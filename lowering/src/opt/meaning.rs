//! What an operation of another dialect means in PAM: a row of the op table, or a term of rows.

use pamc_passes::{
    build::Cx,
    ir::{DType, NodeId},
    ops::{Kind, lookup},
    reference::Terms,
};

/// Builds the results of an operation from its operands, of rank 0.
pub(super) type TermFn = fn(&mut Cx<'_>, &[NodeId]) -> Vec<NodeId>;

/// What an operation means.
#[derive(Clone, Copy)]
pub(super) enum Meaning {
    /// The row of this name in the op table, with the operands in order.
    Row(&'static str),
    /// A term of rows.
    Term(TermFn),
    /// Nothing in PAM: why, or what to do about it.
    Undefined(&'static str),
}

use Meaning::*;

/// log₁₀2 ≈ 1/4 + 1/16 − 1/128 − 1/256 + 1/4096.
const LOG10_2: Terms = &[(false, -2), (false, -4), (true, -7), (true, -8), (false, -12)];

fn row(cx: &mut Cx<'_>, name: &str, x: &[NodeId]) -> NodeId {
    cx.op(name, x)
}

/// a ⊙ b + c: a product, then a sum.
fn fma(cx: &mut Cx<'_>, x: &[NodeId]) -> Vec<NodeId> {
    let product = row(cx, "mul", &x[..2]);
    vec![cx.add(product, x[2])]
}

/// exp(x) − 1.
fn expm1(cx: &mut Cx<'_>, x: &[NodeId]) -> Vec<NodeId> {
    let e = row(cx, "exp", x);
    vec![cx.add_const(e, -1.0)]
}

/// log(1 + x).
fn log1p(cx: &mut Cx<'_>, x: &[NodeId]) -> Vec<NodeId> {
    let shifted = cx.add_const(x[0], 1.0);
    vec![row(cx, "log", &[shifted])]
}

/// log₂x · log₁₀2, the constant as signed powers of two.
fn log10(cx: &mut Cx<'_>, x: &[NodeId]) -> Vec<NodeId> {
    let l = row(cx, "log2", x);
    vec![cx.shift_sum(l, LOG10_2)]
}

/// 1 − erf(x).
fn erfc(cx: &mut Cx<'_>, x: &[NodeId]) -> Vec<NodeId> {
    let e = row(cx, "erf", x);
    let one = cx.scalar(1f32);
    vec![cx.sub(one, e)]
}

/// |x| to the power 1/3, with x's sign.
fn cbrt(cx: &mut Cx<'_>, x: &[NodeId]) -> Vec<NodeId> {
    let magnitude = cx.abs(x[0]);
    let third = cx.scalar(1f32 / 3.0);
    let root = row(cx, "pow", &[magnitude, third]);
    let minus = cx.neg(root);
    let zero = cx.scalar(0f32);
    let negative = cx.lt(x[0], zero);
    vec![cx.select(negative, minus, root)]
}

/// sin(x) ⊘ cos(x).
fn tan(cx: &mut Cx<'_>, x: &[NodeId]) -> Vec<NodeId> {
    let [s, c] = ["sin", "cos"].map(|name| row(cx, name, x));
    vec![row(cx, "div", &[s, c])]
}

fn sincos(cx: &mut Cx<'_>, x: &[NodeId]) -> Vec<NodeId> {
    ["sin", "cos"].map(|name| row(cx, name, x)).to_vec()
}

/// (eˣ, e⁻ˣ).
fn exponentials(cx: &mut Cx<'_>, x: NodeId) -> (NodeId, NodeId) {
    let minus = cx.neg(x);
    (row(cx, "exp", &[x]), row(cx, "exp", &[minus]))
}

/// (eˣ − e⁻ˣ) / 2.
fn sinh(cx: &mut Cx<'_>, x: &[NodeId]) -> Vec<NodeId> {
    let (up, down) = exponentials(cx, x[0]);
    let difference = cx.sub(up, down);
    vec![cx.scale2(difference, -1)]
}

/// (eˣ + e⁻ˣ) / 2.
fn cosh(cx: &mut Cx<'_>, x: &[NodeId]) -> Vec<NodeId> {
    let (up, down) = exponentials(cx, x[0]);
    let sum = cx.add(up, down);
    vec![cx.scale2(sum, -1)]
}

/// log((1 + x) ⊘ (1 − x)) / 2.
fn atanh(cx: &mut Cx<'_>, x: &[NodeId]) -> Vec<NodeId> {
    let one = cx.scalar(1f32);
    let (over, under) = (cx.add(one, x[0]), cx.sub(one, x[0]));
    let ratio = row(cx, "div", &[over, under]);
    let l = row(cx, "log", &[ratio]);
    vec![cx.scale2(l, -1)]
}

/// log(|x| + √(x ⊙ x + 1)), with x's sign.
fn asinh(cx: &mut Cx<'_>, x: &[NodeId]) -> Vec<NodeId> {
    let magnitude = cx.abs(x[0]);
    let square = row(cx, "square", &[magnitude]);
    let raised = cx.add_const(square, 1.0);
    let root = row(cx, "sqrt", &[raised]);
    let sum = cx.add(magnitude, root);
    let l = row(cx, "log", &[sum]);
    let minus = cx.neg(l);
    let zero = cx.scalar(0f32);
    let negative = cx.lt(x[0], zero);
    vec![cx.select(negative, minus, l)]
}

/// log(x + √(x ⊙ x − 1)).
fn acosh(cx: &mut Cx<'_>, x: &[NodeId]) -> Vec<NodeId> {
    let square = row(cx, "square", x);
    let lowered = cx.add_const(square, -1.0);
    let root = row(cx, "sqrt", &[lowered]);
    let sum = cx.add(x[0], root);
    vec![row(cx, "log", &[sum])]
}

/// aⁿ for an integer n: products where n is a constant, else the power of |a| with the sign that n's
/// parity gives.
fn integer_power(cx: &mut Cx<'_>, x: &[NodeId]) -> Vec<NodeId> {
    let constant = cx.graph().constant(x[1]).and_then(|t| t.to_vec::<f32>());
    if constant.is_some() {
        return vec![row(cx, "pow", x)];
    }
    let magnitude = cx.abs(x[0]);
    let n = cx.cast(x[1], DType::F32);
    let y = row(cx, "pow", &[magnitude, n]);
    let (zero, one) = (cx.scalar(0i32), cx.scalar(1i32));
    let none = cx.eq(x[1], zero);
    let unit = cx.scalar(1f32);
    let y = cx.select(none, unit, y);
    let parity = cx.and(x[1], one);
    let odd = cx.ne(parity, zero);
    let origin = cx.scalar(0f32);
    let below = cx.lt(x[0], origin);
    let flips = cx.and(odd, below);
    let minus = cx.neg(y);
    vec![cx.select(flips, minus, y)]
}

const LATER: &str = "run pamc-lower before the pass that makes it";

/// Functions of the math dialect, which LLVM's intrinsics and libm name alike.
const FUNCTIONS: &[(&str, Meaning)] = &[
    ("exp", Row("exp")),
    ("exp2", Row("exp2")),
    ("expm1", Term(expm1)),
    ("log", Row("log")),
    ("log2", Row("log2")),
    ("log10", Term(log10)),
    ("log1p", Term(log1p)),
    ("sqrt", Row("sqrt")),
    ("rsqrt", Row("rsqrt")),
    ("cbrt", Term(cbrt)),
    ("pow", Row("pow")),
    ("powf", Row("pow")),
    ("fpowi", Term(integer_power)),
    ("powi", Term(integer_power)),
    ("sin", Row("sin")),
    ("cos", Row("cos")),
    ("sincos", Term(sincos)),
    ("tan", Term(tan)),
    ("sinh", Term(sinh)),
    ("cosh", Term(cosh)),
    ("tanh", Row("tanh")),
    ("asinh", Term(asinh)),
    ("acosh", Term(acosh)),
    ("atanh", Term(atanh)),
    ("erf", Row("erf")),
    ("erfc", Term(erfc)),
    ("fma", Term(fma)),
    ("fmuladd", Term(fma)),
    ("asin", Row("asin")),
    ("acos", Row("acos")),
    ("atan", Row("atan")),
    ("atan2", Row("atan2")),
];

/// Functions of libm with no meaning in PAM.
const OTHER_CALLS: &[&str] =
    &["exp10", "fmod", "remainder", "hypot", "tgamma", "lgamma", "ldexp", "j0", "j1", "y0", "y1"];

const OPERATIONS: &[(&str, Meaning)] = &[
    ("arith.mulf", Row("mul")),
    ("arith.divf", Row("div")),
    ("arith.remf", Row("mod")),
    ("arith.scaling_extf", Undefined("write out the product with its scale first: arith-expand")),
    ("arith.scaling_truncf", Undefined("write out the product with its scale first: arith-expand")),
    ("vector.fma", Term(fma)),
    ("llvm.fmul", Row("mul")),
    ("llvm.fdiv", Row("div")),
    ("llvm.frem", Row("mod")),
    ("llvm.intr.matrix.multiply", Undefined(LATER)),
    ("llvm.intr.vector.reduce.fmul", Undefined(LATER)),
    ("llvm.intr.exp10", Undefined(LATER)),
];

/// A row that the table may or may not have yet.
fn present(meaning: Meaning) -> Meaning {
    match meaning {
        Row(name) if lookup(name).is_none() => Undefined("PAM defines no such function"),
        known => known,
    }
}

/// A row of the function's own name comes first.
fn function(name: &str) -> Option<Meaning> {
    let &(name, meaning) = FUNCTIONS.iter().find(|(known, _)| *known == name)?;
    Some(match lookup(name) {
        Some(op) if op.kind == Kind::Real => Row(op.name),
        _ => present(meaning),
    })
}

/// The meaning of an operation on floats by its name, `None` for one that does not multiply.
pub(super) fn of_operation(name: &str) -> Option<Meaning> {
    if let Some((_, meaning)) = OPERATIONS.iter().find(|(known, _)| *known == name) {
        return Some(present(*meaning));
    }
    if let Some(name) = name.strip_prefix("math.") {
        return function(name);
    }
    if let Some(name) = name.strip_prefix("llvm.intr.") {
        let vp = ["vp.fmul", "vp.fdiv", "vp.frem", "vp.fma", "vp.fmuladd", "vp.reduce.fmul"];
        let constrained = name.strip_prefix("experimental.constrained.");
        let known = constrained
            .is_some_and(|n| ["fmul", "fdiv", "frem"].contains(&n) || function(n).is_some());
        if vp.contains(&name) || name.strip_prefix("vp.").and_then(function).is_some() || known {
            return Some(Undefined(LATER));
        }
        return function(name);
    }
    None
}

/// The meaning of a call of libm (or of a GPU's) by the callee's name, whatever the precision. `None`
/// for any other function.
pub(super) fn of_call(callee: &str) -> Option<Meaning> {
    let gpu = callee.strip_prefix("__nv_").or_else(|| {
        let rest = callee.strip_prefix("__ocml_")?;
        rest.strip_suffix("_f32").or_else(|| rest.strip_suffix("_f64"))
    });
    let name = gpu.unwrap_or(callee).trim_start_matches("fast_");
    // `sincos` of libm returns through pointers.
    let known = |name: &str| function(name).filter(|_| name != "sincos" && !name.ends_with("powi"));
    let single = name.strip_suffix('f').unwrap_or(if callee.ends_with("_f32") { name } else { "" });
    let long = || name.strip_suffix('l').and_then(known);
    if let Some(meaning) = known(single).or_else(|| known(name)).or_else(long) {
        return Some(meaning);
    }
    let other = OTHER_CALLS.contains(&name.trim_end_matches(['f', 'l']));
    other.then_some(Undefined("PAM has no such function; write it with those it has (pamc ops)"))
}
