//! Which instructions and library functions multiply.

use super::super::{Kind, flow::Action};
#[cfg(test)]
use crate::codegen::Arch;

/// Instruction prefixes that LLVM prints as words of their own, besides those in braces.
const PREFIXES: &[&str] = &[
    "lock", "rep", "repe", "repne", "notrack", "data16", "addr32", "rex64", "cs", "ds", "es", "ss",
    "fs", "gs", "bnd", "xacquire", "xrelease",
];

/// Mnemonic and operands of a line of disassembly.
pub(super) fn split(text: &str) -> (&str, &str) {
    let mut rest = text.trim();
    loop {
        let (word, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        let tail = tail.trim_start();
        if tail.is_empty() || !(PREFIXES.contains(&word) || word.starts_with('{')) {
            return (word, tail);
        }
        rest = tail;
    }
}

/// Beginnings of x86 mnemonics without the `v` of AVX, in AT&T's spelling; the first match counts.
const X86: &[(Kind, &[&str])] = &[
    (
        Kind::FusedMultiplyAdd,
        &["fmadd", "fmsub", "fnmadd", "fnmsub", "4fmadd", "4fnmadd", "fcmadd"],
    ),
    (Kind::Multiply, &["fmul", "fimul", "fcmul", "mulnepbf16", "mulbf16", "scalef", "fscale"]),
    (Kind::Multiply, &["pfmul"]),
    (Kind::Divide, &["fdiv", "fidiv", "fprem", "divnepbf16", "divbf16"]),
    (Kind::SquareRoot, &["sqrt", "fsqrt"]),
    (Kind::Approximation, &["rcp", "rsqrt", "exp2", "pfrcp", "pfrsq"]),
    (Kind::Transcendental, &["f2xm1", "fyl2x", "fsin", "fcos", "fptan", "fpatan"]),
    (Kind::DotProduct, &["dpps", "dppd", "dpb", "dpph", "pdp", "tdp", "tcmm", "tmm"]),
    (Kind::VectorIntegerMultiply, &["pmul", "pmadd", "pmadc", "pmac", "pclmul", "gf2p8mul"]),
];

/// Element suffixes of SSE and AVX float instructions.
const X86_FLOATS: &[&str] = &["ss", "sd", "ps", "pd", "sh", "ph"];

/// What an x86-64 instruction is to the audit.
pub(super) fn x86(mnemonic: &str) -> Action {
    let base = mnemonic.strip_prefix('v').unwrap_or(mnemonic);
    // A shift of bit fields, for all its name.
    if base.starts_with("pmultishift") {
        return Action::None;
    }
    let float = |stem: &str| base.strip_prefix(stem).is_some_and(|s| X86_FLOATS.contains(&s));
    if float("mul") {
        return Action::Data(Kind::Multiply);
    }
    if float("div") {
        return Action::Data(Kind::Divide);
    }
    for (kind, stems) in X86 {
        if stems.iter().any(|stem| base.starts_with(stem)) {
            return Action::Data(*kind);
        }
    }
    let integer = ["mul", "imul", "div", "idiv"].iter().any(|stem| base.starts_with(stem));
    if integer { Action::Integer } else { Action::None }
}

/// Beginnings of AArch64 mnemonics that are findings whatever their operands.
const AARCH64: &[(Kind, &[&str])] = &[
    (
        Kind::FusedMultiplyAdd,
        &["fmadd", "fmsub", "fnmadd", "fnmsub", "fmla", "fmls", "fnmla", "fnmls", "fmad", "fmsb"],
    ),
    (
        Kind::FusedMultiplyAdd,
        &["fnmad", "fnmsb", "fcmla", "bfmla", "bfmls", "ftmad", "bfmop", "fmop"],
    ),
    (Kind::Multiply, &["fmul", "fnmul", "bfmul", "ftsmul", "famul", "fscale", "bfscale"]),
    (Kind::Divide, &["fdiv"]),
    (Kind::SquareRoot, &["fsqrt"]),
    (Kind::Approximation, &["frecp", "frsqrt", "urecpe", "ursqrte", "fexpa"]),
    (
        Kind::DotProduct,
        &["bfdot", "bfvdot", "fdot", "fvdot", "sdot", "udot", "usdot", "sudot", "bfmmla", "fmmla"],
    ),
    (Kind::DotProduct, &["smmla", "ummla", "usmmla", "cdot"]),
    (Kind::VectorIntegerMultiply, &["pmul", "pmlal", "sqdmul", "sqrdmul", "sqdml", "sqrdml"]),
    (Kind::VectorIntegerMultiply, &["cmla", "sqrdcmla", "sumlal", "usmlal"]),
];

/// Parts of AArch64 mnemonics that are products of matrices, of operands of whichever types.
const AARCH64_MATRIX: &[&str] = &["mopa", "mops", "mop4a", "mop4s", "vdot"];

/// Integer mnemonics that multiply or divide in general or in vector registers.
const AARCH64_INTEGER: &[&str] = &[
    "mul", "madd", "msub", "mneg", "smul", "umul", "smadd", "smsub", "umadd", "umsub", "smneg",
    "umneg", "sdiv", "udiv", "mla", "mls", "smlal", "smlsl", "umlal", "umlsl", "mad", "msb",
];

/// What an AArch64 instruction is to the audit.
pub(super) fn aarch64(mnemonic: &str, operands: &str) -> Action {
    for (kind, stems) in AARCH64 {
        if stems.iter().any(|stem| mnemonic.starts_with(stem)) {
            return Action::Data(*kind);
        }
    }
    if AARCH64_MATRIX.iter().any(|part| mnemonic.contains(part)) {
        return Action::Data(Kind::DotProduct);
    }
    if !AARCH64_INTEGER.iter().any(|stem| mnemonic.starts_with(stem)) {
        return Action::None;
    }
    match operands.chars().next() {
        Some('v' | 'z' | 'q' | 'd' | 's') if !operands.starts_with("sp") => {
            Action::Data(Kind::VectorIntegerMultiply)
        }
        _ => Action::Integer,
    }
}

/// Functions of libm that compute products, quotients, roots or transcendentals, without the suffix
/// of their type. Rounding (`floor`, `rint`, …) and bit operations (`fabs`, `copysign`) are none of
/// these.
const LIBM: &[&str] = &[
    "exp",
    "exp2",
    "exp10",
    "expm1",
    "log",
    "log2",
    "log10",
    "log1p",
    "pow",
    "sqrt",
    "rsqrt",
    "cbrt",
    "hypot",
    "fma",
    "sin",
    "cos",
    "tan",
    "sincos",
    "asin",
    "acos",
    "atan",
    "atan2",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "acosh",
    "atanh",
    "erf",
    "erfc",
    "tgamma",
    "lgamma",
    "fmod",
    "remainder",
    "ldexp",
    "scalbn",
    "scalbln",
];

/// Compiler support routines and vector math libraries, by their beginnings.
const ROUTINES: &[&str] = &[
    "__mulsf", "__muldf", "__multf", "__mulxf", "__mulhf", "__divsf", "__divdf", "__divtf",
    "__divxf", "__powi", "__mulsc", "__muldc", "__divsc", "__divdc", "_ZGV", "__svml", "amd_vr",
    "Sleef_",
];

/// Whether an undefined symbol computes what compiled code must not.
pub(in super::super) fn is_arithmetic_call(name: &str) -> bool {
    let name = name.split('@').next().unwrap_or(name);
    // Device libraries of NVIDIA and AMD.
    let name = ["__nv_", "__ocml_"].iter().find_map(|p| name.strip_prefix(p)).unwrap_or(name);
    let name = name.strip_suffix("_f32").or_else(|| name.strip_suffix("_f16")).unwrap_or(name);
    let typeless = name.strip_suffix(['f', 'l']).unwrap_or(name);
    LIBM.contains(&name)
        || LIBM.contains(&typeless)
        || ROUTINES.iter().any(|stem| name.starts_with(stem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Action::{Data as Finding, Integer as ScalarInteger, None as Other};

    fn classify(arch: Arch, text: &str) -> Action {
        let (mnemonic, operands) = split(text);
        match arch {
            Arch::X86_64 => x86(mnemonic),
            Arch::Aarch64 => aarch64(mnemonic, operands),
        }
    }

    #[test]
    fn x86_mnemonics() {
        for (text, class) in [
            ("mulss %xmm0, %xmm1", Finding(Kind::Multiply)),
            ("vmulps %zmm0, %zmm1, %zmm2", Finding(Kind::Multiply)),
            ("fmuls (%rax)", Finding(Kind::Multiply)),
            ("vdivpd %ymm0, %ymm1, %ymm2", Finding(Kind::Divide)),
            ("fdivrp %st, %st(1)", Finding(Kind::Divide)),
            ("vfnmadd231ss %xmm0, %xmm1, %xmm2", Finding(Kind::FusedMultiplyAdd)),
            ("vrsqrt14ps %zmm0, %zmm1", Finding(Kind::Approximation)),
            ("rcpss %xmm0, %xmm1", Finding(Kind::Approximation)),
            ("vsqrtsd %xmm0, %xmm1, %xmm2", Finding(Kind::SquareRoot)),
            ("vpmulld %zmm0, %zmm1, %zmm2", Finding(Kind::VectorIntegerMultiply)),
            ("vpmuludq %zmm0, %zmm1, %zmm2", Finding(Kind::VectorIntegerMultiply)),
            ("vdpbf16ps %zmm0, %zmm1, %zmm2", Finding(Kind::DotProduct)),
            ("vpmacsdd %xmm0, (%rdi), %xmm1, %xmm2", Finding(Kind::VectorIntegerMultiply)),
            ("pfmul (%rsi), %mm0", Finding(Kind::Multiply)),
            ("vdpphps (%rdi), %zmm1, %zmm0", Finding(Kind::DotProduct)),
            ("imulq $12, %rax, %rax", ScalarInteger),
            ("{nf} imull (%rdi), %eax, %ecx", ScalarInteger),
            ("lock mulq %rcx", ScalarInteger),
            ("mulxq %rax, %rcx, %rdx", ScalarInteger),
            ("divl %ecx", ScalarInteger),
            ("vaddps %zmm0, %zmm1, %zmm2", Other),
            ("vpmultishiftqb %zmm0, %zmm1, %zmm2", Other),
            ("vpaddd %zmm0, %zmm1, %zmm2", Other),
        ] {
            assert_eq!(classify(Arch::X86_64, text), class, "{text}");
        }
    }

    #[test]
    fn aarch64_mnemonics() {
        for (text, class) in [
            ("fmul v0.4s, v1.4s, v2.4s", Finding(Kind::Multiply)),
            ("fmla v0.4s, v1.4s, v2.4s", Finding(Kind::FusedMultiplyAdd)),
            ("fnmsub s0, s1, s2, s3", Finding(Kind::FusedMultiplyAdd)),
            ("fdiv s0, s1, s2", Finding(Kind::Divide)),
            ("fsqrt d0, d1", Finding(Kind::SquareRoot)),
            ("frecpe v0.4s, v1.4s", Finding(Kind::Approximation)),
            ("mul v0.4s, v1.4s, v2.4s", Finding(Kind::VectorIntegerMultiply)),
            ("umull v0.2d, v1.2s, v2.2s", Finding(Kind::VectorIntegerMultiply)),
            ("smopa za0.s, p0/m, p0/m, z0.b, z1.b", Finding(Kind::DotProduct)),
            ("bfmops za0.s, p0/m, p0/m, z0.h, z1.h", Finding(Kind::FusedMultiplyAdd)),
            ("usmlall za.s[w8, 0:3], z0.b, z1.b", Finding(Kind::VectorIntegerMultiply)),
            ("svdot za.s[w8, 0], {z0.h-z1.h}, z4.h[0]", Finding(Kind::DotProduct)),
            ("madd x0, x1, x2, x3", ScalarInteger),
            ("mul w0, w1, w2", ScalarInteger),
            ("fadd v0.4s, v1.4s, v2.4s", Other),
            ("fmax s0, s1, s2", Other),
            ("fminnm s0, s1, s2", Other),
        ] {
            assert_eq!(classify(Arch::Aarch64, text), class, "{text}");
        }
    }

    #[test]
    fn library_calls() {
        for name in
            ["expf", "pow", "fmaf", "tanhf", "__mulsf3", "_ZGVbN4v_expf", "sqrtl@GLIBC_2.2.5"]
        {
            assert!(is_arithmetic_call(name), "{name}");
        }
        for name in ["floorf", "roundevenf", "malloc", "memcpy", "__kmpc_fork_call", "fabsf"] {
            assert!(!is_arithmetic_call(name), "{name}");
        }
    }
}
