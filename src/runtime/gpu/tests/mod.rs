//! The same small plans on a Vulkan device and on a CUDA driver that is made up.

mod cuda;
mod driver;
mod plans;
mod vulkan;
