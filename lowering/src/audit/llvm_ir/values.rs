//! What LLVM says of values and types.

use super::*;

pub(super) unsafe fn name(value: LLVMValueRef) -> String {
    let mut length = 0;
    // SAFETY: the caller's promise.
    unsafe {
        let start = LLVMGetValueName2(value, &mut length).cast::<u8>();
        String::from_utf8_lossy(slice::from_raw_parts(start, length)).into_owned()
    }
}

pub(super) unsafe fn is_pointer(ty: LLVMTypeRef) -> bool {
    // SAFETY: the caller's promise.
    unsafe { LLVMGetTypeKind(ty) == LLVMTypeKind::LLVMPointerTypeKind }
}

/// Bytes of a value in memory, where its type says how many.
pub(super) unsafe fn bytes(layout: LLVMTargetDataRef, ty: LLVMTypeRef) -> i64 {
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
pub(super) unsafe fn offset(layout: LLVMTargetDataRef, gep: LLVMValueRef) -> Option<i64> {
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
pub(super) unsafe fn is_called_here_only(function: LLVMValueRef) -> bool {
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

pub(super) unsafe fn is_vector(ty: LLVMTypeRef) -> bool {
    // SAFETY: the caller's promise.
    let kind = unsafe { LLVMGetTypeKind(ty) };
    matches!(kind, LLVMTypeKind::LLVMVectorTypeKind | LLVMTypeKind::LLVMScalableVectorTypeKind)
}

/// File and line, if the module has debug information.
pub(super) unsafe fn line(i: LLVMValueRef) -> Option<String> {
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
