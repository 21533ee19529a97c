//! Plans on a Vulkan device, with kernels in SPIR-V assembly.

use std::io::Write;
use std::process::{Command, Stdio};

use pamc_lowering::gpu::plan::{Format, Module};

use super::plans::{self, COLLECT, SPLIT, UPDATE};
use crate::runtime::gpu::machine::{Machine, Place};
use crate::runtime::gpu::program::GpuTrainer;
use crate::runtime::gpu::{DeviceError, vulkan};

/// What only starts and runs a kernel: `bindings` arrays of an element type, then the body.
fn assembly(entry: &str, element: &str, bindings: usize, body: &str) -> String {
    let mut text = String::from("OpCapability Shader\nOpMemoryModel Logical GLSL450\n");
    text += &format!("OpEntryPoint GLCompute %main \"{entry}\"\n");
    text += "OpExecutionMode %main LocalSize 1 1 1\n";
    for i in 0..bindings {
        text += &format!("OpDecorate %b{i} DescriptorSet 0\nOpDecorate %b{i} Binding {i}\n");
    }
    text += "OpDecorate %array ArrayStride 4\nOpDecorate %block Block\n";
    text += "OpMemberDecorate %block 0 Offset 0\n";
    text += &format!("%void = OpTypeVoid\n%unit = OpTypeFunction %void\n%e = {element}\n");
    text += "%int = OpTypeInt 32 1\n%zero = OpConstant %int 0\n%one = OpConstant %int 1\n";
    text += "%array = OpTypeRuntimeArray %e\n%block = OpTypeStruct %array\n";
    text += "%pb = OpTypePointer StorageBuffer %block\n%pe = OpTypePointer StorageBuffer %e\n";
    for i in 0..bindings {
        text += &format!("%b{i} = OpVariable %pb StorageBuffer\n");
    }
    if element.contains("Float") {
        text += "%nil = OpConstant %e 0\n";
    }
    text += "%main = OpFunction %void None %unit\n%start = OpLabel\n";
    for i in 0..bindings {
        text += &format!("%p{i} = OpAccessChain %pe %b{i} %zero %zero\n");
        text += &format!("%q{i} = OpAccessChain %pe %b{i} %zero %one\n");
    }
    text + body + "OpReturn\nOpFunctionEnd\n"
}

fn assembled(entry: &str) -> Module {
    let float = "OpTypeFloat 32";
    let text = match entry {
        COLLECT => assembly(
            entry,
            float,
            2,
            "%t = OpLoad %e %p0\n%x = OpLoad %e %p1\n%y = OpLoad %e %q1\n%s = OpFAdd %e %x %y\n\
             %u = OpFAdd %e %t %s\nOpStore %p0 %u\n",
        ),
        UPDATE => assembly(
            entry,
            float,
            4,
            "%t = OpLoad %e %p0\n%x = OpLoad %e %p1\n%u = OpFAdd %e %t %x\nOpStore %p0 %u\n\
             OpStore %p1 %nil\n%c = OpLoad %e %p3\n%r = OpFAdd %e %u %c\nOpStore %p2 %r\n",
        ),
        _ => assembly(
            entry,
            "OpTypeInt 32 0",
            3,
            "%x = OpLoad %e %p0\n%n = OpISub %e %x %x\nOpStore %p1 %n\n%y = OpLoad %e %q0\n\
             OpStore %p2 %y\n",
        ),
    };
    let mut tool = Command::new("spirv-as");
    tool.args(["--target-env", "vulkan1.1", "-o", "-", "-"]);
    let mut child = tool.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("spirv-as");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("spirv-as ends");
    assert!(output.status.success(), "{text}");
    Module { name: format!("{entry}.spv"), bytes: output.stdout }
}

/// A device, or the reason why there is none to test with.
fn machine() -> Option<Box<dyn Machine>> {
    match vulkan::open(None) {
        Ok(machine) => Some(machine),
        Err(e) if std::env::var_os("PAMC_REQUIRE_VULKAN").is_none() => {
            println!("skipped: {e}");
            None
        }
        Err(e) => panic!("{e}"),
    }
}

fn modules() -> Vec<Module> {
    [COLLECT, UPDATE].map(assembled).into()
}

#[test]
fn batches_are_fed_in_order_and_states_stay() {
    for accumulate in [1, 2] {
        let Some(machine) = machine() else { return };
        let program = plans::running_sum(Format::Spirv, modules(), accumulate);
        plans::check_sums(&program, machine, accumulate);
    }
}

#[test]
fn truth_values_are_widened_and_narrowed() {
    let Some(machine) = machine() else { return };
    let program = plans::split(Format::Spirv, vec![assembled(SPLIT)]);
    plans::check_split(&program, machine);
}

#[test]
fn what_exceeds_the_device_is_refused_before_it_runs() {
    let refused = |change: &dyn Fn(&mut pamc_lowering::gpu::GpuProgram)| {
        let machine = machine()?;
        let [state, arrays] = plans::values();
        let mut program = plans::running_sum(Format::Spirv, modules(), 1);
        change(&mut program);
        let made = GpuTrainer::new(&program, machine, &state, &arrays);
        Some(made.err().expect("refused").to_string())
    };
    let Some(memory) = refused(&|p| p.plan.buffers[2].bytes = 1 << 60) else { return };
    assert!(memory.contains("too little memory") && memory.contains("batch-size"), "{memory}");
    let limits = refused(&|p| {
        p.plan.kernels[0].workgroup = [1 << 20, 1, 1];
        p.plan.kernels[1].shared_bytes = 1 << 30;
    });
    let limits = limits.expect("there is a device");
    assert!(limits.contains("threads of a group") && limits.contains("shared"), "{limits}");
    let missing = refused(&|p| {
        // The capability Kernel, of OpenCL, right after the header.
        p.modules[1].bytes.splice(20..20, [17, 0, 2, 0, 6, 0, 0, 0]);
    });
    let missing = missing.expect("there is a device");
    assert!(missing.contains("lacks the SPIR-V capability number 6"), "{missing}");
    let format = refused(&|p| p.plan.format = Format::Ptx).expect("there is a device");
    assert!(format.contains("SPIR-V"), "{format}");
    let outside = refused(&|p| p.plan.step[0].arguments[0].offset = 256);
    assert!(outside.expect("there is a device").contains("out of range"));
}

#[test]
fn only_host_buffers_are_written() {
    let Some(mut machine) = machine() else { return };
    let there = machine.buffer(64, Place::Device).expect("64 bytes");
    let here = machine.buffer(64, Place::Host).expect("64 bytes");
    assert!(machine.write(there, 0, &[1]).is_err());
    assert!(machine.write(here, 60, &[1, 2, 3, 4, 5]).is_err());
    machine.write(here, 60, &[1, 2, 3, 4]).expect("inside");
    assert_eq!(machine.read(here, 58, 6), Ok(vec![0, 0, 1, 2, 3, 4]));
    assert!(machine.read(here, 60, 5).is_err());
}

#[test]
fn devices_that_are_not_there_are_named() {
    if machine().is_none() {
        return;
    }
    let Err(e) = vulkan::open(Some(1000)) else { panic!("there is no such device") };
    assert!(matches!(&e, DeviceError::NoDevice { found, .. } if !found.is_empty()), "{e}");
    assert!(e.to_string().contains("no device vulkan:1000; there are: vulkan:0"), "{e}");
}
