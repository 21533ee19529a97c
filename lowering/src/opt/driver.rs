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
use mlir_sys::{mlirContextSetAllowUnregisteredDialects, mlirPassManagerRunOnOp};
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
        let mut lines = Vec::new();
        crate::codegen::record(&diagnostic, &mut lines, "");
        sink.borrow_mut().extend(lines.iter().map(|line| plain(line)));
        true
    });
    let failure = |stage| {
        let found = diagnostics.borrow_mut().split_off(0);
        Error::Mlir { stage, diagnostics: found.join("\n") }
    };
    // SAFETY: the context lives to the end of this function; the operation is owned.
    let operation = unsafe {
        mlirContextSetAllowUnregisteredDialects(context.to_raw(), settings.allow_unregistered);
        shim::parse_module(context.to_raw(), source, settings.name)
            .map(|raw| Operation::from_raw(raw))
            .ok_or_else(|| failure("parse"))?
    };
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

/// `loc("file":line:column): text` as every compiler writes it, `file:line:column: text`.
fn plain(line: &str) -> String {
    let file = line.split_once("loc(\"").and_then(|(before, rest)| {
        let (file, rest) = rest.split_once("\":")?;
        let (position, rest) = rest.split_once(')')?;
        Some(format!("{before}{file}:{position}{rest}"))
    });
    file.unwrap_or_else(|| line.to_string())
}
