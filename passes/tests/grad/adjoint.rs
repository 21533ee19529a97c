//! Rules of linear maps are their adjoints: ⟨L x, g⟩ = ⟨x, Lᵀ g⟩, exactly, on small integers.

use pamc_passes::arith::Arith;
use pamc_passes::ir::{Attrs, DType};

use crate::common::*;
use crate::rules::linear;

fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn linear_rules_are_adjoints() {
    for (i, case) in linear().into_iter().enumerate() {
        let f: Term<'_> = &|cx, x| cx.op_with(case.op, x, case.attrs.clone());
        let floats_at: Vec<usize> =
            (0..case.inputs.len()).filter(|&i| case.inputs[i].dtype() == DType::F32).collect();
        // A product is linear in each operand alone, the other maps are in all together.
        let bilinear = case.op == "f.matmul";
        for seed in 0..5 {
            let mut rng = Rng(100 * i as u64 + seed);
            let mut inputs = case.inputs.clone();
            floats_at.iter().for_each(|&i| inputs[i] = rng.integers(case.inputs[i].shape()));
            let y = evaluate(Arith::Float, &inputs, f);
            let g = rng.integers(y.shape());
            let got = gradients(Arith::Float, "approx", &inputs, &g, f);
            let forward = dot(&y.to_vec().unwrap(), &g.to_vec().unwrap());
            let back = floats_at
                .iter()
                .map(|i| dot(&inputs[*i].to_vec().unwrap(), &floats(&got, &format!("g{i}"))));
            if bilinear {
                back.for_each(|b| assert_eq!(b, forward, "{} {:?}", case.op, case.attrs));
            } else {
                assert_eq!(back.sum::<f32>(), forward, "{} {:?}", case.op, case.attrs);
            }
        }
    }
}

/// Axes that are not neighbours, and ties: the first in row-major order of the reduced axes.
#[test]
fn extrema_go_to_the_first() {
    let x = tensor(&[2, 2, 2], &[1.0, 5.0, 7.0, 2.0, 5.0, 1.0, 2.0, 7.0]);
    let g = tensor(&[2], &[10.0, 20.0]);
    let attrs = || Attrs::none().with("axes", vec![0, 2]);
    let run = |op: &'static str| {
        let got = gradients(PAPER, "exact", std::slice::from_ref(&x), &g, &|cx, x| {
            cx.op_with(op, x, attrs())
        });
        floats(&got, "g0")
    };
    assert_eq!(run("reduce_max"), [0.0, 10.0, 20.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    assert_eq!(run("reduce_min"), [10.0, 0.0, 0.0, 20.0, 0.0, 0.0, 0.0, 0.0]);
}

/// Equal operands: all to the first. |0| has gradient 0.
#[test]
fn ties_and_kinks() {
    let (x, g) = (tensor(&[3], &[1.0, 2.0, 3.0]), tensor(&[3], &[4.0, 5.0, 6.0]));
    let z = tensor(&[3], &[1.0, 3.0, 2.0]);
    let max = gradients(PAPER, "exact", &[x.clone(), z.clone()], &g, &|cx, x| cx.max(x[0], x[1]));
    assert_eq!(floats(&max, "g0"), [4.0, 0.0, 6.0]);
    assert_eq!(floats(&max, "g1"), [0.0, 5.0, 0.0]);
    let min = gradients(PAPER, "exact", &[x, z], &g, &|cx, x| cx.min(x[0], x[1]));
    assert_eq!(floats(&min, "g0"), [4.0, 5.0, 0.0]);
    let x = tensor(&[3], &[-1.0, 0.0, 2.0]);
    let abs = gradients(PAPER, "exact", &[x], &g, &|cx, x| cx.abs(x[0]));
    assert_eq!(floats(&abs, "g0"), [-4.0, 0.0, 6.0]);
}
