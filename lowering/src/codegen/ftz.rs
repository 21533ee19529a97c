//! Flushing of subnormals, set on entry to compiled code and on each of its threads.
//!
//! Every float operation takes and returns signed zeros in place of subnormals, rounding to nearest
//! even. The caller's mode comes back when the function or the worker's share of a loop ends.

use super::target::Arch;
use crate::Error;
use melior::{
    Context,
    dialect::func,
    ir::{
        BlockLike, BlockRef, Location, Module, OperationRef, RegionLike,
        attribute::{FlatSymbolRefAttribute, StringAttribute},
        operation::{OperationLike, WalkOrder, WalkResult},
        r#type::IntegerType,
    },
};

/// Function that sets the flushing mode: `() -> i32`, the former mode.
pub const ENTER: &str = "pamc_ftz_enter";
/// Function that restores a mode: `(i32) -> ()`.
pub const LEAVE: &str = "pamc_ftz_leave";

/// MXCSR: flush to zero, denormals are zero, all exceptions masked.
const X86: &str = r#"
func.func private @pamc_ftz_enter() -> i32 attributes {
    passthrough = ["alwaysinline"], llvm.linkage = #llvm.linkage<internal>} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %rounding = llvm.mlir.constant(-24577 : i32) : i32
  %flush = llvm.mlir.constant(40896 : i32) : i32
  %slot = llvm.alloca %one x i32 {alignment = 4 : i64} : (i32) -> !llvm.ptr
  llvm.call_intrinsic "llvm.x86.sse.stmxcsr"(%slot) : (!llvm.ptr) -> ()
  %old = llvm.load %slot : !llvm.ptr -> i32
  %nearest = llvm.and %old, %rounding : i32
  %new = llvm.or %nearest, %flush : i32
  llvm.store %new, %slot : i32, !llvm.ptr
  llvm.call_intrinsic "llvm.x86.sse.ldmxcsr"(%slot) : (!llvm.ptr) -> ()
  llvm.inline_asm has_side_effects "", "~{memory}" : () -> ()
  return %old : i32
}
func.func private @pamc_ftz_leave(%old: i32) attributes {
    passthrough = ["alwaysinline"], llvm.linkage = #llvm.linkage<internal>} {
  %one = llvm.mlir.constant(1 : i32) : i32
  %slot = llvm.alloca %one x i32 {alignment = 4 : i64} : (i32) -> !llvm.ptr
  llvm.inline_asm has_side_effects "", "~{memory}" : () -> ()
  llvm.store %old, %slot : i32, !llvm.ptr
  llvm.call_intrinsic "llvm.x86.sse.ldmxcsr"(%slot) : (!llvm.ptr) -> ()
  return
}
"#;

/// FPCR: bit 24 flushes, bits 22 and 23 cleared round to nearest.
const AARCH64: &str = r#"
func.func private @pamc_ftz_enter() -> i32 attributes {
    passthrough = ["alwaysinline"], llvm.linkage = #llvm.linkage<internal>} {
  %rounding = llvm.mlir.constant(-12582913 : i64) : i64
  %flush = llvm.mlir.constant(16777216 : i64) : i64
  %old = llvm.call_intrinsic "llvm.aarch64.get.fpcr"() : () -> i64
  %nearest = llvm.and %old, %rounding : i64
  %new = llvm.or %nearest, %flush : i64
  llvm.call_intrinsic "llvm.aarch64.set.fpcr"(%new) : (i64) -> ()
  llvm.inline_asm has_side_effects "", "~{memory}" : () -> ()
  %low = llvm.trunc %old : i64 to i32
  return %low : i32
}
func.func private @pamc_ftz_leave(%old: i32) attributes {
    passthrough = ["alwaysinline"], llvm.linkage = #llvm.linkage<internal>} {
  llvm.inline_asm has_side_effects "", "~{memory}" : () -> ()
  %wide = llvm.zext %old : i32 to i64
  llvm.call_intrinsic "llvm.aarch64.set.fpcr"(%wide) : (i64) -> ()
  return
}
"#;

/// MLIR text of [`ENTER`] and [`LEAVE`] for an instruction set: two private functions, always
/// inlined.
pub fn helpers(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => X86,
        Arch::Aarch64 => AARCH64,
    }
}

/// Sets the mode around every public function with a body and every `omp.parallel` region.
pub(super) fn instrument(context: &Context, module: &Module, arch: Arch) -> Result<(), Error> {
    let mut defined = false;
    module.as_operation().walk(WalkOrder::PreOrder, |operation| {
        let terminator = match operation.name().as_string_ref().as_str().unwrap_or_default() {
            "func.func" => {
                defined |= symbol(&operation).as_deref() == Some(ENTER);
                let exported = !operation.has_attribute("sym_visibility");
                exported.then_some("func.return")
            }
            "omp.parallel" => Some("omp.terminator"),
            _ => None,
        };
        // Asking an operation without regions for one formats an error, which prints and verifies
        // it.
        if let Some(terminator) = terminator
            && let Some(entry) = operation.region(0).ok().and_then(|region| region.first_block())
        {
            guard(context, entry, terminator);
        }
        WalkResult::Advance
    });
    if !defined {
        define(context, module, arch)?;
    }
    Ok(())
}

/// Name of a symbol operation.
fn symbol(operation: &OperationRef) -> Option<String> {
    let name = operation.attribute("sym_name").ok()?;
    Some(StringAttribute::try_from(name).ok()?.value().to_string())
}

/// Enters the mode at the head of `entry` and leaves it before each `terminator` of its region.
fn guard<'c>(context: &'c Context, entry: BlockRef<'c, '_>, terminator: &str) {
    let location = Location::unknown(context);
    let i32_type = IntegerType::new(context, 32).into();
    let callee = |name| FlatSymbolRefAttribute::new(context, name);
    let enter = func::call(context, callee(ENTER), &[], &[i32_type], location);
    let enter = entry.insert_operation(0, enter);
    let Ok(mode) = enter.result(0) else { return };
    let mut block = Some(entry);
    while let Some(current) = block {
        if let Some(end) = current.terminator()
            && end.name().as_string_ref().as_str() == Ok(terminator)
        {
            let leave = func::call(context, callee(LEAVE), &[mode.into()], &[], location);
            current.insert_operation_before(end, leave);
        }
        block = current.next_in_region();
    }
}

/// Adds the helper functions to a module.
fn define(context: &Context, module: &Module, arch: Arch) -> Result<(), Error> {
    let helpers = Module::parse(context, helpers(arch)).ok_or(Error::Mlir {
        stage: "parse",
        diagnostics: "the flushing helpers do not parse".into(),
    })?;
    let mut next = helpers.body().first_operation();
    while let Some(operation) = next {
        next = operation.next_in_block();
        module.body().append_operation((*operation).clone());
    }
    Ok(())
}
