//! What an operation of another dialect means in PAM: a row of the op table, or a term of rows.

use pamc_passes::{
    build::Cx,
    ir::{DType, NodeId},
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

fn row(cx: &mut Cx<'_>, name: &str, x: &[NodeId]) -> NodeId {
    cx.op(name, x)
}

/// a ⊙ b + c: a product, then a sum.
fn fma(cx: &mut Cx<'_>, x: &[NodeId]) -> Vec<NodeId> {
    let product = row(cx, "mul", &x[..2]);
    vec![cx.add(product, x[2])]
}

fn sincos(cx: &mut Cx<'_>, x: &[NodeId]) -> Vec<NodeId> {
    ["sin", "cos"].map(|name| row(cx, name, x)).to_vec()
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
    ("expm1", Row("expm1")),
    ("log", Row("log")),
    ("log2", Row("log2")),
    ("log10", Row("log10")),
    ("log1p", Row("log1p")),
    ("sqrt", Row("sqrt")),
    ("rsqrt", Row("rsqrt")),
    ("cbrt", Row("cbrt")),
    ("pow", Row("pow")),
    ("fmod", Row("fmod")),
    ("powf", Row("pow")),
    ("fpowi", Term(integer_power)),
    ("powi", Term(integer_power)),
    ("sin", Row("sin")),
    ("cos", Row("cos")),
    ("sincos", Term(sincos)),
    ("tan", Row("tan")),
    ("sinh", Row("sinh")),
    ("cosh", Row("cosh")),
    ("tanh", Row("tanh")),
    ("asinh", Row("asinh")),
    ("acosh", Row("acosh")),
    ("atanh", Row("atanh")),
    ("erf", Row("erf")),
    ("erfc", Row("erfc")),
    ("fma", Term(fma)),
    ("fmuladd", Term(fma)),
    ("asin", Row("asin")),
    ("acos", Row("acos")),
    ("atan", Row("atan")),
    ("atan2", Row("atan2")),
];

/// Functions of libm with no meaning in PAM.
const OTHER_CALLS: &[&str] =
    &["exp10", "remainder", "hypot", "tgamma", "lgamma", "ldexp", "j0", "j1", "y0", "y1"];

const OPERATIONS: &[(&str, Meaning)] = &[
    ("arith.mulf", Row("mul")),
    ("arith.divf", Row("div")),
    ("arith.remf", Row("fmod")),
    ("arith.scaling_extf", Undefined("write out the product with its scale first: arith-expand")),
    ("arith.scaling_truncf", Undefined("write out the product with its scale first: arith-expand")),
    ("vector.fma", Term(fma)),
    ("llvm.fmul", Row("mul")),
    ("llvm.fdiv", Row("div")),
    ("llvm.frem", Row("fmod")),
    ("llvm.intr.matrix.multiply", Undefined(LATER)),
    ("llvm.intr.vector.reduce.fmul", Undefined(LATER)),
    ("llvm.intr.exp10", Undefined(LATER)),
];

fn function(name: &str) -> Option<Meaning> {
    FUNCTIONS.iter().find(|(known, _)| *known == name).map(|(_, meaning)| *meaning)
}

/// The meaning of an operation on floats by its name, `None` for one that does not multiply.
pub(super) fn of_operation(name: &str) -> Option<Meaning> {
    if let Some((_, meaning)) = OPERATIONS.iter().find(|(known, _)| *known == name) {
        return Some(*meaning);
    }
    if let Some(name) = name.strip_prefix("math.") {
        return function(name);
    }
    if let Some(name) = name.strip_prefix("llvm.intr.") {
        if let Some(name) = name.strip_prefix("vp.") {
            let machine = format!("llvm.{name}");
            let listed = OPERATIONS.iter().find(|(known, _)| *known == machine);
            let reduces = name == "reduce.fmul";
            return match listed {
                Some((_, meaning)) => Some(*meaning),
                None => function(name).or_else(|| reduces.then_some(Undefined(LATER))),
            };
        }
        let constrained = name.strip_prefix("experimental.constrained.");
        let known = constrained
            .is_some_and(|n| ["fmul", "fdiv", "frem"].contains(&n) || function(n).is_some());
        if known {
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
