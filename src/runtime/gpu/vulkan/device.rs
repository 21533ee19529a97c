//! An opened Vulkan device, shared by all programs of the process that run on it.

use std::ffi::c_char;
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use ash::vk;

use super::features::Chain;
use super::instance::Physical;
use crate::runtime::gpu::DeviceError;

/// A device with its one queue.
pub(super) struct Device {
    pub physical: Physical,
    pub api: ash::Device,
    queue: Mutex<vk::Queue>,
    pub family: u32,
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: whoever uses the device holds a share of it, so nothing of it is left.
        unsafe {
            // A device that was lost cannot be waited for, and need not be.
            let _ = self.api.device_wait_idle();
            self.api.destroy_device(None);
        }
    }
}

impl Device {
    /// The device, opened unless it is open already.
    ///
    /// # Errors
    /// If the driver refuses.
    pub fn open(physical: &Physical) -> Result<Arc<Device>, DeviceError> {
        static OPEN: Mutex<Vec<(u64, Weak<Device>)>> = Mutex::new(Vec::new());
        let key = ash::vk::Handle::as_raw(physical.handle);
        let mut open = OPEN.lock().unwrap_or_else(|e| e.into_inner());
        let known = open.iter().find(|(k, _)| *k == key).and_then(|(_, d)| d.upgrade());
        if let Some(device) = known {
            return Ok(device);
        }
        let device = Arc::new(Device::new(physical.clone())?);
        open.retain(|(k, _)| *k != key);
        open.push((key, Arc::downgrade(&device)));
        Ok(device)
    }

    fn new(physical: Physical) -> Result<Device, DeviceError> {
        let instance = &physical.loader.instance;
        let family = physical.family.unwrap_or(0);
        let queues = [vk::DeviceQueueCreateInfo::default()
            .queue_family_index(family)
            .queue_priorities(&[1.0])];
        let features = &physical.features;
        let names: Vec<*const c_char> = features.extensions.iter().map(|e| e.as_ptr()).collect();
        let mut chain = Chain::default();
        // SAFETY: the structures are those that the device knows.
        chain.with(features, |all| unsafe {
            instance.get_physical_device_features2(physical.handle, all);
        });
        let created = chain.used().with(features, |all| {
            let info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&names)
                .push_next(all);
            // SAFETY: the structures outlive the call.
            unsafe { instance.create_device(physical.handle, &info, None) }
        });
        let api = created.map_err(|code| fail(&physical.name, "vkCreateDevice", code))?;
        // SAFETY: one queue of this family was asked for.
        let queue = Mutex::new(unsafe { api.get_device_queue(family, 0) });
        Ok(Device { physical, api, queue, family })
    }

    /// The queue, for one user at a time.
    pub fn queue(&self) -> MutexGuard<'_, vk::Queue> {
        self.queue.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What a driver's code means.
    pub fn fail(&self, call: &'static str) -> impl Fn(vk::Result) -> DeviceError {
        let name = self.physical.name.clone();
        move |code| fail(&name, call, code)
    }
}

/// What a driver's code means.
pub(super) fn fail(device: &str, call: &'static str, code: vk::Result) -> DeviceError {
    let (device, code) = (device.to_string(), (code, format!("{code:?}")));
    match code {
        (vk::Result::ERROR_DEVICE_LOST, code) => DeviceError::Lost { device, code },
        (_, code) => DeviceError::Driver { device, call, code },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_device_is_told_from_other_failures() {
        let lost = fail("GPU", "vkQueueSubmit", vk::Result::ERROR_DEVICE_LOST);
        assert!(matches!(&lost, DeviceError::Lost { .. }), "{lost}");
        assert!(lost.to_string().contains("files saved before are intact"), "{lost}");
        let other = fail("GPU", "vkQueueSubmit", vk::Result::ERROR_UNKNOWN);
        assert_eq!(other.to_string(), "GPU: vkQueueSubmit failed with ERROR_UNKNOWN");
    }
}
