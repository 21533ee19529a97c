//! LLVM's disassembler.

use crate::{
    Error,
    codegen::{Arch, initialize},
};
use llvm_sys::disassembler::*;
use std::{
    ffi::{CStr, c_char},
    ptr::null_mut,
};

/// Decodes one instruction at a time.
pub(super) struct Disassembler {
    context: LLVMDisasmContextRef,
    arch: Arch,
}

impl Drop for Disassembler {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { LLVMDisasmDispose(self.context) }
    }
}

impl Disassembler {
    /// A disassembler of every extension of a processor family.
    pub(super) fn new(arch: Arch) -> Result<Self, Error> {
        initialize();
        let (triple, features) = match arch {
            Arch::X86_64 => (c"x86_64-unknown-linux-gnu", c""),
            Arch::Aarch64 => (c"aarch64-unknown-linux-gnu", c"+all"),
        };
        // SAFETY: the strings are NUL-terminated; no callbacks are given.
        let context = unsafe {
            LLVMCreateDisasmCPUFeatures(
                triple.as_ptr(),
                c"".as_ptr(),
                features.as_ptr(),
                null_mut(),
                0,
                None,
                None,
            )
        };
        if context.is_null() {
            let message = "LLVM has no disassembler for this processor".into();
            return Err(Error::Llvm { stage: "disassemble", message });
        }
        Ok(Self { context, arch })
    }

    /// Length in bytes and text of the instruction at the head of `code`; `None` if there is none.
    pub(super) fn decode(&self, code: &[u8], address: u64) -> Option<(usize, String)> {
        // No instruction is longer than 15 bytes; the copy is what the C signature wants mutable.
        let mut window = [0u8; 16];
        let available = code.len().min(window.len());
        window[..available].copy_from_slice(&code[..available]);
        let mut text = [0 as c_char; 256];
        // SAFETY: both buffers outlive the call and their sizes are passed along.
        unsafe {
            let length = LLVMDisasmInstruction(
                self.context,
                window.as_mut_ptr(),
                available as u64,
                address,
                text.as_mut_ptr(),
                text.len(),
            );
            let line = CStr::from_ptr(text.as_ptr()).to_string_lossy();
            (length > 0).then(|| (length, line.trim().to_owned()))
        }
    }

    /// Bytes to skip over what is no instruction.
    pub(super) fn step(&self) -> usize {
        match self.arch {
            Arch::X86_64 => 1,
            Arch::Aarch64 => 4,
        }
    }
}
