//! The IRDL file and the transform library that are shipped, in `mlir-opt` without the plug-in.

use crate::tools::{
    Argument, assert_same, execute, failure, folder, main_function, opt, run, success,
};
use pamc_passes::reference as pam;

const PAM: &str = r#"func.func @f(%a: f32, %v: vector<4xf32>) -> f32 {
  %0 = "pam.mul"(%a, %a) {grad = "exact"} : (f32, f32) -> f32
  %1 = "pam.exp2"(%v) : (vector<4xf32>) -> vector<4xf32>
  %2 = "pam.scale2"(%0) {k = 3 : i64} : (f32) -> f32
  return %2 : f32
}
"#;

fn path(file: &str) -> String {
    folder().join("../dialect").join(file).display().to_string()
}

#[test]
fn irdl_file_is_made_from_the_op_table() {
    let file = path("pam.irdl.mlir");
    let made = pamc_lowering::opt::irdl();
    if std::env::var_os("PAMC_BLESS").is_some() {
        std::fs::write(&file, &made).expect("a writable file");
    }
    let kept = std::fs::read_to_string(&file).expect("the file is shipped");
    assert_eq!(kept, made, "run this test with PAMC_BLESS=1");
}

#[test]
fn irdl_file_and_plugin_define_the_same_dialect() {
    let irdl = format!("--irdl-file={}", path("pam.irdl.mlir"));
    let with_irdl = |text: &str| run("mlir-opt-22", &[&irdl, "-"], text);
    let with_plugin = |text: &str| opt("", text);
    assert_eq!(success(with_irdl(PAM)), success(with_plugin(PAM)));
    for (from, to) in [
        ("(%a, %a) {grad = \"exact\"} : (f32, f32)", "(%a) : (f32)"),
        (
            "\"pam.exp2\"(%v) : (vector<4xf32>) -> vector<4xf32>",
            "\"pam.exp2\"(%v) : (vector<4xf32>) -> f32",
        ),
        (" {k = 3 : i64}", ""),
    ] {
        let wrong = PAM.replace(from, to);
        assert_ne!(wrong, PAM);
        failure(with_irdl(&wrong));
        failure(with_plugin(&wrong));
    }
}

#[test]
fn pam_dialect_round_trips_and_simplifies() {
    let text = "func.func @f(%a: f32, %v: vector<4xf32>) -> (f32, vector<4xf32>) {
        %0 = \"pam.scale2\"(%a) {k = 0 : i64} : (f32) -> f32
        %1 = arith.negf %0 : f32
        %2 = arith.negf %1 : f32
        %c = arith.constant dense<1.0> : vector<4xf32>
        %3 = \"pam.mul\"(%v, %c) : (vector<4xf32>, vector<4xf32>) -> vector<4xf32>
        %4 = \"pam.mul\"(%3, %3) : (vector<4xf32>, vector<4xf32>) -> vector<4xf32>
        return %2, %4 : f32, vector<4xf32>
    }";
    let simple = success(opt("pamc-simplify", text));
    assert!(simple.contains("return %arg0,"), "{simple}");
    assert_eq!(simple.matches("pam.").count(), 1, "{simple}");
    // With the dialect from the IRDL file too.
    let plugin = format!("--load-pass-plugin={}", crate::tools::plugin().display());
    let irdl = format!("--irdl-file={}", path("pam.irdl.mlir"));
    let pipeline = "--pass-pipeline=builtin.module(pamc-simplify)";
    assert_eq!(success(run("mlir-opt-22", &[&plugin, &irdl, pipeline, "-"], text)), simple);
}

fn transform(entry: &str, text: &str) -> std::process::Output {
    let library = format!(
        "--transform-preload-library=transform-library-paths={}",
        path("pamc.transform.mlir")
    );
    let plugin = format!("--load-pass-plugin={}", crate::tools::plugin().display());
    let interpreter = format!("--transform-interpreter=entry-point={entry}");
    run("mlir-opt-22", &[&plugin, &library, &interpreter, "-"], text)
}

const MATMUL: &str = "func.func @kernel(%a: tensor<8x4xf32>, %b: tensor<4x32xf32>) -> tensor<8x32xf32> {
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<8x32xf32>
  %f = linalg.fill ins(%zero : f32) outs(%e : tensor<8x32xf32>) -> tensor<8x32xf32>
  %c = linalg.matmul ins(%a, %b : tensor<8x4xf32>, tensor<4x32xf32>) outs(%f : tensor<8x32xf32>) -> tensor<8x32xf32>
  return %c : tensor<8x32xf32>
}
";

#[test]
fn transform_library_finds_products() {
    let check = |text: &str| transform("check_multiplication_free", text);
    let error = failure(check(MATMUL));
    assert!(error.contains(":5:8: error: pamc-verify: 'linalg.matmul'"), "{error}");
    let lowered = success(opt("pamc-lower", MATMUL));
    success(check(&lowered));
    // What no list of names of operations finds: a call of libm and an integer that is data.
    let call = "func.func private @expf(f32) -> f32\nfunc.func @f(%x: f32) -> f32 {
        %0 = call @expf(%x) : (f32) -> f32
        return %0 : f32
    }";
    assert!(failure(check(call)).contains("call of 'expf'"));
    let integer = "func.func @f(%x: i32, %m: memref<1xi32>, %i: index) {
        %0 = arith.muli %x, %x : i32
        memref.store %0, %m[%i] : memref<1xi32>
        return
    }";
    assert!(failure(check(integer)).contains("integers that are data"));
}

#[test]
fn scheduled_contractions_keep_their_bits() {
    let number = |i: usize| ((i * 37 % 61) as f32 - 30.0) / 7.0;
    let a: Vec<f32> = (0..32).map(number).collect();
    let b: Vec<f32> = (0..128).map(|i| number(i + 100)).collect();
    let arguments = [
        Argument { ty: "tensor<8x4xf32>", shape: &[8, 4], values: &a },
        Argument { ty: "tensor<4x32xf32>", shape: &[4, 32], values: &b },
    ];
    let lowered = success(opt("pamc-lower", MATMUL));
    let scheduled = success(transform("schedule", &lowered));
    assert!(scheduled.contains("vector<4x16x1xi32>"), "{scheduled}");
    let end = scheduled.trim_end().strip_suffix('}').expect("a module");
    let text = format!("{end}{}}}\n", main_function(&arguments, "tensor<8x32xf32>", &[8, 32]));
    let sum = |i: usize, j: usize| {
        (0..4).fold(0.0, |s, k: usize| pam::add(s, pam::mul(a[i * 4 + k], b[k * 32 + j])))
    };
    let want: Vec<f32> = (0..256).map(|at| sum(at / 32, at % 32)).collect();
    assert_same(
        "schedule",
        &execute(&text, "func.func(lower-vector-multi-reduction),", "pamc-lower"),
        &want,
    );
}
