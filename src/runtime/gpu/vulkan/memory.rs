//! Buffers of a Vulkan device.

use std::ptr::NonNull;
use std::sync::Arc;

use ash::vk;

use super::device::Device;
use crate::runtime::gpu::DeviceError;
use crate::runtime::gpu::machine::Place;

/// A buffer with its memory.
pub(super) struct Memory {
    device: Arc<Device>,
    pub handle: vk::Buffer,
    memory: vk::DeviceMemory,
    pub bytes: u64,
    /// Where the host sees it.
    mapped: Option<NonNull<u8>>,
}

// SAFETY: the mapping belongs to this buffer alone.
unsafe impl Send for Memory {}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the recordings that use it are dropped before and not under way.
        unsafe {
            self.device.api.destroy_buffer(self.handle, None);
            self.device.api.free_memory(self.memory, None);
        }
    }
}

/// A buffer handle that is destroyed unless it gets its memory.
struct Bare<'d>(&'d Device, vk::Buffer);

impl Drop for Bare<'_> {
    fn drop(&mut self) {
        // SAFETY: nothing uses it yet; destroying the null handle does nothing.
        unsafe { self.0.api.destroy_buffer(self.1, None) };
    }
}

impl Memory {
    /// A buffer; zeros if the host's, undefined contents if the device's.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn new(device: &Arc<Device>, bytes: u64, place: Place) -> Result<Memory, DeviceError> {
        let usage = vk::BufferUsageFlags::TRANSFER_SRC | vk::BufferUsageFlags::TRANSFER_DST;
        let (usage, wanted) = match place {
            Place::Device => (usage | vk::BufferUsageFlags::STORAGE_BUFFER, DEVICE),
            Place::Host => (usage, HOST),
        };
        let info = vk::BufferCreateInfo::default().size(bytes).usage(usage);
        // SAFETY: the structure is valid.
        let made = unsafe { device.api.create_buffer(&info, None) };
        let mut bare = Bare(device, made.map_err(|e| refused(device, bytes, 0, place, e))?);
        // SAFETY: the buffer was just made.
        let needs = unsafe { device.api.get_buffer_memory_requirements(bare.1) };
        let memory = allocate(device, &needs, wanted, place)?;
        let handle = std::mem::take(&mut bare.1);
        let mut out = Memory { device: device.clone(), handle, memory, bytes, mapped: None };
        // SAFETY: the memory fits the buffer's requirements.
        unsafe { device.api.bind_buffer_memory(handle, memory, 0) }
            .map_err(device.fail("vkBindBufferMemory"))?;
        if place == Place::Host {
            let flags = vk::MemoryMapFlags::empty();
            // SAFETY: the memory is visible to the host and mapped once.
            let at = unsafe { device.api.map_memory(memory, 0, vk::WHOLE_SIZE, flags) };
            out.mapped = NonNull::new(at.map_err(device.fail("vkMapMemory"))?.cast());
            out.visible_mut()?.fill(0);
        }
        Ok(out)
    }

    /// The bytes, if the host sees them.
    pub fn visible(&self) -> Result<&[u8], DeviceError> {
        let at = self.mapped.ok_or_else(hidden)?;
        // SAFETY: mapped in whole and coherent; the device does not write while it is not running.
        Ok(unsafe { std::slice::from_raw_parts(at.as_ptr(), self.bytes as usize) })
    }

    /// The bytes, to write, if the host sees them.
    pub fn visible_mut(&mut self) -> Result<&mut [u8], DeviceError> {
        let at = self.mapped.ok_or_else(hidden)?;
        // SAFETY: as above.
        Ok(unsafe { std::slice::from_raw_parts_mut(at.as_ptr(), self.bytes as usize) })
    }
}

fn hidden() -> DeviceError {
    DeviceError::Plan("the host cannot see a buffer of the device".into())
}

/// Kinds of memory, the best first.
const DEVICE: [vk::MemoryPropertyFlags; 2] =
    [vk::MemoryPropertyFlags::DEVICE_LOCAL, vk::MemoryPropertyFlags::empty()];
const HOST: [vk::MemoryPropertyFlags; 2] = {
    let seen = vk::MemoryPropertyFlags::HOST_VISIBLE;
    let coherent = vk::MemoryPropertyFlags::from_raw(
        seen.as_raw() | vk::MemoryPropertyFlags::HOST_COHERENT.as_raw(),
    );
    let cached = vk::MemoryPropertyFlags::HOST_CACHED.as_raw();
    [vk::MemoryPropertyFlags::from_raw(coherent.as_raw() | cached), coherent]
};

fn allocate(
    device: &Device,
    needs: &vk::MemoryRequirements,
    wanted: [vk::MemoryPropertyFlags; 2],
    place: Place,
) -> Result<vk::DeviceMemory, DeviceError> {
    let types = device.physical.memory.memory_types_as_slice();
    let fits = |flags: vk::MemoryPropertyFlags| {
        let mut all = types.iter().enumerate();
        all.position(|(i, t)| {
            needs.memory_type_bits >> i & 1 == 1 && t.property_flags.contains(flags)
        })
    };
    let index = wanted.into_iter().find_map(fits).ok_or_else(|| DeviceError::Missing {
        device: device.physical.name.clone(),
        missing: vec![format!("memory for {place:?} buffers")],
    })?;
    let heap = device.physical.memory.memory_heaps[types[index].heap_index as usize].size;
    let room = heap.min(device.physical.largest.max(1 << 30));
    if needs.size > room {
        let code = vk::Result::ERROR_OUT_OF_DEVICE_MEMORY;
        return Err(refused(device, needs.size, room, place, code));
    }
    let info = vk::MemoryAllocateInfo::default()
        .allocation_size(needs.size)
        .memory_type_index(index as u32);
    // SAFETY: the structure is valid.
    let made = unsafe { device.api.allocate_memory(&info, None) };
    made.map_err(|code| refused(device, needs.size, room, place, code))
}

fn refused(device: &Device, needed: u64, room: u64, place: Place, code: vk::Result) -> DeviceError {
    let what = match place {
        Place::Device => "in one block of the device",
        Place::Host => "in one block for transfers",
    };
    match code {
        vk::Result::ERROR_OUT_OF_DEVICE_MEMORY | vk::Result::ERROR_OUT_OF_HOST_MEMORY => {
            let device = device.physical.name.clone();
            DeviceError::Memory { device, what, needed, room }
        }
        code => device.fail("allocation")(code),
    }
}
