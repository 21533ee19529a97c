//! SPIR-V binaries.

mod opcodes;

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
    inputs: HashMap<u32, Source>,
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
            inputs: HashMap::new(),
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
            Some(Operand::StorageClass(StorageClass::Input)) => {
                self.inputs.insert(id, Source::Position);
            }
            Some(Operand::StorageClass(StorageClass::PushConstant)) => {
                self.inputs.insert(id, Source::Operands);
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
            Op::Load => match (self.variables.get(&base).copied(), self.inputs.get(&base)) {
                (Some(memory), _) => self.flow.copy(memory, result),
                (None, Some(source)) => self.flow.set_source(result, *source),
                (None, None) => self.flow.set_source(result, Source::Data),
            },
            Op::AccessChain
            | Op::InBoundsAccessChain
            | Op::PtrAccessChain
            | Op::InBoundsPtrAccessChain => {
                if let Some(memory) = self.variables.get(&base).copied() {
                    self.variables.insert(id, memory);
                }
                if let Some(source) = self.inputs.get(&base).copied() {
                    self.inputs.insert(id, source);
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
}
