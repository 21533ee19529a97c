//! What `pamc opt` does: parse a module, run a pipeline, print.

use super::{dialect, shim};
use crate::Error;
use melior::{
    Context,
    dialect::DialectRegistry,
    ir::operation::{Operation, OperationLike, OperationPrintingFlags},
    pass::PassManager,
    utility::{parse_pass_pipeline, register_all_dialects, register_all_passes},
};
use mlir_sys::{
    mlirContextSetAllowUnregisteredDialects, mlirOperationCreateParse, mlirPassManagerRunOnOp,
};
use std::{cell::RefCell, rc::Rc, sync::Once};

/// How to run.
#[derive(Clone, Debug)]
pub struct Settings<'a> {
    /// Name of the source, for locations.
    pub name: &'a str,
    /// Pass pipeline in MLIR's notation, `builtin.module(…)`.
    pub pipeline: &'a str,
    /// Accept operations of dialects that nobody registered.
    pub allow_unregistered: bool,
    /// Give bytecode in place of text.
    pub bytecode: bool,
    /// Print locations.
    pub debug_info: bool,
}

/// What a run gives.
#[derive(Clone, Debug)]
pub struct Output {
    /// The module, as text or bytecode.
    pub module: Vec<u8>,
    /// Warnings and remarks, each with its place.
    pub diagnostics: Vec<String>,
}

/// Runs a pipeline on a module in text or bytecode; gives text or bytecode.
///
/// Every dialect and pass of MLIR is there, the pam dialect, and the passes of this module.
///
/// # Errors
/// [`Error::Mlir`] with every diagnostic and its place.
pub fn run(source: &[u8], settings: &Settings<'_>) -> Result<Output, Error> {
    static ONCE: Once = Once::new();
    ONCE.call_once(register_all_passes);
    shim::register_passes();
    let registry = DialectRegistry::new();
    register_all_dialects(&registry);
    dialect::register_dialect(registry.to_raw());
    let context = Context::new_with_registry(&registry, false);
    let diagnostics = Rc::new(RefCell::new(Vec::new()));
    let sink = diagnostics.clone();
    context.attach_diagnostic_handler(move |diagnostic| {
        crate::codegen::record(&diagnostic, &mut sink.borrow_mut(), "");
        true
    });
    let failure = |stage| {
        let found = diagnostics.borrow_mut().split_off(0);
        Error::Mlir { stage, diagnostics: found.join("\n") }
    };
    let operation = parse(&context, source, settings).ok_or_else(|| failure("parse"))?;
    let manager = PassManager::new(&context);
    parse_pass_pipeline(manager.as_operation_pass_manager(), settings.pipeline)
        .map_err(|e| Error::Mlir { stage: "parse the pipeline", diagnostics: e.to_string() })?;
    // SAFETY: manager and operation are of the same living context.
    let result = unsafe { mlirPassManagerRunOnOp(manager.to_raw(), operation.to_raw()) };
    if result.value == 0 {
        return Err(failure("run the pipeline"));
    }
    let module = if settings.bytecode {
        operation.write_bytecode()
    } else {
        let flags = OperationPrintingFlags::new();
        let flags = if settings.debug_info { flags.enable_debug_info(true, false) } else { flags };
        let text = operation.to_string_with_flags(flags).map_err(|_| failure("print"))?;
        (text.trim_end().to_string() + "\n").into_bytes()
    };
    let diagnostics = diagnostics.borrow_mut().split_off(0);
    Ok(Output { module, diagnostics })
}

/// The top-level operation of a source: a module, made around the operations if there is none.
fn parse<'c>(
    context: &'c Context,
    source: &[u8],
    settings: &Settings<'_>,
) -> Option<Operation<'c>> {
    let string =
        |bytes: &[u8]| mlir_sys::MlirStringRef { data: bytes.as_ptr().cast(), length: bytes.len() };
    // MLIR reads one byte past the end of text, which has to be 0.
    let mut terminated = Vec::with_capacity(source.len() + 1);
    terminated.extend_from_slice(source);
    terminated.push(0);
    let name = settings.name.replace('\0', "") + "\0";
    // SAFETY: source and name outlive the call, and both end in a NUL.
    unsafe {
        mlirContextSetAllowUnregisteredDialects(context.to_raw(), settings.allow_unregistered);
        let raw = mlirOperationCreateParse(
            context.to_raw(),
            string(&terminated[..source.len()]),
            string(&name.as_bytes()[..name.len() - 1]),
        );
        (!raw.ptr.is_null()).then(|| Operation::from_raw(raw))
    }
}
