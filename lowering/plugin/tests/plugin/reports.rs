//! What cannot be lowered is reported, all at once and each at its place; what multiplies is found.

use crate::tools::{failure, opt, success};

const REFUSED: &str = r#"func.func private @tgamma(f64) -> f64
func.func private @other(f32) -> f32
func.func @refused(%d: f64, %c: complex<f32>, %u: tensor<*xf32>, %t: tensor<4xf32>, %x: f32, %m: memref<4xf32>,
                   %s: memref<4x4xf32>) {
  %0 = complex.exp %c : complex<f32>
  %1 = complex.mul %c, %c : complex<f32>
  %2 = arith.mulf %u, %u : tensor<*xf32>
  %3 = tosa.exp %t : (tensor<4xf32>) -> tensor<4xf32>
  %4 = func.call @tgamma(%d) : (f64) -> f64
  %6 = "stranger.op"(%x) : (f32) -> f32
  linalg.softmax dimension(1) ins(%s : memref<4x4xf32>) outs(%s : memref<4x4xf32>)
  %7 = gpu.all_reduce mul %x {} : (f32) -> f32
  %8 = arith.mulf %x, %x : f32
  %9 = func.call @other(%x) : (f32) -> f32
  return
}
"#;

#[test]
fn everything_refused_is_reported_at_its_place() {
    let error = failure(opt("pamc-lower", REFUSED));
    for part in [
        ":5:8: error: pamc-lower: 'complex.exp': write it with real parts first: run convert-complex-to-standard",
        ":6:8: error: pamc-lower: 'complex.mul'",
        ":7:8: error: pamc-lower: 'arith.mulf': a tensor without a rank",
        ":8:8: error: pamc-lower: 'tosa.exp': run tosa-to-linalg-named, tosa-to-linalg",
        ":9:8: error: pamc-lower: call of 'tgamma'",
        ":10:8: error: pamc-lower: 'stranger.op': an operation that is not known",
        ":11:3: error: pamc-lower: 'linalg.softmax': run pamc-lower before bufferization",
        ":12:8: error: pamc-lower: 'gpu.all_reduce' (mul)",
        "8 operation(s) cannot be lowered",
    ] {
        assert!(error.contains(part), "no '{part}' in:\n{error}");
    }
    assert!(!error.contains(":13:") && !error.contains(":14:"), "{error}");
}

#[test]
fn double_precision_is_computed_in_single_and_says_so() {
    let text = "func.func private @exp(f64) -> f64
func.func @f(%x: f64, %y: f64) -> f64 {
  %0 = arith.mulf %x, %y : f64
  %1 = func.call @exp(%0) : (f64) -> f64
  %2 = arith.addf %1, %x : f64
  return %2 : f64
}";
    let output = opt("pamc-lower,pamc-verify", text);
    let warning = String::from_utf8_lossy(&output.stderr).into_owned();
    let says =
        ":3:8: warning: pamc-lower: 2 operation(s) on floats wider than f32 are computed in f32";
    assert!(warning.contains(says), "{warning}");
    let lowered = success(output);
    assert!(lowered.contains("arith.addf") && lowered.contains("truncf"), "{lowered}");
}

const PLANTED: &str = r#"func.func private @expf(f32) -> f32
func.func @planted(%x: f32, %v: vector<4xf32>, %n: i32, %i: index, %m: memref<8xi32>, %q: memref<4x4xi32>) {
  %0 = llvm.fmul %x, %x : f32
  %1 = func.call @expf(%x) : (f32) -> f32
  %2 = "llvm.intr.fmuladd"(%x, %x, %x) : (f32, f32, f32) -> f32
  %3 = vector.reduction <mul>, %v : vector<4xf32> into f32
  %4 = vector.fma %v, %v, %v : vector<4xf32>
  %5 = arith.divf %x, %x : f32
  %6 = spirv.FMul %x, %x : f32
  %7 = arith.muli %n, %n : i32
  memref.store %7, %m[%i] : memref<8xi32>
  linalg.matmul ins(%q, %q : memref<4x4xi32>, memref<4x4xi32>) outs(%q : memref<4x4xi32>)
  return
}
"#;

#[test]
fn planted_products_are_found() {
    let error = failure(opt("pamc-verify", PLANTED));
    for line in [3, 4, 5, 6, 7, 8, 9, 10, 12] {
        assert!(error.contains(&format!(":{line}:")), "nothing in line {line}:\n{error}");
    }
    assert!(error.contains("9 operation(s) multiply"), "{error}");
    let floats = failure(opt("pamc-verify{integers=allow}", PLANTED));
    assert!(floats.contains("7 operation(s) multiply"), "{floats}");
}

#[test]
fn products_of_other_dialects_are_found() {
    let planted = [
        ("emitc.call_opaque", r#"%r = emitc.call_opaque "expf"(%x) : (f32) -> f32"#),
        ("emitc.verbatim", r#"emitc.verbatim "x = x * x;""#),
        ("emitc.literal", r#"%r = emitc.literal "3.0f * x" : f32"#),
        ("wasmssa.mul", "%r = wasmssa.mul %x %x : f32"),
        ("mpi.allreduce", "mpi.allreduce(%m, %m, MPI_PROD, %c) : memref<4xf32>, memref<4xf32>"),
        ("quant.dcast", "%r = quant.dcast %q : !quant.uniform<i8:f32, 0.5> to f32"),
    ];
    let clean = [
        "emitc.verbatim \"#include <math.h>\"",
        r#"%r = emitc.literal "zero" : f32"#,
        "mpi.allreduce(%m, %m, MPI_SUM, %c) : memref<4xf32>, memref<4xf32>",
    ];
    let module = |line: &str| {
        format!(
            "func.func @f(%x: f32, %m: memref<4xf32>, %q: !quant.uniform<i8:f32, 0.5>) {{
                %c = mpi.comm_world : !mpi.comm
                {line}
                return
            }}"
        )
    };
    for (name, line) in planted {
        let output = opt("pamc-verify", &module(line));
        assert!(!output.status.success(), "{name} was not found");
        let error = failure(output);
        assert!(error.contains("1 operation(s) multiply"), "{name}: {error}");
    }
    for line in clean {
        success(opt("pamc-verify", &module(line)));
    }
}

#[test]
fn addresses_may_multiply() {
    let text = "func.func @addresses(%m: memref<64xf32>, %i: index, %n: i32) -> f32 {
        %c = arith.constant 12 : i32
        %row = arith.muli %n, %c : i32
        %end = arith.addi %row, %n : i32
        %at = arith.index_cast %end : i32 to index
        %twice = arith.muli %i, %at : index
        %x = memref.load %m[%twice] : memref<64xf32>
        return %x : f32
    }";
    success(opt("pamc-verify", text));
}

#[test]
fn wrong_options_are_named() {
    let text = "func.func @f(%x: f32) { return }";
    let error = failure(opt("pamc-lower{recipe=fast}", text));
    assert!(error.contains("option 'recipe' is best or paper, not 'fast'"), "{error}");
    let error = failure(opt("pamc-lower{grad=exact}", text));
    assert!(error.contains("to=pam"), "{error}");
    let error = failure(opt("pamc-lower{speed=11}", text));
    assert!(error.contains("no such option speed"), "{error}");
}

const KERNELS: &str = r#"
gpu.module @kernels {
  gpu.func @scale(%m: memref<64xf32>, %s: f32) kernel {
    %t = gpu.thread_id x
    %b = gpu.block_id x
    %n = gpu.block_dim x
    %o = arith.muli %b, %n : index
    %i = arith.addi %o, %t : index
    %x = memref.load %m[%i] : memref<64xf32>
    %y = arith.mulf %x, %s : f32
    %z = math.rsqrt %y : f32
    memref.store %z, %m[%i] : memref<64xf32>
    gpu.return
  }
}
module @nested {
  func.func @inner(%v: vector<[4]xf32>, %w: vector<2x[4]xf32>) -> (vector<[4]xf32>, vector<2x[4]xf32>) {
    %a = arith.mulf %v, %v : vector<[4]xf32>
    %b = math.exp %w : vector<2x[4]xf32>
    return %a, %b : vector<[4]xf32>, vector<2x[4]xf32>
  }
  func.func @omp(%m: memref<4xf32>, %x: f32) {
    %c0 = arith.constant 0 : index
    %old = memref.atomic_rmw mulf %x, %m[%c0] : (f32, memref<4xf32>) -> f32
    omp.parallel {
      %p = arith.divf %x, %x : f32
      memref.store %p, %m[%c0] : memref<4xf32>
      omp.terminator
    }
    return
  }
}
func.func @masked(%a: vector<4x4xf32>, %b: vector<4x4xf32>, %c: vector<4x4xf32>, %m: vector<4xi1>, %v: vector<4xf32>) -> (vector<4x4xf32>, f32) {
  %0 = vector.contract {indexing_maps = [affine_map<(i, j, k) -> (i, k)>, affine_map<(i, j, k) -> (j, k)>,
      affine_map<(i, j, k) -> (i, j)>], iterator_types = ["parallel", "parallel", "reduction"],
      kind = #vector.kind<maximumf>} %a, %b, %c : vector<4x4xf32>, vector<4x4xf32> into vector<4x4xf32>
  %1 = vector.contract {indexing_maps = [affine_map<(k) -> (k)>, affine_map<(k) -> (k)>, affine_map<(k) -> ()>],
      iterator_types = ["reduction"], kind = #vector.kind<add>} %v, %v, %2 : vector<4xf32>, vector<4xf32> into f32
  %2 = arith.constant 0.0 : f32
  return %0, %1 : vector<4x4xf32>, f32
}
"#;

#[test]
fn kernels_scalable_vectors_and_nested_modules() {
    let text = KERNELS
        .replace("  %2 = arith.constant 0.0 : f32\n", "")
        .replace("%0 = vector.contract", "%2 = arith.constant 0.0 : f32\n  %0 = vector.contract");
    let lowered = success(opt("pamc-lower,pamc-verify", &text));
    assert!(lowered.contains("memref.generic_atomic_rmw"), "{lowered}");
    assert!(!lowered.contains("mulf") && lowered.contains("vector<2x[4]xi32>"), "{lowered}");
    // On the functions and kernels one by one, in parallel.
    let each = "gpu.module(gpu.func(pamc-lower)),builtin.module(func.func(pamc-lower)),\
                func.func(pamc-lower),pamc-verify";
    let apart = success(opt(each, &text));
    assert_eq!(apart, lowered);
}

#[test]
fn named_operations_that_only_add_stay() {
    let text = "func.func @f(%a: tensor<4xf32>, %b: tensor<4xf32>, %i: tensor<4x4xi32>) -> tensor<4xf32> {
        %0 = linalg.add ins(%a, %b : tensor<4xf32>, tensor<4xf32>) outs(%a : tensor<4xf32>) -> tensor<4xf32>
        %1 = linalg.matmul ins(%i, %i : tensor<4x4xi32>, tensor<4x4xi32>) outs(%i : tensor<4x4xi32>) -> tensor<4x4xi32>
        return %0 : tensor<4xf32>
    }";
    let lowered = success(opt("pamc-lower", text));
    assert!(lowered.contains("linalg.add") && lowered.contains("linalg.matmul"), "{lowered}");
    failure(opt("pamc-lower,pamc-verify", text));
    success(opt("pamc-lower,pamc-verify{integers=allow}", text));
}

#[test]
fn no_leave_to_reassociate_is_left() {
    let text = "func.func @f(%a: f32) -> f32 {
        %0 = arith.addf %a, %a fastmath<fast> : f32
        %1 = arith.mulf %0, %a fastmath<contract> : f32
        %2 = arith.subf %1, %a fastmath<reassoc,contract> : f32
        %3 = llvm.fadd %2, %a {fastmathFlags = #llvm.fastmath<fast>} : f32
        return %3 : f32
    }";
    let lowered = success(opt("pamc-lower", text));
    assert!(!lowered.contains("fastmath<"), "{lowered}");
}

#[test]
fn masked_products_and_functions_with_bodies() {
    let text = "func.func private @expf(%x: f32) -> f32 {
        %y = arith.addf %x, %x : f32
        return %y : f32
    }
    func.func @f(%v: vector<8xf32>, %m: vector<8xi1>, %x: f32) -> (f32, f32) {
        %0 = vector.mask %m { vector.reduction <mul>, %v, %x : vector<8xf32> into f32 } : vector<8xi1> -> f32
        %1 = func.call @expf(%x) : (f32) -> f32
        return %0, %1 : f32, f32
    }";
    let lowered = success(opt("pamc-lower,pamc-verify", text));
    assert!(lowered.contains("call @expf") && lowered.contains("dense<1.000000e+00>"), "{lowered}");
}
