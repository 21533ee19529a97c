//! What can go wrong with a device.

use thiserror::Error;

/// Why a device cannot be used, or failed.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DeviceError {
    /// The driver's library is not installed.
    #[error("--device {kind} needs {library}, which cannot be loaded ({reason}); {hint}")]
    NoLibrary {
        /// `vulkan` or `cuda`.
        kind: &'static str,
        /// File name of the library.
        library: String,
        /// What the dynamic linker said.
        reason: String,
        /// What to install.
        hint: &'static str,
    },
    /// There is no device of this kind and number.
    #[error("there is no device {wanted}; {}", known(.found))]
    NoDevice {
        /// As the user named it.
        wanted: String,
        /// The devices there are.
        found: Vec<String>,
    },
    /// The device lacks something that the code needs.
    #[error("{device} cannot run this code: it lacks {}", .missing.join(", "))]
    Missing {
        /// Name of the device.
        device: String,
        /// Everything that it lacks.
        missing: Vec<String>,
    },
    /// The program is larger than the device allows.
    #[error("{device} cannot run this program: {}; use a smaller --batch-size or another --device", .over.join("; "))]
    Limits {
        /// Name of the device.
        device: String,
        /// Every limit exceeded: what, how much is needed, how much there is.
        over: Vec<String>,
    },
    /// Memory ran out.
    #[error(
        "{device} has too little memory: {needed} bytes are needed {what}, {room} bytes are there; \
         use a smaller --batch-size, accumulate with --accumulate, or use another --device"
    )]
    Memory {
        /// Name of the device.
        device: String,
        /// What the memory is for.
        what: &'static str,
        /// Bytes asked for.
        needed: u64,
        /// Bytes of the memory, or what is free of it.
        room: u64,
    },
    /// The device stopped answering.
    #[error(
        "{device} was lost while running ({code}): the driver reset it or it was removed; files \
         saved before are intact, start again from the last one with --weights"
    )]
    Lost {
        /// Name of the device.
        device: String,
        /// The driver's code.
        code: String,
    },
    /// Any other failure of the driver.
    #[error("{device}: {call} failed with {code}")]
    Driver {
        /// Name of the device.
        device: String,
        /// The function of the driver.
        call: &'static str,
        /// The driver's code.
        code: String,
    },
    /// A launch plan that does not fit its code or itself.
    #[error("the launch plan is not sound: {0}")]
    Plan(String),
}

fn known(found: &[String]) -> String {
    match found {
        [] => "none was found; `pamc devices` says why".into(),
        _ => format!("there are: {}", found.join(", ")),
    }
}
