//! Vulkan 1.1 and newer, through a loader that is found at run time.

mod device;
mod features;
mod instance;
mod limits;
mod machine;
mod memory;

use super::error::DeviceError;
use super::machine::Machine;
use crate::runtime::devices::Description;
use instance::{Loader, Physical, version_text};

/// Open a device: the one of this number in [`list`], or the one that computes best.
///
/// # Errors
/// If there is no loader or no such device, or it cannot run programs at all.
pub fn open(number: Option<usize>) -> Result<Box<dyn Machine>, DeviceError> {
    let all = Loader::get()?.devices()?;
    let names =
        || all.iter().enumerate().map(|(i, d)| format!("vulkan:{i} ({})", d.name)).collect();
    let chosen = match number {
        Some(i) => all.get(i),
        None => all.iter().filter(|d| d.unfit().is_none()).min_by_key(|d| d.rank()),
    };
    let Some(chosen) = chosen else {
        let wanted = number.map_or("vulkan".into(), |i| format!("vulkan:{i}"));
        return Err(DeviceError::NoDevice { wanted, found: names() });
    };
    match chosen.unfit() {
        Some(reason) => {
            Err(DeviceError::Missing { device: chosen.name.clone(), missing: vec![reason] })
        }
        None => Ok(Box::new(machine::VulkanMachine::new(device::Device::open(chosen)?)?)),
    }
}

/// The devices that the loader knows.
///
/// # Errors
/// If there is no loader.
pub fn list() -> Result<Vec<Description>, DeviceError> {
    let all = Loader::get()?.devices()?;
    Ok(all.iter().enumerate().map(|(i, d)| describe(i, d)).collect())
}

fn describe(number: usize, d: &Physical) -> Description {
    Description {
        device: format!("vulkan:{number}"),
        name: d.name.clone(),
        kind: d.kind_text().into(),
        version: format!("Vulkan {}", version_text(d.version)),
        memory_bytes: Some(d.bytes()),
        unfit: d.unfit(),
        features: d.features.names().into_iter().map(String::from).collect(),
    }
}
