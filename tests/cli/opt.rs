//! `pamc opt`: the plug-in's passes without `mlir-opt`.

use std::io::Write;
use std::process::{Command, Stdio};

use super::{Place, Ran};

const SCALE: &str = "func.func @scale(%x: f32, %y: f32) -> f32 {
  %0 = arith.mulf %x, %y : f32
  return %0 : f32
}
";

impl Place {
    /// Run `pamc` here on standard input.
    fn pamc_on(&self, arguments: &str, input: &[u8]) -> Ran {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pamc"))
            .current_dir(self.0.path())
            .args(arguments.split_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("pamc starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(input).expect("pamc reads its input");
        drop(stdin);
        Ran::new(child.wait_with_output().expect("pamc ends"))
    }
}

#[test]
fn text_and_bytecode_through_files_and_pipes() {
    let place = Place::new();
    place.write("scale.mlir", SCALE);
    let lowered = place.pamc("opt scale.mlir").success();
    assert!(!lowered.contains("mulf") && lowered.contains("arith.addi"), "{lowered}");
    assert_eq!(place.pamc_on("opt", SCALE.as_bytes()).success(), lowered);
    place.pamc("opt scale.mlir --emit-bytecode -o scale.mlirbc").success();
    let bytes = std::fs::read(place.path("scale.mlirbc")).expect("written");
    assert!(bytes.starts_with(b"ML\xefR"), "{:?}", &bytes[..8]);
    let nothing = "--pass-pipeline builtin.module()";
    assert_eq!(place.pamc(&format!("opt scale.mlirbc {nothing}")).success(), lowered);
    assert_eq!(place.pamc_on(&format!("opt - {nothing}"), &bytes).success(), lowered);
}

#[test]
fn bytecode_is_audited() {
    let place = Place::new();
    place.write("scale.mlir", SCALE);
    place
        .pamc("opt scale.mlir --pass-pipeline builtin.module() --emit-bytecode -o planted.mlirbc")
        .success();
    place.pamc("opt scale.mlir --emit-bytecode -o lowered.mlirbc").success();
    let found = place.pamc("audit planted.mlirbc");
    assert!(
        found.stdout.contains("arith.mulf") && found.stdout.contains("scale"),
        "{}",
        found.stdout
    );
    found.failure(&["multiply data"]);
    place.pamc("audit lowered.mlirbc").success();
    // Bytecode in, bytecode out, through pipes.
    let planted = std::fs::read(place.path("planted.mlirbc")).expect("written");
    place.pamc_on("opt --emit-bytecode -o again.mlirbc", &planted).success();
    place.pamc("audit again.mlirbc").success();
    let verify = "opt --pass-pipeline builtin.module(pamc-verify)";
    place.pamc_on(verify, &planted).failure(&["scale.mlir:2:8", "arith.mulf"]);
}

#[test]
fn pipelines_mix_with_upstream_passes() {
    let place = Place::new();
    place.write("scale.mlir", SCALE);
    let pipeline = "builtin.module(pamc-lower{to=pam},pamc-simplify)";
    let pam = place.pamc(&format!("opt scale.mlir --pass-pipeline {pipeline}")).success();
    assert!(pam.contains("\"pam.mul\"(%arg0, %arg1)"), "{pam}");
    let pipeline =
        "builtin.module(pamc-lower,pamc-verify,convert-arith-to-llvm,convert-func-to-llvm)";
    let llvm = place.pamc_on(&format!("opt --pass-pipeline {pipeline}"), pam.as_bytes()).success();
    assert!(llvm.contains("llvm.func @scale") && !llvm.contains("fmul"), "{llvm}");
}

#[test]
fn failures_name_the_place() {
    let place = Place::new();
    let complex = SCALE.replace("f32", "complex<f32>").replace("arith.mulf", "complex.mul");
    place.write("complex.mlir", complex);
    let complex = place.pamc("opt complex.mlir -o out.mlir");
    complex.failure(&["complex.mlir:2:8", "complex.mul", "real parts"]);
    place.write("scale.mlir", SCALE);
    let verify = "--pass-pipeline builtin.module(pamc-verify)";
    place.pamc(&format!("opt scale.mlir {verify}")).failure(&["scale.mlir:2:8", "arith.mulf"]);
    place.pamc_on(&format!("opt {verify}"), SCALE.as_bytes()).failure(&["standard input:2:8"]);
    place.pamc("opt none.mlir").failure(&["none.mlir"]);
    place
        .pamc("opt scale.mlir --pass-pipeline builtin.module(no-such-pass)")
        .failure(&["no-such-pass"]);
    place.write("broken.mlir", "func.func @f( {");
    place.pamc("opt broken.mlir").failure(&["broken.mlir:1:"]);
    place.write("stranger.mlir", "\"stranger.op\"() : () -> ()");
    place.pamc("opt stranger.mlir").failure(&["stranger.mlir:1:", "unregistered dialect"]);
    place.pamc("opt stranger.mlir --allow-unregistered-dialect").success();
    assert!(!place.files().contains(&"out.mlir".to_string()));
    for length in [1, 5, 40] {
        let bytes = [b"ML\xefR".as_slice(), &vec![0xFF; length]].concat();
        place.pamc_on("opt", &bytes).failure(&["standard input"]);
    }
}
