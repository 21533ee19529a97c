//! LLVM IR, as text or bitcode.

use super::{
    Finding, Kind, Nodes, Report, calls,
    flow::{Action, Flow, Operation, Role, Source, Value},
    memory::{Access, Memory, Target},
    names,
    nodes::SYMBOL,
};
use crate::{
    Error,
    codegen::{c_string, initialize},
};
use llvm_sys::{
    LLVMLinkage, LLVMOpcode, LLVMTypeKind, LLVMValueKind, core::*, debuginfo::*, ir_reader::*,
    prelude::*, target::*,
};
use std::{
    collections::{HashMap, HashSet},
    ffi::{CStr, c_char},
    ptr::null_mut,
    slice,
};

const STORED: Role = Role::Sink("is stored in memory");

/// An owned module in its own context.
struct Module {
    context: LLVMContextRef,
    module: LLVMModuleRef,
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: both are owned; the module goes before its context.
        unsafe {
            if !self.module.is_null() {
                LLVMDisposeModule(self.module);
            }
            LLVMContextDispose(self.context);
        }
    }
}

impl Module {
    fn parse(bytes: &[u8]) -> Result<Self, Error> {
        initialize();
        // SAFETY: the buffer is copied with a NUL after it and becomes the parser's.
        unsafe {
            let context = LLVMContextCreate();
            let start = bytes.as_ptr().cast::<c_char>();
            let buffer =
                LLVMCreateMemoryBufferWithMemoryRangeCopy(start, bytes.len(), c"input".as_ptr());
            let mut owned = Self { context, module: null_mut() };
            let mut text = null_mut();
            if LLVMParseIRInContext2(context, buffer, &mut owned.module, &mut text) != 0 {
                let message = CStr::from_ptr(text).to_string_lossy().into_owned();
                LLVMDisposeMessage(text);
                owned.module = null_mut();
                LLVMDisposeMemoryBuffer(buffer);
                return Err(Error::Llvm { stage: "read LLVM IR", message });
            }
            LLVMDisposeMemoryBuffer(buffer);
            Ok(owned)
        }
    }
}

/// Audits a module of LLVM IR.
pub(super) fn audit(bytes: &[u8]) -> Result<Report, Error> {
    let module = Module::parse(bytes)?;
    let mut walk = Walk::new();
    // SAFETY: every handle stems from the module, which outlives the walk.
    unsafe {
        walk.layout = LLVMGetModuleDataLayout(module.module);
        let mut function = LLVMGetFirstFunction(module.module);
        while !function.is_null() {
            if LLVMIsDeclaration(function) == 0 {
                walk.function(function);
            }
            function = LLVMGetNextFunction(function);
        }
        walk.memory.solve(&mut walk.flow, Some(walk.captured));
        let mut nodes = Nodes::default();
        let global = LLVMGetNamedGlobal(module.module, c_string(SYMBOL).as_ptr());
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

    unsafe fn call(&mut self, i: LLVMValueRef) {
        // SAFETY: as above.
        unsafe {
            let callee = LLVMGetCalledValue(i);
            let count = LLVMGetNumArgOperands(i);
            let arguments: Vec<LLVMValueRef> = (0..count).map(|n| LLVMGetOperand(i, n)).collect();
            let values: Vec<Value> = arguments.iter().map(|a| self.value(*a)).collect();
            let result = self.value(i);
            if !LLVMIsAInlineAsm(callee).is_null() {
                let mut length = 0;
                LLVMGetInlineAsmAsmString(callee, &mut length);
                if length > 0 {
                    self.find(i, Kind::Unknown, "inline assembly".into(), None);
                }
                return self.push(i, "call".into(), Action::None, Vec::new(), vec![result]);
            }
            if LLVMIsAFunction(callee).is_null() {
                let reason = Some("calls an address that is computed".into());
                self.find(i, Kind::UnknownCall, "call".into(), reason);
                arguments.iter().for_each(|a| self.leak(*a));
                self.memory.unknown(result);
                return;
            }
            let symbol = name(callee);
            if LLVMIsDeclaration(callee) == 0 {
                for (n, value) in values.iter().enumerate() {
                    let parameter = self.value(LLVMGetParam(callee, n as u32));
                    self.flow.copy(*value, parameter);
                    self.escape(arguments[n]);
                }
                let returned = self.result(callee);
                self.flow.copy(returned, result);
                return self.push(i, symbol, Action::None, Vec::new(), vec![result]);
            }
            if let Some(intrinsic) = symbol.strip_prefix("llvm.") {
                return self.intrinsic(i, intrinsic, &arguments, &values, result);
            }
            self.flow.set_source(result, Source::Data);
            self.memory.unknown(result);
            let calls_back = calls::calls_back(&symbol);
            if calls_back.is_none() && calls::known(&symbol).is_none_or(|known| known.writes) {
                for argument in &arguments {
                    self.escape(*argument);
                    self.leak(*argument);
                }
            }
            let Some(known) = calls::known(&symbol) else {
                return self.find(i, calls::kind(&symbol), symbol, None);
            };
            let roles = known.arguments.iter().copied().chain(std::iter::repeat(Role::Address));
            let operands: Vec<_> = values.iter().copied().zip(roles).collect();
            for (value, _) in operands.iter().filter(|o| o.1 == Role::Value) {
                self.flow.copy(*value, self.captured);
            }
            self.callback(&arguments, &values, calls_back);
            self.push(i, symbol, Action::None, operands, Vec::new());
        }
    }

    /// A runtime calls functions it is given with the arguments after them.
    unsafe fn callback(
        &mut self,
        arguments: &[LLVMValueRef],
        values: &[Value],
        calls_back: Option<calls::CallsBack>,
    ) {
        // SAFETY: as above.
        unsafe {
            for argument in arguments {
                if LLVMIsAFunction(*argument).is_null() || LLVMIsDeclaration(*argument) != 0 {
                    continue;
                }
                for n in 0..LLVMCountParams(*argument) as usize {
                    let parameter = self.value(LLVMGetParam(*argument, n as u32));
                    match calls_back {
                        Some(c) if n >= c.parameter => {
                            let given = values.get(n - c.parameter + c.argument);
                            given.into_iter().for_each(|v| self.flow.copy(*v, parameter));
                        }
                        Some(_) => {}
                        None => values.iter().skip(3).for_each(|v| self.flow.copy(*v, parameter)),
                    }
                }
            }
        }
    }

    unsafe fn intrinsic(
        &mut self,
        i: LLVMValueRef,
        intrinsic: &str,
        arguments: &[LLVMValueRef],
        values: &[Value],
        result: Value,
    ) {
        // SAFETY: as above.
        unsafe {
            let scalar = !is_vector(LLVMTypeOf(i));
            let Some((action, roles, source)) = intrinsics::meaning(intrinsic, scalar) else {
                return self.find(i, Kind::Unknown, format!("llvm.{intrinsic}"), None);
            };
            self.flow.set_source(result, source);
            let last = roles.last().copied().unwrap_or(Role::Value);
            let roles = roles.iter().copied().chain(std::iter::repeat(last));
            let operands = values.iter().copied().zip(roles).collect();
            if ["memcpy", "memmove"].iter().any(|m| intrinsic.starts_with(m)) {
                arguments.iter().for_each(|a| self.escape(*a));
            }
            if !["lifetime.", "assume"].iter().any(|m| intrinsic.starts_with(m)) {
                arguments.iter().for_each(|a| self.leak(*a));
            }
            self.memory.unknown(result);
            self.push(i, format!("llvm.{intrinsic}"), action, operands, vec![result]);
        }
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

unsafe fn name(value: LLVMValueRef) -> String {
    let mut length = 0;
    // SAFETY: the caller's promise.
    unsafe {
        let start = LLVMGetValueName2(value, &mut length).cast::<u8>();
        String::from_utf8_lossy(slice::from_raw_parts(start, length)).into_owned()
    }
}

unsafe fn is_pointer(ty: LLVMTypeRef) -> bool {
    // SAFETY: the caller's promise.
    unsafe { LLVMGetTypeKind(ty) == LLVMTypeKind::LLVMPointerTypeKind }
}

/// Bytes of a value in memory, where its type says how many.
unsafe fn bytes(layout: LLVMTargetDataRef, ty: LLVMTypeRef) -> i64 {
    // SAFETY: the caller's promise.
    unsafe {
        match LLVMGetTypeKind(ty) {
            // As many as fit: a load of less would miss what is stored.
            LLVMTypeKind::LLVMScalableVectorTypeKind => 256,
            _ => LLVMStoreSizeOfType(layout, ty) as i64,
        }
    }
}

/// Bytes that an address computation adds, if that is known.
unsafe fn offset(layout: LLVMTargetDataRef, gep: LLVMValueRef) -> Option<i64> {
    // SAFETY: the caller's promise.
    unsafe {
        let mut ty = LLVMGetGEPSourceElementType(gep);
        let mut bytes = 0;
        for n in 1..LLVMGetNumOperands(gep) as u32 {
            let index = LLVMGetOperand(gep, n);
            if LLVMIsAConstantInt(index).is_null() {
                return None;
            }
            let index = LLVMConstIntGetSExtValue(index);
            if n > 1 && LLVMGetTypeKind(ty) == LLVMTypeKind::LLVMStructTypeKind {
                bytes += LLVMOffsetOfElement(layout, ty, index as u32) as i64;
                ty = LLVMStructGetTypeAtIndex(ty, index as u32);
                continue;
            }
            if n > 1 {
                ty = LLVMGetElementType(ty);
            }
            if LLVMGetTypeKind(ty) == LLVMTypeKind::LLVMScalableVectorTypeKind {
                return None;
            }
            bytes += index * LLVMABISizeOfType(layout, ty) as i64;
        }
        Some(bytes)
    }
}

/// Whether all calls of a function are in the module: by name, or by a runtime that is given it.
unsafe fn is_called_here_only(function: LLVMValueRef) -> bool {
    use LLVMLinkage::{LLVMInternalLinkage, LLVMPrivateLinkage};
    // SAFETY: the caller's promise.
    unsafe {
        if !matches!(LLVMGetLinkage(function), LLVMInternalLinkage | LLVMPrivateLinkage) {
            return false;
        }
        let mut at = LLVMGetFirstUse(function);
        while !at.is_null() {
            let user = LLVMGetUser(at);
            let calls = !LLVMIsACallInst(user).is_null() && {
                let callee = LLVMGetCalledValue(user);
                let stored =
                    (0..LLVMGetNumArgOperands(user)).any(|n| LLVMGetOperand(user, n) == function);
                let runtime = !LLVMIsAFunction(callee).is_null()
                    && calls::calls_back(&name(callee)).is_some();
                callee == function && !stored || runtime
            };
            if !calls {
                return false;
            }
            at = LLVMGetNextUse(at);
        }
        true
    }
}

unsafe fn is_vector(ty: LLVMTypeRef) -> bool {
    // SAFETY: the caller's promise.
    let kind = unsafe { LLVMGetTypeKind(ty) };
    matches!(kind, LLVMTypeKind::LLVMVectorTypeKind | LLVMTypeKind::LLVMScalableVectorTypeKind)
}

/// File and line, if the module has debug information.
unsafe fn line(i: LLVMValueRef) -> Option<String> {
    // SAFETY: the caller's promise.
    unsafe {
        if LLVMInstructionGetDebugLoc(i).is_null() {
            return None;
        }
        let mut length = 0;
        let file = LLVMGetDebugLocFilename(i, &mut length);
        if file.is_null() {
            return None;
        }
        let file = String::from_utf8_lossy(slice::from_raw_parts(file.cast(), length as usize));
        Some(format!("{file}:{}", LLVMGetDebugLocLine(i)))
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

mod intrinsics {
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
            ],
            VALUE,
            Source::Operands,
        ),
        (
            &["fptosi.sat", "fptoui.sat", "lround", "lrint", "llround", "llrint"],
            VALUE,
            Source::Data,
        ),
        (
            &["masked.load", "masked.gather", "masked.expandload", "vp.load", "vp.gather"],
            &[Role::Address, Role::Condition, Role::Value],
            Source::Data,
        ),
        (
            &["masked.store", "masked.scatter", "masked.compressstore", "vp.store", "vp.scatter"],
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
                "nvvm.read.ptx.sreg.",
                "nvvm.barrier",
                "nvvm.bar.",
                "nvvm.membar",
                "nvvm.annotation",
                "amdgcn.workitem.id",
                "amdgcn.workgroup.id",
                "amdgcn.workgroup.size",
                "amdgcn.dispatch.ptr",
                "amdgcn.implicitarg.ptr",
                "amdgcn.kernarg.segment.ptr",
                "amdgcn.s.barrier",
                "amdgcn.s.waitcnt",
                "amdgcn.sched",
                "spv.thread.id",
                "spv.group.id",
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
            return Some((action, FACTORS, Source::Operands));
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
}
