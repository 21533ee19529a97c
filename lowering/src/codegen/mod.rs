//! From MLIR text to machine code.
//!
//! [`compile`] parses a module of the dialects func, scf, arith, vector, memref, math, omp and
//! llvm, lowers it, optimizes it with LLVM's ordinary `O3` pipeline and emits a
//! position-independent object; [`build`] does so to a module in parts, each on its own and none twice
//! if a [`Cache`] keeps them. [`Jit`] runs objects in this process; [`link_shared`] makes a
//! shared library of them.
//!
//! Float semantics: no fast-math flag is ever set, subnormals are flushed in every public function
//! and on every worker thread (see [`ftz`]), and LLVM is told so.

pub(crate) mod cache;
mod factors;
pub mod ftz;
mod gpu;
mod jit;
mod link;
mod llvm;
mod mlir;
pub(crate) use mlir::record;
mod openmp;
mod parts;
mod target;

pub use cache::Cache;
pub use gpu::{GpuObject, compile_gpu};
pub use jit::Jit;
pub(crate) use link::run_linker;
pub use link::{link_shared, merge};
pub(crate) use llvm::{Module as LlvmModule, c_string, initialize};
pub use openmp::{set_threads, threads};
pub(crate) use parts::Access;
pub use parts::{Parts, build};
pub use target::{Arch, Target};

use crate::Error;

/// How to compile, and which intermediate forms to keep.
#[derive(Clone, Debug)]
pub struct Options {
    /// Pass memrefs of static shape as bare pointers (the C calling convention) instead of as
    /// descriptors.
    pub bare_pointers: bool,
    /// Flush subnormals to zero in every public function and on every worker thread.
    pub flush_subnormals: bool,
    /// Keep the text of the module in the LLVM dialect.
    pub keep_lowered: bool,
    /// Keep the optimized LLVM IR.
    pub keep_llvm: bool,
    /// Keep the assembly text.
    pub keep_assembly: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bare_pointers: true,
            flush_subnormals: true,
            keep_lowered: false,
            keep_llvm: false,
            keep_assembly: false,
        }
    }
}

/// A compiled module.
#[derive(Clone, Debug)]
pub struct Object {
    /// Relocatable ELF, position independent.
    pub bytes: Vec<u8>,
    /// What it was compiled for.
    pub target: Target,
    /// The module in the LLVM dialect, if [`Options::keep_lowered`].
    pub lowered: Option<String>,
    /// Optimized LLVM IR, if [`Options::keep_llvm`].
    pub llvm: Option<String>,
    /// Assembly, if [`Options::keep_assembly`].
    pub assembly: Option<String>,
}

impl Object {
    /// Code without its intermediate forms.
    fn new(bytes: Vec<u8>, target: &Target) -> Self {
        Self { bytes, target: target.clone(), lowered: None, llvm: None, assembly: None }
    }
}

/// Parses and verifies a module and shows it.
pub(crate) fn with_module<T>(
    text: &str,
    show: impl FnOnce(&melior::ir::Module<'_>) -> T,
) -> Result<T, Error> {
    Ok(show(&mlir::Session::new().parse(text)?))
}

/// Compiles one MLIR module. Every call has its own MLIR and LLVM context: call it from many
/// threads.
///
/// A public `func.func` is exported under its name. A memref argument of static shape and identity
/// layout is a pointer to its first element (unless [`Options::bare_pointers`] is off), an `index`
/// is a 64-bit integer. The iterations of an `scf.parallel` are shared out over OpenMP's threads.
///
/// # Errors
/// [`Error::Mlir`] with all diagnostics when the text does not parse, verify, lower or translate;
/// [`Error::Target`] and [`Error::Llvm`] when LLVM cannot generate code.
pub fn compile(text: &str, target: &Target, options: &Options) -> Result<Object, Error> {
    compile_in(&mlir::Session::new(), text, target, options)
}

fn compile_in(
    session: &mlir::Session,
    text: &str,
    target: &Target,
    options: &Options,
) -> Result<Object, Error> {
    let mut module = session.parse(text)?;
    session.lower(&mut module, target, options)?;
    let lowered = options.keep_lowered.then(|| module.as_operation().to_string());
    let llvm = llvm::Module::translate(session, &module)?;
    llvm.emit(target, options, lowered)
}
