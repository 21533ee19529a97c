//! What SPIR-V instructions are.

use super::super::names;
use super::*;

impl Walk<'_> {
    /// Name and nature of an instruction, or the name of one that is not known.
    pub(super) fn action(&self, i: &Instruction, vector: bool) -> Result<(String, Action), String> {
        use Action::{Data, Integer};
        let name = i.class.opname.to_owned();
        let integer = || if vector { Data(Kind::VectorIntegerMultiply) } else { Integer };
        let action = match i.class.opcode {
            Op::FMul | Op::VectorTimesScalar => Data(Kind::Multiply),
            Op::FDiv | Op::FRem | Op::FMod => Data(Kind::Divide),
            Op::IMul
            | Op::SDiv
            | Op::UDiv
            | Op::SRem
            | Op::SMod
            | Op::UMod
            | Op::SMulExtended
            | Op::UMulExtended => integer(),
            Op::MatrixTimesScalar
            | Op::VectorTimesMatrix
            | Op::MatrixTimesVector
            | Op::MatrixTimesMatrix
            | Op::OuterProduct
            | Op::Dot => Data(Kind::DotProduct),
            Op::ExtInst => return self.extended(i),
            _ if name.contains("Dot") || name.contains("MulAdd") || name.contains("MatrixMul") => {
                Data(Kind::DotProduct)
            }
            _ if name.contains("NonUniformIMul") => Data(Kind::VectorIntegerMultiply),
            _ if name.contains("NonUniformFMul")
                || name.contains("Interpolate")
                || name.starts_with("ImageSample")
                || name.starts_with("ImageSparseSample") =>
            {
                Data(Kind::Multiply)
            }
            _ if name.contains("IMul") || name.contains("FMul") || name.contains("Fma") => {
                Data(Kind::Multiply)
            }
            _ if is_neutral(&name) => Action::None,
            _ => return Err(name),
        };
        Ok((name, action))
    }

    fn extended(&self, i: &Instruction) -> Result<(String, Action), String> {
        let (Some(Operand::IdRef(set)), Some(Operand::LiteralExtInstInteger(number))) =
            (i.operands.first(), i.operands.get(1))
        else {
            return Err("ExtInst".into());
        };
        let set = self.sets.get(set).map_or("", String::as_str);
        if set.starts_with("NonSemantic") || set.contains("DebugInfo") {
            return Ok(("ExtInst".into(), Action::None));
        }
        if set == "GLSL.std.450" {
            let op =
                GlslStd450Op::from_u32(*number).ok_or_else(|| format!("GLSL.std.450 {number}"))?;
            let name = format!("{op:?}");
            let kind = match op {
                GlslStd450Op::Round
                | GlslStd450Op::RoundEven
                | GlslStd450Op::Trunc
                | GlslStd450Op::FAbs
                | GlslStd450Op::SAbs
                | GlslStd450Op::FSign
                | GlslStd450Op::SSign
                | GlslStd450Op::Floor
                | GlslStd450Op::Ceil
                | GlslStd450Op::FMin
                | GlslStd450Op::UMin
                | GlslStd450Op::SMin
                | GlslStd450Op::FMax
                | GlslStd450Op::UMax
                | GlslStd450Op::SMax
                | GlslStd450Op::FClamp
                | GlslStd450Op::UClamp
                | GlslStd450Op::SClamp
                | GlslStd450Op::NMin
                | GlslStd450Op::NMax
                | GlslStd450Op::NClamp
                | GlslStd450Op::Step
                | GlslStd450Op::Modf
                | GlslStd450Op::ModfStruct
                | GlslStd450Op::Fract
                | GlslStd450Op::FindILsb
                | GlslStd450Op::FindSMsb
                | GlslStd450Op::FindUMsb
                | GlslStd450Op::PackHalf2x16
                | GlslStd450Op::UnpackHalf2x16
                | GlslStd450Op::PackDouble2x32
                | GlslStd450Op::UnpackDouble2x32 => return Ok((name, Action::None)),
                GlslStd450Op::Fma => Kind::FusedMultiplyAdd,
                GlslStd450Op::Sqrt => Kind::SquareRoot,
                GlslStd450Op::InverseSqrt => Kind::Approximation,
                GlslStd450Op::Ldexp
                | GlslStd450Op::Radians
                | GlslStd450Op::Degrees
                | GlslStd450Op::FMix
                | GlslStd450Op::SmoothStep => Kind::Multiply,
                GlslStd450Op::Exp
                | GlslStd450Op::Exp2
                | GlslStd450Op::Log
                | GlslStd450Op::Log2
                | GlslStd450Op::Pow
                | GlslStd450Op::Sin
                | GlslStd450Op::Cos
                | GlslStd450Op::Tan
                | GlslStd450Op::Asin
                | GlslStd450Op::Acos
                | GlslStd450Op::Atan
                | GlslStd450Op::Atan2
                | GlslStd450Op::Sinh
                | GlslStd450Op::Cosh
                | GlslStd450Op::Tanh
                | GlslStd450Op::Asinh
                | GlslStd450Op::Acosh
                | GlslStd450Op::Atanh => Kind::Transcendental,
                _ => Kind::DotProduct,
            };
            return Ok((name, Action::Data(kind)));
        }
        if set.starts_with("OpenCL") {
            let op = rspirv::spirv::OpenclStd100Op::from_u32(*number)
                .ok_or_else(|| format!("{set} {number}"))?;
            let name = format!("{op:?}");
            const NEUTRAL: &[&str] = &[
                "fabs",
                "floor",
                "ceil",
                "trunc",
                "rint",
                "round",
                "fmin",
                "fmax",
                "copysign",
                "s_abs",
                "s_min",
                "s_max",
                "u_min",
                "u_max",
                "clz",
                "ctz",
                "popcount",
                "rotate",
                "s_clamp",
                "u_clamp",
                "fclamp",
                "fmin_common",
                "fmax_common",
                "s_add_sat",
                "u_add_sat",
                "s_sub_sat",
                "u_sub_sat",
                "bitselect",
                "select",
                "vloadn",
                "vstoren",
                "prefetch",
                "sign",
                "nan",
                "s_abs_diff",
                "u_abs_diff",
                "u_abs",
            ];
            if NEUTRAL.contains(&name.as_str()) {
                return Ok((name, Action::None));
            }
            let integer = [
                "s_mul_hi", "u_mul_hi", "s_mul24", "u_mul24", "s_mad24", "u_mad24", "s_mad_hi",
                "u_mad_hi",
            ];
            let action = match names::kind(&name) {
                _ if integer.contains(&name.as_str()) => Action::Integer,
                Some(kind) => Action::Data(kind),
                None => Action::Data(Kind::Transcendental),
            };
            return Ok((name, action));
        }
        Err(format!("{set} {number}"))
    }

    pub(super) fn role(&self, i: &Instruction, action: Action, n: usize, count: usize) -> Role {
        match action {
            Action::Data(_) => return Role::Factor,
            Action::Integer => {
                let divides = !matches!(
                    i.class.opcode,
                    Op::IMul | Op::SMulExtended | Op::UMulExtended | Op::ExtInst
                );
                return if divides && n == 0 { Role::Dividend } else { Role::Factor };
            }
            Action::None => {}
        }
        let name = i.class.opname;
        match i.class.opcode {
            Op::Load => Role::Address,
            Op::Store => {
                if n == 1 {
                    STORED
                } else {
                    Role::Address
                }
            }
            Op::ConvertSToF | Op::ConvertUToF => Role::Sink("is converted to a float"),
            Op::Select if n == 0 => Role::Condition,
            Op::BranchConditional | Op::Switch => {
                if n == 0 {
                    Role::Condition
                } else {
                    Role::Address
                }
            }
            Op::ImageWrite => {
                if n + 1 == count {
                    STORED
                } else {
                    Role::Address
                }
            }
            _ if name.starts_with("Atomic") => STORED,
            _ if ["Equal", "Less", "Greater", "IsNan", "IsInf", "Ordered", "Unordered"]
                .iter()
                .any(|w| name.contains(w)) =>
            {
                Role::Condition
            }
            Op::CopyMemory | Op::CopyMemorySized => Role::Address,
            _ => Role::Value,
        }
    }
}

/// Instructions that compute no product, by their names.
pub(super) fn is_neutral(name: &str) -> bool {
    const NAMES: &[&str] = &[
        "Nop",
        "Undef",
        "Function",
        "FunctionParameter",
        "FunctionEnd",
        "Variable",
        "Load",
        "Store",
        "CopyMemory",
        "CopyMemorySized",
        "AccessChain",
        "InBoundsAccessChain",
        "PtrAccessChain",
        "InBoundsPtrAccessChain",
        "ArrayLength",
        "CopyObject",
        "CopyLogical",
        "Phi",
        "LoopMerge",
        "SelectionMerge",
        "Label",
        "Branch",
        "BranchConditional",
        "Switch",
        "Kill",
        "Return",
        "ReturnValue",
        "Unreachable",
        "Select",
        "Bitcast",
        "Any",
        "All",
        "ControlBarrier",
        "MemoryBarrier",
        "Not",
        "SNegate",
        "FNegate",
        "IAdd",
        "ISub",
        "FAdd",
        "FSub",
        "IAddCarry",
        "ISubBorrow",
        "FConvert",
        "SConvert",
        "UConvert",
        "QuantizeToF16",
        "ConvertFToS",
        "ConvertFToU",
        "ConvertSToF",
        "ConvertUToF",
        "ConvertPtrToU",
        "ConvertUToPtr",
        "SatConvertSToU",
        "SatConvertUToS",
        "PtrCastToGeneric",
        "GenericCastToPtr",
        "Transpose",
        "LifetimeStart",
        "LifetimeStop",
        "ExpectKHR",
        "AssumeTrueKHR",
        "SizeOf",
        "PtrEqual",
        "PtrNotEqual",
        "PtrDiff",
        "TerminateInvocation",
        "ReadClockKHR",
        "ImageRead",
        "ImageWrite",
        "ImageFetch",
        "Image",
        "SampledImage",
        "SignBitSet",
        "IsFinite",
        "IsNormal",
        "ConvertBF16ToFINTEL",
        "ConvertFToBF16INTEL",
        "Freeze",
    ];
    const STEMS: &[&str] = &[
        "Vector",
        "Composite",
        "Shift",
        "Bit",
        "Logical",
        "Is",
        "Ordered",
        "Unordered",
        "FOrd",
        "FUnord",
        "I",
        "U",
        "S",
        "Atomic",
        "GroupNonUniform",
        "GroupAll",
        "GroupAny",
        "GroupBroadcast",
        "Group",
        "ImageQuery",
        "Subgroup",
        "CooperativeMatrixLoad",
        "CooperativeMatrixStore",
        "CooperativeMatrixLength",
        "LessOrGreater",
    ];
    // The one-letter stems are those of comparisons and group sums.
    NAMES.contains(&name)
        || STEMS.iter().any(|s| {
            name.strip_prefix(s).is_some_and(|rest| {
                s.len() > 1
                    || ["Equal", "NotEqual", "LessThan", "GreaterThan"]
                        .iter()
                        .any(|c| rest.starts_with(c))
            })
        })
}
