//! A program on a Vulkan device.

use std::collections::{BTreeSet, HashMap};
use std::ffi::CString;
use std::sync::Arc;

use ash::vk;
use pamc_lowering::gpu::GpuTarget;
use pamc_lowering::gpu::plan::{Argument, Format, GpuProgram, Kernel, Launch, Plan};

use super::device::Device;
use super::limits::over;
use super::memory::Memory;
use crate::runtime::gpu::DeviceError;
use crate::runtime::gpu::machine::{Command, Machine, Place, Recording};

/// A kernel ready to be launched.
struct Pipeline {
    handle: vk::Pipeline,
    bindings: usize,
}

/// How kernels of so many buffers are given them.
struct Interface {
    set: vk::DescriptorSetLayout,
    pipeline: vk::PipelineLayout,
}

/// Commands with what they hold on to.
struct Recorded {
    commands: vk::CommandBuffer,
    sets: vk::DescriptorPool,
    done: vk::Fence,
    started: bool,
}

/// Buffers, kernels and recordings of one program.
pub(super) struct VulkanMachine {
    device: Arc<Device>,
    pool: vk::CommandPool,
    buffers: Vec<Memory>,
    interfaces: HashMap<usize, Interface>,
    pipelines: Vec<Pipeline>,
    recordings: Vec<Recorded>,
}

impl Drop for VulkanMachine {
    fn drop(&mut self) {
        let api = &self.device.api;
        // SAFETY: all of it was made from this device; what is under way is waited for.
        unsafe {
            let running: Vec<_> =
                self.recordings.iter().filter(|r| r.started).map(|r| r.done).collect();
            if !running.is_empty() {
                // A lost device runs nothing any more.
                let _ = api.wait_for_fences(&running, true, u64::MAX);
            }
            for r in &self.recordings {
                api.destroy_fence(r.done, None);
                api.destroy_descriptor_pool(r.sets, None);
            }
            api.destroy_command_pool(self.pool, None);
            self.pipelines.iter().for_each(|p| api.destroy_pipeline(p.handle, None));
            for i in self.interfaces.values() {
                api.destroy_pipeline_layout(i.pipeline, None);
                api.destroy_descriptor_set_layout(i.set, None);
            }
        }
    }
}

impl VulkanMachine {
    /// An empty machine on a device.
    ///
    /// # Errors
    /// If the driver refuses.
    pub fn new(device: Arc<Device>) -> Result<VulkanMachine, DeviceError> {
        let info = vk::CommandPoolCreateInfo::default().queue_family_index(device.family);
        // SAFETY: the device has this queue family.
        let pool = unsafe { device.api.create_command_pool(&info, None) };
        let pool = pool.map_err(device.fail("vkCreateCommandPool"))?;
        Ok(VulkanMachine {
            device,
            pool,
            buffers: Vec::new(),
            interfaces: HashMap::new(),
            pipelines: Vec::new(),
            recordings: Vec::new(),
        })
    }

    fn memory(&self, buffer: usize) -> Result<&Memory, DeviceError> {
        self.buffers.get(buffer).ok_or_else(|| no_buffer(buffer))
    }

    /// What the program needs beyond what the device has.
    fn check(&self, plan: &Plan) -> Result<(), DeviceError> {
        let physical = &self.device.physical;
        let device = || physical.name.clone();
        let over = over(plan, &physical.limits);
        if !over.is_empty() {
            return Err(DeviceError::Limits { device: device(), over });
        }
        let (needed, room) = (plan.bytes() as u64, physical.bytes());
        if needed > room {
            return Err(DeviceError::Memory { device: device(), what: "in all", needed, room });
        }
        Ok(())
    }

    fn interface(&mut self, bindings: usize) -> Result<(), DeviceError> {
        if self.interfaces.contains_key(&bindings) {
            return Ok(());
        }
        let api = &self.device.api;
        let binding = |i| {
            vk::DescriptorSetLayoutBinding::default()
                .binding(i)
                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                .descriptor_count(1)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let all: Vec<_> = (0..bindings as u32).map(binding).collect();
        let info = vk::DescriptorSetLayoutCreateInfo::default().bindings(&all);
        // SAFETY: the structure is valid.
        let set = unsafe { api.create_descriptor_set_layout(&info, None) }
            .map_err(self.device.fail("vkCreateDescriptorSetLayout"))?;
        let sets = [set];
        let info = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
        // SAFETY: the layout was just made.
        let pipeline = unsafe { api.create_pipeline_layout(&info, None) }.map_err(|e| {
            // SAFETY: nothing uses it.
            unsafe { api.destroy_descriptor_set_layout(set, None) };
            self.device.fail("vkCreatePipelineLayout")(e)
        })?;
        self.interfaces.insert(bindings, Interface { set, pipeline });
        Ok(())
    }

    fn pipeline(&mut self, kernel: &Kernel, words: &[u32]) -> Result<(), DeviceError> {
        self.interface(kernel.bindings)?;
        let api = &self.device.api;
        let info = vk::ShaderModuleCreateInfo::default().code(words);
        // SAFETY: the words are a SPIR-V module, whose capabilities the device has.
        let module = unsafe { api.create_shader_module(&info, None) }
            .map_err(self.device.fail("vkCreateShaderModule"))?;
        let entry = CString::new(kernel.entry.as_str())
            .map_err(|_| DeviceError::Plan(format!("kernel name {:?}", kernel.entry)))?;
        let stage = vk::PipelineShaderStageCreateInfo::default()
            .stage(vk::ShaderStageFlags::COMPUTE)
            .module(module)
            .name(&entry);
        let info = [vk::ComputePipelineCreateInfo::default()
            .stage(stage)
            .layout(self.interfaces[&kernel.bindings].pipeline)];
        // SAFETY: module and layout are alive; the module is not needed afterwards.
        let made = unsafe {
            let made = api.create_compute_pipelines(vk::PipelineCache::null(), &info, None);
            api.destroy_shader_module(module, None);
            made
        };
        let made = made.map_err(|(_, e)| self.device.fail("vkCreateComputePipelines")(e))?;
        self.pipelines.push(Pipeline { handle: made[0], bindings: kernel.bindings });
        Ok(())
    }

    /// A pool with a set for each launch, and the sets, filled in.
    fn sets(
        &self,
        launches: &[&Launch],
    ) -> Result<(vk::DescriptorPool, Vec<vk::DescriptorSet>), DeviceError> {
        let api = &self.device.api;
        let count: usize = launches.iter().map(|l| l.arguments.len()).sum();
        let sizes = [vk::DescriptorPoolSize::default()
            .ty(vk::DescriptorType::STORAGE_BUFFER)
            .descriptor_count(count.max(1) as u32)];
        let info = vk::DescriptorPoolCreateInfo::default()
            .max_sets(launches.len().max(1) as u32)
            .pool_sizes(&sizes);
        // SAFETY: the structure is valid.
        let pool = unsafe { api.create_descriptor_pool(&info, None) }
            .map_err(self.device.fail("vkCreateDescriptorPool"))?;
        let filled = self.fill(pool, launches);
        if filled.is_err() {
            // SAFETY: nothing uses it.
            unsafe { api.destroy_descriptor_pool(pool, None) };
        }
        Ok((pool, filled?))
    }

    fn fill(
        &self,
        pool: vk::DescriptorPool,
        launches: &[&Launch],
    ) -> Result<Vec<vk::DescriptorSet>, DeviceError> {
        let api = &self.device.api;
        let mut out = Vec::with_capacity(launches.len());
        for launch in launches {
            let layout = [self.interfaces[&launch.arguments.len()].set];
            let info =
                vk::DescriptorSetAllocateInfo::default().descriptor_pool(pool).set_layouts(&layout);
            // SAFETY: the pool has room for this set.
            let set = unsafe { api.allocate_descriptor_sets(&info) }
                .map_err(self.device.fail("vkAllocateDescriptorSets"))?[0];
            let range = |a: &Argument| {
                Ok(vk::DescriptorBufferInfo::default()
                    .buffer(self.memory(a.buffer)?.handle)
                    .offset(a.offset as u64)
                    .range(a.bytes as u64))
            };
            let ranges = launch.arguments.iter().map(range).collect::<Result<Vec<_>, _>>()?;
            let write = vk::WriteDescriptorSet::default()
                .dst_set(set)
                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                .buffer_info(&ranges);
            if !ranges.is_empty() {
                // SAFETY: the ranges are inside their buffers, as the plan was checked to say.
                unsafe { api.update_descriptor_sets(&[write], &[]) };
            }
            out.push(set);
        }
        Ok(out)
    }

    fn emit(
        &self,
        to: vk::CommandBuffer,
        commands: &[Command],
        sets: &[vk::DescriptorSet],
    ) -> Result<(), DeviceError> {
        let api = &self.device.api;
        let mut sets = sets.iter();
        for command in commands {
            match command {
                Command::Copy(from, at) => {
                    let region = vk::BufferCopy::default()
                        .src_offset(from.offset as u64)
                        .dst_offset(at.offset as u64)
                        .size(from.bytes as u64);
                    let [from, at] = [self.memory(from.buffer)?, self.memory(at.buffer)?];
                    // SAFETY: recording; the spans are inside the buffers.
                    unsafe { api.cmd_copy_buffer(to, from.handle, at.handle, &[region]) };
                }
                Command::Launch(launch) => {
                    let (Some(set), Some(pipeline)) =
                        (sets.next(), self.pipelines.get(launch.kernel))
                    else {
                        return Err(DeviceError::Plan(format!("no kernel {}", launch.kernel)));
                    };
                    let layout = self.interfaces[&pipeline.bindings].pipeline;
                    let bind = vk::PipelineBindPoint::COMPUTE;
                    let [x, y, z] = launch.grid;
                    // SAFETY: recording; the set was made for this layout.
                    unsafe {
                        api.cmd_bind_pipeline(to, bind, pipeline.handle);
                        api.cmd_bind_descriptor_sets(to, bind, layout, 0, &[*set], &[]);
                        api.cmd_dispatch(to, x, y, z);
                    }
                }
                Command::Barrier => self.barrier(to, false),
            }
        }
        Ok(())
    }

    fn barrier(&self, to: vk::CommandBuffer, host: bool) {
        let work = vk::PipelineStageFlags::COMPUTE_SHADER | vk::PipelineStageFlags::TRANSFER;
        let wrote = vk::AccessFlags::SHADER_WRITE | vk::AccessFlags::TRANSFER_WRITE;
        let reads = vk::AccessFlags::SHADER_READ | vk::AccessFlags::TRANSFER_READ;
        let (stage, access) = match host {
            true => (vk::PipelineStageFlags::HOST, vk::AccessFlags::HOST_READ),
            false => (work, wrote | reads),
        };
        let barrier = [vk::MemoryBarrier::default().src_access_mask(wrote).dst_access_mask(access)];
        let none = vk::DependencyFlags::empty();
        // SAFETY: recording.
        unsafe { self.device.api.cmd_pipeline_barrier(to, work, stage, none, &barrier, &[], &[]) };
    }

    fn record_into(
        &self,
        to: vk::CommandBuffer,
        commands: &[Command],
        sets: &[vk::DescriptorSet],
    ) -> Result<vk::Fence, DeviceError> {
        let api = &self.device.api;
        // SAFETY: the command buffer was just made and is recorded once.
        unsafe { api.begin_command_buffer(to, &vk::CommandBufferBeginInfo::default()) }
            .map_err(self.device.fail("vkBeginCommandBuffer"))?;
        // What was submitted before may still write what is used here.
        self.barrier(to, false);
        self.emit(to, commands, sets)?;
        self.barrier(to, true);
        // SAFETY: as above.
        unsafe { api.end_command_buffer(to) }.map_err(self.device.fail("vkEndCommandBuffer"))?;
        // SAFETY: the structure is valid.
        unsafe { api.create_fence(&vk::FenceCreateInfo::default(), None) }
            .map_err(self.device.fail("vkCreateFence"))
    }
}

fn no_buffer(buffer: usize) -> DeviceError {
    DeviceError::Plan(format!("there is no buffer {buffer}"))
}

/// The words of a SPIR-V module.
fn words(bytes: &[u8]) -> Result<Vec<u32>, DeviceError> {
    let bad = |e: std::io::Error| DeviceError::Plan(format!("a module is no SPIR-V: {e}"));
    ash::util::read_spv(&mut std::io::Cursor::new(bytes)).map_err(bad)
}

impl Machine for VulkanMachine {
    fn name(&self) -> String {
        self.device.physical.name.clone()
    }

    fn target(&self) -> GpuTarget {
        let newest = self.device.physical.version.min(vk::API_VERSION_1_3);
        GpuTarget::Vulkan(vk::api_version_minor(newest))
    }

    fn buffer(&mut self, bytes: usize, place: Place) -> Result<usize, DeviceError> {
        self.buffers.push(Memory::new(&self.device, bytes.max(4) as u64, place)?);
        Ok(self.buffers.len() - 1)
    }

    fn write(&mut self, buffer: usize, offset: usize, bytes: &[u8]) -> Result<(), DeviceError> {
        let memory = self.buffers.get_mut(buffer).ok_or_else(|| no_buffer(buffer))?;
        let to = memory.visible_mut()?.get_mut(offset..).and_then(|b| b.get_mut(..bytes.len()));
        to.ok_or_else(|| no_buffer(buffer))?.copy_from_slice(bytes);
        Ok(())
    }

    fn read(&self, buffer: usize, offset: usize, bytes: usize) -> Result<Vec<u8>, DeviceError> {
        let from = self.memory(buffer)?.visible()?.get(offset..).and_then(|b| b.get(..bytes));
        Ok(from.ok_or_else(|| no_buffer(buffer))?.to_vec())
    }

    fn load(&mut self, program: &GpuProgram) -> Result<(), DeviceError> {
        if program.plan.format != Format::Spirv {
            let message = format!("Vulkan runs SPIR-V, not {:?}", program.plan.format);
            return Err(DeviceError::Plan(message));
        }
        self.check(&program.plan)?;
        let modules = program.modules.iter().map(|m| words(&m.bytes));
        let modules = modules.collect::<Result<Vec<_>, _>>()?;
        let features = &self.device.physical.features;
        let missing: BTreeSet<String> = modules.iter().flat_map(|m| features.missing(m)).collect();
        if !missing.is_empty() {
            let (device, missing) = (self.name(), missing.into_iter().collect());
            return Err(DeviceError::Missing { device, missing });
        }
        for kernel in &program.plan.kernels {
            let words = modules.get(kernel.module).ok_or_else(|| {
                DeviceError::Plan(format!("kernel {} has no module", kernel.entry))
            })?;
            self.pipeline(kernel, words)?;
        }
        Ok(())
    }

    fn record(&mut self, commands: &[Command]) -> Result<Recording, DeviceError> {
        let launches = commands.iter().filter_map(|c| match c {
            Command::Launch(launch) => Some(*launch),
            _ => None,
        });
        let launches: Vec<&Launch> = launches.collect();
        let info = vk::CommandBufferAllocateInfo::default()
            .command_pool(self.pool)
            .level(vk::CommandBufferLevel::PRIMARY)
            .command_buffer_count(1);
        // SAFETY: the pool is this machine's; the command buffer is freed with it.
        let to = unsafe { self.device.api.allocate_command_buffers(&info) }
            .map_err(self.device.fail("vkAllocateCommandBuffers"))?[0];
        let (pool, sets) = self.sets(&launches)?;
        let done = self.record_into(to, commands, &sets).inspect_err(|_| {
            // SAFETY: nothing was submitted.
            unsafe { self.device.api.destroy_descriptor_pool(pool, None) };
        })?;
        self.recordings.push(Recorded { commands: to, sets: pool, done, started: false });
        Ok(Recording(self.recordings.len() - 1))
    }

    fn submit(&mut self, recording: Recording) -> Result<(), DeviceError> {
        let Some(recorded) = self.recordings.get_mut(recording.0) else {
            return Err(DeviceError::Plan(format!("there is no recording {}", recording.0)));
        };
        let commands = [recorded.commands];
        let info = [vk::SubmitInfo::default().command_buffers(&commands)];
        let queue = self.device.queue();
        // SAFETY: the recording is not under way, so its fence is not in use.
        unsafe {
            self.device
                .api
                .reset_fences(&[recorded.done])
                .map_err(self.device.fail("vkResetFences"))?;
            self.device
                .api
                .queue_submit(*queue, &info, recorded.done)
                .map_err(self.device.fail("vkQueueSubmit"))?;
        }
        recorded.started = true;
        Ok(())
    }

    fn wait(&mut self, recording: Recording) -> Result<(), DeviceError> {
        let Some(recorded) = self.recordings.get_mut(recording.0).filter(|r| r.started) else {
            return Ok(());
        };
        // SAFETY: the fence was submitted.
        unsafe { self.device.api.wait_for_fences(&[recorded.done], true, u64::MAX) }
            .map_err(self.device.fail("vkWaitForFences"))
    }
}
