//! `pamc MODEL --emit KIND`: from a model to a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use pamc_lowering::audit;
use pamc_lowering::codegen::{self, Cache, Object, Options, link_shared, merge};
use pamc_lowering::emit::{EmitOptions, Emitted, module_for_run};
use pamc_lowering::gpu::plan::Format;
use pamc_lowering::gpu::{GpuProgram, GpuTarget, compile_run, compile_train};
use pamc_passes::egraph::Report;
use pamc_passes::ir::Dims;
use pamc_passes::manager::Timing;
use pamc_passes::program::Program;

use super::args::{ArithArgs, CompilerArgs, ModelArgs};
use super::output::{put, table};
use super::train::TrainArgs;
use crate::compile::{Settings, TrainProgram, compile, compile_training};
use crate::dsl::Mode;
use crate::error::Error;
use crate::onnx::export;
use crate::runtime::files::Tensors;
use crate::source::Source;

/// What to emit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EmitKind {
    /// The graph of real operations as it was read, as text
    Graph,
    /// The graph of primitives after all passes, as text
    Pam,
    /// The same graph as an ONNX model of integer operators, which any ONNX runtime (operator set 26)
    /// executes to the same bits; a training step takes and returns its parameters and state
    Onnx,
    /// The MLIR module
    Mlir,
    /// Optimized LLVM IR
    Llvm,
    /// Assembly
    Asm,
    /// An object file
    Obj,
    /// A shared library, with a C header and a description of its memory beside it
    Lib,
    /// A folder of GPU kernels with their launch plan and a C header: PTX, or as --gpu-arch has it
    Gpu,
    /// NVIDIA's virtual assembly, which its driver compiles
    Ptx,
    /// NVIDIA machine code, by way of ptxas
    Cubin,
    /// AMDGPU assembly
    Amdgcn,
    /// AMDGPU machine code
    Hsaco,
    /// Vulkan shaders
    Spirv,
}

impl EmitKind {
    /// What GPU code it is for and in which form; `None` if it is no GPU code.
    ///
    /// # Errors
    /// If the form is not that of the GPU asked for.
    fn gpu(self, arch: Option<&str>) -> Result<Option<(GpuTarget, Format)>, Error> {
        let (format, default) = match self {
            EmitKind::Gpu => (None, "sm_80"),
            EmitKind::Ptx => (Some(Format::Ptx), "sm_80"),
            EmitKind::Cubin => (Some(Format::Cubin), "sm_80"),
            EmitKind::Amdgcn => (Some(Format::Amdgcn), "gfx90a"),
            EmitKind::Hsaco => (Some(Format::Hsaco), "gfx90a"),
            EmitKind::Spirv => (Some(Format::Spirv), "vulkan1.1"),
            _ if arch.is_some() => {
                return Err(Error::usage("--gpu-arch goes with --emit gpu and its forms"));
            }
            _ => return Ok(None),
        };
        let target = GpuTarget::named(arch.unwrap_or(default))?;
        let formats = target.formats();
        let format = format.unwrap_or(formats[0]);
        if !formats.contains(&format) {
            let names: Vec<_> = formats.iter().map(|f| f.name()).collect();
            return Err(Error::usage(format!(
                "{} is not emitted for {}, but {}",
                format.name(),
                target.name(),
                names.join(" and ")
            )));
        }
        Ok(Some((target, format)))
    }
}

/// Arguments of the main command.
#[derive(Args, Debug)]
pub struct EmitArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// What to emit
    // In the group by hand: the derive leaves it empty where a struct holds others.
    #[arg(long, value_enum, group = "EmitArgs")]
    emit: EmitKind,
    /// Where to write it [default: text to the terminal, files under the model's name]
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Add loss, gradients, optimizer and the loop over batches
    #[arg(long)]
    train: bool,
    #[command(flatten)]
    training: TrainArgs,
    /// GPU to emit code for: sm_80, sm_90, gfx90a, gfx942, vulkan1.1, …
    #[arg(long, value_name = "NAME")]
    gpu_arch: Option<String>,
    #[command(flatten)]
    arith: ArithArgs,
    #[command(flatten)]
    compiler: CompilerArgs,
}

/// A program of either sort.
enum Ready {
    Run(Program),
    Train(Box<TrainProgram>),
}

impl Ready {
    fn text(&self) -> String {
        match self {
            Ready::Run(p) => p.graph().to_string(),
            Ready::Train(t) => match &t.micro {
                Some(micro) => format!("{}\n{}", micro.graph(), t.step.graph()),
                None => t.step.graph().to_string(),
            },
        }
    }

    fn is_mul_free(&self) -> bool {
        match self {
            Ready::Run(p) => p.is_mul_free(),
            Ready::Train(t) => t.step.is_mul_free(),
        }
    }

    fn gpu(&self, target: GpuTarget, format: Format) -> Result<GpuProgram, Error> {
        Ok(match self {
            Ready::Run(p) => compile_run(p, target, format)?,
            Ready::Train(t) => compile_train(t.programs(), target, format)?,
        })
    }

    fn module(&self, target: &codegen::Target) -> Result<Emitted, Error> {
        Ok(match self {
            Ready::Run(p) => module_for_run(p, target, &EmitOptions::default())?,
            Ready::Train(t) => t.module(target)?,
        })
    }
}

/// Emit.
pub fn run(args: &EmitArgs) -> Result<(), Error> {
    let gpu = args.emit.gpu(args.gpu_arch.as_deref())?;
    let source = args.model.open()?;
    let dims = args.model.dims();
    if args.emit == EmitKind::Graph && !args.train {
        let model = source.build(&dims, Mode::Infer, args.model.seed)?;
        return put(args.output.as_deref(), model.graph.to_string().as_bytes());
    }
    if args.emit == EmitKind::Onnx && !args.train {
        return write_forward_onnx(args, &source, &dims);
    }
    let ready = ready(args, &source, &dims)?;
    let Some((ready, initial)) = ready else { return Ok(()) };
    if args.emit == EmitKind::Onnx {
        return write_step_onnx(args, &ready);
    }
    if args.emit == EmitKind::Pam {
        return put(args.output.as_deref(), ready.text().as_bytes());
    }
    if let Some((target, format)) = gpu {
        let files = ready.gpu(target, format)?;
        return write_gpu(args, &files, &initial, ready.is_mul_free());
    }
    let target = args.compiler.target()?;
    let emitted = ready.module(&target)?;
    if let Some(folder) = &args.compiler.dump_phases {
        put(Some(&folder.join("module.mlir")), emitted.parts.whole().as_bytes())?;
    }
    if args.emit == EmitKind::Mlir {
        let text = emitted.parts.whole();
        if ready.is_mul_free() {
            clean(text.as_bytes())?;
        }
        stats(&args.compiler, &emitted, None);
        return put(args.output.as_deref(), text.as_bytes());
    }
    let options = Options {
        keep_llvm: args.emit == EmitKind::Llvm,
        keep_assembly: args.emit == EmitKind::Asm,
        ..Options::default()
    };
    let cache = args.compiler.cache();
    let made = generate(&emitted, ready.is_mul_free(), &target, &options, cache.as_ref());
    let (object, found) = made.map_err(|e| on_the_way(e, args))?;
    stats(&args.compiler, &emitted, Some(&found));
    let to = args.output.as_deref();
    match args.emit {
        EmitKind::Llvm => put(to, object.llvm.unwrap_or_default().as_bytes()),
        EmitKind::Asm => put(to, object.assembly.unwrap_or_default().as_bytes()),
        EmitKind::Obj => write_object(args, &emitted, &object),
        _ => write_library(args, &emitted, &object),
    }
}

/// Where a file on the way to the one asked for cannot be written, neither can that.
fn on_the_way(error: Error, args: &EmitArgs) -> Error {
    let ending = if args.emit == EmitKind::Obj { ".o" } else { ".so" };
    match error {
        Error::Lowering(pamc_lowering::Error::Io { path: temporary, source }) => {
            let why = format!("{}: {source}", temporary.display());
            Error::file("write", &path(args, ending), std::io::Error::new(source.kind(), why))
        }
        other => other,
    }
}

/// Generate code and audit it.
///
/// # Errors
/// If code generation fails, or code that must not multiply does.
pub fn generate(
    emitted: &Emitted,
    mul_free: bool,
    target: &codegen::Target,
    options: &Options,
    cache: Option<&Cache>,
) -> Result<(Object, audit::Report), Error> {
    // Texts are of the module as one, since those of its parts do not join.
    let mut object = match options.keep_llvm || options.keep_assembly {
        true => codegen::compile(&emitted.parts.whole(), target, options)?,
        false => merge(codegen::build(&emitted.parts, target, options, cache)?)?,
    };
    let nodes = emitted.parts.nodes();
    object.bytes = nodes.in_elf(object.bytes)?;
    object.llvm.iter_mut().for_each(|text| text.push_str(&nodes.llvm_global()));
    let found = audit::object(&object.bytes)?;
    if mul_free {
        free(&found)?;
        if let Some(text) = &object.llvm {
            clean(text.as_bytes())?;
        }
    }
    Ok((object, found))
}

/// Refuse code that multiplies data.
///
/// # Errors
/// The findings.
fn free(found: &audit::Report) -> Result<(), Error> {
    match found.is_multiplication_free() {
        true => Ok(()),
        false => Err(Error::usage(format!(
            "the compiled code multiplies, so nothing was written; this is a defect of pamc:\n{found}"
        ))),
    }
}

/// Audit what is about to be written, and refuse it if it multiplies data.
///
/// # Errors
/// The findings; or that it cannot be audited.
fn clean(code: &[u8]) -> Result<(), Error> {
    free(&audit::one(code)?)
}

/// Compile, unless only the real training graph was asked for, which is written at once; with the first
/// values of parameters and states.
fn ready(args: &EmitArgs, source: &Source, dims: &Dims) -> Result<Option<(Ready, Tensors)>, Error> {
    let mut settings =
        Settings { arith: args.arith.arith(), train: None, manager: args.compiler.manager()? };
    if !args.train {
        let mut model = source.build(dims, Mode::Infer, args.model.seed)?;
        model.notes.iter().for_each(|n| eprintln!("note: {n}"));
        weights(args, &mut model.initial)?;
        let compiled = compile(model.graph, &settings)?;
        report(&args.compiler, &compiled.timings, &compiled.reports);
        return Ok(Some((Ready::Run(compiled.program), model.initial)));
    }
    let mut model = args.training.model(source, dims, args.model.seed)?;
    model.notes.iter().for_each(|n| eprintln!("note: {n}"));
    if args.emit == EmitKind::Graph {
        put(args.output.as_deref(), model.graph.to_string().as_bytes())?;
        return Ok(None);
    }
    weights(args, &mut model.initial)?;
    settings.train = Some(args.training.spec(&model, None));
    let compiled = compile_training(model.graph, &settings)?;
    report(&args.compiler, &compiled.timings, &compiled.reports);
    let mut initial = model.initial;
    initial.extend(compiled.program.initial.clone());
    Ok(Some((Ready::Train(Box::new(compiled.program)), initial)))
}

/// Replaces first values by those of the file asked for.
fn weights(args: &EmitArgs, initial: &mut Tensors) -> Result<(), Error> {
    match &args.model.weights {
        Some(file) => super::run::load_weights(initial, file),
        None => Ok(()),
    }
}

/// The file to write: what was asked for, else the model's name with an ending.
fn path(args: &EmitArgs, ending: &str) -> PathBuf {
    args.output.clone().unwrap_or_else(|| {
        let model = Path::new(&args.model.model);
        let stem = model.file_stem().and_then(|s| s.to_str()).unwrap_or("model");
        let legal = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let name: String = stem.trim_start_matches('@').chars().map(legal).collect();
        PathBuf::from(format!("{name}{ending}"))
    })
}

/// The model with its weights.
fn write_forward_onnx(args: &EmitArgs, source: &Source, dims: &Dims) -> Result<(), Error> {
    let mut model = source.build(dims, Mode::Infer, args.model.seed)?;
    model.notes.iter().for_each(|n| eprintln!("note: {n}"));
    weights(args, &mut model.initial)?;
    let settings =
        Settings { arith: args.arith.arith(), train: None, manager: args.compiler.manager()? };
    let compiled = compile(model.graph, &settings)?;
    report(&args.compiler, &compiled.timings, &compiled.reports);
    let bytes = export(&compiled.program, &model.initial, env!("CARGO_PKG_VERSION"))?;
    put(Some(&path(args, ".pam.onnx")), &bytes)
}

/// A training step without values of its own.
fn write_step_onnx(args: &EmitArgs, ready: &Ready) -> Result<(), Error> {
    let Ready::Train(training) = ready else { return Ok(()) };
    if training.micro.is_some() {
        return Err(Error::usage(
            "a step over several micro-batches is two graphs; leave out --accumulate",
        ));
    }
    let bytes = export(&training.step, &BTreeMap::new(), env!("CARGO_PKG_VERSION"))?;
    put(Some(&path(args, ".pam.onnx")), &bytes)
}

fn write_object(args: &EmitArgs, emitted: &Emitted, object: &Object) -> Result<(), Error> {
    let path = path(args, ".o");
    put(Some(&path), &object.bytes)?;
    told(&path, describe(&path, emitted)?);
    Ok(())
}

fn write_library(args: &EmitArgs, emitted: &Emitted, object: &Object) -> Result<(), Error> {
    let path = path(args, ".so");
    link_shared(std::slice::from_ref(object), &path)?;
    told(&path, describe(&path, emitted)?);
    Ok(())
}

/// Write the modules, the plan, the header, constants and first states into a folder; all are there or
/// none.
fn write_gpu(
    args: &EmitArgs,
    program: &GpuProgram,
    initial: &Tensors,
    mul_free: bool,
) -> Result<(), Error> {
    let folder = path(args, "_gpu");
    let files = program.files(initial)?;
    if mul_free {
        // What LLVM made is audited already, but not what NVIDIA's assembler made of it.
        for file in files.iter().filter(|f| f.name.ends_with(".cubin")) {
            for (_, outcome) in audit::file(&file.bytes)? {
                match outcome {
                    audit::Outcome::Audited(found) => free(&found)?,
                    audit::Outcome::Skipped(why) => {
                        eprintln!("skipped: {} is not audited: {why}", file.name);
                    }
                }
            }
        }
    }
    std::fs::create_dir_all(&folder).map_err(|e| Error::file("write", &folder, e))?;
    for (i, file) in files.iter().enumerate() {
        if let Err(error) = put(Some(&folder.join(&file.name)), &file.bytes) {
            for file in &files[..i] {
                // One that was never written is not there to remove.
                let _ = std::fs::remove_file(folder.join(&file.name));
            }
            return Err(error);
        }
    }
    let plan = &program.plan;
    eprintln!(
        "wrote {}: {} kernels, {} launches, {} bytes of memory on the device",
        folder.display(),
        plan.kernels.len(),
        plan.step.len() + plan.micro.as_ref().map_or(0, Vec::len),
        plan.bytes()
    );
    Ok(())
}

fn told(path: &Path, [header, layout]: [PathBuf; 2]) {
    eprintln!("wrote {}, {}, {}", path.display(), header.display(), layout.display());
}

/// Write the C header and the layout beside a compiled file; all three are there or none.
///
/// # Errors
/// If a file cannot be written.
pub fn describe(path: &Path, emitted: &Emitted) -> Result<[PathBuf; 2], Error> {
    let (header, layout) = (path.with_extension("h"), path.with_extension("json"));
    let json = serde_json::to_vec_pretty(&emitted.layout).unwrap_or_default();
    let written = put(Some(&header), emitted.layout.c_header().as_bytes())
        .and_then(|()| put(Some(&layout), &json));
    if let Err(error) = written {
        for file in [path, &header, &layout] {
            // One that was never written is not there to remove.
            let _ = std::fs::remove_file(file);
        }
        return Err(error);
    }
    Ok([header, layout])
}

/// What `--time-passes` and `--stats` ask to know of the passes.
pub fn report(args: &CompilerArgs, timings: &[Timing], reports: &[(&'static str, Report)]) {
    if args.time_passes {
        let mut rows = vec![["pass", "seconds", "nodes after"].map(String::from).to_vec()];
        for t in timings {
            let time = format!("{:.3}", t.time.as_secs_f64());
            rows.push(vec![t.pass.to_string(), time, t.nodes.to_string()]);
        }
        eprint!("{}", table(&rows));
    }
    if args.stats {
        for (pass, report) in reports {
            eprintln!("{pass}: {report}");
        }
    }
}

fn stats(args: &CompilerArgs, emitted: &Emitted, found: Option<&audit::Report>) {
    if !args.stats {
        return;
    }
    let s = &emitted.stats;
    eprintln!(
        "{} kernels, {} calls; state {} bytes, working memory {} bytes (at least {} in use at once)",
        s.kernels, s.calls, emitted.layout.state_bytes, s.arena_bytes, s.lower_bound
    );
    if let Some(found) = found {
        eprintln!("{found}");
    }
}
