//! A program on an NVIDIA device: recordings are graphs captured from a stream.

use std::collections::BTreeSet;
use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::{null_mut, slice_from_raw_parts, slice_from_raw_parts_mut};

use pamc_lowering::gpu::GpuTarget;
use pamc_lowering::gpu::plan::{Argument, Format, GpuProgram, Kernel, Launch, Plan};

use super::api::{Address, Handle};
use super::device::Device;
use crate::runtime::gpu::DeviceError;
use crate::runtime::gpu::machine::{Command, Machine, Place, Recording};

/// A buffer of either side.
#[derive(Clone, Copy)]
enum Memory {
    Device(Address, usize),
    Host(*mut u8, usize),
}

/// A kernel and its launch parameters that are fixed in its code.
struct Function {
    handle: Handle,
    threads: [u32; 3],
}

/// A graph ready to run, and the mark behind its last start.
struct Recorded {
    graph: Handle,
    done: Handle,
}

/// Buffers, kernels and recordings of one program.
pub struct CudaMachine {
    device: Device,
    target: GpuTarget,
    stream: Handle,
    buffers: Vec<Memory>,
    modules: Vec<Handle>,
    functions: Vec<Function>,
    recordings: Vec<Recorded>,
}

impl Drop for CudaMachine {
    fn drop(&mut self) {
        let api = &self.device.api;
        // SAFETY: all of it is this machine's; nothing runs on it after the stream is done. What a
        // lost device says of it does not matter any more.
        unsafe {
            let _ = self.device.enter();
            (api.stream_synchronize)(self.stream);
            for r in &self.recordings {
                (api.graph_exec_destroy)(r.graph);
                (api.event_destroy)(r.done);
            }
            for module in &self.modules {
                (api.module_unload)(*module);
            }
            for memory in &self.buffers {
                match *memory {
                    Memory::Device(at, _) => (api.memory_free)(at),
                    Memory::Host(at, _) => (api.host_free)(at.cast()),
                };
            }
            (api.stream_destroy)(self.stream);
        }
    }
}

fn no_buffer(buffer: usize) -> DeviceError {
    DeviceError::Plan(format!("there is no such range of buffer {buffer}"))
}

impl CudaMachine {
    /// An empty machine on a device that was opened, for code made for `target`.
    ///
    /// # Errors
    /// If the driver refuses.
    pub fn new(device: Device, target: GpuTarget) -> Result<CudaMachine, DeviceError> {
        const NON_BLOCKING: u32 = 1;
        device.enter()?;
        let mut stream = null_mut();
        // SAFETY: writes one handle.
        let code = unsafe { (device.api.stream_create)(&raw mut stream, NON_BLOCKING) };
        device.ok("cuStreamCreate", code)?;
        Ok(CudaMachine {
            device,
            target,
            stream,
            buffers: Vec::new(),
            modules: Vec::new(),
            functions: Vec::new(),
            recordings: Vec::new(),
        })
    }

    fn memory(&self, buffer: usize) -> Result<Memory, DeviceError> {
        self.buffers.get(buffer).copied().ok_or_else(|| no_buffer(buffer))
    }

    fn address(&self, a: &Argument) -> Result<Address, DeviceError> {
        match self.memory(a.buffer)? {
            Memory::Device(at, bytes) if a.offset + a.bytes <= bytes => Ok(at + a.offset as u64),
            _ => Err(no_buffer(a.buffer)),
        }
    }

    /// What the program needs beyond what the device has.
    fn check(&self, plan: &Plan) -> Result<(), DeviceError> {
        let device = || self.device.name.clone();
        let over = over(plan, &self.device);
        if !over.is_empty() {
            return Err(DeviceError::Limits { device: device(), over });
        }
        let (needed, room) = (plan.bytes() as u64, self.device.memory);
        if needed > room {
            return Err(DeviceError::Memory { device: device(), what: "in all", needed, room });
        }
        Ok(())
    }

    /// Load a module; `image` is PTX text or machine code.
    fn module(&mut self, image: &[u8]) -> Result<(), DeviceError> {
        const ERROR_LOG: c_int = 5;
        const ERROR_LOG_BYTES: c_int = 6;
        let image = [image, &[0]].concat();
        let mut log = vec![0u8; 1 << 14];
        let mut options = [ERROR_LOG, ERROR_LOG_BYTES];
        let mut values = [log.as_mut_ptr().cast::<c_void>(), log.len() as *mut c_void];
        let mut module = null_mut();
        // SAFETY: the image ends with a zero, the log has the size given, and both outlive the call.
        let code = unsafe {
            (self.device.api.module_load)(
                &raw mut module,
                image.as_ptr().cast(),
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        let said = log.split(|b| *b == 0).next().unwrap_or_default();
        match (code, said) {
            (0, _) => self.modules.push(module),
            (code, []) => self.device.ok("cuModuleLoadDataEx", code)?,
            (code, said) => {
                let name = self.device.api.name_of(code);
                let code = format!("{name}: {}", String::from_utf8_lossy(said).trim());
                let (device, call) = (self.device.name.clone(), "cuModuleLoadDataEx");
                return Err(DeviceError::Driver { device, call, code });
            }
        }
        Ok(())
    }

    fn function(&mut self, kernel: &Kernel) -> Result<(), DeviceError> {
        let missing = || DeviceError::Plan(format!("there is no kernel {}", kernel.entry));
        let module = *self.modules.get(kernel.module).ok_or_else(missing)?;
        let name = CString::new(kernel.entry.as_str()).map_err(|_| missing())?;
        let mut handle = null_mut();
        // SAFETY: the module is loaded; the name ends with a zero.
        let code = unsafe {
            (self.device.api.module_function)(
                &raw mut handle,
                module,
                name.as_ptr() as *const c_char,
            )
        };
        self.device.ok("cuModuleGetFunction", code)?;
        self.functions.push(Function { handle, threads: kernel.workgroup });
        Ok(())
    }

    fn queue(&self, command: &Command) -> Result<(), DeviceError> {
        match command {
            Command::Copy(from, to) => self.copy(from, to),
            Command::Launch(launch) => self.launch(launch),
            // A stream runs in order.
            Command::Barrier => Ok(()),
        }
    }

    fn copy(&self, from: &Argument, to: &Argument) -> Result<(), DeviceError> {
        let (api, stream, bytes) = (&self.device.api, self.stream, from.bytes);
        let host = |at: *mut u8, size: usize, a: &Argument| {
            // SAFETY: inside the allocation.
            let at =
                (a.offset + bytes <= size).then(|| unsafe { at.add(a.offset) }.cast::<c_void>());
            at.ok_or_else(|| no_buffer(a.buffer))
        };
        match (self.memory(from.buffer)?, self.memory(to.buffer)?) {
            (Memory::Host(at, size), Memory::Device(..)) => {
                let (from, to) = (host(at, size, from)?, self.address(to)?);
                // SAFETY: both ranges were checked and stay allocated.
                let code = unsafe { (api.copy_up)(to, from, bytes, stream) };
                self.device.ok("cuMemcpyHtoDAsync", code)
            }
            (Memory::Device(..), Memory::Host(at, size)) => {
                let (from, to) = (self.address(from)?, host(at, size, to)?);
                // SAFETY: as above.
                let code = unsafe { (api.copy_down)(to, from, bytes, stream) };
                self.device.ok("cuMemcpyDtoHAsync", code)
            }
            (Memory::Device(..), Memory::Device(..)) => {
                let (from, to) = (self.address(from)?, self.address(to)?);
                // SAFETY: as above.
                let code = unsafe { (api.copy_across)(to, from, bytes, stream) };
                self.device.ok("cuMemcpyDtoDAsync", code)
            }
            (Memory::Host(..), Memory::Host(..)) => Err(no_buffer(from.buffer)),
        }
    }

    fn launch(&self, launch: &Launch) -> Result<(), DeviceError> {
        let kernel = self.functions.get(launch.kernel);
        let kernel = kernel
            .ok_or_else(|| DeviceError::Plan(format!("there is no kernel {}", launch.kernel)))?;
        let addresses = launch.arguments.iter().map(|a| self.address(a));
        let mut addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        let mut params: Vec<*mut c_void> =
            addresses.iter_mut().map(|a| (a as *mut Address).cast()).collect();
        let ([x, y, z], [i, j, k]) = (launch.grid, kernel.threads);
        let params = params.as_mut_ptr();
        // SAFETY: as many parameters as the plan says that the kernel takes, alive during the call,
        // which copies them. Shared memory is declared in the code.
        let code = unsafe {
            (self.device.api.launch)(
                kernel.handle,
                x,
                y,
                z,
                i,
                j,
                k,
                0,
                self.stream,
                params,
                null_mut(),
            )
        };
        self.device.ok("cuLaunchKernel", code)
    }

    /// The commands as a graph.
    fn capture(&self, commands: &[Command]) -> Result<Handle, DeviceError> {
        const THIS_THREAD: c_int = 1;
        let (api, device) = (&self.device.api, &self.device);
        let mut graph = null_mut();
        // SAFETY: the stream is this machine's and captures nothing yet.
        let code = unsafe { (api.capture_begin)(self.stream, THIS_THREAD) };
        device.ok("cuStreamBeginCapture", code)?;
        let queued = commands.iter().try_for_each(|c| self.queue(c));
        // SAFETY: the capture ends whether or not something failed; writes one handle.
        let code = unsafe { (api.capture_end)(self.stream, &raw mut graph) };
        if let Err(e) = queued {
            if !graph.is_null() {
                // SAFETY: captured, and not used.
                unsafe { (api.graph_destroy)(graph) };
            }
            return Err(e);
        }
        device.ok("cuStreamEndCapture", code)?;
        let mut ready = null_mut();
        // SAFETY: the graph was captured, and is not needed once it is instantiated.
        let code = unsafe {
            let code = (api.graph_instantiate)(&raw mut ready, graph, 0);
            (api.graph_destroy)(graph);
            code
        };
        device.ok("cuGraphInstantiateWithFlags", code)?;
        Ok(ready)
    }
}

/// Every limit of a device that a plan exceeds.
fn over(plan: &Plan, device: &Device) -> Vec<String> {
    let mut out = BTreeSet::new();
    let mut check = |what: &str, needed: u64, most: u64| {
        if needed > most {
            out.insert(format!("{what}: {needed} are needed, {most} are allowed"));
        }
    };
    for launch in plan.step.iter().chain(plan.micro.iter().flatten()) {
        for (blocks, most) in launch.grid.iter().zip(device.grid) {
            check("blocks of a kernel", u64::from(*blocks), most);
        }
    }
    for kernel in &plan.kernels {
        let threads = kernel.workgroup.map(u64::from);
        check("threads of a block", threads.iter().product(), device.threads.0);
        for (threads, most) in threads.into_iter().zip(device.threads.1) {
            check("threads of a block in one direction", threads, most);
        }
        check("bytes of shared memory", kernel.shared_bytes as u64, device.shared);
    }
    out.into_iter().collect()
}

impl Machine for CudaMachine {
    fn name(&self) -> String {
        self.device.name.clone()
    }

    fn target(&self) -> GpuTarget {
        self.target
    }

    fn buffer(&mut self, bytes: usize, place: Place) -> Result<usize, DeviceError> {
        self.device.enter()?;
        let (api, size) = (&self.device.api, bytes.max(4));
        let memory = match place {
            Place::Device => {
                let mut at = 0;
                // SAFETY: writes one address.
                let code = unsafe { (api.memory_alloc)(&raw mut at, size) };
                let what = "in one block of the device";
                self.device.allocated("cuMemAlloc", what, size as u64, code)?;
                Memory::Device(at, size)
            }
            Place::Host => {
                let mut at = null_mut();
                // SAFETY: writes one pointer.
                let code = unsafe { (api.host_alloc)(&raw mut at, size, 0) };
                let what = "in one block for transfers";
                self.device.allocated("cuMemHostAlloc", what, size as u64, code)?;
                // SAFETY: just allocated.
                unsafe { at.cast::<u8>().write_bytes(0, size) };
                Memory::Host(at.cast(), size)
            }
        };
        self.buffers.push(memory);
        Ok(self.buffers.len() - 1)
    }

    fn write(&mut self, buffer: usize, offset: usize, bytes: &[u8]) -> Result<(), DeviceError> {
        let Memory::Host(at, size) = self.memory(buffer)? else { return Err(no_buffer(buffer)) };
        // SAFETY: the allocation has this size, and nothing else refers to it now.
        let all = unsafe { &mut *slice_from_raw_parts_mut(at, size) };
        let to = all.get_mut(offset..).and_then(|b| b.get_mut(..bytes.len()));
        to.ok_or_else(|| no_buffer(buffer))?.copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, buffer: usize, offset: usize, bytes: usize) -> Result<Vec<u8>, DeviceError> {
        let Memory::Host(at, size) = self.memory(buffer)? else { return Err(no_buffer(buffer)) };
        // SAFETY: as above.
        let all = unsafe { &*slice_from_raw_parts(at, size) };
        let from = all.get(offset..).and_then(|b| b.get(..bytes));
        Ok(from.ok_or_else(|| no_buffer(buffer))?.to_vec())
    }

    fn load(&mut self, program: &GpuProgram) -> Result<(), DeviceError> {
        let plan = &program.plan;
        if !matches!(plan.format, Format::Ptx | Format::Cubin) {
            let message = format!("CUDA runs PTX and cubin, not {:?}", plan.format);
            return Err(DeviceError::Plan(message));
        }
        self.check(plan)?;
        self.device.enter()?;
        program.modules.iter().try_for_each(|m| self.module(&m.bytes))?;
        plan.kernels.iter().try_for_each(|k| self.function(k))
    }

    fn record(&mut self, commands: &[Command]) -> Result<Recording, DeviceError> {
        const NO_TIMING: u32 = 2;
        self.device.enter()?;
        let mut done = null_mut();
        // SAFETY: writes one handle.
        let code = unsafe { (self.device.api.event_create)(&raw mut done, NO_TIMING) };
        self.device.ok("cuEventCreate", code)?;
        let graph = self.capture(commands).inspect_err(|_| {
            // SAFETY: just created, and not used.
            unsafe { (self.device.api.event_destroy)(done) };
        })?;
        self.recordings.push(Recorded { graph, done });
        Ok(Recording(self.recordings.len() - 1))
    }

    fn submit(&mut self, recording: Recording) -> Result<(), DeviceError> {
        self.device.enter()?;
        let Some(recorded) = self.recordings.get(recording.0) else {
            return Err(DeviceError::Plan(format!("there is no recording {}", recording.0)));
        };
        // SAFETY: the graph is instantiated and not running.
        let code = unsafe { (self.device.api.graph_launch)(recorded.graph, self.stream) };
        self.device.ok("cuGraphLaunch", code)?;
        // SAFETY: both live.
        let code = unsafe { (self.device.api.event_record)(recorded.done, self.stream) };
        self.device.ok("cuEventRecord", code)
    }

    fn wait(&mut self, recording: Recording) -> Result<(), DeviceError> {
        self.device.enter()?;
        let Some(recorded) = self.recordings.get(recording.0) else { return Ok(()) };
        // SAFETY: a mark that was never put counts as reached.
        let code = unsafe { (self.device.api.event_synchronize)(recorded.done) };
        self.device.ok("cuEventSynchronize", code)
    }
}
