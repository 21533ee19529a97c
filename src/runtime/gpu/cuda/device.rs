//! An NVIDIA device and what its driver says of it.

use std::ffi::{CStr, c_char, c_int};
use std::ptr::null_mut;

use super::api::{Api, Code, Handle};
use crate::runtime::gpu::DeviceError;

/// Numbers of `cuDeviceGetAttribute`.
mod attribute {
    pub const THREADS: i32 = 1;
    pub const BLOCK: [i32; 3] = [2, 3, 4];
    pub const GRID: [i32; 3] = [5, 6, 7];
    pub const SHARED: i32 = 8;
    pub const CAPABILITY: [i32; 2] = [75, 76];
}

const OUT_OF_MEMORY: Code = 2;
/// Codes after which a context cannot be used any more: launches that failed in several ways,
/// errors of the memory, a device that is gone.
const LOST: [Code; 15] = [4, 46, 214, 220, 226, 700, 702, 709, 714, 715, 716, 717, 718, 719, 999];

/// A device, opened.
pub struct Device {
    pub api: Api,
    pub name: String,
    ordinal: c_int,
    context: Handle,
    /// Compute capability: 90 for 9.0.
    pub capability: u32,
    /// The most threads of a block, in all and in each direction.
    pub threads: (u64, [u64; 3]),
    /// The most blocks of a grid in each direction.
    pub grid: [u64; 3],
    /// The most bytes of shared memory that code can declare.
    pub shared: u64,
    /// Bytes of memory.
    pub memory: u64,
}

impl Drop for Device {
    fn drop(&mut self) {
        if !self.context.is_null() {
            // SAFETY: retained when the device was opened.
            unsafe { (self.api.context_release)(self.ordinal) };
        }
    }
}

/// Number of devices.
///
/// # Errors
/// If the driver does not start.
pub fn count(api: &Api) -> Result<usize, DeviceError> {
    const NO_DEVICE: Code = 100;
    let failed = |call, code| driver(api, "the CUDA driver", call, code);
    // SAFETY: the first call to the driver.
    match unsafe { (api.init)(0) } {
        0 => {}
        NO_DEVICE => return Ok(0),
        code => return Err(failed("cuInit", code)),
    }
    let mut count = 0;
    // SAFETY: writes one number.
    match unsafe { (api.device_count)(&raw mut count) } {
        0 => Ok(usize::try_from(count).unwrap_or(0)),
        code => Err(failed("cuDeviceGetCount", code)),
    }
}

fn driver(api: &Api, device: &str, call: &'static str, code: Code) -> DeviceError {
    let (device, text) = (device.to_string(), api.name_of(code));
    match LOST.contains(&code) {
        true => DeviceError::Lost { device, code: text },
        false => DeviceError::Driver { device, call, code: text },
    }
}

impl Device {
    /// Find out about a device, by number; the driver must have been started.
    ///
    /// # Errors
    /// If the driver refuses.
    pub fn describe(api: &Api, number: usize) -> Result<Device, DeviceError> {
        let mut device = Device {
            api: api.clone(),
            name: format!("cuda:{number}"),
            ordinal: 0,
            context: null_mut(),
            capability: 0,
            threads: (0, [0; 3]),
            grid: [0; 3],
            shared: 0,
            memory: 0,
        };
        let mut name = [0 as c_char; 256];
        let mut memory = 0;
        let wanted = c_int::try_from(number).unwrap_or(c_int::MAX);
        // SAFETY: each writes into a variable of its type, the name with its end.
        unsafe {
            let code = (api.device_get)(&raw mut device.ordinal, wanted);
            device.ok("cuDeviceGet", code)?;
            let code = (api.device_name)(name.as_mut_ptr(), 255, device.ordinal);
            device.ok("cuDeviceGetName", code)?;
            device.name = CStr::from_ptr(name.as_ptr()).to_string_lossy().into_owned();
            let code = (api.device_memory)(&raw mut memory, device.ordinal);
            device.ok("cuDeviceTotalMem", code)?;
        }
        device.memory = memory as u64;
        device.ask()?;
        Ok(device)
    }

    fn ask(&mut self) -> Result<(), DeviceError> {
        let [major, minor] = attribute::CAPABILITY.map(|a| self.attribute(a));
        self.capability = (major? * 10 + minor?) as u32;
        self.threads.0 = self.attribute(attribute::THREADS)?;
        for d in 0..3 {
            self.threads.1[d] = self.attribute(attribute::BLOCK[d])?;
            self.grid[d] = self.attribute(attribute::GRID[d])?;
        }
        self.shared = self.attribute(attribute::SHARED)?;
        Ok(())
    }

    fn attribute(&self, which: c_int) -> Result<u64, DeviceError> {
        let mut value = 0;
        // SAFETY: writes one number.
        let code = unsafe { (self.api.device_attribute)(&raw mut value, which, self.ordinal) };
        self.ok("cuDeviceGetAttribute", code)?;
        Ok(u64::try_from(value).unwrap_or(0))
    }

    /// Take a share of the device's context.
    ///
    /// # Errors
    /// If the driver refuses.
    pub fn open(mut self) -> Result<Device, DeviceError> {
        let mut context = null_mut();
        // SAFETY: writes one handle.
        let code = unsafe { (self.api.context_retain)(&raw mut context, self.ordinal) };
        self.ok("cuDevicePrimaryCtxRetain", code)?;
        self.context = context;
        Ok(self)
    }

    /// Work with the device on this thread.
    ///
    /// # Errors
    /// If the driver refuses.
    pub fn enter(&self) -> Result<(), DeviceError> {
        // SAFETY: the context is retained.
        self.ok("cuCtxSetCurrent", unsafe { (self.api.context_set)(self.context) })
    }

    /// The error that a code means, if it is one.
    ///
    /// # Errors
    /// Unless the code is 0.
    pub fn ok(&self, call: &'static str, code: Code) -> Result<(), DeviceError> {
        match code {
            0 => Ok(()),
            code => Err(driver(&self.api, &self.name, call, code)),
        }
    }

    /// The same for an allocation of so many bytes.
    ///
    /// # Errors
    /// Unless the code is 0.
    pub fn allocated(
        &self,
        call: &'static str,
        what: &'static str,
        needed: u64,
        code: Code,
    ) -> Result<(), DeviceError> {
        if code != OUT_OF_MEMORY {
            return self.ok(call, code);
        }
        let (mut free, mut total) = (0, 0);
        // SAFETY: writes two numbers.
        unsafe { (self.api.memory_info)(&raw mut free, &raw mut total) };
        Err(DeviceError::Memory { device: self.name.clone(), what, needed, room: free as u64 })
    }
}
