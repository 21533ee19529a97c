//! Integer products by constants, taken apart again.

use std::collections::HashSet;

use llvm_sys::{LLVMOpcode, core::*, prelude::*};

/// Replaces the products of loaded integers by constants in a module by shifts and additions. They were
/// shifts and additions before LLVM's optimizer put them together, which is no loss for processors whose
/// back ends take them apart; a GPU's multiply.
///
/// # Safety
/// `module` is a valid module of a context that nothing else uses.
pub(super) unsafe fn take_apart(module: LLVMModuleRef) {
    // SAFETY: everything walked over belongs to the module; products are erased once nothing uses them.
    unsafe {
        let builder = LLVMCreateBuilderInContext(LLVMGetModuleContext(module));
        for product in products(module) {
            let [x, factor] = [0, 1].map(|i| LLVMGetOperand(product, i));
            let digits = digits(LLVMConstIntGetSExtValue(factor));
            if digits.len() < 2 || !is_loaded(x) {
                continue;
            }
            LLVMPositionBuilderBefore(builder, product);
            let mut sum = LLVMConstNull(LLVMTypeOf(x));
            for (negative, exponent) in digits {
                let count = LLVMConstInt(LLVMTypeOf(x), exponent, 0);
                let term = LLVMBuildShl(builder, x, count, c"".as_ptr());
                let join = if negative { LLVMBuildSub } else { LLVMBuildAdd };
                sum = join(builder, sum, term, c"".as_ptr());
            }
            LLVMReplaceAllUsesWith(product, sum);
            LLVMInstructionEraseFromParent(product);
        }
        LLVMDisposeBuilder(builder);
    }
}

/// The scalar products by constants of at most 64 bits.
unsafe fn products(module: LLVMModuleRef) -> Vec<LLVMValueRef> {
    let mut found = Vec::new();
    // SAFETY: as above; the lists end with null.
    unsafe {
        let mut function = LLVMGetFirstFunction(module);
        while !function.is_null() {
            let mut block = LLVMGetFirstBasicBlock(function);
            while !block.is_null() {
                let mut at = LLVMGetFirstInstruction(block);
                while !at.is_null() {
                    if LLVMGetInstructionOpcode(at) == LLVMOpcode::LLVMMul
                        && !LLVMIsAConstantInt(LLVMGetOperand(at, 1)).is_null()
                        && LLVMGetIntTypeWidth(LLVMTypeOf(at)) <= 64
                    {
                        found.push(at);
                    }
                    at = LLVMGetNextInstruction(at);
                }
                block = LLVMGetNextBasicBlock(block);
            }
            function = LLVMGetNextFunction(function);
        }
    }
    found
}

/// True if something that is loaded has a part in a value.
unsafe fn is_loaded(value: LLVMValueRef) -> bool {
    let (mut seen, mut stack) = (HashSet::from([value]), vec![value]);
    while let Some(at) = stack.pop() {
        // SAFETY: as above; only instructions are asked for their opcode and operands.
        unsafe {
            if LLVMIsAInstruction(at).is_null() {
                continue;
            }
            if LLVMGetInstructionOpcode(at) == LLVMOpcode::LLVMLoad {
                return true;
            }
            let operands = (0..LLVMGetNumOperands(at)).map(|i| LLVMGetOperand(at, i as u32));
            stack.extend(operands.filter(|o| seen.insert(*o)));
        }
    }
    false
}

/// A number as powers of two to add and to subtract (true), none next to another, modulo 2⁶⁴.
fn digits(number: i64) -> Vec<(bool, u64)> {
    let mut rest = i128::from(number);
    let mut digits = Vec::new();
    for exponent in 0..64 {
        if rest & 1 != 0 {
            let negative = rest & 3 == 3;
            digits.push((negative, exponent));
            rest += if negative { 1 } else { -1 };
        }
        rest >>= 1;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::digits;

    #[test]
    fn digits_make_up_the_number() {
        for number in [10, 3, 7, -3, -10, 255, 1_000_003, i64::MAX, i64::MIN, -1] {
            let sum = digits(number).into_iter().fold(0i64, |sum, (negative, exponent)| {
                let term = 1i64.wrapping_shl(exponent as u32);
                if negative { sum.wrapping_sub(term) } else { sum.wrapping_add(term) }
            });
            assert_eq!(sum, number);
        }
        assert_eq!(digits(7).len(), 2);
    }
}
