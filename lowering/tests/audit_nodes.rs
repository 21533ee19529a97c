//! A finding names the nodes of the model that the function it is in computes, in every format of
//! compiled code that carries the table.

use pamc_lowering::{
    audit::{self, Kind, Nodes, Report},
    codegen::{Object, Options, Target, compile, compile_gpu, link_shared, merge},
    gpu::GpuTarget,
};
use std::{collections::BTreeSet, process::Command};

fn nodes() -> Nodes {
    let set = |names: &[&str]| -> BTreeSet<String> { names.iter().map(|n| (*n).into()).collect() };
    let (planted, other) = (set(&["encoder.0.dense", "encoder.1.dense"]), set(&["softmax"]));
    Nodes::new([("nest_ab", &planted), ("nest_abc", &other)])
}

/// One multiply was planted, in a function of those nodes.
fn named(report: &Report, what: &str) {
    assert_eq!(report.count(Kind::Multiply), 1, "{what}: {report}");
    let source = report.findings[0].source.as_deref();
    assert_eq!(source, Some("encoder.0.dense, encoder.1.dense"), "{what}: {report}");
}

#[test]
fn objects_and_libraries_name_nodes() {
    let function = |name: &str, operation: &str| {
        format!(
            "func.func @{name}(%a: f32) -> f32 {{ %y = {operation} %a, %a : f32 return %y : f32 }}"
        )
    };
    let target = Target::named("x86-64-v3").unwrap();
    let text =
        |operation| function("nest_ab_element", operation) + &function("nest_abc", "arith.addf");
    let made = |text: &str| compile(text, &target, &Options::default()).unwrap();
    let planted = made(&text("arith.mulf"));
    // The table is the program's, and joined to whatever parts it is made of.
    let other = made(&function("nest_b", "arith.subf"));
    let mut joined = merge(vec![planted, other]).unwrap();
    joined.bytes = nodes().in_elf(joined.bytes).unwrap();
    named(&audit::object(&joined.bytes).unwrap(), "an object");
    let folder = tempfile::tempdir().unwrap();
    let library = folder.path().join("f.so");
    link_shared(std::slice::from_ref(&joined), &library).unwrap();
    named(&audit::object(&std::fs::read(&library).unwrap()).unwrap(), "a library");
    let again: Object = merge(vec![joined, made(&function("nest_c", "arith.subf"))]).unwrap();
    named(&audit::object(&again.bytes).unwrap(), "a part of another object");
    let arm = Target::named("neoverse-v2").unwrap();
    let arm = compile(&text("arith.mulf"), &arm, &Options::default()).unwrap();
    named(&audit::object(&nodes().in_elf(arm.bytes).unwrap()).unwrap(), "AArch64");
    let options = Options { keep_llvm: true, ..Options::default() };
    let llvm = compile(&text("arith.mulf"), &target, &options).unwrap().llvm.unwrap();
    named(&audit::one((llvm + &nodes().llvm_global()).as_bytes()).unwrap(), "LLVM IR");
}

#[test]
fn gpu_code_names_nodes() {
    let kernel = |name: &str, operation: &str| {
        format!(
            "gpu.func @{name}(%a: memref<64xf32>) kernel attributes {{gpu.known_block_size = array<i32: 64, 1, 1>}} {{
             %t = gpu.thread_id x
             %x = memref.load %a[%t] : memref<64xf32>
             %y = {operation} %x, %x : f32
             memref.store %y, %a[%t] : memref<64xf32>
             gpu.return }}\n"
        )
    };
    let text = kernel("nest_ab", "arith.mulf") + &kernel("nest_abc", "arith.addf");
    for chip in ["gfx90a", "gfx942"] {
        let object = compile_gpu(&text, GpuTarget::named(chip).unwrap()).unwrap().object;
        let bytes = nodes().in_elf(object).unwrap();
        named(&audit::one(&bytes).unwrap(), chip);
    }
    let code = compile_gpu(&text, GpuTarget::named("sm_80").unwrap()).unwrap().code;
    let ptx = String::from_utf8(code).unwrap();
    named(&audit::one((ptx.clone() + &nodes().ptx_comments()).as_bytes()).unwrap(), "PTX");
    let folder = tempfile::tempdir().unwrap();
    let (source, cubin) = (folder.path().join("k.ptx"), folder.path().join("k.cubin"));
    std::fs::write(&source, ptx + &nodes().ptx_global()).unwrap();
    let mut assembler = Command::new("ptxas");
    match assembler.arg("-arch=sm_80").arg(&source).arg("-o").arg(&cubin).output() {
        Ok(output) => {
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            match audit::one(&std::fs::read(&cubin).unwrap()) {
                Ok(report) => named(&report, "a cubin"),
                Err(error) => println!("skipped: a cubin: {error}"),
            }
        }
        Err(error) => println!("skipped: a cubin, since ptxas does not run: {error}"),
    }
}
