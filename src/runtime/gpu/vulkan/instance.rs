//! The Vulkan loader and the devices it knows.

use std::ffi::CStr;
use std::sync::OnceLock;

use ash::{Entry, Instance, vk};

use super::features::Features;
use crate::runtime::gpu::DeviceError;

/// The loader with an instance: one a process.
pub(super) struct Loader {
    _entry: Entry,
    pub instance: Instance,
}

/// Oldest version of Vulkan that a device must have.
pub(super) const OLDEST: u32 = vk::API_VERSION_1_1;

const HINT: &str = "install the Vulkan loader (Debian: libvulkan1) and the driver of the device, or \
                    mesa-vulkan-drivers for one in software";

impl Loader {
    /// The process's loader.
    ///
    /// # Errors
    /// If it is not installed or too old.
    pub fn get() -> Result<&'static Loader, DeviceError> {
        static LOADER: OnceLock<Result<Loader, DeviceError>> = OnceLock::new();
        LOADER.get_or_init(Loader::new).as_ref().map_err(Clone::clone)
    }

    fn new() -> Result<Loader, DeviceError> {
        let missing = |reason: String| DeviceError::NoLibrary {
            kind: "vulkan",
            library: "libvulkan.so.1".into(),
            reason,
            hint: HINT,
        };
        // SAFETY: the Vulkan loader's initialization has no preconditions.
        let entry = unsafe { Entry::load() }.map_err(|e| missing(e.to_string()))?;
        // SAFETY: the entry points are loaded.
        let version = unsafe { entry.try_enumerate_instance_version() };
        let version = version.ok().flatten().unwrap_or(vk::API_VERSION_1_0);
        if version < OLDEST {
            return Err(missing(format!("it knows Vulkan {} only", version_text(version))));
        }
        let application = vk::ApplicationInfo::default()
            .application_name(c"pamc")
            .api_version(version.min(vk::API_VERSION_1_3));
        let info = vk::InstanceCreateInfo::default().application_info(&application);
        // SAFETY: the structures outlive the call.
        let instance = unsafe { entry.create_instance(&info, None) };
        let instance = instance.map_err(|code| missing(format!("no instance: {code:?}")))?;
        Ok(Loader { _entry: entry, instance })
    }

    /// All devices that the loader knows, in its order.
    pub fn devices(&'static self) -> Result<Vec<Physical>, DeviceError> {
        // SAFETY: the instance lives as long as the process.
        let handles = unsafe { self.instance.enumerate_physical_devices() };
        let handles = handles.map_err(|code| DeviceError::Driver {
            device: "the Vulkan loader".into(),
            call: "vkEnumeratePhysicalDevices",
            code: format!("{code:?}"),
        })?;
        Ok(handles.into_iter().map(|h| Physical::new(self, h)).collect())
    }
}

/// `1.3.230` of a packed version.
pub(super) fn version_text(version: u32) -> String {
    let [major, minor, patch] = [
        vk::api_version_major(version),
        vk::api_version_minor(version),
        vk::api_version_patch(version),
    ];
    format!("{major}.{minor}.{patch}")
}

/// A device that the loader knows.
#[derive(Clone)]
pub(super) struct Physical {
    pub loader: &'static Loader,
    pub handle: vk::PhysicalDevice,
    pub name: String,
    pub kind: vk::PhysicalDeviceType,
    pub version: u32,
    pub limits: vk::PhysicalDeviceLimits,
    pub memory: vk::PhysicalDeviceMemoryProperties,
    /// Largest single allocation in bytes.
    pub largest: u64,
    /// A queue family that computes.
    pub family: Option<u32>,
    pub features: Features,
}

impl Physical {
    fn new(loader: &'static Loader, handle: vk::PhysicalDevice) -> Physical {
        let instance = &loader.instance;
        let mut third = vk::PhysicalDeviceMaintenance3Properties::default();
        let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut third);
        // SAFETY: the handle comes from this instance.
        let (basic, memory, families) = unsafe {
            let basic = instance.get_physical_device_properties(handle);
            if basic.api_version >= OLDEST {
                instance.get_physical_device_properties2(handle, &mut properties);
            }
            let families = instance.get_physical_device_queue_family_properties(handle);
            (basic, instance.get_physical_device_memory_properties(handle), families)
        };
        let compute = families.iter().position(|f| f.queue_flags.contains(vk::QueueFlags::COMPUTE));
        let features = match basic.api_version >= OLDEST {
            true => Features::of(instance, handle, basic.api_version),
            false => Features::default(),
        };
        Physical {
            loader,
            handle,
            name: text(&basic.device_name),
            kind: basic.device_type,
            version: basic.api_version,
            limits: basic.limits,
            memory,
            largest: third.max_memory_allocation_size,
            family: compute.and_then(|i| u32::try_from(i).ok()),
            features,
        }
    }

    /// What keeps it from running any program.
    pub fn unfit(&self) -> Option<String> {
        if self.version < OLDEST {
            return Some(format!("it has Vulkan {}, 1.1 is needed", version_text(self.version)));
        }
        self.family.is_none().then(|| "it has no queue that computes".into())
    }

    /// Bytes of its own memory.
    pub fn bytes(&self) -> u64 {
        let heaps = self.memory.memory_heaps_as_slice().iter();
        let own = heaps.filter(|h| h.flags.contains(vk::MemoryHeapFlags::DEVICE_LOCAL));
        own.map(|h| h.size).max().unwrap_or(0)
    }

    /// In which order they are preferred, smallest first.
    pub fn rank(&self) -> u8 {
        match self.kind {
            vk::PhysicalDeviceType::DISCRETE_GPU => 0,
            vk::PhysicalDeviceType::INTEGRATED_GPU => 1,
            vk::PhysicalDeviceType::VIRTUAL_GPU => 2,
            vk::PhysicalDeviceType::CPU => 3,
            _ => 4,
        }
    }

    /// Its kind in a word.
    pub fn kind_text(&self) -> &'static str {
        ["discrete", "integrated", "virtual", "software", "other"][usize::from(self.rank())]
    }
}

fn text(name: &[std::ffi::c_char]) -> String {
    let bytes: Vec<u8> = name.iter().map(|&c| c as u8).collect();
    match CStr::from_bytes_until_nul(&bytes) {
        Ok(name) => name.to_string_lossy().into_owned(),
        Err(_) => String::from_utf8_lossy(&bytes).into_owned(),
    }
}
