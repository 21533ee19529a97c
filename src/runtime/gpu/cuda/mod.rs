//! NVIDIA devices, through the driver's library, which is found at run time.
//!
//! Written against the documented driver API and tested with a driver that this module's tests make up;
//! it has not run on hardware.

pub(super) mod api;
mod device;
mod machine;

use std::sync::OnceLock;

use pamc_lowering::gpu::GpuTarget;

use super::error::DeviceError;
use super::machine::Machine;
use crate::runtime::devices::Description;
use api::Api;
use device::Device;

const LIBRARY: &str = "libcuda.so.1";

/// The driver's library: one a process.
fn driver() -> Result<&'static Api, DeviceError> {
    static DRIVER: OnceLock<Result<Api, String>> = OnceLock::new();
    let loaded = DRIVER.get_or_init(|| Api::load(LIBRARY)).as_ref();
    loaded.map_err(|reason| DeviceError::NoLibrary {
        kind: "cuda",
        library: LIBRARY.into(),
        reason: reason.clone(),
        hint: "install NVIDIA's driver of version 520 or newer",
    })
}

/// Open a device: that of a number, or the first.
///
/// # Errors
/// If there is no driver or no such device, or no code can be made for it.
pub fn open(number: Option<usize>) -> Result<Box<dyn Machine>, DeviceError> {
    Ok(Box::new(machine(driver()?, number)?))
}

/// The same with the driver's functions.
pub(super) fn machine(
    api: &Api,
    number: Option<usize>,
) -> Result<machine::CudaMachine, DeviceError> {
    let (count, wanted) = (device::count(api)?, number.unwrap_or(0));
    if wanted >= count {
        let name = |i| Ok(format!("cuda:{i} ({})", Device::describe(api, i)?.name));
        let found = (0..count).map(name).collect::<Result<_, DeviceError>>()?;
        let wanted = number.map_or("cuda".into(), |i| format!("cuda:{i}"));
        return Err(DeviceError::NoDevice { wanted, found });
    }
    let device = Device::describe(api, wanted)?;
    let Some(target) = target(device.capability) else {
        let missing = vec![unfit(device.capability)];
        return Err(DeviceError::Missing { device: device.name.clone(), missing });
    };
    machine::CudaMachine::new(device.open()?, target)
}

/// The best code for a compute capability.
fn target(capability: u32) -> Option<GpuTarget> {
    let runs = |t: &GpuTarget| matches!(t, GpuTarget::Nvidia(c) if *c <= capability);
    let capability = |t: &GpuTarget| match t {
        GpuTarget::Nvidia(c) => *c,
        _ => 0,
    };
    GpuTarget::all().filter(runs).max_by_key(capability)
}

fn unfit(capability: u32) -> String {
    format!("compute capability 8.0 (it has {}.{})", capability / 10, capability % 10)
}

/// The devices that the driver knows.
///
/// # Errors
/// If there is no driver.
pub fn list() -> Result<Vec<Description>, DeviceError> {
    let api = driver()?;
    (0..device::count(api)?).map(|i| Ok(describe(i, &Device::describe(api, i)?))).collect()
}

fn describe(number: usize, d: &Device) -> Description {
    let mut version = 0;
    // SAFETY: writes one number.
    unsafe { (d.api.version)(&raw mut version) };
    let lacks = target(d.capability).is_none().then(|| unfit(d.capability));
    Description {
        device: format!("cuda:{number}"),
        name: d.name.clone(),
        kind: "discrete".into(),
        version: format!("CUDA {}.{}", version / 1000, version % 1000 / 10),
        memory_bytes: Some(d.memory),
        unfit: lacks.map(|l| format!("it lacks {l}")),
        features: vec![format!("sm_{}", d.capability)],
    }
}
