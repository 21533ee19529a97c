//! The LLVM half: translation, attributes, optimization and emission.

use super::{Object, Options, Target, factors, mlir::Session, target::take_message};
use crate::Error;
use llvm_sys::{
    core::*,
    error::{LLVMDisposeErrorMessage, LLVMErrorRef, LLVMGetErrorMessage},
    ir_reader::LLVMParseIRInContext2,
    prelude::*,
    support::LLVMParseCommandLineOptions,
    target::*,
    target_machine::*,
    transforms::pass_builder::*,
};
use std::{
    ffi::{CStr, CString, c_char, c_int},
    ptr::null_mut,
    slice,
    sync::Once,
};

/// Registers every target's code generator and disassembler, once.
pub(crate) fn initialize() {
    static ONCE: Once = Once::new();
    // SAFETY: registration has no precondition; `Once` keeps it single.
    ONCE.call_once(|| unsafe {
        LLVM_InitializeAllTargetInfos();
        LLVM_InitializeAllTargets();
        LLVM_InitializeAllTargetMCs();
        LLVM_InitializeAllAsmPrinters();
        LLVM_InitializeAllAsmParsers();
        LLVM_InitializeAllDisassemblers();
        // Kernels come as vectors already; what is left to these two are addresses, whose products they
        // would turn into vector multiplies. The switch among the pass builder's options does not reach
        // the loop vectorizer, so it is set as on a command line, for the process.
        let arguments = [c"pamc", c"-vectorize-loops=false", c"-vectorize-slp=false"];
        let arguments = arguments.map(|a| a.as_ptr());
        LLVMParseCommandLineOptions(arguments.len() as c_int, arguments.as_ptr(), c"".as_ptr());
    });
}

/// LLVM's version, such as 22.1.0.
pub(super) fn version() -> String {
    let [mut major, mut minor, mut patch] = [0; 3];
    // SAFETY: the numbers are written.
    unsafe { LLVMGetVersion(&mut major, &mut minor, &mut patch) };
    format!("{major}.{minor}.{patch}")
}

/// Name and feature string of the processor this runs on.
pub(super) fn host_cpu() -> (String, String) {
    // SAFETY: both return owned C strings.
    unsafe { (take_message(LLVMGetHostCPUName()), take_message(LLVMGetHostCPUFeatures())) }
}

/// The message of an LLVM error, which is consumed; `None` for success.
pub(super) fn message(error: LLVMErrorRef) -> Option<String> {
    if error.is_null() {
        return None;
    }
    // SAFETY: `error` is an owned error, consumed here exactly once.
    unsafe {
        let text = LLVMGetErrorMessage(error);
        let copy = CStr::from_ptr(text).to_string_lossy().into_owned();
        LLVMDisposeErrorMessage(text);
        Some(copy)
    }
}

/// A C string; interior NULs, which no caller passes, end it.
pub(crate) fn c_string(text: &str) -> CString {
    let end = text.find('\0').unwrap_or(text.len());
    CString::new(&text[..end]).unwrap_or_default()
}

/// An LLVM module with its context.
pub(crate) struct Module {
    context: LLVMContextRef,
    module: LLVMModuleRef,
}

impl Drop for Module {
    fn drop(&mut self) {
        // SAFETY: both are owned; the module goes before its context.
        unsafe {
            if !self.module.is_null() {
                LLVMDisposeModule(self.module);
            }
            LLVMContextDispose(self.context);
        }
    }
}

impl Module {
    /// Translates a module of the LLVM dialect.
    pub(super) fn translate(session: &Session, source: &melior::ir::Module) -> Result<Self, Error> {
        Self::translate_operation(session, source.as_operation().to_raw())
    }

    /// Translates a module-like operation of the LLVM dialect, which must be alive.
    pub(super) fn translate_operation(
        session: &Session,
        operation: mlir_sys::MlirOperation,
    ) -> Result<Self, Error> {
        // SAFETY: the operation is alive; mlir-sys and llvm-sys name the same opaque C types.
        let result = unsafe {
            let context = LLVMContextCreate();
            let module = mlir_sys::mlirTranslateModuleToLLVMIR(operation, context.cast());
            Self { context, module: module.cast() }
        };
        if result.module.is_null() { Err(session.failure("translate")) } else { Ok(result) }
    }

    /// Reads a module of LLVM IR, text or bitcode.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Error> {
        initialize();
        // SAFETY: the buffer is copied with a NUL after it and is disposed of once it is read.
        unsafe {
            let start = bytes.as_ptr().cast::<c_char>();
            let buffer =
                LLVMCreateMemoryBufferWithMemoryRangeCopy(start, bytes.len(), c"input".as_ptr());
            let mut owned = Self { context: LLVMContextCreate(), module: null_mut() };
            let mut text = null_mut();
            let failed =
                LLVMParseIRInContext2(owned.context, buffer, &mut owned.module, &mut text) != 0;
            LLVMDisposeMemoryBuffer(buffer);
            if failed {
                owned.module = null_mut();
                return Err(Error::Llvm { stage: "read LLVM IR", message: take_message(text) });
            }
            Ok(owned)
        }
    }

    /// The handle, valid as long as this lives.
    pub(crate) fn raw(&self) -> LLVMModuleRef {
        self.module
    }

    /// Optimizes the module and emits it.
    pub(super) fn emit(
        self,
        target: &Target,
        options: &Options,
        lowered: Option<String>,
    ) -> Result<Object, Error> {
        let machine = Machine::new(&target.triple, &target.cpu, &target.features)?;
        self.describe(target, options, &machine);
        self.optimize(&machine)?;
        // SAFETY: the module is alive, the string owned.
        let llvm = options
            .keep_llvm
            .then(|| unsafe { take_message(LLVMPrintModuleToString(self.module)) });
        // Emission rewrites the IR in place, so the text comes from a copy.
        let assembly = match options.keep_assembly {
            true => {
                // SAFETY: the clone is owned and lives in the context `self` owns.
                let copy = unsafe { LLVMCloneModule(self.module) };
                let text = machine.emit(copy, LLVMCodeGenFileType::LLVMAssemblyFile);
                unsafe { LLVMDisposeModule(copy) };
                Some(String::from_utf8_lossy(&text?).into_owned())
            }
            false => None,
        };
        let bytes = machine.emit(self.module, LLVMCodeGenFileType::LLVMObjectFile)?;
        Ok(Object { bytes, target: target.clone(), lowered, llvm, assembly })
    }

    /// Optimizes the module and emits it as assembly, and for AMD as an object.
    pub(super) fn emit_gpu(
        self,
        machine: &Machine,
        triple: &str,
        cpu: &str,
    ) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let attributes = [
            ("target-cpu", cpu),
            ("no-trapping-math", "true"),
            ("denormal-fp-math", "preserve-sign,preserve-sign"),
        ];
        self.attribute(triple, &attributes, machine);
        self.optimize(machine)?;
        let object = match triple.starts_with("amdgcn") {
            true => {
                // Emission rewrites the IR in place, so one of the two comes from a copy.
                // SAFETY: the clone is owned and lives in the context `self` owns.
                let copy = unsafe { LLVMCloneModule(self.module) };
                let object = machine.emit(copy, LLVMCodeGenFileType::LLVMObjectFile);
                // SAFETY: owned, and used no more.
                unsafe { LLVMDisposeModule(copy) };
                object?
            }
            false => Vec::new(),
        };
        let assembly = machine.emit(self.module, LLVMCodeGenFileType::LLVMAssemblyFile)?;
        Ok((assembly, object))
    }

    /// Sets triple, data layout and the attributes of every function with a body; one that other
    /// parts of a program share is hidden from whoever links it.
    fn describe(&self, target: &Target, options: &Options, machine: &Machine) {
        let width = target.vector_bits.to_string();
        let mut attributes = vec![
            ("target-cpu", target.cpu.as_str()),
            ("no-trapping-math", "true"),
            ("prefer-vector-width", width.as_str()),
        ];
        if !target.features.is_empty() {
            attributes.push(("target-features", target.features.as_str()));
        }
        if options.flush_subnormals {
            attributes.push(("denormal-fp-math", "preserve-sign,preserve-sign"));
        }
        self.attribute(&target.triple, &attributes, machine);
    }

    fn attribute(&self, triple: &str, attributes: &[(&str, &str)], machine: &Machine) {
        // SAFETY: module, context and machine are alive; attribute strings are copied by LLVM.
        unsafe {
            LLVMSetTarget(self.module, c_string(triple).as_ptr());
            let layout = LLVMCreateTargetDataLayout(machine.0);
            LLVMSetModuleDataLayout(self.module, layout);
            LLVMDisposeTargetData(layout);
            let mut function = LLVMGetFirstFunction(self.module);
            while !function.is_null() {
                if LLVMIsDeclaration(function) == 0 {
                    if LLVMGetLinkage(function) == llvm_sys::LLVMLinkage::LLVMWeakODRLinkage {
                        LLVMSetVisibility(function, llvm_sys::LLVMVisibility::LLVMHiddenVisibility);
                    }
                    for (key, value) in attributes {
                        self.add_attribute(function, key, value);
                    }
                }
                function = LLVMGetNextFunction(function);
            }
        }
    }

    /// Adds a string attribute to a function.
    ///
    /// # Safety
    /// `function` belongs to this module.
    unsafe fn add_attribute(&self, function: LLVMValueRef, key: &str, value: &str) {
        let text = |s: &str| (s.as_ptr().cast::<c_char>(), s.len() as u32);
        let ((key, key_len), (value, value_len)) = (text(key), text(value));
        // SAFETY: both strings outlive the call, which copies them.
        unsafe {
            let attribute = LLVMCreateStringAttribute(self.context, key, key_len, value, value_len);
            LLVMAddAttributeAtIndex(function, llvm_sys::LLVMAttributeFunctionIndex, attribute);
        }
    }

    /// Runs LLVM's ahead-of-time pipeline, and takes the products apart that it makes of data.
    fn optimize(&self, machine: &Machine) -> Result<(), Error> {
        // SAFETY: the module and the machine are alive; the options are freed here.
        let error = unsafe {
            let settings = LLVMCreatePassBuilderOptions();
            LLVMPassBuilderOptionsSetLoopInterleaving(settings, 1);
            let error = LLVMRunPasses(self.module, c"default<O3>".as_ptr(), machine.0, settings);
            LLVMDisposePassBuilderOptions(settings);
            error
        };
        if let Some(message) = message(error) {
            return Err(Error::Llvm { stage: "optimize", message });
        }
        // SAFETY: `self` owns the module.
        unsafe {
            factors::take_apart(self.module);
            factors::settle(self.module);
        }
        Ok(())
    }
}

/// An owned target machine.
pub(super) struct Machine(LLVMTargetMachineRef);

impl Drop for Machine {
    fn drop(&mut self) {
        // SAFETY: owned.
        unsafe { LLVMDisposeTargetMachine(self.0) }
    }
}

impl Machine {
    /// A code generator for position-independent code.
    pub(super) fn new(triple: &str, cpu: &str, features: &str) -> Result<Self, Error> {
        initialize();
        let failed = |message| Error::Target { triple: triple.into(), message };
        let triple = c_string(triple);
        let (cpu, features) = (c_string(cpu), c_string(features));
        // SAFETY: all strings are NUL-terminated and outlive the calls.
        unsafe {
            let mut found = null_mut();
            let mut text = null_mut();
            if LLVMGetTargetFromTriple(triple.as_ptr(), &mut found, &mut text) != 0 {
                return Err(failed(take_message(text)));
            }
            let machine = LLVMCreateTargetMachine(
                found,
                triple.as_ptr(),
                cpu.as_ptr(),
                features.as_ptr(),
                LLVMCodeGenOptLevel::LLVMCodeGenLevelAggressive,
                LLVMRelocMode::LLVMRelocPIC,
                LLVMCodeModel::LLVMCodeModelDefault,
            );
            if machine.is_null() {
                return Err(failed("LLVM offers no target machine".into()));
            }
            Ok(Self(machine))
        }
    }

    /// Generates code into memory.
    fn emit(&self, module: LLVMModuleRef, kind: LLVMCodeGenFileType) -> Result<Vec<u8>, Error> {
        let (mut text, mut buffer) = (null_mut(), null_mut());
        // SAFETY: module and machine are alive; the buffer is copied, then freed.
        unsafe {
            if LLVMTargetMachineEmitToMemoryBuffer(self.0, module, kind, &mut text, &mut buffer)
                != 0
            {
                return Err(Error::Llvm { stage: "emit code", message: take_message(text) });
            }
            let start = LLVMGetBufferStart(buffer).cast::<u8>();
            let bytes = slice::from_raw_parts(start, LLVMGetBufferSize(buffer)).to_vec();
            LLVMDisposeMemoryBuffer(buffer);
            Ok(bytes)
        }
    }
}
