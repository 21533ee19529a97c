//! What the names of intrinsics and of operations in compiler dialects mean.

use super::Kind;

/// Words in names that multiply, whatever their operands.
const WORDS: &[(Kind, &[&str])] = &[
    (
        Kind::FusedMultiplyAdd,
        &[
            "fma", "fmuladd", "fmad", "mad", "fmac", "mac", "fmla", "fmls", "vfmadd", "vfmsub",
            "vfnmadd", "vfnmsub",
        ],
    ),
    (
        Kind::Multiply,
        &[
            "fmul",
            "mulf",
            "ldexp",
            "scalef",
            "nmul",
            "fmulx",
            "vectortimesscalar",
            "fimul",
            "scalbn",
        ],
    ),
    (Kind::Divide, &["fdiv", "divf", "frem", "remf", "fmod", "rem_f", "reciprocal", "remainder"]),
    (
        Kind::SquareRoot,
        &["sqrt", "cbrt", "hypot", "inversesqrt", "length", "distance", "normalize"],
    ),
    (
        Kind::Transcendental,
        &[
            "exp", "exp2", "exp10", "expm1", "log", "log2", "log10", "log1p", "pow", "powi",
            "powf", "powr", "pown", "fpowi", "sin", "cos", "tan", "sincos", "asin", "acos", "atan",
            "atan2", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "erf", "erfc", "tgamma",
            "lgamma", "ex2", "lg2", "sigmoid", "softmax", "sinpi", "cospi", "gelu", "ipowi",
        ],
    ),
    (
        Kind::Approximation,
        &[
            "rcp", "rcp14", "rcp28", "rsqrt", "rsqrt14", "rsqrt28", "rsq", "frecpe", "frsqrte",
            "frecps", "frsqrts", "recpe", "rsqrte", "recps", "rsqrts",
        ],
    ),
    (
        Kind::DotProduct,
        &[
            "matmul",
            "mma",
            "wmma",
            "wgmma",
            "mfma",
            "smfmac",
            "dot",
            "dot2",
            "dot4",
            "dot8",
            "dp4a",
            "dp2a",
            "idp4a",
            "idp2a",
            "fdot2",
            "sdot",
            "udot",
            "usdot",
            "sdot4",
            "udot4",
            "sdot8",
            "udot8",
            "contract",
            "contraction",
            "outerproduct",
            "matrixtimesvector",
            "matrixtimesmatrix",
            "vectortimesmatrix",
            "matrixtimesscalar",
            "outer",
            "matvec",
            "vecmat",
            "vecvec",
            "gemm",
            "gemv",
            "mmt4d",
            "dpbf16ps",
            "vpdpbusd",
            "vpdpwssd",
            "bfdot",
            "bfmmla",
            "smmla",
            "ummla",
            "usmmla",
            "tdpbf16ps",
            "tdpbssd",
            "tdpbsud",
            "tdpbusd",
            "tdpbuud",
            "tdpfp16ps",
            "dpps",
            "dppd",
            "tcgen05",
        ],
    ),
];

/// Beginnings of words that are products over windows or of matrices.
const STEMS: &[(Kind, &[&str])] = &[
    (
        Kind::DotProduct,
        &["conv1d", "conv2d", "conv3d", "conv_", "depthwise", "cooperativematrixmuladd", "mma"],
    ),
    (Kind::FusedMultiplyAdd, &["vfmadd", "vfmsub", "vfnmadd", "vfnmsub"]),
];

/// The kind of a name of lower or upper case letters, whose words are separated by `.`, `_` or `::`.
pub(super) fn kind(name: &str) -> Option<Kind> {
    let name = name.to_ascii_lowercase();
    for word in name.split(['.', '_', ':']) {
        for (kind, words) in WORDS {
            if words.contains(&word) {
                return Some(*kind);
            }
        }
        for (kind, stems) in STEMS {
            if stems.iter().any(|s| word.starts_with(s)) {
                return Some(*kind);
            }
        }
    }
    None
}

/// Operands in the text of an instruction: apart at commas outside brackets.
pub(super) fn split(text: &str) -> Vec<&str> {
    let mut depth = 0;
    let outside = |c: char| {
        match c {
            '[' | '{' | '(' => depth += 1,
            ']' | '}' | ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    };
    let mut out: Vec<&str> = text.split(outside).map(str::trim).collect();
    // Nothing at all, or nothing after the last comma.
    out.pop_if(|last| last.is_empty());
    out
}
