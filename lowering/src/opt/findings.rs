//! Which operations multiply: on floats, and on integers that are data.

use super::{
    ir::{Op, Val, operations},
    meaning, term,
};
use std::{borrow::Cow, collections::HashSet};

/// Why an operation is not free of multiplication.
pub(super) struct Finding {
    /// What is in the way, or what to do about it; may be empty.
    why: Cow<'static, str>,
    /// The product is one of integers.
    pub integer: bool,
}

impl Finding {
    pub fn new(why: impl Into<Cow<'static, str>>) -> Self {
        Self { why: why.into(), integer: false }
    }

    /// The finding with the operation's name.
    pub fn message(&self, op: Op) -> String {
        let what = match callee(op) {
            Some(callee) => format!("call of '{callee}'"),
            None => {
                let kind = kind(op);
                let kind = if kind.is_empty() { kind } else { format!(" ({kind})") };
                format!("'{}'{kind}", op.name())
            }
        };
        if self.why.is_empty() { what } else { format!("{what}: {}", self.why) }
    }
}

/// True if an operand or a result holds floats.
pub(super) fn on_floats(op: Op) -> bool {
    op.values().any(|v| v.ty().element().is_float())
}

/// What kind of combination an operation carries: `mul`, `add`, `mulf` …; empty if none.
pub(super) fn kind(op: Op) -> String {
    let name = match op.name() {
        "gpu.all_reduce" | "gpu.subgroup_reduce" => "op",
        "affine.parallel" => "reductions",
        "vector.reduction"
        | "vector.multi_reduction"
        | "vector.scan"
        | "vector.outerproduct"
        | "vector.contract"
        | "memref.atomic_rmw" => "kind",
        _ => return String::new(),
    };
    let Some(attribute) = op.attribute(name) else { return String::new() };
    match name {
        "reductions" => affine_kinds(&attribute.integers().unwrap_or_default()),
        _ => match attribute.integers().as_deref() {
            Some(&[code]) => atomic_kind(code),
            _ => {
                // `#vector.kind<mul>`, `#gpu<all_reduce_op mul>`.
                let text = attribute.text();
                let word = text.split(|c: char| !c.is_alphanumeric()).rfind(|w| !w.is_empty());
                word.unwrap_or_default().to_string()
            }
        },
    }
}

/// Names of `arith.atomic_rmw` kinds, by their numbers.
fn atomic_kind(code: i64) -> String {
    const KINDS: [&str; 16] = [
        "addf", "addi", "andi", "assign", "maximumf", "maxnumf", "maxs", "maxu", "minimumf",
        "minnumf", "mins", "minu", "mulf", "muli", "ori", "xori",
    ];
    KINDS.get(code as usize).copied().unwrap_or_default().to_string()
}

fn affine_kinds(codes: &[i64]) -> String {
    let kinds: Vec<String> = codes.iter().map(|&code| atomic_kind(code)).collect();
    let product = kinds.iter().find(|k| k.starts_with("mul"));
    product.or(kinds.first()).cloned().unwrap_or_default()
}

/// True for a vector operation that multiplies floats without showing it.
pub(super) fn hides_vector_product(op: Op) -> bool {
    if !on_floats(op) {
        return false;
    }
    match op.name() {
        "vector.contract" | "vector.outerproduct" => true,
        "vector.reduction" | "vector.multi_reduction" | "vector.scan" => kind(op) == "mul",
        _ => false,
    }
}

/// The function a call names, if it is declared elsewhere: one with a body is seen itself.
pub(super) fn callee(op: Op) -> Option<String> {
    let name = match op.name() {
        "func.call" | "llvm.call" => op.attribute("callee")?.symbol()?,
        _ => return None,
    };
    let mut scope = op.parent();
    while let Some(outer) = scope {
        let children = outer.blocks().into_iter().flat_map(operations);
        let mut functions = children.filter(|f| matches!(f.name(), "func.func" | "llvm.func"));
        let named =
            |f: &Op| f.attribute("sym_name").and_then(|n| n.string()).as_ref() == Some(&name);
        if let Some(function) = functions.find(named) {
            return function.blocks().is_empty().then_some(name);
        }
        scope = outer.parent();
    }
    Some(name)
}

/// Dialects whose operations are known: what is not listed below does not multiply.
const KNOWN: &[&str] = &[
    "acc",
    "affine",
    "amdgpu",
    "amx",
    "arith",
    "arm_neon",
    "arm_sme",
    "arm_sve",
    "async",
    "bufferization",
    "builtin",
    "cf",
    "complex",
    "dlti",
    "emitc",
    "func",
    "gpu",
    "index",
    "irdl",
    "linalg",
    "llvm",
    "math",
    "memref",
    "ml_program",
    "mpi",
    "nvgpu",
    "nvvm",
    "omp",
    "pam",
    "pdl",
    "pdl_interp",
    "ptr",
    "quant",
    "rocdl",
    "scf",
    "shape",
    "shard",
    "smt",
    "sparse_tensor",
    "spirv",
    "tensor",
    "tosa",
    "transform",
    "ub",
    "vcix",
    "vector",
    "wasmssa",
    "x86vector",
    "xegpu",
    "xevm",
];

const TOSA: &[&str] = &[
    "mul",
    "matmul",
    "matmul_t_block_scaled",
    "conv2d",
    "conv3d",
    "conv2d_block_scaled",
    "depthwise_conv2d",
    "transpose_conv2d",
    "avg_pool2d",
    "exp",
    "log",
    "pow",
    "reciprocal",
    "rsqrt",
    "sigmoid",
    "tanh",
    "erf",
    "sin",
    "cos",
    "fft2d",
    "rfft2d",
    "reduce_product",
    "rescale",
    "resize",
    "intdiv",
];

const SPIRV: &[&str] = &[
    "FMul",
    "FDiv",
    "FRem",
    "FMod",
    "VectorTimesScalar",
    "VectorTimesMatrix",
    "MatrixTimesVector",
    "MatrixTimesScalar",
    "MatrixTimesMatrix",
    "Dot",
    "GL.Exp",
    "GL.Exp2",
    "GL.Log",
    "GL.Log2",
    "GL.Sqrt",
    "GL.InverseSqrt",
    "GL.Pow",
    "GL.Sin",
    "GL.Cos",
    "GL.Tan",
    "GL.Sinh",
    "GL.Cosh",
    "GL.Tanh",
    "GL.Asin",
    "GL.Acos",
    "GL.Atan",
    "GL.Fma",
    "GL.Ldexp",
    "GL.FMix",
    "GL.Length",
    "GL.Distance",
    "GL.Normalize",
    "CL.exp",
    "CL.log",
    "CL.sqrt",
    "CL.rsqrt",
    "CL.pow",
    "CL.sin",
    "CL.cos",
    "CL.tanh",
    "CL.erf",
    "CL.fma",
    "CL.mix",
    "GroupFMul",
    "GroupNonUniformFMul",
];

/// Parts of the names of machine operations that multiply.
const MACHINE: &[&str] = &[
    "mma",
    "mfma",
    "wmma",
    "dot",
    "tdp",
    "tile_mul",
    "dpas",
    "fma",
    "outerproduct",
    "mopa",
    "mops",
    "smmla",
    "ummla",
    "usmmla",
    "bfmmla",
    "rcp",
    "rsq",
    "sqrt",
    "ex2",
    "lg2",
    "exp",
    "log",
    "mulhf",
    "scaled",
    "fmopa",
    "mul",
];

/// Whether the name of an operation of some dialect says that it multiplies floats.
fn multiplies_by_name(dialect: &str, name: &str) -> Option<&'static str> {
    const BEFORE: &str = "run pamc-lower before the pass that makes it";
    let among = |list: &[&str]| list.contains(&name);
    match dialect {
        "tosa" if among(TOSA) => {
            Some("run tosa-to-linalg-named, tosa-to-linalg and tosa-to-arith first")
        }
        "spirv" if among(SPIRV) => Some(BEFORE),
        "complex"
            if !among(&[
                "add", "sub", "neg", "conj", "constant", "create", "re", "im", "eq", "neq",
                "bitcast",
            ]) =>
        {
            Some("PAM defines no complex arithmetic; write it with real parts first")
        }
        "emitc" if among(&["mul", "div", "rem"]) => Some(BEFORE),
        "gpu" if name.starts_with("subgroup_mma_compute") => Some("lower it to loops first"),
        "linalg" if among(&["softmax"]) => Some("run pamc-lower before bufferization"),
        "linalg" if name.starts_with("winograd") => Some("decompose it into matmuls first"),
        "llvm" if among(&["inline_asm"]) => Some("assembly cannot be checked"),
        "llvm" if name.starts_with("intr.") => None,
        "vector" if among(&["contract", "outerproduct"]) => {
            Some("upstream has no lowering for this form")
        }
        "nvvm" | "nvgpu" | "rocdl" | "amdgpu" | "amx" | "arm_neon" | "arm_sme" | "arm_sve"
        | "x86vector" | "xegpu" | "xevm" | "vcix" => {
            MACHINE.iter().any(|part| name.contains(part)).then_some(BEFORE)
        }
        _ => None,
    }
}

/// Why an operation is not free of multiplication, `None` if it is.
pub(super) fn of(op: Op) -> Option<Finding> {
    let full = op.name();
    let (dialect, name) = full.split_once('.').unwrap_or(("builtin", full));
    if term::pam_row(full).is_some() {
        return None;
    }
    if let Some(callee) = callee(op) {
        return meaning::of_call(&callee).map(|_| Finding::new(""));
    }
    if on_floats(op) && meaning::of_operation(full).is_some() {
        return Some(Finding::new(""));
    }
    match kind(op).as_str() {
        "mulf" | "fmul" => {
            return Some(Finding::new(match full {
                "affine.parallel" => "run lower-affine first",
                _ => "",
            }));
        }
        "mul" if on_floats(op) => return Some(Finding::new("write the reduction out first")),
        _ => {}
    }
    let relevant = !matches!(dialect, "tosa" | "vector") || on_floats(op);
    if let Some(why) = multiplies_by_name(dialect, name).filter(|_| relevant) {
        return Some(Finding::new(why));
    }
    if !KNOWN.contains(&dialect) && on_floats(op) {
        return Some(Finding::new("an operation of an unknown dialect cannot be checked"));
    }
    integer(op, full)
}

/// A product or quotient of integers that are data.
fn integer(op: Op, full: &str) -> Option<Finding> {
    const PRODUCTS: &[&str] = &[
        "arith.muli",
        "arith.mulsi_extended",
        "arith.mului_extended",
        "arith.divsi",
        "arith.divui",
        "arith.ceildivsi",
        "arith.ceildivui",
        "arith.floordivsi",
        "arith.remsi",
        "arith.remui",
        "math.ipowi",
        "llvm.mul",
        "llvm.sdiv",
        "llvm.udiv",
        "llvm.srem",
        "llvm.urem",
    ];
    let hidden = matches!(kind(op).as_str(), "mul" | "muli")
        || matches!(full, "vector.contract" | "vector.outerproduct");
    let data = (PRODUCTS.contains(&full) || hidden)
        && op.results().all(|r| !r.ty().element().is_float())
        && op.results().any(|r| !only_addresses(r, &mut HashSet::new()));
    data.then(|| Finding {
        why: "a product of integers that are data (pamc-verify{integers=allow} admits them)".into(),
        integer: true,
    })
}

/// True if a value of integers serves only to make addresses, bounds and conditions.
fn only_addresses(value: Val, seen: &mut HashSet<usize>) -> bool {
    if value.ty().element().is_index() || !seen.insert(value.0.ptr as usize) {
        return true;
    }
    value.uses().into_iter().all(|(user, operand)| match user.name() {
        "arith.index_cast" | "arith.index_castui" | "arith.cmpi" | "llvm.icmp" => true,
        "llvm.getelementptr" | "llvm.inttoptr" => true,
        "scf.for" | "scf.if" | "cf.cond_br" | "cf.switch" => {
            user.name() != "scf.for" || operand < 3
        }
        "arith.addi" | "arith.subi" | "arith.muli" | "arith.divsi" | "arith.divui"
        | "arith.remsi" | "arith.remui" | "arith.extsi" | "arith.extui" | "arith.trunci"
        | "arith.select" | "arith.minsi" | "arith.maxsi" | "arith.minui" | "arith.maxui"
        | "arith.shli" | "arith.shrsi" | "arith.shrui" | "arith.andi" | "arith.ori"
        | "arith.xori" | "vector.broadcast" | "llvm.add" | "llvm.sub" | "llvm.mul"
        | "llvm.sext" | "llvm.zext" | "llvm.trunc" | "llvm.sdiv" | "llvm.udiv" | "llvm.srem"
        | "llvm.urem" | "llvm.shl" | "llvm.and" | "llvm.or" => {
            user.results().all(|r| only_addresses(r, seen))
        }
        _ => false,
    })
}
