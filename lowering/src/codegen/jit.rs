//! Objects loaded into this process.

use super::{
    Object,
    llvm::{c_string, initialize, message},
    openmp,
};
use crate::Error;
use llvm_sys::{
    core::LLVMCreateMemoryBufferWithMemoryRangeCopy,
    error::LLVMErrorRef,
    orc2::{lljit::*, *},
};
use std::{
    ffi::{c_char, c_void},
    ptr::{null, null_mut},
    sync::{Mutex, PoisonError},
};

/// Loaded, linked and runnable code. Its symbols live as long as it does.
pub struct Jit {
    engine: LLVMOrcLLJITRef,
    // Boxed, since the engine holds its address; fields go after `drop`, so it outlives the engine.
    reports: Box<Mutex<Vec<String>>>,
}

/// Keeps what the linker reports, which the error of a lookup only summarizes.
extern "C" fn report(reports: *mut c_void, error: LLVMErrorRef) {
    // SAFETY: the pointer is the `reports` of a live `Jit`.
    let reports = unsafe { &*reports.cast::<Mutex<Vec<String>>>() };
    if let (Some(text), Ok(mut reports)) = (message(error), reports.lock()) {
        reports.push(text);
    }
}

// SAFETY: an LLJIT guards its state with its session's lock, and its code may run on any thread.
unsafe impl Send for Jit {}
// SAFETY: as above; lookups are the only operation on a shared reference.
unsafe impl Sync for Jit {}

impl Drop for Jit {
    fn drop(&mut self) {
        // SAFETY: owned. A failure to release memory has no remedy here.
        drop(message(unsafe { LLVMOrcDisposeLLJIT(self.engine) }));
    }
}

impl Jit {
    /// Links objects with each other, this process and the OpenMP runtime.
    ///
    /// # Errors
    /// [`Error::Llvm`] when an object is malformed, made for another processor family, or defines a
    /// symbol twice. Undefined symbols show up in [`Jit::symbol`].
    pub fn load(objects: &[Object]) -> Result<Self, Error> {
        initialize();
        // Keeps the runtime among this program's libraries, where the loaded code looks for it.
        std::hint::black_box(openmp::threads as fn() -> usize);
        let check = |error| match message(error) {
            Some(message) => Err(Error::Llvm { stage: "load code", message }),
            None => Ok(()),
        };
        if let Some(object) = objects.iter().find(|o| !o.target.is_host_family()) {
            let message = format!("code for {} cannot run here", object.target.triple);
            return Err(Error::Llvm { stage: "load code", message });
        }
        // SAFETY: every handle comes from the call before it; buffers are copied, and the added
        // generator and buffers become the engine's.
        unsafe {
            let mut engine = null_mut();
            check(LLVMOrcCreateLLJIT(&mut engine, LLVMOrcCreateLLJITBuilder()))?;
            let jit = Self { engine, reports: Box::default() };
            let session = LLVMOrcLLJITGetExecutionSession(engine);
            let reports = (&raw const *jit.reports).cast_mut().cast();
            LLVMOrcExecutionSessionSetErrorReporter(session, report, reports);
            let library = LLVMOrcLLJITGetMainJITDylib(engine);
            let mut process = null_mut();
            let prefix = LLVMOrcLLJITGetGlobalPrefix(engine);
            check(LLVMOrcCreateDynamicLibrarySearchGeneratorForProcess(
                &mut process,
                prefix,
                None,
                null_mut(),
            ))?;
            LLVMOrcJITDylibAddGenerator(library, process);
            for (index, object) in objects.iter().enumerate() {
                let name = c_string(&format!("pamc-object-{index}"));
                let start = object.bytes.as_ptr().cast::<c_char>();
                let buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(
                    start,
                    object.bytes.len(),
                    name.as_ptr(),
                );
                check(LLVMOrcLLJITAddObjectFile(engine, library, buffer))?;
            }
            Ok(jit)
        }
    }

    /// Address of an exported function, to be cast to its C type.
    ///
    /// # Errors
    /// [`Error::MissingSymbol`] when nothing exports it or one of its own references is undefined.
    pub fn symbol(&self, name: &str) -> Result<*const c_void, Error> {
        let mut address = 0;
        let symbol = c_string(name);
        // SAFETY: the engine is alive and the name NUL-terminated.
        let error = unsafe { LLVMOrcLLJITLookup(self.engine, &mut address, symbol.as_ptr()) };
        match message(error) {
            Some(summary) => {
                let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
                reports.push(summary);
                let message = reports.drain(..).collect::<Vec<_>>().join("; ");
                Err(Error::MissingSymbol { name: name.into(), message })
            }
            None if address == 0 => {
                Err(Error::MissingSymbol { name: name.into(), message: "it is null".into() })
            }
            None => Ok(null::<c_void>().with_addr(address as usize)),
        }
    }
}
