//! The entry points that MLIR 22 looks for in a plug-in: the passes of [`pamc_lowering::opt`] and the
//! `pam` dialect, for `mlir-opt --load-pass-plugin` and `--load-dialect-plugin`.
//!
//! The library must run on the same shared `libMLIR` as its host, which the loader sees to.

use mlir_sys::MlirDialectRegistry;
use pamc_lowering::opt;
use std::{
    ffi::{c_char, c_void},
    panic::catch_unwind,
};

/// `mlir::PassPluginLibraryInfo` and `mlir::DialectPluginLibraryInfo`: their layouts are the same but
/// for the argument of the callback.
#[repr(C)]
pub struct PluginInfo<F> {
    /// Version of the interface: 1.
    api_version: u32,
    name: *const c_char,
    version: *const c_char,
    register: F,
}

const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "\0");

extern "C" fn register_passes() {
    // A panic must not unwind into C++; without passes, the host names the one it misses.
    let _ = catch_unwind(opt::register_passes);
}

extern "C" fn register_dialect(registry: *mut c_void) {
    let _ = catch_unwind(|| opt::register_dialect(MlirDialectRegistry { ptr: registry }));
}

/// Called by the host for the passes.
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "the name that MLIR looks for")]
pub extern "C" fn mlirGetPassPluginInfo() -> PluginInfo<extern "C" fn()> {
    PluginInfo {
        api_version: 1,
        name: c"pamc".as_ptr(),
        version: VERSION.as_ptr().cast(),
        register: register_passes,
    }
}

/// Called by the host for the dialect.
#[unsafe(no_mangle)]
#[allow(non_snake_case, reason = "the name that MLIR looks for")]
pub extern "C" fn mlirGetDialectPluginInfo() -> PluginInfo<extern "C" fn(*mut c_void)> {
    PluginInfo {
        api_version: 1,
        name: c"pamc".as_ptr(),
        version: VERSION.as_ptr().cast(),
        register: register_dialect,
    }
}
