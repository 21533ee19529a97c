//! Calls: of functions of the module, of intrinsics, of others.

use super::*;

impl Walk {
    pub(super) unsafe fn call(&mut self, i: LLVMValueRef) {
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
}
