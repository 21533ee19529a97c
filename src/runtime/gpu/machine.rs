//! What a device must be able to do to run a launch plan. [`super::vulkan`] and [`super::cuda`] do it.

use pamc_lowering::gpu::GpuTarget;
use pamc_lowering::gpu::plan::{Argument, GpuProgram, Launch};

use super::error::DeviceError;

/// Where a buffer lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The device's own memory.
    Device,
    /// Memory that the host reads and writes and the device copies from and to.
    Host,
}

/// One thing to do. Buffers are numbered in the order in which they were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'p> {
    /// Copy bytes from one range to another of the same length.
    Copy(Argument, Argument),
    /// Run a kernel on ranges of buffers; its own `barrier` is for whoever lists the commands.
    Launch(&'p Launch),
    /// What comes after sees all that was written before.
    Barrier,
}

/// Commands recorded once, to be submitted many times; by the order in which they were recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recording(pub usize);

/// A device with the buffers, kernels and recordings of one program.
pub trait Machine {
    /// Name of the device, for messages.
    fn name(&self) -> String;

    /// What code for it must be made for.
    fn target(&self) -> GpuTarget;

    /// The next buffer; the host's are zeros at first.
    ///
    /// # Errors
    /// If memory runs out.
    fn buffer(&mut self, bytes: usize, place: Place) -> Result<usize, DeviceError>;

    /// Write into a buffer of the host.
    ///
    /// # Errors
    /// If the bytes lie outside or the buffer is the device's.
    fn write(&mut self, buffer: usize, offset: usize, bytes: &[u8]) -> Result<(), DeviceError>;

    /// Read from a buffer of the host.
    ///
    /// # Errors
    /// If the bytes lie outside or the buffer is the device's.
    fn read(&self, buffer: usize, offset: usize, bytes: usize) -> Result<Vec<u8>, DeviceError>;

    /// Load the program's kernels.
    ///
    /// # Errors
    /// Lists all that the device lacks, or tells what its driver said.
    fn load(&mut self, program: &GpuProgram) -> Result<(), DeviceError>;

    /// Record commands; its launches are of the program loaded.
    ///
    /// # Errors
    /// If the driver refuses.
    fn record(&mut self, commands: &[Command]) -> Result<Recording, DeviceError>;

    /// Start a recording, after all that were started before; it must not be under way.
    ///
    /// # Errors
    /// If the driver refuses or the device was lost.
    fn submit(&mut self, recording: Recording) -> Result<(), DeviceError>;

    /// Wait until the last start of a recording is done; returns at once if there was none.
    ///
    /// # Errors
    /// If the device was lost.
    fn wait(&mut self, recording: Recording) -> Result<(), DeviceError>;
}
