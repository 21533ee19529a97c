//! SPIR-V binaries.

use super::{
    Finding, Kind, Report,
    flow::{Action, Flow, Operation, Role, Source, Value},
};
use crate::Error;
use rspirv::{
    dr::{self, Instruction, Module, Operand},
    spirv::{GlslStd450Op, Op, StorageClass},
};
use std::collections::{HashMap, HashSet};

const STORED: Role = Role::Sink("is stored in memory");

/// Audits a SPIR-V module.
pub(super) fn audit(bytes: &[u8]) -> Result<Report, Error> {
    let words = dr::load_bytes(bytes)
        .map_err(|e| Error::Audit { message: format!("malformed SPIR-V: {e}") })?;
    let mut walk = Walk::new(&words);
    for (n, function) in words.functions.iter().enumerate() {
        walk.function(n, function);
    }
    let mut findings = walk.findings;
    findings.extend(walk.flow.judge());
    Ok(Report { functions: walk.flow.functions, findings, ..Report::default() })
}

struct Walk<'m> {
    flow: Flow,
    findings: Vec<Finding>,
    values: HashMap<u32, Value>,
    names: HashMap<u32, String>,
    vectors: HashSet<u32>,
    extended: HashSet<u32>,
    sets: HashMap<u32, String>,
    // Values kept in variables that only this invocation sees, by pointer.
    variables: HashMap<u32, Value>,
    // Pointers to inputs of the pipeline: ids and sizes.
    inputs: HashSet<u32>,
    returns: HashMap<u32, Value>,
    functions: HashMap<u32, &'m dr::Function>,
    called: HashSet<u32>,
    at: usize,
    id: u32,
    line: Option<String>,
    strings: HashMap<u32, String>,
}

impl<'m> Walk<'m> {
    fn new(module: &'m Module) -> Self {
        let mut walk = Self {
            flow: Flow::default(),
            findings: Vec::new(),
            values: HashMap::new(),
            names: HashMap::new(),
            vectors: HashSet::new(),
            extended: HashSet::new(),
            sets: HashMap::new(),
            variables: HashMap::new(),
            inputs: HashSet::new(),
            returns: HashMap::new(),
            functions: HashMap::new(),
            called: HashSet::new(),
            at: 0,
            id: 0,
            line: None,
            strings: HashMap::new(),
        };
        for i in &module.debug_names {
            if let [Operand::IdRef(id), Operand::LiteralString(name)] = &i.operands[..] {
                walk.names.insert(*id, name.clone());
            }
        }
        for i in &module.entry_points {
            if let [_, Operand::IdRef(id), Operand::LiteralString(name), ..] = &i.operands[..] {
                walk.names.insert(*id, name.clone());
            }
        }
        for i in &module.debug_string_source {
            if let (Some(id), Some(Operand::LiteralString(text))) =
                (i.result_id, i.operands.first())
            {
                walk.strings.insert(id, text.clone());
            }
        }
        for i in &module.ext_inst_imports {
            if let (Some(id), Some(Operand::LiteralString(set))) = (i.result_id, i.operands.first())
            {
                walk.sets.insert(id, set.clone());
            }
        }
        module.types_global_values.iter().for_each(|i| walk.global(i));
        for function in &module.functions {
            if let Some(id) = function.def.as_ref().and_then(|d| d.result_id) {
                walk.functions.insert(id, function);
            }
        }
        for i in module.all_inst_iter().filter(|i| i.class.opcode == Op::FunctionCall) {
            if let Some(Operand::IdRef(callee)) = i.operands.first() {
                walk.called.insert(*callee);
            }
        }
        walk
    }

    fn value(&mut self, id: u32) -> Value {
        *self.values.entry(id).or_insert_with(|| self.flow.value(Source::Operands))
    }

    fn global(&mut self, i: &Instruction) {
        let Some(id) = i.result_id else { return };
        match i.class.opcode {
            Op::TypeVector => self.vectors.extend([id]),
            Op::TypeMatrix | Op::TypeCooperativeMatrixKHR => self.extended.extend([id]),
            Op::Constant => {
                let source = match i.operands.first() {
                    Some(Operand::LiteralBit32(bits)) => Source::Constant((*bits as i32).into()),
                    Some(Operand::LiteralBit64(bits)) => Source::Constant((*bits as i64).into()),
                    _ => Source::Fixed,
                };
                let value = self.value(id);
                self.flow.set_source(value, source);
            }
            Op::ConstantComposite
            | Op::ConstantTrue
            | Op::ConstantFalse
            | Op::ConstantNull
            | Op::SpecConstant
            | Op::SpecConstantComposite
            | Op::SpecConstantOp
            | Op::Undef => {
                let value = self.value(id);
                self.flow.set_source(value, Source::Fixed);
            }
            Op::Variable => self.variable(id, i),
            _ => {}
        }
    }

    fn variable(&mut self, id: u32, i: &Instruction) {
        match i.operands.first() {
            Some(Operand::StorageClass(StorageClass::Input | StorageClass::PushConstant)) => {
                self.inputs.insert(id);
            }
            Some(Operand::StorageClass(StorageClass::Function | StorageClass::Private)) => {
                let memory = self.flow.value(Source::Operands);
                self.variables.insert(id, memory);
            }
            _ => {}
        }
    }

    fn function(&mut self, n: usize, function: &dr::Function) {
        let id = function.def.as_ref().and_then(|d| d.result_id).unwrap_or(0);
        let name = self.names.get(&id).cloned().unwrap_or_else(|| format!("function {n}"));
        (self.at, self.id, self.line) = (self.flow.function(name), id, None);
        for block in &function.blocks {
            for (n, i) in block.instructions.iter().enumerate() {
                self.instruction(i, n);
            }
        }
    }

    fn result(&mut self, function: u32) -> Value {
        *self.returns.entry(function).or_insert_with(|| self.flow.value(Source::Operands))
    }

    fn instruction(&mut self, i: &Instruction, n: usize) {
        match i.class.opcode {
            Op::Line => {
                if let [Operand::IdRef(file), Operand::LiteralBit32(line), ..] = &i.operands[..] {
                    self.line = self.strings.get(file).map(|f| format!("{f}:{line}"));
                }
                return;
            }
            Op::NoLine => {
                self.line = None;
                return;
            }
            Op::Variable => {
                if let Some(id) = i.result_id {
                    self.variable(id, i);
                }
            }
            Op::FunctionCall => return self.call(i),
            _ => {}
        }
        let vector =
            i.result_type.is_some_and(|t| self.vectors.contains(&t) || self.extended.contains(&t));
        let (name, action) = match self.action(i, vector) {
            Ok(known) => known,
            Err(what) => return self.find(Kind::Unknown, what, n),
        };
        let result = i.result_id.map(|id| self.value(id));
        let mut operands = Vec::new();
        let ids: Vec<u32> = i
            .operands
            .iter()
            .filter_map(|o| match o {
                Operand::IdRef(id) => Some(*id),
                _ => None,
            })
            .collect();
        for (n, id) in ids.iter().enumerate() {
            if i.class.opcode == Op::ExtInst && n == 0 {
                continue;
            }
            let role = self.role(i, action, n, ids.len());
            let value = self.value(*id);
            operands.push((value, role));
        }
        if let Some(result) = result {
            self.memory(i, &ids, result, &mut operands);
        } else if i.class.opcode == Op::Store
            && let Some(memory) = ids.first().and_then(|p| self.variables.get(p)).copied()
        {
            self.flow.copy(operands[1].0, memory);
            operands[1].1 = Role::Address;
        }
        if i.class.opcode == Op::Phi {
            let result = result.unwrap_or_default();
            // Values alternate with the blocks they come from.
            operands.iter().step_by(2).for_each(|(v, _)| self.flow.copy(*v, result));
            operands.clear();
        }
        if i.class.opcode == Op::ReturnValue {
            let returned = self.result(self.id);
            self.flow.copy(operands[0].0, returned);
            let called = self.called.contains(&self.id);
            operands[0].1 = if called { Role::Address } else { Role::Sink("is returned") };
        }
        let place = i.result_id.map_or_else(|| format!("instruction {n}"), |id| format!("%{id}"));
        let source = if action == Action::None { None } else { self.line.clone() };
        let results = result.into_iter().collect();
        let function = self.at;
        self.flow.push(Operation { function, name, place, source, action, operands, results });
    }

    /// Loads, and pointers into variables.
    fn memory(
        &mut self,
        i: &Instruction,
        ids: &[u32],
        result: Value,
        operands: &mut [(Value, Role)],
    ) {
        let Some((id, base)) = i.result_id.zip(ids.first().copied()) else { return };
        match i.class.opcode {
            Op::Load => match (self.variables.get(&base).copied(), self.inputs.contains(&base)) {
                (Some(memory), _) => self.flow.copy(memory, result),
                (None, true) => {}
                (None, false) => self.flow.set_source(result, Source::Data),
            },
            Op::AccessChain
            | Op::InBoundsAccessChain
            | Op::PtrAccessChain
            | Op::InBoundsPtrAccessChain => {
                if let Some(memory) = self.variables.get(&base).copied() {
                    self.variables.insert(id, memory);
                }
                if self.inputs.contains(&base) {
                    self.inputs.insert(id);
                }
                // What is loaded through a chain is no function of its indices.
                let _ = operands;
            }
            Op::ConvertFToS | Op::ConvertFToU | Op::ImageRead | Op::ImageFetch => {
                self.flow.set_source(result, Source::Data);
            }
            _ if format!("{:?}", i.class.opcode).starts_with("Atomic") => {
                self.flow.set_source(result, Source::Data);
            }
            _ => {}
        }
    }

    fn call(&mut self, i: &Instruction) {
        let mut ids = i.operands.iter().filter_map(|o| match o {
            Operand::IdRef(id) => Some(*id),
            _ => None,
        });
        let Some(callee) = ids.next() else { return };
        let Some(function) = self.functions.get(&callee).copied().filter(|f| !f.blocks.is_empty())
        else {
            let name = self.names.get(&callee).cloned().unwrap_or_else(|| format!("%{callee}"));
            return self.find(super::calls::kind(&name), name, 0);
        };
        for (parameter, argument) in function.parameters.iter().zip(ids) {
            if let Some(parameter) = parameter.result_id {
                if let Some(memory) = self.variables.get(&argument).copied() {
                    self.variables.insert(parameter, memory);
                }
                let (argument, parameter) = (self.value(argument), self.value(parameter));
                self.flow.copy(argument, parameter);
            }
        }
        if let Some(result) = i.result_id {
            let (returned, result) = (self.result(callee), self.value(result));
            self.flow.copy(returned, result);
        }
        self.flow.functions[self.at].operations += 1;
    }

    fn find(&mut self, kind: Kind, what: String, n: usize) {
        let function = &mut self.flow.functions[self.at];
        function.operations += 1;
        let (function, source) = (function.name.clone(), self.line.clone());
        let place = format!("instruction {n}");
        self.findings.push(Finding { kind, function, what, place, source, reason: None });
    }

    /// Name and nature of an instruction, or the name of one that is not known.
    fn action(&self, i: &Instruction, vector: bool) -> Result<(String, Action), String> {
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
                || name.starts_with("ImageSample") =>
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
                | GlslStd450Op::Modf
                | GlslStd450Op::ModfStruct
                | GlslStd450Op::Fract
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
            let action = match super::names::kind(&name) {
                _ if integer.contains(&name.as_str()) => Action::Integer,
                Some(kind) => Action::Data(kind),
                None => Action::Data(Kind::Transcendental),
            };
            return Ok((name, action));
        }
        Err(format!("{set} {number}"))
    }

    fn role(&self, i: &Instruction, action: Action, n: usize, count: usize) -> Role {
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
fn is_neutral(name: &str) -> bool {
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
