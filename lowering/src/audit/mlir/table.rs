//! THE table of what multiplies in MLIR: by dialect and name, and by the kind that an operation
//! carries. `pamc audit`, `pamc-verify` and `pamc-lower` all ask here.

use crate::audit::{Kind, flow::Action, llvm_ir, names};
use crate::opt::ir::Op;

/// Dialects that are known: what is not listed below computes no product, unless its name says so
/// (`names.rs`).
const KNOWN: &[&str] = &[
    "builtin",
    "func",
    "scf",
    "cf",
    "memref",
    "tensor",
    "bufferization",
    "gpu",
    "omp",
    "index",
    "ub",
    "dlti",
    "arith",
    "math",
    "vector",
    "linalg",
    "affine",
    "llvm",
    "transform",
    "irdl",
    "pdl",
    "pdl_interp",
    "ml_program",
    "nvvm",
    "rocdl",
    "spirv",
    "tosa",
    "shape",
    "sparse_tensor",
    "async",
    "complex",
    "nvgpu",
    "amdgpu",
    "ptr",
    "emitc",
    "arm_neon",
    "arm_sve",
    "arm_sme",
    "x86vector",
    "amx",
    "quant",
    "mesh",
    "shard",
    "acc",
    "smt",
    "xegpu",
    "xevm",
    "wasmssa",
    "openacc",
    "x86",
    "mpi",
];

/// Dialects with operations that multiply, under names that say so.
const MULTIPLYING: &[&str] = &[
    "arith",
    "math",
    "vector",
    "linalg",
    "llvm",
    "spirv",
    "tosa",
    "nvvm",
    "rocdl",
    "gpu",
    "complex",
    "nvgpu",
    "amdgpu",
    "arm_neon",
    "arm_sve",
    "arm_sme",
    "x86vector",
    "amx",
    "affine",
    "xegpu",
    "xevm",
    "emitc",
    "sparse_tensor",
    "x86",
    "wasmssa",
];

/// Operations on scalars of integers that multiply or divide, vectors of which are data.
const INTEGER: &[&str] = &[
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
    "index.mul",
    "index.divs",
    "index.divu",
    "index.ceildivs",
    "index.ceildivu",
    "index.floordivs",
    "index.rems",
    "index.remu",
    "llvm.mul",
    "llvm.sdiv",
    "llvm.udiv",
    "llvm.srem",
    "llvm.urem",
    "spirv.IMul",
    "spirv.SDiv",
    "spirv.UDiv",
    "spirv.SMod",
    "spirv.SRem",
    "spirv.UMod",
    "spirv.SMulExtended",
    "spirv.UMulExtended",
    "shape.mul",
    "shape.div",
    "emitc.mul",
    "emitc.div",
    "emitc.rem",
    "wasmssa.mul",
    "wasmssa.div",
    "llvm.intr.smul.with.overflow",
    "llvm.intr.umul.with.overflow",
];

/// Products under other names than those of [`names`].
const DATA: &[(Kind, &[&str])] = &[
    (
        Kind::Multiply,
        &[
            "spirv.FMul",
            "complex.mul",
            "tosa.mul",
            "linalg.mul",
            "linalg.square",
            "math.ldexp",
            "spirv.GL.Ldexp",
            "spirv.VectorTimesScalar",
            "spirv.GL.FMix",
            "spirv.CL.mix",
            "spirv.GroupFMul",
            "spirv.GroupNonUniformFMul",
            "spirv.KHR.GroupFMul",
            "arith.scaling_extf",
            "arith.scaling_truncf",
            "amx.tile_muli",
            "quant.dcast",
            "quant.qcast",
        ],
    ),
    (
        Kind::Divide,
        &[
            "spirv.FDiv",
            "spirv.FRem",
            "spirv.FMod",
            "complex.div",
            "linalg.div",
            "linalg.div_unsigned",
            "tosa.intdiv",
            "tosa.reciprocal",
            "linalg.reciprocal",
            "llvm.frem",
        ],
    ),
    (
        Kind::DotProduct,
        &[
            "tosa.conv2d",
            "tosa.conv3d",
            "tosa.depthwise_conv2d",
            "tosa.transpose_conv2d",
            "tosa.avg_pool2d",
            "tosa.rescale",
            "tosa.fft2d",
            "tosa.rfft2d",
            "tosa.resize",
            "linalg.winograd_filter_transform",
            "linalg.winograd_input_transform",
            "linalg.winograd_output_transform",
            "llvm.intr.matrix.multiply",
            "xegpu.dpas",
        ],
    ),
    (
        Kind::Transcendental,
        &[
            "complex.exp",
            "complex.log",
            "complex.pow",
            "complex.abs",
            "complex.angle",
            "complex.sign",
            "math.absc",
        ],
    ),
];

/// Parts of the names of matrix instructions, in dialects of machines.
const MATRIX: &[&str] = &["mopa", "mops", "mmla", "dpas", "tile_mul"];
const MACHINES: &[&str] = &["amx", "arm_neon", "arm_sme", "arm_sve", "x86vector", "xegpu", "rocdl"];

/// The attribute that says how an operation combines, by its name.
const COMBINING: &[(&str, &str)] = &[
    ("vector.reduction", "kind"),
    ("vector.multi_reduction", "kind"),
    ("vector.scan", "kind"),
    ("vector.outerproduct", "kind"),
    ("vector.contract", "kind"),
    ("memref.atomic_rmw", "kind"),
    ("gpu.all_reduce", "op"),
    ("gpu.subgroup_reduce", "op"),
    ("affine.parallel", "reductions"),
    ("mpi.allreduce", "op"),
    ("mpi.reduce_scatter_block", "op"),
    ("shard.all_reduce", "reduction"),
    ("shard.reduce", "reduction"),
    ("shard.reduce_scatter", "reduction"),
];

/// The number of `MPI_PROD`.
const MPI_PROD: i64 = 4;

/// What kind of combination an operation carries: `mul`, `add`, `mulf` …; empty if none.
pub(crate) fn combination(op: Op) -> String {
    let attribute = COMBINING.iter().find(|(name, _)| *name == op.name());
    let Some(attribute) = attribute.and_then(|(_, attribute)| op.attribute(attribute)) else {
        return String::new();
    };
    if let Some(codes) = attribute.integers() {
        if op.name().starts_with("mpi.") {
            return if codes == [MPI_PROD] { "mul".into() } else { String::new() };
        }
        let kinds: Vec<&str> = codes.iter().map(|&code| atomic(code)).collect();
        let product = kinds.iter().find(|kind| kind.starts_with("mul"));
        return product.or(kinds.first()).copied().unwrap_or_default().to_string();
    }
    // `#vector.kind<mul>`, `#gpu<all_reduce_op mul>`, `#shard.partial<product>`.
    let text = attribute.text();
    let word = text.split(|c: char| !c.is_alphanumeric()).rfind(|word| !word.is_empty());
    match word.unwrap_or_default() {
        "product" => "mul".to_string(),
        word => word.to_string(),
    }
}

/// Code in another language that an operation carries, which is not read; none if it is only
/// directives, comments or a name.
pub(crate) fn foreign_code(op: Op) -> Option<String> {
    let text = |attribute| op.attribute(attribute).and_then(|text| text.string());
    let code = match op.name() {
        "llvm.inline_asm" => text("asm_string")?,
        "emitc.verbatim" => {
            let code = text("value")?;
            let counts = |line: &&str| !(line.starts_with('#') || line.starts_with("//"));
            code.lines().map(str::trim).filter(counts).collect::<String>()
        }
        "emitc.literal" => {
            text("value")?.trim_matches(|c: char| c.is_alphanumeric() || "_.".contains(c)).into()
        }
        _ => return None,
    };
    (!code.is_empty()).then_some(code)
}

/// Names of `arith.atomic_rmw` kinds, by their numbers.
fn atomic(code: i64) -> &'static str {
    const KINDS: [&str; 16] = [
        "addf", "addi", "andi", "assign", "maximumf", "maxnumf", "maxs", "maxu", "minimumf",
        "minnumf", "mins", "minu", "mulf", "muli", "ori", "xori",
    ];
    KINDS.get(code as usize).copied().unwrap_or_default()
}

/// What an operation is; `None` if it is not known.
pub(crate) fn action(op: Op) -> Option<Action> {
    let name = op.name();
    let (dialect, rest) = name.split_once('.').unwrap_or(("builtin", name));
    // Piecewise affine operations multiply nothing by their definition.
    if dialect == "pam" {
        return Some(Action::None);
    }
    if !KNOWN.contains(&dialect) {
        return None;
    }
    if INTEGER.contains(&name) {
        return Some(of_integers(op, rest));
    }
    if let Some((kind, _)) = DATA.iter().find(|(_, names)| names.contains(&name)) {
        return Some(Action::Data(*kind));
    }
    // A map of indices multiplies by constants.
    if ["affine.apply", "affine.min", "affine.max"].contains(&name) {
        let map = op.attribute("map").map(|map| map.text()).unwrap_or_default();
        let multiplies = ["*", "div", "mod"].iter().any(|word| map.contains(word));
        return Some(if multiplies { Action::Integer } else { Action::None });
    }
    if combination(op).starts_with("mul") {
        return Some(Action::Data(Kind::Multiply));
    }
    // Loads and stores of matrices' fragments.
    let moves = |word| ["load", "store", "constant", "extract", "insert"].contains(&word);
    let matrices = ["gpu", "nvvm"].contains(&dialect) && rest.contains("mma");
    if !MULTIPLYING.contains(&dialect) || matrices && rest.split(['.', '_']).any(moves) {
        return Some(Action::None);
    }
    if let Some(kind) = names::kind(rest) {
        return Some(Action::Data(kind));
    }
    if name == "tosa.reduce_product" {
        return Some(Action::Data(Kind::Multiply));
    }
    if MACHINES.contains(&dialect) && MATRIX.iter().any(|part| rest.contains(part)) {
        return Some(Action::Data(Kind::DotProduct));
    }
    if dialect == "llvm" && (rest.starts_with("intr.") || rest == "call_intrinsic") {
        let named = op.attribute("intrin").and_then(|name| name.string());
        let intrinsic = named.unwrap_or_else(|| rest.trim_start_matches("intr.").to_string());
        return llvm_ir::intrinsic(intrinsic.trim_start_matches("llvm."));
    }
    Some(Action::None)
}

/// A product or quotient: of scalars, which the flow judges, of lanes, or of floats after all.
fn of_integers(op: Op, name: &str) -> Action {
    let types: Vec<_> = op.operands().map(|operand| operand.ty()).collect();
    // Lanes of type index are positions, followed like one.
    if types.iter().all(|ty| ty.is_integer() || ty.element().is_index()) {
        return Action::Integer;
    }
    let float = types.iter().any(|ty| ty.element().is_float());
    Action::Data(match name {
        _ if !float => Kind::VectorIntegerMultiply,
        "mul" => Kind::Multiply,
        _ => Kind::Divide,
    })
}
