//! What PTX instructions and special registers are.

use super::{Action, Kind};

/// Instructions that compute no product, by the first word of their name.
pub(super) const NEUTRAL: &[&str] = &[
    "abs",
    "activemask",
    "add",
    "addc",
    "alloca",
    "and",
    "applypriority",
    "atom",
    "bar",
    "barrier",
    "bfe",
    "bfi",
    "bfind",
    "bmsk",
    "bra",
    "brev",
    "brkpt",
    "brx",
    "call",
    "clz",
    "cnot",
    "copysign",
    "cp",
    "createpolicy",
    "cvt",
    "cvta",
    "discard",
    "elect",
    "exit",
    "fence",
    "fns",
    "getctarank",
    "griddepcontrol",
    "isspacep",
    "istypep",
    "ld",
    "ldmatrix",
    "ldu",
    "lop3",
    "mapa",
    "match",
    "max",
    "mbarrier",
    "membar",
    "min",
    "mov",
    "movmatrix",
    "multimem",
    "nanosleep",
    "neg",
    "not",
    "or",
    "pmevent",
    "popc",
    "prefetch",
    "prefetchu",
    "prmt",
    "red",
    "redux",
    "ret",
    "sad",
    "selp",
    "set",
    "setmaxnreg",
    "setp",
    "shf",
    "shfl",
    "shl",
    "shr",
    "slct",
    "st",
    "stackrestore",
    "stacksave",
    "stmatrix",
    "sub",
    "subc",
    "suld",
    "suq",
    "sust",
    "sured",
    "szext",
    "testp",
    "tld4",
    "trap",
    "txq",
    "vabsdiff",
    "vadd",
    "vmax",
    "vmin",
    "vote",
    "vset",
    "vshl",
    "vshr",
    "vsub",
    "xor",
];

/// What an instruction is; `None` if it is not known.
pub(super) fn action(opcode: &str) -> Option<Action> {
    let mut words = opcode.split('.');
    let first = words.next().unwrap_or_default();
    let float = opcode.split('.').any(|w| {
        matches!(
            w,
            "f16"
                | "f16x2"
                | "bf16"
                | "bf16x2"
                | "f32"
                | "f32x2"
                | "f64"
                | "tf32"
                | "e4m3"
                | "e5m2"
        )
    });
    let data = |kind| Some(Action::Data(kind));
    match first {
        "mul" | "mul24" | "mad" | "mad24" | "madc" if !float => Some(Action::Integer),
        "div" | "rem" if !float => Some(Action::Integer),
        "mul" => data(Kind::Multiply),
        "div" | "rem" => data(Kind::Divide),
        "fma" | "mad" => data(Kind::FusedMultiplyAdd),
        "sqrt" => data(Kind::SquareRoot),
        // A texture is interpolated.
        "tex" => data(Kind::DotProduct),
        "rcp" | "rsqrt" => data(Kind::Approximation),
        "sin" | "cos" | "lg2" | "ex2" | "tanh" => data(Kind::Transcendental),
        "dp4a" | "dp2a" | "mma" | "wmma" | "wgmma" | "tcgen05" => {
            // Of the matrix instructions, some only move, wait or allocate.
            let moves = [
                "load",
                "store",
                "fence",
                "commit_group",
                "wait_group",
                "ld",
                "st",
                "alloc",
                "dealloc",
                "wait",
                "commit",
                "cp",
                "shift",
                "relinquish_alloc_permit",
            ];
            let second = words.next().unwrap_or_default();
            if moves.contains(&second) { Some(Action::None) } else { data(Kind::DotProduct) }
        }
        "vmad" => data(Kind::FusedMultiplyAdd),
        _ if NEUTRAL.iter().any(|n| {
            *n == first || (first.trim_end_matches(['2', '4']) == *n && first.starts_with('v'))
        }) =>
        {
            Some(Action::None)
        }
        _ => None,
    }
}

/// Registers that the machine sets: positions of threads, sizes of the launch.
pub(super) fn is_special(name: &str) -> bool {
    const SPECIAL: &[&str] = &[
        "%tid",
        "%ntid",
        "%ctaid",
        "%nctaid",
        "%laneid",
        "%warpid",
        "%nwarpid",
        "%smid",
        "%nsmid",
        "%gridid",
        "%clusterid",
        "%nclusterid",
        "%cluster_ctaid",
        "%cluster_nctaid",
        "%cluster_ctarank",
        "%cluster_nctarank",
        "%is_explicit_cluster",
        "%lanemask_eq",
        "%lanemask_le",
        "%lanemask_lt",
        "%lanemask_ge",
        "%lanemask_gt",
        "%clock",
        "%clock_hi",
        "%clock64",
        "%envreg",
        "%globaltimer",
        "%total_smem_size",
        "%dynamic_smem_size",
        "%aggr_smem_size",
        "%current_graph_exec",
        "%warpsize",
    ];
    SPECIAL.contains(&name)
}

/// Those of them that tell threads apart, with or without a dimension.
pub(super) fn is_position(name: &str) -> bool {
    let register = name.split('.').next().unwrap_or(name);
    ["%tid", "%ntid", "%ctaid", "%nctaid", "%laneid", "%warpid"].contains(&register)
}
