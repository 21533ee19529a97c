//! The pam dialect, made of the op table: as IRDL text, and as a dialect that comes with the passes.

use super::{
    shim::{self, RawDialectOp},
    term,
};
use mlir_sys::*;
use std::{ffi::c_char, fmt::Write, sync::OnceLock};

/// The pam dialect in IRDL, for `mlir-opt --irdl-file`; `lowering/dialect/pam.irdl.mlir` holds it.
///
/// IRDL checks the number of operands, that all types are one, and the attributes; it has no traits,
/// so CSE leaves duplicates.
pub fn irdl() -> String {
    let mut text = String::from(
        "// Elementwise piecewise affine operations on floats, or vectors or tensors of them.\n\
         // Made from the op table (`pamc ops pam.` documents them); a test compares.\n\
         irdl.dialect @pam {\n",
    );
    for op in term::pam_rows() {
        let name = op.name.trim_start_matches("pam.");
        let operands: Vec<String> = op.args.iter().map(|a| format!("{a}: %type")).collect();
        let _ = write!(
            text,
            "  irdl.operation @{name} {{\n    \
             %f32 = irdl.is f32\n    %f16 = irdl.is f16\n    %bf16 = irdl.is bf16\n    \
             %vector = irdl.base \"!builtin.vector\"\n    \
             %tensor = irdl.base \"!builtin.tensor\"\n    \
             %type = irdl.any_of(%f32, %f16, %bf16, %vector, %tensor)\n    \
             irdl.operands({})\n    irdl.results(result: %type)\n",
            operands.join(", ")
        );
        if !op.attrs.is_empty() {
            let attrs: Vec<String> =
                op.attrs.iter().map(|a| format!("\"{}\" = %attribute", a.name)).collect();
            let _ = write!(
                text,
                "    %attribute = irdl.any\n    irdl.attributes {{{}}}\n",
                attrs.join(", ")
            );
        }
        text.push_str("  }\n");
    }
    text.push_str("}\n");
    text
}

// Tables that MLIR keeps pointers to; they are made once and never change.
struct Table(Vec<RawDialectOp>);
// SAFETY: the pointers are to leaked, immutable strings.
unsafe impl Send for Table {}
// SAFETY: as above.
unsafe impl Sync for Table {}

fn table() -> &'static [RawDialectOp] {
    static TABLE: OnceLock<Table> = OnceLock::new();
    &TABLE
        .get_or_init(|| {
            let row = |op: &'static pamc_passes::ops::Op| {
                let attributes: Vec<*const c_char> =
                    op.attrs.iter().map(|a| shim::leak(a.name)).collect();
                let attributes: &'static [*const c_char] = Box::leak(attributes.into_boxed_slice());
                RawDialectOp {
                    name: shim::leak(op.name.trim_start_matches("pam.")),
                    operands: op.args.len(),
                    attributes: attributes.as_ptr(),
                    attribute_count: attributes.len(),
                }
            };
            Table(term::pam_rows().map(row).collect())
        })
        .0
}

/// Offers the pam dialect to a registry.
pub fn register_dialect(registry: MlirDialectRegistry) {
    shim::insert_dialect(registry, c"pam".as_ptr(), table());
}

/// Offers every dialect that the passes make operations of.
pub(super) fn register_dependencies(registry: MlirDialectRegistry) {
    // SAFETY: handles are static; the registry is alive.
    unsafe {
        for handle in [
            mlirGetDialectHandle__arith__(),
            mlirGetDialectHandle__func__(),
            mlirGetDialectHandle__linalg__(),
            mlirGetDialectHandle__math__(),
            mlirGetDialectHandle__memref__(),
            mlirGetDialectHandle__scf__(),
            mlirGetDialectHandle__tensor__(),
            mlirGetDialectHandle__ub__(),
            mlirGetDialectHandle__vector__(),
        ] {
            mlirDialectHandleInsertDialect(handle, registry);
        }
    }
    register_dialect(registry);
}
