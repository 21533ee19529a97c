//! The MLIR half: parsing, verification and the pass pipeline down to the LLVM dialect.

use super::{Options, Target, ftz};
use crate::Error;
use melior::{
    Context,
    diagnostic::Diagnostic,
    dialect::DialectRegistry,
    ir::{Module, operation::OperationLike},
    pass::PassManager,
    utility::{
        parse_pass_pipeline, register_all_dialects, register_all_llvm_translations,
        register_all_passes,
    },
};
use std::{cell::RefCell, rc::Rc};

/// One MLIR context with the diagnostics it has reported.
pub(super) struct Session {
    // Dropped before the context's clients could use it again: the context owns the handler.
    context: Context,
    diagnostics: Rc<RefCell<Vec<String>>>,
}

/// Before worker threads are told to flush: parallel loops become OpenMP regions.
const PARALLELIZE: &str = "builtin.module(canonicalize,cse,convert-scf-to-openmp)";

/// From structured loops and vectors to the LLVM dialect.
fn lowering_pipeline(options: &Options) -> String {
    let bare = u8::from(options.bare_pointers);
    let passes = [
        // Transfers with strides, masks or more than one dimension become loops over
        // one-dimensional ones.
        "func.func(convert-vector-to-scf{full-unroll=true})",
        "func.func(lower-vector-multi-reduction)",
        // Views become pointers plus affine offsets, which become arithmetic.
        "memref-expand",
        "expand-strided-metadata",
        "lower-affine",
        "canonicalize",
        "cse",
        // Structured control flow ends here; nothing below knows loops.
        "convert-scf-to-cf",
        "convert-vector-to-llvm",
        "convert-math-to-llvm",
        "convert-math-to-libm",
        "convert-arith-to-llvm",
        "convert-index-to-llvm",
        "finalize-memref-to-llvm",
        // Before OpenMP's conversion, which would lower functions too, without the calling
        // convention.
        &format!("convert-func-to-llvm{{use-bare-ptr-memref-call-conv={bare}}}"),
        "convert-openmp-to-llvm",
        "convert-cf-to-llvm",
        "convert-ub-to-llvm",
        "canonicalize",
        "cse",
        "reconcile-unrealized-casts",
    ];
    format!("builtin.module({})", passes.join(","))
}

impl Session {
    /// A context with every dialect and translation, its diagnostics recorded.
    pub(super) fn new() -> Self {
        register_all_passes();
        let registry = DialectRegistry::new();
        register_all_dialects(&registry);
        // Modules compile in parallel, so each context stays on its caller's thread.
        let context = Context::new_with_registry(&registry, false);
        register_all_llvm_translations(&context);
        let diagnostics = Rc::new(RefCell::new(Vec::new()));
        let sink = diagnostics.clone();
        context.attach_diagnostic_handler(move |diagnostic| {
            record(&diagnostic, &mut sink.borrow_mut(), "");
            true
        });
        Self { context, diagnostics }
    }

    /// Parses and verifies a module.
    pub(super) fn parse(&self, text: &str) -> Result<Module<'_>, Error> {
        if text.contains('\0') {
            let diagnostics = "the text holds a NUL character".into();
            return Err(Error::Mlir { stage: "parse", diagnostics });
        }
        let module = Module::parse(&self.context, text).ok_or_else(|| self.failure("parse"))?;
        if !module.as_operation().verify() {
            return Err(self.failure("verify"));
        }
        Ok(module)
    }

    /// Lowers a module to the LLVM dialect.
    pub(super) fn lower(
        &self,
        module: &mut Module,
        target: &Target,
        options: &Options,
    ) -> Result<(), Error> {
        self.run(module, PARALLELIZE)?;
        if options.flush_subnormals {
            ftz::instrument(&self.context, module, target.arch)?;
        }
        self.run(module, &lowering_pipeline(options))
    }

    /// Runs a textual pass pipeline.
    pub(super) fn run(&self, module: &mut Module, pipeline: &str) -> Result<(), Error> {
        let manager = PassManager::new(&self.context);
        parse_pass_pipeline(manager.as_operation_pass_manager(), pipeline)
            .map_err(|e| Error::Mlir { stage: "lower", diagnostics: e.to_string() })?;
        manager.run(module).map_err(|_| self.failure("lower"))
    }

    /// An error with everything reported so far.
    pub(super) fn failure(&self, stage: &'static str) -> Error {
        let mut diagnostics = self.diagnostics.borrow_mut().split_off(0).join("\n");
        if diagnostics.is_empty() {
            diagnostics = "no diagnostic was given".into();
        }
        Error::Mlir { stage, diagnostics }
    }
}

/// Appends a diagnostic and its notes, each as `location: text`.
pub(crate) fn record(diagnostic: &Diagnostic, sink: &mut Vec<String>, indent: &str) {
    sink.push(format!("{indent}{}: {diagnostic}", diagnostic.location()));
    for index in 0..diagnostic.note_count() {
        if let Ok(note) = diagnostic.note(index) {
            record(&note, sink, "  note: ");
        }
    }
}
