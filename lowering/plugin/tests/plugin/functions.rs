//! Every function of the math dialect that PAM defines, on scalars and on vectors.

use crate::tools::{Argument, assert_same, execute, main_function};
use pamc_oracle::row;
use pamc_passes::reference as pam;
use std::fmt::Write;

type Reference = fn(f32) -> f32;

/// Text of an operation on `%x` of type `$`, and what it is to give.
const FUNCTIONS: &[(&str, Reference)] = &[
    ("arith.mulf %x, %x : $", |x| pam::mul(x, x)),
    ("arith.mulf %x, %c fastmath<fast> : $", |x| pam::mul(x, 3.0)),
    ("arith.divf %c, %x : $", |x| pam::div(3.0, x)),
    ("arith.remf %x, %c : $", |x| row("fmod", &[x, 3.0])),
    ("math.exp %x : $", |x| row("exp", &[x])),
    ("math.exp2 %x : $", pam::exp2),
    ("math.expm1 %x : $", |x| pam::add(row("exp", &[x]), -1.0)),
    ("math.log %x : $", |x| row("log", &[x])),
    ("math.log2 %x : $", pam::log2),
    ("math.log1p %x : $", |x| row("log", &[pam::add(1.0, x)])),
    ("math.log10 %x : $", |x| {
        let terms = [(false, -2), (false, -4), (true, -7), (true, -8), (false, -12)];
        pam::shift_sum(pam::log2(x), &terms)
    }),
    ("math.sqrt %x : $", pam::sqrt),
    ("math.rsqrt %x : $", |x| pam::div(1.0, pam::sqrt(x))),
    ("math.cbrt %x : $", |x| row("cbrt", &[x])),
    ("math.powf %x, %c : $", |x| pam::mul(pam::mul(x, x), x)),
    ("math.fma %x, %c, %x : $", |x| pam::add(pam::mul(x, 3.0), x)),
    ("math.tanh %x : $", |x| row("tanh", &[x])),
    ("math.sin %x : $", |x| row("sin", &[x])),
    ("math.cos %x : $", |x| row("cos", &[x])),
    ("math.tan %x : $", |x| pam::div(row("sin", &[x]), row("cos", &[x]))),
    ("math.asin %x : $", |x| row("asin", &[x])),
    ("math.acos %x : $", |x| row("acos", &[x])),
    ("math.atan %x : $", |x| row("atan", &[x])),
    ("math.atan2 %x, %c : $", |x| row("atan2", &[x, 3.0])),
    ("math.sinh %x : $", |x| row("sinh", &[x])),
    ("math.cosh %x : $", |x| row("cosh", &[x])),
    ("math.asinh %x : $", |x| row("asinh", &[x])),
    ("math.acosh %x : $", |x| row("acosh", &[x])),
    ("math.atanh %x : $", |x| {
        let ratio = pam::div(pam::add(1.0, x), pam::sub(1.0, x));
        pam::scale2(row("log", &[ratio]), -1)
    }),
    ("math.erf %x : $", |x| row("erf", &[x])),
    ("math.erfc %x : $", |x| pam::sub(1.0, row("erf", &[x]))),
];

/// Numbers of every kind; no subnormals, which upstream's sums keep and PAM's do not have.
const X: [f32; 16] = [
    0.0,
    -0.0,
    1.0,
    -1.0,
    0.5,
    1.4375,
    -2.71875,
    0.1,
    1e-30,
    -3e30,
    f32::MAX,
    f32::MIN_POSITIVE,
    f32::INFINITY,
    f32::NEG_INFINITY,
    f32::NAN,
    5.75,
];

#[test]
fn functions_equal_the_reference_on_scalars_and_vectors() {
    let rows = 2 * FUNCTIONS.len();
    let mut text = format!(
        "func.func @kernel(%in: memref<16xf32>, %out: memref<{rows}x16xf32>) {{\n\
         %c0 = arith.constant 0 : index\n%c1 = arith.constant 1 : index\n\
         %c16 = arith.constant 16 : index\n"
    );
    for r in 0..rows {
        let _ = writeln!(text, "%r{r} = arith.constant {r} : index");
    }
    text += "scf.for %i = %c0 to %c16 step %c1 {\n%x = memref.load %in[%i] : memref<16xf32>\n\
             %c = arith.constant 3.0 : f32\n";
    let ty = format!("memref<{rows}x16xf32>");
    for (r, (operation, _)) in FUNCTIONS.iter().enumerate() {
        let operation = operation.replace('$', "f32");
        let _ = writeln!(text, "%y{r} = {operation}\nmemref.store %y{r}, %out[%r{r}, %i] : {ty}");
    }
    text += "}\n%x = vector.load %in[%c0] : memref<16xf32>, vector<16xf32>\n\
             %c = arith.constant dense<3.0> : vector<16xf32>\n";
    for (r, (operation, _)) in FUNCTIONS.iter().enumerate() {
        let (operation, r) = (operation.replace('$', "vector<16xf32>"), r + FUNCTIONS.len());
        let store = format!("vector.store %y{r}, %out[%r{r}, %c0] : {ty}, vector<16xf32>");
        let _ = writeln!(text, "%y{r} = {operation}\n{store}");
    }
    text += "return\n}\n";
    let zeros = vec![0.0; rows * 16];
    let arguments = [
        Argument { ty: "memref<16xf32>", shape: &[16], values: &X },
        Argument { ty: &ty, shape: &[rows, 16], values: &zeros },
    ];
    text += &main_function(&arguments, "", &[rows, 16]);
    let got = execute(&text, "", "pamc-lower");
    for (got, (operation, reference)) in got.chunks(16).zip(FUNCTIONS.iter().chain(FUNCTIONS)) {
        let want: Vec<f32> = X.iter().map(|&x| reference(x)).collect();
        assert_same(operation, got, &want);
    }
}

/// 1/3 as signed powers of two, within 2⁻¹².
#[test]
fn constant_factors_can_be_compensated() {
    let text = "func.func @kernel(%x: tensor<16xf32>) -> tensor<16xf32> {
        %c = arith.constant dense<0.333333343> : tensor<16xf32>
        %y = arith.mulf %c, %x : tensor<16xf32>
        return %y : tensor<16xf32>
    }\n";
    let arguments = [Argument { ty: "tensor<16xf32>", shape: &[16], values: &X }];
    let text = text.to_string() + &main_function(&arguments, "tensor<16xf32>", &[16]);
    let plain = execute(&text, "", "pamc-lower");
    let want: Vec<f32> = X.iter().map(|&x| pam::mul(x, 1.0 / 3.0)).collect();
    assert_same("plain", &plain, &want);
    let got = execute(&text, "", "pamc-lower{compensate=true}");
    for (got, x) in got.iter().zip(X).filter(|(_, x)| x.is_normal() && x.abs() > 1e-20) {
        assert!((got / (x / 3.0) - 1.0).abs() < 1.0 / 4096.0, "{x}: {got}");
    }
    assert!(plain.iter().zip(X).any(|(got, x)| (got / (x / 3.0) - 1.0).abs() > 0.01));
}
