//! Modules in the styles of upstream's dialects, executed against the reference.
//!
//! The reference of each is written out below with `pamc_passes::reference`: PAM products in the order
//! of upstream's loops, which is also the order of every sum.

use crate::tools::{Argument, assert_same, execute, main_function, module};
use pamc_oracle::row;
use pamc_passes::reference as pam;

/// Values of both signs between 2⁻² and 4, not repeating soon.
pub fn values(n: usize, seed: usize) -> Vec<f32> {
    let word = |i: usize| ((i + 1) * 2_654_435_761 + seed * 40_503) >> 7 & 0xFFFF;
    let number = |w: usize| {
        let magnitude = 0.25 + (w & 0x7FFF) as f32 / 8192.0;
        if w & 0x8000 == 0 { magnitude } else { -magnitude }
    };
    (0..n).map(|i| number(word(i))).collect()
}

/// c[i, j] += Σ a[i, k] ⊙ b[k, j], k ascending.
fn matmul(a: &[f32], b: &[f32], n: usize) -> Vec<f32> {
    let rows = a.len() / n;
    let columns = b.len() / n;
    let sum =
        |i, j| (0..n).fold(0.0, |s, k| pam::add(s, pam::mul(a[i * n + k], b[k * columns + j])));
    (0..rows * columns).map(|at| sum(at / columns, at % columns)).collect()
}

/// Runs `@kernel` of a file on 4×4 arguments.
fn four_by_four(file: &str, ty: &str, inputs: &[&[f32]], before: &str) -> Vec<f32> {
    let argument = |values| Argument { ty, shape: &[4, 4], values };
    let arguments: Vec<_> = inputs.iter().map(|values| argument(values)).collect();
    let result = if ty.starts_with("memref") { "" } else { ty };
    let text = module(file) + &main_function(&arguments, result, &[4, 4]);
    execute(&text, before, "pamc-lower")
}

#[test]
fn linalg_on_dynamic_tensors() {
    let (x, w, b) = (values(9, 1), values(9, 2), values(3, 3));
    let arguments = [
        Argument { ty: "tensor<?x?xf32>", shape: &[3, 3], values: &x },
        Argument { ty: "tensor<?x?xf32>", shape: &[3, 3], values: &w },
        Argument { ty: "tensor<?xf32>", shape: &[3], values: &b },
    ];
    let text = module("mlp.mlir") + &main_function(&arguments, "tensor<?x?xf32>", &[3, 3]);
    let layer = |x: &[f32]| -> Vec<f32> {
        let y = matmul(x, &w, 3);
        y.iter().enumerate().map(|(i, y)| pam::max(pam::add(*y, b[i % 3]), 0.0)).collect()
    };
    let y = layer(&layer(&x));
    let want: Vec<f32> = y.iter().zip(&x).map(|(y, x)| pam::div(*y, *x)).collect();
    assert!(want.iter().any(|y| *y > 0.0));
    for lower in ["pamc-lower", "pamc-lower{to=pam},pamc-simplify,pamc-lower"] {
        assert_same(lower, &execute(&text, "", lower), &want);
    }
}

#[test]
fn named_structured_operations() {
    let (a, b, v) = (values(16, 4), values(16, 5), values(4, 6));
    let ty = "tensor<4x4xf32>";
    let arguments = [
        Argument { ty, shape: &[4, 4], values: &a },
        Argument { ty, shape: &[4, 4], values: &b },
        Argument { ty: "tensor<4xf32>", shape: &[4], values: &v },
    ];
    let text = module("named.mlir") + &main_function(&arguments, ty, &[4, 4]);
    let mv = matmul(&a, &v, 4);
    let vm = matmul(&mv, &b, 4);
    let s = matmul(&vm, &v, 4)[0];
    let c = matmul(&a, &b, 4);
    let transposed: Vec<f32> = (0..16).map(|i| b[i % 4 * 4 + i / 4]).collect();
    let t = matmul(&c, &transposed, 4);
    let one = |i: usize| {
        let y = pam::mul(t[i], row("exp", &[a[i]]));
        pam::mul(pam::div(y, b[i]), s)
    };
    let want: Vec<f32> = (0..16).map(one).collect();
    assert_same("named", &execute(&text, "", "pamc-lower"), &want);
}

#[test]
fn convolutions_on_memrefs() {
    let (x, w) = (values(50, 7), values(36, 8));
    let arguments = [
        Argument { ty: "memref<1x5x5x2xf32>", shape: &[1, 5, 5, 2], values: &x },
        Argument { ty: "memref<3x3x2x2xf32>", shape: &[3, 3, 2, 2], values: &w },
        Argument { ty: "memref<2xf32>", shape: &[2], values: &[0.0, 0.0] },
    ];
    let text = module("conv.mlir") + &main_function(&arguments, "", &[2]);
    let conv = |i: usize, j: usize, f: usize| {
        let mut sum = 0.0;
        for (di, dj, c) in (0..18).map(|t| (t / 6, t / 2 % 3, t % 2)) {
            let x = x[((i + di) * 5 + j + dj) * 2 + c];
            sum = pam::add(sum, pam::mul(x, w[((di * 3 + dj) * 2 + c) * 2 + f]));
        }
        sum
    };
    let pool = |i: usize, j: usize, f: usize| {
        (0..4).fold(0.0, |s, t| pam::add(s, conv(i + t / 2, j + t % 2, f)))
    };
    let product = |f| (0..4).fold(1.0, |p, t| pam::mul(pool(t / 2, t % 2, f), p));
    let want = [product(0), product(1)];
    assert_same("conv", &execute(&text, "", "pamc-lower"), &want);
}

#[test]
fn normalization_and_softmax_of_torch() {
    let x = values(15, 9);
    let arguments = [Argument { ty: "tensor<3x5xf32>", shape: &[3, 5], values: &x }];
    let text = module("norm.mlir") + &main_function(&arguments, "tensor<3x5xf32>", &[3, 5]);
    let mut want = Vec::new();
    for x in x.chunks(5) {
        let mean = pam::div(x.iter().fold(0.0, |s, &x| pam::add(x, s)), 5.0);
        let c: Vec<f32> = x.iter().map(|&x| pam::sub(x, mean)).collect();
        let variance = pam::div(c.iter().fold(0.0, |s, &c| pam::add(pam::mul(c, c), s)), 5.0);
        let scale = row("rsqrt", &[pam::add(variance, 1e-5)]);
        let y: Vec<f32> = c.iter().map(|&c| pam::mul(c, scale)).collect();
        let top = y.iter().copied().fold(f32::NEG_INFINITY, pam::max);
        let e: Vec<f32> = y.iter().map(|&y| row("exp", &[pam::sub(y, top)])).collect();
        let sum = e.iter().fold(0.0, |s, &e| pam::add(e, s));
        want.extend(e.iter().map(|&e| pam::div(e, sum)));
    }
    assert_same("norm", &execute(&text, "", "pamc-lower"), &want);
}

#[test]
fn tosa_through_linalg() {
    let (x, w) = (values(16, 10), values(16, 11));
    let ty = "tensor<1x4x4xf32>";
    let argument = |values| Argument { ty, shape: &[1, 4, 4], values };
    let arguments = [argument(&x), argument(&w)];
    let text = module("tosa.mlir") + &main_function(&arguments, ty, &[1, 4, 4]);
    let before = "func.func(tosa-to-linalg-named,tosa-to-linalg,tosa-to-arith,tosa-to-tensor),";
    let one = |m: f32| {
        // As tosa-to-linalg writes a sigmoid: 1 / (1 + exp(−x)).
        let e = row("exp", &[-m]);
        let s = pam::div(1.0, pam::add(e, 1.0));
        let t = row("tanh", &[pam::mul(s, m)]);
        let r = pam::div(1.0, t);
        row("pow", &[r, 3.0])
    };
    let want: Vec<f32> = matmul(&x, &w, 4).into_iter().map(one).collect();
    assert_same("tosa", &execute(&text, before, "pamc-lower"), &want);
}

#[test]
fn affine_and_scf_loops() {
    let (a, b) = (values(16, 12), values(16, 13));
    let got = four_by_four("loops.mlir", "memref<4x4xf32>", &[&a, &b, &[0.0; 16]], "");
    let mut want = Vec::new();
    for c in matmul(&a, &b, 4).chunks(4) {
        let norm = c.iter().fold(0.0, |s, &c| pam::add(s, pam::mul(c, c)));
        let one = |&c: &f32| match c < 0.0 {
            true => row("exp", &[c]),
            false => pam::div(c, pam::sqrt(norm)),
        };
        want.extend(c.iter().map(one));
    }
    assert_same("loops", &got, &want);
}

#[test]
fn vector_code() {
    let (a, b) = (values(16, 14), values(16, 15));
    let got = four_by_four("vectors.mlir", "memref<4x4xf32>", &[&a, &b, &[0.0; 16]], "");
    let c = matmul(&a, &b, 4);
    let f: Vec<f32> = (0..16).map(|i| pam::add(pam::mul(c[i], b[i]), a[i])).collect();
    let p = f[1..4].iter().fold(f[0], |p, &x| pam::mul(p, x));
    let one = |i: usize| {
        let o = pam::add(pam::mul(f[i / 4], f[4 + i % 4]), f[i]);
        let row = &c[i % 4 * 4..i % 4 * 4 + 4];
        let q = row.iter().fold(1.0, |q, &x| pam::mul(x, q));
        pam::add(pam::add(o, p), q)
    };
    let want: Vec<f32> = (0..16).map(one).collect();
    assert_same("vectors", &got, &want);
}

#[test]
fn sixteen_bit_floats() {
    // Products of these are exact in f16, so that no conversion of the reference's is needed.
    let small =
        |seed| values(16, seed).iter().map(|x| (x * 8.0).round() / 8.0).collect::<Vec<f32>>();
    let (a, b) = (small(16), small(17));
    let got =
        four_by_four("half.mlir", "tensor<4x4xf32>", &[&a, &b], "convert-elementwise-to-linalg,");
    let p: Vec<f32> = a.iter().zip(&b).map(|(a, b)| pam::mul(*a, *b)).collect();
    assert_same("half", &got, &matmul(&p, &b, 4));
}

#[test]
fn calls_of_libm_and_the_llvm_dialect() {
    let a = values(16, 18);
    let got = four_by_four("late.mlir", "memref<4x4xf32>", &[&a, &[0.0; 16]], "");
    let one = |&x: &f32| {
        let e = row("exp", &[x]);
        let m = pam::mul(e, row("pow", &[x, 2.0]));
        pam::add(pam::mul(m, x), e)
    };
    assert_same("late", &got, &a.iter().map(one).collect::<Vec<_>>());
}
