//! Integer products by constants, taken apart again.

use std::collections::HashSet;

use llvm_sys::{LLVMOpcode, LLVMTypeKind, core::*, prelude::*};

/// Replaces the products of data by constants in a module by shifts and additions. They were shifts and
/// additions before LLVM's optimizer put them together, and not every back end takes them apart.
///
/// Data are vectors of integers, and what is loaded and becomes more than an address.
///
/// # Safety
/// `module` is a valid module of a context that nothing else uses.
pub(super) unsafe fn take_apart(module: LLVMModuleRef) {
    // SAFETY: everything walked over belongs to the module; products are erased once nothing uses them.
    unsafe {
        let builder = LLVMCreateBuilderInContext(LLVMGetModuleContext(module));
        for (product, factor) in products(module) {
            let x = LLVMGetOperand(product, 0);
            let is_data = is_vector(product) || is_loaded(x) && becomes_data(product);
            let digits = digits(factor);
            if digits.len() < 2 || !is_data {
                continue;
            }
            LLVMPositionBuilderBefore(builder, product);
            let ty = LLVMTypeOf(x);
            let mut sum = LLVMConstNull(ty);
            for (negative, exponent) in digits {
                let term = LLVMBuildShl(builder, x, constant(ty, exponent), c"".as_ptr());
                let join = if negative { LLVMBuildSub } else { LLVMBuildAdd };
                sum = join(builder, sum, term, c"".as_ptr());
            }
            LLVMReplaceAllUsesWith(product, sum);
            LLVMInstructionEraseFromParent(product);
        }
        LLVMDisposeBuilder(builder);
    }
}

/// Hides from the back ends how sums of data are made that enter a loop: they would write what is added
/// three times, such as a key of random numbers, as a product.
///
/// # Safety
/// As for [`take_apart`].
pub(super) unsafe fn settle(module: LLVMModuleRef) {
    // SAFETY: as above; what is frozen is an instruction, which a terminator or another instruction follows.
    unsafe {
        let builder = LLVMCreateBuilderInContext(LLVMGetModuleContext(module));
        let sums =
            instructions(module).filter(|&at| LLVMGetInstructionOpcode(at) == LLVMOpcode::LLVMAdd);
        for sum in sums.collect::<Vec<_>>() {
            for i in 0..2 {
                let x = LLVMGetOperand(sum, i);
                let enters = !LLVMIsABinaryOperator(x).is_null()
                    && LLVMGetInstructionParent(x) != LLVMGetInstructionParent(sum);
                if !enters || is_vector(x) || !is_loaded(x) || !becomes_data(sum) {
                    continue;
                }
                LLVMPositionBuilderBefore(builder, LLVMGetNextInstruction(x));
                LLVMSetOperand(sum, i, LLVMBuildFreeze(builder, x, c"".as_ptr()));
            }
        }
        LLVMDisposeBuilder(builder);
    }
}

unsafe fn is_vector(value: LLVMValueRef) -> bool {
    // SAFETY: the value is one of a module.
    unsafe { LLVMGetTypeKind(LLVMTypeOf(value)) == LLVMTypeKind::LLVMVectorTypeKind }
}

/// A number of an integer type, or of a vector's in every lane.
unsafe fn constant(ty: LLVMTypeRef, number: u64) -> LLVMValueRef {
    // SAFETY: the type is an integer's or a vector's of integers.
    unsafe {
        if LLVMGetTypeKind(ty) != LLVMTypeKind::LLVMVectorTypeKind {
            return LLVMConstInt(ty, number, 0);
        }
        let lane = LLVMConstInt(LLVMGetElementType(ty), number, 0);
        let mut lanes = vec![lane; LLVMGetVectorSize(ty) as usize];
        LLVMConstVector(lanes.as_mut_ptr(), lanes.len() as u32)
    }
}

/// The number that [`constant`] made, if it has at most 64 bits.
unsafe fn number(value: LLVMValueRef) -> Option<i64> {
    // SAFETY: the value is one of a module; constants that are equal are the same.
    unsafe {
        if !LLVMIsAConstantInt(value).is_null() && !is_vector(value) {
            let narrow = LLVMGetIntTypeWidth(LLVMTypeOf(value)) <= 64;
            return narrow.then(|| LLVMConstIntGetSExtValue(value));
        }
        if LLVMIsAConstantDataVector(value).is_null() {
            return None;
        }
        let first = LLVMGetAggregateElement(value, 0);
        let mut others = 1..LLVMGetVectorSize(LLVMTypeOf(value));
        let splat = others.all(|i| LLVMGetAggregateElement(value, i) == first);
        (splat && !LLVMIsAConstantInt(first).is_null()).then(|| LLVMConstIntGetSExtValue(first))
    }
}

/// The instructions of a module in order.
unsafe fn instructions(module: LLVMModuleRef) -> impl Iterator<Item = LLVMValueRef> {
    let mut found = Vec::new();
    // SAFETY: as above; the lists end with null.
    unsafe {
        let mut function = LLVMGetFirstFunction(module);
        while !function.is_null() {
            let mut block = LLVMGetFirstBasicBlock(function);
            while !block.is_null() {
                let mut at = LLVMGetFirstInstruction(block);
                while !at.is_null() {
                    found.push(at);
                    at = LLVMGetNextInstruction(at);
                }
                block = LLVMGetNextBasicBlock(block);
            }
            function = LLVMGetNextFunction(function);
        }
    }
    found.into_iter()
}

/// The products by constants, which stand second, with these.
unsafe fn products(module: LLVMModuleRef) -> Vec<(LLVMValueRef, i64)> {
    // SAFETY: as above.
    unsafe {
        let products =
            instructions(module).filter(|&at| LLVMGetInstructionOpcode(at) == LLVMOpcode::LLVMMul);
        products.filter_map(|at| Some((at, number(LLVMGetOperand(at, 1))?))).collect()
    }
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
            // A vector is only ever loaded or made of numbers that are.
            if LLVMGetInstructionOpcode(at) == LLVMOpcode::LLVMLoad || is_vector(at) {
                return true;
            }
            let operands = (0..LLVMGetNumOperands(at)).map(|i| LLVMGetOperand(at, i as u32));
            stack.extend(operands.filter(|o| seen.insert(*o)));
        }
    }
    false
}

/// True if something other than an address is made of a value.
unsafe fn becomes_data(value: LLVMValueRef) -> bool {
    use LLVMOpcode::*;
    let (mut seen, mut stack) = (HashSet::from([value]), vec![value]);
    while let Some(at) = stack.pop() {
        // SAFETY: as above; what uses an instruction is one.
        unsafe {
            let mut next = LLVMGetFirstUse(at);
            while !next.is_null() {
                let user = LLVMGetUser(next);
                match LLVMGetInstructionOpcode(user) {
                    LLVMGetElementPtr | LLVMIntToPtr => {}
                    LLVMStore if LLVMGetOperand(user, 0) != at => {}
                    LLVMAdd | LLVMSub | LLVMMul | LLVMUDiv | LLVMSDiv | LLVMURem | LLVMSRem
                    | LLVMShl | LLVMLShr | LLVMAShr | LLVMAnd | LLVMOr | LLVMXor | LLVMTrunc
                    | LLVMZExt | LLVMSExt | LLVMPHI | LLVMSelect | LLVMFreeze => {
                        if seen.insert(user) {
                            stack.push(user);
                        }
                    }
                    _ => return true,
                }
                next = LLVMGetNextUse(next);
            }
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
