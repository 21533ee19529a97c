//! Rows that are not elementwise, against plain loops in double precision.

use pamc_passes::arith::Arith;
use pamc_passes::ir::{Attr, Attrs, Tensor};
use pamc_passes::ops::{self, Bound};

use crate::common::{Spread, apply, wide, worst};

/// Ordinary arithmetic must be this close.
const EXACT: Bound = Bound::new(4e-6, 4e-6, (0.0, 0.0));

/// Compare one op with `want`: in ordinary arithmetic closely, in PAM within the row's bound.
pub fn check(op: &str, inputs: &[Tensor], attrs: Attrs, want: &[f64]) {
    check_float(op, inputs, attrs.clone(), want);
    let bound = ops::lookup(op).unwrap().bound.unwrap();
    let got = apply(op, Arith::PAM, inputs, attrs.clone());
    let (share, at) = worst(&got, want, bound);
    assert!(
        share <= 1.0,
        "{op} {attrs:?}: {share} of {bound:?} at {at}: {} against {}",
        got[at],
        want[at]
    );
}

/// Only in ordinary arithmetic: where signs cancel, PAM has no bound relative to the result.
pub fn check_float(op: &str, inputs: &[Tensor], attrs: Attrs, want: &[f64]) {
    let got = apply(op, Arith::Float, inputs, attrs.clone());
    let (share, at) = worst(&got, want, EXACT);
    assert!(share <= 1.0, "{op} {attrs:?}: at {at}: {} against {}", got[at], want[at]);
}

/// Samples of the row's domain.
pub fn samples(op: &str, seed: u64) -> Spread {
    let (lo, hi) = ops::lookup(op).unwrap().bound.unwrap().domain;
    Spread::new(seed, lo, hi)
}

pub fn ints(x: &[i64]) -> Attr {
    Attr::Ints(x.to_vec())
}

pub fn attrs(list: &[(&'static str, Attr)]) -> Attrs {
    list.iter().fold(Attrs::none(), |mut all, (name, value)| {
        all.set(name, value.clone());
        all
    })
}

pub fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

#[test]
fn softmax_family() {
    for (rows, classes) in [(9, 5), (4, 100), (3, 1)] {
        let x = samples("softmax", 1).tensor(&[rows, classes]);
        let v = wide(&x);
        let lse: Vec<f64> =
            v.chunks(classes).map(|r| r.iter().map(|x| x.exp()).sum::<f64>().ln()).collect();
        let logs: Vec<f64> = v.iter().enumerate().map(|(i, x)| x - lse[i / classes]).collect();
        let probabilities: Vec<f64> = logs.iter().map(|l| l.exp()).collect();
        let x = [x];
        check("softmax", &x, Attrs::none(), &probabilities);
        check("log_softmax", &x, Attrs::none(), &logs);
        check("logsumexp", &x, attrs(&[("axes", ints(&[-1]))]), &lse);
        let total = v.iter().map(|x| x.exp()).sum::<f64>().ln();
        check("logsumexp", &x, Attrs::none(), &[total]);
    }
    let far = Tensor::from_vec(&[3], vec![1e4f32, -1e30, f32::NEG_INFINITY]).unwrap();
    for arith in [Arith::PAM, Arith::Float] {
        assert_eq!(
            apply("softmax", arith, std::slice::from_ref(&far), Attrs::none()),
            [1.0, 0.0, 0.0]
        );
    }
}

/// (v − mean) / √(variance + eps) of each run of n.
fn normalized(v: &[f64], n: usize, eps: f64, centre: bool) -> Vec<f64> {
    v.chunks(n)
        .flat_map(|row| {
            let m = if centre { mean(row) } else { 0.0 };
            let variance = mean(&row.iter().map(|x| (x - m) * (x - m)).collect::<Vec<_>>());
            row.iter().map(move |x| (x - m) / (variance + eps).sqrt()).collect::<Vec<_>>()
        })
        .collect()
}

#[test]
fn layer_and_rms_norm() {
    for (op, centre) in [("layer_norm", true), ("rms_norm", false)] {
        let mut spread = samples(op, 2);
        let (x, gamma) = (spread.tensor(&[7, 6, 8]), spread.tensor(&[6, 8]));
        let y = normalized(&wide(&x), 48, 0.1, centre);
        let scaled: Vec<f64> =
            y.iter().enumerate().map(|(i, y)| y * wide(&gamma)[i % 48]).collect();
        let options = attrs(&[("axis", Attr::Int(1)), ("eps", Attr::Float(0.1))]);
        check(op, &[x.clone(), gamma], options, &scaled);
        check(op, std::slice::from_ref(&x), Attrs::none(), &normalized(&wide(&x), 8, 1e-5, centre));
    }
}

#[test]
fn channel_norms() {
    let (n, c, p) = (3, 6, 20);
    let mut spread = samples("group_norm", 3);
    let x = spread.tensor(&[n, c, 4, 5]);
    let vectors: Vec<Tensor> = (0..3).map(|_| spread.tensor(&[c])).collect();
    let variance = Spread::new(4, 0.5, 2.0).tensor(&[c]);
    let [g, b, m] = [0, 1, 2].map(|i| wide(&vectors[i]));
    let affine = |y: Vec<f64>| -> Vec<f64> {
        y.iter().enumerate().map(|(i, y)| y * g[i / p % c] + b[i / p % c]).collect()
    };
    let grouped = [x.clone(), vectors[0].clone(), vectors[1].clone()];
    for groups in [1, 2, 6] {
        let want = affine(normalized(&wide(&x), c / groups * p, 1e-5, true));
        check("group_norm", &grouped, attrs(&[("groups", Attr::Int(groups as i64))]), &want);
    }
    let want = affine(normalized(&wide(&x), p, 1e-5, true));
    check("instance_norm", &grouped, Attrs::none(), &want);
    let v = wide(&variance);
    let scaled = wide(&x).into_iter().enumerate().map(|(i, x)| {
        let channel = i / p % c;
        (x - m[channel]) / (v[channel] + 1e-5).sqrt()
    });
    let want = affine(scaled.collect());
    let inputs = [&grouped[..], &[vectors[2].clone(), variance]].concat();
    check("batch_norm", &inputs, Attrs::none(), &want);
}

#[test]
fn means() {
    let x = Spread::new(5, 0.1, 3.0).tensor(&[4, 3, 5]);
    let v = wide(&x);
    check("mean", std::slice::from_ref(&x), Attrs::none(), &[mean(&v)]);
    let rows: Vec<f64> = v.chunks(5).map(mean).collect();
    check("mean", &[x], attrs(&[("axes", ints(&[-1])), ("keepdims", Attr::Bool(true))]), &rows);
}

/// Products of a batch of row-major matrices.
fn product(a: &[f64], b: &[f64], (m, k, n): (usize, usize, usize)) -> Vec<f64> {
    let cell = |i: usize, j: usize| (0..k).map(|l| a[i * k + l] * b[l * n + j]).sum();
    (0..m).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| cell(i, j)).collect()
}

#[test]
fn matrix_products() {
    let mut s = samples("matmul", 6);
    let (a, b) = (s.tensor(&[4, 5, 7]), s.tensor(&[7, 3]));
    check(
        "matmul",
        &[a.clone(), b.clone()],
        Attrs::none(),
        &product(&wide(&a), &wide(&b), (20, 7, 3)),
    );
    let batch = s.tensor(&[4, 7, 3]);
    let want: Vec<f64> = wide(&a)
        .chunks(35)
        .zip(wide(&batch).chunks(21))
        .flat_map(|(a, b)| product(a, b, (5, 7, 3)))
        .collect();
    check("matmul", &[a.clone(), batch.clone()], Attrs::none(), &want);
    let row = s.tensor(&[7]);
    let want: Vec<f64> =
        wide(&batch).chunks(21).flat_map(|b| product(&wide(&row), b, (1, 7, 3))).collect();
    check("matmul", &[row.clone(), batch], Attrs::none(), &want);
    check(
        "matmul",
        &[a.clone(), row.clone()],
        Attrs::none(),
        &product(&wide(&a), &wide(&row), (20, 7, 1)),
    );
    check(
        "matmul",
        &[row.clone(), row.clone()],
        Attrs::none(),
        &product(&wide(&row), &wide(&row), (1, 7, 1)),
    );
    let swapped = s.tensor(&[3, 7]);
    let turned: Vec<f64> = (0..21).map(|i| wide(&swapped)[i % 3 * 7 + i / 3]).collect();
    let want = product(&wide(&a), &turned, (20, 7, 3));
    check("matmul", &[a, swapped], attrs(&[("tb", Attr::Bool(true))]), &want);
}

#[test]
fn one_hot_and_tile() {
    let ids = Tensor::from_vec(&[4], vec![2i64, 0, -1, 7]).unwrap();
    let want = [0., 0., 1., 1., 0., 0., 0., 0., 1., 0., 0., 0.];
    check("one_hot", std::slice::from_ref(&ids), attrs(&[("depth", Attr::Int(3))]), &want);
    let turned: Vec<f64> = (0..12).map(|i| 2.0 - 3.0 * want[i % 4 * 3 + i / 4]).collect();
    let options = attrs(&[
        ("depth", Attr::Int(3)),
        ("axis", Attr::Int(0)),
        ("on", Attr::Float(-1.0)),
        ("off", Attr::Float(2.0)),
    ]);
    check("one_hot", &[ids], options, &turned);
    let x = Tensor::from_vec(&[2, 2], vec![1f32, 2., 3., 4.]).unwrap();
    let want = [1., 2., 1., 2., 1., 2., 3., 4., 3., 4., 3., 4.];
    check("tile", std::slice::from_ref(&x), attrs(&[("repeats", ints(&[1, 3]))]), &want);
    let want = [1., 2., 3., 4., 1., 2., 3., 4.];
    check("tile", &[x], attrs(&[("repeats", ints(&[2, 1]))]), &want);
}

#[test]
fn dropout_keeps_the_right_share() {
    let x = Tensor::full(&[200, 100], 1f32);
    let key = Tensor::from_vec(&[2], vec![7i32, 3]).unwrap();
    let run = |p: f32, stream: i64| {
        let options = attrs(&[("p", Attr::Float(p)), ("stream", Attr::Int(stream))]);
        apply("dropout", Arith::PAM, &[x.clone(), key.clone()], options)
    };
    for p in [0.0f32, 0.1, 0.5, 0.9] {
        let y = run(p, 1);
        let kept = y.iter().filter(|v| **v != 0.0).count() as f32 / y.len() as f32;
        assert!((kept - (1.0 - p)).abs() < 0.01, "p = {p}: kept {kept}");
        assert!(y.iter().all(|v| *v == 0.0 || *v == 1.0 / (1.0 - p)));
    }
    assert_eq!(run(0.5, 1), run(0.5, 1));
    assert_ne!(run(0.5, 1), run(0.5, 2));
}
