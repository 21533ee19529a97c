//! Programs on a Vulkan device, bit for bit as in the interpreter; in CI the device is a software one.
//! GPU code for which no device is needed to look at it.

pub mod assemble;
pub mod code;
mod contractions;
mod convolutions;
mod failures;
mod generated;
mod matmuls;
mod sums;
mod training;

use std::collections::{BTreeMap, HashSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex};

use pamc::runtime::device::Forward;
use pamc::runtime::gpu::machine::Machine;
use pamc::runtime::gpu::program::GpuForward;
use pamc::runtime::gpu::vulkan;
use pamc_lowering::gpu;
use pamc_passes::interpret::Values;
use pamc_passes::ir::{InputKind, Tensor};
use pamc_passes::program::Program;

/// A Vulkan device, unless there is none here; `make test` insists on one.
pub fn device() -> Option<Box<dyn Machine>> {
    match vulkan::open(None) {
        Ok(machine) => Some(machine),
        Err(e) if std::env::var_os("PAMC_REQUIRE_VULKAN").is_none() => {
            static TOLD: std::sync::Once = std::sync::Once::new();
            TOLD.call_once(|| println!("skipped on Vulkan: {e}"));
            None
        }
        Err(e) => panic!("{e}"),
    }
}

/// Outputs of a program on a Vulkan device, its modules having been validated.
pub fn run(
    machine: Box<dyn Machine>,
    program: &Program,
    inputs: &Values,
) -> Result<Values, String> {
    feed(&mut load(machine, program)?, program, inputs)
}

/// A program on a Vulkan device, its modules having been validated.
pub fn load(machine: Box<dyn Machine>, program: &Program) -> Result<GpuForward, String> {
    let target = machine.target();
    let code = gpu::compile_run(program, target, target.formats()[0]).map_err(|e| e.to_string())?;
    code.modules.iter().try_for_each(|m| validate(&m.bytes))?;
    GpuForward::new(&code, program.graph().clone(), machine).map_err(|e| e.to_string())
}

/// Outputs of a program that is on a device.
pub fn feed(
    forward: &mut GpuForward,
    program: &Program,
    inputs: &Values,
) -> Result<Values, String> {
    let graph = program.graph();
    let is_data = |name: &str| graph.find_input(name).is_some_and(|i| i.kind == InputKind::Data);
    let (data, state): (Values, Values) =
        inputs.clone().into_iter().partition(|(name, _)| is_data(name));
    let state: BTreeMap<String, Tensor> = state.into_iter().collect();
    forward.run(&data, &state).map_err(|e| e.to_string())
}

/// What `spirv-val` says of a module; each is asked about once.
pub fn validate(module: &[u8]) -> Result<(), String> {
    static VALID: LazyLock<Mutex<HashSet<Vec<u8>>>> = LazyLock::new(Mutex::default);
    if VALID.lock().is_ok_and(|known| known.contains(module)) {
        return Ok(());
    }
    let mut tool = Command::new("spirv-val");
    tool.args(["--target-env", "vulkan1.3", "-"]);
    let mut child = tool
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("spirv-val (Debian: spirv-tools): {e}"))?;
    let mut pipe = child.stdin.take().ok_or("spirv-val has no input")?;
    pipe.write_all(module).map_err(|e| e.to_string())?;
    drop(pipe);
    let output = child.wait_with_output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        let said = [output.stdout, output.stderr].concat();
        return Err(format!("spirv-val: {}", String::from_utf8_lossy(&said)));
    }
    if let Ok(mut known) = VALID.lock() {
        known.insert(module.to_vec());
    }
    Ok(())
}
