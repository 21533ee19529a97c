//! From kernels in MLIR's gpu dialect to what drivers take.

use super::llvm::{self, Machine};
use super::mlir::Session;
use crate::Error;
use crate::gpu::GpuTarget;
use melior::ir::{AttributeLike, Module, block::BlockLike, operation::OperationLike};

/// What a module became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuObject {
    /// A SPIR-V binary; PTX or AMDGPU assembly.
    pub code: Vec<u8>,
    /// A relocatable ELF file, for AMD.
    pub object: Vec<u8>,
}

/// Compile `gpu.func`s, the text of a `gpu.module`'s body. For Vulkan it must be just one.
///
/// # Errors
/// [`Error::Mlir`] with all diagnostics when the text does not parse, verify, lower or translate;
/// [`Error::Target`] and [`Error::Llvm`] when LLVM cannot generate code.
pub fn compile_gpu(functions: &str, target: GpuTarget) -> Result<GpuObject, Error> {
    match target {
        GpuTarget::Vulkan(minor) => spirv(functions, minor),
        GpuTarget::Nvidia(capability) => {
            let cpu = format!("sm_{capability}");
            by_llvm(functions, "convert-gpu-to-nvvm", "nvptx64-nvidia-cuda", &cpu, "")
        }
        GpuTarget::Amd(chip) => {
            let cpu = chip.name();
            let pass = format!("convert-gpu-to-rocdl{{chipset={cpu} runtime=HIP}}");
            // Else a + a + b would become 2 · a + b in one instruction.
            by_llvm(functions, &pass, "amdgcn-amd-amdhsa", cpu, "-mad-mac-f32-insts")
        }
    }
}

fn by_llvm(
    functions: &str,
    pass: &str,
    triple: &str,
    cpu: &str,
    features: &str,
) -> Result<GpuObject, Error> {
    const LAYOUT: &str = "index-bitwidth=32 use-bare-ptr-memref-call-conv=1";
    let pass = match pass.strip_suffix('}') {
        Some(open) => format!("{open} {LAYOUT}}}"),
        None => format!("{pass}{{{LAYOUT}}}"),
    };
    let session = Session::new();
    let text = format!(
        "module attributes {{gpu.container_module}} {{\ngpu.module @kernels {{\n{functions}}}\n}}\n"
    );
    let mut module = session.parse(&text)?;
    let passes = ["canonicalize", "cse", "convert-scf-to-cf", &pass, "canonicalize", "cse"];
    let pipeline =
        format!("builtin.module(gpu.module({},reconcile-unrealized-casts))", passes.join(","));
    session.run(&mut module, &pipeline)?;
    let kernels = find(&module, "gpu.module").ok_or_else(|| Error::Mlir {
        stage: "lower",
        diagnostics: "no gpu.module is left".into(),
    })?;
    let machine = Machine::new(triple, cpu, features)?;
    let translated = llvm::Module::translate_operation(&session, kernels.to_raw())?;
    let (assembly, object) = translated.emit_gpu(&machine, triple, cpu)?;
    Ok(GpuObject { code: assembly, object })
}

/// The first operation of a name at a module's top level.
fn find<'a, 'c>(
    module: &'a Module<'c>,
    name: &str,
) -> Option<melior::ir::operation::OperationRef<'c, 'a>> {
    let mut next = module.body().first_operation();
    while let Some(operation) = next {
        if operation.name().as_string_ref().as_str() == Ok(name) {
            return Some(operation);
        }
        next = operation.next_in_block();
    }
    None
}

fn spirv(functions: &str, minor: u32) -> Result<GpuObject, Error> {
    let version = match minor {
        1 => "v1.3",
        2 => "v1.5",
        _ => "v1.6",
    };
    let mut capabilities = vec!["Shader", "SignedZeroInfNanPreserve", "RoundingModeRTE"];
    if functions.contains("i64") {
        capabilities.push("Int64");
    }
    let vce = format!(
        "#spirv.vce<{version}, [{}], [SPV_KHR_storage_buffer_storage_class, SPV_KHR_float_controls]>",
        capabilities.join(", ")
    );
    let target = format!("#spirv.target_env<{vce}, api=Vulkan, #spirv.resource_limits<>>");
    let session = Session::new();
    let text = format!(
        "module attributes {{gpu.container_module, spirv.target_env = {target}}} {{\n\
         gpu.module @kernels {{\n{functions}}}\n}}\n"
    );
    let mut module = session.parse(&text)?;
    let pipeline = "builtin.module(canonicalize,cse,convert-gpu-to-spirv{use-64bit-index=false})";
    session.run(&mut module, pipeline)?;
    let missing = || Error::Mlir { stage: "lower", diagnostics: "no spirv.module is left".into() };
    let converted = find(&module, "spirv.module").ok_or_else(missing)?.to_string();
    let declared = declare(&converted, &vce, &target).ok_or_else(missing)?;
    let text = format!(
        "module attributes {{gpu.container_module}} {{\ngpu.module @kernels [{target}] {{\n{declared}\n}}\n}}\n"
    );
    let mut module = session.parse(&text)?;
    let passes = "spirv-lower-abi-attrs,canonicalize,cse";
    session.run(&mut module, &format!("builtin.module(gpu.module(spirv.module({passes})))"))?;
    session.run(&mut module, "builtin.module(gpu-module-to-binary)")?;
    let binary = find(&module, "gpu.binary")
        .and_then(|b| b.attribute("objects").ok())
        .ok_or_else(missing)?;
    // SAFETY: the attribute is alive; `objects` is an array of objects, as the verifier has seen, whose
    // bytes belong to the context.
    let code = unsafe {
        let object = mlir_sys::mlirArrayAttrGetElement(binary.to_raw(), 0);
        let bytes = mlir_sys::mlirGPUObjectAttrGetObject(object);
        std::slice::from_raw_parts(bytes.data.cast::<u8>(), bytes.length).to_vec()
    };
    Ok(GpuObject { code, object: Vec::new() })
}

/// A SPIR-V module that says what it requires: its version, and sums that round to even and keep
/// the signs of zeros, infinities and NaN.
fn declare(module: &str, vce: &str, target: &str) -> Option<String> {
    let start = module.find("spirv.func @")? + "spirv.func @".len();
    let name = &module[start..start + module[start..].find('(')?];
    let (header, body) = module.split_once('\n')?;
    let header = header.split(" attributes ").next()?.trim_end_matches(" {");
    let body = &body[..body.rfind('}')?];
    Some(format!(
        "{header} requires {vce} attributes {{spirv.target_env = {target}}} {{\n{body}  \
         spirv.ExecutionMode @{name} \"SignedZeroInfNanPreserve\", 32\n  \
         spirv.ExecutionMode @{name} \"RoundingModeRTE\", 32\n}}",
    ))
}
