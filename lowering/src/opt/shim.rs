//! Calls into `shim.cpp` and back.

use super::{
    PASSES, PassSpec, dialect,
    ir::{Op, string_ref, text},
};
use mlir_sys::{MlirContext, MlirDialectRegistry, MlirLocation, MlirOperation, MlirStringRef};
use std::{
    any::Any,
    ffi::{CStr, CString, c_char},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Mutex, Once},
};

#[repr(C)]
struct RawOption {
    name: *const c_char,
    doc: *const c_char,
    default: *const c_char,
}

#[repr(C)]
struct RawPass {
    name: *const c_char,
    doc: *const c_char,
    options: *const RawOption,
    option_count: usize,
    id: usize,
}

#[repr(C)]
pub(super) struct RawDialectOp {
    pub name: *const c_char,
    pub operands: usize,
    pub attributes: *const *const c_char,
    pub attribute_count: usize,
}

unsafe extern "C" {
    fn pamcRegisterPass(spec: *const RawPass);
    fn pamcInsertDialect(
        registry: MlirDialectRegistry,
        name: *const c_char,
        ops: *const RawDialectOp,
        count: usize,
    );
    fn pamcParseModule(
        context: MlirContext,
        source: MlirStringRef,
        name: MlirStringRef,
    ) -> MlirOperation;
    fn pamcIsNamedStructured(op: MlirOperation) -> i32;
    fn pamcGeneralize(op: MlirOperation) -> bool;
    fn pamcDecompose(op: MlirOperation) -> bool;
    fn pamcWarn(location: MlirLocation, message: *const c_char);
    fn pamcLowerAffine(operation: MlirOperation);
    fn pamcExpandVectors(ops: *const MlirOperation, count: usize);
}

/// A string that lives for ever, for tables that MLIR keeps.
pub(super) fn leak(text: &str) -> *const c_char {
    CString::new(text).unwrap_or_default().into_raw()
}

// Passes by the number that C++ calls them by.
static REGISTERED: Mutex<Vec<&'static PassSpec>> = Mutex::new(Vec::new());

/// Puts a pass into MLIR's global registry, under its name.
pub(super) fn register_pass(spec: &'static PassSpec) {
    let option = |o: &super::OptionSpec| RawOption {
        name: leak(o.name),
        doc: leak(o.doc),
        default: leak(o.default),
    };
    let options: &'static [RawOption] =
        Box::leak(spec.options.iter().map(option).collect::<Vec<_>>().into_boxed_slice());
    let mut registered = REGISTERED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let pass: &'static RawPass = Box::leak(Box::new(RawPass {
        name: leak(spec.name),
        doc: leak(spec.doc),
        options: options.as_ptr(),
        option_count: options.len(),
        id: registered.len(),
    }));
    registered.push(spec);
    // SAFETY: the tables live for ever.
    unsafe { pamcRegisterPass(pass) }
}

/// Puts every pass into MLIR's global registry; once a process.
pub fn register_passes() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| PASSES.iter().for_each(register_pass));
}

/// What a panic said.
fn reason(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("for a reason unknown")
}

fn pass(id: usize) -> Option<&'static PassSpec> {
    let registered = REGISTERED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    registered.get(id).copied()
}

/// Runs a pass for C++. A failure and a panic are reported on the operation; neither unwinds.
#[unsafe(no_mangle)]
extern "C" fn pamc_run_pass(
    id: usize,
    op: MlirOperation,
    options: *const MlirStringRef,
    count: usize,
) -> bool {
    let done = catch_unwind(AssertUnwindSafe(|| {
        let spec = pass(id).ok_or("pamc: no such pass")?;
        let values: Vec<&str> = (0..count)
            // SAFETY: `options` has `count` strings, alive during this call.
            .map(|i| unsafe { text(*options.add(i)) })
            .collect();
        (spec.run)(Op(op), &values)
    }));
    let message = match done {
        Ok(Ok(())) => return true,
        Ok(Err(message)) => message,
        Err(panic) => format!("pamc: internal error, please report it: {}", reason(&*panic)),
    };
    // A second panic, in reporting the first, is swallowed: the pass has failed either way.
    let _ = catch_unwind(AssertUnwindSafe(|| Op(op).error(&message)));
    false
}

/// Names the dialects a pass makes operations of.
#[unsafe(no_mangle)]
extern "C" fn pamc_dependent_dialects(_id: usize, registry: MlirDialectRegistry) {
    let _ = catch_unwind(AssertUnwindSafe(|| dialect::register_dependencies(registry)));
}

/// Offers a dialect made of a table of operations.
pub(super) fn insert_dialect(
    registry: MlirDialectRegistry,
    name: *const c_char,
    ops: &'static [RawDialectOp],
) {
    // SAFETY: the table and the name live for ever.
    unsafe { pamcInsertDialect(registry, name, ops.as_ptr(), ops.len()) }
}

/// Parses text or bytecode as a module, which is made around operations without one; `None` on a
/// failure, which is reported to the context.
pub(super) fn parse_module(
    context: MlirContext,
    source: &[u8],
    name: &str,
) -> Option<MlirOperation> {
    // MLIR reads one byte past the end of text, which has to be 0.
    let mut terminated = Vec::with_capacity(source.len() + 1);
    terminated.extend_from_slice(source);
    terminated.push(0);
    let source = MlirStringRef { data: terminated.as_ptr().cast(), length: source.len() };
    // SAFETY: source and name outlive the call.
    let operation = unsafe { pamcParseModule(context, source, string_ref(name)) };
    (!operation.ptr.is_null()).then_some(operation)
}

// SAFETY of the calls below: the operation is alive and its context is not otherwise in use here.

/// True for a structured operation whose body its text does not show.
pub(super) fn is_named_structured(op: Op) -> bool {
    unsafe { pamcIsNamedStructured(op.0) != 0 }
}

/// Makes a `linalg.generic` of a named structured operation; `op` is gone if it returns true.
pub(super) fn generalize(op: Op) -> bool {
    unsafe { pamcGeneralize(op.0) }
}

/// Makes structured operations of an aggregate; `op` is gone if it returns true.
pub(super) fn decompose(op: Op) -> bool {
    unsafe { pamcDecompose(op.0) }
}

/// Reports a warning.
pub(super) fn warn(location: MlirLocation, message: &CStr) {
    // SAFETY: the location is one of a living context; the message outlives the call.
    unsafe { pamcWarn(location, message.as_ptr()) }
}

/// Applies upstream's lowerings to an affine operation and all inside it; `op` may be gone afterwards.
pub(super) fn lower_affine(op: Op) {
    unsafe { pamcLowerAffine(op.0) }
}

/// Applies upstream's lowerings to vector operations, which may be gone afterwards.
pub(super) fn expand_vectors(ops: &[Op]) {
    let raw: Vec<MlirOperation> = ops.iter().map(|op| op.0).collect();
    unsafe { pamcExpandVectors(raw.as_ptr(), raw.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::opt::driver::{self, Settings};

    static PANICS: PassSpec = PassSpec {
        name: "pamc-test-panic",
        doc: "Panics, for a test",
        options: &[],
        run: |op, _| panic!("planted in {}", op.name()),
    };

    #[test]
    fn panics_become_errors_and_do_not_cross_into_cpp() {
        register_pass(&PANICS);
        let settings = Settings {
            name: "planted.mlir",
            pipeline: "builtin.module(func.func(pamc-test-panic))",
            allow_unregistered: false,
            bytecode: false,
            debug_info: false,
        };
        let text = "func.func @f() { return }\nfunc.func @g() { return }";
        let error = driver::run(text.as_bytes(), &settings).unwrap_err().to_string();
        for part in ["planted.mlir", "internal error", "planted in func.func"] {
            assert!(error.contains(part), "{error}");
        }
    }
}
