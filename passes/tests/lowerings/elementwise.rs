//! Elementwise rows, sampled on their domain and at the edges of the number range.

use pamc_passes::arith::Arith;
use pamc_passes::ir::{Attrs, Tensor};
use pamc_passes::ops::{self, Bound, Kind, Op};

use crate::common::{Spread, apply, interpret, single, wide, worst};

const SAMPLES: usize = 30_000;

fn rows() -> impl Iterator<Item = &'static Op> {
    ops::all().filter(|op| op.kind == Kind::Real && op.real.is_some())
}

/// Sampled operands of a row, and the function over the reals at them.
fn sampled(op: &Op) -> (Vec<Tensor>, Vec<f64>) {
    let (lo, hi) = op.bound.unwrap().domain;
    let inputs: Vec<Tensor> =
        (1..=op.args.len() as u64).map(|s| Spread::new(s, lo, hi).tensor(&[SAMPLES])).collect();
    let columns: Vec<Vec<f64>> = inputs.iter().map(wide).collect();
    let real = op.real.unwrap();
    let at = |i: usize| real(&columns.iter().map(|c| c[i]).collect::<Vec<_>>());
    (inputs, (0..SAMPLES).map(at).collect())
}

/// The error stays below the declared bound, which is not much wider than it.
#[test]
fn pam_is_within_the_declared_bound() {
    let mut wrong = Vec::new();
    for op in rows() {
        let (inputs, want) = sampled(op);
        let got = apply(op.name, Arith::PAM, &inputs, Attrs::none());
        let bound = op.bound.unwrap();
        let (share, at) = worst(&got, &want, bound);
        let loose = bound.rel + bound.abs > 0.0 && share < 0.8;
        if share > 1.0 || loose {
            let x: Vec<f64> = inputs.iter().map(|t| wide(t)[at]).collect();
            wrong.push(format!(
                "{}: {share:.4} of {bound:?} at {x:?}: {} against {}",
                op.name, got[at], want[at]
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn float_is_accurate() {
    let exact = Bound::new(1e-6, 1e-6, (0.0, 0.0));
    let mut wrong = Vec::new();
    for op in rows() {
        let (inputs, want) = sampled(op);
        let got = apply(op.name, Arith::Float, &inputs, Attrs::none());
        let (share, at) = worst(&got, &want, exact);
        if share > 1.0 {
            let x: Vec<f64> = inputs.iter().map(|t| wide(t)[at]).collect();
            wrong.push(format!(
                "{}: {share:.3} at {x:?}: {} against {}",
                op.name, got[at], want[at]
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// A NaN stays one, and where the real function has a value or a limit the result is near it.
#[test]
fn edge_values_are_sensible() {
    let edges = [0.0, -0.0, f32::INFINITY, f32::NEG_INFINITY, f32::MIN_POSITIVE, 1e30, -1e30, 2.0];
    let mut wrong = Vec::new();
    for op in rows().filter(|op| op.args.len() == 1) {
        for arith in [Arith::PAM, Arith::Float] {
            let nan = Tensor::from_vec(&[1], vec![f32::NAN]).unwrap();
            let got = apply(op.name, arith, &[nan], Attrs::none());
            if !got[0].is_nan() {
                wrong.push(format!("{} {}: NaN gives {}", op.name, arith.name(), got[0]));
            }
            let x = Tensor::from_vec(&[edges.len()], edges.to_vec()).unwrap();
            let got = apply(op.name, arith, &[x], Attrs::none());
            for (x, y) in edges.iter().zip(&got) {
                // Angles that large have no accurate sine in float32.
                if matches!(op.name, "sin" | "cos" | "tan") && x.abs() > 100.0 {
                    continue;
                }
                // The root of −0 is +0 in PAM, −0 in IEEE-754.
                if op.name == "rsqrt" && x.is_sign_negative() {
                    continue;
                }
                let real = (op.real.unwrap())(&[f64::from(*x)]);
                if !sensible(*y, real, op.bound.unwrap()) {
                    wrong.push(format!("{} {}: {x} gives {y}, not {real}", op.name, arith.name()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn sensible(got: f32, real: f64, bound: Bound) -> bool {
    if real.is_nan() {
        return true;
    }
    if real.abs() >= f64::from(f32::MAX) {
        return got.abs() >= f32::MAX && f64::from(got.signum()) == real.signum();
    }
    let allowed = (bound.rel + 0.01) * real.abs() + bound.abs + 1e-6;
    (f64::from(got) - real).abs() <= allowed
}

#[test]
fn gelu_has_a_tanh_form() {
    let x = Spread::new(3, -6.0, 6.0).tensor(&[SAMPLES]);
    let inner = |x: f64| (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x);
    let want: Vec<f64> = wide(&x).iter().map(|&x| 0.5 * x * (1.0 + inner(x).tanh())).collect();
    let attrs = Attrs::none().with("approximate", "tanh");
    let got = apply("gelu", Arith::Float, std::slice::from_ref(&x), attrs.clone());
    let exact = Bound::new(1e-6, 1e-6, (0.0, 0.0));
    assert!(worst(&got, &want, exact).0 <= 1.0);
    let got = apply("gelu", Arith::PAM, &[x], attrs);
    assert!(worst(&got, &want, ops::lookup("gelu").unwrap().bound.unwrap()).0 <= 1.0);
}

/// Constant exponents: exactly the products and roots they stand for, for negative bases too.
#[test]
fn powers_by_constants() {
    let x = Tensor::from_vec(&[5], vec![-3.0f32, -1.5, 0.75, 1.5, 6.0]).unwrap();
    for p in [0.0f32, 1.0, 2.0, 3.0, 7.0, -1.0, -2.0, 0.5, -0.5, 2.5] {
        let graph = single("pow", &[x.clone(), Tensor::scalar(p)], Attrs::none(), &[1]);
        let want: Vec<f64> = wide(&x).iter().map(|v| v.powf(f64::from(p))).collect();
        let got = interpret(&graph, Arith::Float, &[&x]).to_vec::<f32>().unwrap();
        for (g, w) in got.iter().zip(&want) {
            let close = (f64::from(*g) - w).abs() <= 1e-5 * w.abs().max(1.0);
            assert!(close || (g.is_nan() && w.is_nan()), "pow {p}: {g} against {w}");
        }
    }
    let square = |op: &str, x: &[Tensor]| apply(op, Arith::PAM, x, Attrs::none());
    let graph = single("pow", &[x.clone(), Tensor::scalar(2f32)], Attrs::none(), &[1]);
    let got = interpret(&graph, Arith::PAM, &[&x]).to_vec::<f32>().unwrap();
    assert_eq!(got, square("mul", &[x.clone(), x]));
    let zero = Tensor::scalar(0f32);
    assert_eq!(apply("pow", Arith::PAM, &[zero.clone(), zero], Attrs::none()), [0.0]);
}

#[test]
fn integers_multiply_by_constants() {
    let x = Tensor::from_vec(&[4], vec![3i64, -7, i64::MAX, 0]).unwrap();
    let c = Tensor::from_vec(&[4], vec![10i64, -5, 3, 9]).unwrap();
    for c in [Tensor::scalar(10i64), Tensor::scalar(-1i64), Tensor::scalar(0i64), c] {
        let graph = single("mul", &[x.clone(), c.clone()], Attrs::none(), &[1]);
        let got = interpret(&graph, Arith::PAM, &[&x]).to_vec::<i64>().unwrap();
        let cs = c.to_vec::<i64>().unwrap();
        let xs = x.to_vec::<i64>().unwrap();
        let want: Vec<i64> =
            xs.iter().enumerate().map(|(i, x)| x.wrapping_mul(cs[i % cs.len()])).collect();
        assert_eq!(got, want);
    }
    let graph = single("mul", &[x.clone(), x], Attrs::none(), &[]);
    let error = pamc_passes::pass::lower(&graph, Arith::PAM).unwrap_err().to_string();
    assert!(error.contains("constant operand") && error.contains("source"), "{error}");
}

#[test]
fn sign_and_clip_of_integers() {
    let x = Tensor::from_vec(&[4], vec![-9i32, 0, 2, 9]).unwrap();
    let run = |op: &str, attrs: Attrs| {
        let graph = single(op, std::slice::from_ref(&x), attrs, &[]);
        interpret(&graph, Arith::PAM, &[&x]).to_vec::<i32>().unwrap()
    };
    assert_eq!(run("sign", Attrs::none()), [-1, 0, 1, 1]);
    assert_eq!(run("clip", Attrs::none().with("lo", -1f32).with("hi", 3f32)), [-1, 0, 2, 3]);
}
