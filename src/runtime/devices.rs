//! The devices that programs can run on.

use std::fmt;
use std::str::FromStr;

use pamc_lowering::codegen::Target;
use serde::Serialize;

use super::gpu::{DeviceError, cuda, vulkan};

/// Where a program runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeviceName {
    /// Compiled for this machine's processor.
    #[default]
    Cpu,
    /// Node by node in the reference interpreter.
    Interpret,
    /// A Vulkan device, by number.
    Vulkan(Option<usize>),
    /// An NVIDIA device, by number.
    Cuda(Option<usize>),
}

impl FromStr for DeviceName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown =
            || format!("'{text}' is not cpu, interpret, vulkan, vulkan:N, cuda or cuda:N");
        let (kind, number) = match text.split_once(':') {
            Some((kind, number)) => (kind, Some(number.parse().map_err(|_| unknown())?)),
            None => (text, None),
        };
        match (kind, number) {
            ("cpu", None) => Ok(DeviceName::Cpu),
            ("interpret", None) => Ok(DeviceName::Interpret),
            ("vulkan", n) => Ok(DeviceName::Vulkan(n)),
            ("cuda", n) => Ok(DeviceName::Cuda(n)),
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceName::Cpu => f.write_str("cpu"),
            DeviceName::Interpret => f.write_str("interpret"),
            DeviceName::Vulkan(None) => f.write_str("vulkan"),
            DeviceName::Vulkan(Some(n)) => write!(f, "vulkan:{n}"),
            DeviceName::Cuda(None) => f.write_str("cuda"),
            DeviceName::Cuda(Some(n)) => write!(f, "cuda:{n}"),
        }
    }
}

/// A device as `pamc devices` lists it.
#[derive(Clone, Debug, Serialize)]
pub struct Description {
    /// How `--device` names it.
    pub device: String,
    /// Its own name.
    pub name: String,
    /// `processor`, `discrete`, `integrated`, `virtual`, `software`, `other`.
    pub kind: String,
    /// Version of its interface.
    pub version: String,
    /// Bytes of its own memory; nothing for a processor, which has the machine's.
    pub memory_bytes: Option<u64>,
    /// Why it cannot be used; nothing if it can.
    pub unfit: Option<String>,
    /// What code for it may use.
    pub features: Vec<String>,
}

/// All devices there are; a kind without any is listed once, with the reason.
pub fn all() -> Vec<Description> {
    let mut out = vec![processor()];
    for (kind, found) in [("vulkan", vulkan::list()), ("cuda", cuda::list())] {
        match found {
            Ok(devices) if devices.is_empty() => out.push(none(kind, "the driver knows none")),
            Ok(devices) => out.extend(devices),
            Err(DeviceError::NoLibrary { reason, hint, .. }) => {
                out.push(none(kind, &format!("{reason}; {hint}")));
            }
            Err(e) => out.push(none(kind, &e.to_string())),
        }
    }
    out
}

fn processor() -> Description {
    let target = Target::host();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    Description {
        device: "cpu".into(),
        name: target.cpu,
        kind: "processor".into(),
        version: target.triple,
        memory_bytes: None,
        unfit: None,
        features: vec![format!("{threads} threads"), format!("{} bit vectors", target.vector_bits)],
    }
}

fn none(kind: &str, reason: &str) -> Description {
    Description {
        device: kind.into(),
        name: String::new(),
        kind: String::new(),
        version: String::new(),
        memory_bytes: None,
        unfit: Some(reason.into()),
        features: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for text in ["cpu", "interpret", "vulkan", "vulkan:0", "cuda", "cuda:12"] {
            assert_eq!(text.parse::<DeviceName>().map(|d| d.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "gpu", "cpu:1", "vulkan:", "vulkan:x", "cuda:-1"] {
            let error = text.parse::<DeviceName>().expect_err(text);
            assert!(error.contains("vulkan:N"), "{error}");
        }
    }
}
