//! LLVM's disassembler.

use crate::{
    Error,
    codegen::{Arch, c_string, initialize},
};
use llvm_sys::disassembler::*;
use std::{
    ffi::{CStr, c_char},
    ptr::null_mut,
};

/// Decodes one instruction at a time.
pub(in crate::audit) struct Disassembler {
    context: LLVMDisasmContextRef,
    step: usize,
}

impl Drop for Disassembler {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { LLVMDisasmDispose(self.context) }
    }
}

impl Disassembler {
    /// A disassembler of every extension of a processor family.
    pub(in crate::audit) fn new(arch: Arch) -> Result<Self, Error> {
        match arch {
            Arch::X86_64 => Self::create(c"x86_64-unknown-linux-gnu", c"", c"", 1),
            Arch::Aarch64 => Self::create(c"aarch64-unknown-linux-gnu", c"", c"+all", 4),
        }
    }

    /// A disassembler for one of AMD's GPUs.
    pub(in crate::audit) fn amdgcn(processor: &str) -> Result<Self, Error> {
        Self::create(c"amdgcn-amd-amdhsa", &c_string(processor), c"", 4)
    }

    fn create(triple: &CStr, cpu: &CStr, features: &CStr, step: usize) -> Result<Self, Error> {
        initialize();
        // SAFETY: the strings are NUL-terminated; no callbacks are given.
        let context = unsafe {
            LLVMCreateDisasmCPUFeatures(
                triple.as_ptr(),
                cpu.as_ptr(),
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
        Ok(Self { context, step })
    }

    /// Length in bytes and text of the instruction at the head of `code`; `None` if there is none.
    pub(in crate::audit) fn decode(&self, code: &[u8], address: u64) -> Option<(usize, String)> {
        // No instruction is longer than 20 bytes; the copy is what the C signature wants mutable.
        let mut window = [0u8; 32];
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
    pub(in crate::audit) fn step(&self) -> usize {
        self.step
    }
}
