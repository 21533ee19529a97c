//! LLVM IR, as text or bitcode.

mod call;
mod intrinsics;
mod values;

use values::{bytes, is_called_here_only, is_pointer, is_vector, line, name, offset};

use super::{
    Finding, Kind, Nodes, Report, calls,
    flow::{Action, Flow, Operation, Role, Source, Value},
    memory::{Access, Memory, Target},
    names,
    nodes::SYMBOL,
};
use crate::{
    Error,
    codegen::{LlvmModule, c_string},
};
use llvm_sys::{
    LLVMLinkage, LLVMOpcode, LLVMTypeKind, LLVMValueKind, core::*, debuginfo::*, prelude::*,
    target::*,
};
use std::{
    collections::{HashMap, HashSet},
    ptr::null_mut,
    slice,
};

const STORED: Role = Role::Sink("is stored in memory");

/// Audits a module of LLVM IR.
pub(super) fn audit(bytes: &[u8]) -> Result<Report, Error> {
    let owned = LlvmModule::parse(bytes)?;
    let module = owned.raw();
    let mut walk = Walk::new();
    // SAFETY: every handle stems from the module, which outlives the walk.
    unsafe {
        walk.layout = LLVMGetModuleDataLayout(module);
        let mut function = LLVMGetFirstFunction(module);
        while !function.is_null() {
            if LLVMIsDeclaration(function) == 0 {
                walk.function(function);
            }
            function = LLVMGetNextFunction(function);
        }
        walk.memory.solve(&mut walk.flow, Some(walk.captured));
        let mut nodes = Nodes::default();
        let global = LLVMGetNamedGlobal(module, c_string(SYMBOL).as_ptr());
        if !global.is_null() && !LLVMGetInitializer(global).is_null() {
            let mut length = 0;
            let data = LLVMGetAsString(LLVMGetInitializer(global), &mut length);
            if !data.is_null() {
                nodes = Nodes::of_bytes(slice::from_raw_parts(data.cast(), length));
            }
        }
        let mut findings = walk.findings;
        findings.extend(walk.flow.judge());
        let mut report = Report { functions: walk.flow.functions, findings, ..Report::default() };
        nodes.attribute(&mut report);
        Ok(report)
    }
}

struct Walk {
    flow: Flow,
    layout: LLVMTargetDataRef,
    memory: Memory,
    findings: Vec<Finding>,
    values: HashMap<LLVMValueRef, Value>,
    results: HashMap<LLVMValueRef, Value>,
    memories: HashMap<LLVMValueRef, Value>,
    escapes: HashSet<LLVMValueRef>,
    captured: Value,
    at: usize,
}

/// All functions below take handles of a live module.
impl Walk {
    fn new() -> Self {
        let mut flow = Flow::default();
        let captured = flow.value(Source::Operands);
        Self {
            flow,
            layout: null_mut(),
            memory: Memory::default(),
            findings: Vec::new(),
            values: HashMap::new(),
            results: HashMap::new(),
            memories: HashMap::new(),
            escapes: HashSet::new(),
            captured,
            at: 0,
        }
    }

    unsafe fn function(&mut self, function: LLVMValueRef) {
        // SAFETY: the caller's promise, here and in the other methods.
        unsafe {
            if !is_called_here_only(function) {
                for n in 0..LLVMCountParams(function) {
                    let parameter = self.value(LLVMGetParam(function, n));
                    self.memory.unknown(parameter);
                }
            }
            self.at = self.flow.function(name(function));
            let mut block = LLVMGetFirstBasicBlock(function);
            while !block.is_null() {
                let mut instruction = LLVMGetFirstInstruction(block);
                while !instruction.is_null() {
                    self.instruction(function, instruction);
                    instruction = LLVMGetNextInstruction(instruction);
                }
                block = LLVMGetNextBasicBlock(block);
            }
        }
    }

    unsafe fn value(&mut self, value: LLVMValueRef) -> Value {
        if let Some(known) = self.values.get(&value) {
            return *known;
        }
        // SAFETY: as above.
        let source = unsafe {
            match LLVMGetValueKind(value) {
                LLVMValueKind::LLVMConstantIntValueKind
                    if LLVMGetIntTypeWidth(LLVMTypeOf(value)) <= 64 =>
                {
                    Source::Constant(LLVMConstIntGetSExtValue(value).into())
                }
                LLVMValueKind::LLVMConstantAggregateZeroValueKind => Source::Constant(0),
                _ if LLVMIsConstant(value) != 0 => Source::Fixed,
                _ => Source::Operands,
            }
        };
        let number = self.flow.value(source);
        self.values.insert(value, number);
        number
    }

    /// The stack object that a pointer points into, if it is one for sure.
    unsafe fn object(&self, pointer: LLVMValueRef) -> Option<LLVMValueRef> {
        let mut at = pointer;
        // SAFETY: as above.
        unsafe {
            loop {
                if LLVMIsAInstruction(at).is_null() {
                    return None;
                }
                at = match LLVMGetInstructionOpcode(at) {
                    LLVMOpcode::LLVMAlloca => return Some(at),
                    LLVMOpcode::LLVMGetElementPtr
                    | LLVMOpcode::LLVMBitCast
                    | LLVMOpcode::LLVMAddrSpaceCast => LLVMGetOperand(at, 0),
                    _ => return None,
                };
            }
        }
    }

    fn contents(&mut self, object: LLVMValueRef) -> Value {
        if let Some(value) = self.memories.get(&object) {
            return *value;
        }
        let value = self.flow.value(Source::Operands);
        self.memories.insert(object, value);
        value
    }

    /// The address of an object is known elsewhere.
    unsafe fn escape(&mut self, pointer: LLVMValueRef) {
        // SAFETY: as above.
        if let Some(object) = unsafe { self.object(pointer) }
            && self.escapes.insert(object)
        {
            let memory = self.contents(object);
            self.flow.copy(memory, self.captured);
            self.flow.copy(self.captured, memory);
        }
    }

    unsafe fn instruction(&mut self, function: LLVMValueRef, i: LLVMValueRef) {
        use LLVMOpcode::*;
        // SAFETY: as above.
        unsafe {
            let opcode = LLVMGetInstructionOpcode(i);
            if opcode == LLVMCall || opcode == LLVMInvoke {
                return self.call(i);
            }
            let vector = is_vector(LLVMTypeOf(i));
            let (action, role) = match opcode {
                LLVMFMul => (Action::Data(Kind::Multiply), Role::Factor),
                LLVMFDiv | LLVMFRem => (Action::Data(Kind::Divide), Role::Factor),
                LLVMMul | LLVMUDiv | LLVMSDiv | LLVMURem | LLVMSRem if vector => {
                    (Action::Data(Kind::VectorIntegerMultiply), Role::Factor)
                }
                LLVMMul => (Action::Integer, Role::Factor),
                LLVMUDiv | LLVMSDiv | LLVMURem | LLVMSRem => (Action::Integer, Role::Dividend),
                LLVMICmp | LLVMFCmp => (Action::None, Role::Condition),
                LLVMSIToFP | LLVMUIToFP => (Action::None, Role::Sink("is converted to a float")),
                LLVMLoad | LLVMIndirectBr | LLVMAlloca => (Action::None, Role::Address),
                LLVMStore | LLVMAtomicRMW | LLVMAtomicCmpXchg => (Action::None, STORED),
                LLVMSwitch | LLVMBr => (Action::None, Role::Condition),
                LLVMRet => (Action::None, Role::Sink("is returned")),
                _ => (Action::None, Role::Value),
            };
            let source = match opcode {
                LLVMFPToSI | LLVMFPToUI | LLVMAtomicRMW | LLVMAtomicCmpXchg => Source::Data,
                LLVMAlloca => Source::Fixed,
                _ => Source::Operands,
            };
            let result = self.value(i);
            self.flow.set_source(result, source);
            let mut operands = Vec::new();
            for n in 0..LLVMGetNumOperands(i).max(0) as u32 {
                let operand = LLVMGetOperand(i, n);
                if LLVMValueIsBasicBlock(operand) != 0 {
                    continue;
                }
                let mut role = role;
                match (opcode, n) {
                    (LLVMUDiv | LLVMSDiv | LLVMURem | LLVMSRem, 1) if !vector => {
                        role = Role::Factor
                    }
                    (LLVMSelect, 0) => role = Role::Condition,
                    (LLVMStore, 1) | (LLVMAtomicRMW | LLVMAtomicCmpXchg, 0) => role = Role::Address,
                    (LLVMSwitch, 1..) => continue,
                    _ => {}
                }
                let value = self.value(operand);
                if opcode == LLVMStore && n == 0 {
                    role = self.store(operand, value, LLVMGetOperand(i, 1));
                } else if opcode == LLVMPtrToInt {
                    self.escape(operand);
                } else if opcode == LLVMRet {
                    role = self.returns(function, value, operand);
                }
                operands.push((value, role));
            }
            self.follow(i, opcode, result);
            if opcode == LLVMPHI {
                for n in 0..LLVMCountIncoming(i) {
                    let incoming = self.value(LLVMGetIncomingValue(i, n));
                    self.flow.copy(incoming, result);
                }
                operands.clear();
            }
            if opcode == LLVMLoad {
                self.load(i, result);
            }
            self.push(i, opcode_name(opcode), action, operands, vec![result]);
        }
    }

    /// What storing a value means, by where it goes.
    unsafe fn store(&mut self, stored: LLVMValueRef, value: Value, to: LLVMValueRef) -> Role {
        // SAFETY: as above.
        unsafe {
            self.escape(stored);
            let Some(object) = self.object(to) else { return STORED };
            let memory = self.contents(object);
            self.flow.copy(value, memory);
            // Its place is chosen by the address; the value is followed through the object.
            Role::Address
        }
    }

    unsafe fn load(&mut self, i: LLVMValueRef, result: Value) {
        // SAFETY: as above. What other memory holds is known once all pointers are followed.
        if let Some(object) = unsafe { self.object(LLVMGetOperand(i, 0)) } {
            let memory = self.contents(object);
            self.flow.copy(memory, result);
        }
    }

    /// What an instruction does with addresses of objects.
    unsafe fn follow(&mut self, i: LLVMValueRef, opcode: LLVMOpcode, result: Value) {
        use LLVMOpcode::*;
        // SAFETY: as above.
        unsafe {
            let operand = |n| LLVMGetOperand(i, n);
            let ty = LLVMTypeOf(i);
            let mut known = true;
            match opcode {
                LLVMAlloca => self.memory.address(result, Target::Object(result, 0)),
                LLVMGetElementPtr => {
                    let base = self.value(operand(0));
                    match offset(self.layout, i) {
                        Some(bytes) => self.memory.follow(base, result, bytes),
                        None => {
                            self.memory.leak(base, 0);
                            known = false;
                        }
                    }
                }
                LLVMLoad => {
                    let bytes = bytes(self.layout, ty);
                    let base = self.value(operand(0));
                    // What is loaded from the function's own objects is known already.
                    let value = match self.object(operand(0)) {
                        Some(_) => self.flow.value(Source::Operands),
                        None => result,
                    };
                    let pointer = is_pointer(ty).then_some(result);
                    self.memory.load(Access { base, offset: 0, bytes, value, pointer });
                }
                LLVMStore => {
                    let bytes = bytes(self.layout, LLVMTypeOf(operand(0)));
                    let (value, base) = (self.value(operand(0)), self.value(operand(1)));
                    let pointer = is_pointer(LLVMTypeOf(operand(0))).then_some(value);
                    self.memory.store(Access { base, offset: 0, bytes, value, pointer });
                }
                LLVMSelect => {
                    for n in 1..3 {
                        let from = self.value(operand(n));
                        self.memory.follow(from, result, 0);
                    }
                }
                LLVMFreeze | LLVMAddrSpaceCast | LLVMBitCast => {
                    let from = self.value(operand(0));
                    self.memory.follow(from, result, 0);
                }
                LLVMPHI | LLVMICmp => {}
                _ => {
                    known = false;
                    for n in 0..LLVMGetNumOperands(i).max(0) as u32 {
                        self.leak(operand(n));
                    }
                }
            }
            if !known {
                self.memory.unknown(result);
            }
        }
    }

    /// An address goes where it is not followed.
    unsafe fn leak(&mut self, operand: LLVMValueRef) {
        // SAFETY: as above.
        unsafe {
            if LLVMValueIsBasicBlock(operand) == 0 && is_pointer(LLVMTypeOf(operand)) {
                let value = self.value(operand);
                self.memory.leak(value, 0);
            }
        }
    }

    unsafe fn returns(
        &mut self,
        function: LLVMValueRef,
        value: Value,
        operand: LLVMValueRef,
    ) -> Role {
        let result = self.result(function);
        self.flow.copy(value, result);
        // SAFETY: as above.
        unsafe {
            self.escape(operand);
            let local = matches!(
                LLVMGetLinkage(function),
                LLVMLinkage::LLVMInternalLinkage | LLVMLinkage::LLVMPrivateLinkage
            );
            let pointer = LLVMGetTypeKind(LLVMTypeOf(operand)) == LLVMTypeKind::LLVMPointerTypeKind;
            if local || pointer { Role::Address } else { Role::Sink("is returned") }
        }
    }

    fn result(&mut self, function: LLVMValueRef) -> Value {
        if let Some(value) = self.results.get(&function) {
            return *value;
        }
        let value = self.flow.value(Source::Operands);
        self.results.insert(function, value);
        value
    }

    unsafe fn push(
        &mut self,
        i: LLVMValueRef,
        name: String,
        action: Action,
        operands: Vec<(Value, Role)>,
        results: Vec<Value>,
    ) {
        let place = format!("instruction {}", self.flow.functions[self.at].operations);
        // SAFETY: as above.
        let source = if action == Action::None { None } else { unsafe { line(i) } };
        self.flow.push(Operation {
            function: self.at,
            name,
            place,
            source,
            action,
            operands,
            results,
        });
    }

    unsafe fn find(&mut self, i: LLVMValueRef, kind: Kind, what: String, reason: Option<String>) {
        let function = &mut self.flow.functions[self.at];
        let place = format!("instruction {}", function.operations);
        function.operations += 1;
        // SAFETY: as above.
        let source = unsafe { line(i) };
        self.findings.push(Finding {
            kind,
            function: function.name.clone(),
            what,
            place,
            source,
            reason,
        });
    }
}

/// What an intrinsic on vectors or scalars is, by its name without `llvm.`.
pub(super) fn intrinsic(name: &str) -> Option<Action> {
    // The dialect separates words by points or underscores.
    let dotted = name.replace('_', ".");
    [name.to_owned(), format!("{name}."), dotted.clone(), format!("{dotted}.")]
        .iter()
        .find_map(|n| intrinsics::meaning(n, true))
        .map(|m| m.0)
}

/// The name of an instruction as LLVM's text has it.
fn opcode_name(opcode: LLVMOpcode) -> String {
    format!("{opcode:?}").trim_start_matches("LLVM").to_ascii_lowercase()
}
