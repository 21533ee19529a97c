//! What intrinsics do.

use super::{Action, Kind, Role, STORED, Source, names};

const VALUE: &[Role] = &[Role::Value];
const ADDRESS: &[Role] = &[Role::Address];
const CONDITION: &[Role] = &[Role::Condition];

/// Beginnings of intrinsics that compute no product: roles of the operands, the last for all that
/// follow, and where results come from.
const NEUTRAL: &[(&[&str], &[Role], Source)] = &[
    (
        &[
            "fabs.",
            "floor.",
            "ceil.",
            "trunc.",
            "rint.",
            "nearbyint.",
            "round.",
            "roundeven.",
            "minnum.",
            "maxnum.",
            "minimum",
            "maximum",
            "copysign.",
            "canonicalize.",
            "smax.",
            "smin.",
            "umax.",
            "umin.",
            "abs.",
            "ctpop.",
            "ctlz.",
            "cttz.",
            "bswap.",
            "bitreverse.",
            "fshl.",
            "fshr.",
            "sadd.",
            "uadd.",
            "ssub.",
            "usub.",
            "sshl.sat",
            "ushl.sat",
            "vector.",
            "experimental.vector.",
            "vscale",
            "stepvector",
            "expect.",
            "freeze",
            "ptrmask",
            "launder",
            "strip",
            "ssa.copy",
            "threadlocal",
            "vp.select",
            "vp.merge",
            "vp.add",
            "vp.and",
            "vp.or",
            "vp.xor",
            "vp.sub",
            "vp.shl",
            "vp.lshr",
            "vp.ashr",
            "vp.smax",
            "vp.smin",
            "vp.umax",
            "vp.umin",
            "vp.abs",
            "vp.ctpop",
            "vp.ctlz",
            "vp.cttz",
            "vp.bswap",
            "vp.bitreverse",
            "vp.fshl",
            "vp.fshr",
            "vp.fadd",
            "vp.fsub",
            "vp.fneg",
            "vp.fabs",
            "vp.minnum",
            "vp.maxnum",
            "vp.minimum",
            "vp.maximum",
            "vp.copysign",
            "vp.ceil",
            "vp.floor",
            "vp.rint",
            "vp.round",
            "vp.nearbyint",
            "vp.sext",
            "vp.zext",
            "vp.trunc",
            "vp.fpext",
            "vp.fptrunc",
            "vp.ptrtoint",
            "vp.inttoptr",
            "vp.reduce.",
            "vp.reverse",
            "vp.splice",
            "experimental.vp.reverse",
            "experimental.vp.splice",
        ],
        VALUE,
        Source::Operands,
    ),
    (&["vp.fptosi", "vp.fptoui", "vp.sitofp", "vp.uitofp"], VALUE, Source::Data),
    (&["fptosi.sat", "fptoui.sat", "lround", "lrint", "llround", "llrint"], VALUE, Source::Data),
    (
        &[
            "masked.load",
            "masked.gather",
            "masked.expandload",
            "vp.load",
            "vp.gather",
            "vp.strided.load",
            "experimental.vp.strided.load",
        ],
        &[Role::Address, Role::Condition, Role::Value],
        Source::Data,
    ),
    (
        &[
            "masked.store",
            "masked.scatter",
            "masked.compressstore",
            "vp.store",
            "vp.scatter",
            "vp.strided.store",
            "experimental.vp.strided.store",
        ],
        &[STORED, Role::Address, Role::Condition],
        Source::Operands,
    ),
    (&["memset"], &[Role::Address, STORED, Role::Address], Source::Operands),
    (
        &[
            "memcpy",
            "memmove",
            "lifetime.",
            "invariant.",
            "prefetch",
            "stacksave",
            "stackrestore",
            "dbg.",
            "experimental.noalias",
            "sideeffect",
            "donothing",
            "trap",
            "debugtrap",
            "va_",
            "get.rounding",
            "annotation",
            "var.annotation",
            "objectsize",
            "is.constant",
            "x86.sse.ldmxcsr",
            "x86.sse.stmxcsr",
            "aarch64.get.fpcr",
            "aarch64.set.fpcr",
            "nvvm.barrier",
            "nvvm.bar.",
            "nvvm.membar",
            "nvvm.annotation",
            "amdgcn.workgroup.size",
            "amdgcn.dispatch.ptr",
            "amdgcn.implicitarg.ptr",
            "amdgcn.kernarg.segment.ptr",
            "amdgcn.s.barrier",
            "amdgcn.s.waitcnt",
            "amdgcn.sched",
            "frameaddress",
            "returnaddress",
            "amdgcn.s.setreg",
            "amdgcn.s.getreg",
            "nvvm.cp.async",
            "nvvm.fence",
            "nvvm.move",
        ],
        ADDRESS,
        Source::Operands,
    ),
    (
        &[
            "nvvm.read.ptx.sreg.",
            "amdgcn.workitem.id",
            "amdgcn.workgroup.id",
            "spv.thread.id",
            "spv.group.id",
        ],
        ADDRESS,
        Source::Position,
    ),
    (
        &["assume", "is.fpclass", "get.active.lane.mask", "vp.icmp", "vp.fcmp"],
        CONDITION,
        Source::Operands,
    ),
    (
        &[
            "nvvm.fmax",
            "nvvm.fmin",
            "nvvm.fabs",
            "nvvm.add.",
            "nvvm.shfl",
            "amdgcn.fmed3",
            "amdgcn.readfirstlane",
            "amdgcn.readlane",
            "amdgcn.ds.bpermute",
            "amdgcn.update.dpp",
            "amdgcn.mov.dpp",
            "nvvm.redux.sync",
        ],
        VALUE,
        Source::Operands,
    ),
];

/// What an intrinsic is; `None` if it is not known.
pub(super) fn meaning(name: &str, scalar: bool) -> Option<(Action, &'static [Role], Source)> {
    const FACTORS: &[Role] = &[Role::Factor];
    let words = || name.split('.');
    if words().any(|w| {
        ["smul", "umul", "sdiv", "udiv", "srem", "urem", "mul24", "mulhi", "muli24", "mulu24"]
            .contains(&w)
    }) {
        let action = match scalar || name.contains("with.overflow") {
            true => Action::Integer,
            false => Action::Data(Kind::VectorIntegerMultiply),
        };
        // A fixed-point product has its scale as a third operand.
        const TWO: &[Role] = &[Role::Factor, Role::Factor, Role::Value];
        return Some((action, TWO, Source::Operands));
    }
    if words().any(|w| w == "mul") {
        let kind = if name.contains(".f") || name.contains(".bf") || name.contains(".d") {
            Kind::Multiply
        } else {
            Kind::VectorIntegerMultiply
        };
        return Some((Action::Data(kind), FACTORS, Source::Operands));
    }
    if words().any(|w| w == "div") {
        return Some((Action::Data(Kind::Divide), FACTORS, Source::Operands));
    }
    if let Some(kind) = names::kind(name) {
        return Some((Action::Data(kind), FACTORS, Source::Operands));
    }
    let row = NEUTRAL.iter().find(|(names, ..)| names.iter().any(|n| name.starts_with(n)))?;
    Some((Action::None, row.1, row.2))
}
