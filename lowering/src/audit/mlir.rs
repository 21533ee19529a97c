//! MLIR, as text or bytecode.

use super::{
    Finding, Kind, Report, calls,
    flow::{Action, Flow, Operation, Role, Source, Value},
    names,
};
use crate::Error;
use melior::{
    Context,
    dialect::DialectRegistry,
    utility::{register_all_dialects, register_all_llvm_translations},
};
use mlir_sys::*;
use std::{
    collections::{BTreeSet, HashMap},
    ffi::c_void,
};

const STORED: Role = Role::Sink("is stored in memory");
const CONVERTED: Role = Role::Sink("is converted to a float");

/// Text that MLIR prints through a callback.
fn printed(print: impl FnOnce(MlirStringCallback, *mut c_void)) -> String {
    unsafe extern "C" fn append(text: MlirStringRef, out: *mut c_void) {
        // SAFETY: the pointer is the vector below, the text as long as it says.
        unsafe {
            let bytes = std::slice::from_raw_parts(text.data.cast::<u8>(), text.length);
            (*out.cast::<Vec<u8>>()).extend_from_slice(bytes);
        }
    }
    let mut out: Vec<u8> = Vec::new();
    print(Some(append), (&raw mut out).cast());
    String::from_utf8_lossy(&out).into_owned()
}

fn text(string: MlirStringRef) -> String {
    if string.data.is_null() {
        return String::new();
    }
    // SAFETY: a string reference of a live context.
    let bytes = unsafe { std::slice::from_raw_parts(string.data.cast::<u8>(), string.length) };
    String::from_utf8_lossy(bytes).into_owned()
}

/// Audits a module of MLIR.
pub(super) fn audit(bytes: &[u8]) -> Result<Report, Error> {
    let registry = DialectRegistry::new();
    register_all_dialects(&registry);
    let context = Context::new_with_registry(&registry, false);
    context.set_allow_unregistered_dialects(true);
    register_all_llvm_translations(&context);
    let diagnostics = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let sink = diagnostics.clone();
    context.attach_diagnostic_handler(move |d| {
        sink.borrow_mut().push(format!("{}: {d}", d.location()));
        true
    });
    // A buffer with a NUL after it, as the parser wants.
    let mut buffer = bytes.to_vec();
    buffer.push(0);
    // SAFETY: the buffer outlives the parse, the context the module.
    unsafe {
        let source = MlirStringRef { data: buffer.as_ptr().cast(), length: bytes.len() };
        let module = mlirModuleCreateParse(context.to_raw(), source);
        if module.ptr.is_null() {
            let diagnostics = diagnostics.borrow().join("\n");
            return Err(Error::Mlir { stage: "parse", diagnostics });
        }
        let mut walk = Walk::default();
        let top = mlirModuleGetOperation(module);
        walk.declare(top);
        walk.operation(top);
        mlirModuleDestroy(module);
        let mut findings = walk.findings;
        findings.extend(walk.flow.judge());
        let mut functions = walk.flow.functions;
        functions.retain(|f| f.operations > 0);
        Ok(Report { functions, findings, ..Report::default() })
    }
}

#[derive(Default)]
struct Walk {
    flow: Flow,
    findings: Vec<Finding>,
    values: HashMap<usize, Value>,
    // Entry block and its visibility, by symbol.
    functions: HashMap<String, MlirOperation>,
    returns: HashMap<String, Vec<Value>>,
    // Values of stack objects, by the value of their address.
    objects: HashMap<usize, Value>,
    stack: Vec<usize>,
}

/// Dialects none of whose operations computes a product, unless its name says so.
const NEUTRAL: &[&str] = &[
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
        ],
    ),
    (Kind::Transcendental, &["complex.exp", "complex.log", "complex.pow", "math.absc"]),
];

fn begins(name: &str, stems: &[&str]) -> bool {
    stems.iter().any(|s| name.starts_with(s))
}

/// All functions below take handles of a live module.
impl Walk {
    unsafe fn value(&mut self, value: MlirValue) -> Value {
        *self.values.entry(value.ptr as usize).or_insert_with(|| self.flow.value(Source::Operands))
    }

    unsafe fn regions(op: MlirOperation) -> Vec<Vec<MlirBlock>> {
        // SAFETY: the caller's promise, here and in all methods.
        unsafe {
            (0..mlirOperationGetNumRegions(op))
                .map(|r| {
                    let mut blocks = Vec::new();
                    let mut block = mlirRegionGetFirstBlock(mlirOperationGetRegion(op, r));
                    while !block.ptr.is_null() {
                        blocks.push(block);
                        block = mlirBlockGetNextInRegion(block);
                    }
                    blocks
                })
                .collect()
        }
    }

    unsafe fn operations(block: MlirBlock) -> Vec<MlirOperation> {
        let mut out = Vec::new();
        // SAFETY: as above.
        unsafe {
            let mut op = mlirBlockGetFirstOperation(block);
            while !op.ptr.is_null() {
                out.push(op);
                op = mlirOperationGetNextInBlock(op);
            }
        }
        out
    }

    /// Finds the functions, before they are called.
    unsafe fn declare(&mut self, op: MlirOperation) {
        // SAFETY: as above.
        unsafe {
            let name = name(op);
            if is_function(&name)
                && let Some(symbol) = string(op, "sym_name")
            {
                self.functions.insert(symbol, op);
            }
            for inner in Self::regions(op).into_iter().flatten().flat_map(|b| Self::operations(b)) {
                if !is_function(&name) {
                    self.declare(inner);
                }
            }
        }
    }

    unsafe fn operation(&mut self, op: MlirOperation) {
        // SAFETY: as above.
        unsafe {
            let name = name(op);
            let outermost = self.stack.is_empty();
            let holds = is_function(&name) || outermost;
            if holds {
                let symbol = string(op, "sym_name").unwrap_or_else(|| "module".into());
                let at = self.flow.function(symbol);
                self.stack.push(at);
            }
            if !is_function(&name) && !outermost {
                self.judge(op, &name);
            }
            for block in Self::regions(op).into_iter().flatten() {
                for inner in Self::operations(block) {
                    self.operation(inner);
                }
            }
            if holds {
                self.stack.pop();
            }
        }
    }

    unsafe fn operands(&mut self, op: MlirOperation) -> Vec<MlirValue> {
        // SAFETY: as above.
        unsafe {
            (0..mlirOperationGetNumOperands(op)).map(|n| mlirOperationGetOperand(op, n)).collect()
        }
    }

    unsafe fn results(&mut self, op: MlirOperation) -> Vec<MlirValue> {
        // SAFETY: as above.
        unsafe {
            (0..mlirOperationGetNumResults(op)).map(|n| mlirOperationGetResult(op, n)).collect()
        }
    }

    unsafe fn judge(&mut self, op: MlirOperation, name: &str) {
        // SAFETY: as above.
        unsafe {
            let operands = self.operands(op);
            let results = self.results(op);
            let numbers: Vec<Value> = results.iter().map(|r| self.value(*r)).collect();
            if is_call(name) {
                return self.call(op, name, &operands, &numbers);
            }
            let Some(action) = action(op, name, &operands) else {
                return self.find(op, Kind::Unknown, name.into());
            };
            if name == "llvm.inline_asm" && string(op, "asm_string").is_some_and(|s| !s.is_empty())
            {
                return self.find(op, Kind::Unknown, "inline assembly".into());
            }
            let mut roles = Vec::new();
            for (n, operand) in operands.iter().enumerate() {
                let value = self.value(*operand);
                roles.push((value, role(name, action, n, *operand)));
            }
            for number in &numbers {
                self.flow.set_source(*number, source(op, name));
            }
            self.memory(name, &operands, &results, &mut roles);
            let regions = Self::regions(op);
            let structured = !regions.is_empty();
            let successors = mlirOperationGetNumSuccessors(op);
            if structured {
                self.enter_regions(name, &operands, &results, &regions, &mut roles);
            } else if successors > 0 {
                self.branch(op, name, &operands, &mut roles);
            } else if is_terminator(name) {
                self.terminate(op, name, &operands, &mut roles);
            }
            let results = if structured { Vec::new() } else { numbers };
            let (place, source) = location(op);
            let function = *self.stack.last().unwrap_or(&0);
            let source = if action == Action::None { None } else { source };
            let name = name.to_owned();
            self.flow.push(Operation {
                function,
                name,
                place,
                source,
                action,
                operands: roles,
                results,
            });
        }
    }

    /// Follows values through stack objects whose address is only loaded from and stored to.
    unsafe fn memory(
        &mut self,
        name: &str,
        operands: &[MlirValue],
        results: &[MlirValue],
        roles: &mut [(Value, Role)],
    ) {
        // SAFETY: as above.
        unsafe {
            match name {
                "llvm.alloca" | "memref.alloca" => {
                    let memory = self.flow.value(Source::Operands);
                    self.objects.extend(results.iter().map(|r| (r.ptr as usize, memory)));
                }
                "llvm.store" | "memref.store" => {
                    if let Some(memory) = self.objects.get(&(operands[1].ptr as usize)) {
                        self.flow.copy(roles[0].0, *memory);
                        // Loads from elsewhere may see it too, through another pointer.
                        if self.only_accessed(operands[1]) {
                            roles[0].1 = Role::Address;
                        }
                    }
                }
                "llvm.load" | "memref.load" => {
                    if let Some(memory) = self.objects.get(&(operands[0].ptr as usize)).copied() {
                        let result = self.value(results[0]);
                        self.flow.copy(memory, result);
                        self.flow.set_source(result, Source::Operands);
                    }
                }
                _ => {}
            }
        }
    }

    unsafe fn only_accessed(&self, address: MlirValue) -> bool {
        // SAFETY: as above.
        unsafe {
            let mut used = mlirValueGetFirstUse(address);
            while !mlirOpOperandIsNull(used) {
                let owner = name(mlirOpOperandGetOwner(used));
                let number = mlirOpOperandGetOperandNumber(used);
                let accesses = match owner.as_str() {
                    "llvm.load" | "memref.load" => number == 0,
                    "llvm.store" | "memref.store" => number == 1,
                    _ => false,
                };
                if !accesses {
                    return false;
                }
                used = mlirOpOperandGetNextUse(used);
            }
            true
        }
    }

    /// An operand of an operation with regions may come out as any result or argument of its type.
    unsafe fn enter_regions(
        &mut self,
        name: &str,
        operands: &[MlirValue],
        results: &[MlirValue],
        regions: &[Vec<MlirBlock>],
        roles: &mut [(Value, Role)],
    ) {
        // SAFETY: as above.
        unsafe {
            let mut targets: Vec<MlirValue> = results.to_vec();
            for block in regions.iter().filter_map(|r| r.first()) {
                for n in 0..mlirBlockGetNumArguments(*block) {
                    targets.push(mlirBlockGetArgument(*block, n));
                }
            }
            for (operand, (value, role)) in operands.iter().zip(roles.iter_mut()) {
                for target in &targets {
                    if mlirTypeEqual(mlirValueGetType(*operand), mlirValueGetType(*target)) {
                        let target = self.value(*target);
                        self.flow.copy(*value, target);
                    }
                }
                if *role == Role::Value {
                    *role = Role::Address;
                }
            }
            // What structured operations hand their bodies are elements.
            if begins(name, &["linalg.", "tensor.", "vector.", "bufferization."]) {
                for block in regions.iter().filter_map(|r| r.first()) {
                    for n in 0..mlirBlockGetNumArguments(*block) {
                        let argument = mlirBlockGetArgument(*block, n);
                        if !mlirTypeIsAIndex(mlirValueGetType(argument)) {
                            let value = self.value(argument);
                            self.flow.set_source(value, Source::Data);
                        }
                    }
                }
            }
        }
    }

    /// Operands of a branch become arguments of the blocks it goes to.
    unsafe fn branch(
        &mut self,
        op: MlirOperation,
        name: &str,
        operands: &[MlirValue],
        roles: &mut [(Value, Role)],
    ) {
        let first = usize::from(!matches!(name, "cf.br" | "llvm.br" | "spirv.Branch"));
        // SAFETY: as above.
        unsafe {
            for s in 0..mlirOperationGetNumSuccessors(op) {
                let block = mlirOperationGetSuccessor(op, s);
                for n in 0..mlirBlockGetNumArguments(block) {
                    let argument = mlirBlockGetArgument(block, n);
                    let target = self.value(argument);
                    for (operand, (value, _)) in operands.iter().zip(roles.iter()).skip(first) {
                        if mlirTypeEqual(mlirValueGetType(*operand), mlirValueGetType(argument)) {
                            self.flow.copy(*value, target);
                        }
                    }
                }
            }
        }
        for (n, (_, role)) in roles.iter_mut().enumerate() {
            *role = if n < first { Role::Condition } else { Role::Address };
        }
    }

    /// What a region yields comes out of the operation around it, or enters it again.
    unsafe fn terminate(
        &mut self,
        op: MlirOperation,
        name: &str,
        operands: &[MlirValue],
        roles: &mut [(Value, Role)],
    ) {
        // SAFETY: as above.
        unsafe {
            let parent = mlirOperationGetParentOperation(op);
            let parent_name = self::name(parent);
            let condition = usize::from(matches!(name, "scf.condition"));
            if is_function(&parent_name) {
                let symbol = string(parent, "sym_name").unwrap_or_default();
                let private = string(parent, "sym_visibility").is_some_and(|v| v == "private");
                for (n, (value, role)) in roles.iter_mut().enumerate() {
                    let returned = self.returns.entry(symbol.clone()).or_default();
                    while returned.len() <= n {
                        returned.push(self.flow.value(Source::Operands));
                    }
                    self.flow.copy(*value, returned[n]);
                    let ty = printed(|f, d| mlirTypePrint(mlirValueGetType(operands[n]), f, d));
                    let address = ty == "index" || ty.starts_with("!llvm.ptr");
                    *role = match private || address {
                        true => Role::Address,
                        false => Role::Sink("is returned"),
                    };
                }
                return;
            }
            let mut targets = self.results(parent);
            for block in Self::regions(parent).iter().filter_map(|r| r.first()) {
                for n in 0..mlirBlockGetNumArguments(*block) {
                    targets.push(mlirBlockGetArgument(*block, n));
                }
            }
            let stores =
                begins(&parent_name, &["linalg.", "tensor.generate", "memref.generic_atomic"]);
            for (n, (value, role)) in roles.iter_mut().enumerate() {
                for target in &targets {
                    if mlirTypeEqual(mlirValueGetType(operands[n]), mlirValueGetType(*target)) {
                        let target = self.value(*target);
                        self.flow.copy(*value, target);
                    }
                }
                *role = match () {
                    _ if n < condition => Role::Condition,
                    _ if stores => Role::Sink("becomes an element of a tensor"),
                    _ => Role::Address,
                };
            }
        }
    }

    unsafe fn call(
        &mut self,
        op: MlirOperation,
        name: &str,
        operands: &[MlirValue],
        results: &[Value],
    ) {
        // SAFETY: as above.
        unsafe {
            let symbol = ["callee", "kernel"].iter().find_map(|a| symbol(op, a));
            let values: Vec<Value> = operands.iter().map(|o| self.value(*o)).collect();
            let Some(symbol) = symbol else {
                return self.find(op, Kind::UnknownCall, name.into());
            };
            let callee = self.functions.get(&symbol).copied();
            let body =
                callee.and_then(|c| Self::regions(c).first().and_then(|r| r.first().copied()));
            let Some(block) = body else {
                let Some(known) = calls::known(&symbol) else {
                    return self.find(op, calls::kind(&symbol), symbol);
                };
                let roles = known.arguments.iter().copied().chain(std::iter::repeat(Role::Address));
                let (function, place) = (*self.stack.last().unwrap_or(&0), location(op).0);
                let operands = values.into_iter().zip(roles).collect();
                let (action, source, results) = (Action::None, None, results.to_vec());
                results.iter().for_each(|r| self.flow.set_source(*r, Source::Data));
                self.flow.push(Operation {
                    function,
                    name: symbol,
                    place,
                    source,
                    action,
                    operands,
                    results,
                });
                return;
            };
            let parameters = mlirBlockGetNumArguments(block) as usize;
            // Sizes of a launch come before the kernel's operands.
            let skipped = operands.len().saturating_sub(parameters);
            for n in 0..parameters.min(operands.len()) {
                let parameter = self.value(mlirBlockGetArgument(block, n as isize));
                self.flow.copy(values[n + skipped], parameter);
            }
            for (n, result) in results.iter().enumerate() {
                let returned = self.returns.entry(symbol.clone()).or_default();
                while returned.len() <= n {
                    returned.push(self.flow.value(Source::Operands));
                }
                self.flow.copy(returned[n], *result);
            }
            let function = *self.stack.last().unwrap_or(&0);
            self.flow.functions[function].operations += 1;
        }
    }

    unsafe fn find(&mut self, op: MlirOperation, kind: Kind, what: String) {
        // SAFETY: as above.
        let (place, source) = unsafe { location(op) };
        let function = &mut self.flow.functions[*self.stack.last().unwrap_or(&0)];
        function.operations += 1;
        let function = function.name.clone();
        self.findings.push(Finding { kind, function, what, place, source, reason: None });
    }
}

fn is_function(name: &str) -> bool {
    matches!(
        name,
        "func.func" | "llvm.func" | "gpu.func" | "spirv.func" | "emitc.func" | "ml_program.func"
    )
}

fn is_call(name: &str) -> bool {
    matches!(
        name,
        "func.call"
            | "func.call_indirect"
            | "llvm.call"
            | "llvm.invoke"
            | "gpu.launch_func"
            | "spirv.FunctionCall"
            | "emitc.call"
            | "emitc.call_opaque"
    )
}

fn is_terminator(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    matches!(
        last,
        "return"
            | "yield"
            | "condition"
            | "terminator"
            | "reduce"
            | "ReturnValue"
            | "mlir.yield"
            | "in_parallel"
    ) || name.ends_with("yield")
}

unsafe fn name(op: MlirOperation) -> String {
    // SAFETY: the caller's promise.
    unsafe { text(mlirIdentifierStr(mlirOperationGetName(op))) }
}

/// A string attribute.
unsafe fn string(op: MlirOperation, name: &str) -> Option<String> {
    // SAFETY: the caller's promise.
    unsafe {
        let key = MlirStringRef { data: name.as_ptr().cast(), length: name.len() };
        let attribute = mlirOperationGetAttributeByName(op, key);
        (!attribute.ptr.is_null() && mlirAttributeIsAString(attribute))
            .then(|| text(mlirStringAttrGetValue(attribute)))
    }
}

/// The last name of a symbol attribute.
unsafe fn symbol(op: MlirOperation, name: &str) -> Option<String> {
    // SAFETY: the caller's promise.
    unsafe {
        let key = MlirStringRef { data: name.as_ptr().cast(), length: name.len() };
        let attribute = mlirOperationGetAttributeByName(op, key);
        if attribute.ptr.is_null() {
            return None;
        }
        if mlirAttributeIsAFlatSymbolRef(attribute) {
            return Some(text(mlirFlatSymbolRefAttrGetValue(attribute)));
        }
        mlirAttributeIsASymbolRef(attribute)
            .then(|| text(mlirSymbolRefAttrGetLeafReference(attribute)))
    }
}

/// Place in the text and origin of an operation.
unsafe fn location(op: MlirOperation) -> (String, Option<String>) {
    // SAFETY: the caller's promise.
    let text = printed(|f, d| unsafe { mlirLocationPrint(mlirOperationGetLocation(op), f, d) });
    let inner = text.trim_start_matches("loc(").trim_end_matches(')');
    let in_buffer = inner.strip_prefix("\"-\":").or_else(|| inner.strip_prefix("-:"));
    if let Some(line) = in_buffer {
        return (format!("line {line}"), None);
    }
    let origins: BTreeSet<&str> = inner.split('"').skip(1).step_by(2).collect();
    let origins: Vec<&str> = origins.into_iter().filter(|o| !o.is_empty()).collect();
    (inner.to_owned(), (!origins.is_empty()).then(|| origins.join(", ")))
}

/// What an operation is; `None` if it is not known.
unsafe fn action(op: MlirOperation, name: &str, operands: &[MlirValue]) -> Option<Action> {
    let (dialect, rest) = name.split_once('.').unwrap_or((name, ""));
    // Piecewise affine operations multiply nothing by their definition.
    if dialect == "pam" {
        return Some(Action::None);
    }
    if !NEUTRAL.contains(&dialect) {
        return None;
    }
    if INTEGER.contains(&name) {
        // SAFETY: the caller's promise.
        let scalar = operands.iter().all(|o| unsafe {
            let ty = mlirValueGetType(*o);
            // Lanes of type index are positions, followed like one.
            mlirTypeIsAInteger(ty) || is_index(ty)
        });
        return Some(match scalar {
            true => Action::Integer,
            false => Action::Data(Kind::VectorIntegerMultiply),
        });
    }
    if let Some((kind, _)) = DATA.iter().find(|(_, names)| names.contains(&name)) {
        return Some(Action::Data(*kind));
    }
    // A map of indices multiplies by constants.
    if begins(name, &["affine.apply", "affine.min", "affine.max"]) {
        // SAFETY: the caller's promise.
        let map = unsafe { printed(|f, d| mlirOperationPrint(op, f, d)) };
        let map = map.split("affine_map<").nth(1).unwrap_or(&map).split('>').nth(1).unwrap_or(&map);
        let multiplies = ["*", "div", "mod"].iter().any(|w| map.contains(w)) || !map.contains('(');
        return Some(if multiplies { Action::Integer } else { Action::None });
    }
    let multiplying_dialect = matches!(
        dialect,
        "arith"
            | "math"
            | "vector"
            | "linalg"
            | "llvm"
            | "spirv"
            | "tosa"
            | "nvvm"
            | "rocdl"
            | "gpu"
            | "complex"
            | "nvgpu"
            | "amdgpu"
            | "arm_neon"
            | "arm_sve"
            | "arm_sme"
            | "x86vector"
            | "amx"
            | "affine"
            | "xegpu"
            | "xevm"
            | "emitc"
            | "sparse_tensor"
            | "x86"
    );
    if multiplying_dialect {
        if let Some(kind) = names::kind(rest) {
            return Some(Action::Data(kind));
        }
        // SAFETY: the caller's promise.
        if unsafe { reduces_by_product(op, name) } {
            return Some(Action::Data(Kind::Multiply));
        }
        if dialect == "llvm" && (rest.starts_with("intr.") || rest == "call_intrinsic") {
            // SAFETY: the caller's promise.
            let intrinsic =
                unsafe { string(op, "intrin") }.unwrap_or_else(|| format!("llvm.{}", &rest[5..]));
            return super::llvm_ir::intrinsic(intrinsic.trim_start_matches("llvm."));
        }
    }
    Some(Action::None)
}

/// Whether a reduction or scan combines by multiplication.
unsafe fn reduces_by_product(op: MlirOperation, name: &str) -> bool {
    let combines = begins(
        name,
        &[
            "vector.reduction",
            "vector.multi_reduction",
            "vector.scan",
            "gpu.all_reduce",
            "gpu.subgroup_reduce",
            "tosa.reduce_product",
            "memref.atomic_rmw",
        ],
    );
    if name == "tosa.reduce_product" {
        return true;
    }
    // SAFETY: the caller's promise.
    combines
        && unsafe { printed(|f, d| mlirOperationPrint(op, f, d)) }.split('%').next().is_some_and(
            |_| {
                // SAFETY: the caller's promise.
                let text = unsafe { printed(|f, d| mlirOperationPrint(op, f, d)) };
                ["<mul>", " mul ", "mulf", "muli", "<mul,"].iter().any(|w| text.contains(w))
            },
        )
}

/// Whether a type is that of positions, or of vectors of them.
unsafe fn is_index(ty: MlirType) -> bool {
    // SAFETY: the caller's promise.
    unsafe {
        mlirTypeIsAIndex(ty)
            || mlirTypeIsAVector(ty) && mlirTypeIsAIndex(mlirShapedTypeGetElementType(ty))
    }
}

/// What an operation does with an operand.
unsafe fn role(name: &str, action: Action, n: usize, operand: MlirValue) -> Role {
    let last = name.rsplit('.').next().unwrap_or(name);
    match action {
        Action::Data(_) => return Role::Factor,
        Action::Integer if name.starts_with("affine.") => return Role::Dividend,
        Action::Integer => {
            let divides = ["div", "rem", "Div", "Rem", "Mod"].iter().any(|w| last.contains(w));
            return if divides && n == 0 { Role::Dividend } else { Role::Factor };
        }
        Action::None => {}
    }
    // SAFETY: the caller's promise.
    let index = unsafe { is_index(mlirValueGetType(operand)) };
    match name {
        "arith.cmpi" | "arith.cmpf" | "llvm.icmp" | "llvm.fcmp" | "index.cmp" => Role::Condition,
        "arith.select" | "llvm.select" | "spirv.Select" | "scf.if" if n == 0 => Role::Condition,
        "arith.sitofp" | "arith.uitofp" | "llvm.sitofp" | "llvm.uitofp" | "spirv.ConvertSToF"
        | "spirv.ConvertUToF" => CONVERTED,
        "memref.store"
        | "affine.store"
        | "vector.store"
        | "vector.transfer_write"
        | "llvm.store"
        | "spirv.Store"
        | "vector.scatter"
        | "vector.maskedstore"
        | "vector.compressstore" => {
            let data = match name {
                "spirv.Store" => 1,
                "vector.scatter" | "vector.maskedstore" | "vector.compressstore" => usize::MAX,
                _ => 0,
            };
            // SAFETY: the caller's promise.
            let values =
                data == usize::MAX && unsafe { mlirTypeIsAVector(mlirValueGetType(operand)) };
            if n == data || values { STORED } else { Role::Address }
        }
        "tensor.insert" | "vector.insert" | "vector.insertelement" if n == 0 => {
            if name == "tensor.insert" { STORED } else { Role::Value }
        }
        "linalg.fill" | "tensor.splat" | "tensor.from_elements" => STORED,
        "memref.atomic_rmw" | "llvm.atomicrmw" | "llvm.cmpxchg" => STORED,
        _ if name.starts_with("spirv.") && is_comparison(last) => Role::Condition,
        "llvm.load" | "memref.load" | "affine.load" | "vector.load" | "spirv.Load"
        | "spirv.AccessChain" => {
            if name == "spirv.AccessChain" {
                Role::Value
            } else {
                Role::Address
            }
        }
        "llvm.intr.masked.load" | "llvm.intr.masked.gather" => {
            [Role::Address, Role::Condition, Role::Value][n.min(2)]
        }
        "llvm.intr.masked.store" | "llvm.intr.masked.scatter" => {
            [STORED, Role::Address, Role::Condition][n.min(2)]
        }
        "vector.create_mask" | "vector.constant_mask" => Role::Condition,
        "vector.broadcast"
        | "vector.splat"
        | "vector.from_elements"
        | "vector.step"
        | "vector.extract"
        | "vector.shuffle"
        | "vector.shape_cast"
        | "vector.extractelement"
        | "vector.extract_strided_slice"
        | "vector.insert_strided_slice" => Role::Value,
        _ if index
            && begins(
                name,
                &[
                    "memref.",
                    "tensor.",
                    "bufferization.",
                    "vector.",
                    "scf.",
                    "gpu.",
                    "affine.for",
                    "affine.parallel",
                    "affine.vector",
                    "omp.",
                ],
            ) =>
        {
            Role::Address
        }
        _ => Role::Value,
    }
}

fn is_comparison(last: &str) -> bool {
    ["Equal", "Less", "Greater", "NotEqual", "IsNan", "IsInf"].iter().any(|w| last.contains(w))
}

/// Where the results of an operation come from.
unsafe fn source(op: MlirOperation, name: &str) -> Source {
    let loads = begins(
        name,
        &[
            "memref.load",
            "affine.load",
            "vector.load",
            "vector.transfer_read",
            "llvm.load",
            "llvm.intr.masked.load",
            "llvm.intr.masked.gather",
            "tensor.extract",
            "spirv.Load",
            "vector.gather",
            "vector.maskedload",
            "vector.expandload",
            "affine.vector_load",
            "arith.fpto",
            "llvm.fpto",
            "memref.atomic_rmw",
            "llvm.atomicrmw",
        ],
    );
    if loads && name != "tensor.extract_slice" {
        return Source::Data;
    }
    if !matches!(
        name,
        "arith.constant" | "llvm.mlir.constant" | "index.constant" | "spirv.Constant"
    ) {
        return Source::Operands;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let key = MlirStringRef { data: c"value".as_ptr(), length: 5 };
        let value = mlirOperationGetAttributeByName(op, key);
        if value.ptr.is_null() || !mlirAttributeIsAInteger(value) {
            return Source::Fixed;
        }
        let ty = mlirAttributeGetType(value);
        if mlirTypeIsAInteger(ty) && mlirIntegerTypeGetWidth(ty) > 64 {
            return Source::Fixed;
        }
        let text = printed(|f, d| mlirAttributePrint(value, f, d));
        let digits = text.split(' ').next().unwrap_or_default();
        digits.parse().map_or(Source::Fixed, Source::Constant)
    }
}
