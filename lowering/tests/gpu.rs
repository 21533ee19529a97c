//! GPU code and its launch plan, as far as no device is needed to look at them.

use pamc_lowering::gpu::plan::{BufferKind, Format};
use pamc_lowering::gpu::{GpuProgram, GpuTarget, compile_run};
use pamc_passes::arith::Arith;
use pamc_passes::ir::{Dims, Tensor, parse};
use pamc_passes::pass::{expand, lower};
use pamc_passes::program::Program;

const MODEL: &str = "
graph @model(%x: f32[128, 256], param %w: f32[256, 128], param %t: f32[7, 128], %i: i64[128]) -> f32[128, 128] {
    %h = matmul %x, %w
    %e = gather %t, %i
    %s = add %h, %e
    %y = softmax %s
    return %y
}
";

fn compiled(name: &str, format: Format) -> GpuProgram {
    let graph = parse(MODEL, &Dims::new()).unwrap();
    let graph = expand(&lower(&graph, Arith::PAM).unwrap()).unwrap();
    let program = Program::new(graph, Arith::PAM).unwrap();
    let code = compile_run(&program, GpuTarget::named(name).unwrap(), format).unwrap();
    code.plan.check().unwrap();
    code
}

#[test]
fn ptx_multiplies_no_floats_and_loads_sixteen_bytes_at_once() {
    for name in ["sm_80", "sm_90"] {
        let code = compiled(name, Format::Ptx);
        let text = String::from_utf8(code.modules[0].bytes.clone()).unwrap();
        assert!(text.contains(&format!(".target {name}")), "{text}");
        for bad in
            ["mul.f", "mul.rn.f", "mul.ftz.f", "div.", "fma.", "mad.f", "sqrt.", "ex2.", ".f64"]
        {
            let line =
                text.lines().find(|l| l.trim().starts_with(bad) || l.contains(&format!("\t{bad}")));
            assert_eq!(line, None, "{name}");
        }
        assert!(text.contains("add.rn.ftz.f32") || text.contains("add.ftz.f32"), "sums flush");
        for wide in ["ld.shared.v4", "ld.global.v4", "st.shared.v4"] {
            assert!(text.contains(wide), "{name} has no {wide}");
        }
    }
}

#[test]
fn amd_code_assembles_and_links() {
    let object = compiled("gfx942", Format::Hsaco);
    assert!(object.modules[0].bytes.starts_with(b"\x7fELF"));
    let text = compiled("gfx90a", Format::Amdgcn);
    let text = String::from_utf8(text.modules[0].bytes.clone()).unwrap();
    assert!(text.contains("v_add_f32") && text.contains("ds_read_b128"));
    for bad in ["v_mul_f32", "v_fma_f32", "v_mac_f32", "v_fmac_f32", "v_rcp_f32", "_f64"] {
        assert!(!text.contains(bad), "{bad}");
    }
}

#[test]
fn a_plan_names_what_a_program_reads_and_writes() {
    let code = compiled("vulkan1.1", Format::Spirv);
    let plan = &code.plan;
    let names = |kind| plan.slots(kind).map(|(_, s)| s.name.as_str()).collect::<Vec<_>>();
    assert_eq!(names(BufferKind::Input), ["x", "i"]);
    assert_eq!(names(BufferKind::State), ["w", "t"]);
    assert_eq!(names(BufferKind::Output).len(), 1);
    assert_eq!(plan.modules.len(), plan.kernels.len());
    assert!(plan.requirements.int64, "the indices have 64 bits");
    let magic = 0x0723_0203u32.to_le_bytes();
    assert!(code.modules.iter().all(|m| m.bytes.starts_with(&magic)));
    // What is read after it was written is behind a barrier.
    assert!(!plan.step[0].barrier && plan.step.iter().any(|l| l.barrier));
    let state = |rows: usize| [("t".to_string(), Tensor::full(&[rows, 128], 1.5f32))].into();
    let files = code.files(&state(7)).unwrap();
    let file = |name: &str| files.iter().find(|f| f.name == name).map(|f| f.bytes.clone()).unwrap();
    let read: pamc_lowering::gpu::Plan = serde_json::from_slice(&file("plan.json")).unwrap();
    assert_eq!(read, *plan);
    let floats = |bytes: &[u8]| bytes.chunks(4).map(|b| b == 1.5f32.to_le_bytes()).collect();
    let known: Vec<bool> = floats(&file("state.bin"));
    let (w, t) = (256 * 128, 7 * 128);
    assert_eq!(4 * known.len(), plan.buffers[0].bytes);
    assert!(known[w..w + t].iter().all(|k| *k) && !known[..w].iter().any(|k| *k));
    let misfit = code.files(&state(8)).unwrap_err().to_string();
    assert!(misfit.contains("'t' is f32[8, 128], not f32[7, 128]"), "{misfit}");
    let header = String::from_utf8(file("pamc.h")).unwrap();
    assert!(header.contains(&format!("#define PAMC_STEP_COUNT {}", plan.step.len())), "{header}");
}

#[test]
fn a_format_must_be_the_target_s() {
    let graph = parse(MODEL, &Dims::new()).unwrap();
    let float = expand(&lower(&graph, Arith::Float).unwrap()).unwrap();
    let float = Program::new(float, Arith::Float).unwrap();
    let pam = expand(&lower(&graph, Arith::PAM).unwrap()).unwrap();
    let pam = Program::new(pam, Arith::PAM).unwrap();
    let target = GpuTarget::named("gfx90a").unwrap();
    let wrong = compile_run(&pam, target, Format::Ptx).unwrap_err().to_string();
    assert!(wrong.contains("ptx is no format of gfx90a"), "{wrong}");
    let float = compile_run(&float, target, Format::Hsaco).unwrap_err().to_string();
    assert!(float.contains("--arith float"), "{float}");
}

#[test]
fn kernels_bind_no_more_arrays_than_devices_can() {
    let names: Vec<String> = (0..40).map(|i| format!("%x{i}")).collect();
    let inputs: Vec<String> = names.iter().map(|n| format!("{n}: f32[8, 4]")).collect();
    let mut text = format!("graph @sum({}) -> f32[8] {{\n", inputs.join(", "));
    for (i, name) in names.iter().enumerate() {
        text += &format!("    %r{i} = sum {name} {{axes = [1]}}\n");
    }
    text += "    %s1 = add %r0, %r1\n";
    for i in 2..40 {
        text += &format!("    %s{i} = add %s{}, %r{i}\n", i - 1);
    }
    text += "    return %s39\n}\n";
    let graph = parse(&text, &Dims::new()).unwrap();
    let graph = expand(&lower(&graph, Arith::PAM).unwrap()).unwrap();
    let program = Program::new(graph, Arith::PAM).unwrap();
    let target = GpuTarget::named("vulkan1.1").unwrap();
    let plan = compile_run(&program, target, Format::Spirv).unwrap().plan;
    let most = plan.kernels.iter().map(|k| k.bindings).max().unwrap();
    assert_eq!(most, plan.requirements.bindings);
    assert!((8..=16).contains(&most) && plan.kernels.len() < 10, "{most}, {:?}", plan.kernels);
}
