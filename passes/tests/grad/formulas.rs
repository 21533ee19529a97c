//! Every rule's formula, through graphs, in plain scalar Rust and in the committed vectors.

use std::path::PathBuf;

use pamc_passes::arith::{Arith, Recipe};
use pamc_passes::build::Cx;
use pamc_passes::ir::{NodeId, Tensor};
use pamc_passes::reference as r;

use crate::common::*;

fn columns(name: &str) -> Vec<Vec<f32>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(name);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let word = |w: &str| f32::from_bits(u32::from_str_radix(w, 16).unwrap());
    let rows: Vec<Vec<f32>> =
        text.lines().skip(1).map(|l| l.split(' ').map(word).collect()).collect();
    assert!(rows.len() > 100, "{name} is short");
    (0..rows[0].len()).map(|c| rows.iter().map(|r| r[c]).collect()).collect()
}

fn binary_op(cx: &mut Cx<'_>, name: &str, x: &[NodeId]) -> NodeId {
    if name == "mul" { cx.mul(x[0], x[1]) } else { cx.div(x[0], x[1]) }
}

fn unary_op(cx: &mut Cx<'_>, name: &str, x: NodeId) -> NodeId {
    match name {
        "exp2" => cx.exp2(x),
        "log2" => cx.log2(x),
        "sqrt" => cx.sqrt(x),
        "exp" => cx.exp(x),
        _ => cx.log(x),
    }
}

#[test]
fn committed_vectors() {
    for slope in ["exact", "approx"] {
        for name in ["mul", "div"] {
            let c = columns(&format!("grad_{name}_{slope}.txt"));
            let [g, a, b] = [0, 1, 2].map(|i| tensor(&[c[i].len()], &c[i]));
            let got = gradients(PAPER, slope, &[a, b], &g, &|cx, x| binary_op(cx, name, x));
            expect(&format!("{name} {slope} a"), &floats(&got, "g0"), &c[3]);
            expect(&format!("{name} {slope} b"), &floats(&got, "g1"), &c[4]);
        }
        for name in ["exp2", "log2", "sqrt", "exp", "log"] {
            let c = columns(&format!("grad_{name}_{slope}.txt"));
            let [g, x] = [0, 1].map(|i| tensor(&[c[i].len()], &c[i]));
            let got = gradients(PAPER, slope, &[x], &g, &|cx, x| unary_op(cx, name, x[0]));
            expect(&format!("{name} {slope}"), &floats(&got, "g0"), &c[2]);
        }
    }
}

/// Under recipe `best` the constants of a derivative are shift sums.
#[test]
fn constants_as_powers_of_two() {
    type Scalar = fn(f32, f32) -> f32;
    let cases: [(&str, &str, Scalar); 8] = [
        ("exp2", "exact", |g, x| r::mul(g, r::exp2_slope(x))),
        ("exp2", "approx", |g, x| r::mul(g, r::shift_sum(r::exp2(x), r::LN2_TERMS))),
        ("log2", "exact", |g, x| r::mul(g, r::log2_slope(x))),
        ("log2", "approx", |g, x| r::shift_sum(r::div(g, x), r::LOG2E_TERMS)),
        ("exp", "exact", |g, x| {
            let z = r::shift_sum(x, r::LOG2E_TERMS);
            r::shift_sum(r::mul(g, r::exp2_slope(z)), r::LOG2E_TERMS)
        }),
        ("exp", "approx", |g, x| r::mul(g, r::exp2(r::shift_sum(x, r::LOG2E_TERMS)))),
        ("log", "exact", |g, x| r::mul(r::shift_sum(g, r::LN2_TERMS), r::log2_slope(x))),
        ("log", "approx", |g, x| r::div(g, x)),
    ];
    let mut rng = Rng(1);
    let g = rng.uniforms(&[300], 2.0);
    for (name, slope, f) in cases {
        let x: Vec<f32> = (0..300).map(|_| rng.coarse(23, 4, name.starts_with('e'))).collect();
        let best = Arith::Pam(Recipe::BEST);
        let got =
            gradients(best, slope, &[tensor(&[300], &x)], &g, &|cx, x| unary_op(cx, name, x[0]));
        let want: Vec<f32> =
            g.to_vec::<f32>().unwrap().iter().zip(&x).map(|(g, x)| f(*g, *x)).collect();
        expect(&format!("{name} {slope}"), &floats(&got, "g0"), &want);
    }
}

/// Sum over a broadcast axis, in the order of `sum`.
#[test]
fn broadcast_operands_are_summed() {
    let mut rng = Rng(2);
    let (x, v, g) =
        (rng.uniforms(&[40, 3], 2.0), rng.uniforms(&[3], 2.0), rng.uniforms(&[40, 3], 2.0));
    let got = gradients(PAPER, "approx", &[x.clone(), v], &g, &|cx, x| cx.mul(x[0], x[1]));
    let (x, g) = (x.to_vec::<f32>().unwrap(), g.to_vec::<f32>().unwrap());
    let column = |j: usize| r::reduce_sum((0..40).map(|i| r::mul(g[3 * i + j], x[3 * i + j])));
    expect("vector", &floats(&got, "g1"), &[column(0), column(1), column(2)]);
}

/// Row-major data of a matrix as (row, column) → element, transposed if told.
fn at(data: &[f32], rows: usize, columns: usize, swap: bool) -> impl Fn(usize, usize) -> f32 + '_ {
    move |i, j| if swap { data[j * rows + i] } else { data[i * columns + j] }
}

#[test]
fn matrix_products() {
    let (m, k, n) = (5, 300, 7);
    let mut rng = Rng(3);
    for (ta, tb) in [(false, false), (true, false), (false, true), (true, true)] {
        let shape = |r, c, swap| if swap { [c, r] } else { [r, c] };
        let a = rng.uniforms(&shape(m, k, ta), 2.0);
        let b = rng.uniforms(&shape(k, n, tb), 2.0);
        let g = rng.uniforms(&[m, n], 2.0);
        let [av, bv, gv] = [&a, &b, &g].map(|t| t.to_vec::<f32>().unwrap());
        let (fa, fb, fg) = (at(&av, m, k, ta), at(&bv, k, n, tb), at(&gv, m, n, false));
        for slope in ["exact", "approx"] {
            let factor = |this: f32, other: f32| {
                if slope == "exact" { r::mul_slope(this, other) } else { other }
            };
            let f = move |cx: &mut Cx<'_>, x: &[NodeId]| cx.matmul(x[0], x[1], ta, tb);
            let got = gradients(PAPER, slope, &[a.clone(), b.clone()], &g, &f);
            let (ga, gb) = (floats(&got, "g0"), floats(&got, "g1"));
            let (ga, gb) = (at(&ga, m, k, ta), at(&gb, k, n, tb));
            for l in 0..k {
                for i in 0..m {
                    let terms = (0..n).map(|j| r::mul(fg(i, j), factor(fa(i, l), fb(l, j))));
                    assert_eq!(ga(i, l), r::contract(terms), "{slope} a {ta} {tb}");
                }
                for j in 0..n {
                    let terms = (0..m).map(|i| r::mul(fg(i, j), factor(fb(l, j), fa(i, l))));
                    assert_eq!(gb(l, j), r::contract(terms), "{slope} b {ta} {tb}");
                }
            }
        }
    }
}

/// A batch against one matrix is one contraction over batch and rows: the same as the flat product.
#[test]
fn a_batch_of_rows_is_one_tall_matrix() {
    let mut rng = Rng(4);
    let (a, b) = (rng.uniforms(&[4, 2, 90, 6], 2.0), rng.uniforms(&[6, 5], 2.0));
    let g = rng.uniforms(&[4, 2, 90, 5], 2.0);
    let flat = |t: &Tensor, n: usize| t.reshaped(&[720, n]).unwrap();
    let f: Term<'_> = &|cx, x| cx.matmul(x[0], x[1], false, false);
    for slope in ["exact", "approx"] {
        let got = gradients(PAPER, slope, &[a.clone(), b.clone()], &g, f);
        let want = gradients(PAPER, slope, &[flat(&a, 6), b.clone()], &flat(&g, 5), f);
        expect("a", &floats(&got, "g0"), &floats(&want, "g0"));
        expect("b", &floats(&got, "g1"), &floats(&want, "g1"));
    }
}

/// Broadcast batches: the gradient of the smaller operand is summed over the batch.
#[test]
fn broadcast_batches() {
    let mut rng = Rng(5);
    let (a, b) = (rng.uniforms(&[3, 4, 6], 2.0), rng.uniforms(&[2, 1, 6, 5], 2.0));
    let g = rng.uniforms(&[2, 3, 4, 5], 2.0);
    let [av, bv, gv] = [&a, &b, &g].map(|t| t.to_vec::<f32>().unwrap());
    for slope in ["exact", "approx"] {
        let factor = |this: f32, other: f32| {
            if slope == "exact" { r::mul_slope(this, other) } else { other }
        };
        let got = gradients(PAPER, slope, &[a.clone(), b.clone()], &g, &|cx, x| {
            cx.matmul(x[0], x[1], false, false)
        });
        let (ga, gb) = (floats(&got, "g0"), floats(&got, "g1"));
        let ge = |p, q, i, j| gv[((p * 3 + q) * 4 + i) * 5 + j];
        let ae = |q, i, l| av[(q * 4 + i) * 6 + l];
        let be = |p, l, j| bv[(p * 6 + l) * 5 + j];
        for (q, i, l) in triples(3, 4, 6) {
            let one = |p| {
                r::contract(
                    (0..5).map(|j| r::mul(ge(p, q, i, j), factor(ae(q, i, l), be(p, l, j)))),
                )
            };
            assert_eq!(ga[(q * 4 + i) * 6 + l], r::reduce_sum((0..2).map(one)));
        }
        for (p, l, j) in triples(2, 6, 5) {
            let one = |q| {
                r::contract(
                    (0..4).map(|i| r::mul(ge(p, q, i, j), factor(be(p, l, j), ae(q, i, l)))),
                )
            };
            assert_eq!(gb[(p * 6 + l) * 5 + j], r::reduce_sum((0..3).map(one)));
        }
    }
}

fn triples(a: usize, b: usize, c: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

/// `matmul.b=exact` leaves operand a alone.
#[test]
fn kinds_are_chosen_per_operand() {
    let mut rng = Rng(6);
    let (a, b) = (rng.uniforms(&[4, 6], 2.0), rng.uniforms(&[6, 5], 2.0));
    let g = rng.uniforms(&[4, 5], 2.0);
    let f: Term<'_> = &|cx, x| cx.matmul(x[0], x[1], false, false);
    let run = |spec| gradients(PAPER, spec, &[a.clone(), b.clone()], &g, f);
    let (exact, approx, mixed) = (run("exact"), run("approx"), run("approx,matmul.b=exact"));
    expect("a", &floats(&mixed, "g0"), &floats(&approx, "g0"));
    expect("b", &floats(&mixed, "g1"), &floats(&exact, "g1"));
    assert_ne!(floats(&approx, "g1"), floats(&exact, "g1"));
}
