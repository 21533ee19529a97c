//! Running compiled programs: data, devices, the host's side of training, files of weights.

pub mod data;
pub mod device;
pub mod devices;
pub mod evaluation;
pub mod files;
pub mod gpu;
pub mod metrics;
pub mod order;
pub mod sampling;
pub mod training;
