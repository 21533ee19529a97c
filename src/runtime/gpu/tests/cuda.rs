//! Plans on the made-up CUDA driver: what is called in which order, and what its failures become.

use pamc_lowering::gpu::GpuProgram;
use pamc_lowering::gpu::plan::{Format, Module};

use super::driver::{driver, fresh};
use super::plans;
use crate::error::Error;
use crate::runtime::device::Trainer;
use crate::runtime::gpu::DeviceError;
use crate::runtime::gpu::cuda;
use crate::runtime::gpu::program::GpuTrainer;

fn modules() -> Vec<Module> {
    vec![Module { name: "kernels.ptx".into(), bytes: b"// PTX by hand".to_vec() }]
}

fn sums() -> GpuProgram {
    plans::running_sum(Format::Ptx, modules(), 1)
}

/// The error of the first step, or of getting there.
fn failure(program: &GpuProgram, function: &'static str, n: usize, code: i32) -> String {
    let api = fresh();
    driver(|d| d.failure = Some((function, n, code)));
    let [state, arrays] = plans::values();
    let tried = cuda::machine(&api, None).map_err(Error::from).and_then(|machine| {
        let mut trainer = GpuTrainer::new(program, Box::new(machine), &state, &arrays)?;
        trainer.train(&[0, 1, 2, 3], 2)
    });
    let message = tried.expect_err(function).to_string();
    nothing_is_left();
    message
}

#[track_caller]
fn nothing_is_left() {
    let open = driver(|d| d.open.clone());
    assert!(open.values().all(|n| *n == 0), "{open:?}");
}

#[test]
fn batches_are_fed_in_order_and_states_stay() {
    for accumulate in [1, 2] {
        let api = fresh();
        let machine = cuda::machine(&api, Some(0)).expect("a device");
        let program = plans::running_sum(Format::Ptx, modules(), accumulate);
        plans::check_sums(&program, Box::new(machine), accumulate);
        nothing_is_left();
    }
}

#[test]
fn truth_values_are_widened_and_narrowed() {
    let api = fresh();
    let machine = cuda::machine(&api, None).expect("a device");
    plans::check_split(&plans::split(Format::Ptx, modules()), Box::new(machine));
    nothing_is_left();
}

#[test]
fn steps_are_captured_once_and_launched_as_graphs() {
    let api = fresh();
    let machine = cuda::machine(&api, None).expect("a device");
    let [state, arrays] = plans::values();
    let mut trainer =
        GpuTrainer::new(&sums(), Box::new(machine), &state, &arrays).expect("a trainer");
    let count = |name| driver(|d| d.calls.iter().filter(|c| **c == name).count());
    assert_eq!(driver(|d| d.modules.clone()), ["// PTX by hand"]);
    // Two kernels a step, and a step for each set of transfer buffers.
    assert_eq!(count("cuLaunchKernel"), 4);
    let (captured, launched) = (count("cuStreamBeginCapture"), count("cuGraphLaunch"));
    trainer.train(&[0; 20], 10).expect("trained");
    assert_eq!(count("cuGraphLaunch"), launched + 10);
    assert_eq!((count("cuStreamBeginCapture"), count("cuLaunchKernel")), (captured, 4));
    // While a step runs the next one is fed: the host waits for the one before it only.
    let calls = driver(|d| d.calls.split_off(d.calls.len() - 60));
    let kinds = calls.iter().filter(|c| matches!(**c, "cuGraphLaunch" | "cuEventSynchronize"));
    let kinds: Vec<_> = kinds.map(|c| if *c == "cuGraphLaunch" { 'L' } else { 'W' }).collect();
    let kinds: String = kinds.into_iter().collect();
    assert!(kinds.ends_with("WLWLWLWLWW"), "{kinds}");
}

#[test]
fn failures_say_what_and_leave_nothing_behind() {
    let memory = failure(&sums(), "cuMemAlloc", 2, 2);
    assert!(memory.contains("Made-up GPU has too little memory: 256 bytes"), "{memory}");
    assert!(memory.contains("1048576 bytes are there") && memory.contains("--batch-size"));
    let lost = failure(&sums(), "cuEventSynchronize", 3, 700);
    assert!(lost.contains("was lost while running (CUDA_ERROR_ILLEGAL_ADDRESS)"), "{lost}");
    assert!(lost.contains("files saved before are intact"), "{lost}");
    let other = failure(&sums(), "cuGraphLaunch", 0, 801);
    assert_eq!(other, "Made-up GPU: cuGraphLaunch failed with code 801");
    for function in ["cuLaunchKernel", "cuStreamEndCapture", "cuEventCreate", "cuStreamCreate"] {
        let said = failure(&sums(), function, 0, 1);
        assert!(said.contains(function), "{said}");
    }
}

#[test]
fn a_module_that_the_driver_refuses_is_explained_in_its_words() {
    let module = Module { name: "kernels.ptx".into(), bytes: b"wrong".to_vec() };
    let program = plans::running_sum(Format::Ptx, vec![module], 1);
    let said = failure(&program, "", 0, 0);
    assert!(said.contains("CUDA_ERROR_INVALID_PTX: ptxas: line 7: syntax error"), "{said}");
}

#[test]
fn what_exceeds_the_device_is_refused_before_it_runs() {
    let mut program = sums();
    program.plan.kernels[0].workgroup = [32, 32, 65];
    program.plan.kernels[1].shared_bytes = 49 << 10;
    program.plan.step[0].grid = [1, 65536, 1];
    let said = failure(&program, "", 0, 0);
    for what in ["threads of a block:", "in one direction", "shared memory: 50176", "blocks"] {
        assert!(said.contains(what), "no {what} in {said}");
    }
    let mut program = sums();
    program.plan.buffers[2].bytes = 1 << 40;
    assert!(failure(&program, "", 0, 0).contains("too little memory"));
    let mut program = sums();
    program.plan.format = Format::Spirv;
    assert!(failure(&program, "", 0, 0).contains("not Spirv"));
}

#[test]
fn devices_are_chosen_by_number_and_capability() {
    let api = fresh();
    let Err(none) = cuda::machine(&api, Some(3)) else { panic!("there is one device") };
    assert!(none.to_string().contains("no device cuda:3; there are: cuda:0 (Made-up GPU)"));
    driver(|d| d.capability = 75);
    let Err(old) = cuda::machine(&api, None) else { panic!("too old") };
    assert!(matches!(&old, DeviceError::Missing { .. }), "{old}");
    assert!(old.to_string().contains("compute capability 8.0 (it has 7.5)"), "{old}");
    driver(|d| d.devices = 0);
    let Err(none) = cuda::machine(&api, None) else { panic!("there is none") };
    assert!(none.to_string().contains("no device cuda; none was found"), "{none}");
}
