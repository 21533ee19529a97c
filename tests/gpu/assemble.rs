//! NVIDIA and AMD code of what else runs on Vulkan: it assembles, and contractions keep their registers.
//! `make test-gpu` runs this; it takes longer than the other tests and needs NVIDIA's assembler.

use std::path::Path;

use pamc_lowering::gpu::plan::Format;
use pamc_lowering::gpu::{AmdChip, GpuTarget, compile_run};
use pamc_passes::program::Program;
use pamc_passes::testing::random_program;

use super::code::disassembly::{disassemble_amd, disassemble_nvidia, inner_loops, multiplies};
use super::code::{self, Usage};
use super::matmuls;

const NVIDIA: [u32; 2] = [80, 90];
const AMD: [AmdChip; 2] = [AmdChip::Gfx90a, AmdChip::Gfx942];

/// True in `make test-gpu`.
pub fn wanted() -> bool {
    std::env::var_os("PAMC_TEST_GPU").is_some()
}

/// Assemble a program for every chip; what was wrong, with the chip's name.
pub fn everywhere(program: &Program) -> Vec<(String, String)> {
    for_nvidia(program).chain(for_amd(program)).collect()
}

fn for_nvidia(program: &Program) -> impl Iterator<Item = (String, String)> {
    let targets = NVIDIA.into_iter().map(GpuTarget::Nvidia);
    targets.filter_map(|t| Some((t.name(), nvidia(program, t).err()?)))
}

fn for_amd(program: &Program) -> impl Iterator<Item = (String, String)> {
    let targets = AMD.into_iter().map(GpuTarget::Amd);
    targets.filter_map(|t| Some((t.name(), amd(program, t).err()?)))
}

fn nvidia(program: &Program, target: GpuTarget) -> Result<(), String> {
    let Some(ptxas) = code::ptxas() else {
        static TOLD: std::sync::Once = std::sync::Once::new();
        TOLD.call_once(|| println!("skipped: ptxas is not installed, so no PTX is assembled"));
        return Ok(());
    };
    let made = compile_run(program, target, Format::Ptx).map_err(|e| e.to_string())?;
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    for (number, module) in made.modules.iter().enumerate() {
        let [ptx, cubin] = ["kernels.ptx", "kernels.cubin"].map(|n| folder.path().join(n));
        std::fs::write(&ptx, &module.bytes).map_err(|e| e.to_string())?;
        let usage = code::assemble(&ptxas, &ptx, &target.name(), &cubin)?;
        let count = made.plan.kernels.iter().filter(|k| k.module == number).count();
        if usage.len() != count {
            return Err(format!("{} of {count} kernels", usage.len()));
        }
        no_spills(usage)?;
    }
    Ok(())
}

fn amd(program: &Program, target: GpuTarget) -> Result<(), String> {
    let made = compile_run(program, target, Format::Amdgcn).map_err(|e| e.to_string())?;
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    for (number, module) in made.modules.iter().enumerate() {
        let source = folder.path().join("kernels.s");
        std::fs::write(&source, &module.bytes).map_err(|e| e.to_string())?;
        code::assemble_amd(&source, &target.name(), &folder.path().join("kernels.hsaco"))?;
        let usage = code::amd_usage(&String::from_utf8_lossy(&module.bytes));
        let count = made.plan.kernels.iter().filter(|k| k.module == number).count();
        if usage.len() != count {
            return Err(format!("{} of {count} kernels", usage.len()));
        }
        no_spills(usage)?;
    }
    Ok(())
}

fn no_spills(usage: impl IntoIterator<Item = (String, Usage)>) -> Result<(), String> {
    let spills = |(name, u): &(String, Usage)| name.starts_with("contract") && u.spilled > 0;
    match usage.into_iter().find(spills) {
        Some((name, u)) => Err(format!("{name} spills: {u:?}")),
        None => Ok(()),
    }
}

fn generated<I: Iterator<Item = (String, String)>>(assemble: fn(&Program) -> I) {
    if !wanted() {
        return println!("skipped: make test-gpu assembles generated programs");
    }
    let mut failures = Vec::new();
    for seed in 0..200 {
        let said = assemble(&random_program(seed).0);
        failures.extend(said.map(|(chip, e)| format!("seed {seed}, {chip}: {e}")));
    }
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn generated_programs_assemble_for_nvidia() {
    generated(|program| for_nvidia(program).collect::<Vec<_>>().into_iter());
}

#[test]
fn generated_programs_assemble_for_amd() {
    generated(|program| for_amd(program).collect::<Vec<_>>().into_iter());
}

/// Contractions of every kind, looked at as machine code: nothing in them multiplies floats.
#[test]
fn contractions_add_and_do_not_multiply() {
    if !wanted() {
        return println!("skipped: make test-gpu disassembles contractions");
    }
    let Some(ptxas) = code::ptxas() else { return println!("skipped: ptxas is not installed") };
    let folder = tempfile::tempdir().expect("a folder");
    let [source, target] = ["kernels.s", "kernels.hsaco"].map(|n| folder.path().join(n));
    let nvidia = NVIDIA.map(GpuTarget::Nvidia).map(|t| (t, Format::Ptx));
    let amd = AMD.map(GpuTarget::Amd).map(|t| (t, Format::Amdgcn));
    for (chip, format) in nvidia.into_iter().chain(amd) {
        for (case, text) in matmuls::CASES {
            let made = matmuls::code(text, chip, format).unwrap_or_else(|e| panic!("{case}: {e}"));
            std::fs::write(&source, &made.modules[0].bytes).expect("written");
            let name = chip.name();
            let (assembled, kernels) = match format {
                Format::Ptx => {
                    let usage = code::assemble(&ptxas, &source, &name, &target);
                    (usage.and_then(no_spills), disassemble_nvidia(&ptxas, &target))
                }
                _ => {
                    let done = code::assemble_amd(&source, &name, &target);
                    (done, disassemble_amd(&target))
                }
            };
            let kernels = assembled.and(kernels).unwrap_or_else(|e| panic!("{case}, {name}: {e}"));
            for (kernel, instructions) in kernels {
                let multiplies = multiplies(&instructions);
                assert!(multiplies.is_empty(), "{case}, {name}, {kernel}: {multiplies:?}");
                let sums = !inner_loops(&instructions).is_empty();
                assert!(sums || !kernel.starts_with("contract"), "{case}, {name}, {kernel}");
            }
        }
    }
}

/// The tools themselves: what they refuse is an error here.
#[test]
fn what_does_not_assemble_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    let [source, target] = ["wrong.s", "wrong.hsaco"].map(|n| folder.path().join(n));
    std::fs::write(&source, "no_such_instruction v0\n").expect("written");
    let said = code::assemble_amd(&source, "gfx90a", &target).expect_err("no such instruction");
    assert!(said.contains("no_such_instruction"), "{said}");
    match code::ptxas() {
        None => println!("skipped: ptxas is not installed; make test-gpu installs it"),
        Some(ptxas) => {
            let said = code::assemble(&ptxas, &source, "sm_80", Path::new("/dev/null"));
            assert!(said.is_err());
        }
    }
}
