//! Programs on a GPU: its driver is loaded when it is asked for, and not needed to build pamc.
//!
//! [`machine::Machine`] is what a device must do, [`vulkan`] and [`cuda`] do it, [`program`] runs a
//! launch plan on any of them.

pub mod cuda;
mod error;
pub mod machine;
pub mod program;
#[cfg(test)]
mod tests;
pub mod vulkan;

pub use error::DeviceError;
