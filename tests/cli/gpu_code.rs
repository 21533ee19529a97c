//! GPU code as files: a plan that names what is there, a header that C compilers take, modules that
//! validators and assemblers take.

use std::path::Path;
use std::process::Command;

use pamc::runtime::files::read_safetensors;
use pamc_lowering::gpu::Plan;
use pamc_lowering::gpu::plan::{BufferKind, from_device};

use super::{Place, Ran};
use crate::gpu::{assemble, code, validate};

/// Walks the tables of a header as a program would that runs them, and prints what there is.
const WALK: &str = r#"
#include <stdio.h>
#include "pamc.h"

static int sound(const struct pamc_launch *list, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        const struct pamc_launch *l = &list[i];
        if (l->kernel >= PAMC_KERNELS_COUNT || l->grid[0] == 0) return 0;
        for (unsigned a = 0; a < pamc_kernels[l->kernel].arguments; a++) {
            const struct pamc_argument *arg = &pamc_arguments[l->arguments + a];
            if (arg->buffer >= PAMC_BUFFERS_COUNT) return 0;
            if (arg->offset + arg->bytes > pamc_buffers[arg->buffer].bytes) return 0;
        }
    }
    return 1;
}

int main(void) {
    if (!sound(pamc_step, PAMC_STEP_COUNT)) return 1;
#if PAMC_MICRO_COUNT > 0
    if (!sound(pamc_micro, PAMC_MICRO_COUNT)) return 1;
#endif
    for (unsigned i = 0; i < PAMC_KERNELS_COUNT; i++) puts(pamc_kernels[i].module);
    printf("%d %d %d", PAMC_BUFFERS_COUNT, PAMC_SLOTS_COUNT, PAMC_STEP_COUNT);
    return 0;
}
"#;

fn plan(place: &Place, folder: &str) -> Plan {
    let text = std::fs::read(place.path(folder).join("plan.json")).expect("a plan");
    let plan: Plan = serde_json::from_slice(&text).expect("a plan");
    plan.check().expect("a sound plan");
    plan
}

#[test]
fn the_first_state_is_in_a_file() {
    let place = Place::new();
    place.pamc("@mlp:tiny --train --dim batch=4 --seed 3 --emit spirv -o code").success();
    place.samples("data.npz", "mlp:tiny", 8);
    let train = "train @mlp:tiny --seed 3 --data data.npz --batch-size 4 --steps 1";
    place.pamc(&format!("{train} --lr 0 --save w.safetensors")).success();
    let bytes = std::fs::read(place.path("code/state.bin")).expect("written");
    let plan = complete(&place, "code");
    let slots: Vec<_> = plan.slots(BufferKind::State).map(|(_, slot)| slot).collect();
    assert_eq!(bytes.len(), plan.buffers[0].bytes);
    let mut weights = read_safetensors(&place.path("w.safetensors")).expect("written");
    weights.retain(|name, _| name.starts_with("fc"));
    assert_eq!(weights.len(), 4);
    for (name, weight) in weights {
        let slot = slots.iter().find(|s| s.name == name).expect("a slot of the weight");
        let value = from_device(&slot.ty(), &bytes[slot.offset..][..slot.bytes]);
        assert!(value.same_value(&weight), "{name}");
    }
}

/// Every module of a plan is there, and nothing else but the plan's own files.
fn complete(place: &Place, folder: &str) -> Plan {
    let plan = plan(place, folder);
    let entries = std::fs::read_dir(place.path(folder)).expect("a folder");
    let mut there: Vec<String> =
        entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    let own = ["constants.bin", "pamc.h", "plan.json", "state.bin"].map(String::from);
    let mut wanted = [&plan.modules[..], &own].concat();
    there.sort();
    wanted.sort();
    assert_eq!(there, wanted);
    plan
}

#[test]
fn headers_compile_as_c_and_say_what_the_plan_says() {
    let place = Place::new();
    for (name, arguments) in [
        ("run", "@mlp:tiny --dim batch=4"),
        ("step", "@gpt:tiny --train"),
        ("micro", "@mlp:tiny --train --accumulate 2"),
    ] {
        place.pamc(&format!("{arguments} --emit spirv -o {name}")).success();
        let plan = complete(&place, name);
        let source = place.write("walk.c", WALK);
        let program = place.path("walk");
        let mut compiler = Command::new("/usr/lib/llvm-22/bin/clang");
        compiler.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-o"]);
        compiler.arg(&program).arg(source).arg("-I").arg(place.path(name));
        Ran::new(compiler.output().expect("clang starts")).success();
        let said = Ran::new(Command::new(&program).output().expect("it starts")).success();
        let (modules, counts) = said.rsplit_once('\n').expect("lines");
        let named: Vec<_> = plan.kernels.iter().map(|k| plan.modules[k.module].as_str()).collect();
        assert_eq!(modules.lines().collect::<Vec<_>>(), named);
        let slots: usize = plan.buffers.iter().map(|b| b.slots.len()).sum();
        assert_eq!(counts, format!("{} {slots} {}", plan.buffers.len(), plan.step.len()));
        let mut cpp = Command::new("/usr/lib/llvm-22/bin/clang");
        cpp.args(["-x", "c++", "-fsyntax-only", "-Wall", "-Werror"]);
        cpp.arg(place.path("walk.c")).arg("-I").arg(place.path(name));
        Ran::new(cpp.output().expect("clang starts")).success();
    }
}

/// Machine code of NVIDIA's, by the assembler named.
fn cubin(place: &Place, assembler: &Path) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pamc"));
    let arguments = "@mlp:tiny --dim batch=4 --emit cubin --gpu-arch sm_90 -o cubin";
    command.current_dir(place.path("")).args(arguments.split_whitespace()).env("PTXAS", assembler);
    Ran::new(command.output().expect("pamc starts"))
}

#[test]
fn without_an_assembler_there_is_no_cubin_but_a_way_to_one() {
    let place = Place::new();
    cubin(&place, &place.path("no_such_file")).failure(&["ptxas", "nvidia-cuda-nvcc"]);
    assert!(place.files().is_empty());
}

#[test]
fn what_an_assembler_refuses_is_said() {
    let place = Place::new();
    let script = place.write("refuses", "#!/bin/sh\necho 'ptxas fatal: planted' >&2\nexit 255\n");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&script, mode).expect("executable");
    cubin(&place, Path::new(&script)).failure(&["ptxas fatal: planted"]);
    assert_eq!(place.files(), ["refuses"]);
}

#[test]
fn cubins_hold_every_kernel_of_the_plan() {
    let Some(ptxas) = code::ptxas() else {
        return println!("skipped: ptxas is not installed; make test-gpu installs it");
    };
    let place = Place::new();
    cubin(&place, Path::new(&ptxas)).success();
    let plan = complete(&place, "cubin");
    for (number, module) in plan.modules.iter().enumerate() {
        let path = place.path("cubin").join(module);
        let bytes = std::fs::read(&path).expect("written");
        assert!(bytes.starts_with(b"\x7fELF"), "{module}");
        let kernels = code::disassembly::disassemble_nvidia(&ptxas, &path).expect(module);
        for kernel in plan.kernels.iter().filter(|k| k.module == number) {
            assert!(kernels.contains_key(&kernel.entry), "{module} has no {}", kernel.entry);
        }
    }
}

/// Training steps of models, every module of which the validator is asked about.
fn validated(models: &[&str]) {
    let place = Place::new();
    for (number, model) in models.iter().enumerate() {
        let folder = format!("step_{number}");
        place.pamc(&format!("{model} --train --emit spirv -o {folder}")).success();
        for module in complete(&place, &folder).modules {
            let bytes = std::fs::read(place.path(&folder).join(&module)).expect("written");
            validate(&bytes).unwrap_or_else(|e| panic!("{model}, {module}: {e}"));
        }
    }
}

#[test]
fn training_steps_of_small_models_are_valid_spirv() {
    validated(&[
        "@mlp:tiny --optimizer sgd",
        "@cnn:tiny --dim batch=4 --grad exact",
        "@vit:tiny",
        "@mixer:tiny",
        "@gpt:tiny,dropout=0.1 --clip-norm 1",
        "@translation:tiny --arith pam --recipe paper",
    ]);
}

#[test]
fn training_steps_of_models_as_they_are_are_valid_spirv() {
    if !assemble::wanted() {
        return println!(
            "skipped: make test-gpu validates the steps of models as large as they are"
        );
    }
    validated(&["@mlp", "@cnn", "@vit", "@mixer", "@gpt", "@translation"]);
}
