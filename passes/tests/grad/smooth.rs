//! Gradients in ordinary arithmetic against central differences of the same function in f64.

use pamc_passes::arith::Arith;
use pamc_passes::build::Cx;
use pamc_passes::ir::NodeId;

use crate::common::*;

/// Compare the gradient of a scalar term with differences of `real`, its f64 form.
fn check(name: &str, shapes: &[&[usize]], f: Term<'_>, real: &dyn Fn(&[Vec<f64>]) -> f64) {
    for seed in 0..4 {
        let mut rng = Rng(seed);
        let x: Vec<_> = shapes.iter().map(|s| rng.uniforms(s, 1.5)).collect();
        let got = gradients(Arith::Float, "approx", &x, &tensor(&[], &[1.0]), f);
        let wide: Vec<Vec<f64>> = x
            .iter()
            .map(|t| t.to_vec::<f32>().unwrap().iter().map(|v| f64::from(*v)).collect())
            .collect();
        let y = f64::from(floats(&got, "y")[0]);
        assert!((y - real(&wide)).abs() <= 1e-5 * (1.0 + y.abs()), "{name}: the f64 form differs");
        for i in 0..x.len() {
            for (j, g) in floats(&got, &format!("g{i}")).into_iter().enumerate() {
                let moved = |h: f64| {
                    let mut at = wide.clone();
                    at[i][j] += h;
                    real(&at)
                };
                let h = 1e-5;
                let want = (moved(h) - moved(-h)) / (2.0 * h);
                let close = (f64::from(g) - want).abs() <= 2e-5 * (1.0 + want.abs());
                assert!(close, "{name}: operand {i}[{j}]: {g} against {want}");
            }
        }
    }
}

/// x · w + b as [rows, columns] in f64.
fn affine(x: &[f64], w: &[f64], b: &[f64], inner: usize) -> Vec<Vec<f64>> {
    let n = b.len();
    let entry =
        |row: &[f64], j: usize| (0..inner).map(|l| row[l] * w[l * n + j]).sum::<f64>() + b[j];
    x.chunks(inner).map(|row| (0..n).map(|j| entry(row, j)).collect()).collect()
}

#[test]
fn softplus_of_an_affine_map() {
    let term = |cx: &mut Cx<'_>, x: &[NodeId]| {
        let y = cx.matmul(x[0], x[1], false, false);
        let y = cx.add(y, x[2]);
        let e = cx.exp(y);
        let e = cx.add_const(e, 1.0);
        let l = cx.log(e);
        cx.sum(l, &[0, 1], false)
    };
    check("softplus", &[&[4, 3], &[3, 5], &[5]], &term, &|x| {
        affine(&x[0], &x[1], &x[2], 3).concat().iter().map(|y| (1.0 + y.exp()).ln()).sum()
    });
}

#[test]
fn shifted_log_softmax() {
    let term = |cx: &mut Cx<'_>, x: &[NodeId]| {
        let top = cx.reduce_max(x[0], &[1], true);
        let z = cx.sub(x[0], top);
        let e = cx.exp2(z);
        let s = cx.sum(e, &[1], true);
        let l = cx.log2(s);
        let y = cx.sub(z, l);
        let y = cx.mul(y, x[1]);
        cx.sum(y, &[0, 1], false)
    };
    check("log softmax", &[&[3, 5], &[3, 5]], &term, &|x| {
        let rows = x[0].chunks(5).zip(x[1].chunks(5));
        rows.map(|(z, w)| {
            let l = z.iter().map(|z| z.exp2()).sum::<f64>().log2();
            z.iter().zip(w).map(|(z, w)| (z - l) * w).sum::<f64>()
        })
        .sum()
    });
}

#[test]
fn layer_normalization() {
    let term = |cx: &mut Cx<'_>, x: &[NodeId]| {
        let mean = cx.mean(x[0], &[1], true);
        let c = cx.sub(x[0], mean);
        let square = cx.mul(c, c);
        let v = cx.mean(square, &[1], true);
        let v = cx.add_const(v, 0.1);
        let s = cx.sqrt(v);
        let y = cx.div(c, s);
        let y = cx.mul(y, x[1]);
        let half = cx.scale2(y, -1);
        let y = cx.abs(half);
        cx.sum(y, &[0, 1], false)
    };
    check("layer norm", &[&[3, 6], &[6]], &term, &|x| {
        x[0].chunks(6)
            .map(|row| {
                let mean = row.iter().sum::<f64>() / 6.0;
                let v = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 6.0 + 0.1;
                let y = |(x, w): (&f64, &f64)| (((x - mean) / v.sqrt()) * w / 2.0).abs();
                row.iter().zip(&x[1]).map(y).sum::<f64>()
            })
            .sum()
    });
}

/// A value used three times collects three gradients.
#[test]
fn shared_values() {
    let term = |cx: &mut Cx<'_>, x: &[NodeId]| {
        let e = cx.exp(x[0]);
        let square = cx.mul(e, e);
        let one = cx.add_const(square, 1.0);
        let quotient = cx.div(e, one);
        let y = cx.sub(quotient, e);
        cx.sum(y, &[0], false)
    };
    check("shared", &[&[5]], &term, &|x| {
        x[0].iter().map(|x| x.exp() / (x.exp().powi(2) + 1.0) - x.exp()).sum()
    });
}
