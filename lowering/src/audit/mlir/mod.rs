//! MLIR, as text or bytecode.

mod control;
mod roles;
mod table;

use super::{
    Finding, Function, Kind, Report,
    flow::{Flow, Operation, Role, Source, Value},
};
use crate::Error;
use crate::opt::ir::{Op, printed};
use control::{is_call, is_function, is_terminator};
use melior::{
    Context,
    dialect::DialectRegistry,
    utility::{register_all_dialects, register_all_llvm_translations},
};
use mlir_sys::*;
use roles::{role, source};
use std::collections::{BTreeSet, HashMap};
pub(crate) use table::{action, combination, foreign_code};

const STORED: Role = Role::Sink("is stored in memory");
const CONVERTED: Role = Role::Sink("is converted to a float");

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
        let (located, mut functions) = judge(mlirModuleGetOperation(module));
        let findings = located.into_iter().map(|(op, finding)| {
            let (place, source) = location(op);
            Finding { place, source, ..finding }
        });
        let findings = findings.collect();
        mlirModuleDestroy(module);
        functions.retain(|f| f.operations > 0);
        Ok(Report { functions, findings, ..Report::default() })
    }
}

/// The findings in an operation and all inside it, each with what it is about in place of a place.
///
/// # Safety
/// The operation is alive and does not change meanwhile.
pub(crate) unsafe fn judge(top: MlirOperation) -> (Vec<(MlirOperation, Finding)>, Vec<Function>) {
    let mut walk = Walk::default();
    // SAFETY: the caller's promise.
    unsafe {
        walk.declare(top);
        walk.operation(top);
    }
    let mut findings = walk.findings;
    findings.extend(walk.flow.judge());
    let sites = walk.sites;
    // Places are numbers of operations: texts of locations are made for findings only.
    let located = findings.into_iter().filter_map(|finding| {
        let site: usize = finding.place.parse().ok()?;
        Some((sites[site], finding))
    });
    (located.collect(), walk.flow.functions)
}

#[derive(Default)]
struct Walk {
    // Operations by number, which findings have for a place.
    sites: Vec<MlirOperation>,
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
            if is_function(name)
                && let Some(symbol) = string(op, "sym_name")
            {
                self.functions.insert(symbol, op);
            }
            for inner in Self::regions(op).into_iter().flatten().flat_map(|b| Self::operations(b)) {
                if !is_function(name) {
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
            let holds = is_function(name) || outermost;
            if holds {
                let symbol = string(op, "sym_name").unwrap_or_else(|| "module".into());
                let at = self.flow.function(symbol);
                self.stack.push(at);
            }
            if !is_function(name) && !outermost {
                self.judge(op, name);
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
            let Some(action) = action(Op(op)) else {
                return self.find(op, Kind::Unknown, name.into());
            };
            if foreign_code(Op(op)).is_some() {
                return self.find(op, Kind::Unknown, format!("code in {name}, which is not read"));
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
            let (place, source) = (self.site(op), None);
            let function = *self.stack.last().unwrap_or(&0);
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
                let accesses = match owner {
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

    /// Notes an operation; gives its number as text.
    fn site(&mut self, op: MlirOperation) -> String {
        self.sites.push(op);
        (self.sites.len() - 1).to_string()
    }

    unsafe fn find(&mut self, op: MlirOperation, kind: Kind, what: String) {
        let (place, source) = (self.site(op), None);
        let function = &mut self.flow.functions[*self.stack.last().unwrap_or(&0)];
        function.operations += 1;
        let function = function.name.clone();
        self.findings.push(Finding { kind, function, what, place, source, reason: None });
    }
}

fn name(op: MlirOperation) -> &'static str {
    Op(op).name()
}

/// A string attribute.
fn string(op: MlirOperation, name: &str) -> Option<String> {
    Op(op).attribute(name).and_then(|attribute| attribute.string())
}

/// The last name of a symbol attribute.
fn symbol(op: MlirOperation, name: &str) -> Option<String> {
    Op(op).attribute(name).and_then(|attribute| attribute.leaf())
}

/// Place in the text and origin of an operation.
fn location(op: MlirOperation) -> (String, Option<String>) {
    // SAFETY: the location lives as long as the context.
    let text = printed(|f, d| unsafe { mlirLocationPrint(Op(op).location(), f, d) });
    let inner = text.trim_start_matches("loc(").trim_end_matches(')');
    let in_buffer = inner.strip_prefix("\"-\":").or_else(|| inner.strip_prefix("-:"));
    if let Some(line) = in_buffer {
        return (format!("line {line}"), None);
    }
    let origins: BTreeSet<&str> = inner.split('"').skip(1).step_by(2).collect();
    let origins: Vec<&str> = origins.into_iter().filter(|o| !o.is_empty()).collect();
    (inner.to_owned(), (!origins.is_empty()).then(|| origins.join(", ")))
}
