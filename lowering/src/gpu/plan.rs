//! The launch plan: everything a runtime must know to run GPU code, free of any one API.
//!
//! A program is a list of [`Launch`]es over a few [`Buffer`]s. A runtime allocates the buffers,
//! fills those that have contents from the start, loads each kernel from its module, and runs the
//! launches in order; nothing is computed on the host. All buffers keep their contents from one
//! run to the next.
//!
//! Inference: write the inputs, run [`Plan::step`], read the outputs. Training: write parameters
//! and states once; then for each step run [`Plan::micro`] (if there is one)
//! [`Plan::accumulate`] times, each time on a new batch in the input buffers, then [`Plan::step`]
//! (on a new batch, if there is no [`Plan::micro`]), which replaces parameters and states in place
//! and leaves the metrics in the output buffers.

use std::collections::BTreeMap;

use pamc_passes::interpret;
use pamc_passes::ir::{DType, Tensor, TensorType};
use serde::{Deserialize, Serialize};

use crate::Error;

/// The version of this format that [`Plan::version`] has.
pub const VERSION: u32 = 1;

/// Alignment of every slot and every argument's offset, in bytes: the most that Vulkan lets a device
/// ask for (`minStorageBufferOffsetAlignment`).
pub const ALIGN: usize = 256;

/// What the module files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// SPIR-V binaries for Vulkan, one a kernel; arguments are storage buffers in descriptor set 0,
    /// argument i at binding i.
    Spirv,
    /// PTX text, a few kernels a file; arguments are pointers, in order.
    Ptx,
    /// ELF files of NVIDIA machine code; arguments as for PTX.
    Cubin,
    /// AMDGPU assembly text; arguments are pointers, in order.
    Amdgcn,
    /// Shared objects of AMDGPU machine code; arguments as for assembly.
    Hsaco,
}

impl Format {
    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Format::Spirv => "spirv",
            Format::Ptx => "ptx",
            Format::Cubin => "cubin",
            Format::Amdgcn => "amdgcn",
            Format::Hsaco => "hsaco",
        }
    }

    /// Ending of a module's file name.
    pub fn ending(self) -> &'static str {
        match self {
            Format::Spirv => "spv",
            Format::Ptx => "ptx",
            Format::Cubin => "cubin",
            Format::Amdgcn => "s",
            Format::Hsaco => "hsaco",
        }
    }
}

/// What a buffer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BufferKind {
    /// A data input, one slot: written by the host before each run.
    Input,
    /// Outputs of a run that the host may want: results of inference, metrics of training. One slot.
    Output,
    /// Parameters and optimizer state, a slot each; they persist, and training replaces them in place.
    State,
    /// Working memory without slots and without meaning between runs.
    Scratch,
    /// Data of the program, without slots: the bytes of [`GpuProgram::constants`].
    Constant,
}

/// A named tensor in a buffer: dense, row-major, little-endian, an element [`element_bytes`] wide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot {
    /// Name of the input, output, parameter or state.
    pub name: String,
    /// Element type, by its name in the text form: `f32`, `i32`, `i64` or `bool`.
    pub dtype: String,
    /// Extents.
    pub shape: Vec<usize>,
    /// Bytes from the start of the buffer.
    pub offset: usize,
    /// Bytes of the tensor.
    pub bytes: usize,
}

impl Slot {
    /// A slot for a value.
    pub fn new(name: &str, ty: &TensorType, offset: usize) -> Slot {
        Slot {
            name: name.into(),
            dtype: ty.dtype.name().into(),
            shape: ty.shape.clone(),
            offset,
            bytes: device_bytes(ty),
        }
    }

    /// Its type; `f32` if the name of the element type is unknown.
    pub fn ty(&self) -> TensorType {
        let dtype = DType::from_name(&self.dtype).unwrap_or(DType::F32);
        TensorType::new(dtype, self.shape.clone())
    }
}

/// Bytes of an element on the device: as on the host, but a truth value takes 4 (0 or 1).
pub fn element_bytes(dtype: DType) -> usize {
    match dtype {
        DType::Bool => 4,
        other => other.size(),
    }
}

/// A tensor's bytes as they lie on the device; see [`element_bytes`].
pub fn to_device(value: &Tensor) -> Vec<u8> {
    let bytes = interpret::flush(value).to_bytes();
    match value.dtype() {
        DType::Bool => bytes.iter().flat_map(|&b| u32::from(b != 0).to_le_bytes()).collect(),
        _ => bytes,
    }
}

/// The tensor that a device holds in these bytes; zeros if their number is not right.
pub fn from_device(ty: &TensorType, bytes: &[u8]) -> Tensor {
    let truth = |word: &[u8]| u8::from(word.iter().any(|b| *b != 0));
    let value = match ty.dtype {
        DType::Bool => {
            let bytes: Vec<u8> = bytes.chunks(element_bytes(ty.dtype)).map(truth).collect();
            Tensor::from_bytes(ty, &bytes)
        }
        _ => Tensor::from_bytes(ty, bytes),
    };
    value.unwrap_or_else(|| Tensor::zeros(ty))
}

/// Bytes of a tensor on the device; see [`element_bytes`].
pub fn device_bytes(ty: &TensorType) -> usize {
    ty.len() * element_bytes(ty.dtype)
}

/// A block of device memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buffer {
    /// Name, for messages and the C header: that of its slot if it has just one.
    pub name: String,
    /// What it is for.
    pub kind: BufferKind,
    /// Its size; a multiple of [`ALIGN`], never 0. Contents are undefined at first but for constants;
    /// states must be written before the first run.
    pub bytes: usize,
    /// The tensors in it.
    pub slots: Vec<Slot>,
}

/// A compiled kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// Name of the entry point in its module.
    pub entry: String,
    /// Index into [`Plan::modules`] of the file that holds it.
    pub module: usize,
    /// Threads in a workgroup (block), fixed in the code.
    pub workgroup: [u32; 3],
    /// Bytes of workgroup (shared) memory, allocated in the code.
    pub shared_bytes: usize,
    /// Of a contraction by tiles: rows and columns of the output that a workgroup computes, and terms of
    /// the operands that are in workgroup memory at a time.
    pub tile: Option<[usize; 3]>,
    /// Number of arguments, each a range of a buffer.
    pub bindings: usize,
    /// Which of them it writes.
    pub writes: Vec<usize>,
    /// What it was made from: the origin of the node it is named after.
    pub origin: String,
}

/// A range of a buffer that a kernel is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Argument {
    /// Index into [`Plan::buffers`].
    pub buffer: usize,
    /// First byte, a multiple of [`ALIGN`].
    pub offset: usize,
    /// Bytes, more than 0 and inside the buffer; the range may overlap that of another argument only
    /// if neither is written.
    pub bytes: usize,
}

/// One kernel run once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// Index into [`Plan::kernels`].
    pub kernel: usize,
    /// Workgroups (blocks); at most 65,535 each way.
    pub grid: [u32; 3],
    /// The arguments, as many as the kernel's bindings.
    pub arguments: Vec<Argument>,
    /// Wait until all writes of the launches before are done and visible. Launches between two barriers
    /// touch no bytes that another of them writes. Each list starts as if after a barrier, and so does
    /// whoever reads what it left.
    pub barrier: bool,
}

/// What the device must be capable of beyond its baseline (Vulkan 1.1, or the architecture named).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirements {
    /// 64-bit integers in shaders (`shaderInt64`).
    pub int64: bool,
    /// The most bytes of one argument (`maxStorageBufferRange`).
    pub argument_bytes: usize,
    /// The most arguments of a kernel (`maxPerStageDescriptorStorageBuffers`).
    pub bindings: usize,
    /// The most workgroup memory of a kernel in bytes (`maxComputeSharedMemorySize`).
    pub shared_bytes: usize,
    /// The most threads of a workgroup (`maxComputeWorkGroupInvocations`).
    pub threads: u32,
    /// Float additions that keep the signs of zeros, infinities and NaN and round to nearest even
    /// (`shaderSignedZeroInfNanPreserveFloat32`, `shaderRoundingModeRTEFloat32`; in Vulkan before 1.2 by
    /// VK_KHR_shader_float_controls). The modules declare both.
    pub float_controls: bool,
}

/// How to run a program on a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`VERSION`].
    pub version: u32,
    /// What it was compiled for: `sm_80`, `sm_90`, `gfx90a`, `gfx942`, `vulkan1.1`, …
    pub target: String,
    /// What the modules are.
    pub format: Format,
    /// Nothing in it multiplies tensor data.
    pub mul_free: bool,
    /// File names of the modules.
    pub modules: Vec<String>,
    /// Kernels.
    pub kernels: Vec<Kernel>,
    /// Device memory.
    pub buffers: Vec<Buffer>,
    /// Inference, or the update of a training step.
    pub step: Vec<Launch>,
    /// What is run on each of the accumulated batches before the update, if it is not the step itself
    /// that reads the batch.
    pub micro: Option<Vec<Launch>>,
    /// Batches a training step accumulates; 1 without [`Plan::micro`].
    pub accumulate: usize,
    /// Samples in one step: batch size times accumulated batches; 0 for inference.
    pub samples_per_step: usize,
    /// Outputs that a training step reports, scalars each, in order.
    pub metrics: Vec<String>,
    /// What the device must be capable of.
    pub requirements: Requirements,
}

impl Plan {
    /// The buffer and slot of a name among buffers of one kind.
    pub fn find(&self, kind: BufferKind, name: &str) -> Option<(usize, &Slot)> {
        let of_kind = self.buffers.iter().enumerate().filter(|(_, b)| b.kind == kind);
        of_kind.flat_map(|(i, b)| b.slots.iter().map(move |s| (i, s))).find(|(_, s)| s.name == name)
    }

    /// Slots of the buffers of one kind, each with its buffer, in order.
    pub fn slots(&self, kind: BufferKind) -> impl Iterator<Item = (usize, &Slot)> {
        let of_kind = self.buffers.iter().enumerate().filter(move |(_, b)| b.kind == kind);
        of_kind.flat_map(|(i, b)| b.slots.iter().map(move |s| (i, s)))
    }

    /// Bytes of device memory that all buffers take.
    pub fn bytes(&self) -> usize {
        self.buffers.iter().map(|b| b.bytes).sum()
    }

    /// What the buffers of parameters and states hold with these values, one buffer after the other.
    fn image(&self, values: &BTreeMap<String, Tensor>) -> Result<Vec<u8>, Error> {
        let mut image = Vec::new();
        for buffer in self.buffers.iter().filter(|b| b.kind == BufferKind::State) {
            let start = image.len();
            image.resize(start + buffer.bytes, 0);
            for slot in &buffer.slots {
                let Some(value) = values.get(&slot.name) else { continue };
                if value.ty() != slot.ty() {
                    let (name, got, wanted) = (&slot.name, value.ty(), slot.ty());
                    let message = format!("the value of '{name}' is {got}, not {wanted}");
                    return Err(Error::Program { message });
                }
                image[start + slot.offset..][..slot.bytes].copy_from_slice(&to_device(value));
            }
        }
        Ok(image)
    }

    /// Check that every index is there and every range inside its buffer, as a plan read from a file may
    /// not be.
    ///
    /// # Errors
    /// Names the first thing that does not hold.
    pub fn check(&self) -> Result<(), Error> {
        let fail = |message: String| Err(Error::Program { message: format!("plan: {message}") });
        if self.version != VERSION {
            return fail(format!("has version {}, but {VERSION} is known", self.version));
        }
        for kernel in &self.kernels {
            if kernel.module >= self.modules.len() {
                return fail(format!("kernel {} has no module", kernel.entry));
            }
        }
        for buffer in &self.buffers {
            let outside =
                |s: &&Slot| s.offset.checked_add(s.bytes).is_none_or(|e| e > buffer.bytes);
            if let Some(slot) = buffer.slots.iter().find(outside) {
                return fail(format!("slot {} is outside its buffer", slot.name));
            }
        }
        for launch in self.step.iter().chain(self.micro.iter().flatten()) {
            let Some(kernel) = self.kernels.get(launch.kernel) else {
                return fail(format!("a launch has kernel {}", launch.kernel));
            };
            if launch.arguments.len() != kernel.bindings {
                return fail(format!("kernel {} is given too few arguments", kernel.entry));
            }
            for a in &launch.arguments {
                let end = a.offset.checked_add(a.bytes);
                let inside = self.buffers.get(a.buffer).is_some_and(|b| end <= Some(b.bytes));
                if !inside || end.is_none() || a.bytes == 0 || a.offset % ALIGN != 0 {
                    return fail(format!("an argument of {} is out of range", kernel.entry));
                }
            }
        }
        Ok(())
    }
}

/// A module of a program: what goes into a file, or to the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// File name, as in [`Plan::modules`].
    pub name: String,
    /// Contents.
    pub bytes: Vec<u8>,
}

/// GPU code with its plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuProgram {
    /// How to run it.
    pub plan: Plan,
    /// The modules, in the order of [`Plan::modules`].
    pub modules: Vec<Module>,
    /// Contents of the constant buffer; empty if there is none.
    pub constants: Vec<u8>,
}

/// File of the plan.
pub const PLAN: &str = "plan.json";
/// File of the constants.
pub const CONSTANTS: &str = "constants.bin";
/// File of what the buffers of states hold before the first run, one after the other.
pub const STATE: &str = "state.bin";
/// File of the C header.
pub const HEADER: &str = "pamc.h";

impl GpuProgram {
    /// The files that say all: the modules, [`PLAN`], [`CONSTANTS`], [`STATE`] with these parameters and
    /// states, those without a value being zeros, and [`HEADER`].
    ///
    /// # Errors
    /// If a value is not of its slot's type, or the plan cannot be written as JSON.
    pub fn files(&self, state: &BTreeMap<String, Tensor>) -> Result<Vec<Module>, Error> {
        let json = serde_json::to_vec_pretty(&self.plan)
            .map_err(|e| Error::Program { message: format!("plan: {e}") })?;
        let file = |name: &str, bytes| Module { name: name.into(), bytes };
        let mut files = self.modules.clone();
        files.push(file(CONSTANTS, self.constants.clone()));
        files.push(file(STATE, self.plan.image(state)?));
        files.push(file(HEADER, super::header::c_header(self).into_bytes()));
        files.push(file(PLAN, json));
        Ok(files)
    }
}
