//! Where values go by branches, regions, returns and calls.

use super::{Walk, begins, string, symbol};
use crate::audit::{
    Kind, calls,
    flow::{Action, Operation, Role, Source, Value},
};
use crate::opt::ir::{Op, Val};
use mlir_sys::*;

/// All functions below take handles of a live module.
impl Walk {
    /// An operand of an operation with regions may come out as any result or argument of its type.
    pub(super) unsafe fn enter_regions(
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
    pub(super) unsafe fn branch(
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
    pub(super) unsafe fn terminate(
        &mut self,
        op: MlirOperation,
        name: &str,
        operands: &[MlirValue],
        roles: &mut [(Value, Role)],
    ) {
        // SAFETY: as above.
        unsafe {
            let parent = mlirOperationGetParentOperation(op);
            let parent_name = Op(parent).name();
            let condition = usize::from(matches!(name, "scf.condition"));
            if is_function(parent_name) {
                let symbol = string(parent, "sym_name").unwrap_or_default();
                let private = string(parent, "sym_visibility").is_some_and(|v| v == "private");
                for (n, (value, role)) in roles.iter_mut().enumerate() {
                    let returned = self.returns.entry(symbol.clone()).or_default();
                    while returned.len() <= n {
                        returned.push(self.flow.value(Source::Operands));
                    }
                    self.flow.copy(*value, returned[n]);
                    let ty = Val(operands[n]).ty().text();
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
                begins(parent_name, &["linalg.", "tensor.generate", "memref.generic_atomic"]);
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

    pub(super) unsafe fn call(
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
                let (function, place) = (*self.stack.last().unwrap_or(&0), self.site(op));
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
}

pub(super) fn is_function(name: &str) -> bool {
    matches!(
        name,
        "func.func" | "llvm.func" | "gpu.func" | "spirv.func" | "emitc.func" | "ml_program.func"
    )
}

pub(super) fn is_call(name: &str) -> bool {
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

pub(super) fn is_terminator(name: &str) -> bool {
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
